"""Image models without a text tower in evaluation mode: those of supervised and self-supervised recipes, and timm's."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from competition.errors import EvaluationError
from competition.evaluation.encoders import ClipEncoder, load_encoder, load_weights
from competition.evaluation.feature_memory import FeatureMemory
from competition.evaluation.image_models import build_image_model
from competition.evaluation.images import Preparation
from competition.evaluation.pixel_batches import Precision, default_device, features_of, inference, normalise_pixels
from competition.evaluation.random_crops import random_crops
from competition.rules.recipes import ClipRecipe, SelfSupervisedRecipe, SupervisedRecipe

_LOGIT_ROWS = 8192
_SELF_SUPERVISED_CROP = 224 / 256


@dataclass(frozen=True, slots=True)
class PixelStatistics:
    """Mean and standard deviation by channel, of pixels in [0, 1]."""

    mean: Sequence[float]
    std: Sequence[float]


class ImageEncoder:
    """A timm model in evaluation mode, which remembers the features of the sets that it has seen.

    Args:
        model: with or without a classifier.
        preparation: its evaluation transform.
        statistics: what its pixels are normalised with.
        device: where it runs.
        precision: fixed by the suite, and float32 unless that says otherwise.
    """

    def __init__(
        self,
        model: nn.Module,
        preparation: Preparation,
        statistics: PixelStatistics,
        device: torch.device,
        precision: Precision = "fp32",
    ) -> None:
        # Convolutions are up to twice as fast with the channels of a pixel beside each other.
        self._model: Any = model.to(device).to(memory_format=torch.channels_last).eval()
        self._statistics, self.device, self._precision = statistics, device, precision
        self.preparation = preparation
        self.image_size = preparation.size
        self.memory = FeatureMemory()

    @property
    def classes(self) -> int:
        """Outputs of the classifier; 0 where there is none."""
        return int(self._model.num_classes)

    def encode_images(
        self, pixels: NDArray[np.uint8], batch: int | None = None, *, key: str = ""
    ) -> NDArray[np.float32]:
        """Pooled features [N, D], what a classifier would see, of prepared uint8 RGB images [N, S, S, 3].

        They are not normalised. Arguments are those of ``ClipEncoder.encode_images``.

        Raises:
            ModelOutputError: a feature is not finite.
        """

        def compute() -> NDArray[np.float32]:
            with inference(self.device, self._precision):
                return features_of(self._features, pixels, self.device, batch)

        return self.memory.once("images", key, compute)

    def encode_crops(
        self, pixels: NDArray[np.uint8], generator: np.random.Generator, batch: int | None = None
    ) -> NDArray[np.float32]:
        """Features [N, D] of a random crop and flip of each image (see ``random_crops``); never remembered.

        Args:
            pixels: uint8 [N, L, L, 3], usually larger than what the model takes; crops are resized to that.
            generator: of the crops.
            batch: as of ``encode_images``.

        Raises:
            ModelOutputError: a feature is not finite.
        """

        def forward(chunk: torch.Tensor) -> torch.Tensor:
            crops = random_crops(chunk.permute(0, 3, 1, 2).float(), self.image_size, generator)
            return self._features(crops.permute(0, 2, 3, 1))

        with inference(self.device, self._precision):
            return features_of(forward, pixels, self.device, batch)

    def trainable_copy(self, size: int) -> nn.Module:
        """A copy of the network with pooled features, for images of another size; this one stays as it is.

        Networks that are built for one size (vision transformers) are adapted as timm does it, their position
        embeddings interpolated.

        Raises:
            EvaluationError: the network cannot take images of that size.
        """
        # Backward passes of some convolutions with the channels of a pixel beside each other end the process on CPUs.
        copied: Any = copy.deepcopy(self._model).to(memory_format=torch.contiguous_format)
        copied.reset_classifier(0)
        if size != self.image_size and hasattr(copied, "set_input_size"):
            try:
                copied.set_input_size(img_size=size)
            except (AssertionError, RuntimeError, TypeError, ValueError) as error:
                raise EvaluationError(
                    f"The model cannot be fine-tuned on images of {size} x {size} pixels ({error}).",
                    hint="The protocol has them; evaluate models that take them.",
                ) from error
        network: nn.Module = copied
        return network

    def require_size(self, size: int) -> None:
        """Refuse images of ``size`` x ``size`` pixels where the network cannot take them.

        Convolutional networks take any; vision transformers those that they were built for, unless their options say
        otherwise (``dynamic_img_size``).

        Raises:
            EvaluationError: it cannot.
        """
        if size == self.image_size:
            return
        blank = torch.zeros((1, size, size, 3), dtype=torch.uint8, device=self.device)
        try:
            with inference(self.device, self._precision):
                self._features(blank)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise EvaluationError(
                f"The model was built for images of {self.image_size} x {self.image_size} pixels, and the task has "
                f"images of {size} x {size} ({error}).",
                hint="Evaluate models that take them, as convolutional networks do, or tasks without a `size`.",
            ) from error

    @property
    def statistics(self) -> PixelStatistics:
        """What its pixels are normalised with."""
        return self._statistics

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pooled features of RGB images [N, S, S, 3], numbers from 0 to 255."""
        images = normalise_pixels(pixels, self._statistics.mean, self._statistics.std)
        features: torch.Tensor = self._model.forward_head(
            self._model.forward_features(images.contiguous(memory_format=torch.channels_last)), pre_logits=True
        )
        return features

    def class_logits(
        self, pixels: NDArray[np.uint8], batch: int | None = None, *, key: str = ""
    ) -> NDArray[np.float32]:
        """The classifier's scores [N, C]; the features behind them are those of ``encode_images``, computed once.

        Raises:
            EvaluationError: the model has no classifier of its pooled features.
            ModelOutputError: a feature is not finite.
        """
        classifier = self._model.get_classifier()
        if not self.classes or not isinstance(classifier, nn.Module):
            raise EvaluationError(
                "The model has no classifier, so it answers no class by itself.",
                hint="Evaluate it by a probe or by its nearest neighbours.",
            )
        features = self.encode_images(pixels, batch, key=key)
        parts = []
        with inference(self.device, self._precision):
            for start in range(0, len(features), _LOGIT_ROWS):
                block = torch.from_numpy(np.array(features[start : start + _LOGIT_ROWS])).to(self.device)
                parts.append(classifier(block).float().cpu().numpy())
        return np.concatenate(parts)


