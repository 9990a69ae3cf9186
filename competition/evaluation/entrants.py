"""What can be evaluated under a suite: how each process loads it, and what a report calls it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from competition.data.digests import file_sha256
from competition.evaluation.entry_images import EntryImages
from competition.evaluation.fixed_models import MODELS_FOLDER, FixedModels
from competition.evaluation.image_encoders import load_recipe_model
from competition.evaluation.pixel_batches import Precision
from competition.evaluation.protocols import Subject
from competition.evaluation.reference_models import load_reference, reference_weights
from competition.rules.recipes import Recipe


class Entrant(Protocol):
    """Something to evaluate. Picklable: every device has a process of its own, which loads it once."""

    def load(self, device: torch.device, precision: Precision, root: Path) -> Subject:
        """What protocols are given; ``root`` is the folder of the evaluation sets.

        Raises ``EvaluationError`` where it cannot be had.
        """
        ...

    def named(self) -> dict[str, str]:
        """The fields by which an ``EvaluationReport`` identifies it."""
        ...


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A run's model: the architecture comes from the recipe, never from what the file says.

    ``images`` are those that the entry consists of, where tasks about them are to be run.
    """

    recipe: Recipe
    weights: Path
    images: EntryImages | None = None

    def load(self, device: torch.device, precision: Precision, root: Path) -> Subject:
        """The recipe's model with the weights (raises ``EvaluationError`` when they do not fit)."""
        encoder = load_recipe_model(self.recipe, self.weights, device, precision)
        return Subject(encoder, self.images, fixed=FixedModels(root / MODELS_FOLDER, device))

    def named(self) -> dict[str, str]:
        """The recipe, its digest and that of the weights."""
        weights = file_sha256(self.weights)
        named = {"recipe": self.recipe.id, "recipe_digest": self.recipe.digest, "model_sha256": weights}
        return named if self.images is None else named | {"images_digest": self.images.digest}


@dataclass(frozen=True, slots=True)
class ReferenceModel:
    """A published model by its name, see ``reference_models``; with ``weights`` of a file instead of the Hub's."""

    name: str
    weights: Path | None = None

    def load(self, device: torch.device, precision: Precision, root: Path) -> Subject:
        """The model (raises ``UsageError`` or ``EvaluationError`` as ``load_reference`` does)."""
        encoder = load_reference(self.name, device, precision, self.weights)
        return Subject(encoder, fixed=FixedModels(root / MODELS_FOLDER, device))

    def named(self) -> dict[str, str]:
        """The name, and the digest of the weights."""
        weights = reference_weights(self.name, self.weights)
        return {"reference_model": self.name, "model_sha256": file_sha256(weights)}


@dataclass(frozen=True, slots=True)
class PredictionFile:
    """Answers that were made elsewhere, see ``predictions``: no model, no device."""

    file: Path

    def load(self, device: torch.device, precision: Precision, root: Path) -> Subject:  # noqa: ARG002 - the same for all
        """The file."""
        return Subject(predictions=self.file)

    def named(self) -> dict[str, str]:
        """The digest of the file."""
        return {"predictions_sha256": file_sha256(self.file)}
