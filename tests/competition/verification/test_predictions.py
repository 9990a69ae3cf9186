"""Entries of predictions: a sound one passes, and every trap is named before anything is uploaded."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from competition.canonical import digest
from competition.data.digests import file_sha256
from competition.errors import RejectionError, RejectionReason
from competition.records.manifest import FileRole
from competition.rules import EntryKind
from competition.verification import CHECKS, check_submission
from tests.competition.evaluation.predicted import SETS, all_guesses, guessing

R = RejectionReason


@dataclass
class PredictionsFolder:
    """A submission folder. Change files, then ``seal()`` writes the manifest that fits them."""

    folder: Path
    roles: dict[str, FileRole] = field(default_factory=lambda: {"predictions.npz": FileRole.PREDICTIONS})

    def save(self, **sets: np.ndarray) -> None:
        np.savez_compressed(self.folder / "predictions.npz", **sets)

    def seal(self, **changes: Any) -> None:
        competition = guessing()
        files = [
            {"path": name, "role": role, "size": (self.folder / name).stat().st_size,
             "sha256": file_sha256(self.folder / name)}
            for name, role in self.roles.items()
        ]  # fmt: skip
        fields = {
            "schema_version": 1, "submission_id": "sub-1", "nonce": "ab" * 32, "competition": "guess",
            "competition_version": 1, "track": "predictions", "scale": "digits", "recipe_digest": digest(None),
            "suite": competition.suite.reference, "suite_digest": competition.suite.digest,
            "method_name": "guesses", "author": "a tester", "files": files, "code_version": "0.1.0",
            "created_at": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        (self.folder / "submission.json").write_text(json.dumps({**fields, **changes}))


@pytest.fixture
def entry(tmp_path: Path) -> PredictionsFolder:
    made = PredictionsFolder(tmp_path / "entry")
    made.folder.mkdir()
    made.save(**all_guesses())
    return made


def rejection(entry: PredictionsFolder) -> RejectionError:
    with pytest.raises(RejectionError) as error:
        check_submission(entry.folder, guessing(), None)
    assert "\n" not in error.value.message
    return error.value


def test_a_sound_entry_passes_every_check(entry: PredictionsFolder) -> None:
    (entry.folder / "README.md").write_text("# Guesses\n")
    entry.roles["README.md"] = FileRole.CARD
    entry.seal()
    heard: list[str] = []
    manifest = check_submission(entry.folder, guessing(), None, heard.append)
    assert (
        heard
        == [name for name, _ in CHECKS[EntryKind.PREDICTIONS]]
        == ["rules", "texts", "listing", "digests", "predictions"]
    )
    assert (manifest.subset_samples, manifest.subset_unique) == (None, None)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "<i4", ">i4", "int64", "uint64"])
def test_any_integers_will_do(entry: PredictionsFolder, dtype: str) -> None:
    entry.save(**{name: np.asfortranarray(top5.astype(dtype)) for name, top5 in all_guesses().items()})
    entry.seal()
    check_submission(entry.folder, guessing(), None)


def changed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[PredictionsFolder], None]:
    """The second set's predictions, changed."""

    def apply(entry: PredictionsFolder) -> None:
        sets = all_guesses()
        entry.save(**{SETS[0]: sets[SETS[0]], SETS[1]: change(sets[SETS[1]])})
        entry.seal()

    return apply


def sets_of(**sets: np.ndarray) -> Callable[[PredictionsFolder], None]:
    def apply(entry: PredictionsFolder) -> None:
        entry.save(**sets)
        entry.seal()

    return apply


def raw(content: bytes) -> Callable[[PredictionsFolder], None]:
    def apply(entry: PredictionsFolder) -> None:
        (entry.folder / "predictions.npz").write_bytes(content)
        entry.seal()

    return apply


