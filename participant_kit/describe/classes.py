"""SELECT's statistics of a labelled dataset's classes, and their correlations with a model's answers class by class."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.data.uids import uids_to_hex
from competition.errors import DataFormatError
from competition.evaluation.class_statistics import ClassBalance, ClassTable, class_balance, correlations
from participant_kit.describe.missing import Missing
from participant_kit.labelled.table import SEPARATORS, LabelColumns
from participant_kit.subsets.draw import lots

PURPOSE = 7
MOST_CLASSES = 20
"""Classes whose samples are shown: all, or half of them the largest and half the smallest that are not empty."""

SAMPLES = 6
SCORES = ("accuracy", "precision", "recall", "skew", "reference_accuracy", "reference_count")
"""Columns of a file of scores, beside ``label``."""

_MOST_BYTES = 64 * 2**20
_HINT = "Its first line is `label,accuracy`, or has further columns: " + ", ".join(SCORES[1:]) + "."

Scores = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Classes:
    """A labelled dataset's classes.

    Args:
        counts: samples by class id, sorted by id.
        balance: SELECT's figures.
        scores: of a model by class, in the order of ``counts``; NaN where the file has none.
        correlations: SELECT's, by its abbreviations; NaN where something is lacking, or is the same for all classes.
    """

    counts: dict[str, int]
    balance: ClassBalance
    scores: Scores | Missing
    correlations: dict[str, float] | Missing

    def as_json(self) -> dict[str, Any]:
        """For machines: a number that is not there is null."""
        found: dict[str, Any] = {"counts": self.counts, "balance": self.balance.as_json()}
        found["empty"] = [name for name, count in self.counts.items() if not count]
        if isinstance(self.scores, Missing) or isinstance(self.correlations, Missing):
            missing = self.scores if isinstance(self.scores, Missing) else self.correlations
            assert isinstance(missing, Missing)
            return found | {"scores": missing.as_json(), "correlations": missing.as_json()}
        by_class = {name: [number(value) for value in values.tolist()] for name, values in self.scores.items()}
        return found | {"scores": by_class, "correlations": {key: number(r) for key, r in self.correlations.items()}}


def number(value: float) -> float | None:
    """``None`` for what is no number, which JSON does not have."""
    return value if math.isfinite(value) else None


def describe_classes(columns: LabelColumns, known: Sequence[str], scores: Path | None) -> Classes:
    """Count the classes of a table.

    Args:
        columns: of the table.
        known: ids of all classes, empty ones among them.
        scores: a file of scores, see ``read_scores``.

    Raises:
        DataFormatError: the scores are malformed, or of other classes.
        StorageError: they cannot be read.
    """
    counted = np.bincount(columns.codes[columns.codes >= 0], minlength=len(columns.labels))
    counts = dict.fromkeys(sorted({*known, *columns.labels}), 0) | dict(
        zip(columns.labels, counted.tolist(), strict=True)
    )
    counts = dict(sorted(counts.items()))
    numbers = np.array(list(counts.values()), dtype=np.int64)
    balance = class_balance(numbers)
    if scores is None:
        missing = Missing("no scores of a model by class are given", "Give them with --per-class-accuracy FILE.")
        return Classes(counts, balance, missing, missing)
    read = read_scores(scores, list(counts))
    recall = read["recall"] if np.isfinite(read["recall"]).any() else read["accuracy"]
    table = ClassTable(numbers, read["accuracy"], read["precision"], recall, read["skew"])
    nothing = np.full(len(counts), np.nan)
    reference = ClassTable(read["reference_count"], read["reference_accuracy"], nothing, nothing, nothing)  # type: ignore[arg-type]
    return Classes(counts, balance, read, correlations(table, reference))


def read_scores(path: Path, classes: Sequence[str]) -> Scores:
    """A model's scores by class.

    Args:
        path: ``.csv``, or ``.tsv``, with a line of column names: ``label``, ``accuracy`` and any of the other
            ``SCORES``. A class that it lacks, and an empty field, has none.
        classes: all ids, in the order wanted.

    Returns:
        Of every one of ``SCORES`` float64 of shape (classes,).

    Raises:
        DataFormatError: malformed, another class, a class twice, or no number; says in which line.
        StorageError: it cannot be read.
    """
    with storage_errors("reading", path):
        content = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else b""
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig")), delimiter=SEPARATORS.get(path.suffix, ",")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataFormatError(f"{path} is not a table of scores by class: {error}.", hint=_HINT) from error
    head = [name.strip() for name in lines[0]] if lines else []
    if not {"label", "accuracy"} <= set(head) or set(head) - {"label", *SCORES} or len(set(head)) < len(head):
        raise DataFormatError(f"{path} is not a table of scores by class.", hint=_HINT)
    places, seen = {name: place for place, name in enumerate(classes)}, set()
    found = {name: np.full(len(classes), np.nan) for name in SCORES}
    for row, fields in enumerate(lines[1:], 2):
        if not fields:
            continue
        if len(fields) != len(head):
            raise DataFormatError(f"Line {row} of {path} has {len(fields)} fields instead of {len(head)}.", hint=_HINT)
        entry = dict(zip(head, fields, strict=True))
        label = entry.pop("label")
        if label not in places or label in seen:
            what = "has the label" if label not in places else "has once more the label"
            known = "which is no class of the dataset" if label not in places else "which a line before it has"
            raise DataFormatError(f"Line {row} of {path} {what} {label[:40]!r}, {known}.")
        seen.add(label)
        for name, text in entry.items():
            found[name][places[label]] = _value(text, f"{name} in line {row} of {path}")
    return found


def _value(text: str, place: str) -> float:
    if not text.strip():
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise DataFormatError(f"The {place} is {text[:40]!r}, which is no number.") from None


def class_samples(columns: LabelColumns, counts: Mapping[str, int], seed: int) -> dict[str, list[str]]:
    """Uids of some samples of some classes, drawn by lot; the largest class first."""
    filled = sorted((name for name, count in counts.items() if count), key=lambda name: (-counts[name], name))
    if len(filled) > MOST_CLASSES:
        filled = filled[: MOST_CLASSES // 2] + filled[-(MOST_CLASSES // 2) :]
    drawn = lots(columns.uids, seed, PURPOSE)
    samples = {}
    for name in filled:
        rows = np.flatnonzero(columns.codes == columns.labels.index(name))
        chosen = rows[np.argsort(drawn[rows], kind="stable")[:SAMPLES]]
        samples[name] = uids_to_hex(columns.uids[chosen])
    return samples
