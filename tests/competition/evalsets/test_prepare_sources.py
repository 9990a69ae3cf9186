"""ELEVATER's and ImageNetV2's files by the names that they are published under, and sources that are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
from PIL import Image

from competition.errors import DataCupError, DataFormatError, NotFoundError
from competition.evalsets.preparing.elevater import index_names
from competition.evalsets.preparing.prepare import PrepareOptions, PrepareReport, prepare_set
from competition.evalsets.preparing.recipes import RECIPES, Format, find_recipe_of_set, stated_sizes
from competition.evalsets.sources import EvaluationSet, Origin
from competition.evalsets.verify import Finding, verify_sets
from tests.competition.evalsets.digits_folders import AUTHORS, TORCHVISION, Pen, elevater
from tests.participant_kit.cli.typed import refused

REGISTRY = {
    "genbench-caltech-101": ({"train": "train.txt", "test": "test.txt"}, (3060, None, 6084), 102),
    "genbench-cifar-100": ({"train": "train_images.txt", "test": "test_images.txt"}, (50000, None, 10000), 100),
    "genbench-country211": (
        {"train": "train.txt", "valid": "valid.txt", "test": "test.txt"},
        (31650, 10550, 21100),
        211,
    ),
    "genbench-eurosat-clip": ({"train": "train.txt", "val": "val.txt", "test": "test.txt"}, (5000, 5000, 5000), 10),
    "genbench-fer-2013": ({"train": "train.txt", "val": "val.txt", "test": "test.txt"}, (28709, 3589, 3589), 7),
    "genbench-gtsrb": ({"train": "train.txt", "val": "val.txt", "test": "test.txt"}, (26640, 12569, 12630), 43),
    "genbench-hateful-memes": ({"train": "train_meta.json", "test": "test_meta.json"}, (8500, None, 500), 2),
    "genbench-imagenet-1k": ({"test": "val.json"}, (None, None, 50000), 1000),
    "genbench-kitti-distance": (
        {"train": "train_meta.json", "val": "validation_meta.json", "test": "test_meta.json"},
        (6347, 423, 711),
        4,
    ),
    "genbench-patch-camelyon": (
        {"train": "train.txt", "val": "val.txt", "test": "test.txt"},
        (262144, 32768, 32768),
        2,
    ),
    "genbench-rendered-sst2": (
        {"train": "train.txt", "val": "valid.txt", "test": "test.txt"},
        (6920, 827, 1821),
        2,
    ),
    "genbench-resisc45-clip": (
        {"train": "train.json", "val": "val.json", "test": "test.json"},
        (3150, 3150, 25200),
        45,
    ),
    "genbench-voc-2007-classification": (
        {"train": "train_ic.txt", "val": "val_ic.txt", "test": "test_ic.txt"},
        (2501, 2510, 4952),
        20,
    ),
}
"""Facts of ELEVATER's vision_datasets.json: indices, sizes (train, val, test) and classes of its less regular sets."""


def prepare(name: str, source: Path, root: Path, kind: Format | None = None) -> PrepareReport:
    return prepare_set(name, root, PrepareOptions(source, kind, any_size=True))


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_indices_sizes_and_classes_are_those_of_elevaters_registry(name: str) -> None:
    indices, sizes, classes = REGISTRY[name]
    recipe = find_recipe_of_set(name)
    assert {split for splits in recipe.splits.values() for split in splits} == set(indices)
    for split, index in indices.items():
        assert index in index_names(recipe, split)
    stated = stated_sizes(recipe)
    assert tuple(stated.get(part) for part in ("train", "val", "test")) == sizes
    assert recipe.classes == classes
    assert Format.ELEVATER in recipe.formats


def test_every_set_of_genbench_can_be_made_of_elevaters_files() -> None:
    found = [recipe for recipe in RECIPES if recipe.name.startswith("genbench-")]
    assert len(found) == 22
    assert [recipe.name for recipe in found if Format.ELEVATER not in recipe.formats] == []
    assert sum(recipe.classes for recipe in found) == 2548


