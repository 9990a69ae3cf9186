"""Several processes that train one model: who they are, and what they tell each other.

Started by ``torchrun`` or by SLURM's ``srun``, each process finds its place in the environment; started alone, it is a
group of one and nothing is sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from competition.errors import UsageError

T = TypeVar("T")

_TIMEOUT = timedelta(minutes=60)


@dataclass(frozen=True, slots=True)
class Group:
    """This process among those that train together.

    Args:
        rank: counted from 0; rank 0 writes files and speaks.
        world: number of processes.
        device: what it computes on.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def leader(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of a detached scalar over all processes."""
        if self.world > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.world
        return value

    def told(self, value: T | None) -> T:
        """The leader's value, everywhere."""
        box: list[Any] = [value]
        if self.world > 1:
            dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]  # type: ignore[no-any-return]

    def gathered(self, value: T) -> list[T]:
        """Every process's value, by rank, everywhere."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values


def place() -> tuple[int, int, int]:
    """Rank, number of processes and rank within the machine, as torchrun or SLURM say it.

    Raises:
        UsageError: the environment's numbers are no such place.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if not all(name in os.environ for name in names):
        names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
        # A job of one task, or an interactive one, says no address: that is a process alone.
        if not all(name in os.environ for name in (*names, "MASTER_ADDR", "MASTER_PORT")):
            return 0, 1, 0
    try:
        rank, world, local = (int(os.environ[name]) for name in names)
    except ValueError as error:
        raise UsageError(
            f"{', '.join(names)} are not whole numbers.", hint="Start with `torchrun`, or by `srun` from the scripts."
        ) from error
    return rank, world, local


@contextmanager
def join(device: str = "auto") -> Iterator[Group]:
    """Join the processes that were started with this one.

    Args:
        device: ``cpu``, ``cuda``, or ``auto``: a GPU when there is one.

    Raises:
        UsageError: there is no such device.
    """
    rank, world, local = place()
    chosen = _device(device, local)
    if world == 1:
        yield Group(0, 1, chosen)
        return
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(local))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield Group(rank, world, chosen)
    finally:
        dist.destroy_process_group()


def _device(name: str, local: int) -> torch.device:
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if local >= count:
        raise UsageError(
            f"Process {local} of this machine has no GPU: there are {count}.",
            hint="Start one process a GPU, or train with --device cpu.",
        )
    return torch.device("cuda", local)
