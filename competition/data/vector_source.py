"""Features as vectors: files of npz, npy or parquet, each a shard; all of them together may be larger than memory.

Whoever reads vectors here can rely on one dimension, one model, finite numbers and length 1: what breaks one of these
is refused, never searched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.data.metadata import features_path, read_feature
from competition.data.npy import map_npy
from competition.data.npz import member_names, open_member
from competition.data.vector_parquet import (
    DIGEST_KEY,
    parquet_blocks,
    parquet_rows,
    recorded_model,
    vector_columns,
    vector_shape,
)
from competition.errors import DataFormatError, UsageError

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

BLOCK_ROWS = 1 << 13
LENGTH_TOLERANCE = 0.01
"""How far from 1 a vector's length may be: float16 rounds a CLIP feature's by less than 0.001."""

POOL_RECORD = "annotation.json"
"""Of ``datacup pool annotate``, in the metadata folder: which model made the features, by role."""

_ONE_MODEL = "Vectors that are compared must come from one model: extract the features again with the same one."


@dataclass(frozen=True, slots=True)
class VectorShard:
    """One file of vectors.

    Args:
        path: npz, npy or parquet.
        member: the npz's array or the parquet's column; empty for an npy.
        rows: vectors in it.
        dimensions: of each.
        start: number of its first row among all of its source.
        model: sha256 of the weights that made it, where a record says so.
    """

    path: Path
    member: str
    rows: int
    dimensions: int
    start: int = 0
    model: str | None = None

    @classmethod
    def open(cls, path: Path, member: str | None = None) -> VectorShard:
        """Look at a file's shape alone.

        Args:
            path: see above.
            member: may be left out where there is one only.

        Raises:
            DataFormatError: damaged, no such member, or not rows of floats.
            UsageError: another kind of file, or several members and none is named.
            StorageError: it cannot be read.
        """
        readers = {".npz": _open_npz, ".npy": _open_npy, ".parquet": _open_parquet}
        if path.suffix not in readers:
            raise UsageError(f"{path} is no file of features.", hint="Features are .npz, .npy or .parquet files.")
        shard = readers[path.suffix](path, member)
        if not shard.dimensions:
            raise DataFormatError(f"{shard.name} has vectors of no dimension.")
        return shard

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.path.name}:{self.member}" if self.member else self.path.name

    def blocks(self, *, skip_missing: bool = False, rows: int = BLOCK_ROWS) -> Iterator[tuple[Rows, Floats]]:
        """The vectors in order, checked, at most ``rows`` at a time.

        Args:
            skip_missing: leave out rows that are not finite; they are refused otherwise.
            rows: of a block.

        Yields:
            Numbers of the rows in their source (int64), ascending; and float32 of shape (rows, dimensions).

        Raises:
            DataFormatError: a vector is not finite (unless skipped), or not of length 1.
        """
        at = self.start
        for block in self._raw_blocks(rows):
            yield self._checked(at, block, skip_missing)
            at += len(block)

    def take(self, rows: Rows) -> Floats:
        """The vectors of these rows, numbered as in the source, in ascending order; not checked again."""
        local = rows - self.start
        if self.path.suffix == ".parquet":
            return parquet_rows(self.path, self.member, self.dimensions, local)
        mapped = _mapped(*self._state())
        array = _opened(*self._state()) if mapped is None else mapped
        return np.asarray(array[local], dtype=np.float32)

    def _state(self) -> tuple[Path, str, int]:
        with storage_errors("reading", self.path):
            return self.path, self.member, self.path.stat().st_mtime_ns

    def _raw_blocks(self, rows: int) -> Iterator[Floats]:
        if self.path.suffix == ".parquet":
            yield from parquet_blocks(self.path, self.member, self.dimensions, rows)
            return
        array = _opened(*self._state())
        for start in range(0, self.rows, rows):
            yield np.ascontiguousarray(array[start : start + rows], dtype=np.float32)

    def _checked(self, at: int, block: Floats, skip_missing: bool) -> tuple[Rows, Floats]:
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        finite = np.isfinite(lengths)
        numbers = np.arange(at, at + len(block))
        if not finite.all():
            if not skip_missing:
                first = int(np.flatnonzero(~finite)[0])
                raise DataFormatError(
                    f"Row {at - self.start + first} of {self.name} is not finite (one of {int((~finite).sum())} here).",
                    hint="Leave such rows out, or extract their features again.",
                )
            numbers, block, lengths = numbers[finite], block[finite], lengths[finite]
        wrong = np.flatnonzero(np.abs(lengths - 1) > LENGTH_TOLERANCE)
        if len(wrong):
            raise DataFormatError(
                f"Row {int(numbers[wrong[0]]) - self.start} of {self.name} has length {lengths[wrong[0]]:.4g}, not 1.",
                hint="Divide every vector by its length: similarities are cosines.",
            )
        return numbers, block


@dataclass(frozen=True, slots=True)
class VectorSource:
    """Vectors of several files as if they were one array, of ``rows`` rows."""

    shards: tuple[VectorShard, ...]

    @classmethod
    def open(cls, paths: Sequence[Path], member: str | None = None) -> VectorSource:
        """The files in this order.

        Args:
            paths: at least one.
            member: of each; see ``VectorShard.open``.

        Raises:
            DataFormatError: a file is damaged, dimensions differ, or the models that made them do.
            UsageError: not a file of features.
            StorageError: a file cannot be read.
        """
        shards: list[VectorShard] = []
        for path in paths:
            start = shards[-1].start + shards[-1].rows if shards else 0
            shards.append(replace(VectorShard.open(path, member), start=start))
        for first, second in pairwise(shards):
            check_same_model(first, second)
        return cls(tuple(shards))

    @classmethod
    def of_metadata(cls, files: Sequence[Path], member: str) -> VectorSource:
        """The features of a pool's metadata files, in their order; row *i* is the pool's row *i*.

        Args:
            files: parquet, at least one.
            member: of the npz beside each, for instance ``l14_img``.

        Raises:
            DataFormatError: as ``open``, or no npz, or not a row for each of its parquet file.
            StorageError: a file cannot be read.
        """
        for path in files:
            read_feature(path, member)
        return cls.open([features_path(path) for path in files], member)

    @property
    def rows(self) -> int:
        """Vectors in all files."""
        return self.shards[-1].start + self.shards[-1].rows

    @property
    def dimensions(self) -> int:
        """Of each vector."""
        return self.shards[0].dimensions

    def take(self, rows: Rows) -> Floats:
        """The vectors of any rows, in the order asked: float32 of shape (rows, dimensions)."""
        distinct, places = np.unique(rows, return_inverse=True)
        ordered = len(distinct) == len(rows) and bool((places == np.arange(len(rows))).all())
        starts = [shard.start for shard in self.shards] + [self.rows]
        bounds = np.searchsorted(distinct, starts)
        parts = [
            shard.take(distinct[first:end])
            for shard, (first, end) in zip(self.shards, pairwise(bounds.tolist()), strict=True)
            if end > first
        ]
        if not parts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        vectors: Floats = np.concatenate(parts)
        return vectors if ordered else vectors[places.reshape(-1)]


def check_same_model(first: VectorShard, second: VectorShard) -> None:
    """Refuse files whose vectors cannot be compared; a file of unknown model passes.

    Raises:
        DataFormatError: other dimensions, or other weights.
    """
    if first.dimensions != second.dimensions:
        raise DataFormatError(
            f"{first.name} has vectors of {first.dimensions} dimensions, {second.name} of {second.dimensions}.",
            hint=_ONE_MODEL,
        )
    if None not in {first.model, second.model} and first.model != second.model:
        raise DataFormatError(
            f"{first.name} was made by the model {str(first.model)[:12]}, {second.name} by {str(second.model)[:12]} "
            "(sha256 of their weights).",
            hint=_ONE_MODEL,
        )


def read_vectors(path: Path, member: str, like: VectorShard) -> Floats:
    """All vectors of a small file, to be compared with those of a shard: float32 of shape (rows, dimensions).

    Args:
        path: npz, npy or parquet.
        member: which of several; the only one may have another name.
        like: from the same model.

    Raises:
        DataFormatError: no rows, a row that is not finite or not of length 1, another model, or a damaged file.
        UsageError: not a file of features, or several members of other names.
        StorageError: it cannot be read.
    """
    named = path.suffix == ".npz" and member in member_names(path)
    named = named or (path.suffix == ".parquet" and member in vector_columns(path))
    shard = VectorShard.open(path, member if named else None)
    check_same_model(shard, like)
    blocks = [vectors for _, vectors in shard.blocks()]
    if not blocks:
        raise DataFormatError(f"The features {shard.name} have no rows.")
    return np.concatenate(blocks)


def check_vectors(vectors: NDArray[Any], what: str) -> Floats:
    """An array that is at hand as vectors: (rows, dimensions) float32, C order.

    Raises:
        DataFormatError: not rows of floats, not finite, or not of length 1.
    """
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise DataFormatError(f"{what} have shape {vectors.shape} and type {vectors.dtype}: not rows of floats.")
    shard = VectorShard(Path(what), "", *vectors.shape)
    return shard._checked(0, np.ascontiguousarray(vectors, dtype=np.float32), skip_missing=False)[1]  # noqa: SLF001


def _open_npz(path: Path, member: str | None) -> VectorShard:
    name = _one_of(path, member_names(path), member)
    return _shard(path, name, open_member(path, name), _role_model(path, name))


def _open_npy(path: Path, member: str | None) -> VectorShard:
    return _shard(path, "", map_npy(path), _role_model(path, member or ""))


def _open_parquet(path: Path, member: str | None) -> VectorShard:
    name = _one_of(path, vector_columns(path), member)
    return VectorShard(path, name, *vector_shape(path, name), 0, recorded_model(path) or _role_model(path, name))


def _shard(path: Path, member: str, array: NDArray[Any], model: str | None) -> VectorShard:
    if array.ndim != 2 or array.dtype.kind != "f":
        raise DataFormatError(f"{path}:{member} has shape {array.shape} and type {array.dtype}: not rows of floats.")
    return VectorShard(path, member, len(array), array.shape[1], 0, model)


def _one_of(path: Path, names: Sequence[str], member: str | None) -> str:
    """The named member, or the only one."""
    if member in names:
        return str(member)
    if member is None and len(names) == 1:
        return names[0]
    if member is None and names:
        raise UsageError(f"{path} has several features: {', '.join(names)}.", hint="Name one with --features.")
    raise DataFormatError(f"{path} has no {member or 'features'}; it has {', '.join(names) or 'none'}.")


def _role_model(path: Path, member: str) -> str | None:
    """Digest of the weights by the record beside the file (``<file>.json``) or in its folder (``annotation.json``).

    Such a record lists ``models``, each with its ``role`` (``l14`` of the member ``l14_img``) and ``weights_sha256``; a
    record with one model needs no role.
    """
    for record in (path.with_name(f"{path.name}.json"), path.with_name(POOL_RECORD)):
        if not record.is_file():
            continue
        with storage_errors("reading", record):
            text = record.read_bytes()
        try:
            models = json.loads(text).get("models", [])
            digests = {each.get("role", ""): str(each[DIGEST_KEY]) for each in models}
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise DataFormatError(f"The record {record} does not list models with their {DIGEST_KEY}.") from error
        found = digests.get(member.partition("_")[0]) or (next(iter(digests.values())) if len(digests) == 1 else None)
        if found:
            return found
    return None


@lru_cache(maxsize=1)
def _opened(path: Path, member: str, changed: int) -> NDArray[Any]:  # noqa: ARG001 - another time, another array
    """One file at a time: a deflated member of an npz is in memory whole, and of a map what was read of it."""
    return open_member(path, member) if path.suffix == ".npz" else map_npy(path)


@lru_cache(maxsize=1024)
def _mapped(path: Path, member: str, changed: int) -> NDArray[Any] | None:
    """The file's array if it is a map, for single rows of many files: what was read stays at hand."""
    array = _opened.__wrapped__(path, member, changed)
    return array if isinstance(array, np.memmap) else None
