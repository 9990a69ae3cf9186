"""Features to search with and among: of references and texts from files or a model, of a pool from its metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.data.metadata import read_feature
from competition.errors import DataFormatError, UsageError
from participant_kit.subsets.centroids import load_matrix
from participant_kit.subsets.strategy import ARCHITECTURES

if TYPE_CHECKING:
    from participant_kit.pools.annotate.models import ModelChoice

TOLERANCE = 0.01
"""By how much the length of a normalised row may differ from 1; float16 rounds it by less than 0.001."""

_ROWS_AT_A_TIME = 1 << 15
_ONE_MODEL = "Features of the pool and of what is searched for must come from the same CLIP model."


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """Where the features of texts come from: a file, or a model that makes them.

    Args:
        file: a ``.npy``, one row a text in their order.
        model: as ``datacup pool annotate`` names one; its role says which of the pool's features are its.
    """

    file: Path | None = None
    model: ModelChoice | None = None

    def described(self) -> dict[str, Any]:
        """What identifies them in a record, but for the digest of a file."""
        if self.model is None:
            return {"features": self.file.name if self.file is not None else None}
        from participant_kit.pools.annotate.models import find_model

        return {"model": find_model(self.model).as_json()}

    def assets(self, what: str) -> dict[str, Path]:
        """The file, by its role."""
        return {} if self.file is None else {f"{what}_features": self.file}

    def of(self, texts: Sequence[str], metadata_dir: Path, what: str) -> NDArray[np.float32]:
        """L2-normalised features of texts, shape (texts, dimensions).

        Args:
            texts: at least one.
            metadata_dir: of the pool; where it says by which models it was annotated, another one is refused.
            what: "class" or "prompt", for messages.

        Raises:
            UsageError: neither file nor model, or both; or the pool's features are of another model.
            DataFormatError: the file is malformed or has another number of rows.
        """
        if (self.file is None) == (self.model is None):
            raise UsageError(
                f"Name exactly one of --{what}-features and --model.",
                hint=f"--{what}-features takes an .npy with one row a {what}; --model encodes the texts.",
            )
        if self.file is not None:
            return load_features(self.file, len(texts), what)
        assert self.model is not None
        return _encoded(self.model, texts, metadata_dir)


def load_features(path: Path, rows: int, what: str) -> NDArray[np.float32]:
    """Features of a ``.npy``, shape (rows, dimensions).

    Raises:
        DataFormatError: not a plain matrix of floats of so many rows, or a row is not finite or not normalised.
        StorageError: it cannot be read.
    """
    features = np.array(load_matrix(path), dtype=np.float32)
    if len(features) != rows:
        raise DataFormatError(
            f"{path} has {len(features)} rows of features for {rows} {what}{'es' if what == 'class' else 's'}.",
            hint=f"It needs one row for each {what}, in the same order.",
        )
    lengths = np.linalg.norm(features, axis=1)
    for row in np.flatnonzero(~(np.abs(lengths - 1) <= TOLERANCE))[:1]:
        problem = "is not finite" if not np.isfinite(lengths[row]) else f"has length {lengths[row]:.3g}, not 1"
        raise DataFormatError(f"Row {row} of {path} {problem}.", hint="Features must be L2-normalised.")
    return features


@dataclass(frozen=True, slots=True)
class PoolFeatures:
    """Features of a metadata file.

    Args:
        stored: shape (rows, dimensions), as on the disk.
        usable: mask over the rows: finite, and not all zeros.
    """

    stored: NDArray[Any]
    usable: NDArray[np.bool_]


def pool_features(path: Path, member: str, rows: int, dimensions: int) -> PoolFeatures:
    """The features of a metadata file, checked against those that are searched for.

    Raises:
        DataFormatError: there are none, they have other dimensions, or a row is not normalised; names file and row.
        StorageError: they cannot be read.
    """
    stored = read_feature(path, member, rows=rows)
    if stored.shape[1] != dimensions or stored.dtype.kind != "f":
        raise DataFormatError(
            f"The features {member!r} of {path.stem}.npz have {stored.shape[1]} dimensions (type {stored.dtype}); "
            f"those that are searched for have {dimensions}.",
            hint=_ONE_MODEL,
        )
    usable = np.zeros(rows, dtype=bool)
    for start in range(0, rows, _ROWS_AT_A_TIME):
        block = np.asarray(stored[start : start + _ROWS_AT_A_TIME], dtype=np.float32)
        lengths = np.linalg.norm(block, axis=1)
        present = np.isfinite(lengths) & (lengths > 0)
        for row in np.flatnonzero(present & (np.abs(lengths - 1) > TOLERANCE))[:1]:
            raise DataFormatError(
                f"Row {start + row} of {member!r} in {path.stem}.npz has length {lengths[row]:.3g}, not 1.",
                hint="Features must be L2-normalised, as `datacup pool annotate` makes them.",
            )
        usable[start : start + len(block)] = present
    return PoolFeatures(stored, usable)


def member_of(arch: str, kind: str) -> str:
    """The name of a pool's features, for instance ``l14_img``.

    Args:
        arch: whose features: b32 or l14.
        kind: of what: img or txt.

    Raises:
        UsageError: the arch is neither.
    """
    if arch not in ARCHITECTURES:
        raise UsageError(f"--arch {arch} is unknown.", hint=f"Choose one of {', '.join(ARCHITECTURES)}.")
    return f"{arch}_{kind}"


def _encoded(choice: ModelChoice, texts: Sequence[str], metadata_dir: Path) -> NDArray[np.float32]:
    from competition.evaluation.encoders import default_device
    from participant_kit.pools.annotate.models import find_model, load_model
    from participant_kit.pools.annotate.run import RECORD_NAME

    model = find_model(choice)
    record = metadata_dir / RECORD_NAME
    if record.exists():
        with storage_errors("reading", record):
            annotated = json.loads(record.read_bytes())
        digests = {each["role"]: each["weights_sha256"] for each in annotated["models"]}
        if digests.get(choice.role, model.sha256) != model.sha256:
            raise UsageError(
                f"The pool's {choice.role} features are those of a model with other weights than {model.name}.",
                hint=_ONE_MODEL,
            )
    return load_model(model, str(default_device())).encode_texts(list(texts))
