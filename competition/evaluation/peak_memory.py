"""How much memory an evaluation takes: the GPU's where the model runs on one, else the process's."""

from __future__ import annotations

import resource
import sys

import torch

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def start_measuring(device: torch.device) -> None:
    """Forget what earlier tasks took; on the CPU that cannot be: the kernel keeps one number a process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """On a GPU, what torch had allocated at most since ``start_measuring``; else the process's largest resident size.

    The latter is of the process's whole life, so it never falls from one task to the next.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


def device_name(device: torch.device) -> str:
    """``cpu``, or what the GPU is called."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
