"""Libraries that draw from global generators (timm, torchvision) are given a state of ours, and leave none behind."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def kept_states() -> Iterator[None]:
    """Put Python's and torch's (CPU) global generators back to where they were."""
    python, torch_state = random.getstate(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        torch.set_rng_state(torch_state)


def seed_states(python: int, torch_seed: int) -> None:
    """Seed Python's and torch's (CPU) global generators, within ``kept_states``."""
    random.seed(python)
    torch.default_generator.manual_seed(torch_seed)


@contextmanager
def seeded_numpy(key: Sequence[int]) -> Iterator[None]:
    """NumPy's global generator in the state that ``key`` gives; afterwards it is where it was."""
    before = np.random.get_state()  # noqa: NPY002 - timm's Mixup draws from the global generator and takes no other
    seeded = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(list(key))))
    np.random.set_state(seeded.get_state())  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
