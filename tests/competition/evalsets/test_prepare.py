"""Sets prepared from real folders of many formats hold what the formats' own readers give, in the same order."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from competition.data.shards import Sample, read_samples
from competition.errors import DataFormatError, NotFoundError
from competition.evalsets.preparing.prepare import PrepareOptions, PrepareReport, prepare_set
from competition.evalsets.preparing.recipes import RECIPES, Format, SetRecipe, find_recipe_of_set, stated_sizes
from competition.evalsets.sources import EvaluationSet, Origin
from competition.evalsets.verify import Finding, verify_sets
from competition.evaluation.images import Preparation, decode_rgb
from competition.evaluation.sets import load_classification
from competition.rules import all_suites
from tests.competition.evalsets.digits_folders import AUTHORS, TORCHVISION, Pen, elevater
from tests.participant_kit.cli.typed import refused, typed

MADE = [recipe for recipe in RECIPES if recipe.dataset in TORCHVISION]
_DOWNLOADED = {"Flowers102": "_file_dict", "SVHN": "split_list"}


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchvision compares digests of two datasets' files with those of the real ones."""
    files = {name: (file, None) for name, (file, _) in torchvision.datasets.Flowers102._file_dict.items()}
    monkeypatch.setattr(torchvision.datasets.Flowers102, "_file_dict", files)
    lists = {name: [url, file, None] for name, (url, file, _) in torchvision.datasets.SVHN.split_list.items()}
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", lists)


def prepare(name: str, source: Path, root: Path, **options: object) -> PrepareReport:
    return prepare_set(name, root, PrepareOptions(source, any_size=True, **options))  # type: ignore[arg-type]


def samples(folder: Path, part: str) -> list[Sample]:
    count = int((folder / part / "nshards.txt").read_text())
    assert sorted(path.name for path in (folder / part).glob("*.tar")) == sorted(f"{n}.tar" for n in range(count))
    return [sample for n in range(count) for sample in read_samples(folder / part / f"{n}.tar")]


def content(sample: Sample) -> tuple[bytes, int]:
    data = next(data for name, data in sample.members.items() if name != "cls")
    return np.asarray(decode_rgb(data)).tobytes(), int(sample.members["cls"])


def expected(recipe: SetRecipe, source: Path, split: str) -> list[tuple[bytes, int]]:
    """Pixels and labels as torchvision's own class gives them."""
    kind = getattr(torchvision.datasets, recipe.dataset)
    options = {} if split == "all" else {"train": split == "train"} if recipe.dataset == "MNIST" else {"split": split}
    found = kind(str(source), **options)
    return [
        (np.asarray(image.convert("RGB")).tobytes(), int(label))
        for image, label in map(found.__getitem__, range(len(found)))
    ]


