"""Decoding all images of an evaluation set at once, in parallel and with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.data.shards import SampleSpan, read_payload, scan_samples
from competition.data.tar import Buffer, open_tar
from competition.evaluation.images import IMAGE_EXTENSIONS, ImageDecodingError, Preparation, decode_rgb

Pixels = NDArray[np.uint8]
_BLOCK = 32
_BLOCKS_AHEAD = 4


class UnreadableImagesError(Exception):
    """Images of a set cannot be decoded.

    Args:
        key: of the first one's sample.
        reason: why it cannot.
        count: how many there are.
    """

    def __init__(self, key: str, reason: str, count: int) -> None:
        super().__init__(f"sample {key!r}: {reason}")
        self.key, self.reason, self.count = key, reason, count


@dataclass(frozen=True)
class _Block:
    """Prepared images uint8 [B, 3, S, S], and key and reason of those that are not there."""

    pixels: Pixels
    failures: list[tuple[str, str]]


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decoded_blocks(
    shards: Iterable[Path], prepare: Preparation, workers: int, wanted: NDArray[np.bool_] | None = None
) -> Iterator[Pixels]:
    """The prepared images of tar shards in order, uint8 [B, 3, S, S] at a time.

    Threads decode them: Pillow lets go of the interpreter while it decompresses and resizes. No more than a few blocks
    a thread are in memory.

    Args:
        shards: tars.
        prepare: the transform.
        workers: threads.
        wanted: bool, of each sample of all shards whether it is decoded; all when absent.

    Raises:
        UnreadableImagesError: images are absent or cannot be decoded; behind the last block.
        DataFormatError, StorageError: a shard is damaged or cannot be read.
    """
    failures: list[tuple[str, str]] = []
    chosen = repeat(True) if wanted is None else chain(wanted.tolist(), repeat(False))
    with ThreadPoolExecutor(workers) as pool:
        for shard in shards:
            with open_tar(shard) as buffer:
                spans = (span for span in scan_samples(buffer, shard) if next(chosen))
                for block in _decoded_shard(pool, buffer, spans, prepare, workers * _BLOCKS_AHEAD):
                    failures += block.failures
                    yield block.pixels
    if failures:
        raise UnreadableImagesError(*failures[0], len(failures))


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
    block = _Block(np.empty((len(spans), 3, prepare.size, prepare.size), dtype=np.uint8), [])
    for position, span in enumerate(spans):
        member = next((span.members[name] for name in IMAGE_EXTENSIONS if name in span.members), None)
        if member is None:
            block.failures.append((span.key, "it has no image"))
            continue
        try:
            block.pixels[position] = prepare(decode_rgb(read_payload(buffer, member))).transpose(2, 0, 1)
        except ImageDecodingError as error:
            block.failures.append((span.key, str(error)))
    return block
