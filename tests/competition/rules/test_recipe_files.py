"""Files of recipes: one may extend another, and what is wrong is refused with file, line and the allowed values."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.errors import RulesError
from competition.rules.files import load_recipes
from tests.conftest import ROOT

CATALOG = ROOT / "competition" / "catalog"
SELECT, SIMCORE, DATACOMP = (
    (CATALOG / name / "recipes.yaml").read_text(encoding="utf-8") for name in ("select", "simcore", "datacomp")
)


def _refusal(folder: Path, text: str) -> str:
    path = folder / "recipes.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RulesError) as caught:
        load_recipes(path)
    assert str(path) in caught.value.message
    return caught.value.message


def _line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize(
    ("text", "old", "new", "field", "problem"),
    [
        (SELECT, "kind: supervised", "kind: timm", "0", "'clip', 'supervised', 'selfsupervised'"),
        (SELECT, "kind: epochs", "kind: steps", "budget", "'samples', 'epochs', 'coreset_epochs'"),
        (SELECT, "kind: sgd", "kind: lars", "optimizer", "'sgd', 'adamw'"),
        (SELECT, "every: epoch", "every: batch", "schedule.every", "'step' or 'epoch'"),
        (SELECT, "first_epoch: 0", "first_epoch: 2", "schedule.first_epoch", "0 or 1"),
        (SELECT, "warmup_epochs: 5", "warmup_epochs: 5, warmup_share: 0.1", "schedule.warmup_share", "not both"),
        (SELECT, "throughout: true", "throughout: often", "schedule.throughout", "valid boolean"),
        (SELECT, "decay_all: false", "decay_all: false, clip: 3.0", "optimizer.clip", "not permitted"),
        (SELECT, "precision: amp_fp16", "precision: amp", "precision", "'fp32', 'amp_fp16' or 'amp_bf16'"),
        (SELECT, "interpolation: bicubic", "interpolation: area", "interpolation", "'bicubic', 'bilinear' or 'random'"),
        (SELECT, "zero_init_last: true", "pretrained: true", "backbone.options.pretrained", "defined are block_size"),
        (SELECT, "name: resnet50", "name: ../resnet50", "backbone.name", "match pattern"),
        (SELECT, "label_smoothing: 0.1", "label_smoothing: 1.0", "label_smoothing", "less than 1"),
        (SELECT, "      classes:", "      klasses:", "sources.klasses", "names no field"),
        (SIMCORE, "method: simclr,", "method: clip,", "method", "'simclr', 'moco', 'byol', 'simsiam', 'swav'"),
        (SIMCORE, "every: step}", "every: iteration}", "method.momentum.every", "'step' or 'epoch'"),
        (
            SIMCORE,
            "weight_decay_end: 0.4",
            "weight_decay_end: -1",
            "optimizer.weight_decay_end",
            "greater than or equal",
        ),
        (SIMCORE, "clip: 3.0", "clip: 0", "optimizer.clip", "greater than 0"),
        (SIMCORE, "mask_ratio: 0.75", "mask_ratio: 75", "method.mask_ratio", "less than or equal to 1"),
        (DATACOMP, "kind: whole_batches", "kind: ceil", "step_count", "'whole_batches', 'per_worker_epochs'"),
        (DATACOMP, "kind: permutation", "kind: random", "order", "'permutation', 'shards_with_replacement'"),
        (DATACOMP, "streams: 16, ranks: 4", "streams: 18, ranks: 4", "order.ranks", "18 is no multiple"),
        (DATACOMP, "streams: 16, ranks: 4", "streams: 9, ranks: 3", "order.ranks", "1024 is no multiple"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(
    tmp_path: Path, text: str, old: str, new: str, field: str, problem: str
) -> None:
    changed = text.replace(old, new, 1)
    message = _refusal(tmp_path, changed)
    assert f"recipes.yaml, line {_line_of(changed, new.strip())}: " in message
    assert f".{field}: " in message
    assert problem in message


MINIMAL = """\
schema_version: 1
recipes:
  - kind: supervised
    id: first
    backbone: {name: resnet18}
    classes: 10
    image_size: 32
    global_batch: 64
    budget: {kind: epochs, epochs: 3}
    optimizer: {kind: sgd, learning_rate: 0.1, weight_decay: 0.0005}
    sources: {optimizer: chosen, optimizer.momentum: usual, budget: short, "*": somewhere}
