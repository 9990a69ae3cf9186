"""ImageNet-C as it is published: ``<corruption>/<severity>/<class>/*.JPEG``, the same images 75 times.

The four further corruptions that are published beside the benchmark's 15 are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from competition.data.atomic import storage_errors
from competition.errors import EvaluationError
from competition.evaluation.image_files import ImageFiles
from competition.evaluation.image_folder import images_of_class, is_class
from competition.evaluation.inputs import Integers
from competition.evaluation.robustness import ALEXNET_ERRORS, SEVERITIES

PAIRS = tuple((corruption, severity) for corruption in ALEXNET_ERRORS for severity in SEVERITIES)
_NAMED = 6


@dataclass(frozen=True)
class Corrupted:
    """The images under one corruption at one severity.

    Args:
        corruption: a key of ``ALEXNET_ERRORS``.
        severity: 1 to 5.
        files: of the images, class by class.
        labels: int64 [N], positions in ``classes``.
        classes: folders, sorted.
    """

    corruption: str
    severity: int
    files: ImageFiles
    labels: Integers
    classes: tuple[str, ...]


def list_corrupted(folder: Path) -> Iterator[Corrupted]:
    """All 15 corruptions at 5 severities, one after another; no image is opened.

    Raises:
        EvaluationError: a corruption or severity is missing (all are named, before the first is listed), or one has
            other images than the first.
        StorageError: a folder cannot be read.
    """
    missing = [f"{name}/{severity}" for name, severity in PAIRS if not (folder / name / str(severity)).is_dir()]
    if missing:
        further = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise EvaluationError(
            f"ImageNet-C in {folder} lacks {', '.join(missing[:_NAMED])}{further}.",
            hint="Unpack all that is published: 15 corruptions with 5 severities each.",
        )
    first: tuple[str, ...] = ()
    for corruption, severity in PAIRS:
        found = _listed(folder, corruption, severity)
        base = folder / corruption / str(severity)
        names = tuple(path.relative_to(base).as_posix() for path in found.files.paths)
        first = first or names
        if names != first:
            other = min(set(names) ^ set(first))
            raise EvaluationError(
                f"ImageNet-C has other images under {corruption}/{severity} than under {PAIRS[0][0]}/{PAIRS[0][1]}, "
                f"first of all {other!r}.",
                hint="Unpack what is published again.",
            )
        yield found


def _listed(folder: Path, corruption: str, severity: int) -> Corrupted:
    base = folder / corruption / str(severity)
    with storage_errors("listing", base):
        classes = tuple(sorted(path.name for path in base.iterdir() if is_class(path)))
    if not classes:
        raise EvaluationError(f"ImageNet-C's folder {base} holds no folder of a class.")
    found = [images_of_class(base / name) for name in classes]
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(paths) for paths in found])
    files = ImageFiles(folder, tuple(path for paths in found for path in paths))
    return Corrupted(corruption, severity, files, labels, classes)
