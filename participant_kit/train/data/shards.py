"""Webdataset shards as a source: an index that allows any sample to be read at any time.

The index is four arrays, kept in the run's folder by ``shard_index`` and mapped into memory: processes of one machine
share them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.data.digests import file_sha256
from competition.data.engine import Needs, engine_of
from competition.data.sample_table import ABSENT, SampleTable, scan_table
from competition.data.sample_uids import read_uids
from competition.data.shards import list_shards, scan_samples
from competition.data.tar import Buffer, open_tar
from competition.errors import DataFormatError, StorageError, TrainingError
from competition.evaluation.images import IMAGE_EXTENSIONS
from competition.progress import ProgressHook
from participant_kit.train.data.source import Indices, Part, RawSample

_NOWHERE = (-1, 0)
_NO_LABEL = -1
_HINT = "Give the folder of shards that `datacup reshard` (or `datacup pool build`) wrote as --data-dir."
ARRAYS = ("images", "captions", "labels", "identities")

FileState = tuple[int, int]
"""Size and mtime_ns of a file: where both are the same, so is its content."""
IndexedShard = dict[str, Any]
"""What is known of one shard: ``sha256``, ``state`` and the four arrays."""


class KeptShards(Protocol):
    """What is known of shards from an earlier time."""

    def __call__(self, classes: str, paths: Sequence[Path]) -> Mapping[str, IndexedShard]:
        """By name, those of ``paths`` that have not changed since, with labels of the table ``classes``."""
        ...


@dataclass(frozen=True)
class ShardSource:
    """The samples of a folder's shards in a canonical order: shards by name and content, then as in the shard.

    Args:
        paths: of the shards.
        parts: see ``Source``.
        firsts: int64 [shards + 1], position of each shard's first sample.
        images: int64 [samples, 2], (offset, size) in the shard, offset -1 where there is none.
        captions: likewise.
        labels: int64 [samples], class numbers (member ``cls``), -1 where there is none.
        identities: see ``Source``.
        states: (size, mtime_ns) of each shard, as it was read.
        classes: digest of the table that labels come from (see ``labels_digest``); empty where they are the shards'.
    """

    paths: tuple[Path, ...]
    parts: tuple[Part, ...]
    firsts: NDArray[np.int64]
    images: NDArray[np.int64]
    captions: NDArray[np.int64]
    labels: NDArray[np.int64]
    identities: Indices
    states: tuple[FileState, ...] = ()
    classes: str = ""

    def read(self, index: int) -> RawSample:
        """The sample at a position (raises ``StorageError``)."""
        path = self.paths[self._shard(index)]
        with storage_errors("reading", path):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                image, caption = _pread(descriptor, self.images[index]), _pread(descriptor, self.captions[index])
            finally:
                os.close(descriptor)
        label = int(self.labels[index])
        return RawSample(image, caption, None if label == _NO_LABEL else label)

    def describe(self, index: int) -> str:
        """Shard and key of a sample, for messages."""
        shard = self._shard(index)
        path, position = self.paths[shard], index - int(self.firsts[shard])
        with open_tar(path) as buffer:
            key = next(span.key for place, span in enumerate(scan_samples(buffer, path)) if place == position)
        return f"sample {key!r} of shard {path}"

    def __getstate__(self) -> dict[str, Any]:
        """Arrays that are mapped into memory travel as the names of their files."""
        return {name: str(value.filename) if _mapped(value) else value for name, value in self.__dict__.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in ARRAYS:
            if isinstance(state[name], str):
                state[name] = np.load(state[name], mmap_mode="r", allow_pickle=False)
        self.__dict__.update(state)

    def _shard(self, index: int) -> int:
        return int(np.searchsorted(self.firsts, index, side="right")) - 1


def open_shards(
    folder: Path,
    workers: int,
    progress: ProgressHook,
    labels: Mapping[bytes, int] | None = None,
    kept: KeptShards | None = None,
) -> ShardSource:
    """Index all shards of a folder.

    Args:
        folder: of ``*.tar``.
        workers: threads that read shards.
        progress: told how many are read.
        labels: class numbers by uid (16 bytes, big-endian), instead of those of the ``cls`` members.
        kept: what an earlier run knew of shards; those that have not changed since are not read again.

    Raises:
        TrainingError: the folder holds no shards, or no shard holds a sample.
        DataFormatError: a shard is damaged.
    """
    paths, classes = _shards_of(folder), labels_digest(labels)
    read = dict(kept(classes, paths)) if kept is not None else {}
    read |= engine_of(workers).map(
        partial(_index_shard, labels),
        {path.name: path for path in paths if path.name not in read},
        stage="reading shards",
        needs=Needs(threads=True),
        progress=progress,
    )
    order = sorted(paths, key=lambda path: (path.name, read[path.name]["sha256"]))
    indexed = [read[path.name] for path in order]
    counts = [len(entry["labels"]) for entry in indexed]
    if not sum(counts):
        raise TrainingError(f"The {len(paths)} shards of {folder} hold no sample.", hint=_HINT)
    return ShardSource(
        paths=tuple(order),
        parts=tuple(
            Part(path.name, count, entry["sha256"]) for path, count, entry in zip(order, counts, indexed, strict=True)
        ),
        firsts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        **{name: np.concatenate([entry[name] for entry in indexed]) for name in ARRAYS},
        states=tuple(entry["state"] for entry in indexed),
        classes=classes,
    )


def file_state(path: Path) -> FileState:
    """The state of a file (raises ``OSError``)."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def labels_digest(labels: Mapping[bytes, int] | None) -> str:
    """sha256 of a table of labels, in whatever order it is; empty for none."""
    if labels is None:
        return ""
    found = sha256()
    for uid in sorted(labels):
        found.update(uid + labels[uid].to_bytes(8, "little", signed=True))
    return found.hexdigest()


