"""Decoding all images of an evaluation set at once, in parallel and with bounded memory."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.data.shards import SampleSpan, read_payload, scan_samples
from competition.data.tar import Buffer, open_tar
from competition.evaluation.images import IMAGE_EXTENSIONS, ImageDecodingError, Preparation, decode_rgb

Pixels = NDArray[np.uint8]
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
class _Block:
    """Prepared images uint8 [B, 3, S, S]; place in the block, key and reason of those that are not among them."""

    pixels: Pixels
    failures: list[tuple[int, str, str]]


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decoded_blocks(
    shards: Iterable[Path], prepare: Preparation, workers: int, unreadable: list[Unreadable]
) -> Iterator[Pixels]:
    """The prepared images of tar shards in order, uint8 [B, 3, S, S] at a time.

    Threads decode them: Pillow lets go of the interpreter while it decompresses and resizes. No more than a few blocks
    a thread are in memory.

    Args:
        shards: tars.
        prepare: the transform.
        workers: threads.
        unreadable: gets the images that are absent or cannot be decoded; blocks come without them.

    Raises:
        DataFormatError, StorageError: a shard is damaged or cannot be read.
    """
    position = 0
    with ThreadPoolExecutor(workers) as pool:
        for shard in shards:
            with open_tar(shard) as buffer:
                spans = scan_samples(buffer, shard)
                for block in _decoded_shard(pool, buffer, spans, prepare, workers * _BLOCKS_AHEAD):
                    unreadable += [Unreadable(position + place, *said) for place, *said in block.failures]
                    position += len(block.pixels) + len(block.failures)
                    yield block.pixels


def _decoded_shard(
    pool: ThreadPoolExecutor, buffer: Buffer, spans: Iterator[SampleSpan], prepare: Preparation, ahead: int
) -> Iterator[_Block]:
    waiting: deque[Future[_Block]] = deque()
    try:
        while block := list(islice(spans, _BLOCK)):
            waiting.append(pool.submit(_decoded_block, buffer, block, prepare))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # the buffer is closed behind this: nobody may read it any more
        for future in waiting:
            future.cancel()
        for future in waiting:
            if not future.cancelled():
                future.exception()


def _decoded_block(buffer: Buffer, spans: Sequence[SampleSpan], prepare: Preparation) -> _Block:
    pixels = np.empty((len(spans), 3, prepare.size, prepare.size), dtype=np.uint8)
    failures: list[tuple[int, str, str]] = []
    for place, span in enumerate(spans):
        member = next((span.members[name] for name in IMAGE_EXTENSIONS if name in span.members), None)
        if member is None:
            failures.append((place, span.key, "it has no image"))
            continue
        try:
            pixels[place - len(failures)] = prepare(decode_rgb(read_payload(buffer, member))).transpose(2, 0, 1)
        except ImageDecodingError as error:
            failures.append((place, span.key, str(error)))
    return _Block(pixels[: len(spans) - len(failures)], failures)
