"""A competition may name recipes and a suite of the catalogue: it then means the same as one that writes them out."""

from __future__ import annotations

import pytest
import yaml

from competition.errors import RulesError, UsageError
from competition.rules import Competition, find_competition, find_recipe, find_scale, parse_competition
from tests.conftest import ROOT

DATACOMP = (ROOT / "competition" / "catalog" / "datacomp" / "competition.yaml").read_text(encoding="utf-8")


def test_a_name_means_what_it_names() -> None:
    named = parse_competition(DATACOMP.encode(), name="rules.yaml")
    values = yaml.safe_load(DATACOMP)
    written = {**values, "suite": named.suite.model_dump(mode="json")}
    written["recipes"] = [find_recipe(name)[1].model_dump(mode="json") for name in values["recipes"]]
    again = parse_competition(yaml.safe_dump(written, sort_keys=False).encode(), name="written.yaml")
    assert again == named
    assert again.digest == named.digest
    assert Competition.model_validate_json(named.model_dump_json()) == named


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("suite: datacomp-38@1", "suite: datacomp-38@7", "suite: 'datacomp-38@7' is not in the catalogue; it has"),
        ("suite: datacomp-38@1", "suite: ../digits", "suite: '../digits' is not in the catalogue; it has"),
        ("[datacomp-small, ", "[datacomp-tiny, ", "recipes.0: 'datacomp-tiny' is not in the catalogue; it has"),
        ("[datacomp-small, ", "[datacomp-medium, ", "recipes.1: 'datacomp-medium' is listed twice"),
        ("suite: datacomp-38@1", "suite: 38", "suite: Input should be a valid dictionary"),
    ],
)
def test_a_name_that_is_wrong_is_refused_with_its_line(old: str, new: str, says: str) -> None:
    text = DATACOMP.replace(old, new, 1)
    with pytest.raises(RulesError) as caught:
        parse_competition(text.encode(), name="rules.yaml")
    line = text[: text.index(new)].count("\n") + 1
    assert f"rules.yaml, line {line}: {says}" in caught.value.message


def test_what_needs_a_clip_model_or_a_pool_says_so() -> None:
    select, genbench, datacomp = (find_competition(name) for name in ("select", "genbench", "datacomp"))
    assert select.recipe_of(find_scale(select, "imagenet")).id == "select-resnet50"
    assert datacomp.clip_recipe_of(find_scale(datacomp, "large")).architecture.name == "vit-b-16"
    with pytest.raises(UsageError, match="'select-resnet50' trains a supervised model"):
        select.clip_recipe_of(find_scale(select, "imagenet"))
    with pytest.raises(UsageError, match="'imagenet' has no pool"):
        _ = find_scale(select, "imagenet").given_pool
    with pytest.raises(UsageError, match="'shots-5' of competition 'genbench' trains nothing"):
        genbench.recipe_of(find_scale(genbench, "shots-5"))
