"""What may be deleted from a mirror or an archive: nothing that a known submission refers to, and nothing young."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from competition.canonical import digest
from competition.errors import DataFormatError, UsageError
from competition.records.submission import SubmissionRegistration, SubmissionRevision
from scorer.cli.mirror import app
from scorer.garbage import Store, collect, survey
from scorer.mirror import Mirror
from tests.scorer.conftest import Board
from tests.scorer.stores import archiving, entry_of, folder_archive, mirrored, sha256
from tests.scorer.test_cli import scorer

NOW = 1_800_000_000.0
DAY = 24 * 3600.0
GRACE = 7 * DAY


@dataclass(frozen=True)
class Made:
    """A submission: which of eight files it has, what the leaderboard and the store know of it, and its age in days."""

    files: frozenset[int]
    known: bool
    verified: bool
    remembered: bool
    age: float


ages = st.sampled_from([0.0, 6.9, 7.1, 400.0])
submissions = st.lists(
    st.builds(Made, st.frozensets(st.integers(0, 7), min_size=1), st.booleans(), st.booleans(), st.booleans(), ages),
    max_size=5,
)


def content(number: int) -> bytes:
    return b"x" * (number + 1)


def build(folder: Path, made: list[Made], blob_ages: list[float]) -> dict[str, set[str]]:
    """A store in a folder, in the layout that mirror and archive share; what the leaderboard knows."""
    mirror = Mirror(folder)
    (folder / "entries").mkdir(parents=True)
    known: dict[str, set[str]] = {"sub-of-others": set()}
    for number, each in enumerate(made):
        name = f"sub-{number}"
        entry = entry_of(name, *(content(file) for file in sorted(each.files)))
        if each.known:
            known[name] = {file.sha256 for file in entry.manifest.files} if each.verified else set()
        if each.remembered:
            record = folder / "entries" / f"{name}.json"
            record.write_text(entry.model_dump_json())
            os.utime(record, (NOW - each.age * DAY,) * 2)
    (folder / "entries" / "sub-of-others.json").write_text(entry_of("sub-of-others", content(7)).model_dump_json())
    for number, age in enumerate([*blob_ages, 400.0]):
        path = mirror.path(sha256(content(number)))
        path.parent.mkdir(parents=True)
        path.write_bytes(content(number))
        os.utime(path, (NOW - age * DAY,) * 2)
    return known


def needed(made: list[Made], blob_ages: list[float]) -> set[int]:
    """The files that must stay, by the words of the rule."""
    kept = {7} | {number for number, age in enumerate(blob_ages) if age * DAY < GRACE}
    for each in made:
        if each.known and (each.verified or each.remembered):
            kept |= each.files
        if each.remembered and each.age * DAY < GRACE:
            kept |= each.files
    return kept


@settings(max_examples=60, deadline=None)
@given(made=submissions, blob_ages=st.lists(ages, min_size=7, max_size=7), in_archive=st.booleans())
def test_exactly_what_is_old_and_not_referred_to_is_deleted(
    made: list[Made], blob_ages: list[float], in_archive: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "store"
        known = build(folder, made, blob_ages)
        store: Store = folder_archive(folder) if in_archive else Mirror(folder)
        expected = needed(made, blob_ages)
        found = survey(store, known, NOW, GRACE)
        assert {blob.sha256 for blob in found.blobs} == {sha256(content(n)) for n in set(range(8)) - expected}
        assert len(list(store.blobs())) == 8, "a survey deletes nothing"
        assert collect(store, found, NOW, GRACE) == found.bytes == sum(n + 1 for n in set(range(8)) - expected)
        assert {blob.sha256 for blob in store.blobs()} == {sha256(content(n)) for n in expected}
        stay = {f"sub-{n}" for n, each in enumerate(made) if each.remembered and (each.known or each.age * DAY < GRACE)}
        assert {name for name, _ in store.entries()} == stay | {"sub-of-others"}
        again = survey(store, known, NOW, GRACE)
        assert (again.blobs, again.entries) == ((), ())


def test_what_an_intake_meets_after_the_survey_stays(tmp_path: Path) -> None:
    mirror, archive = Mirror(tmp_path / "mirror"), folder_archive(tmp_path / "archive")
    entry = mirrored(mirror, "sub-1", b"needed", b"dropped", b"met")
    archiving(mirror, archive).deposit("sub-1", entry)
    old = {sha256(word) for word in (b"dropped", b"met")}
    for folder in (tmp_path / "mirror", tmp_path / "archive"):
        for blob in old:
            os.utime(Mirror(folder).path(blob), (0, 0))
        (folder / "entries" / "sub-1.json").unlink()
    known = {"sub-1": {sha256(b"needed")}}
    stores: list[Store] = [mirror, archive]
    surveys = [survey(store, known, time.time(), GRACE) for store in stores]
    assert [{blob.sha256 for blob in found.blobs} for found in surveys] == [old, old]
    assert mirror.keeps(sha256(b"met"), 3)
    assert archive.put(mirror.path(sha256(b"met")), sha256(b"met"), 3, lambda: None)
    for store, found in zip(stores, surveys, strict=True):
        collect(store, found, time.time(), GRACE)
        assert {blob.sha256 for blob in store.blobs()} == {sha256(b"needed"), sha256(b"met")}


def test_a_leaderboard_that_knows_nothing_here_is_another_one(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    mirrored(mirror, "sub-1", b"a")
    with pytest.raises(UsageError, match="none of the 1 entries"):
        survey(mirror, {"sub-9": {sha256(b"b")}}, time.time() + 9 * GRACE, GRACE)
    (tmp_path / "entries" / "sub-1.json").unlink()
    with pytest.raises(UsageError, match="none of the files"):
        survey(mirror, {"sub-9": {sha256(b"b")}}, time.time() + 9 * GRACE, GRACE)
    (tmp_path / "entries" / "sub-1.json").write_text("{}")
    with pytest.raises(DataFormatError, match=r"sub-1\.json is no record"):
        survey(mirror, {"sub-1": {sha256(b"a")}}, time.time() + 9 * GRACE, GRACE)


def received(board: Board, number: int) -> str:
    """A submission that waits for its intake."""
    registration = SubmissionRegistration(
        idempotency_key=digest([board.url, number]),
        competition="tiny",
        track="filtering",
        scale="nano",
        method_name=f"method {number}",
        author="a tester",
        hub_endpoint="http://127.0.0.1:1",
        repo="alice/entry",
    )
    submission = board.participant.register(registration).submission_id
    board.participant.set_revision(submission, SubmissionRevision(revision="c" * 40, path=f"entries/{submission}"))
    return submission


def test_the_commands_of_organisers(board: Board, tmp_path: Path) -> None:
    environment = {
        "DATACUP_MIRROR": str(tmp_path / "mirror"),
        "DATACUP_ARCHIVE": (tmp_path / "archive").as_uri(),
        "DATACUP_ENDPOINT": board.url,
        "DATACUP_TOKEN": board.scorer_token,
    }
    mirror, archive = Mirror(tmp_path / "mirror"), folder_archive(tmp_path / "archive")
    kept, other = received(board, 1), received(board, 2)
    mirrored(mirror, kept, b"kept", b"shared")
    mirrored(mirror, other, b"shared")
    mirrored(mirror, "sub-unknown", b"unknown", b"shared")

    def run(*arguments: str, fails: bool = False) -> list[dict[str, object]]:
        done = CliRunner().invoke(app, [*arguments, "--json"], env=environment)
        assert isinstance(done.exception, DataFormatError) if fails else done.exit_code == 0, done.exception
        return [json.loads(line) for line in done.stdout.splitlines()]

    assert sum(int(str(row["sent"])) for row in run("push")) == len(b"keptsharedunknown")
    assert [row["sent"] for row in run("push")] == [0, 0, 0]
    rows = {(row["place"], row["submission"]): row for row in run("ls")}
    assert rows.keys() == {(place, name) for place in ("mirror", "archive") for name in (kept, other, "sub-unknown")}
    assert rows["archive", kept]["bytes"] == len(b"keptshared")

    mirror.path(sha256(b"kept")).chmod(0o644)
    mirror.path(sha256(b"kept")).write_bytes(b"kepT")
    archive.remove(sha256(b"shared"))
    found = [row for row in run("verify", fails=True) if "sha256" in row]
    assert [(row["place"], row["event"], row["sha256"]) for row in found] == [
        ("mirror", "damaged", sha256(b"kept")),
        ("archive", "absent", sha256(b"shared")),
    ]
    assert all(row["replaced"] for row in run("verify", "--repair") if "sha256" in row)
    shown = run("show", kept)[0]
    assert [file["in"] for file in shown["files"]] == [["mirror", "archive"]] * 2  # type: ignore[attr-defined]
    assert mirror.verified(sha256(b"kept")).read_bytes() == b"kept"

    for folder in (tmp_path / "mirror", tmp_path / "archive"):
        for path in [*folder.rglob("objects/*/*/*"), *folder.rglob("entries/*"), *folder.rglob("damaged/*")]:
            os.utime(path, (0, 0))
    dry = run("gc")
    assert [(row["place"], row["deleted"], row["freed"]) for row in dry] == [
        ("mirror", False, 0),
        ("archive", False, 0),
    ]
    assert [row["files"] for row in dry] == [[{"sha256": sha256(b"unknown"), "size": 7}]] * 2
    assert [row["entries"] for row in dry] == [["sub-unknown"]] * 2
    assert mirror.holds(sha256(b"unknown"), 7)
    said = scorer("mirror", "gc", "--yes", **environment)
    assert said.returncode == 0, said.stderr
    assert "1 files that no submission needs" in said.stdout
    for store in (mirror, archive):
        assert {blob.sha256 for blob in store.blobs()} == {sha256(b"kept"), sha256(b"shared")}
    assert not list(mirror.leftovers())
    lost = CliRunner().invoke(app, ["show", "sub-unknown"], env=environment).exception
    assert "No entry 'sub-unknown'" in str(lost)