def member(content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Callable[[PredictionsFolder], None]:
    """Both sets have this for their member."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name in SETS:
            archive.writestr(f"{name}.npy", content)
    return raw(stream.getvalue())


def header(shape: tuple[int, ...], descr: str = "<i8", after: bytes = b"") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue() + after


def pickled() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}] * 270, dtype=object), allow_pickle=True)
    return stream.getvalue()


def with_role(name: str, role: FileRole) -> Callable[[PredictionsFolder], None]:
    def apply(entry: PredictionsFolder) -> None:
        (entry.folder / name).write_bytes(b"0")
        entry.roles[name] = role
        entry.seal()

    return apply


def renamed(name: str) -> Callable[[PredictionsFolder], None]:
    def apply(entry: PredictionsFolder) -> None:
        (entry.folder / "predictions.npz").rename(entry.folder / name)
        entry.roles = {name: FileRole.PREDICTIONS}
        entry.seal()

    return apply


BOMB = header((270, 5), after=bytes(200_000_000))
"""Fits the limit on files, and inflates to a thousand times as much."""

CASES: dict[str, tuple[RejectionReason, str, Callable[[PredictionsFolder], None]]] = {
    "not an npz": (R.PREDICTIONS_MALFORMED, "predictions.npz are damaged or are not an npz", raw(b"PK nothing")),
    "an npy": (R.PREDICTIONS_MALFORMED, "not an npz", raw(header((270, 5), after=bytes(10_800)))),
    "cut short": (R.PREDICTIONS_MALFORMED, "damaged", member(header((270, 5), after=bytes(100)))),
    "a bomb": (R.PREDICTIONS_MALFORMED, "more than fit", member(BOMB)),
    "another compression": (R.PREDICTIONS_MALFORMED, "compressed in another way", member(b"1", zipfile.ZIP_LZMA)),
    "a pickle": (R.PREDICTIONS_MALFORMED, "pickled objects, which are never loaded", member(pickled())),
    "a header of terabytes": (R.PREDICTIONS_SHAPE_MISMATCH, "(10, 100000000000)", member(header((10, 10**11)))),
    "a header that promises a header": (
        R.PREDICTIONS_MALFORMED,
        "4294967295 bytes, more than 4096",
        member(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1)),
    ),
    "floats": (R.PREDICTIONS_MALFORMED, "float32; class ids are integers", changed(lambda t: t.astype(np.float32))),
    "truth values": (R.PREDICTIONS_MALFORMED, "bool; class ids are integers", changed(lambda t: t > 3)),
    "no set": (R.PREDICTIONS_SETS_MISMATCH, "has predictions for no test set", sets_of()),
    "a set missing": (
        R.PREDICTIONS_SETS_MISMATCH,
        "has no predictions for: digits-odd. An entry predicts every test set.",
        sets_of(**{SETS[0]: all_guesses()[SETS[0]]}),
    ),
    "an unknown set": (
        R.PREDICTIONS_SETS_MISMATCH,
        "no test set 'digits-prime'",
        sets_of(**all_guesses(), **{"digits-prime": np.zeros((2, 5), int)}),
    ),
    "four columns": (R.PREDICTIONS_SHAPE_MISMATCH, "(270, 4) instead of (270, 5)", changed(lambda t: t[:, :4])),
    "a sample missing": (R.PREDICTIONS_SHAPE_MISMATCH, "(269, 5) instead of (270, 5)", changed(lambda t: t[1:])),
    "transposed": (
        R.PREDICTIONS_TRANSPOSED,
        "digits-odd are transposed: their shape is (5, 270)",
        changed(lambda t: t.T),
    ),
    "reshaped": (
        R.PREDICTIONS_TRANSPOSED,
        "digits-odd are transposed: they were reshaped",
        changed(lambda t: np.ascontiguousarray(t.T).reshape(-1, 5)),
    ),
    "from one on": (R.PREDICTIONS_OUT_OF_RANGE, "have the class 10 in row", changed(lambda t: t + 1)),
    "negative": (R.PREDICTIONS_OUT_OF_RANGE, "have the class -", changed(lambda t: t.astype(int) - 1)),
    "beyond int64": (
        R.PREDICTIONS_OUT_OF_RANGE,
        "have the class 18446",
        changed(lambda t: t.astype("u8") + np.uint64(2**64 - 99)),
    ),
    "a class twice": (R.PREDICTIONS_REPEATED, "name a class twice in row 0", changed(lambda t: t[:, [0, 0, 1, 2, 3]])),
    "a model beside them": (
        R.MANIFEST_MALFORMED,
        "'m.safetensors' of role 'model', which is no part of an entry of track 'predictions'",
        with_role("m.safetensors", FileRole.MODEL),
    ),
    "two files": (R.MANIFEST_MALFORMED, "2 files of role 'predictions'", with_role("b.npz", FileRole.PREDICTIONS)),
    "a pickle by name": (R.PATH_NOT_ALLOWED, "must end in .npz", renamed("predictions.pkl")),
    "a subset's count": (R.MANIFEST_MISMATCH, "subset_samples is '9'", lambda e: e.seal(subset_samples=9)),
    "a recipe": (
        R.RECIPE_MISMATCH,
        "but no recipe (the digest of null) of scale 'digits'",
        lambda e: e.seal(recipe_digest="2" * 64),
    ),
    "too large": (R.FILE_TOO_LARGE, "at most 1000000", raw(b"\0" * 1_000_001)),
}


@pytest.mark.parametrize("case", CASES)
def test_every_trap_is_named(entry: PredictionsFolder, case: str) -> None:
    reason, words, damage = CASES[case]
    damage(entry)
    error = rejection(entry)
    assert error.reason is reason, error.message
    assert words in error.message
    assert error.hint


def test_every_reason_is_covered_but_those_that_need_labels() -> None:
    needs_labels = {R.PREDICTIONS_REVERSED, R.PREDICTIONS_DISORDERED}  # in tests of the protocol and of the scorer
    covered = {reason for reason, _, _ in CASES.values()}
    assert {reason for reason in R if reason.value.startswith("predictions_")} == needs_labels | covered & {
        reason for reason in R if reason.value.startswith("predictions_")
    }


def test_predictions_are_no_part_of_an_entry_of_a_model(tmp_path: Path) -> None:
    from tests.competition.verification.entries import TinyEntry, tiny_competition

    entry = TinyEntry(tmp_path / "model").build()
    (entry.folder / "predictions.npz").write_bytes(b"0")
    entry.roles["predictions.npz"] = FileRole.PREDICTIONS
    entry.seal()
    with pytest.raises(RejectionError, match="no part of an entry of track 'filtering'") as error:
        check_submission(entry.folder, tiny_competition(), None)
    assert error.value.reason is R.MANIFEST_MALFORMED
