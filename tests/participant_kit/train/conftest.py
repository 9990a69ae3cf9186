"""A recipe that trains in a second, and shards of coloured squares for it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from competition.data.shards import Sample, write_shard
from competition.progress import ProgressHook
from competition.records.training import TrainingReport
from competition.rules.recipes import ClipArchitecture, ClipRecipe, Optimizer, Recipe
from participant_kit.train.data.choice import DataChoice
from participant_kit.train.launcher import Plan, train
from participant_kit.train.machine import Machine

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200), "white": (230, 230, 230)}
MakeShards = Callable[..., Path]


def make_recipe(*, steps: int = 8, batch: int = 8, **changes: object) -> ClipRecipe:
    """A tiny recipe of exactly ``steps`` steps (plus half a batch that no step takes)."""
    architecture = ClipArchitecture(
        name="tiny",
        embed_dim=16,
        vision={"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        text={"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    )
    values: dict[str, object] = {
        "kind": "clip",
        "id": "tiny",
        "architecture": architecture,
        "optimizer": Optimizer(learning_rate=0.003, warmup_steps=2),
        "samples_seen": steps * batch + batch // 2,
        "global_batch": batch,
    }
    return ClipRecipe.model_validate(values | changes)


def make_sample(number: int, *, uid: str | None = None) -> Sample:
    """A noisy square of a colour, with its caption."""
    rng = np.random.default_rng(number)
    name = list(COLOURS)[number % len(COLOURS)]
    pixels = np.clip(np.array(COLOURS[name]) + rng.normal(0, 20, (20, 24, 3)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    members = {
        "jpg": stream.getvalue(),
        "txt": f"a {name} square, number {number}".encode(),
        "json": json.dumps({"uid": uid or f"{number:032x}"}).encode(),
    }
    return Sample(f"{number:09d}", members)


def train_on(
    recipe: Recipe,
    data: Sequence[Path],
    out: Path,
    name: str,
    *,
    threads: int = 1,
    seed: int = 0,
    workers: int = 0,
    progress: ProgressHook | None = None,
) -> TrainingReport:
    """A run on the CPU; batches are prepared in this process unless there are ``workers``."""
    plan = Plan(recipe, "digits", DataChoice(tuple(map(str, data))), out, name, seed)
    return train(plan, Machine("cpu", threads, workers), progress=progress)


@pytest.fixture
def shards(tmp_path: Path) -> MakeShards:
    """Writes samples, ten a shard, into a folder below ``tmp_path``."""

    def write(samples: list[Sample] | None = None, name: str = "shards") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        chosen = samples if samples is not None else [make_sample(number) for number in range(30)]
        for number in range(0, len(chosen), 10):
            write_shard(folder, number // 10, chosen[number : number + 10])
        return folder

    return write
