"""The index of shards, kept in the run's folder: a resumed run and the machine's other processes need not read them.

``index.json`` names the shards with their digests and states, and the arrays with their digests; the arrays lie beside
it as ``.npy`` files and are mapped into memory. An index that is not whole is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder, remove_partials, write_bytes
from competition.data.digests import file_sha256
from competition.progress import ProgressHook
from competition.records.base import Record, Sha256
from participant_kit.train.data.shards import ARRAYS, IndexedShard, ShardSource, file_state, open_shards
from participant_kit.train.data.source import Part

_INDEX = "index.json"
_COLUMNS = {"images": 2, "captions": 2, "labels": 0, "identities": 0}


class _Shard(Record):
    path: str
    name: str
    samples: int = Field(ge=0)
    sha256: Sha256
    size: int = Field(ge=0)
    mtime_ns: int


class _Index(Record):
    schema_version: Literal[1] = 1
    classes: str
    shards: tuple[_Shard, ...]
    arrays: dict[str, Sha256]

    @property
    def firsts(self) -> NDArray[np.int64]:
        """int64 [shards + 1], position of each shard's first sample."""
        return np.concatenate([[0], np.cumsum([shard.samples for shard in self.shards])]).astype(np.int64)


class _IndexFile(Record):
    content: _Index
    sha256: Sha256

    @classmethod
    def of(cls, content: _Index) -> _IndexFile:
        """With the digest of its content."""
        return cls(content=content, sha256=sha256(content.model_dump_json().encode()).hexdigest())


_Kept = tuple[_Index, dict[str, Any]]


def open_indexed_shards(
    shards: Path, index: Path, workers: int, progress: ProgressHook, labels: Mapping[bytes, int] | None = None
) -> ShardSource:
    """The shards of a folder as ``open_shards`` opens them, by the index where they have not changed since.

    Args:
        shards: folder of ``*.tar``.
        index: folder of the index, which need not exist; nothing is written.
        workers: threads that read shards.
        progress: told how many are read.
        labels: see ``open_shards``.
    """
    kept = _read(index)
    opened = open_shards(shards, workers, progress, labels, partial(_unchanged, kept) if kept else None)
    return _mapped(opened, kept) or opened


def keep_index(source: ShardSource, index: Path) -> ShardSource:
    """Write the index of a source unless it is there; the source, mapped into memory from it.

    One process at a time may do so.

    Raises:
        StorageError: the disk is full; an index that was there is whole or not there.
    """
    if isinstance(source.images, np.memmap):
        return source
    make_folder(index)
    remove_partials(index)
    for name in ARRAYS:
        with atomic_writer(_array(index, name)) as stream:
            write_npy(stream, getattr(source, name))
    content = _index_of(source, {name: file_sha256(_array(index, name)) for name in ARRAYS})
    write_bytes(index / _INDEX, (_IndexFile.of(content).model_dump_json(indent=1) + "\n").encode())
    return _mapped(source, _read(index)) or source


def _unchanged(kept: _Kept, classes: str, paths: Sequence[Path]) -> dict[str, IndexedShard]:
    """What the index knows of those shards that have not changed since."""
    content, arrays = kept
    if content.classes != classes:
        return {}
    wanted = {path.absolute().as_uri(): path for path in paths}
    found: dict[str, IndexedShard] = {}
    for shard, (first, stop) in zip(content.shards, pairwise(content.firsts), strict=True):
        path, state = wanted.get(shard.path), (shard.size, shard.mtime_ns)
        if path is not None and file_state(path) == state:
            slices = {name: array[first:stop] for name, array in arrays.items()}
            found[path.name] = {"sha256": shard.sha256, "state": state, **slices}
    return found


def _mapped(source: ShardSource, kept: _Kept | None) -> ShardSource | None:
    """``source`` with the arrays of its index, mapped into memory; ``None`` when the index is of something else."""
    if kept is None or kept[0] != _index_of(source, kept[0].arrays):
        return None
    return replace(source, **kept[1])


def _index_of(source: ShardSource, arrays: dict[str, str]) -> _Index:
    def shard(path: Path, part: Part, state: tuple[int, int]) -> _Shard:
        return _Shard(
            path=path.absolute().as_uri(),
            name=part.name,
            samples=part.samples,
            sha256=part.sha256,
            size=state[0],
            mtime_ns=state[1],
        )

    entries = zip(source.paths, source.parts, source.states, strict=True)
    return _Index(classes=source.classes, shards=tuple(shard(*entry) for entry in entries), arrays=arrays)


def _read(index: Path) -> _Kept | None:
    """Index and arrays, if all of it is there and as it was written."""
    try:
        file = _IndexFile.model_validate_json((index / _INDEX).read_bytes())
        content = file.content
        if file != _IndexFile.of(content) or set(content.arrays) != set(ARRAYS):
            return None
        if any(file_sha256(_array(index, name)) != content.arrays[name] for name in ARRAYS):
            return None
        arrays = {name: np.load(_array(index, name), mmap_mode="r", allow_pickle=False) for name in ARRAYS}
    except (OSError, ValueError, ValidationError):  # absent or damaged: it is made again
        return None
    samples = int(content.firsts[-1])
    shapes = {name: (samples, columns) if columns else (samples,) for name, columns in _COLUMNS.items()}
    if any(array.shape != shapes[name] or array.dtype != np.int64 for name, array in arrays.items()):
        return None
    return content, arrays


def _array(index: Path, name: str) -> Path:
    return index / f"{name}.npy"
