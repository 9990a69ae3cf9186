"""Entering through the real API and the real Hub: what was interrupted is finished by the same call."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from sqlalchemy import update

from competition.client import LeaderboardClient
from competition.data.uids import sort_uids
from competition.errors import (
    AuthenticationError,
    DataCupError,
    RejectionError,
    RejectionReason,
    ServiceUnavailableError,
    UsageError,
)
from competition.records.lifecycle import Processing
from competition.records.lineage import DatasetLineage
from competition.records.manifest import FileRole, SubmissionManifest
from competition.records.submission import SubmissionRevision, SubmissionView
from competition.verification import check_submission
from leaderboard.database import Database
from leaderboard.hub.app import HubSettings, Role, create_hub, create_token
from leaderboard.models import Submission
from leaderboard.settings import Settings
from participant_kit.front_page import MARK
from participant_kit.hub import HubTarget, resolve_repo
from participant_kit.submission import Entry, assemble, merge_subsets, registration, submit
from tests.competition.verification.entries import (
    TinyEntry,
    pool_array,
    write_pool,
)
from tests.participant_kit.cli.typed import typed
from tests.participant_kit.finished import Board, finished_entry, served_board
from tests.serving import serve

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """A finished, evaluated run of the tiny competition."""
    return finished_entry(tmp_path)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with served_board(tmp_path) as served:
        yield served


@pytest.fixture
def hub_root(tmp_path: Path, monkeypatch) -> Iterator[Path]:
    monkeypatch.setenv("HF_TOKEN", create_token(tmp_path / "hub", "ada", Role.WRITE, None))
    yield tmp_path / "hub"
    huggingface_hub.close_session()


def _ignore(_note: str) -> None:
    pass


def test_a_submission_is_complete_correct_and_entered_once(entry: Entry, board: Board, hub_root: Path) -> None:
    with serve(create_hub(HubSettings(root=hub_root))) as url:
        first = submit(entry, board.client, HubTarget(url, "ada/tiny"), _ignore)
        again = submit(entry, board.client, HubTarget(url, "ada/tiny"), _ignore)
        names = huggingface_hub.HfApi(endpoint=url).list_repo_files("ada/tiny", revision=first.revision)
    assert first.processing is Processing.RECEIVED
    assert (again.id, again.revision) == (first.id, first.revision)
    assert len(board.client.submissions().items) == 1
    folder = entry.run_dir / "submissions" / first.id
    manifest = check_submission(folder, entry.competition, pool_array())
    assert {f"{first.path}/{file.path}" for file in manifest.files} | {f"{first.path}/submission.json"} <= set(names)
    assert {file.role for file in manifest.files} == set(FileRole) - {
        *(FileRole.LINEAGE, FileRole.PREDICTIONS),
        *(FileRole.EXTERNAL_TABLE, FileRole.EXTERNAL_SHARD),
    }
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == [task.id for task in entry.competition.suite.tasks]
    assert all(row["metrics"]["main_metric"] == row["metrics"]["acc1"] for row in rows)


def _built(entry: Entry, folder: Path, name: str, count: int) -> Entry:
    """The entry with a subset that `datacup build` makes of the tiny pool, and its lineage."""
    write_pool(folder)
    (folder / "pipeline.yaml").write_text(
        "version: 1\npool: tiny-pool\nsteps:\n  - {name: all, run: subset no_filter}\n"
        f"  - {{name: some, run: subset sample, from: [all], options: {{count: {count}}}}}\n"
    )
    out = folder / name
    result = typed("build", folder / "pipeline.yaml", "-o", out)
    assert result.code == 0, result.err
    return replace(entry, subset=out / "dataset.npy", lineage=out / "dataset.json")


def test_a_lineage_is_part_of_the_entry_and_of_its_card(
    entry: Entry, board: Board, hub_root: Path, tmp_path: Path
) -> None:
    told = _built(entry, tmp_path, "dataset", 31)
    with serve(create_hub(HubSettings(root=hub_root))) as url:
        view = submit(told, board.client, HubTarget(url, "ada/tiny"), _ignore)
        names = huggingface_hub.HfApi(endpoint=url).list_repo_files("ada/tiny", revision=view.revision)
    assert view.processing is Processing.RECEIVED
    folder = entry.run_dir / "submissions" / view.id
    manifest = check_submission(folder, entry.competition, pool_array())
    assert f"{view.path}/{manifest.only(FileRole.LINEAGE).path}" in names
    lineage = DatasetLineage.model_validate_json((folder / "dataset.json").read_bytes())
    assert lineage.result.subset_sha256 == manifest.only(FileRole.SUBSET).sha256
    assert (folder / "dataset.json").read_bytes() == (tmp_path / "dataset" / "dataset.json").read_bytes()
    card = (folder / "README.md").read_text()
    assert "| some | subset sample: count 31, seed 0 | all | 60 | 31 |" in card.replace("\\", "")
    assert huggingface_hub.ModelCard(card).data.eval_results is not None


def test_the_lineage_of_another_subset_is_refused_before_the_entry_is_registered(
    entry: Entry, board: Board, tmp_path: Path
) -> None:
    told = _built(entry, tmp_path, "dataset", 31)
    other = _built(entry, tmp_path, "other", 30)
    notes: list[str] = []
    for wrong in (replace(told, lineage=other.lineage), replace(told, subset=entry.subset)):
        with pytest.raises(RejectionError, match="tells how a subset with sha256") as raised:
            submit(wrong, board.client, HubTarget("http://127.0.0.1:9", "ada/tiny"), notes.append)
        assert raised.value.reason is RejectionReason.LINEAGE_MISMATCH
    with pytest.raises(UsageError, match="There is no lineage"):
        submit(replace(told, lineage=tmp_path / "none"), board.client, HubTarget("http://127.0.0.1:9", "a/b"), _ignore)
    assert notes == []


def test_an_entry_is_recognised_when_another_followed_it_in_the_same_repository(
    entry: Entry, board: Board, hub_root: Path
) -> None:
    other = replace(entry, method_name="Another")
    with serve(create_hub(HubSettings(root=hub_root))) as url:
        target = HubTarget(url, "ada/tiny")
        first, second = submit(entry, board.client, target, _ignore), submit(other, board.client, target, _ignore)
        again = submit(entry, board.client, target, _ignore)
    assert first.revision != second.revision
    assert (again.id, again.revision) == (first.id, first.revision)
    assert len(board.client.submissions().items) == 2


@pytest.mark.parametrize("end", [Processing.INVALID, Processing.FAILED, Processing.CANCELLED])
def test_an_entry_that_ended_without_a_score_is_entered_anew(
    entry: Entry, board: Board, hub_root: Path, tmp_path: Path, end: Processing
) -> None:
    with serve(create_hub(HubSettings(root=hub_root))) as url:
        first = submit(entry, board.client, HubTarget(url, "ada/tiny"), _ignore)
        database = Database(Settings(data_dir=tmp_path).url)
        with database.writing() as session:
            session.execute(update(Submission).where(Submission.id == first.id).values(processing=end))
        database.close()
        second = submit(entry, board.client, HubTarget(url, "ada/tiny"), _ignore)
        again = submit(entry, board.client, HubTarget(url, "ada/tiny"), _ignore)
    assert second.id != first.id
    assert second.processing is Processing.RECEIVED
    assert again.id == second.id
    assert board.client.submission(first.id).processing is end


def test_the_card_shows_words_as_words(entry: Entry, board: Board, hub_root: Path) -> None:
    with serve(create_hub(HubSettings(root=hub_root))) as url:
        view = submit(entry, board.client, HubTarget(url, "ada/tiny"), _ignore)
    card = (entry.run_dir / "submissions" / view.id / "README.md").read_text()
    body = card.split("---", 2)[2]
    assert "# Tiny \\*method\\* \\< \\&amp;" in body
    assert "\n# not a heading" not in body
    assert huggingface_hub.ModelCard(card).data.eval_results is not None


def test_the_newest_card_is_in_front_unless_somebody_wrote_a_page(
    entry: Entry, board: Board, hub_root: Path, tmp_path: Path
) -> None:
    with serve(create_hub(HubSettings(root=hub_root))) as url:
        api, target = huggingface_hub.HfApi(endpoint=url), HubTarget(url, "ada/tiny")

        def page() -> str:
            return Path(api.hf_hub_download("ada/tiny", "README.md", local_dir=tmp_path / "page")).read_text()

        for name in ("First", "Second"):
            view = submit(replace(entry, method_name=name), board.client, target, _ignore)
            data = huggingface_hub.ModelCard(page()).data
            assert (data.model_name, len(data.eval_results)) == (name, 3)
            assert f"(./tree/main/{view.path})" in page()
        own = page().replace(MARK, "").replace("Second", "Mine")
        api.upload_file(path_or_fileobj=own.encode(), path_in_repo="README.md", repo_id="ada/tiny")
        view = submit(replace(entry, method_name="Third"), board.client, target, _ignore)
        assert page() == own
        assert f"{view.path}/README.md" in api.list_repo_files("ada/tiny", revision=view.revision)


def test_what_died_between_upload_and_announcement_is_announced_without_another_commit(
    entry: Entry, board: Board, hub_root: Path
) -> None:
    class Dying(LeaderboardClient):
        def set_revision(self, submission_id: str, revision: SubmissionRevision) -> SubmissionView:
            raise KeyboardInterrupt

    with serve(create_hub(HubSettings(root=hub_root))) as url:
        target = HubTarget(url, "ada/tiny")
        with Dying(board.url, board.token) as client, pytest.raises(KeyboardInterrupt):
            submit(entry, client, target, _ignore)
        (draft,) = board.client.submissions().items
        head = huggingface_hub.HfApi(endpoint=url).repo_info("ada/tiny").sha
        view = submit(entry, board.client, target, _ignore)
        assert (view.id, view.processing, view.revision) == (draft.id, Processing.RECEIVED, head)


def test_a_hub_that_is_down_loses_nothing(entry: Entry, board: Board, hub_root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    down = HubTarget(f"http://127.0.0.1:{port}", "ada/tiny")
    with pytest.raises(ServiceUnavailableError, match="does not answer"):
        submit(entry, board.client, down, _ignore)
    (folder,) = (entry.run_dir / "submissions").iterdir()
    assert board.client.submission(folder.name).processing is Processing.DRAFT

    import threading

    import uvicorn

    config = uvicorn.Config(create_hub(HubSettings(root=hub_root)), port=port, log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    view = submit(entry, board.client, down, _ignore)
    server.should_exit = True
    thread.join()
    assert view.id == folder.name
    assert view.processing is Processing.RECEIVED


def test_a_leaderboard_that_is_down_is_said_so_before_anything_is_uploaded(entry: Entry) -> None:
    client = LeaderboardClient("http://127.0.0.1:9", "token", attempts=2, sleep=lambda _seconds: None)
    with client, pytest.raises(ServiceUnavailableError, match="does not answer"):
        submit(entry, client, HubTarget("http://127.0.0.1:9", "ada/tiny"), _ignore)
    assert not (entry.run_dir / "submissions").exists()


def test_a_wrong_token_is_refused(entry: Entry, board: Board) -> None:
    with LeaderboardClient(board.url, "dcp_wrong") as client, pytest.raises(AuthenticationError):
        submit(entry, client, HubTarget("http://127.0.0.1:9", "ada/tiny"), _ignore)


def test_a_wrong_hub_token_is_refused(entry: Entry, board: Board, hub_root: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with (
        serve(create_hub(HubSettings(root=hub_root))) as url,
        pytest.raises(AuthenticationError, match="does not know your token"),
    ):
        submit(entry, board.client, HubTarget(url, "ada/tiny"), _ignore)


def test_without_a_login_one_sentence_says_so_before_anything_is_registered(
    hub_root: Path, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with serve(create_hub(HubSettings(root=hub_root))) as url:
        for name in ("tiny", "ada/tiny"):
            with pytest.raises(AuthenticationError) as raised:
                resolve_repo(url, name)
            assert raised.value.message == "You are not logged in to the Hub."
            assert "hf auth login" in raised.value.hint


def test_somebody_elses_repository_is_refused(entry: Entry, board: Board, hub_root: Path) -> None:
    with serve(create_hub(HubSettings(root=hub_root))) as url, pytest.raises(DataCupError, match="may not write"):
        submit(entry, board.client, HubTarget(url, "grace/tiny"), _ignore)


def test_weights_that_changed_after_the_evaluation_are_not_entered(entry: Entry, board: Board) -> None:
    TinyEntry(entry.run_dir).build(seed=1)
    with pytest.raises(UsageError, match="other weights"):
        submit(entry, board.client, HubTarget("http://127.0.0.1:9", "ada/tiny"), _ignore)


def test_an_unsorted_subset_is_not_entered(entry: Entry, board: Board) -> None:
    np.save(entry.subset, pool_array()[::-1])
    notes: list[str] = []
    with pytest.raises(RejectionError, match="sorted") as raised:
        submit(entry, board.client, HubTarget("http://127.0.0.1:9", "ada/tiny"), notes.append)
    assert raised.value.reason is RejectionReason.SUBSET_UNSORTED
    assert notes == []  # not even registered
    assert sorted(path.name for path in entry.run_dir.iterdir() if path.is_dir()) == []


def test_uids_of_another_pool_are_refused_before_the_entry_is_registered(
    entry: Entry, board: Board, tmp_path: Path
) -> None:
    write_pool(tmp_path)
    foreign = pool_array()[10:14].copy()
    foreign["f1"] += 1
    np.save(entry.subset, sort_uids(np.concatenate([pool_array()[:20], foreign])))
    inside = replace(entry, metadata_dir=tmp_path / "tiny-pool" / "metadata")
    notes: list[str] = []
    with pytest.raises(RejectionError, match=r"subset\.npy: 4 of 24 uids are not in pool 'tiny-pool'") as raised:
        submit(inside, board.client, HubTarget("http://127.0.0.1:9", "ada/tiny"), notes.append)
    assert raised.value.reason is RejectionReason.SUBSET_FOREIGN_UIDS
    assert notes == []


def test_what_was_not_checked_is_said(entry: Entry, board: Board, hub_root: Path, tmp_path: Path) -> None:
    write_pool(tmp_path)
    with serve(create_hub(HubSettings(root=hub_root))) as url:
        for number, metadata in enumerate((None, tmp_path / "tiny-pool" / "metadata")):
            notes: list[str] = []
            each = replace(entry, method_name=f"Method {number}", metadata_dir=metadata)
            submit(each, board.client, HubTarget(url, "ada/tiny"), notes.append)
            assert any("--metadata-dir" in note for note in notes) is (metadata is None)


def test_a_repository_that_cannot_be_is_said_by_its_option(entry: Entry, board: Board) -> None:
    with pytest.raises(UsageError, match="'a/b/c' is not the name of a repository") as raised:
        submit(entry, board.client, HubTarget("http://127.0.0.1:9", "a/b/c"), _ignore)
    assert "--hf-repo-name" in raised.value.hint


@pytest.mark.parametrize("name", ["ada/x--y", "ada/e9.", "ada/e9.git", "x--y", "a/b/c", "/e9", "ada/", "", "ada/e 9"])
def test_a_name_that_no_repository_can_have_is_refused_before_anything_is_asked(name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a repository") as raised:
        resolve_repo("http://127.0.0.1:9", name)
    assert "--hf-repo-name" in raised.value.hint


def test_an_address_that_is_no_hub_is_said_so(board: Board, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_any")
    with pytest.raises(ServiceUnavailableError, match="does not answer as a Hub does"):
        resolve_repo(board.url, "tiny")


def test_a_hub_that_answers_pages_of_its_own_is_said_so(entry: Entry, board: Board, hub_root: Path) -> None:
    hub = create_hub(HubSettings(root=hub_root))

    async def half_a_hub(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/api/validate-yaml":
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/html")]})
            await send({"type": "http.response.body", "body": b"<html>Not here</html>"})
        else:
            await hub(scope, receive, send)

    with serve(half_a_hub) as url, pytest.raises(ServiceUnavailableError, match="does not answer as a Hub does"):
        submit(entry, board.client, HubTarget(url, "ada/tiny"), _ignore)


def test_an_unfinished_run_says_what_to_do(entry: Entry, board: Board, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="datacup train"):
        submit(replace(entry, run_dir=tmp_path), board.client, HubTarget("http://127.0.0.1:9", "ada/tiny"), _ignore)
    (entry.run_dir / "evaluation_report.json").unlink()
    with pytest.raises(UsageError, match="datacup evaluate"):
        submit(entry, board.client, HubTarget("http://127.0.0.1:9", "ada/tiny"), _ignore)


@pytest.mark.parametrize("name", ["model.safetensors", "train_log.jsonl"])
def test_a_run_that_lost_a_file_is_not_even_registered(entry: Entry, board: Board, name: str) -> None:
    (entry.run_dir / name).unlink()
    notes: list[str] = []
    with pytest.raises(UsageError, match=f"has no {name}") as raised:
        submit(entry, board.client, HubTarget("http://127.0.0.1:9", "ada/tiny"), notes.append)
    assert "--exp-name" in raised.value.hint
    assert notes == []


def test_several_subset_files_are_merged_with_repeats(tmp_path: Path) -> None:
    pool = pool_array()
    np.save(tmp_path / "a.npy", pool[:10])
    np.save(tmp_path / "b.npy", pool[5:20])
    merged = merge_subsets(f"{tmp_path / 'a.npy'}::{tmp_path / 'b.npy'}", tmp_path / "merged.npy")
    assert np.array_equal(np.load(merged), sort_uids(np.concatenate([pool[:10], pool[5:20]])))


def test_a_manifest_is_the_same_when_it_is_made_again(entry: Entry, board: Board, hub_root: Path) -> None:
    with serve(create_hub(HubSettings(root=hub_root))) as url:
        view = submit(entry, board.client, HubTarget(url, "ada/tiny"), _ignore)
        path = entry.run_dir / "submissions" / view.id / "submission.json"
        before = path.read_bytes()
        ticket = board.client.register(registration(entry, HubTarget(url, "ada/tiny")))
    assemble(entry, ticket, path.parent)
    assert path.read_bytes() == before
    assert SubmissionManifest.model_validate_json(before).submission_id == view.id
