"""Class numbers of samples from a table of labels, such as ``datacup label`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.data.uids import uids_to_hex
from competition.errors import DataFormatError, UsageError
from participant_kit.labelled.classes import load_classes
from participant_kit.labelled.table import LabelColumns, read_labels

_MOST_DIGITS = 7
_MISSING = -1


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """Labels as named at the command line.

    Args:
        table: with the columns ``uid`` and ``label``.
        classes: a list of classes, whose positions are the class numbers; without it labels are class numbers.
    """

    table: Path
    classes: Path | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """Class numbers by uid.

    Args:
        numbers: by the uid's 16 bytes, big-endian.
        sha256: over the pairs of uid (16 bytes) and class number (8 bytes, little-endian), sorted by uid; the same for
            the same labels, whatever file they come from.
    """

    numbers: Mapping[bytes, int]
    sha256: str


def load_labels(choice: LabelChoice) -> Labels:
    """Read a table of labels; rows without a label say nothing.

    Raises:
        DataFormatError: the table or the list is malformed, a uid has two labels, or a label is no class.
        StorageError: a file cannot be read.
        UsageError: the table does not exist, or holds no label.
    """
    if not choice.table.exists():
        raise UsageError(
            f"There is no table of labels {choice.table}.", hint="Give the table that `datacup label` wrote."
        )
    columns = read_labels(choice.table)
    rows = np.flatnonzero(columns.codes >= 0)
    if not len(rows):
        raise UsageError(f"The table {choice.table} holds no label.", hint="Give the table that `datacup label` wrote.")
    numbers = _class_numbers(columns, choice)[columns.codes[rows]]
    uids = columns.uids[rows]
    order = np.lexsort((uids["f1"], uids["f0"]))
    uids, numbers = uids[order], numbers[order]
    again = uids[1:] == uids[:-1]
    twice = np.flatnonzero(again & (numbers[1:] != numbers[:-1]))
    if len(twice):
        raise DataFormatError(
            f"The table {choice.table} gives two labels to the uid {uids_to_hex(uids[twice[:1]])[0]}.",
            hint="A sample is trained with one label; make the table without --several-labels.",
        )
    first = np.concatenate([[True], ~again])
    return _labels(np.stack([uids["f0"][first], uids["f1"][first]], axis=1), numbers[first])


def _labels(uids: NDArray[np.uint64], numbers: NDArray[np.int64]) -> Labels:
    keys = uids.astype(">u8").tobytes()
    pairs = np.empty(len(uids), dtype=[("uid", ">u8", 2), ("number", "<i8")])
    pairs["uid"], pairs["number"] = uids, numbers
    by_uid = dict(zip((keys[at : at + 16] for at in range(0, len(keys), 16)), numbers.tolist(), strict=True))
    return Labels(by_uid, sha256(pairs.tobytes()).hexdigest())


def _class_numbers(columns: LabelColumns, choice: LabelChoice) -> NDArray[np.int64]:
    """Class number of each different label."""
    if choice.classes is not None:
        positions = load_classes(choice.classes).positions
        found = [positions.get(label, _MISSING) for label in columns.labels]
    else:
        found = [
            int(label) if label.isascii() and label.isdigit() and len(label) <= _MOST_DIGITS else _MISSING
            for label in columns.labels
        ]
    if _MISSING in found:
        label = columns.labels[found.index(_MISSING)]
        if choice.classes is not None:
            raise DataFormatError(
                f"The table {choice.table} has the label {label!r}, which {choice.classes} does not list.",
                hint="Give the list of classes that the table was made with as --classes.",
            )
        raise DataFormatError(
            f"The table {choice.table} has the label {label!r}, which is no class number.",
            hint="Give the list of classes that the table was made with as --classes: positions in it are the numbers.",
        )
    return np.array(found, dtype=np.int64)
