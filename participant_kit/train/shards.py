"""Where every training sample lies: an index of webdataset shards that allows any sample to be read at any time."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.canonical import digest
from competition.data.atomic import storage_errors
from competition.data.digests import file_sha256
from competition.data.shards import SampleSpan, list_shards, read_payload, scan_samples
from competition.data.tar import Buffer, open_tar
from competition.errors import DataFormatError, StorageError, TrainingError
from competition.evaluation.images import IMAGE_EXTENSIONS
from competition.progress import Progress, ProgressHook

_ABSENT = (-1, 0)
_HINT = "Give the folder of shards that `datacup reshard` (or `datacup pool build`) wrote as --data-dir."


@dataclass(frozen=True)
class ShardIndex:
    """All samples of the data in a canonical order (shards by name and content, then as in the shard).

    ``images`` and ``captions`` are [samples, 2] of (offset, size) in the shard, offset -1 where the member is absent.
    ``identities`` [samples] are equal where samples are copies of one uid.
    """

    paths: tuple[Path, ...]
    shard: NDArray[np.int32]
    images: NDArray[np.int64]
    captions: NDArray[np.int64]
    identities: NDArray[np.int64]
    digest: str

    def __len__(self) -> int:
        return len(self.shard)

    def read(self, index: int) -> tuple[bytes | None, bytes | None]:
        """Image and caption of a sample, ``None`` where absent (raises ``StorageError``)."""
        path = self.paths[self.shard[index]]
        with storage_errors("reading", path):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                return _pread(descriptor, self.images[index]), _pread(descriptor, self.captions[index])
            finally:
                os.close(descriptor)

    def describe(self, index: int) -> str:
        """Shard and key of a sample, for messages."""
        path = self.paths[self.shard[index]]
        position = index - int(np.searchsorted(self.shard, self.shard[index]))
        with open_tar(path) as buffer:
            key = next(span.key for place, span in enumerate(scan_samples(buffer, path)) if place == position)
        return f"sample {key!r} of shard {path}"


def open_shards(data_dirs: Sequence[Path], progress: ProgressHook) -> ShardIndex:
    """Index all shards of the given folders.

    Raises:
        TrainingError: a folder holds no shards, or no shard holds a sample.
        DataFormatError: a shard is damaged.
    """
    paths = [path for folder in data_dirs for path in _shards_of(folder)]
    shards = []
    for position, path in enumerate(paths):
        progress(Progress("reading shards", position, len(paths), task=path.name))
        shards.append(_digested(path))
    shards.sort(key=lambda shard: (shard[0].name, shard[1]))
    builder = _Builder()
    for path, _ in shards:
        builder.add(path)
    if not builder.shard:
        raise TrainingError(f"The {len(paths)} shards of {_names(data_dirs)} hold no sample.", hint=_HINT)
    progress(Progress("reading shards", len(paths), len(paths)))
    return builder.finish(digest([[path.name, sha256] for path, sha256 in shards]))


def _shards_of(folder: Path) -> list[Path]:
    try:
        return [shard.path for shard in list_shards(folder).shards]
    except (DataFormatError, StorageError) as error:
        raise TrainingError(f"There are no shards (*.tar) in {folder}.", hint=_HINT) from error


def _digested(path: Path) -> tuple[Path, str]:
    with storage_errors("reading", path):
        return path, file_sha256(path)


def _names(folders: Sequence[Path]) -> str:
    return ", ".join(str(folder) for folder in folders)


def _pread(descriptor: int, place: NDArray[np.int64]) -> bytes | None:
    offset, size = int(place[0]), int(place[1])
    return os.pread(descriptor, size, offset) if offset >= 0 else None


class _Builder:
    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.shard: list[int] = []
        self._images: list[tuple[int, int]] = []
        self._captions: list[tuple[int, int]] = []
        self._identities: list[int] = []
        self._known: dict[str, int] = {}

    def add(self, path: Path) -> None:
        with open_tar(path) as buffer:
            for span in scan_samples(buffer, path):
                self._add_sample(span, buffer)
        self.paths.append(path)

    def _add_sample(self, span: SampleSpan, buffer: Buffer) -> None:
        members = span.members
        image = next((members[name] for name in IMAGE_EXTENSIONS if name in members), None)
        caption = members.get("txt")
        self.shard.append(len(self.paths))
        self._images.append((image.offset, image.size) if image else _ABSENT)
        self._captions.append((caption.offset, caption.size) if caption else _ABSENT)
        uid = _uid(read_payload(buffer, members["json"])) if "json" in members else None
        self._identities.append(self._known.setdefault(uid or f"key:{span.key}", len(self._known)))

    def finish(self, data_digest: str) -> ShardIndex:
        return ShardIndex(
            paths=tuple(self.paths),
            shard=np.asarray(self.shard, dtype=np.int32),
            images=np.asarray(self._images, dtype=np.int64),
            captions=np.asarray(self._captions, dtype=np.int64),
            identities=np.asarray(self._identities, dtype=np.int64),
            digest=data_digest,
        )


def _uid(content: bytes) -> str | None:
    """The uid of a sample's json; ``None`` where it has none (the key then tells copies apart)."""
    try:
        uid = json.loads(content)["uid"]
    except (ValueError, KeyError, TypeError):
        return None
    return uid if isinstance(uid, str) else None