def test_files_are_found_under_the_names_of_the_registry(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    elevater(source, Pen(), 4, ("train", "val", "test"), coco=True)
    for part, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        (source / f"{part}.json").rename(source / f"{name}_meta.json")
    assert dict(prepare("genbench-kitti-distance", source, tmp_path / "sets").images) == {
        "train": 8,
        "val": 8,
        "test": 8,
    }
    other = tmp_path / "other"
    other.mkdir()
    elevater(other, Pen(), 43, ("train", "val", "test"), coco=False)
    (other / "labelmap.txt").write_text("\n".join(f"sign {c}" for c in range(43)))
    prepare("genbench-gtsrb", other, tmp_path / "sets")
    assert (tmp_path / "sets" / "genbench-gtsrb" / "classnames.txt").read_text().startswith("sign 0\nsign 1\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("truncated", "is no index of images and their classes, or not a whole one"),
        ("no annotation", "no class"),
        ("unknown category", "is no index of images"),
        ("twice", "lists the image"),
        ("deep", "is no index of images"),
        ("list", "is no index of images"),
    ],
)
def test_what_is_wrong_with_a_json_index_is_said(damage: str, words: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    elevater(source, Pen(), 4, ("train", "val", "test"), coco=True)
    path = source / "test.json"
    content = json.loads(path.read_text())
    if damage == "no annotation":
        del content["annotations"][3]
    elif damage == "unknown category":
        content["annotations"][3]["category_id"] = 99
    elif damage == "twice":
        content["images"][1]["file_name"] = content["images"][0]["file_name"]
    text = json.dumps(content)
    path.write_text({"truncated": text[:-30], "deep": "[" * 100_000, "list": "[1, 2]"}.get(damage, text))
    with pytest.raises(DataFormatError) as failed:
        prepare("genbench-kitti-distance", source, tmp_path / "sets")
    assert words in failed.value.message
    assert not (tmp_path / "sets").exists()


def imagenetv2(folder: Path, name: str, pairs: list[list[str]]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"sampling_function": "sample_best", "image_filenames": pairs, "is_valid": True}))
    return path


PAIRS = [["c" * 40, "n02129604"], ["a" * 40, "n01440764"], ["ILSVRC2012_val_00000001.JPEG", "n02129604"]]


def test_imagenetv2s_lists_are_labels_in_the_order_of_the_predictions(tmp_path: Path) -> None:
    imagenetv2(tmp_path / "source", "imagenetv2-b-33", PAIRS)
    report = prepare("imagenetv2-b-33", tmp_path / "source", tmp_path / "sets")
    assert dict(report.images) == {"test": 3}
    made = tmp_path / "sets" / "imagenetv2-b-33"
    assert (made / "labels.txt").read_text().splitlines() == ["1", "0", "1"]
    assert (made / "samples.txt").read_text().splitlines() == [name for name, _ in PAIRS]
    assert (made / "classnames.txt").read_text().splitlines() == ["n01440764", "n02129604"]
    (found,) = verify_sets([EvaluationSet("imagenetv2-b-33", Origin.ELSEWHERE)], tmp_path / "sets")
    assert found.finding is Finding.SOUND
    words = ("evalsets", "prepare", "imagenetv2-b-33", "--source", tmp_path / "source", "--data-dir", tmp_path / "b")
    assert "has 2 classes instead of 1000" in refused(*words).err


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([*PAIRS, PAIRS[0]], "twice"),
        ([*PAIRS, ["../../x", "n02129604"]], "has the sample '../../x'"),
        ([*PAIRS, ["x", "cat"]], "of the class 'cat'"),
        ([*PAIRS, ["x"]], "is no list of ImageNetV2's samples"),
        (None, "is no list of ImageNetV2's samples"),
    ],
)
def test_what_is_wrong_with_imagenetv2s_lists_is_said(
    pairs: list[list[str]] | None, words: str, tmp_path: Path
) -> None:
    path = imagenetv2(tmp_path / "source", "imagenetv2-a-44", pairs or PAIRS)
    if pairs is None:
        path.write_text(path.read_text()[:-40])
    with pytest.raises(DataFormatError) as failed:
        prepare("imagenetv2-a-44", tmp_path / "source", tmp_path / "sets")
    assert words in failed.value.message
    with pytest.raises(NotFoundError, match=r"imagenetv2-c-12\.json is not there"):
        prepare("imagenetv2-c-12", tmp_path / "source", tmp_path / "sets")
    assert not (tmp_path / "sets").exists()