def _shards_of(folder: Path) -> list[Path]:
    try:
        return [shard.path for shard in list_shards(folder).shards]
    except (DataFormatError, StorageError) as error:
        raise TrainingError(f"There are no shards (*.tar) in {folder}.", hint=_HINT) from error


def _index_shard(labels: Mapping[bytes, int] | None, path: Path) -> IndexedShard:
    with storage_errors("reading", path):
        state = file_state(path)  # first: a change meanwhile is noticed by the next run
        content = file_sha256(path)
    with open_tar(path) as buffer:
        table, texts = scan_table(buffer, path)
        uids = read_uids(buffer, table, texts)
        identities, keys = np.empty(len(table), dtype=np.int64), np.stack([uids.uids["f0"], uids.uids["f1"]], axis=1)
        identities[uids.rows] = (keys[:, 0] ^ keys[:, 1]).view(np.int64)
        identities[uids.unread] = _key_identities(buffer, path, uids.unread)
        if labels is None:
            numbers = _class_members(buffer, table, path)
        else:
            numbers = np.full(len(table), _NO_LABEL, dtype=np.int64)
            found = keys.astype(">u8").tobytes()
            numbers[uids.rows] = [labels.get(found[at : at + 16], _NO_LABEL) for at in range(0, len(found), 16)]
        images = _members(table, IMAGE_EXTENSIONS)
        return {
            "sha256": content,
            "state": state,
            "images": images,
            "captions": _members(table, ("txt",)),
            "labels": numbers,
            "identities": identities,
        }


def _members(table: SampleTable, extensions: Sequence[str]) -> NDArray[np.int64]:
    """(offset, size) [samples, 2] of each sample's first member among ``extensions``."""
    places = np.tile(np.array(_NOWHERE, dtype=np.int64), (len(table), 1))
    for extension in reversed(extensions):
        members = table.member(extension)
        rows = members != ABSENT
        places[rows, 0], places[rows, 1] = table.offsets[members[rows]], table.sizes[members[rows]]
    return places


def _class_members(buffer: Buffer, table: SampleTable, path: Path) -> NDArray[np.int64]:
    places = _members(table, ("cls",))
    numbers = np.full(len(table), _NO_LABEL, dtype=np.int64)
    for row in np.flatnonzero(places[:, 0] >= 0):
        offset, size = (int(value) for value in places[row])
        text = bytes(buffer[offset : offset + size]).strip()
        if not text.isdigit() or len(text) > 9:
            raise DataFormatError(
                f"Sample {row} of shard {path} has the class {text[:20]!r}, which is not a whole number.",
                hint="A `cls` member holds the class's number in digits, counted from 0.",
            )
        numbers[row] = int(text)
    return numbers


def _key_identities(buffer: Buffer, path: Path, rows: NDArray[np.int64]) -> list[int]:
    """Samples without a uid are told apart by their keys."""
    if not len(rows):
        return []
    wanted = set(rows.tolist())
    keys = (span.key for row, span in enumerate(scan_samples(buffer, path)) if row in wanted)
    return list(_hashed(keys))


def _hashed(keys: Iterator[str]) -> Iterator[int]:
    for key in keys:
        yield int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little", signed=True)


def _mapped(value: object) -> TypeGuard[np.memmap[Any, Any]]:
    return isinstance(value, np.memmap) and value.filename is not None


def _pread(descriptor: int, place: NDArray[np.int64]) -> bytes | None:
    offset, size = int(place[0]), int(place[1])
    return os.pread(descriptor, size, offset) if offset >= 0 else None
