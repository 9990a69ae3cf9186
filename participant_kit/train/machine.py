"""What a participant may choose about the machine. None of it changes what is trained."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from participant_kit.train.distributed import Group, place

Device = Literal["auto", "cpu", "cuda"]

_MOST_WORKERS = 12


@dataclass(frozen=True, slots=True)
class Machine:
    """How a run uses its machine.

    Args:
        device: ``auto`` takes a GPU when there is one.
        threads: of the model on a CPU; when absent torch's number, less a core for the batches where there are several.
        workers: processes that prepare batches, for each process that trains; chosen when absent.
        save_memory: compute activations again in the backward pass (gradient checkpointing).
    """

    device: Device = "auto"
    threads: int | None = None
    workers: int | None = None
    save_memory: bool = False

    @contextmanager
    def thread_count(self) -> Iterator[int]:
        """Set the model's threads for a while; yields their number."""
        before = torch.get_num_threads()
        # A loader beside as many spinning threads as there are cores makes small steps half as fast.
        torch.set_num_threads(self.threads or min(before, max(1, len(os.sched_getaffinity(0)) - 1)))
        try:
            yield torch.get_num_threads()
        finally:
            torch.set_num_threads(before)

    def loaders(self, group: Group, *, all_held: bool) -> int:
        """Processes that prepare batches for one that trains; 0: it prepares them itself.

        A worker of the engine is daemonic, and such a process may start no others.
        """
        if multiprocessing.current_process().daemon:
            return 0
        if self.workers is not None:
            return self.workers
        # Held samples need little work, and one process leaves the cores to the model; decoding needs them all.
        if all_held:
            return 1
        here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("SLURM_NTASKS_PER_NODE", "1")))
        return max(1, min(_MOST_WORKERS, len(os.sched_getaffinity(0)) // (here if group.world > 1 else 1)))


def is_leader() -> bool:
    """Whether this process speaks for all that were started with it."""
    return place()[0] == 0
