"""Files of features for dataset metrics: ``.npy`` and ``.npz``, mapped where that is possible, never pickles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from competition.data.npy import map_npy
from competition.data.npz import member_names, open_member
from competition.errors import DataFormatError, UsageError

if TYPE_CHECKING:
    from competition.evaluation.dataset_metrics.features import Features
    from competition.evaluation.features import LabelledFeatures

MOST_BYTES = 4 << 30
"""Of a deflated array, or of several files together, which are in memory whole; one that is mapped may be larger."""

FEATURES, LABELS = "features", "labels"


def read_features(path: Path, member: str | None = None) -> Features:
    """Rows of floats.

    Args:
        path: an ``.npy``, or an ``.npz``.
        member: which array of the npz; ``features`` or the only one when absent.

    Raises:
        DataFormatError: damaged, too large, or no such array.
        EvaluationError: not rows of floats, no rows, or numbers that are not finite.
        StorageError: it cannot be read.
        UsageError: another kind of file, no file, or an npz of several arrays and none is named.
    """
    from competition.evaluation.dataset_metrics.features import Features

    name = _member(path, member)
    return Features.of(_array(path, name), f"{path}:{name}" if name else str(path))


def read_labelled(paths: Sequence[Path], member: str | None = None) -> LabelledFeatures:
    """Features with their classes, of one npz or of several one after the other.

    Args:
        paths: ``.npz`` files with ``labels`` (whole numbers from 0) beside the features.
        member: the features' array, as of ``read_features``.

    Raises what ``read_features`` raises; ``EvaluationError`` also for labels or dimensions that do not fit.
    """
    from competition.evaluation.dataset_metrics.features import class_labels, require_same_dimensions
    from competition.evaluation.features import LabelledFeatures

    parts: list[tuple[Features, NDArray[np.int64]]] = []
    for path in paths:
        if path.suffix != ".npz":
            raise UsageError(
                f"{path} is no .npz file.", hint=f"Features with classes are an .npz with {FEATURES} and {LABELS}."
            )
        features = read_features(path, member)
        if parts:
            require_same_dimensions(parts[0][0], features)
        parts.append((features, class_labels(_array(path, LABELS), features)))
    first, labels = parts[0]
    if len(parts) == 1:
        return LabelledFeatures(first.values, labels, f"file {first.name}")
    size = sum(features.values.nbytes for features, _ in parts)
    if size > MOST_BYTES:
        raise DataFormatError(
            f"{first.name} and {len(parts) - 1} more files have {size:,} bytes, more than {MOST_BYTES:,}.",
            hint="Write them into one uncompressed .npz (numpy.savez): it is read in blocks.",
        )
    values = np.concatenate([features.values for features, _ in parts])
    name = f"file {first.name} and {len(parts) - 1} more"
    return LabelledFeatures(values, np.concatenate([labels for _, labels in parts]), name)


def _member(path: Path, member: str | None) -> str:
    """Which array of a file: empty for an npy."""
    if path.suffix not in {".npy", ".npz"}:
        raise UsageError(f"{path} is no file of features.", hint="Features are .npy or .npz files.")
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", hint="Give the path of an .npy or .npz file.")
    if path.suffix == ".npy":
        return ""
    names = member_names(path)
    if member is not None or FEATURES in names:
        return member or FEATURES
    if len(names) != 1:
        listed = ", ".join(names[:10]) or "none"
        raise UsageError(f"{path} has no array {FEATURES!r}; it has {listed}.", hint="Name one with --features.")
    return names[0]


def _array(path: Path, member: str) -> NDArray[Any]:
    if member:
        return open_member(path, member, most_bytes=MOST_BYTES)
    return map_npy(path)