"""


def _loaded(folder: Path, text: str) -> list[dict[str, object]]:
    path = folder / "recipes.yaml"
    path.write_text(text, encoding="utf-8")
    return [recipe.model_dump() for recipe in load_recipes(path)]


def test_a_recipe_extends_one_above_it_field_by_field(tmp_path: Path) -> None:
    """A field is replaced whole and takes its sources along; a chain of three works as one of two."""
    second = "  - id: second\n    extends: first\n    optimizer: {kind: adamw, learning_rate: 0.2, weight_decay: 0}\n"
    third = (
        "  - id: third\n    extends: second\n    budget: {kind: samples, samples: 640}\n    sources: {budget: now}\n"
    )
    first, extended, again = _loaded(tmp_path, MINIMAL + second + third)
    assert extended["optimizer"] == {
        "kind": "adamw", "learning_rate": 0.2, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0,
        "weight_decay_end": None, "decay_all": False, "clip": None,
    }  # fmt: skip
    assert extended["sources"] == {"budget": "short", "*": "somewhere"}
    assert again["sources"] == {"budget": "now", "*": "somewhere"}
    assert again["optimizer"] == extended["optimizer"]
    unchanged = set(first) - {"id", "optimizer", "sources"}
    assert {name: extended[name] for name in unchanged} == {name: first[name] for name in unchanged}


def test_extending_is_the_same_as_writing_out(tmp_path: Path) -> None:
    written = MINIMAL.replace("id: first", "id: second").replace("classes: 10", "classes: 7")
    written = written[written.index("  - kind") :]
    (_, long) = _loaded(tmp_path, MINIMAL + written)
    (_, short) = _loaded(tmp_path, MINIMAL + "  - {id: second, extends: first, classes: 7}\n")
    assert short == long


@pytest.mark.parametrize("base", ["second", "third", "[first]", "{id: first}", "null"])
def test_only_a_recipe_above_can_be_extended(tmp_path: Path, base: str) -> None:
    text = MINIMAL + f"  - id: second\n    extends: {base}\n" + "  - {id: third, extends: first}\n"
    message = _refusal(tmp_path, text)
    assert f"line {_line_of(text, 'extends: ' + base)}: recipes.1.extends: " in message
    assert "is no recipe above this one; above are first" in message


def test_what_is_wrong_with_an_inherited_value_names_the_recipe_that_inherits(tmp_path: Path) -> None:
    text = MINIMAL + "  - id: second\n    extends: first\n    kind: clip\n"
    assert f"line {_line_of(text, '- id: second')}: recipes.1.backbone: Extra inputs" in _refusal(tmp_path, text)


def test_an_id_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    text = MINIMAL + "  - {id: first, extends: first}\n"
    assert f"line {_line_of(text, '- {id')}: recipes.1: 'first' is listed twice" in _refusal(tmp_path, text)


_SCALARS = st.none() | st.integers(-1, 3) | st.sampled_from(["first", "second", "clip"])
_ANYTHING = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "extends", "sources", "recipes", "kind"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(recipes=_ANYTHING)
def test_any_values_end_in_a_rules_error(tmp_path_factory: pytest.TempPathFactory, recipes: object) -> None:
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    folder = tmp_path_factory.mktemp("fuzz")
    _refusal(folder, yaml.dump({"schema_version": 1, "recipes": recipes}, Dumper=Plain))
