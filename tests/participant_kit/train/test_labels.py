"""Labels from a table reach the samples by uid, belong to the data's identity, and suffice to learn digits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from timm.data import create_transform
from typer.testing import CliRunner

from competition.catalog.digits.rendering import Conditions, draw_look, encode_jpeg, render, stored
from competition.catalog.digits.split import Part, load_part
from competition.catalog.digits.testsets import test_photograph as photograph
from competition.data.shards import Sample, write_shard
from competition.errors import DataFormatError, TrainingError, UsageError
from competition.evaluation.image_models import build_image_model
from competition.rules import find_recipe
from competition.rules.recipes import SupervisedRecipe
from participant_kit.cli import app
from participant_kit.train.data.choice import DataChoice, open_data
from participant_kit.train.data.labels import LabelChoice, load_labels
from participant_kit.train.data.source import TrainingSet
from participant_kit.train.launcher import Plan, train
from participant_kit.train.machine import Machine
from tests.participant_kit.train.conftest import MakeShards, make_sample
from tests.participant_kit.train.test_supervised import STEPS, make_supervised


def write_labels(path: Path, labels: dict[int, str]) -> Path:
    lines = ["uid,label", *(f"{number:032x},{label}" for number, label in labels.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def opened(folder: Path, choice: LabelChoice | None) -> TrainingSet:
    return open_data(DataChoice((str(folder),), None, choice), folder, 1, lambda _: None)


def test_labels_reach_their_samples(shards: MakeShards, tmp_path: Path) -> None:
    table = write_labels(tmp_path / "labels.csv", {number: str(number % 7) for number in reversed(range(0, 30, 2))})
    data = opened(shards(), LabelChoice(table))
    found = [data.read(number).label for number in range(30)]
    assert found == [number % 7 if number % 2 == 0 else None for number in range(30)]


def test_a_list_of_classes_numbers_other_labels(tmp_path: Path) -> None:
    table = write_labels(tmp_path / "labels.csv", {1: "n02", 2: "n01", 3: "", 4: "n02"})
    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps([{"id": id_, "names": [id_]} for id_ in ("n01", "n03", "n02")]))
    labels = load_labels(LabelChoice(table, classes))
    assert labels.numbers == {(1).to_bytes(16, "big"): 2, (2).to_bytes(16, "big"): 0, (4).to_bytes(16, "big"): 2}
    with pytest.raises(DataFormatError, match="label 'n02', which is no class number") as error:
        load_labels(LabelChoice(table))
    assert "--classes" in error.value.hint
    classes.write_text(json.dumps([{"id": "n01", "names": ["one"]}]))
    with pytest.raises(DataFormatError, match=r"label 'n02', which .*classes.json does not list"):
        load_labels(LabelChoice(table, classes))


def test_a_uid_has_one_label(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    uid = f"{77:032x}"
    table.write_text(f"uid,label\n{uid},1\n{uid},1\n")
    assert list(load_labels(LabelChoice(table)).numbers.values()) == [1]
    table.write_text(f"uid,label\n{uid},1\n{77 << 64:032x},5\n{uid},2\n")
    with pytest.raises(DataFormatError, match=f"gives two labels to the uid {uid}"):
        load_labels(LabelChoice(table))


def test_tables_without_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no table of labels"):
        load_labels(LabelChoice(tmp_path / "labels.csv"))
    with pytest.raises(UsageError, match="holds no label"):
        load_labels(LabelChoice(write_labels(tmp_path / "labels.csv", {1: ""})))


def test_labels_are_part_of_the_datas_identity(shards: MakeShards, tmp_path: Path) -> None:
    folder = shards()
    one = {number: str(number % 5) for number in range(30)}
    plain = opened(folder, None)
    first = opened(folder, LabelChoice(write_labels(tmp_path / "one.csv", one)))
    again = opened(folder, LabelChoice(write_labels(tmp_path / "two.csv", dict(reversed(one.items())))))
    other = opened(folder, LabelChoice(write_labels(tmp_path / "other.csv", one | {3: "0"})))
    assert first.digest == again.digest
    assert len({plain.digest, first.digest, other.digest}) == 3


def test_another_table_is_another_run_and_the_report_names_it(shards: MakeShards, tmp_path: Path) -> None:
    def run(labels: dict[int, str]) -> str:
        choice = LabelChoice(write_labels(tmp_path / "labels.csv", labels))
        data = DataChoice((str(folder),), None, choice)
        plan = Plan(make_supervised(), "digits", data, tmp_path / "runs", "run")
        report = train(plan, Machine("cpu", 1, 0))
        assert report.steps == STEPS
        assert report.data.labels_sha256 == load_labels(choice).sha256
        return report.model_sha256

    folder = shards()
    labels = {number: str(number % 4) for number in range(30)}
    assert run(labels) == run(labels)
    with pytest.raises(UsageError, match="holds a finished run with another data"):
        run(labels | {0: "3"})


def test_a_sample_that_the_table_lacks_is_reported(shards: MakeShards, tmp_path: Path) -> None:
    table = write_labels(tmp_path / "labels.csv", dict.fromkeys(range(29), "1"))
    data = DataChoice((str(shards()),), None, LabelChoice(table))
    plan = Plan(make_supervised(), "digits", data, tmp_path / "runs", "run")
    with pytest.raises(TrainingError, match=r"Sample '000000029' .* is corrupt \(it has no label\)"):
        train(plan, Machine("cpu", 1, 0))


def test_the_command_wants_labels_for_classes(tmp_path: Path) -> None:
    arguments = ["--data-dir", str(tmp_path), "--output-dir", str(tmp_path), "--exp-name", "a", "--classes", "c.json"]
    result = CliRunner().invoke(app, ["train", "--recipe", "digits-nano-supervised", *arguments])
    assert isinstance(result.exception, UsageError)
    assert "--classes says what --labels means" in str(result.exception)


def digit_shards(folder: Path, looks: int) -> tuple[Path, Path]:
    """The pool's digits, each in so many looks; and their true labels."""
    digits, rng = load_part(Part.POOL), np.random.default_rng(0)
    samples, labels = [], {}
    for number in range(looks * len(digits)):
        image = stored(render(digits.pixels[number % len(digits)], draw_look(rng, Conditions())))
        made = make_sample(number)
        samples.append(Sample(made.key, {"jpg": encode_jpeg(image), "json": made.members["json"]}))
        labels[number] = str(digits.labels[number % len(digits)])
    (folder / "digits").mkdir()
    write_shard(folder / "digits", 0, samples)
    return folder / "digits", write_labels(folder / "digits.csv", labels)


def accuracy(recipe: SupervisedRecipe, model_file: Path) -> float:
    """Share of the test digits that a model reads, by timm's evaluation transform."""
    model = build_image_model(recipe.backbone, recipe.classes)
    model.load_state_dict(load_file(model_file))
    transform = create_transform(
        recipe.image_size, interpolation=recipe.augmentation.interpolation, crop_pct=recipe.evaluation_crop
    )
    labels = torch.from_numpy(load_part(Part.TEST).labels)
    images = torch.stack([transform(stored(photograph(Part.TEST, index))) for index in range(len(labels))])
    with torch.no_grad():
        return float((model.eval()(images).argmax(1) == labels).float().mean())


@pytest.mark.slow
def test_the_nano_recipe_learns_digits_from_labels(tmp_path: Path) -> None:
    _, recipe = find_recipe("digits-nano-supervised")
    assert isinstance(recipe, SupervisedRecipe)
    folder, table = digit_shards(tmp_path, looks=6)
    plan = Plan(recipe, "digits", DataChoice((str(folder),), None, LabelChoice(table)), tmp_path / "runs", "digits")
    train(plan, Machine("cpu", 1, 1))
    assert accuracy(recipe, plan.folder / "model.safetensors") > 0.7  # chance: 0.1
