"""Decoding all images of an evaluation set at once, in parallel and with bounded memory."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.data.shards import SampleSpan, read_payload, scan_samples
from competition.data.tar import Buffer, open_tar
from competition.evaluation.images import IMAGE_EXTENSIONS, ImageDecodingError, Preparation, decode_rgb

Pixels = NDArray[np.uint8]
MAX_IMAGE_BYTES = 200 * 10**6
"""A larger file is no image that is evaluated."""

_BLOCK = 32
_BLOCKS_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An image of a set that cannot be decoded: its position, the key of its sample, and the reason."""

    position: int
    key: str
    reason: str


class UnreadableImagesError(Exception):
    """More images of a set cannot be decoded than may be.

    Args:
        unreadable: all of them.
        count: images of the set.
        tolerance: share of them that may be unreadable.
    """

    def __init__(self, unreadable: Sequence[Unreadable], count: int, tolerance: float) -> None:
        first = unreadable[0]
        permitted = f" (up to {math.floor(tolerance * count)} may be so)" if tolerance else ""
        super().__init__(
            f"{len(unreadable)} of {count} images cannot be used{permitted}, first {first.key!r}: {first.reason}."
        )


def check_tolerated(unreadable: Sequence[Unreadable], count: int, tolerance: float) -> None:
    """Raise ``UnreadableImagesError`` when more than a share ``tolerance`` of ``count`` images is unreadable, or all.

    Of few images a share may be less than one: then none may be.
    """
    if unreadable and (len(unreadable) > tolerance * count or len(unreadable) == count):
        raise UnreadableImagesError(unreadable, count, tolerance)


@dataclass(frozen=True)
class Decoded:
    """Prepared images uint8 [B, 3, S, S] at a time, in order and to be read once.

    ``unreadable`` are those that the blocks come without: known behind the last block.
    """

    blocks: Iterator[Pixels]
    unreadable: list[Unreadable]


class _Picture(NamedTuple):
    """An image's name in messages, and what reads its bytes; nothing where a sample has no image."""

    key: str
    read: Callable[[], bytes] | None


@dataclass(frozen=True)
class _Block:
    """Prepared images uint8 [B, 3, S, S]; place in the block, key and reason of those that are not among them."""

    pixels: Pixels
    failures: list[tuple[int, str, str]]


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decoded_shards(
    shards: Iterable[Path], prepare: Preparation, workers: int, wanted: NDArray[np.bool_] | None = None
) -> Decoded:
    """The prepared images of tar shards in order; those that are absent or cannot be decoded are told beside them.

    Threads decode them: Pillow lets go of the interpreter while it decompresses and resizes. No more than a few blocks
    a thread are in memory. Reading the blocks raises ``DataFormatError`` or ``StorageError`` where a shard is damaged
    or cannot be read.

    Args:
        shards: tars.
        prepare: the transform.
        workers: threads.
        wanted: bool, of each sample of all shards whether it is decoded; all when absent.
    """
    chosen = repeat(True) if wanted is None else chain(wanted.tolist(), repeat(False))

    def blocks() -> Generator[_Block]:
        with ThreadPoolExecutor(workers) as pool:
            for shard in shards:
                with open_tar(shard) as buffer:
                    spans = (span for span in scan_samples(buffer, shard) if next(chosen))
                    pictures = (_picture(buffer, span) for span in spans)
                    yield from _decoded(pool, pictures, prepare, workers * _BLOCKS_AHEAD)

    return _counted(blocks())


def decoded_files(files: Iterable[tuple[str, Path]], prepare: Preparation, workers: int) -> Decoded:
    """The prepared images of files in order, as ``decoded_shards`` has those of shards.

    Args:
        files: what each is called in messages, and its path.
        prepare: the transform.
        workers: threads.

    Reading the blocks raises ``StorageError`` where a file cannot be read.
    """
    pictures = (_Picture(name, partial(_read_file, path)) for name, path in files)

    def blocks() -> Generator[_Block]:
        with ThreadPoolExecutor(workers) as pool:
            yield from _decoded(pool, pictures, prepare, workers * _BLOCKS_AHEAD)

    return _counted(blocks())


def _counted(blocks: Generator[_Block]) -> Decoded:
    unreadable: list[Unreadable] = []

    def pixels() -> Iterator[Pixels]:
        position = 0
        with closing(blocks):
            for block in blocks:
                unreadable.extend(Unreadable(position + place, *said) for place, *said in block.failures)
                position += len(block.pixels) + len(block.failures)
                yield block.pixels

    return Decoded(pixels(), unreadable)


def _picture(buffer: Buffer, span: SampleSpan) -> _Picture:
    member = next((span.members[name] for name in IMAGE_EXTENSIONS if name in span.members), None)
    return _Picture(span.key, None if member is None else partial(read_payload, buffer, member))


def _read_file(path: Path) -> bytes:
    with storage_errors("reading", path), path.open("rb") as stream:
        data = stream.read(MAX_IMAGE_BYTES + 1)
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageDecodingError("the file is larger than an image may be")
    return data


def _decoded(
    pool: ThreadPoolExecutor, pictures: Iterator[_Picture], prepare: Preparation, ahead: int
) -> Iterator[_Block]:
    waiting: deque[Future[_Block]] = deque()
    try:
        while block := list(islice(pictures, _BLOCK)):
            waiting.append(pool.submit(_decoded_block, block, prepare))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # a shard's buffer is closed behind this: nobody may read it any more
        for future in waiting:
            future.cancel()
        for future in waiting:
            if not future.cancelled():
                future.exception()


def _decoded_block(pictures: Sequence[_Picture], prepare: Preparation) -> _Block:
    pixels = np.empty((len(pictures), 3, prepare.size, prepare.size), dtype=np.uint8)
    failures: list[tuple[int, str, str]] = []
    for place, picture in enumerate(pictures):
        if picture.read is None:
            failures.append((place, picture.key, "it has no image"))
            continue
        try:
            pixels[place - len(failures)] = prepare(decode_rgb(picture.read())).transpose(2, 0, 1)
        except ImageDecodingError as error:
            failures.append((place, picture.key, str(error)))
    return _Block(pixels[: len(pictures) - len(failures)], failures)
