"""Evaluation sets to measure with: scikit-learn's digits as photographs of many sizes, and untrained models."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from competition.data.shards import Sample, write_samples
from competition.evaluation.encoders import build_clip
from competition.rules.recipes import ClipArchitecture

SMALL: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
"""The towers of the golden items' model."""

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEMPLATES = ("a photo of the digit {c}.", "a blurry photo of {c}.", "the number {c}, written by hand.", "{c}")
_KINDS: tuple[tuple[str, str, dict[str, int]], ...] = (
    ("jpg", "JPEG", {"quality": 90}),
    ("jpg", "JPEG", {"quality": 90}),
    ("png", "PNG", {}),
    ("webp", "WEBP", {}),
)


def make_set(folder: Path, images: int, sides: tuple[int, int], seed: int, shards: int = 2) -> Path:
    """A classification set in CLIP_benchmark's layout: digits in colour, with noise, at sizes within ``sides``."""
    digits, generator = load_digits(), np.random.default_rng(seed)
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "nshards.txt").write_text(str(shards))
    (folder / "classnames.txt").write_text("\n".join(CLASSES))
    (folder / "zeroshot_classification_templates.txt").write_text("\n".join(TEMPLATES))
    rows = generator.integers(0, len(digits.images), images)
    for number, part in enumerate(np.array_split(rows, shards)):
        samples = (
            _sample(f"{number}-{place}", digits.images[row], int(digits.target[row]), sides, generator)
            for place, row in enumerate(part.tolist())
        )
        write_samples(folder / "test" / f"{number}.tar", samples)
    return folder


def _sample(key: str, digit: Any, label: int, sides: tuple[int, int], generator: np.random.Generator) -> Sample:
    width, height = (int(side) for side in generator.integers(sides[0], sides[1] + 1, 2))
    grey = Image.fromarray((digit * 15.9).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(grey)[..., None] * generator.uniform(0.3, 1.0, 3) + generator.normal(0, 8, (height, width, 3))
    extension, kind, options = _KINDS[int(generator.integers(len(_KINDS)))]
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, kind, **options)
    return Sample(key, {extension: stream.getvalue(), "cls": str(label).encode()})


def architecture_of(config: dict[str, Any], name: str) -> ClipArchitecture:
    """A recipe's architecture of an open_clip configuration."""
    return ClipArchitecture(
        name=name, embed_dim=config["embed_dim"], vision=config["vision_cfg"], text=config["text_cfg"]
    )


def make_model(folder: Path, name: str, seed: int) -> tuple[Path, Path]:
    """Configuration and freshly drawn weights of ``small`` or one of open_clip's models."""
    config = SMALL if name == "small" else open_clip.get_model_config(name)
    description, weights = folder / f"bench-{name}.json", folder / f"bench-{name}-{seed}.safetensors"
    description.write_text(json.dumps(config))
    save_file(build_clip(architecture_of(config, name.lower()), seed).state_dict(), weights)
    return description, weights
