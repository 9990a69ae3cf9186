"""What a participant may aim at: clean labelled digits and texts of their classes, as features of the pool's own model.

They stand for ImageNet's training set, which DataComp, SELECT and SimCore use in the same role. The digits are those of
the reference part, which the score models were trained on; neither the pool nor a test shows them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from competition.catalog.digits.captions import DIGIT_NAMES
from competition.catalog.digits.rendering import Conditions, draw_look, render, stored
from competition.catalog.digits.split import Part, load_part
from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder, write_bytes
from competition.evaluation.copy_descriptors import Floats, orthonormal
from competition.evaluation.encoders import ClipEncoder
from participant_kit.pools.digits.features import DIMENSIONS
from participant_kit.pools.digits.score_model import prepare

FOLDER = "reference"
IMAGES, LABELS, CLASSES = "images.npy", "labels.txt", "classes.json"
CLASS_TEXTS, PROMPT_TEXTS = "class_texts.npy", "prompt_texts.npy"

_SEED = 20_260_104
_ROLE = "l14"
_PROMPTS = ("a photo of the digit {}", "the number {} written by hand", "handwritten digit {} on paper")


def write_reference_set(folder: Path, encoder: ClipEncoder) -> None:
    """Write ``images.npy`` (400 rows) with ``labels.txt``, and ``classes.json`` with features of its names and prompts.

    Args:
        folder: made when absent.
        encoder: the pool's ``l14`` model; features are L2-normalised float32 (n, 768).

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    make_folder(folder)
    digits = load_part(Part.REFERENCE)
    pictures = []
    for index, pixels in enumerate(digits.pixels):
        look = draw_look(np.random.default_rng([_SEED, index]), Conditions())
        pictures.append(prepare(stored(render(pixels, look))))
    basis = orthonormal(encoder.encode_texts([DIGIT_NAMES[0]]).shape[1], DIMENSIONS[_ROLE])
    prompts = [prompt.format(name) for name in DIGIT_NAMES for prompt in _PROMPTS]
    classes = [{"id": str(digit), "names": [name], "prompts": list(_PROMPTS)} for digit, name in enumerate(DIGIT_NAMES)]
    _save(folder / IMAGES, encoder.encode_images(np.stack(pictures)) @ basis)
    _save(folder / CLASS_TEXTS, _texts(encoder, DIGIT_NAMES) @ basis)
    _save(folder / PROMPT_TEXTS, _texts(encoder, prompts) @ basis)
    write_bytes(folder / LABELS, "".join(f"{label}\n" for label in digits.labels).encode())
    write_bytes(folder / CLASSES, (json.dumps(classes, indent=1) + "\n").encode())


def _texts(encoder: ClipEncoder, texts: Sequence[str]) -> Floats:
    return encoder.encode_texts(list(texts))


def _save(path: Path, features: Floats) -> None:
    with atomic_writer(path) as stream:
        write_npy(stream, features.astype(np.float32))