def _opened(dataset: torch.utils.data.Dataset, row: int) -> tuple[Image.Image, int]:
    """Torchvision leaves files of Caltech256 open."""
    with dataset[row][0] as image:
        return image.copy(), int(dataset.y[row] if hasattr(dataset, "y") else dataset[row][1])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "recipe", [recipe for recipe in MADE if not recipe.random_split], ids=lambda recipe: recipe.name
)
def test_parts_are_those_that_torchvision_gives(recipe: SetRecipe, tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "sets"
    TORCHVISION[recipe.dataset](source, Pen())
    report = prepare(recipe.name, source, root)
    for part, splits in recipe.splits.items():
        wanted = [pair for split in splits for pair in expected(recipe, source, split)]
        assert [content(sample) for sample in samples(root / recipe.name, part)] == wanted
        assert report.images[part] == len(wanted) > 0
    names = (root / recipe.name / "classnames.txt").read_text().splitlines()
    assert len(names) == recipe.classes


@pytest.mark.parametrize("recipe", [recipe for recipe in MADE if recipe.random_split], ids=lambda recipe: recipe.name)
def test_a_random_split_is_pytorchs_of_the_default_seed(recipe: SetRecipe, tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "sets"
    TORCHVISION[recipe.dataset](source, Pen())
    report = prepare(recipe.name, source, root)
    kind = getattr(torchvision.datasets, recipe.dataset)
    found = kind(str(source))
    rows = list(range(len(found)))
    if recipe.dataset == "SUN397":
        rows.sort(key=lambda row: str(found._image_files[row]))
    if recipe.dataset == "Caltech256":
        rows = [row for row in rows if _opened(found, row)[0].mode == "RGB"]
        assert report.without_colour == {"all": 86}
    train = int(0.8 * len(rows))
    parts = torch.utils.data.random_split(rows, [train, len(rows) - train], generator=torch.Generator())
    for part, chosen in zip(("train", "test"), parts, strict=True):
        wanted = []
        for row in chosen:
            image, label = _opened(found, row)
            wanted.append((np.asarray(image.convert("RGB")).tobytes(), label))
        assert [content(sample) for sample in samples(root / recipe.name, part)] == wanted
        assert report.images[part] == len(wanted)


@pytest.mark.parametrize("name", sorted(AUTHORS))
def test_folders_of_the_authors(name: str, tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "sets"
    AUTHORS[name](source, Pen())
    recipe = find_recipe_of_set(name)
    report = prepare(name, source, root)
    made = {part: [content(sample) for sample in samples(root / name, part)] for part in ("train", "test")}
    images = {path: np.asarray(Image.open(path).convert("RGB")).tobytes() for path in source.rglob("*.jpg")}
    where = {pixels: path for path, pixels in images.items()}
    assert len(where) == len(images)
    names = (root / name / "classnames.txt").read_text().splitlines()
    for part, found in made.items():
        assert {label for _, label in found} == set(range(recipe.classes))
        for pixels, label in found:
            path = where[pixels]
            if name == "simcore-birds":
                assert path.parent.name == names[label]
                assert path.stem in ({"Bird_0", "Bird_2"} if part == "train" else {"Bird_1", "Bird_3"})
            elif name == "simcore-dogs":
                assert (path.parent.name.partition("-")[2], path.stem) == (names[label], part)
            elif name == "simcore-action":
                assert path.stem == f"{names[label].replace(' ', '_')}_{part}"
            elif name == "simcore-indoor":
                assert (path.parent.name, path.stem.lower()) == (names[label], part)
            else:
                assert path.stem == f"{label}_0"
                assert path.parent.name in ({"evaluation"} if part == "test" else {"training", "validation"})
    dropped = {"train": 1, "test": 1} if name == "simcore-birds" else {}
    assert report.without_colour == dropped
    assert sum(report.images.values()) + sum(dropped.values()) == len(images)


@pytest.mark.parametrize(("name", "coco"), [("genbench-fer-2013", False), ("genbench-resisc45-clip", True)])
def test_the_index_and_zip_files_of_elevater(name: str, coco: bool, tmp_path: Path) -> None:
    recipe = find_recipe_of_set(name)
    source, root = tmp_path / "source", tmp_path / "sets"
    source.mkdir()
    elevater(source, Pen(), recipe.classes, ("train", "val", "test"), coco=coco)
    prepare(name, source, root)
    for part in ("train", "val", "test"):
        found = samples(root / name, part)
        with zipfile.ZipFile(source / f"{part}.zip") as archive:
            members = archive.namelist()
            assert [sample.members["png"] for sample in found] == [archive.read(member) for member in members]
        labels = [int(member.partition("/")[0].removeprefix("class")) for member in members]
        assert [int(sample.members["cls"]) for sample in found] == labels
    names = (root / name / "classnames.txt").read_text().splitlines()
    assert names == [f"thing {c}" if coco else str(c) for c in range(recipe.classes)]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("multilabel", "is no index of images with one class each"),
        ("outside", "outside of its folder"),
        ("member", "does not give"),
        ("zip", "is no zip file"),
        ("no zip", "is not there"),
        ("no index", "holds no index of the part 'test'"),
        ("label", "has class 7 of 7"),
        ("image", "is no image"),
    ],
)
def test_what_is_wrong_with_an_index_is_said(damage: str, words: str, tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "sets"
    source.mkdir()
    elevater(source, Pen(), 7, ("train", "val", "test"), coco=False)
    index = source / "test.txt"
    first, rest = index.read_text().split("\n", 1)
    changed = {
        "multilabel": f"{first},3\n{rest}",
        "outside": f"../secret.zip@a.png 0\n{rest}",
        "member": f"test.zip@absent.png 0\n{rest}",
        "label": f"{first[:-1]}7\n{rest}",
    }
    if damage in changed:
        index.write_text(changed[damage])
    elif damage == "zip":
        (source / "test.zip").write_bytes(b"no zip")
    elif damage == "no zip":
        (source / "test.zip").unlink()
    elif damage == "no index":
        index.unlink()
    else:
        with zipfile.ZipFile(source / "test.zip", "a") as archive:
            archive.writestr("text.png", b"no image")
        index.write_text(f"test.zip@text.png 0\n{rest}")
    with pytest.raises((DataFormatError, NotFoundError)) as failed:
        prepare("genbench-fer-2013", source, root)
    assert words in failed.value.message
    assert not (root / "genbench-fer-2013").exists()
    assert list(root.glob("*")) == list(root.glob(".prepare*")) == []


@pytest.mark.parametrize("saved", [True, False], ids=["saved", "parquet"])
def test_a_folder_of_the_datasets_library(saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    pen = Pen()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    splits = {}
    for split, count in (("train", 6), ("test", 4)):
        rows = [Image.fromarray(pen.pixels()) for _ in range(count)]
        content_of = {"image": rows, "label": [n % 2 for n in range(count)]}
        splits[split] = datasets.Dataset.from_dict(content_of, features=features)
    source, root = tmp_path / "source", tmp_path / "sets"
    (source / "data").mkdir(parents=True)
    if saved:
        datasets.DatasetDict(splits).save_to_disk(str(source))
    else:
        for split, made in splits.items():
            made.to_parquet(str(source / "data" / f"{split}-00000-of-00001.parquet"))
    prepare("genbench-hateful-memes", source, root, format=Format.HUGGING_FACE)
    for split, made in splits.items():
        wanted = [(np.asarray(row["image"]).tobytes(), row["label"]) for row in made]
        assert [content(sample) for sample in samples(root / "genbench-hateful-memes", split)] == wanted
    assert (root / "genbench-hateful-memes" / "classnames.txt").read_text() == "cat\ndog\n"
    with pytest.raises(NotFoundError, match="has no split 'val'"):
        prepare("genbench-rendered-sst2", source, root, format=Format.HUGGING_FACE)


def test_folders_of_classes_in_any_format(tmp_path: Path) -> None:
    source, root, pen = tmp_path / "source", tmp_path / "sets", Pen()
    for part in ("train", "test"):
        for c in range(10):
            pen.write(source / part / str(c) / f"a.{'ppm' if c % 2 else 'png'}")
    templates = tmp_path / "templates.txt"
    templates.write_text("a photo of {c}.\n")
    prepare("select-svhn", source, root, format=Format.IMAGE_FOLDER, templates=templates)
    loaded = load_classification(root / "select-svhn", Preparation(8))
    assert loaded.labels.tolist() == list(range(10))
    for label, pixels in enumerate(loaded.images):
        (path,) = (source / "test" / str(label)).iterdir()
        assert np.array_equal(pixels, np.asarray(Image.open(path)))
    kept = {name for sample in samples(root / "select-svhn", "test") for name in sample.members}
    assert kept == {"png", "cls"}


def test_the_same_source_gives_the_same_bytes_and_a_lock_that_verifies(tmp_path: Path) -> None:
    TORCHVISION["EuroSAT"](tmp_path / "source", Pen())
    first, second = (prepare("select-eurosat", tmp_path / "source", tmp_path / name) for name in ("a", "b"))
    assert first.lock == second.lock
    item = EvaluationSet("select-eurosat", Origin.ELSEWHERE, tasks=("transfer-eurosat",))
    assert verify_sets([item], tmp_path / "a")[0].finding is Finding.SOUND
    jpg = next((tmp_path / "source").rglob("*.jpg")).read_bytes()
    stored = [
        sample.members["jpg"]
        for part in ("train", "test")
        for sample in samples(tmp_path / "a" / "select-eurosat", part)
    ]
    assert jpg in stored  # the file's own bytes, not pixels encoded again
    shard = tmp_path / "a" / "select-eurosat" / "test" / "0.tar"
    shard.write_bytes(shard.read_bytes().replace(b"s0000000", b"s0000009"))
    assert verify_sets([item], tmp_path / "a")[0].finding is Finding.DIFFERENT


@pytest.mark.parametrize(("images", "size", "shards"), [(3, 10**9, 11), (10**6, 1, 32)])
def test_shards_are_closed_by_images_and_by_bytes(
    images: int, size: int, shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TORCHVISION["EuroSAT"](tmp_path / "source", Pen())
    monkeypatch.setattr("competition.evalsets.preparing.prepare.SHARD_IMAGES", images)
    monkeypatch.setattr("competition.evalsets.preparing.prepare.SHARD_BYTES", size)
    prepare("select-eurosat", tmp_path / "source", tmp_path / "sets")
    assert (tmp_path / "sets" / "select-eurosat" / "train" / "nshards.txt").read_text() == str(shards)
    made = samples(tmp_path / "sets" / "select-eurosat", "train")
    assert [sample.key for sample in made] == [f"s{number:07d}" for number in range(32)]


def test_a_source_of_another_size_is_refused_unless_it_is_wanted(tmp_path: Path) -> None:
    TORCHVISION["DTD"](tmp_path / "source", Pen())
    words = ("evalsets", "prepare", "genbench-dtd", "--source", tmp_path / "source", "--data-dir", tmp_path / "sets")
    assert "The part train of genbench-dtd has 47 images instead of 1,880." in refused(*words).err
    assert list((tmp_path / "sets").iterdir()) == []
    made = typed(*words, "--any-size", "--json")
    assert json.loads(made.out)["images"] == {"train": 47, "val": 47, "test": 47}
    assert "is there already" in refused(*words, "--any-size").err


def test_nothing_is_downloaded_unless_it_is_asked_for(tmp_path: Path) -> None:
    words = ("evalsets", "prepare", "--source", tmp_path / "empty", "--data-dir", tmp_path / "sets")
    result = refused(*words, "select-dtd")
    assert "torchvision finds no DTD (train) in" in result.err
    assert "--download" in result.err
    assert "--download is torchvision's" in refused(*words, "simcore-birds", "--download").err
    assert "images.txt is not there" in refused(*words, "simcore-birds").err
    assert "is not prepared from food-11" in refused(*words, "simcore-birds", "--format", "food-11").err
    assert "There is no recipe for an evaluation set 'dtd'" in refused(*words, "dtd").err


def test_a_source_of_other_classes_or_a_broken_image_is_refused(tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "sets"
    TORCHVISION["EuroSAT"](source, Pen())
    broken = source / "eurosat" / "2750" / "Land3" / "Land3_1.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataFormatError, match=r"Land3_1\.jpg cannot be decoded"):
        prepare("select-eurosat", source, root)
    broken.write_bytes(whole)
    shutil.rmtree(broken.parent)
    with pytest.raises(DataFormatError, match="has 9 classes instead of 10"):
        prepare("select-eurosat", source, root)
    assert not (root / "select-eurosat").exists()


def test_every_set_of_the_three_systems_has_a_recipe_with_a_class_that_exists() -> None:
    wanted = {
        task.dataset
        for suite in all_suites().values()
        for task in suite.tasks
        if task.dataset.split("-")[0] in {"select", "simcore", "genbench"}
    }
    assert {recipe.name for recipe in RECIPES} == wanted | {"winogavil"}
    assert len(RECIPES) == 11 + 11 + 22 + 1
    for recipe in RECIPES:
        assert (recipe.format is Format.TORCHVISION) == bool(recipe.dataset)
        if recipe.dataset:
            assert issubclass(getattr(torchvision.datasets, recipe.dataset), torch.utils.data.Dataset)
    assert stated_sizes(find_recipe_of_set("simcore-birds")) == {"train": 5990, "test": 5790}
    assert stated_sizes(find_recipe_of_set("select-sun397"))["test"] == 108_754 - int(0.8 * 108_754)


def test_images_that_are_too_large_are_not_decoded(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("L", (9_000, 8_000)).save(stream, format="PNG")
    for c in range(10):
        path = tmp_path / "source" / "test" / str(c) / "a.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(stream.getvalue())
        Pen().write(tmp_path / "source" / "train" / str(c) / "a.png")
    with pytest.raises(DataFormatError, match="has 9000 x 8000 pixels"):
        prepare("select-svhn", tmp_path / "source", tmp_path / "sets", format=Format.IMAGE_FOLDER)
