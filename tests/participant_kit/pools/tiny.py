"""A small digits pool with barely trained score models; and a program whose build is killed half-way."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from competition.progress import Progress, ProgressHook
from competition.rules import find_competition, find_scale
from competition.rules.models import Pool, Scale
from participant_kit.pools.digits import PoolReport, build, build_digits_pool, score_model, shards

SHARD = 80


def scale(samples: int) -> Scale:
    """The nano scale with a smaller pool."""
    nano = find_scale(find_competition("digits"), "nano")
    return nano.model_copy(update={"pool": Pool(id="digits-tiny", samples=samples)})


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Small shards, one metadata file for two of them, score models of ten steps."""
    patch.setattr(build, "SHARD_SAMPLES", SHARD)
    patch.setattr(build, "METADATA_SHARDS", 2)
    patch.setattr(shards, "SHARD_SAMPLES", SHARD)
    patch.setattr(score_model, "REFERENCE_SAMPLES", 240)
    small = {role: recipe.model_copy(update={"samples_seen": 240}) for role, recipe in score_model.RECIPES.items()}
    patch.setattr(score_model, "RECIPES", small)


def build_tiny(folder: Path, samples: int, progress: ProgressHook | None = None, seed: int = 0) -> PoolReport:
    """Build a pool of that many samples in this process."""
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return build_digits_pool(folder, scale(samples), seed, workers=1, progress=progress)


def _killed_after(done: int) -> ProgressHook:
    def hook(progress: Progress) -> None:
        if progress.done == done:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def main() -> None:
    """Build a pool in a folder, and kill this process when so many steps are done."""
    build_tiny(Path(sys.argv[1]), int(sys.argv[2]), _killed_after(int(sys.argv[3])))
