"""Published models in whose features entries are compared: which one is part of a protocol, never of an entry.

Weights come as ``reference_models`` says. DINO's ResNet-50 is on no hub as safetensors: the file that its authors
publish has to be converted once, see docs/dataset-metrics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from competition.errors import EvaluationError
from competition.evaluation.encoders import ClipEncoder, default_device
from competition.evaluation.image_encoders import ImageEncoder, PixelStatistics
from competition.evaluation.image_models import build_image_model
from competition.evaluation.images import Preparation
from competition.evaluation.reference_models import load_reference
from competition.rules.recipes import Backbone

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

INCEPTION = "timm:inception_v3.tv_in1k"
"""KID and Inception score; torchvision's weights. The published figures' weights of 2015 are not safetensors."""

VGG16 = "timm:vgg16.tv_in1k"
"""Precision, recall, density and coverage: the second fully connected layer (Kynkaanniemi et al. 2019)."""

DINO_RN50 = "dino_resnet50_pretrain"
"""SELECT's neighbours: DINO's ResNet-50 (Caron et al. 2021)."""

_IMAGENET = PixelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_COUNTERS = "num_batches_tracked"


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
        if name == DINO_RN50:
            return _dino(self._folder, self._device or default_device())
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


def load_dino(path: Path, model: nn.Module) -> None:
    """Fill a ResNet without classifier from the authors' weights, as safetensors.

    Raises:
        EvaluationError: they cannot be read, or are another model's.
    """
    try:
        weights = {name: value for name, value in load_file(path).items() if not name.startswith("fc.")}
    except (OSError, SafetensorError) as error:
        raise EvaluationError(f"The weights {path} cannot be read: {error}.", hint="Convert them again.") from error
    expected = {name: value.shape for name, value in model.state_dict().items() if not name.endswith(_COUNTERS)}
    found = {name: value.shape for name, value in weights.items() if not name.endswith(_COUNTERS)}
    if found != expected:
        wrong = min({*found.items()} ^ {*expected.items()})[0]
        raise EvaluationError(
            f"The weights {path} are not those of DINO's ResNet-50: {wrong!r} differs.", hint="Convert them again."
        )
    model.load_state_dict(weights, strict=False)


def _dino(folder: Path | None, device: torch.device) -> ImageEncoder:
    path = (folder or Path(MODELS_FOLDER)) / f"{DINO_RN50}.safetensors"
    if not path.is_file():
        raise EvaluationError(
            f"The weights of DINO's ResNet-50 are not at {path}.",
            hint="Their authors publish a pickle, which is never loaded here; docs/dataset-metrics.md converts it.",
        )
    model = build_image_model(Backbone(name="resnet50"), 0)
    load_dino(path, model)
    return ImageEncoder(model, Preparation(224, resize=256), _IMAGENET, device)
