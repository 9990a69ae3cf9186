"""The built-in recipes: their digests are on record, every number has a source, and they say what the originals did."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.canonical import canonical_json
from competition.rules import (
    ClipRecipe,
    SelfSupervisedRecipe,
    SupervisedRecipe,
    all_recipes,
    built_in,
    find_competition,
)
from competition.rules.catalog import find_recipe
from competition.rules.files import load_recipes
from competition.rules.recipes.common import CoresetEpochs, Epochs, epochs_of
from tests.conftest import ROOT

RECORD = ROOT / "tests" / "data" / "recipes" / "digests.json"
RECIPES = {recipe_id: recipe for recipe_id, (_, recipe) in all_recipes().items()}
CLIP = {recipe_id: recipe for recipe_id, recipe in RECIPES.items() if isinstance(recipe, ClipRecipe)}
IMAGE = {
    recipe_id: recipe
    for recipe_id, recipe in RECIPES.items()
    if isinstance(recipe, SupervisedRecipe | SelfSupervisedRecipe)
}
SIMCLR = find_recipe("simcore-simclr-resnet50")[1]

sizes = st.integers(min_value=1, max_value=200_000_000)


def test_the_digests_are_those_on_record() -> None:
    found = {recipe_id: recipe.digest for recipe_id, recipe in RECIPES.items()}
    assert found == json.loads(RECORD.read_text()), (
        f"A recipe that changed needs a new id: models trained with the old one are compared by it. "
        f"A new recipe's digest goes into {RECORD.relative_to(ROOT)}."
    )


def test_no_id_is_given_twice_in_the_catalogue() -> None:
    files = sorted((ROOT / "competition" / "catalog").glob("*/recipes.yaml"))
    ids = [recipe.id for path in files for recipe in load_recipes(path)]
    assert len(ids) == len(set(ids))
    on_file = {recipe.id: recipe for path in files for recipe in load_recipes(path)}
    for name in built_in():
        for recipe in find_competition(name).recipes:
            assert on_file.setdefault(recipe.id, recipe) == recipe
    assert on_file == RECIPES


@pytest.mark.parametrize("recipe_id", RECIPES)
def test_every_number_has_a_source_and_is_part_of_the_digest(recipe_id: str) -> None:
    recipe = RECIPES[recipe_id]
    assert [name for name in recipe.parameters() if not recipe.source(name)] == []
    without = recipe.model_copy(update={"sources": {}, "title": ""})
    assert without.digest == recipe.digest
    assert type(recipe).model_validate(json.loads(canonical_json(recipe.model_dump(mode="json")))) == recipe


@pytest.mark.parametrize(
    ("scale", "steps", "original"),
    [
        ("debug", 125, 140),
        ("small", 3_125, 3_140),
        ("medium", 31_250, 31_260),
        ("large", 156_250, 156_260),
        ("xlarge", 142_045, 142_060),
    ],
)
def test_datacomps_step_counts(scale: str, steps: int, original: int) -> None:
    """DataComp's nominal table, and what its train.py really does with 5 checkpoints and 4 loader workers."""
    assert CLIP[f"datacomp-{scale}"].steps == steps
    assert CLIP[f"datacomp-{scale}-original"].steps == original


@pytest.mark.parametrize("scale", ["debug", "small", "medium", "large", "xlarge"])
def test_an_original_differs_from_its_recipe_in_what_datacup_fixed(scale: str) -> None:
    recipe, original = CLIP[f"datacomp-{scale}"].parameters(), CLIP[f"datacomp-{scale}-original"].parameters()
    differing = {name.split(".")[0] for name in recipe | original if recipe.get(name) != original.get(name)}
    expected = {"order", "step_count", "corrupt_tolerance"}
    assert differing == (expected | {"precision"} if scale == "xlarge" else expected)


