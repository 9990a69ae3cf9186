"""Fingerprints of many images, decoded in threads with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from competition.evaluation.copies import Fingerprint, fingerprint
from competition.evaluation.images import ImageDecodingError

BLOCK = 64
_BLOCKS_AHEAD = 2

Read = Callable[[], bytes]
"""Reads the bytes of an image; may raise ``ImageDecodingError``."""
Looked = list[Fingerprint | ImageDecodingError]


def fingerprint_blocks(images: Iterable[Read], workers: int) -> Iterator[Looked]:
    """The fingerprint of each image in order, or why there is none, ``BLOCK`` at a time.

    Reading ahead is bounded by some blocks a thread. What ``images`` raises is raised here.
    """
    waiting: deque[Future[Looked]] = deque()
    source = iter(images)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            while block := list(islice(source, BLOCK)):
                waiting.append(pool.submit(_look, block))
                if len(waiting) > workers * _BLOCKS_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # what the images are read from is closed behind this
            for future in waiting:
                future.cancel()


def _look(block: list[Read]) -> Looked:
    found: Looked = []
    for read in block:
        try:
            found.append(fingerprint(read()))
        except ImageDecodingError as error:
            found.append(error)
    return found
