"""Folders of images as evaluation sets: which image has which label, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from competition.data.shards import write_samples
from competition.errors import EvaluationError
from competition.evaluation.image_folder import (
    is_image_folder,
    list_image_folder,
    load_image_folder,
    read_image_folder,
)
from competition.evaluation.images import Preparation
from competition.evaluation.sets import load_classification
from tests.competition.evalsets.digits_folders import Pen, lines


def made(folder: Path, parts: dict[str, list[str]], per_class: int = 2) -> Path:
    """Digits in class folders; ``""`` is the part of a set without parts."""
    pen = Pen()
    for part, names in parts.items():
        for name in names:
            for number in reversed(range(per_class)):
                pen.write(folder / part / name / f"{number}.png")
    lines(folder / "zeroshot_classification_templates.txt", ["a photo of {c}."])
    return folder


def labels(folder: Path, part: str = "test") -> dict[str, int]:
    """The label of every class folder of a part."""
    listing = list_image_folder(folder, part)
    return {path.parent.name: int(label) for path, label in zip(listing.images, listing.labels, strict=True)}


def test_classes_and_images_are_torchvisions(tmp_path: Path) -> None:
    folder = made(tmp_path, {"test": ["b", "a", "C", "a b", "é"]})
    Pen().write(folder / "test" / "a" / "deeper" / "1.JPG")
    (folder / "test" / "a" / "Thumbs.db").write_bytes(b"not an image")
    (folder / "test" / "a" / ".hidden.png").write_bytes(b"nor this")
    listing = list_image_folder(folder)
    theirs = torchvision.datasets.ImageFolder(str(folder / "test"))
    wanted = {(str(path), label) for path, label in theirs.samples if not Path(path).name.startswith(".")}
    assert {(str(path), label) for path, label in zip(listing.images, listing.labels.tolist(), strict=True)} == wanted
    assert list(listing.class_names) == theirs.classes
    assert len(listing.images) == 11


def test_folders_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    """ImageNetV2's, which sorting as text (torchvision's) would give other labels."""
    names = [str(number) for number in range(12)]
    folder = made(tmp_path, {"": names})
    assert labels(folder) == {name: int(name) for name in names}
    lines(folder / "classnames.txt", [f"class {name}" for name in names])
    assert list_image_folder(folder).class_names[10] == "class 10"


def test_a_class_without_an_image_in_one_part_shifts_no_label(tmp_path: Path) -> None:
    folder = made(tmp_path, {"train": ["a", "b", "c"], "test": ["a", "c"]})
    assert labels(folder, "train") == {"a": 0, "b": 1, "c": 2}
    assert labels(folder) == {"a": 0, "c": 2}
    assert list_image_folder(folder).class_names == ("a", "b", "c")


def test_class_names_that_are_folders_give_their_order(tmp_path: Path) -> None:
    folder = made(tmp_path, {"test": ["a", "b", "c"]})
    lines(folder / "classnames.txt", ["c", "a", "d", "b"])
    assert labels(folder) == {"c": 0, "a": 1, "b": 3}
    lines(folder / "classnames.txt", ["sea", "lake", "pond"])
    assert labels(folder) == {"a": 0, "b": 1, "c": 2}
    assert list_image_folder(folder).class_names == ("sea", "lake", "pond")
    lines(folder / "classnames.txt", ["sea", "lake"])
    with pytest.raises(EvaluationError, match="names 2 classes, and there are 3 folders"):
        list_image_folder(folder)


def test_the_same_set_as_shards_is_the_same(tmp_path: Path) -> None:
    folder = made(tmp_path / "folder", {"test": ["one", "two", "three"]}, per_class=3)
    loaded = load_image_folder(folder, Preparation(6))
    shards = tmp_path / "shards"
    (shards / "test").mkdir(parents=True)
    samples = [
        type(sample)(f"s{row:03d}", sample.members)
        for row, sample in enumerate(read_image_folder(list_image_folder(folder)))
    ]
    write_samples(shards / "test" / "0.tar", samples)
    (shards / "test" / "nshards.txt").write_text("1")
    lines(shards / "classnames.txt", list(loaded.class_names))
    lines(shards / "zeroshot_classification_templates.txt", list(loaded.templates))
    same = load_classification(shards, Preparation(6))
    assert np.array_equal(same.images, loaded.images)
    assert same.labels.tolist() == loaded.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert (same.class_names, same.templates) == (loaded.class_names, loaded.templates)
    assert loaded.class_names == ("one", "three", "two")
    (folder / "zeroshot_classification_templates.txt").unlink()
    assert load_image_folder(folder, Preparation(6), prompts=False).templates == ()
    assert is_image_folder(folder)
    assert not is_image_folder(shards)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("part", "has no part 'val'"),
        ("empty", "holds no image of its class"),
        ("one", "has 1 folders of classes"),
        ("ppm", "in a format that evaluations do not read"),
        ("broken", "cannot be used"),
        ("template", "has no slot {c}"),
        ("no templates", "cannot be read from"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, damage: str, words: str) -> None:
    folder = made(tmp_path, {"test": ["a"] if damage == "one" else ["a", "b"]})
    templates = folder / "zeroshot_classification_templates.txt"
    if damage == "empty":
        (folder / "test" / "c").mkdir()
    elif damage == "ppm":
        Image.new("RGB", (4, 4)).save(folder / "test" / "a" / "x.ppm")
    elif damage == "broken":
        (folder / "test" / "a" / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    elif damage == "template":
        lines(templates, ["a photo"])
    elif damage == "no templates":
        templates.unlink()
    with pytest.raises(EvaluationError) as failed:
        load_image_folder(folder, Preparation(8), "val" if damage == "part" else "test")
    assert words in failed.value.message
