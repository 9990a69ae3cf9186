"""Decoded samples: held in memory while there is room, decoded again otherwise. Corrupt ones are found here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from competition.errors import TrainingError
from competition.evaluation.images import ImageDecodingError
from competition.progress import Progress, ProgressHook
from participant_kit.train.data.decode import Pixels
from participant_kit.train.data.source import RawSample, TrainingSet

DECODED_BYTES = 2 * 2**30
"""Memory for decoded images; samples beyond it are decoded each time they are seen."""

_DECODED_AT_ONCE = 256

Decoded = tuple[Pixels, Any]
"""Pixels uint8 [H, W, 3] and the target (tokens, a class number, or nothing)."""
Corrupt = tuple[int, str]
"""Position of a sample, and why it cannot be used."""


class CorruptSampleError(Exception):
    """Why a sample cannot be trained on."""


class Samples:
    """Decoded samples by position. A sample that cannot be decoded is reported; its successor takes its place."""

    def __init__(self, data: TrainingSet, decode: Callable[[RawSample], Decoded], memory: int = DECODED_BYTES) -> None:
        self._data = data
        self._decode_raw = decode
        self._held: dict[int, Decoded] = {}
        self._room = memory
        self._corrupt: dict[int, str] = {}
        self._lock = threading.Lock()

    @property
    def all_held(self) -> bool:
        """Whether every usable sample is in memory."""
        return len(self._held) + len(self._corrupt) == len(self._data)

    def decode_ahead(self, workers: int, progress: ProgressHook) -> None:
        """Decode samples until all are held or the memory is used up."""
        total = len(self._data)
        starts = range(0, total, _DECODED_AT_ONCE)
        with ThreadPoolExecutor(workers) as pool:
            for block in range(0, len(starts), workers):
                chunk = starts[block : block + workers]
                for start in pool.map(self._hold, chunk):
                    progress(Progress("decoding samples", start, total))
                if self._room <= 0:
                    return

    def _hold(self, start: int) -> int:
        stop = min(start + _DECODED_AT_ONCE, len(self._data))
        for index in range(start, stop):
            if self._room > 0:
                self._decode(index)
        return stop

    def get(self, index: int) -> tuple[Decoded, list[Corrupt]]:
        """A sample, or the first usable one after it; with those that were met corrupt on the way.

        Raises:
            TrainingError: no sample is usable.
        """
        met: list[Corrupt] = []
        for place in range(index, index + len(self._data)):
            candidate = place % len(self._data)
            sample = self._held.get(candidate)
            if sample is None and candidate not in self._corrupt:
                sample = self._decode(candidate)
            if sample is not None:
                return sample, met
            met.append((candidate, self._corrupt[candidate]))
        raise TrainingError(
            f"No sample of the training data can be used: {met[0][1]} (the same or worse with all {len(met):,}).",
            hint="Build the shards again.",
        )

    def _decode(self, index: int) -> Decoded | None:
        try:
            sample = self._decode_raw(self._data.read(index))
        except (ImageDecodingError, CorruptSampleError) as error:
            self._corrupt[index] = str(error)
            return None
        with self._lock:
            if index not in self._held and self._room > 0:
                self._held[index] = sample
                self._room -= sample[0].nbytes
        return sample
