"""Encoders of image recipes: the recipe's model, its transform, features and logits."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data.transforms_factory import transforms_imagenet_eval

from competition.errors import EvaluationError, ModelOutputError
from competition.evaluation.encoders import ClipEncoder, build_clip
from competition.evaluation.image_encoders import ImageEncoder, load_image_encoder, load_recipe_model
from competition.evaluation.image_models import build_image_model
from competition.rules import all_recipes
from competition.rules.recipes import SelfSupervisedRecipe, SupervisedRecipe
from tests.competition.evaluation.test_sets import encoded

CPU = torch.device("cpu")


def recipe_named(name: str) -> Any:
    return all_recipes()[name][1]


@pytest.fixture(scope="module")
def supervised() -> SupervisedRecipe:
    recipe = recipe_named("digits-nano-supervised")
    assert isinstance(recipe, SupervisedRecipe)
    return recipe


@pytest.fixture
def weights(supervised: SupervisedRecipe) -> dict[str, torch.Tensor]:
    return build_image_model(supervised.backbone, supervised.classes, 5).state_dict()


@pytest.fixture
def encoder(supervised: SupervisedRecipe, weights: dict[str, torch.Tensor], tmp_path: Path) -> ImageEncoder:
    save_file(weights, tmp_path / "model.safetensors")
    return load_image_encoder(supervised, tmp_path / "model.safetensors", CPU)


def photographs(count: int) -> list[Image.Image]:
    return [Image.open(io.BytesIO(encoded((30 + 5 * i, 61 - 3 * i), seed=i))).convert("RGB") for i in range(count)]


def test_logits_are_those_of_timm_on_its_own_transform(
    supervised: SupervisedRecipe, weights: dict[str, torch.Tensor], encoder: ImageEncoder
) -> None:
    given = supervised.augmentation
    transform = transforms_imagenet_eval(
        supervised.image_size,
        crop_pct=supervised.evaluation_crop,
        interpolation=given.interpolation,
        mean=given.mean,
        std=given.std,
    )
    images = photographs(7)
    model = build_image_model(supervised.backbone, supervised.classes)
    model.load_state_dict(weights)
    with torch.inference_mode():
        expected = model.eval()(torch.stack([transform(image) for image in images])).numpy()
    pixels = np.stack([encoder.preparation(image) for image in images])
    assert encoder.classes == supervised.classes
    assert np.abs(encoder.class_logits(pixels, batch=3) - expected).max() < 1e-4
    features = encoder.encode_images(pixels)
    classifier = model.get_classifier()
    assert features.shape == (7, classifier.in_features)
    assert (
        np.abs(features @ classifier.weight.detach().numpy().T + classifier.bias.detach().numpy() - expected).max()
        < 1e-4
    )


@pytest.mark.parametrize("method", ["simclr", "moco", "byol", "simsiam", "swav", "dino", "mae"])
def test_self_supervised_recipes_give_the_backbones_features(method: str, tmp_path: Path) -> None:
    recipe = recipe_named(f"digits-nano-{method}")
    assert isinstance(recipe, SelfSupervisedRecipe)
    model = build_image_model(recipe.backbone, 0, 3)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    encoder = load_image_encoder(recipe, tmp_path / "model.safetensors", CPU)
    transform = transforms_imagenet_eval(
        recipe.image_size,
        crop_pct=0.875,
        interpolation=recipe.views.interpolation,
        mean=recipe.views.mean,
        std=recipe.views.std,
    )
    images = photographs(3)
    with torch.inference_mode():
        expected = model.eval()(torch.stack([transform(image) for image in images])).numpy()
    pixels = np.stack([encoder.preparation(image) for image in images])
    assert np.abs(encoder.encode_images(pixels) - expected).max() < 1e-4
    with pytest.raises(EvaluationError, match="no classifier"):
        encoder.class_logits(pixels)


def test_logits_reuse_the_features(encoder: ImageEncoder) -> None:
    seen: list[int] = []
    encoder._model.conv1.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    pixels = np.zeros((5, encoder.image_size, encoder.image_size, 3), dtype=np.uint8)
    encoder.encode_images(pixels, key="a")
    first = encoder.class_logits(pixels, key="a")
    assert np.array_equal(encoder.class_logits(pixels, key="a"), first)
    assert seen == [5]


def test_weights_of_another_recipe_are_refused(
    supervised: SupervisedRecipe, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    name = next(name for name in weights if name.endswith("weight"))
    weights[name] = torch.zeros(3)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(EvaluationError, match=name.replace(".", r"\.")):
        load_image_encoder(supervised, tmp_path / "model.safetensors", CPU)
    save_file(build_image_model(supervised.backbone, 0).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(EvaluationError, match="of another architecture"):
        load_image_encoder(supervised, tmp_path / "model.safetensors", CPU)


def test_features_that_are_not_finite_are_an_error(
    supervised: SupervisedRecipe, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    weights[next(iter(weights))][:] = float("nan")
    save_file(weights, tmp_path / "model.safetensors")
    encoder = load_image_encoder(supervised, tmp_path / "model.safetensors", CPU)
    with pytest.raises(ModelOutputError, match="not finite"):
        encoder.class_logits(np.zeros((2, encoder.image_size, encoder.image_size, 3), dtype=np.uint8))


def test_the_transform_is_the_recipes(supervised: SupervisedRecipe, encoder: ImageEncoder) -> None:
    resize = math.floor(supervised.image_size / supervised.evaluation_crop)
    assert encoder.preparation.identity["resize"] == resize
    assert encoder.preparation.size == supervised.image_size


def test_a_recipe_of_any_kind_has_its_encoder(
    supervised: SupervisedRecipe, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_file(weights, tmp_path / "image.safetensors")
    clip = recipe_named("digits-nano-clip")
    save_file(build_clip(clip.architecture).state_dict(), tmp_path / "clip.safetensors")
    assert isinstance(load_recipe_model(supervised, tmp_path / "image.safetensors", CPU), ImageEncoder)
    assert isinstance(load_recipe_model(clip, tmp_path / "clip.safetensors", CPU), ClipEncoder)
    with pytest.raises(EvaluationError, match="of another architecture"):
        load_recipe_model(clip, tmp_path / "image.safetensors", CPU)