def _break_dtd(source: Path, damage: str) -> None:
    images = source / "dtd" / "dtd" / "images" / "texture03"
    if damage == "no image":
        (images / "texture03_val.jpg").unlink()
    elif damage == "truncated image":
        path = images / "texture03_test.jpg"
        path.write_bytes(path.read_bytes()[:200])
    else:
        (source / "dtd" / "dtd" / "labels" / "train1.txt").write_bytes(b"\xff\xfe")


@pytest.mark.parametrize("damage", ["no image", "truncated image", "list"])
def test_a_damaged_folder_of_torchvision_is_one_sentence(damage: str, tmp_path: Path) -> None:
    TORCHVISION["DTD"](tmp_path / "source", Pen())
    _break_dtd(tmp_path / "source", damage)
    with pytest.raises(DataCupError) as failed:
        prepare("genbench-dtd", tmp_path / "source", tmp_path / "sets")
    assert str(tmp_path) in failed.value.message
    assert "\n" not in failed.value.message
    assert not (tmp_path / "sets").exists() or list((tmp_path / "sets").iterdir()) == []


def test_a_mnist_file_that_is_cut_off_is_one_sentence(tmp_path: Path) -> None:
    TORCHVISION["MNIST"](tmp_path / "source", Pen())
    path = next((tmp_path / "source").rglob("t10k-images-idx3-ubyte"))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataFormatError, match="torchvision cannot read MNIST"):
        prepare("genbench-mnist", tmp_path / "source", tmp_path / "sets")


def test_what_torchvision_cannot_download_is_said(tmp_path: Path) -> None:
    words = ("evalsets", "prepare", "simcore-cars", "--source", tmp_path, "--data-dir", tmp_path / "s", "--download")
    assert "torchvision cannot download StanfordCars" in refused(*words).err


def test_an_image_that_a_list_names_twice_is_refused(tmp_path: Path) -> None:
    AUTHORS["simcore-indoor"](tmp_path / "source", Pen())
    lists = tmp_path / "source" / "TrainImages.txt"
    lists.write_text(lists.read_text() + lists.read_text().splitlines()[0] + "\n")
    with pytest.raises(DataFormatError, match="twice"):
        prepare("simcore-indoor", tmp_path / "source", tmp_path / "sets")


@pytest.mark.parametrize("damage", ["truncated", "no parquet", "no image", "several", "no columns"])
def test_a_damaged_parquet_file_is_one_sentence(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    pen = Pen()
    rows: list[Image.Image | None] = [Image.fromarray(pen.pixels()) for _ in range(4)]
    labels: list[object] = [0, 1, 0, 1]
    value: object = datasets.Value("int64")
    if damage == "no image":
        rows[2] = None
    elif damage == "several":
        labels, value = [[0], [1], [0, 1], [1]], [datasets.Value("int64")]
    label = "other" if damage == "no columns" else "label"
    features = datasets.Features({"image": datasets.Image(), label: value})
    (tmp_path / "source").mkdir()
    for split in ("train", "test"):
        path = tmp_path / "source" / f"{split}.parquet"
        datasets.Dataset.from_dict({"image": rows, label: labels}, features=features).to_parquet(str(path))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "no parquet":
        path.write_bytes(b"no parquet")
    with pytest.raises(DataFormatError) as failed:
        prepare("genbench-hateful-memes", tmp_path / "source", tmp_path / "sets", Format.HUGGING_FACE)
    assert "\n" not in failed.value.message
    words = {"no image": "is empty", "several": "instead of the number of a class", "no columns": "has the columns"}
    assert words.get(damage, "cannot be read") in failed.value.message
    assert not (tmp_path / "sets").exists() or list((tmp_path / "sets").iterdir()) == []
