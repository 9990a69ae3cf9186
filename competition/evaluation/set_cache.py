"""Evaluation sets on disk as models want them: pixels decoded once for all entries, and what belongs to each image.

Everything is named by the digest of what it was made from, so nothing can be stale: a set that changes has another
digest, and so has another transform or another Pillow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from competition.canonical import digest
from competition.data.atomic import atomic_writer, make_folder, write_bytes
from competition.data.npy import map_npy
from competition.errors import DataFormatError, StorageError
from competition.evaluation.decoding import Decoded, Pixels, Unreadable, check_tolerated, processors
from competition.evaluation.images import Preparation
from competition.evaluation.known_digests import KnownDigests, KnownListDigests

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

    def files_digest(self, folder: Path, files: Sequence[Path]) -> str:
        """Identity of image files below a folder, names and bytes in their order; read again only if one changed.

        Raises:
            OSError: a file cannot be read.
        """
        self._writable()
        return KnownListDigests(self._folder).of(folder, files, processors())

    def pixels(
        self, set_digest: str, decoded: Decoded, count: int, prepare: Preparation, tolerance: float = 0.0
    ) -> tuple[Pixels, list[Unreadable]]:
        """Prepared images uint8 [N, S, S, 3], mapped from the disk; decoded and kept when they are not there.

        On disk they are [N, 3, S, S], what networks want: the returned array is a view of that. Images that cannot be
        decoded are in neither, and come beside.

        Args:
            set_digest: of the shards or of the files; see ``pixels_key``.
            decoded: the prepared images; not read where all are there.
            count: of images, with those that cannot be decoded.
            prepare: the transform.
            tolerance: share of the images that may be so.

        Raises:
            UnreadableImagesError: more cannot be used.
            DataFormatError, StorageError: a shard is damaged, or the disk is full.
        """
        image = (3, prepare.size, prepare.size)
        path = self._folder / f"{pixels_key(set_digest, prepare)}.npy" if self._folder is not None else None
        left_out = _read_unreadable(path) if path is not None else []
        images = _mapped(path, (count - len(left_out), *image)) if path is not None else None
        if images is not None:
            check_tolerated(left_out, count, tolerance)
            return images.transpose(0, 2, 3, 1), left_out
        left_out, blocks = decoded.unreadable, _counted(decoded, count, tolerance)
        if path is None or self._writable() is None:
            return _in_memory(blocks, count, image).transpose(0, 2, 3, 1), left_out
        _write(path, blocks, image)
        _keep_unreadable(path, left_out)
        images = _mapped(path, (count - len(left_out), *image))
        if images is None:
            raise StorageError(f"{path} was written and cannot be read.", hint="Is something else removing it?")
        return images.transpose(0, 2, 3, 1), left_out

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


def _counted(decoded: Decoded, count: int, tolerance: float) -> Iterator[Pixels]:
    """The blocks, which hold as many images as the set had when its samples were counted, but for few."""
    seen = 0
    for block in decoded.blocks:
        seen += len(block)
        if seen + len(decoded.unreadable) > count:
            break
        yield block
    if seen + len(decoded.unreadable) != count:
        raise DataFormatError("its files changed while they were read.")
    check_tolerated(decoded.unreadable, count, tolerance)


def _unreadable_file(pixels: Path) -> Path:
    return pixels.with_suffix(".unreadable.json")


def _read_unreadable(pixels: Path) -> list[Unreadable]:
    """The images that a file of pixels came without; none where no list, or a damaged one, is beside it."""
    try:
        content = json.loads(_unreadable_file(pixels).read_bytes())
        return [Unreadable(int(position), str(key), str(reason)) for position, key, reason in content]
    except (OSError, ValueError, TypeError):
        return []


def _keep_unreadable(pixels: Path, unreadable: list[Unreadable]) -> None:
    """Keep the list of the images that a file of pixels comes without. One without its list has too few images to be
    taken for the set's."""
    if unreadable:
        content = json.dumps([[image.position, image.key, image.reason] for image in unreadable])
        write_bytes(_unreadable_file(pixels), content.encode(), synced=False)


def _mapped(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    try:
        images: Pixels = map_npy(path)
    except (DataFormatError, StorageError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 and images.flags.c_contiguous else None


def _write(path: Path, blocks: Iterable[Pixels], image: tuple[int, ...]) -> None:
    """Write a ``.npy`` block by block; not through a memory map, where a full disk would kill the process."""
    with atomic_writer(path) as stream:
        start, written = _write_header(stream, 0, image), 0
        for block in blocks:
            stream.write(block.data)
            written += len(block)
        stream.seek(0)
        if _write_header(stream, written, image) != start:  # numpy leaves room for a length of any digits
            raise AssertionError("the header of an array has another length than that of a longer one")


def _write_header(stream: BinaryIO, length: int, image: tuple[int, ...]) -> int:
    header = {"descr": "|u1", "fortran_order": False, "shape": (length, *image)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.tell()


def _in_memory(blocks: Iterable[Pixels], count: int, image: tuple[int, ...]) -> Pixels:
    images = np.empty((count, *image), dtype=np.uint8)
    position = 0
    for block in blocks:
        images[position : position + len(block)] = block
        position += len(block)
    return images[:position]
