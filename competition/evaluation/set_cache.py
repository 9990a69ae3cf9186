"""Evaluation sets on disk as models want them: pixels decoded once for all entries, and what belongs to each image.

Everything is named by the digest of what it was made from, so nothing can be stale: a set that changes has another
digest, and so has another transform or another Pillow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from competition.canonical import digest
from competition.data.atomic import atomic_writer, make_folder, write_bytes
from competition.data.npy import map_npy
from competition.errors import DataFormatError, StorageError
from competition.evaluation.decoding import Pixels, decoded_blocks, processors
from competition.evaluation.images import Preparation
from competition.evaluation.known_digests import KnownDigests

CACHE_FOLDER = ".decoded"


@dataclass(frozen=True)
class Annotations:
    """Of every sample of a set in order: its key, and the text that says what its image shows."""

    keys: tuple[str, ...]
    texts: tuple[str, ...]


class SetCache:
    """Decoded sets in a folder; one that may not be written (sets shared read-only) is simply not filled.

    Args:
        folder: nothing is read or written when absent.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def set_digest(self, shards: list[Path]) -> str:
        """Identity of a set's shards, names and bytes; read again only where they changed.

        Raises:
            OSError: a shard cannot be read.
        """
        self._writable()  # so that there is a folder to remember them in
        contents = KnownDigests(self._folder).of(shards, processors())
        return digest({"shards": [[shard.name, content] for shard, content in zip(shards, contents, strict=True)]})

    def annotations(self, set_digest: str, kind: str) -> Annotations | None:
        """What ``keep_annotations`` kept; nothing when it is absent or damaged."""
        if self._folder is None:
            return None
        try:
            content = json.loads(self._annotations_file(set_digest, kind).read_bytes())
            keys, texts = content["keys"], content["texts"]
            whole = len(keys) == len(texts) and all(isinstance(value, str) for value in [*keys, *texts])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Annotations(tuple(keys), tuple(texts)) if whole else None

    def keep_annotations(self, set_digest: str, kind: str, annotations: Annotations) -> None:
        """Keep them for the next evaluation, where the folder may be written."""
        if self._writable() is not None:
            content = json.dumps({"keys": annotations.keys, "texts": annotations.texts})
            write_bytes(self._annotations_file(set_digest, kind), content.encode(), synced=False)

    def pixels(self, set_digest: str, shards: list[Path], count: int, prepare: Preparation) -> Pixels:
        """Prepared images uint8 [N, S, S, 3], mapped from the disk; decoded and kept when they are not there.

        On disk they are [N, 3, S, S], what networks want: the returned array is a view of that.

        Args:
            set_digest: of the shards; see ``pixels_key``.
            shards: tars.
            count: N.
            prepare: the transform.

        Raises:
            UnreadableImagesError: images cannot be used.
            DataFormatError, StorageError: a shard is damaged, or the disk is full.
        """
        shape = (count, 3, prepare.size, prepare.size)
        blocks = _counted(decoded_blocks(shards, prepare, processors()), count)
        if self._folder is None:
            return _in_memory(blocks, shape).transpose(0, 2, 3, 1)
        path = self._folder / f"{pixels_key(set_digest, prepare)}.npy"
        images = _mapped(path, shape)
        if images is None and self._writable() is not None:
            _write(path, blocks, shape)
            images = _mapped(path, shape)
        if images is None:
            images = _in_memory(blocks, shape)
        return images.transpose(0, 2, 3, 1)

    def _annotations_file(self, set_digest: str, kind: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{set_digest}.{kind}.json"

    def _writable(self) -> Path | None:
        """The folder, where it can be written."""
        if self._folder is None:
            return None
        try:
            make_folder(self._folder)
        except StorageError:
            return None
        return self._folder if os.access(self._folder, os.W_OK) else None


def pixels_key(set_digest: str, prepare: Preparation) -> str:
    """Identity of a set's decoded pixels: of the set and of the transform."""
    return digest({"set": set_digest, **prepare.identity})


def _counted(blocks: Iterable[Pixels], count: int) -> Iterator[Pixels]:
    """The blocks, which hold as many images as the set had when its samples were counted."""
    seen = 0
    for block in blocks:
        seen += len(block)
        if seen > count:
            break
        yield block
    if seen != count:
        raise DataFormatError("its shards changed while they were read.")


def _mapped(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    try:
        images: Pixels = map_npy(path)
    except (DataFormatError, StorageError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 and images.flags.c_contiguous else None


def _write(path: Path, blocks: Iterable[Pixels], shape: tuple[int, ...]) -> None:
    """Write a ``.npy`` block by block; not through a memory map, where a full disk would kill the process."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with atomic_writer(path) as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for block in blocks:
            stream.write(block.data)


def _in_memory(blocks: Iterable[Pixels], shape: tuple[int, ...]) -> Pixels:
    images = np.empty(shape, dtype=np.uint8)
    position = 0
    for block in blocks:
        images[position : position + len(block)] = block
        position += len(block)
    return images
