"""``datacup check``: what the scorer's checks find and refuse, said before anybody hears of an entry."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import typer

from competition.data.digests import file_sha256
from competition.data.uids import sort_uids
from competition.errors import RejectionError, RejectionReason
from competition.rules import EntryKind
from competition.verification import CHECKS
from competition.verification.checks import MEMBERSHIP, SCORER_ONLY
from competition.verification.report import BEFORE_CHECKS
from scorer.cli import verify
from tests.competition.evaluation.predicted import COMPETITION_YAML as GUESSING_YAML
from tests.competition.evaluation.predicted import SETS, all_guesses
from tests.competition.verification.entries import COMPETITION_YAML, TinyEntry, pool_array, tiny_weights, write_pool
from tests.conftest import ROOT
from tests.participant_kit.cli.typed import Typed, refused, typed
from tests.participant_kit.finished import finished_entry

PAGE = (ROOT / "docs" / "entry-format.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, its subset, the pool and the rules, not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    finished_entry(folder)
    write_pool(folder)
    (folder / "tiny.yaml").write_text(COMPETITION_YAML)
    (folder / "guess.yaml").write_text(GUESSING_YAML)
    return folder


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, to be broken, on a machine where nobody can be asked and nobody is known."""
    for variable in ("DATACUP_ENDPOINT", "DATACUP_TOKEN", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(variable, raising=False)

    def no_network(*_address: object) -> None:
        pytest.fail("a check asked somebody")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    shutil.copytree(finished, tmp_path / "place")
    return tmp_path / "place"


def check_run(place: Path, *more: str | Path) -> Typed:
    words = ("--competition", place / "tiny.yaml", "--track", "filtering", "--train-output-dir", place / "runs/first")
    return typed("check", *words, "--samples", place / "subset.npy", *more)


def listed(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_every_check_says_what_it_found_and_nothing_is_left_behind(place: Path) -> None:
    before = listed(place)
    result = check_run(place, "--metadata-dir", place / "tiny-pool/metadata", "--json")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert (report["valid"], report["failed"]) == (True, None)
    found = {each["name"]: each["found"] for each in report["passed"]}
    assert list(found) == [name for name, _ in CHECKS[EntryKind.MODEL]]
    assert found["subset"] == {"uids": 23, "distinct": 20, "all_in_pool": "tiny-pool"}
    assert found["digests"]["model.safetensors"] == file_sha256(place / "runs/first/model.safetensors")
    assert found["digests"]["subset.npy"] == file_sha256(place / "subset.npy")
    assert found["listing"]["files"] == len(found["digests"]) == 7
    assert (found["training"]["samples_seen"], found["training-data"]["samples"]) == (96, 23)
    weights = sum(tensor.size for tensor in tiny_weights().values())
    assert found["model-header"] == {"tensors": len(tiny_weights()), "weights": weights}
    assert (found["evaluation"], found["lineage"]) == ({"tasks": 3}, {"files": 0})
    assert report["unchecked"] == list(SCORER_ONLY[EntryKind.MODEL])
    shown = check_run(place)
    assert re.search(r"^subset +23 uids, 20 distinct$", shown.out, flags=re.MULTILINE)
    assert "train_log.jsonl " in shown.out
    assert f"model.safetensors {file_sha256(place / 'runs/first/model.safetensors')[:12]}" in shown.out
    for open_question in (MEMBERSHIP, *SCORER_ONLY[EntryKind.MODEL]):
        assert f"Not checked here: {open_question}.\n" in shown.err
    assert listed(place) == before


def test_a_broken_run_is_refused_with_the_scorers_words_and_status(place: Path) -> None:
    subset, pool = place / "subset.npy", pool_array()
    foreign = pool[10:14].copy()
    foreign["f1"] += 1
    cases = (
        (pool[::-1], "subset", RejectionReason.SUBSET_UNSORTED, "is not sorted"),
        (
            sort_uids(np.concatenate([pool[:20], foreign])),
            "subset",
            RejectionReason.SUBSET_FOREIGN_UIDS,
            "4 of 24 uids",
        ),
        (pool["f0"], "subset", RejectionReason.SUBSET_MALFORMED, "subset.npy"),
        (pool[:0], "subset", RejectionReason.SUBSET_MALFORMED, "holds no uid"),
        (pool[:5], "training-data", RejectionReason.TRAINING_DATA_MISMATCH, "23 samples, but the subset has 5"),
    )
    for uids, name, reason, words in cases:
        np.save(subset, uids)
        options = ("--metadata-dir", place / "tiny-pool/metadata")
        result = check_run(place, *options)
        assert result.code == RejectionError.exit_code == 10
        assert re.search(rf"^{name} +refused: {reason.value}$", result.out, flags=re.MULTILINE)
        assert words in result.err.splitlines()[0]
        assert result.err.splitlines()[1] == reason.hint
        report = json.loads(check_run(place, *options, "--json").out)
        assert report["failed"]["name"] == name
        assert (report["failed"]["reason"], report["failed"]["hint"]) == (reason.value, reason.hint)
        assert name not in [each["name"] for each in report["passed"]]


def test_what_a_killed_check_left_goes_a_day_later(place: Path) -> None:
    old, young = place / "runs/first/.checked-old", place / "runs/first/.checked-young"
    for folder in (old, young):
        (folder / "entry").mkdir(parents=True)
        (folder / "entry/subset.npy").write_bytes(b"")
    os.utime(old, (0, 0))
    assert check_run(place).code == 0
    assert (old.exists(), young.exists()) == (False, True)


def test_words_and_weights_are_checked_too(place: Path) -> None:
    result = check_run(place, "--description", "<b>best</b>")
    assert (result.code, "manifest_malformed" in result.out) == (10, True)
    assert "--method-name cannot be used" in refused(*_words(place), "--method-name", "x" * 121).err
    assert "is not the name of a repository" in refused(*_words(place), "--hf-repo-name", "a/b/c").err
    (place / "runs/first/train_log.jsonl").unlink()
    assert "has no train_log.jsonl" in refused(*_words(place)).err
    assert "datacup train" in refused(*_words(place, "runs/none")).err
    assert not (place / "runs/none").exists()


def _words(place: Path, run: str = "runs/first") -> tuple[str | Path, ...]:
    options = ("--competition", place / "tiny.yaml", "--track", "filtering", "--samples", place / "subset.npy")
    return ("check", *options, "--train-output-dir", place / run)


def test_a_folder_gets_the_report_that_the_scorers_command_gives(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATACUP_POOLS", str(place))
    monkeypatch.setenv("DATACUP_CACHE", str(place / "cache"))
    monkeypatch.setenv("DATACUP_MIRROR", str(place / "cache/mirror"))
    rules = str(place / "tiny.yaml")
    folder = TinyEntry(place / "folder").build().seal().folder
    metadata = ("--metadata-dir", place / "tiny-pool/metadata")

    def both() -> tuple[int, dict[str, object]]:
        kit = typed("check", folder, "--competition", rules, *metadata, "--json")
        try:
            verify.command(folder, rules, as_json=True)
            code = 0
        except typer.Exit as ended:
            code = ended.exit_code
        assert json.loads(capsys.readouterr().out) == json.loads(kit.out)
        assert code == kit.code
        return kit.code, json.loads(kit.out)

    code, report = both()
    assert (code, report["valid"]) == (0, True)
    assert "all_in_pool" in {key for each in report["passed"] for key in each["found"]}
    (folder / "README.md").write_text("# Tony\n")
    code, report = both()
    assert (code, report["failed"]["reason"]) == (10, "digest_mismatch")
    (folder / "subset.npy").unlink()
    assert both()[1]["failed"]["reason"] == "file_missing"
    (folder / "submission.json").unlink()
    code, report = both()
    assert (code, report["failed"]["reason"], report["passed"]) == (10, "manifest_missing", [])


def test_what_cannot_be_checked_is_said(place: Path) -> None:
    assert "Nothing to check was named." in refused("check").err
    folder = TinyEntry(place / "folder").build().seal().folder
    given = refused("check", folder, "--track", "filtering", "--samples", "s.npy")
    assert "is checked without --track and --samples" in given.err
    assert "There is no competition 'tiny'" in refused("check", folder).err
    write_pool(place / "doubled")
    metadata = place / "doubled/tiny-pool/metadata"
    shutil.copy(next(metadata.glob("*.parquet")), metadata / f"{'1' * 32}.parquet")
    other = refused("check", folder, "--competition", place / "tiny.yaml", "--metadata-dir", metadata)
    assert "holds 120 samples; pool 'tiny-pool' has 60" in other.err


def test_predictions_are_checked_as_far_as_can_be_without_labels(place: Path) -> None:
    sets = all_guesses()
    file = place / "mine.npz"
    words = ("check", "--competition", place / "guess.yaml", "--track", "predictions", "--scale", "digits")
    np.savez_compressed(file, **{name: top5[:, ::-1] for name, top5 in sets.items()})
    result = typed(*words, "--predictions", file)
    assert result.code == 0, result.err
    assert re.search(r"^predictions +2 sets, 540 samples$", result.out, flags=re.MULTILINE)
    for open_question in SCORER_ONLY[EntryKind.PREDICTIONS]:
        assert f"Not checked here: {open_question}." in result.err
    assert MEMBERSHIP not in result.err
    np.savez_compressed(file, **{**sets, SETS[0]: sets[SETS[0]].T})
    transposed = typed(*words, "--predictions", file)
    assert (transposed.code, "predictions_transposed" in transposed.out) == (10, True)
    assert listed(place).keys() >= {"mine.npz"}
    assert not [path for path in place.iterdir() if path.name.startswith(".")]


def test_the_pages_commands_check_an_entry(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (section,) = re.findall(r"^## Checking an entry(.*?)^## ", PAGE, flags=re.MULTILINE | re.DOTALL)
    commands = [line.split() for line in re.findall(r"^\$ datacup (.*)$", section, flags=re.MULTILINE)]
    assert len(commands) == 2
    TinyEntry(place / "runs/first/submissions/sub-1").build().seal()
    (place / "tiny-pool").rename(place / "pool")
    monkeypatch.chdir(place)
    for words in commands:
        result = typed(*words, "--competition", "tiny.yaml")
        assert result.code == 0, result.err
    names = re.findall(r"^\| `([a-z-]+)` \|", section, flags=re.MULTILINE)
    every = [name for kind in (EntryKind.MODEL, EntryKind.PREDICTIONS) for name, _ in CHECKS[kind]]
    assert names == [BEFORE_CHECKS, *dict.fromkeys(every)]
