"""Batches, prepared ahead of the model by worker processes: pure functions of data, recipe, seed and step."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from competition.errors import DataCupError, TrainingError
from participant_kit.train.data.samples import Corrupt, Decoded, Samples
from participant_kit.train.data.source import Indices, RawSample

_AHEAD = 4
_PARENT_CHECK_SECONDS = 1.0
_PIPED_BYTES = 2**20
"""Smaller batches come through a pipe: handing over a shared block costs a millisecond, as much as a small step."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Which part of which batch is prepared: the samples ``first`` and following of a batch of ``batch`` samples.

    All randomness of preparation comes from ``seed``, ``step`` and a sample's position in the whole batch, so that
    it does not depend on the number of processes.
    """

    seed: int
    step: int
    first: int
    batch: int


class Preparation(Protocol):
    """What a kind of recipe does to samples before the model sees them. Runs in worker processes, on one thread."""

    def decode(self, raw: RawSample) -> Decoded:
        """Pixels and target of a sample (raises ``ImageDecodingError`` or ``CorruptSampleError``)."""
        ...

    def batch(self, samples: Sequence[Decoded], draw: Draw) -> tuple[torch.Tensor, ...]:
        """The objective's inputs, made of these samples."""
        ...


class Batch(NamedTuple):
    """One process's input of one step.

    Args:
        step: counted from 0.
        inputs: of the objective.
        corrupt: samples that were met corrupt while it was made, replaced by their successors.
        failure: message and hint of what prevented it.
    """

    step: int
    inputs: tuple[torch.Tensor, ...]
    corrupt: tuple[Corrupt, ...]
    failure: DataCupError | None = None


class _Steps(Dataset[Batch]):
    """Batches by (step, positions of the samples)."""

    def __init__(
        self, samples: Samples, preparation: Preparation, seed: int, slice_: slice, batch: int, *, pipe: bool
    ) -> None:
        self._samples, self._preparation = samples, preparation
        self._seed, self._slice, self._batch = seed, slice_, batch
        self._pipe = pipe

    def __getitem__(self, item: tuple[int, Indices]) -> Batch:
        step, indices = item
        try:
            got = [self._samples.get(int(index)) for index in indices[self._slice]]
            draw = Draw(self._seed, step, self._slice.start, self._batch)
            inputs = self._preparation.batch([sample for sample, _ in got], draw)
        except DataCupError as error:  # it would reach the main process as a traceback
            return Batch(step, (), (), error)
        corrupt = tuple(corrupt for _, met in got for corrupt in met)
        if self._pipe and sum(tensor.nbytes for tensor in inputs) <= _PIPED_BYTES:
            arrays: tuple[Any, ...] = tuple(tensor.numpy() for tensor in inputs)
            return Batch(step, arrays, corrupt)
        return Batch(step, inputs, corrupt)


@dataclass(frozen=True, slots=True)
class Share:
    """The part of every batch that one process takes."""

    rank: int
    world: int

    def of(self, batch: int) -> slice:
        """Positions in the batch (raises ``TrainingError`` where the batch does not divide)."""
        if batch % self.world:
            fitting = [size for size in range(1, batch + 1) if batch % size == 0]
            near = sorted(fitting, key=lambda size: abs(size - self.world))[:8]
            raise TrainingError(
                f"A batch of {batch} samples does not divide among {self.world} processes.",
                hint=f"Numbers of processes that fit, near yours: {', '.join(map(str, sorted(near)))}.",
            )
        size = batch // self.world
        return slice(self.rank * size, (self.rank + 1) * size)


def load_batches(  # noqa: PLR0913 - each of them says something else
    samples: Samples,
    preparation: Preparation,
    steps: Iterable[tuple[int, Indices]],
    *,
    seed: int,
    share: slice,
    batch: int,
    workers: int,
    pin_memory: bool = False,
) -> Generator[Batch, None, None]:
    """The batches of the given (step, positions) in order, prepared ahead by ``workers`` processes (0: by this one)."""
    dataset = _Steps(samples, preparation, seed, share, batch, pipe=workers > 0 and not pin_memory)
    loader: Any = DataLoader(
        dataset,
        sampler=_Once(steps),
        batch_size=None,
        num_workers=workers,
        collate_fn=_whole,
        worker_init_fn=_end_with_parent,
        pin_memory=pin_memory,
        prefetch_factor=_AHEAD if workers else None,
        # Workers share the decoded samples; they are forked before anything else runs beside this thread.
        multiprocessing_context=("fork" if sys.platform == "linux" else "spawn") if workers else None,
    )
    with _forking():
        batches = iter(loader)
    for made in batches:
        yield made._replace(inputs=tuple(torch.as_tensor(part) for part in made.inputs))


class _Once(torch.utils.data.Sampler[tuple[int, Indices]]):
    """Steps as a sampler: an iterator that is used up once."""

    def __init__(self, steps: Iterable[tuple[int, Indices]]) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[tuple[int, Indices]]:
        return iter(self._steps)


def _end_with_parent(_worker: int) -> None:
    """A worker whose trainer was killed would wait for ever to hand over the batches that it had prepared."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _whole(batch: Any) -> Any:
    return batch


@contextmanager
def _forking() -> Iterator[None]:
    """Python 3.12 and later warn of forks beside threads; the workers use none of the locks that these could hold."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
        yield
