"""A malformed competition file is refused in one sentence that names file, line and field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.errors import RulesError
from competition.rules import Competition, built_in, find_competition, parse_competition
from competition.rules.recipes import ClipArchitecture

CATALOG = Path(__file__).resolve().parents[3] / "competition" / "catalog"
DIGITS = (CATALOG / "digits" / "competition.yaml").read_text(encoding="utf-8")


def _line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def _refusal(text: str) -> str:
    with pytest.raises(RulesError) as caught:
        parse_competition(text.encode(), name="rules.yaml")
    return caught.value.message


@pytest.mark.parametrize("name", built_in())
def test_every_built_in_competition_is_valid_and_survives_a_round_trip(name: str) -> None:
    competition = find_competition(name)
    again = Competition.model_validate_json(competition.model_dump_json())
    assert again == competition
    assert again.digest == competition.digest


@pytest.mark.parametrize(
    ("old", "new", "field", "problem"),
    [
        ("title: Nano", "titel: Nano", "scales.0.titel", "Extra inputs are not permitted"),
        ("global_batch: 16", "global_batch: many", "global_batch", "valid integer"),
        ("global_batch: 16", "global_batch: -1", "global_batch", "greater than 1"),
        (
            "recipe: digits-nano-clip",
            "recipe: digits-giga",
            "scales.0.recipe",
            "'digits-giga' is not defined; defined are",
        ),
        ("opens: 2026-01-01T00:00:00Z", "opens: 2026-01-01T00:00:00", "phases.0.opens", "timezone"),
        ("primary: average", "primary: medium", "suite.primary", "'medium' is not defined"),
        ("metric: acc1", "metric: accuracy", "suite.tasks.0.metric", "has no accuracy; it has acc1, acc5"),
        ("chance: 0.1", "chance: 1.5", "suite.tasks.0.chance", "less than or equal to 1"),
        ("opens: 2026-01-01T00:00:00Z", "opens: 2026-02-30T00:00:00Z", "phases.0.opens", "day is out of range"),
        ("global_batch: 16", "global_batch: 0x_", "recipes.0.global_batch", "invalid literal"),
        ("samples_seen: 24000", f"samples_seen: {'9' * 5000}", "recipes.0.samples_seen", "limit (4300 digits)"),
        ("samples_seen: 24000", f"samples_seen: {2**53}", "recipes.0.samples_seen", "may not be above"),
        ("samples_seen: 24000", "samples_seen: 5", "recipes.0.samples_seen", "fewer than one batch"),
        (
            "metric: acc1",
            "metric: mean_recall@1",
            "suite.tasks.0.metric",
            "has no mean_recall@1; it has acc1",
        ),
        ("warmup_steps: ", "beta1: 1.0, warmup_steps: ", "recipes.0.optimizer.beta1", "less than 1"),
        (
            "global_batch: 16",
            "crop_scale: [0.9, 0.1]\n    global_batch: 16",
            "recipes.0.crop_scale",
            "the smaller one",
        ),
        ("global_batch: 16", "crop_scale: [0, 0]\n    global_batch: 16", "recipes.0.crop_scale", "above 0"),
        ("patch_size: 8}", "patch_size: 0}", "architecture.vision.patch_size", "whole number from 1"),
        ("patch_size: 8}", "patch_size: 7}", "architecture.vision.image_size", "32 is not a multiple of patch_size 7"),
        ("width: 64,", "width: 65,", "architecture.vision.width", "65 is not a multiple of head_width 32"),
        ("patch_size: 8}", "patch_size: 8, bogus: 2}", "architecture.vision.bogus", "'bogus' is not defined"),
        ("vocab_size: 49408", "vocab_size: 100", "architecture.text.vocab_size", "the tokenizer has 49408 tokens"),
        ("heads: 2,", "heads: 3,", "architecture.text.width", "32 is not a multiple of heads 3"),
        ("patch_size: 8}", "patch_size: 8, mlp_ratio: .nan}", "architecture.vision.mlp_ratio", "above 0"),
        ("patch_size: 8}", "patch_size: 2026-01-01}", "architecture.vision.patch_size", "whole number"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(old: str, new: str, field: str, problem: str) -> None:
    text = DIGITS.replace(old, new, 1)
    message = _refusal(text)
    assert field in message
    assert problem in message
    assert f"rules.yaml, line {_line_of(text, new)}: " in message


@pytest.mark.parametrize("new", ["", "image_size: big, ", "image_size: 0, ", "image_size: true, "])
def test_an_architecture_names_the_size_of_its_images(new: str) -> None:
    message = _refusal(DIGITS.replace("image_size: 32, ", new, 1))
    line = _line_of(DIGITS, "vision:")
    where = f"line {line}: recipes.0.architecture.vision"
    assert f"{where}: image_size must be a whole number of at least 1" in message


def test_a_model_that_no_recipe_may_have_can_still_be_described() -> None:
    """`pool annotate` builds open_clip models with convolutional and other towers from the same description."""
    tower = {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "patch_size": None}
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}
    assert ClipArchitecture(name="rn50", embed_dim=1024, vision=tower, text=text).image_size == 224


@pytest.mark.parametrize(("character", "says"), [("\0", "special characters are not allowed"), ("\x07", "special")])
def test_a_character_that_yaml_does_not_know_names_its_line(character: str, says: str) -> None:
    text = DIGITS.replace("title: Nano", f"title: Na{character}no", 1)
    message = _refusal(text)
    assert f"rules.yaml, line {_line_of(text, character)}: not valid YAML: {says}" in message
    assert "\n" not in message


def test_bytes_that_are_not_utf8_name_their_line() -> None:
    with pytest.raises(RulesError, match="line 3: not UTF-8"):
        parse_competition(b"a: 1\r\nb: 2\rc: \xff\n", name="rules.yaml")


def test_a_list_whose_items_are_refused_is_not_called_too_short() -> None:
    assert "Tuple should have" not in _refusal(DIGITS.replace("opens:", "opened:"))


def test_an_id_that_is_listed_twice_names_the_line_of_the_second() -> None:
    text = DIGITS.replace("- id: filtering", "- {id: filtering, title: Other}\n  - id: filtering", 1)
    line = _line_of(text, "- {id: filtering") + 1
    assert f"line {line}: tracks.1: 'filtering' is listed twice" in _refusal(text)


def test_a_missing_field_names_the_line_of_its_parent() -> None:
    text = DIGITS.replace("    title: Filtering\n", "", 1)
    assert f"line {_line_of(text, '- id: filtering')}: tracks.0.title: Field required" in _refusal(text)


def test_a_repeated_key_is_refused() -> None:
    text = DIGITS.replace("version: 1\n", "version: 1\nversion: 2\n", 1)
    assert "is given twice" in _refusal(text)


def test_broken_yaml_names_the_line() -> None:
    assert "rules.yaml, line 3: not valid YAML" in _refusal("schema_version: 1\nid: [digits\n: :")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x [1]\nb: [*x, *x]\n", "anchors and aliases are not read"),
        ("[" * 5000, "nested deeper than"),
        ("", "the file is empty"),
        ("- 1\n", "valid dictionary"),
        ("a: !!python/object/apply:os.system ['true']\n", "tags (!) are not read"),
        ("x: 1\n" * 200_001, "more than 1000000 bytes"),
        ("? [a, b]\n: 1\n", "keys must be plain words"),
    ],
)
def test_hostile_yaml_is_refused_without_expanding_it(text: str, problem: str) -> None:
    assert problem in _refusal(text)


@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_rules_error(raw: bytes) -> None:
    with pytest.raises(RulesError):
        parse_competition(raw, name="fuzz.yaml")


@given(st.text(alphabet="abc:-[]{}&*!#'\"\n 01", max_size=80))
def test_any_text_ends_in_a_rules_error(text: str) -> None:
    with pytest.raises(RulesError):
        parse_competition(text.encode(), name="fuzz.yaml")


def test_an_unknown_name_lists_what_there_is() -> None:
    from competition.errors import UsageError
    from competition.rules import find_recipe, find_scale, find_track

    digits = find_competition("digits")
    for call in (
        lambda: find_competition("digit"),
        lambda: find_scale(digits, "giga"),
        lambda: find_track(digits, "byod"),
        lambda: find_recipe("digits-giga"),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert "digits" in caught.value.hint or "nano" in caught.value.hint or "filtering" in caught.value.hint


def test_the_digest_changes_with_any_number() -> None:
    other = parse_competition(
        re.sub(r"learning_rate: [0-9.e-]+", "learning_rate: 0.123", DIGITS).encode(), name="other"
    )
    assert other.recipes[0].digest != find_competition("digits").recipes[0].digest
    assert other.suite.digest == find_competition("digits").suite.digest
