"""Models that evaluations run: always built from the recipe, never from what a submission says about itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.tokenizer import SimpleTokenizer
from safetensors import SafetensorError
from safetensors.torch import load_file

from competition.errors import EvaluationError, ModelOutputError
from competition.rules.recipes import ClipArchitecture, ClipRecipe

_TEXT_BATCH = 1024
_MODEL_HINT = "Use the `model.safetensors` that `datacup train` wrote for this recipe."


def build_clip(architecture: ClipArchitecture, seed: int = 0) -> open_clip.CLIP:
    """An open_clip model with freshly drawn float32 weights on the CPU, in training mode.

    The weights depend on ``seed`` alone: the global random state is neither used nor changed.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return open_clip.CLIP(**architecture.open_clip_config(), output_dict=True)


def normalise_pixels(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 RGB [N, H, W, 3] to float32 [N, 3, H, W] with OpenAI's mean and standard deviation.

    The same operations in the same order as torchvision's ``ToTensor`` and ``Normalize``, so the same bits.
    """
    mean = torch.tensor(OPENAI_DATASET_MEAN, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(OPENAI_DATASET_STD, device=pixels.device).view(1, 3, 1, 1)
    return pixels.permute(0, 3, 1, 2).contiguous().float().div(255).sub_(mean).div_(std)


@lru_cache(maxsize=8)
def tokenizer(context_length: int) -> SimpleTokenizer:
    """open_clip's byte-pair tokenizer, cut at ``context_length`` tokens."""
    return SimpleTokenizer(context_length=context_length)


def load_weights(model: open_clip.CLIP, path: Path) -> None:
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


class ClipEncoder:
    """A CLIP model in evaluation mode; everything is computed in float32."""

    def __init__(self, model: open_clip.CLIP, architecture: ClipArchitecture, device: torch.device) -> None:
        self._model = model.to(device).eval()
        self._tokenizer = tokenizer(int(architecture.text["context_length"]))
        self._device = device
        self.image_size = architecture.image_size

    def encode_images(self, pixels: NDArray[np.uint8], batch: int = 256) -> NDArray[np.float32]:
        """L2-normalised features [N, D] of prepared uint8 RGB images [N, S, S, 3] (see ``evaluation.sets``).

        Raises:
            ModelOutputError: a feature is not finite.
        """
        parts = []
        with _exact():
            for start in range(0, len(pixels), batch):
                chunk = torch.from_numpy(np.array(pixels[start : start + batch])).to(self._device)
                parts.append(self._model.encode_image(normalise_pixels(chunk), normalize=True).float().cpu())
        return _checked(torch.cat(parts), "image")

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """L2-normalised features [N, D] of texts.

        Raises:
            ModelOutputError: a feature is not finite.
        """
        tokens = self._tokenizer(list(texts))
        parts = []
        with _exact():
            for start in range(0, len(tokens), _TEXT_BATCH):
                chunk = tokens[start : start + _TEXT_BATCH].to(self._device)
                parts.append(self._model.encode_text(chunk, normalize=True).float().cpu())
        return _checked(torch.cat(parts), "text")


def load_encoder(recipe: ClipRecipe, path: Path, device: torch.device | None = None) -> ClipEncoder:
    """The recipe's model with the weights of a safetensors file (raises ``EvaluationError`` when they do not fit)."""
    model = build_clip(recipe.architecture)
    load_weights(model, path)
    return ClipEncoder(model, recipe.architecture, device or default_device())


def default_device() -> torch.device:
    """The first GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def _exact() -> Iterator[None]:
    """No gradients, and true float32: by default a GPU's convolutions would round to TF32."""
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
        yield


def _checked(features: torch.Tensor, kind: str) -> NDArray[np.float32]:
    finite = torch.isfinite(features).all(dim=1)
    if not bool(finite.all()):
        position = int((~finite).nonzero()[0])
        raise ModelOutputError(
            f"The model yields a {kind} feature that is not finite (query {position}).",
            hint="Training diverged (NaN or infinity): check the data and train again.",
        )
    return features.numpy()


def _described(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
