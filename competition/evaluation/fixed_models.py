"""Published models in whose features entries are compared: which one is part of a protocol, never of an entry.

Weights come as ``reference_models`` says, or as ``converted_models`` does: SELECT's neighbours are of DINO's ResNet-50,
KID and Inception score of the Inception of 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from competition.errors import EvaluationError
from competition.evaluation.converted_models import DINO_RN50, INCEPTION_2015, load_converted
from competition.evaluation.encoders import ClipEncoder, default_device
from competition.evaluation.image_encoders import ImageEncoder
from competition.evaluation.reference_models import load_reference

Encoder = ClipEncoder | ImageEncoder
Load = Callable[[str], Encoder]

MODELS_FOLDER = ".models"

CLIP_B32 = "open_clip:ViT-B-32/openai"
"""GenBench's CLER, FID and proxy-A distance."""

CLIP_B16 = "open_clip:ViT-B-16/openai"
"""GenBench's and SELECT's CLIP score."""

CLIP_L14_336 = "open_clip:ViT-L-14-336/openai"
"""CMMD (Jayasumana et al. 2024)."""

CLIP_RN50_WITHOUT_POSITIONS = "open_clip:RN50/openai#without-positions"
"""CLIP-IQA (Wang et al. 2023), whose ResNet-50 gets no positional embedding."""

VGG16 = "timm:vgg16.tv_in1k"
"""Precision, recall, density and coverage: the second fully connected layer (Kynkaanniemi et al. 2019)."""

_CONVERTED = (DINO_RN50, INCEPTION_2015)


class FixedModels:
    """Each model is loaded when a protocol first asks for it, and then kept with the features that it has made.

    Args:
        folder: of files that are converted by hand; without it there are none.
        device: the first GPU, or the CPU, when absent.
        load: what loads a model; by default what this module says.
    """

    def __init__(
        self, folder: Path | None = None, device: torch.device | None = None, load: Load | None = None
    ) -> None:
        self._folder, self._device = folder, device
        self._load = load or self._published
        self._loaded: dict[str, Encoder] = {}

    def encoder(self, name: str) -> Encoder:
        """The model of a name above (raises ``EvaluationError`` where its weights cannot be had)."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def clip(self, name: str) -> ClipEncoder:
        """The same of a model with a text tower."""
        encoder = self.encoder(name)
        if not isinstance(encoder, ClipEncoder):
            raise EvaluationError(f"The model {name} has no text tower.")
        return encoder

    def _published(self, name: str) -> Encoder:
        if name in _CONVERTED:
            return load_converted(name, self._folder or Path(MODELS_FOLDER), self._device or default_device())
        reference, _, variant = name.partition("#")
        encoder = load_reference(reference, self._device)
        if variant and isinstance(encoder, ClipEncoder):
            encoder = _without_positions(encoder)
        return encoder


def without_positions(model: Any) -> None:
    """Take the positional embedding out of a CLIP ResNet's pooling: it is added, so zeros are none."""
    with torch.no_grad():
        model.visual.attnpool.positional_embedding.zero_()


def _without_positions(encoder: ClipEncoder) -> ClipEncoder:
    without_positions(encoder.model)
    return encoder
