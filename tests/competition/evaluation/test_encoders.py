"""Weights are taken only when they are exactly the recipe's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from competition.errors import EvaluationError
from competition.evaluation.encoders import build_clip, load_encoder
from competition.rules.recipes import ClipRecipe
from tests.competition.evaluation.conftest import recipe_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def recipe() -> ClipRecipe:
    return recipe_of(
        {
            "embed_dim": 8,
            "vision_cfg": {"image_size": 8, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4},
            "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
        }
    )


@pytest.fixture
def weights(recipe: ClipRecipe) -> dict[str, torch.Tensor]:
    return build_clip(recipe.architecture, 1).state_dict()


def test_features_are_normalised_and_the_recipes(
    recipe: ClipRecipe, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_file(weights, tmp_path / "model.safetensors")
    encoder = load_encoder(recipe, tmp_path / "model.safetensors", CPU)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    images, texts = encoder.encode_images(pixels, batch=2), encoder.encode_texts(["one", "two"])
    assert (images.shape, texts.shape) == ((5, 8), (2, 8))
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_images(pixels), images, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("ln_final.bias"), "without 'ln_final.bias'"),
        (lambda w: w.update(extra=torch.zeros(1)), "unknown tensor 'extra'"),
        (lambda w: w.update({"ln_final.bias": torch.zeros(9)}), r"float32 \[9\] instead of float32 \[8\]"),
        (lambda w: w.update({"ln_final.bias": torch.zeros(8).half()}), r"float16 \[8\] instead of float32"),
    ],
)
def test_other_weights_are_refused(
    recipe: ClipRecipe, weights: dict[str, torch.Tensor], tmp_path: Path, change, message: str
) -> None:
    change(weights)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(EvaluationError, match=message):
        load_encoder(recipe, tmp_path / "model.safetensors", CPU)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 64])
def test_what_is_no_safetensors_file_is_refused(recipe: ClipRecipe, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(EvaluationError, match="cannot be read"):
        load_encoder(recipe, tmp_path / "model.safetensors", CPU)


def test_features_that_are_not_finite_are_an_error(
    recipe: ClipRecipe, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    weights["ln_final.weight"][0] = float("nan")
    save_file(weights, tmp_path / "model.safetensors")
    encoder = load_encoder(recipe, tmp_path / "model.safetensors", CPU)
    with pytest.raises(EvaluationError, match="text feature that is not finite"):
        encoder.encode_texts(["one"])