def load_image_encoder(
    recipe: SupervisedRecipe | SelfSupervisedRecipe,
    path: Path,
    device: torch.device | None = None,
    precision: Precision = "fp32",
) -> ImageEncoder:
    """The recipe's model with the weights of a safetensors file.

    A supervised recipe says how its images are cut. A self-supervised one is evaluated as SimCore does it: the shorter
    side at 8/7 of the recipe's size (256 for 224), then its centre.

    Raises:
        EvaluationError: the weights do not fit the recipe.
        TrainingError: the installed timm cannot build the backbone.
    """
    if isinstance(recipe, SupervisedRecipe):
        classes, crop, given = recipe.classes, recipe.evaluation_crop, recipe.augmentation
        interpolation = "bicubic" if given.interpolation == "random" else given.interpolation
        statistics = PixelStatistics(given.mean, given.std)
    else:
        classes, crop = 0, _SELF_SUPERVISED_CROP
        interpolation, statistics = recipe.views.interpolation, PixelStatistics(recipe.views.mean, recipe.views.std)
    model = build_image_model(recipe.backbone, classes)
    load_weights(model, path)
    size = recipe.image_size
    preparation = Preparation(size, resize=math.floor(size / crop), interpolation=interpolation)
    return ImageEncoder(model, preparation, statistics, device or default_device(), precision)


def load_recipe_model(
    recipe: ClipRecipe | SupervisedRecipe | SelfSupervisedRecipe,
    path: Path,
    device: torch.device | None = None,
    precision: Precision = "fp32",
) -> ClipEncoder | ImageEncoder:
    """The model of a recipe of any kind: see ``load_encoder`` and ``load_image_encoder``."""
    if isinstance(recipe, ClipRecipe):
        return load_encoder(recipe, path, device, precision)
    return load_image_encoder(recipe, path, device, precision)
