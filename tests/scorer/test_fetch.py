"""Fetching from a real Hub with the official client: what is mirrored, refused before it travels, or retried."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import huggingface_hub
import pytest
from pydantic import ValidationError

import scorer.fetch
from competition.data.digests import file_sha256
from competition.errors import DataCupError, RejectionError, RejectionReason, ServiceUnavailableError
from competition.records.manifest import FileRole, SubmissionManifest
from scorer.fetch import fetch
from scorer.mirror import Mirror, Source
from tests.competition.verification.entries import TinyEntry
from tests.scorer.conftest import RunningHub

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
R = RejectionReason


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "mirror")


@pytest.fixture
def entry(tmp_path: Path) -> TinyEntry:
    return TinyEntry(tmp_path / "entry").build().seal()


def take(
    hub: RunningHub, mirror: Mirror, revision: str, *, repo: str = "alice/entry", path: str = "tiny/entry"
) -> SubmissionManifest:
    source = Source(endpoint=hub.url, repo=repo, revision=revision, path=path)
    return fetch("sub-1", source, mirror, lambda _manifest: None, None)


def refused(hub: RunningHub, mirror: Mirror, revision: str, **where: str) -> RejectionError:
    with pytest.raises(RejectionError) as caught:
        take(hub, mirror, revision, **where)
    return caught.value


def downloads(hub: RunningHub) -> list[str]:
    return [line.rsplit("/", 1)[1] for line in hub.gate.requests if line.startswith("GET") and "/resolve/" in line]


def test_every_listed_file_is_mirrored_and_nothing_else(hub: RunningHub, mirror: Mirror, entry: TinyEntry) -> None:
    (entry.folder / "unlisted.bin").write_bytes(bytes(1000))
    manifest = take(hub, mirror, hub.upload(entry))
    for file in manifest.files:
        assert mirror.holds(file.sha256, file.size)
        assert file_sha256(mirror.verified(file.sha256)) == file.sha256
        assert mirror.path(file.sha256).stat().st_mode & 0o222 == 0, "a mirrored file is not to be written again"
    assert "unlisted.bin" not in downloads(hub)
    assert list((mirror._root / "scratch").iterdir()) == []


def test_the_pinned_revision_is_fetched_and_not_the_newest(hub: RunningHub, mirror: Mirror, entry: TinyEntry) -> None:
    first = hub.upload(entry)
    (entry.folder / "README.md").write_text("# Changed\n")
    hub.upload(entry.seal())
    manifest = take(hub, mirror, first)
    assert mirror.verified(manifest.only(FileRole.CARD).sha256).read_text() == "# Tiny\n"


def test_a_mirrored_entry_outlives_its_repository(hub: RunningHub, mirror: Mirror, entry: TinyEntry) -> None:
    revision = hub.upload(entry)
    manifest = take(hub, mirror, revision)
    hub.api().delete_repo("alice/entry")
    assert take(hub, mirror, revision) == manifest


def test_large_files_that_the_mirror_holds_do_not_travel_again(
    hub: RunningHub, mirror: Mirror, entry: TinyEntry
) -> None:
    take(hub, mirror, hub.upload(entry))
    hub.gate.requests.clear()
    take(hub, mirror, hub.upload(entry, repo="alice/copy"), repo="alice/copy")
    assert "submission.json" in downloads(hub)
    assert "model.safetensors" not in downloads(hub)


def test_repository_revision_and_folder_must_exist(hub: RunningHub, mirror: Mirror, entry: TinyEntry) -> None:
    revision = hub.upload(entry)
    assert refused(hub, mirror, revision, repo="alice/nothing").reason is R.REPOSITORY_NOT_FOUND
    assert refused(hub, mirror, revision, repo="alice/odd--name..").reason is R.REPOSITORY_NOT_FOUND
    assert refused(hub, mirror, "0" * 40).reason is R.REPOSITORY_NOT_FOUND
    assert refused(hub, mirror, revision, path="tiny/elsewhere").reason is R.MANIFEST_MISSING
    assert refused(hub, mirror, revision, path=".cache/huggingface").reason is R.PATH_NOT_ALLOWED
    for path in ("..", "tiny/../../entry"):
        with pytest.raises(ValidationError, match=r"may not have \. or \.\."):
            take(hub, mirror, revision, path=path)


def test_a_private_repository_is_not_found(hub: RunningHub, mirror: Mirror, entry: TinyEntry) -> None:
    hub.api().create_repo("alice/secret", private=True)
    revision = hub.upload(entry, repo="alice/secret")
    assert refused(hub, mirror, revision, repo="alice/secret").reason is R.REPOSITORY_NOT_FOUND


def test_a_huge_manifest_does_not_travel(hub: RunningHub, mirror: Mirror, entry: TinyEntry) -> None:
    (entry.folder / "submission.json").write_text(" " * 1_000_001)
    error = refused(hub, mirror, hub.upload(entry))
    assert error.reason is R.MANIFEST_MALFORMED
    assert downloads(hub) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size": 7}, R.SIZE_MISMATCH),
        ({"sha256": "0" * 64}, R.DIGEST_MISMATCH),
        ({"path": "absent.safetensors"}, R.FILE_MISSING),
    ],
)
def test_what_the_hub_announces_is_compared_before_it_travels(
    hub: RunningHub, mirror: Mirror, entry: TinyEntry, change: dict[str, object], reason: RejectionReason
) -> None:
    files = [{**file, **change} if file["role"] == "model" else file for file in entry.manifest()["files"]]
    (entry.folder / "submission.json").write_text(json.dumps(entry.manifest(files=files)))
    assert refused(hub, mirror, hub.upload(entry)).reason is reason
    assert downloads(hub) == ["submission.json"]


def test_a_small_file_that_changed_is_refused_after_it_travelled(
    hub: RunningHub, mirror: Mirror, entry: TinyEntry
) -> None:
    (entry.folder / "README.md").write_text("# Tony\n")
    error = refused(hub, mirror, hub.upload(entry))
    assert error.reason is R.DIGEST_MISMATCH
    assert error.message.startswith("README.md has sha256")


def test_the_rules_are_asked_before_anything_but_the_manifest_travels(
    hub: RunningHub, mirror: Mirror, entry: TinyEntry
) -> None:
    source = Source(endpoint=hub.url, repo="alice/entry", revision=hub.upload(entry), path="tiny/entry")

    def deny(_manifest: SubmissionManifest) -> None:
        raise RejectionError(R.MANIFEST_MISMATCH, "no")

    with pytest.raises(RejectionError, match="no"):
        fetch("sub-1", source, mirror, deny, None)
    assert downloads(hub) == ["submission.json"]


def test_a_hub_that_is_out_of_order_is_not_the_entry_s_fault(hub: RunningHub, mirror: Mirror, entry: TinyEntry) -> None:
    revision = hub.upload(entry)
    hub.gate.status = 500
    with pytest.raises(ServiceUnavailableError, match="HTTP 500"):
        take(hub, mirror, revision)
    hub.gate.status = None
    assert take(hub, mirror, revision).submission_id == "sub-1"


def test_a_hub_that_is_not_there_is_not_the_entry_s_fault(mirror: Mirror) -> None:
    source = Source(endpoint="http://127.0.0.1:9", repo="alice/entry", revision="0" * 40, path="a")
    with pytest.raises(ServiceUnavailableError, match=r"failed while alice/entry was fetched"):
        fetch("sub-1", source, mirror, lambda _manifest: None, None)


def test_a_hub_that_never_answers_is_not_waited_for_for_ever(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer.fetch, "_ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        source = Source(endpoint=endpoint, repo="alice/entry", revision="0" * 40, path="a")
        with pytest.raises(ServiceUnavailableError, match="ReadTimeout"):
            fetch("sub-1", source, mirror, lambda _manifest: None, None)
    huggingface_hub.close_session()  # it is this process' only one, and would stay as impatient


def test_scorers_that_clean_one_mirror_do_not_trip_over_each_other(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "glob", lambda folder, _pattern: iter([folder / "removed-by-another"]))
    mirror.sweep()


def test_a_damaged_mirror_is_a_fault_of_the_platform_and_heals(
    hub: RunningHub, mirror: Mirror, entry: TinyEntry
) -> None:
    revision = hub.upload(entry)
    model = take(hub, mirror, revision).only(FileRole.MODEL)
    path = mirror.path(model.sha256)
    path.chmod(0o644)
    path.write_bytes(bytes(model.size))
    with pytest.raises(DataCupError, match="was damaged") as caught:
        mirror.verified(model.sha256)
    assert not isinstance(caught.value, RejectionError)
    take(hub, mirror, revision)
    assert mirror.verified(model.sha256) == path
