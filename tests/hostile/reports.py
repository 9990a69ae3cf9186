"""Hostile reports: of training, of evaluation, and of how the subset was made."""

from __future__ import annotations

from collections.abc import Callable

from competition.errors import RejectionReason
from competition.records.manifest import FileRole
from tests.competition.verification.entries import TinyEntry
from tests.hostile.case import Hostile, write

R = RejectionReason
Make = Callable[[TinyEntry], object]
DATA = {"shards": 1, "samples": 23, "digest": "0" * 64, "corrupt_samples": 0}


def _training(**changes: object) -> Make:
    def make(entry: TinyEntry) -> None:
        entry.report(**changes)
        entry.seal()

    return make


def _training_raw(content: bytes) -> Make:
    return lambda entry: write(entry, "training_report.json", content)


def _evaluation(**changes: object) -> Make:
    def make(entry: TinyEntry) -> None:
        entry.evaluation(**changes)
        entry.seal()

    return make


def _evaluation_raw(content: bytes) -> Make:
    def make(entry: TinyEntry) -> None:
        entry.evaluation()
        write(entry, "evaluation_report.json", content)

    return make


def _lineage(**changes: object) -> Make:
    def make(entry: TinyEntry) -> None:
        entry.lineage(**changes)
        entry.seal()

    return make


def _lineage_raw(content: bytes) -> Make:
    def make(entry: TinyEntry) -> None:
        entry.lineage()
        write(entry, "dataset.json", content)

    return make


def _two_evaluations(entry: TinyEntry) -> None:
    entry.evaluation()
    (entry.folder / "better.json").write_bytes((entry.folder / "evaluation_report.json").read_bytes())
    entry.roles["better.json"] = FileRole.EVALUATION_REPORT
    entry.seal()


CASES: dict[str, Hostile[TinyEntry]] = {
    "training: more samples seen": Hostile(R.RECIPE_MISMATCH, "samples_seen is '960'", _training(samples_seen=960)),
    "training: more steps": Hostile(R.RECIPE_MISMATCH, "steps is '24'", _training(steps=24)),
    "training: another recipe's digest": Hostile(R.RECIPE_MISMATCH, "recipe_digest", _training(recipe_digest="2" * 64)),
    "training: another competition": Hostile(R.RECIPE_MISMATCH, "competition is", _training(competition="digits")),
    "training: another model": Hostile(
        R.DIGEST_MISMATCH, "for a model with sha256 3333", _training(model_sha256="3" * 64)
    ),
    "training: the whole pool": Hostile(
        R.TRAINING_DATA_MISMATCH, "on 60 samples, but the subset has 23", _training(data={**DATA, "samples": 60})
    ),
    "training: a loss that is no number": Hostile(
        R.MANIFEST_MALFORMED, "Invalid JSON", _training(final_loss=float("nan"))
    ),
    "training: control characters": Hostile(
        R.MANIFEST_MALFORMED, "code_version", _training(code_version="1\x1b]52;c;cm0gLXJm\x07")
    ),
    "training: a million empty parts": Hostile(
        R.MANIFEST_MALFORMED, "objects and lists", _training_raw(b'{"data": {"parts": [' + b"{}," * 320_000 + b"{}]}}")
    ),
    "training: half a million parts that are none": Hostile(
        R.MANIFEST_MALFORMED,
        "not a training report",
        _training_raw(b'{"data": {"parts": [' + b"0," * 480_000 + b"0]}}"),
    ),
    "training: too large": Hostile(R.FILE_TOO_LARGE, "at most 1000000", _training_raw(b" " * 1_000_001)),
    "evaluation: another model": Hostile(R.EVALUATION_MISMATCH, "model_sha256", _evaluation(model_sha256="5" * 64)),
    "evaluation: another suite": Hostile(R.EVALUATION_MISMATCH, "suite_digest", _evaluation(suite_digest="5" * 64)),
    "evaluation: nested deeply": Hostile(R.EVALUATION_MALFORMED, "Invalid JSON", _evaluation_raw(b"[" * 49_000)),
    "evaluation: a score that is no number": Hostile(
        R.EVALUATION_MALFORMED, "Invalid JSON", _evaluation(results=[{"value": float("inf")}])
    ),
    "evaluation: a million metrics": Hostile(
        R.EVALUATION_MALFORMED,
        "members",
        _evaluation_raw(b'{"results": [{"metrics": {' + b",".join(b'"%d":1' % n for n in range(400_000)) + b"}}]}"),
    ),
    "evaluation: two of them": Hostile(R.MANIFEST_MALFORMED, "2 files of role 'evaluation_report'", _two_evaluations),
    "lineage: another subset": Hostile(R.LINEAGE_MISMATCH, "sha256 4444", _lineage(subset_sha256="4" * 64)),
    "lineage: counts that do not add up": Hostile(R.LINEAGE_MALFORMED, "not those that it read", _lineage(kept=22)),
    "lineage: a broken chain": Hostile(R.LINEAGE_MALFORMED, "digest of step all", _lineage(options={"seed": 1})),
    "lineage: three hundred thousand steps": Hostile(
        R.LINEAGE_MALFORMED, "objects and lists", _lineage_raw(b'{"steps": [' + b"{}," * 320_000 + b"{}]}")
    ),
    "lineage: a pickle": Hostile(R.LINEAGE_MALFORMED, "Invalid JSON", _lineage_raw(b"\x80\x04cposix\nsystem\n.")),
}
