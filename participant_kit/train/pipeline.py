"""From shards to batches: decode once when memory allows, augment, tokenize, ahead of the training loop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from competition.errors import TrainingError
from competition.evaluation.encoders import tokenizer
from competition.evaluation.images import ImageDecodingError, decode_rgb
from competition.progress import Progress, ProgressHook
from competition.rules.recipes import ClipRecipe
from participant_kit.train.augment import crop_and_resize, crop_boxes
from participant_kit.train.sampling import batches
from participant_kit.train.shards import ShardIndex

DECODED_BYTES = 2 * 2**30
"""Memory for decoded images; samples beyond it are decoded each time they are seen."""

_AHEAD = 4
_DECODED_AT_ONCE = 256

T = TypeVar("T")

Tokens = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's input: images uint8 [B, S, S, 3] after augmentation, texts int64 [B, context]."""

    step: int
    images: torch.Tensor
    texts: torch.Tensor


class _CaptionError(Exception):
    """Why a caption cannot be trained on."""


class Samples:
    """Decoded samples. A sample that cannot be decoded is counted and its successor takes its place."""

    def __init__(self, index: ShardIndex, recipe: ClipRecipe, memory: int = DECODED_BYTES) -> None:
        self._index = index
        self._allowed = int(recipe.corrupt_tolerance * len(index))
        self._tokenizer = tokenizer(int(recipe.architecture.text["context_length"]))
        self._token_cache: dict[bytes, Tokens] = {}
        self._decoded: dict[int, tuple[NDArray[np.uint8], Tokens]] = {}
        self._room = memory
        self._corrupt: dict[int, str] = {}
        self._lock = threading.Lock()

    @property
    def corrupt(self) -> int:
        """Undecodable samples met so far."""
        return len(self._corrupt)

    @property
    def all_held(self) -> bool:
        """Whether every usable sample is in memory."""
        return len(self._decoded) + len(self._corrupt) == len(self._index)

    def decode_ahead(self, workers: int, progress: ProgressHook) -> None:
        """Decode samples until all are held or the memory is used up.

        Raises:
            TrainingError: more samples are corrupt than the recipe tolerates.
        """
        total = len(self._index)
        starts = range(0, total, _DECODED_AT_ONCE)
        with ThreadPoolExecutor(workers, thread_name_prefix="decoding") as pool:
            futures = (pool.submit(self._decode_range, start, min(start + _DECODED_AT_ONCE, total)) for start in starts)
            for stop in in_order(futures, workers + 1):
                progress(Progress("decoding images", stop, total))
                if self._room <= 0:
                    return

    def _decode_range(self, start: int, stop: int) -> int:
        for index in range(start, stop):
            self.get(index)
        return stop

    def get(self, index: int) -> tuple[NDArray[np.uint8], Tokens]:
        """RGB pixels [H, W, 3] and tokens [context] of a sample, or of the first usable one after it.

        Raises:
            TrainingError: more samples are corrupt than the recipe tolerates, or all are.
        """
        for place in range(index, index + len(self._index)):
            candidate = place % len(self._index)
            sample = self._decoded.get(candidate)
            if sample is None and candidate not in self._corrupt:
                sample = self._decode(candidate)
            if sample is not None:
                return sample
        raise TrainingError("No sample of the training data can be decoded.", hint="Build the shards again.")

    def _decode(self, index: int) -> tuple[NDArray[np.uint8], Tokens] | None:
        image, caption = self._index.read(index)
        try:
            if image is None:
                raise ImageDecodingError("it has no image")
            pixels = np.asarray(decode_rgb(image))
            sample = (pixels, self._tokens(caption))
        except (ImageDecodingError, _CaptionError) as error:
            self._note_corrupt(index, str(error))
            return None
        with self._lock:
            if index not in self._decoded and self._room > 0:
                self._decoded[index] = sample
                self._room -= pixels.nbytes
        return sample

    def _note_corrupt(self, index: int, reason: str) -> None:
        with self._lock:
            self._corrupt.setdefault(index, reason)
            if len(self._corrupt) <= self._allowed:
                return
            count = len(self._corrupt)
        raise TrainingError(
            f"{self._index.describe(index).capitalize()} is corrupt ({reason}); {count} of {len(self._index)} samples "
            f"are, and the recipe tolerates {self._allowed}.",
            hint="Leave such samples out of the subset, or build the shards again.",
        )

    def _tokens(self, caption: bytes | None) -> Tokens:
        if caption is None:
            raise _CaptionError("it has no caption")
        known = self._token_cache.get(caption)
        if known is None:
            try:
                text = caption.decode("utf-8")
            except UnicodeDecodeError as error:
                raise _CaptionError("its caption is not UTF-8") from error
            known = self._tokenizer([text])[0].numpy().astype(np.int32)
            if self._room > 0:
                self._token_cache[caption] = known
        return known


def make_batch(samples: Samples, recipe: ClipRecipe, seed: int, step: int, indices: NDArray[np.int64]) -> Batch:
    """The batch of one step: a pure function of data, recipe, seed, step and the positions of its samples."""
    chosen = [samples.get(int(index)) for index in indices]
    sizes = np.array([pixels.shape[:2] for pixels, _ in chosen], dtype=np.int64)
    boxes = crop_boxes(seed, step, sizes, recipe.crop_scale)
    side = recipe.architecture.image_size
    images = np.stack([crop_and_resize(pixels, box, side) for (pixels, _), box in zip(chosen, boxes, strict=True)])
    texts = np.stack([tokens for _, tokens in chosen]).astype(np.int64)
    return Batch(step, torch.from_numpy(images), torch.from_numpy(texts))


def training_batches(
    samples: Samples, identities: NDArray[np.int64], recipe: ClipRecipe, seed: int, first_step: int, workers: int
) -> Iterator[Batch]:
    """The batches of the steps from ``first_step`` to the recipe's last, prepared ahead by ``workers`` threads."""
    order = islice(batches(identities, recipe.global_batch, seed), first_step, recipe.steps)
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        steps = enumerate(order, first_step)
        yield from in_order(
            (pool.submit(make_batch, samples, recipe, seed, step, indices) for step, indices in steps), workers + _AHEAD
        )


def in_order(futures: Iterable[Future[T]], depth: int) -> Iterator[T]:
    """Results in order while at most ``depth`` later ones are under way; a reader that stops cancels those."""
    pending: deque[Future[T]] = deque()
    source = iter(futures)
    try:
        pending.extend(islice(source, depth))
        while pending:
            yield pending.popleft().result()
            pending.extend(islice(source, 1))
    finally:
        for future in pending:
            future.cancel()
