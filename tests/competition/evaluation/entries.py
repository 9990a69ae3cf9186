"""Entries of noise whose brightness says its class, as shards and as class folders, and models to look at them with."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from competition.data.shards import Sample, write_samples, write_shard
from competition.evaluation.encoders import ClipEncoder, build_clip
from competition.evaluation.fixed_models import FixedModels
from competition.evaluation.image_encoders import ImageEncoder, PixelStatistics
from competition.evaluation.image_models import build_image_model
from competition.evaluation.images import Preparation
from competition.evaluation.protocols.case import Encoder
from competition.rules import find_recipe
from competition.rules.recipes import Backbone, ClipRecipe

CPU = torch.device("cpu")
CLASSES, SIZE = 6, 32
NAMES = tuple(f"level {number}" for number in range(CLASSES))


def picture(label: int, random: np.random.Generator, size: int = SIZE) -> bytes:
    pixels = (random.integers(0, 60, (size, size + 4, 3)) + 30 * label).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def samples(labels: list[int], seed: int = 0) -> list[Sample]:
    random = np.random.default_rng(seed)
    return [
        Sample(f"{number:04d}", {"png": picture(label, random), "cls": str(label).encode()})
        for number, label in enumerate(labels)
    ]


def write_shards(folder: Path, labels: list[int], seed: int = 0) -> Path:
    """Two shards, as training reads them."""
    folder.mkdir(parents=True)
    made = samples(labels, seed)
    write_shard(folder, 0, made[: len(made) // 2])
    write_shard(folder, 1, made[len(made) // 2 :])
    return folder


def write_class_folders(folder: Path, labels: list[int], seed: int = 0, names: tuple[str, ...] = NAMES) -> Path:
    """The same pictures in a folder for each class."""
    for sample, label in zip(samples(labels, seed), labels, strict=True):
        path = folder / names[label] / f"{sample.key}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.members["png"])
    return folder


def write_set(folder: Path, labels: list[int], seed: int = 1) -> Path:
    """An evaluation set of such pictures."""
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "nshards.txt").write_text("1")
    write_samples(folder / "test" / "0.tar", samples(labels, seed))
    (folder / "classnames.txt").write_text("\n".join(NAMES))
    (folder / "zeroshot_classification_templates.txt").write_text("a photo of {c}\nthe {c}")
    return folder


def spread(count: int) -> list[int]:
    return [number % CLASSES for number in range(count)]


def clip(seed: int = 1) -> ClipEncoder:
    _, recipe = find_recipe("digits-nano-clip")
    assert isinstance(recipe, ClipRecipe)
    return ClipEncoder(build_clip(recipe.architecture, seed), recipe.architecture, CPU)


def image_model(classes: int = CLASSES) -> ImageEncoder:
    options = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
    model = build_image_model(Backbone(name="resnet18", options=options), classes, 3)
    return ImageEncoder(model, Preparation(SIZE), PixelStatistics((0.5,) * 3, (0.5,) * 3), CPU)


def tiny_models() -> FixedModels:
    """Tiny models in place of the published ones, whose weights are far away: everything else is the real thing."""

    def load(name: str) -> Encoder:
        return clip() if name.startswith("open_clip:") else image_model()

    return FixedModels(load=load)
