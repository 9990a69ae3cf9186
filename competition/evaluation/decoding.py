"""Decoding all images of an evaluation set at once, in parallel and with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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


class _Picture(NamedTuple):
    """An image's name in messages, and what reads its bytes; nothing where a sample has no image."""

    key: str
    read: Callable[[], bytes] | None


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
                pictures = (_picture(buffer, span) for span in spans)
                for block in _decoded(pool, pictures, prepare, workers * _BLOCKS_AHEAD):
                    failures += block.failures
                    yield block.pixels
    if failures:
        raise UnreadableImagesError(*failures[0], len(failures))


def decoded_files(files: Iterable[tuple[str, Path]], prepare: Preparation, workers: int) -> Iterator[Pixels]:
    """The prepared images of files in order, as ``decoded_blocks`` has those of shards.

    Args:
        files: what each is called in messages, and its path.
        prepare: the transform.
        workers: threads.

    Raises:
        UnreadableImagesError: images cannot be decoded; behind the last block.
        StorageError: a file cannot be read.
    """
    failures: list[tuple[str, str]] = []
    pictures = (_Picture(name, partial(_read_file, path)) for name, path in files)
    with ThreadPoolExecutor(workers) as pool:
        for block in _decoded(pool, pictures, prepare, workers * _BLOCKS_AHEAD):
            failures += block.failures
            yield block.pixels
    if failures:
        raise UnreadableImagesError(*failures[0], len(failures))


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
    block = _Block(np.empty((len(pictures), 3, prepare.size, prepare.size), dtype=np.uint8), [])
    for position, picture in enumerate(pictures):
        if picture.read is None:
            block.failures.append((picture.key, "it has no image"))
            continue
        try:
            block.pixels[position] = prepare(decode_rgb(picture.read())).transpose(2, 0, 1)
        except ImageDecodingError as error:
            block.failures.append((picture.key, str(error)))
    return block
