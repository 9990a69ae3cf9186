"""Every hostile entry ends ``invalid`` for the right reason, in bounded time and memory, and leaves nothing behind.

Each goes the whole way of an intake: a repository on a real Hub, fetched and verified by the scorer's own code in
processes of their own. What no repository can hold is checked as a folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from competition.errors import RejectionError, RejectionReason
from competition.rules import Competition
from scorer.mirror import Source
from tests.competition.evaluation.predicted import all_guesses, guessing
from tests.competition.verification.entries import TinyEntry, tiny_competition
from tests.competition.verification.test_predictions import PredictionsFolder
from tests.hostile import chores, manifests, models, predictions, reports, subsets
from tests.hostile.conftest import MEMORY, Ground
from tests.scorer.conftest import RunningHub

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]
GroundOf = Callable[[Competition, str, str], Ground]

OF_A_MODEL = {
    f"{family}: {name}": case
    for family, cases in (
        ("manifest", manifests.CASES),
        ("subset", subsets.CASES),
        ("model", models.CASES),
        ("report", reports.CASES),
    )
    for name, case in cases.items()
}


def on_the_hub(hub: RunningHub, folder: Path) -> Source:
    """The folder, committed to a repository of its own."""
    repo = f"alice/{uuid4().hex}"
    hub.api().create_repo(repo)
    revision = hub.api().upload_folder(repo_id=repo, folder_path=folder, path_in_repo="an/entry").oid
    return Source(endpoint=hub.url, repo=repo, revision=str(revision), path="an/entry")


def check_end(ground: Ground, before: object, error: RejectionError) -> None:
    """The message is one to show to anybody, and the entry left no trace and no burden."""
    assert "\n" not in error.message
    assert error.message.isprintable()
    assert len(error.message) < 1000
    assert str(ground.root) not in error.message
    assert ground.traces() == before
    ground.check_mirror()
    assert ground.grown
    assert max(ground.grown) < MEMORY


@pytest.mark.parametrize("name", OF_A_MODEL)
def test_a_hostile_entry_of_a_model(name: str, hub: RunningHub, ground_of: GroundOf, tmp_path: Path) -> None:
    case = OF_A_MODEL[name]
    ground = ground_of(tiny_competition(), "filtering", "nano")
    entry = TinyEntry(tmp_path / "entry").build()
    case.make(entry)
    source, before = on_the_hub(hub, entry.folder), ground.traces()
    with pytest.raises(RejectionError) as caught:
        ground.intake(source)
    assert caught.value.reason is case.reason, caught.value.message
    assert case.words in caught.value.message
    check_end(ground, before, caught.value)


@pytest.mark.parametrize("name", predictions.CASES)
def test_a_hostile_entry_of_predictions(name: str, hub: RunningHub, ground_of: GroundOf, tmp_path: Path) -> None:
    case = predictions.CASES[name]
    competition = guessing()
    roomy = competition.limits.model_copy(update={"file_bytes": 8_000_000, "total_bytes": 8_000_000})
    ground = ground_of(competition.model_copy(update={"limits": roomy}), "predictions", "digits")
    entry = PredictionsFolder(tmp_path / "entry")
    entry.folder.mkdir()
    entry.save(**all_guesses())
    case.make(entry)
    source, before = on_the_hub(hub, entry.folder), ground.traces()
    with pytest.raises(RejectionError) as caught:
        ground.intake(source)
    assert caught.value.reason is case.reason, caught.value.message
    assert case.words in caught.value.message
    check_end(ground, before, caught.value)


def test_a_sound_entry_passes_on_the_same_way(hub: RunningHub, ground_of: GroundOf, tmp_path: Path) -> None:
    ground = ground_of(tiny_competition(), "filtering", "nano")
    entry = TinyEntry(tmp_path / "entry").build()
    entry.evaluation()
    entry.lineage()
    source, before = on_the_hub(hub, entry.seal().folder), ground.traces()
    assert len(ground.intake(source).files) == 6
    assert ground.traces() == before
    assert max(ground.grown) < MEMORY


def _link(target: str) -> Callable[[TinyEntry], None]:
    def make(entry: TinyEntry) -> None:
        entry.seal()
        (entry.folder / "README.md").unlink()
        (entry.folder / "README.md").symlink_to(target)

    return make


def _linked_folder(entry: TinyEntry) -> None:
    entry.folder.joinpath("model.safetensors").rename(entry.folder.parent / "model.safetensors")
    (entry.folder / "inner").symlink_to(entry.folder.parent)
    role = entry.roles.pop("model.safetensors")
    entry.roles["inner/model.safetensors"] = role
    entry.seal()


def _pipe(entry: TinyEntry) -> None:
    entry.seal()
    (entry.folder / "README.md").unlink()
    os.mkfifo(entry.folder / "README.md")


def _folder(entry: TinyEntry) -> None:
    entry.seal()
    (entry.folder / "README.md").unlink()
    (entry.folder / "README.md").mkdir()


def _device(entry: TinyEntry) -> None:
    entry.seal()
    (entry.folder / "README.md").unlink()
    try:
        os.mknod(entry.folder / "README.md", 0o666 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this user may not make a device")


def _pipe_for_a_manifest(entry: TinyEntry) -> None:
    os.mkfifo(entry.folder / "submission.json")


R = RejectionReason
FOLDERS: dict[str, tuple[RejectionReason, Callable[[TinyEntry], None]]] = {
    "a link out of the folder": (R.PATH_NOT_ALLOWED, _link("../ground/home/secret")),
    "a link to a device": (R.PATH_NOT_ALLOWED, _link("/dev/zero")),
    "a link to itself": (R.PATH_NOT_ALLOWED, _link("README.md")),
    "a link for a folder": (R.PATH_NOT_ALLOWED, _linked_folder),
    "a pipe": (R.PATH_NOT_ALLOWED, _pipe),
    "a device": (R.PATH_NOT_ALLOWED, _device),
    "a folder for a file": (R.PATH_NOT_ALLOWED, _folder),
    "a pipe for a manifest": (R.MANIFEST_MISSING, _pipe_for_a_manifest),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_hostile_folder(name: str, ground_of: GroundOf, tmp_path: Path) -> None:
    reason, make = FOLDERS[name]
    ground = ground_of(tiny_competition(), "filtering", "nano")
    entry = TinyEntry(tmp_path / "entry").build()
    make(entry)
    before = ground.traces()
    request = chores.FolderRequest(folder=entry.folder, competition=ground.competition)
    with pytest.raises(RejectionError) as caught:
        ground.run(chores.check_folder, request.model_dump_json())
    assert caught.value.reason is reason, caught.value.message
    check_end(ground, before, caught.value)


def test_the_corpus_is_as_large_as_promised_and_names_every_reason_of_an_intake() -> None:
    cases = [*OF_A_MODEL.values(), *predictions.CASES.values()]
    assert len(cases) + len(FOLDERS) > 140
    elsewhere = {R.REPOSITORY_NOT_FOUND, R.CONTAMINATED}  # the latter, and external data, in test_external.py
    elsewhere |= {reason for reason in R if reason.value.startswith(("predictions_", "external_"))}
    assert {case.reason for case in cases} >= set(R) - elsewhere