@pytest.mark.parametrize(
    ("scale", "config"),
    [(scale, "ViT-B-32") for scale in ("debug", "small", "medium")] + [("large", "ViT-B-16"), ("xlarge", "ViT-L-14")],
)
def test_datacomps_towers_are_open_clips(scale: str, config: str) -> None:
    spec = find_spec("open_clip")
    assert spec is not None
    assert spec.origin is not None
    expected = json.loads((Path(spec.origin).parent / "model_configs" / f"{config}.json").read_text())
    for recipe in (CLIP[f"datacomp-{scale}"], CLIP[f"datacomp-{scale}-original"]):
        assert recipe.architecture.name == config.lower()
        assert recipe.architecture.open_clip_config() == expected


def test_backbones_are_timms_and_heads_fit_them() -> None:
    import timm
    import torch

    for recipe in IMAGE.values():
        options: dict[str, Any] = dict(recipe.backbone.options)
        with torch.device("meta"):
            model = timm.create_model(recipe.backbone.name, pretrained=False, num_classes=0, **options)
        if isinstance(recipe, SelfSupervisedRecipe) and recipe.method.method == "simclr":
            assert recipe.method.hidden == model.num_features, recipe.id


def test_resnet10_is_a_resnet18_with_one_block_a_stage() -> None:
    import timm
    import torch

    backbone = IMAGE["simcore-simclr-resnet10"].backbone
    options: dict[str, Any] = dict(backbone.options)
    with torch.device("meta"):
        model = timm.create_model(backbone.name, pretrained=False, num_classes=0, **options)
    assert [len(getattr(model, f"layer{stage}")) for stage in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_905_792  # published: 4.9 million


def test_a_retrieval_model_is_the_same_training_but_for_its_length() -> None:
    retrieval = [recipe_id for recipe_id in IMAGE if recipe_id.endswith("-retrieval")]
    assert len(retrieval) == 19
    for recipe_id in retrieval:
        whole = IMAGE[recipe_id.removesuffix("-retrieval")].model_dump(exclude={"id", "title", "budget", "sources"})
        short = IMAGE[recipe_id]
        assert short.model_dump(exclude={"id", "title", "budget", "sources"}) == whole
        assert short.budget == Epochs(epochs=1000)


@given(target=sizes, coreset=st.lists(sizes, min_size=1, max_size=3))
def test_the_epochs_of_a_coreset_draw_it_as_often_whatever_its_size(target: int, coreset: list[int]) -> None:
    """SimCore's stopping criterion: about 128 million draws of the coreset, and the target does not count."""
    budget = SIMCLR.budget  # type: ignore[union-attr]
    assert isinstance(budget, CoresetEpochs)
    assert (budget.epochs, budget.draws) == (5000, 100 * 1_281_167)
    chosen = sum(coreset)
    epochs = epochs_of(budget, (target, *coreset))
    assert 1 <= epochs <= 5000
    assert epochs == epochs_of(budget, (target + 1, chosen))
    if 1 < epochs < 5000:
        assert budget.draws - chosen < epochs * chosen <= budget.draws
    if epochs == 5000:
        assert 5000 * chosen <= budget.draws
    assert epochs >= epochs_of(budget, (target, chosen + 1))


@given(target=sizes)
def test_a_target_alone_is_trained_for_all_epochs(target: int) -> None:
    assert SIMCLR.steps_on((target,)) == 5000 * target // 512
    assert SIMCLR.steps_on((target, 0)) == 5000 * target // 512


@given(data=st.lists(sizes, min_size=1, max_size=4))
def test_the_steps_of_fixed_epochs_do_not_depend_on_how_data_are_split(data: list[int]) -> None:
    select = find_recipe("select-resnet50")[1]
    assert select.steps_on(tuple(data)) == select.steps_on((sum(data),)) == 600 * sum(data) // 768


def test_steps_of_the_published_trainings() -> None:
    """ImageNet in SELECT; Aircraft alone, with 1 % of ImageNet and with a coreset of 60,000 in SimCore."""
    assert find_recipe("select-resnet50")[1].steps_on((1_281_167,)) == 1_000_911
    assert SIMCLR.steps_on((6_667,)) == 65_107
    assert SIMCLR.steps_on((6_667, 12_811)) == 5000 * (6_667 + 12_811) // 512
    assert SIMCLR.steps_on((6_667, 60_000)) == 2135 * (6_667 + 60_000) // 512
