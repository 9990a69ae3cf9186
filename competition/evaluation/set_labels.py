"""The labels of a test set without its images: all that predictions are scored against.

A set that holds nothing but labels is ``<set>/labels.txt``: one line a sample in the set's order, a class id in
[0, classes). ``classnames.txt`` beside it has the classes in the order of their ids, and ``samples.txt`` what each
sample is called, one a line, for those who make predictions; both may be absent. Of a set with images, in either of
their layouts, the labels are read and no image is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.errors import EvaluationError
from competition.evalsets.layout import LABELS_FILE
from competition.evaluation.image_folder import is_image_folder, list_image_folder
from competition.evaluation.sets import load_labels as load_labels_of_shards

_MAX_BYTES = 64 * 2**20
_MAX_DIGITS = 9
_HINT = "Get the evaluation sets again."


@dataclass(frozen=True)
class SetLabels:
    """The right class of every sample, int64 [N] in [0, classes), in the set's order; and how many classes there are.

    That order is the lines' of ``labels.txt``; in shards it is that of shards and their samples; in folders of images
    it is that of classes, then of paths.
    """

    labels: NDArray[np.int64]
    classes: int


def load_set_labels(folder: Path, classes: int | None = None, cache: Path | None = None) -> SetLabels:
    """The labels of a set in any layout.

    Args:
        folder: the set's.
        classes: how many classes the task says there are; None where it says nothing, and the set has to.
        cache: folder of decoded sets, in which the labels of shards are kept too.

    Raises:
        EvaluationError: the set is damaged or does not fit together, has another number of classes than the task
            says, or neither says how many there are.
        StorageError: it cannot be read.
    """
    if (folder / LABELS_FILE).exists():
        return _listed(folder, classes)
    if is_image_folder(folder):
        listing = list_image_folder(folder)
        return SetLabels(listing.labels, _agreed(folder, classes, len(listing.class_names)))
    labels, names = load_labels_of_shards(folder, cache)
    return SetLabels(labels, _agreed(folder, classes, len(names)))


def _listed(folder: Path, classes: int | None) -> SetLabels:
    names = folder / "classnames.txt"
    count = _agreed(folder, classes, len(_lines(names)) if names.exists() else None)
    lines = _lines(folder / LABELS_FILE)
    samples = folder / "samples.txt"
    if samples.exists() and len(_lines(samples)) != len(lines):
        raise EvaluationError(
            f"{samples} names {len(_lines(samples))} samples, and there are {len(lines)} labels.", hint=_HINT
        )
    return SetLabels(np.array([_label(folder, *each, count) for each in enumerate(lines, 1)], dtype=np.int64), count)


def _label(folder: Path, line: int, text: str, classes: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS or int(text) >= classes:
        raise EvaluationError(
            f"{folder / LABELS_FILE}, line {line}: {text[:20]!r} is no class from 0 to {classes - 1}.", hint=_HINT
        )
    return int(text)


def _agreed(folder: Path, told: int | None, found: int | None) -> int:
    if found is None and told is None:
        raise EvaluationError(
            f"Neither the evaluation set {folder.name} nor its task says how many classes there are.",
            hint="Write classnames.txt beside labels.txt, or give the task `classes` among its settings.",
        )
    if found is not None and told is not None and found != told:
        raise EvaluationError(f"The evaluation set {folder.name} has {found} classes instead of {told}.", hint=_HINT)
    return told if found is None else found  # type: ignore[return-value]  # one of them is there


def _lines(path: Path) -> list[str]:
    with storage_errors("reading", path), path.open("rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise EvaluationError(f"{path} has more than {_MAX_BYTES:,} bytes.", hint=_HINT)
    try:
        lines = [line.strip() for line in content.decode("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path} is not UTF-8 text.", hint=_HINT) from error
    if not lines:
        raise EvaluationError(f"{path} is empty.", hint=_HINT)
    return lines
