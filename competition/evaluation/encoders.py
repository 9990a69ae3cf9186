"""Models that evaluations run: always built from the recipe, never from what a submission says about itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.tokenizer import SimpleTokenizer
from safetensors import SafetensorError
from safetensors.torch import load_file

from competition.errors import EvaluationError
from competition.evaluation.feature_memory import FeatureMemory
from competition.evaluation.images import Preparation
from competition.evaluation.pixel_batches import (
    Precision,
    default_device,
    features_of,
    finite,
    inference,
    normalise_pixels,
)
from competition.evaluation.text_tower import encode_text, text_batches
from competition.rules.recipes import ClipArchitecture, ClipRecipe

__all__ = [
    "ClipEncoder",
    "build_clip",
    "default_device",
    "load_encoder",
    "load_weights",
    "normalise_pixels",
    "tokenizer",
]

_MODEL_HINT = "Use the `model.safetensors` that `datacup train` wrote for this recipe."


def build_clip(architecture: ClipArchitecture, seed: int = 0) -> open_clip.CLIP:
    """An open_clip model with freshly drawn float32 weights on the CPU, in training mode.

    The weights depend on ``seed`` alone: the global random state is neither used nor changed.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return open_clip.CLIP(**architecture.open_clip_config(), output_dict=True)


@lru_cache(maxsize=8)
def tokenizer(context_length: int) -> SimpleTokenizer:
    """open_clip's byte-pair tokenizer, cut at ``context_length`` tokens; all of them share one vocabulary."""
    made = copy.copy(_vocabulary())
    made.context_length = context_length
    return made


@cache
def _vocabulary() -> SimpleTokenizer:
    """Reading it takes longer than all else about a small model."""
    return SimpleTokenizer()


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Fill ``model`` from a safetensors file whose names, shapes and types are exactly the model's.

    Raises:
        EvaluationError: the file cannot be read, or a tensor is missing, unknown, of another shape or type.
    """
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise EvaluationError(f"The model {path} cannot be read: {error}.", hint=_MODEL_HINT) from error
    expected = model.state_dict()
    missing, unknown = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or unknown:
        names = f"without {missing[0]!r}" if missing else f"with the unknown tensor {unknown[0]!r}"
        raise EvaluationError(f"The model {path} is of another architecture: it comes {names}.", hint=_MODEL_HINT)
    for name, tensor in expected.items():
        found = weights[name]
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise EvaluationError(
                f"Tensor {name!r} of the model {path} is {_described(found)} instead of {_described(tensor)}.",
                hint=_MODEL_HINT,
            )
    model.load_state_dict(weights)


Tokenizer = Callable[[list[str]], torch.Tensor]


class ClipEncoder:
    """A CLIP model in evaluation mode, which remembers the features of the sets that it has seen.

    Args:
        model: an open_clip model, of whatever class.
        architecture: of the recipe; or nothing, and then ``tokenize`` and ``preparation`` are given.
        device: where it runs.
        precision: of both towers; fixed by the suite, and float32 unless that says otherwise.
        tokenize: texts to tokens [N, context].
        preparation: the model's evaluation transform.
        mean: of pixels in [0, 1], by channel.
        std: likewise.
    """

    def __init__(  # noqa: PLR0913 - a model and what it wants its input to be like
        self,
        model: torch.nn.Module,
        architecture: ClipArchitecture | None,
        device: torch.device,
        *,
        precision: Precision = "fp32",
        tokenize: Tokenizer | None = None,
        preparation: Preparation | None = None,
        mean: Sequence[float] = OPENAI_DATASET_MEAN,
        std: Sequence[float] = OPENAI_DATASET_STD,
    ) -> None:
        if architecture is not None:
            tokenize = tokenizer(int(architecture.text["context_length"]))
            preparation = Preparation(architecture.image_size)
        assert tokenize is not None
        assert preparation is not None
        self._model: Any = model.to(device).eval()
        self._tokenize = tokenize
        self.device, self._precision, self._mean, self._std = device, precision, mean, std
        self.preparation = preparation
        self.image_size = preparation.size
        self.memory = FeatureMemory()

    @property
    def model(self) -> Any:
        """The network itself."""
        return self._model

    def encode_images(
        self, pixels: NDArray[np.uint8], batch: int | None = None, *, key: str = ""
    ) -> NDArray[np.float32]:
        """L2-normalised features [N, D] of prepared uint8 RGB images [N, S, S, 3] (see ``evaluation.sets``).

        Args:
            pixels: may be memory-mapped, and larger than the memory.
            batch: images at a time; what suits the device when absent.
            key: identity of the pixels; features of one that is not empty are remembered, and read-only.

        Raises:
            ModelOutputError: a feature is not finite.
        """
        return self._encoded(pixels, batch, key)[0]

    def raw_image_features(
        self, pixels: NDArray[np.uint8], batch: int | None = None, *, key: str = ""
    ) -> NDArray[np.float32]:
        """The same features at the lengths that the model gives them, as ELEVATER's probes take them.

        Lengths are remembered beside the features: nothing is computed twice, and nothing large is kept twice.
        """
        units, lengths = self._encoded(pixels, batch, key)
        raw: NDArray[np.float32] = units * lengths
        return raw

    def encode_texts(self, texts: Sequence[str], *, key: str = "") -> NDArray[np.float32]:
        """L2-normalised features [N, D] of texts; ``key`` is their identity, as of ``encode_images``.

        Raises:
            ModelOutputError: a feature is not finite.
        """
        return self.memory.once("texts", key, lambda: self._encode_texts(texts))

    def _encoded(
        self, pixels: NDArray[np.uint8], batch: int | None, key: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features of length 1 [N, D], and the lengths [N, 1] that they had."""
        fresh: list[NDArray[np.float32]] = []

        def compute() -> NDArray[np.float32]:
            units, lengths = self._encode_images(pixels, batch)
            fresh.append(lengths)
            return units

        units = self.memory.once("images", key, compute)
        lengths = self.memory.once("lengths", key, lambda: fresh[0] if fresh else self._encode_images(pixels, batch)[1])
        return units, lengths

    def _encode_images(
        self, pixels: NDArray[np.uint8], batch: int | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        lengths: list[torch.Tensor] = []

        def forward(chunk: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self._model.encode_image(normalise_pixels(chunk, self._mean, self._std))
            lengths.append(features.float().norm(dim=-1, keepdim=True).cpu())
            return torch.nn.functional.normalize(features, dim=-1)

        with inference(self.device, self._precision):
            units = features_of(forward, pixels, self.device, batch)
        return units, torch.cat(lengths).numpy()

    def _encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        tokens = self._tokenize(list(texts))
        rows = np.empty((0, 0), dtype=np.float32)
        with inference(self.device, self._precision):
            for positions, chunk in text_batches(self._model, tokens):
                found = encode_text(self._model, chunk.to(self.device)).float().cpu().numpy()
                if not rows.size:
                    rows = np.empty((len(tokens), found.shape[1]), dtype=np.float32)
                rows[positions.numpy()] = found
        return finite(rows, "text")


def load_encoder(
    recipe: ClipRecipe, path: Path, device: torch.device | None = None, precision: Precision = "fp32"
) -> ClipEncoder:
    """The recipe's model with the weights of a safetensors file (raises ``EvaluationError`` when they do not fit)."""
    model = build_clip(recipe.architecture)
    load_weights(model, path)
    return ClipEncoder(model, recipe.architecture, device or default_device(), precision=precision)


def _described(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
