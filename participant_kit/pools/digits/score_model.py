"""The two small reference CLIPs whose scores and features the pool's metadata carries.

They stand for OpenAI's ViT-B/32 and ViT-L/14, which the original pools are scored with: trained once on other data (the
reference part of the split, true captions), then applied to every pair as found. Their functions take images and texts
and nothing else; no label of the pool reaches them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from competition.catalog.digits.captions import describe
from competition.catalog.digits.rendering import Conditions, draw_look, render
from competition.catalog.digits.split import Part, load_part
from competition.evaluation.encoders import ClipEncoder, load_encoder, tokenizer
from competition.rules.recipes import ClipArchitecture, ClipRecipe, Optimizer
from participant_kit.pools.digits.distractors import PATTERNS, pattern_caption, pattern_image
from participant_kit.train.checkpoint import save_model
from participant_kit.train.clip import clip_ingredients
from participant_kit.train.distributed import Group
from participant_kit.train.trainer import Trainer

SEED = 20_260_103
REFERENCE_SAMPLES = 6000
PATTERN_SHARE = 0.15
"""Share of pictures of patterns among the reference samples, so that the models have seen what is no digit."""

ENGLISH_SHARE = 0.85
"""Share of English among the reference captions: more than in the pool, as OpenAI's models have seen it."""

IMAGE_SIZE = 32
_CONTEXT = 32
_CPU = torch.device("cpu")
_SMALL = Conditions(side=(48, 64))
_ORDER_STREAM = 1 << 32


def _recipe(name: str, samples_seen: int, width: int, layers: int) -> ClipRecipe:
    return ClipRecipe(
        kind="clip",
        id=name,
        samples_seen=samples_seen,
        global_batch=24,
        optimizer=Optimizer(learning_rate=1e-3, warmup_steps=40),
        architecture=ClipArchitecture(
            name=name,
            embed_dim=64,
            vision={"image_size": IMAGE_SIZE, "layers": layers, "width": width, "head_width": 32, "patch_size": 8},
            text={"context_length": _CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
        ),
    )


RECIPES: dict[str, ClipRecipe] = {
    "b32": _recipe("digits-reference-b32", 16_000, 64, 2),
    "l14": _recipe("digits-reference-l14", 30_000, 64, 3),
}
"""What the two models are, by DataComp's name for the role."""


@dataclass(frozen=True)
class ReferenceSamples:
    """Clean pairs: images uint8 [N, 32, 32, 3] and their captions."""

    images: NDArray[np.uint8]
    texts: tuple[str, ...]


def reference_samples(count: int) -> ReferenceSamples:
    """Renderings of the reference part with true captions, and some pictures of patterns with theirs."""
    digits = load_part(Part.REFERENCE)
    images, texts = np.empty((count, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8), []
    for index in range(count):
        rng = np.random.default_rng([SEED, index])
        look = draw_look(rng, _SMALL)
        if rng.random() < PATTERN_SHARE:
            pattern = list(PATTERNS)[int(rng.integers(len(PATTERNS)))]
            image, text = pattern_image(rng, pattern, look), pattern_caption(rng, pattern, look)
        else:
            position = index % len(digits)
            image = render(digits.pixels[position], look)
            text = describe(rng, int(digits.labels[position]), look.ink, look.paper, ENGLISH_SHARE)
        images[index] = prepare(image)
        texts.append(text)
    return ReferenceSamples(images, tuple(texts))


def prepare(image: Image.Image) -> NDArray[np.uint8]:
    """The models' input, uint8 [32, 32, 3]: the image's central square, resized (bicubic)."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.asarray(square)


def train_references(folder: Path) -> None:
    """Train both models on one CPU thread, so that the result depends on nothing else, and save them in ``folder``.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        samples = reference_samples(REFERENCE_SAMPLES)
        for role in RECIPES:
            save_model(model_path(folder, role), _train(role, samples))
    finally:
        torch.set_num_threads(threads)


def model_path(folder: Path, role: str) -> Path:
    """Where the model of a role is saved."""
    return folder / f"{role}.safetensors"


def load_references(folder: Path) -> dict[str, ClipEncoder]:
    """The saved models by role (raises ``EvaluationError`` when one cannot be read)."""
    return {role: load_encoder(recipe, model_path(folder, role), _CPU) for role, recipe in RECIPES.items()}


def _train(role: str, samples: ReferenceSamples) -> Trainer:
    recipe = RECIPES[role]
    group = Group(0, 1, _CPU)
    trainer = Trainer(clip_ingredients(recipe, SEED, group), recipe, SEED, group)
    tokens = tokenizer(_CONTEXT)(list(samples.texts))
    rng = np.random.default_rng([SEED, _ORDER_STREAM])
    order = np.concatenate([rng.permutation(len(tokens)) for _ in range(recipe.samples_seen // len(tokens) + 1)])
    for step in range(recipe.steps):
        chosen = order[step * recipe.global_batch : (step + 1) * recipe.global_batch]
        trainer.step(step, (torch.from_numpy(samples.images[chosen]), tokens[chosen]))
    return trainer
