"""Every rule that an entry can break is broken once by a real entry, and the reason and the sentence say so."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from competition.data.uids import UID_DTYPE, sort_uids
from competition.errors import RejectionError, RejectionReason
from competition.records.manifest import FileRole
from competition.rules import EntryKind
from competition.verification import CHECKS, check_submission
from tests.competition.verification.entries import TinyEntry, pool_array, tiny_competition, tiny_weights

R = RejectionReason
Break = Callable[[TinyEntry], object]


@pytest.fixture
def entry(tmp_path: Path) -> TinyEntry:
    return TinyEntry(tmp_path / "entry").build()


def rejection(entry: TinyEntry) -> RejectionError:
    with pytest.raises(RejectionError) as caught:
        check_submission(entry.folder, tiny_competition(), pool_array())
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 1000
    assert str(entry.folder.parent) not in caught.value.message or caught.value.reason is R.MANIFEST_MISSING
    return caught.value


def test_a_valid_entry_passes_every_check_in_order(entry: TinyEntry) -> None:
    heard: list[str] = []
    manifest = check_submission(entry.seal().folder, tiny_competition(), pool_array(), heard.append)
    assert manifest.subset_samples == 23, "repeats are allowed and mean multiplicity"
    assert heard == [name for name, _ in CHECKS[EntryKind.MODEL]]


def test_without_a_pool_all_but_membership_is_checked(entry: TinyEntry) -> None:
    check_submission(entry.seal().folder, tiny_competition(), None)


def test_an_entry_may_say_what_its_model_is_worth(entry: TinyEntry) -> None:
    entry.evaluation()
    check_submission(entry.seal(description="better, p < 0.01").folder, tiny_competition(), pool_array())


def test_an_entry_may_say_how_its_subset_was_made(entry: TinyEntry) -> None:
    entry.lineage()
    manifest = check_submission(entry.seal().folder, tiny_competition(), pool_array())
    assert manifest.only(FileRole.LINEAGE).path == "dataset.json"


def _files(entry: TinyEntry, **changes: object) -> list[dict[str, object]]:
    """The manifest's files with the model's line changed."""
    files = entry.manifest()["files"]
    return [{**file, **changes} if file["role"] == "model" else file for file in files]


def _foreign(entry: TinyEntry) -> None:
    uids = pool_array()[:23].copy()
    uids["f1"][3] += 1
    entry.save_subset(sort_uids(uids))
    entry.seal(subset_unique=23)


def _raw_subset(entry: TinyEntry, array: np.ndarray) -> None:
    np.save(entry.folder / "subset.npy", array)
    entry.seal()


def _pickled_subset(entry: TinyEntry) -> None:
    np.save(entry.folder / "subset.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    entry.seal()


def _bare_pickle(entry: TinyEntry) -> None:
    (entry.folder / "subset.npy").write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR." + bytes(9))
    entry.seal()


def _npy_promising_terabytes(entry: TinyEntry) -> None:
    header = b"{'descr': [('f0', '<u8'), ('f1', '<u8')], 'fortran_order': False, 'shape': (1000000000000,), }"
    header += b" " * (64 - (10 + len(header)) % 64 - 1) + b"\n"
    raw = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    (entry.folder / "subset.npy").write_bytes(raw)
    entry.seal()


def _weights(entry: TinyEntry, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    weights = tiny_weights()
    change(weights)
    entry.save_weights(weights)
    entry.seal()


def _not_finite(value: float) -> Break:
    def change(weights: dict[str, np.ndarray]) -> None:
        weights["visual.conv1.weight"][0, 0, 0, 0] = value

    return lambda entry: _weights(entry, change)


def _report(**changes: object) -> Break:
    def apply(entry: TinyEntry) -> None:
        entry.report(**changes)
        entry.seal()

    return apply


def _changed_after_sealing(entry: TinyEntry) -> None:
    entry.seal()
    path = entry.folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def _symlink(entry: TinyEntry) -> None:
    entry.seal()
    target = entry.folder.parent / "elsewhere.md"
    (entry.folder / "README.md").rename(target)
    (entry.folder / "README.md").symlink_to(target)


def _pipe(entry: TinyEntry) -> None:
    entry.seal()
    (entry.folder / "README.md").unlink()
    os.mkfifo(entry.folder / "README.md")


def _extra_file(name: str, role: FileRole, size: int = 1) -> Break:
    def apply(entry: TinyEntry) -> None:
        path = entry.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.truncate(size)
        entry.roles[name] = role
        entry.seal()

    return apply


def _lineage(**changes: object) -> Break:
    def apply(entry: TinyEntry) -> None:
        entry.lineage(**changes)
        entry.seal()

    return apply


def _other_lineage(text: str) -> Break:
    """The file of a lineage with this content."""

    def apply(entry: TinyEntry) -> None:
        entry.lineage()
        (entry.folder / "dataset.json").write_text(text)
        entry.seal()

    return apply


def _evaluation(**changes: object) -> Break:
    def apply(entry: TinyEntry) -> None:
        entry.evaluation(**changes)
        entry.seal()

    return apply


def _two_lineages(entry: TinyEntry) -> None:
    entry.lineage()
    _extra_file("second.json", FileRole.LINEAGE)(entry)


def _many_files(entry: TinyEntry) -> None:
    for number in range(6):
        _extra_file(f"card{number}.md", FileRole.CARD)(entry)


CASES: dict[str, tuple[RejectionReason, str, Break]] = {
    "no manifest": (R.MANIFEST_MISSING, "submission.json", lambda e: None),
    "a pipe for a manifest": (
        R.MANIFEST_MISSING,
        "not a plain file",
        lambda e: os.mkfifo(e.folder / "submission.json"),
    ),
    "manifest is not JSON": (
        R.MANIFEST_MALFORMED,
        "Invalid JSON",
        lambda e: (e.folder / "submission.json").write_text("{"),
    ),
    "manifest too large": (
        R.MANIFEST_MALFORMED,
        "at most 1000000",
        lambda e: (e.folder / "submission.json").write_text(" " * 1_000_001),
    ),
    "manifest nested deeply": (
        R.MANIFEST_MALFORMED,
        "submission.json",
        lambda e: (e.folder / "submission.json").write_text("[" * 100_000),
    ),
    "future version": (R.MANIFEST_MALFORMED, "schema_version", lambda e: e.seal(schema_version=2)),
    "unknown field": (R.MANIFEST_MALFORMED, "surprise", lambda e: e.seal(surprise=1)),
    "unknown field with control characters": (
        R.MANIFEST_MALFORMED,
        "x1b",
        lambda e: e.seal(**{"\x1b[31m" + "x" * 100_000: 1}),
    ),
    "HTML in a name": (
        R.MANIFEST_MALFORMED,
        "method_name has '<img src=x",
        lambda e: e.seal(method_name="<img src=x>"),
    ),
    "control characters in a name": (R.MANIFEST_MALFORMED, "method_name", lambda e: e.seal(method_name="a\x1b[2Jb")),
    "a name of a megabyte": (R.MANIFEST_MALFORMED, "author", lambda e: e.seal(author="x" * 900_000)),
    "no model listed": (
        R.MANIFEST_MALFORMED,
        "0 files of role 'model'",
        lambda e: (e.roles.pop("model.safetensors"), e.seal()),
    ),
    "another competition": (R.MANIFEST_MISMATCH, "competition is 'digits'", lambda e: e.seal(competition="digits")),
    "another version": (R.MANIFEST_MISMATCH, "competition_version", lambda e: e.seal(competition_version=2)),
    "another suite": (R.MANIFEST_MISMATCH, "suite_digest", lambda e: e.seal(suite_digest="1" * 64)),
    "unknown track": (R.MANIFEST_MISMATCH, "no track 'byod'", lambda e: e.seal(track="byod")),
    "unknown scale": (R.MANIFEST_MISMATCH, "no scale 'xlarge'", lambda e: e.seal(scale="xlarge")),
    "path upwards": (
        R.PATH_NOT_ALLOWED,
        "'../../etc/passwd'",
        lambda e: e.seal(files=_files(e, path="../../etc/passwd")),
    ),
    "path upwards inside": (R.PATH_NOT_ALLOWED, "'a/../b'", lambda e: e.seal(files=_files(e, path="a/../b"))),
    "absolute path": (R.PATH_NOT_ALLOWED, "'/etc/passwd'", lambda e: e.seal(files=_files(e, path="/etc/passwd"))),
    "backslashes": (R.PATH_NOT_ALLOWED, "..", lambda e: e.seal(files=_files(e, path="..\\a.safetensors"))),
    "hidden file": (
        R.PATH_NOT_ALLOWED,
        "'.cache/a.safetensors'",
        lambda e: e.seal(files=_files(e, path=".cache/a.safetensors")),
    ),
    "the manifest lists itself": (
        R.PATH_NOT_ALLOWED,
        "manifest itself",
        lambda e: e.seal(files=_files(e, path="submission.json")),
    ),
    "a pickle by name": (
        R.PATH_NOT_ALLOWED,
        "must end in .safetensors",
        lambda e: e.seal(files=_files(e, path="m.pt")),
    ),
    "symbolic link": (R.PATH_NOT_ALLOWED, "symbolic link", _symlink),
    "named pipe": (R.PATH_NOT_ALLOWED, "not a plain file", _pipe),
    "file missing": (R.FILE_MISSING, "README.md", lambda e: (e.seal(), (e.folder / "README.md").unlink())),
    "too many files": (R.FILE_TOO_LARGE, "10 files", _many_files),
    "a file too large": (R.FILE_TOO_LARGE, "8000001 bytes", _extra_file("big.md", FileRole.CARD, 8_000_001)),
    "too large in all": (R.FILE_TOO_LARGE, "in all", _extra_file("big.md", FileRole.CARD, 7_999_999)),
    "another size": (R.SIZE_MISMATCH, "the manifest says 5", lambda e: e.seal(files=_files(e, size=5))),
    "another digest": (
        R.DIGEST_MISMATCH,
        "0000",
        lambda e: (e.report(model_sha256="0" * 64), e.seal(files=_files(e, sha256="0" * 64))),
    ),
    "changed after sealing": (R.DIGEST_MISMATCH, "model.safetensors", _changed_after_sealing),
    "subset pickled": (R.SUBSET_MALFORMED, "dtype object", _pickled_subset),
    "subset is a bare pickle": (R.SUBSET_MALFORMED, "not a NumPy file", _bare_pickle),
    "subset promises terabytes": (R.SUBSET_MALFORMED, "bytes where its", _npy_promising_terabytes),
    "subset of floats": (R.SUBSET_MALFORMED, "float64", lambda e: _raw_subset(e, np.zeros(4))),
    "subset of two dimensions": (R.SUBSET_MALFORMED, "shape", lambda e: _raw_subset(e, np.zeros((2, 2), UID_DTYPE))),
    "subset empty": (R.SUBSET_MALFORMED, "no uid", lambda e: _raw_subset(e, np.zeros(0, UID_DTYPE))),
    "subset too long": (R.SUBSET_MALFORMED, "at most 80", lambda e: _raw_subset(e, np.repeat(pool_array(), 2))),
    "subset unsorted": (
        R.SUBSET_UNSORTED,
        "position 1",
        lambda e: _raw_subset(e, pool_array()[[5, 3, 1] + [9] * 20]),
    ),
    "subset foreign": (R.SUBSET_FOREIGN_UIDS, "1 of 23 uids are not in pool 'tiny-pool'", _foreign),
    "subset shorter than claimed": (
        R.SUBSET_COUNT_MISMATCH,
        "subset_samples = 24, but the file has 23",
        lambda e: e.seal(subset_samples=24),
    ),
    "multiplicity undeclared": (R.SUBSET_COUNT_MISMATCH, "subset_unique = 23", lambda e: e.seal(subset_unique=23)),
    "lineage of another subset": (
        R.LINEAGE_MISMATCH,
        "dataset.json tells how a subset with sha256 4444",
        _lineage(subset_sha256="4" * 64),
    ),
    "lineage whose counts do not sum": (R.LINEAGE_MALFORMED, "not those that it read", _lineage(kept=22)),
    "lineage with other parameters than its digest": (
        R.LINEAGE_MALFORMED,
        "the digest of step all is not that of its parameters",
        _lineage(options={"seed": 1}),
    ),
    "lineage of a step that is not there": (R.LINEAGE_MALFORMED, "which is no earlier step", _lineage(inputs=["b"])),
    "lineage with control characters": (R.LINEAGE_MALFORMED, "options", _lineage(options={"by": "a\x1b[2Jb"})),
    "lineage with a number beyond canonical JSON": (R.LINEAGE_MALFORMED, "total", _lineage(total=2**60)),
    "lineage with numbers in words": (R.LINEAGE_MALFORMED, "kept", _lineage(kept="9" * 5000)),
    "lineage with an unknown field": (R.LINEAGE_MALFORMED, "x1b", _lineage(**{"\x1b[31m" + "x" * 99_999: 1})),
    "lineage is not JSON": (R.LINEAGE_MALFORMED, "Invalid JSON", _other_lineage("{")),
    "lineage nested deeply": (R.LINEAGE_MALFORMED, "dataset.json", _other_lineage("[" * 100_000)),
    "lineage of a lone surrogate": (R.LINEAGE_MALFORMED, "Invalid JSON", _other_lineage('{"a": "\\ud800"}')),
    "lineage too large": (R.FILE_TOO_LARGE, "at most 1000000", _other_lineage(" " * 1_000_001)),
    "two lineages": (R.MANIFEST_MALFORMED, "2 files of role 'lineage'", _two_lineages),
    "a lineage that is no json by name": (
        R.PATH_NOT_ALLOWED,
        "must end in .json",
        _extra_file("dataset.yaml", FileRole.LINEAGE),
    ),
    "evaluation of another model": (R.EVALUATION_MISMATCH, "model_sha256 is 5555", _evaluation(model_sha256="5" * 64)),
    "evaluation under another suite": (R.EVALUATION_MISMATCH, "suite_digest", _evaluation(suite_digest="5" * 64)),
    "evaluation that is none": (R.EVALUATION_MALFORMED, "not an evaluation report: results", _evaluation(results=1)),
    "evaluation without a number": (
        R.EVALUATION_MALFORMED,
        "Invalid JSON",
        _evaluation(results=[{"value": float("nan")}]),
    ),
    "wrong recipe digest": (R.RECIPE_MISMATCH, "recipe_digest", lambda e: e.seal(recipe_digest="2" * 64)),
    "report of another recipe": (R.RECIPE_MISMATCH, "recipe is 'tiny-micro'", _report(recipe="tiny-micro")),
    "trained for longer": (R.RECIPE_MISMATCH, "steps is '24'", _report(steps=24)),
    "more samples seen": (R.RECIPE_MISMATCH, "samples_seen is '960'", _report(samples_seen=960)),
    "trained on more than the subset": (
        R.TRAINING_DATA_MISMATCH,
        "trained on 24 samples, but the subset has 23",
        _report(data={"shards": 1, "samples": 24, "digest": "0" * 64, "corrupt_samples": 0}),
    ),
    "report is not one": (R.MANIFEST_MALFORMED, "not a training report: steps", _report(steps=-1)),
    "report of another model": (R.DIGEST_MISMATCH, "written for a model", _report(model_sha256="3" * 64)),
    "model lacks a tensor": (
        R.MODEL_SHAPE_MISMATCH,
        "lacks tensors",
        lambda e: _weights(e, lambda w: w.pop("logit_scale")),
    ),
    "model has another tensor": (
        R.MODEL_SHAPE_MISMATCH,
        "unknown tensors",
        lambda e: _weights(e, lambda w: w.update(extra=np.zeros(1, np.float32))),
    ),
    "model is wider": (
        R.MODEL_SHAPE_MISMATCH,
        "F32 [16, 17]",
        lambda e: _weights(e, lambda w: w.update(text_projection=np.zeros((16, 17), np.float32))),
    ),
    "model of half precision": (
        R.MODEL_SHAPE_MISMATCH,
        "F16 [16, 16], but in the model",
        lambda e: _weights(e, lambda w: w.update(text_projection=np.zeros((16, 16), np.float16))),
    ),
    "weights NaN": (R.MODEL_NOT_FINITE, "1 of the 6144 weights", _not_finite(float("nan"))),
    "weights infinite": (R.MODEL_NOT_FINITE, "'visual.conv1.weight'", _not_finite(float("-inf"))),
}


@pytest.mark.parametrize("case", CASES)
def test_a_broken_entry_is_rejected_for_its_reason(entry: TinyEntry, case: str) -> None:
    reason, words, damage = CASES[case]
    damage(entry)
    error = rejection(entry)
    assert error.reason is reason, error.message
    assert words in error.message
    assert error.hint


def test_every_reason_that_a_folder_can_give_is_covered() -> None:
    needs_a_hub = {R.REPOSITORY_NOT_FOUND}
    covered = {reason for reason, _, _ in CASES.values()} | {R.MODEL_MALFORMED}  # in test_safetensors_file.py
    of_predictions = {reason for reason in R if reason.value.startswith("predictions_")}  # in test_predictions.py
    of_own_data = {reason for reason in R if reason.value.startswith("external_")}  # in test_external.py
    needs_test_images = {R.CONTAMINATED}
    assert covered | needs_a_hub | of_predictions | of_own_data | needs_test_images == set(RejectionReason)


def test_duplicate_paths_are_refused(entry: TinyEntry) -> None:
    files = entry.manifest()["files"]
    (entry.folder / "submission.json").write_text(json.dumps(entry.manifest(files=[*files, files[0]])))
    assert "twice" in rejection(entry).message
