"""Heads on ImageNet-A, -R and -O, ObjectNet and ImageNet-C: sets as they are published, on tiny pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from competition.data.shards import Sample, write_samples
from competition.errors import EvaluationError, LabelRangeError
from competition.evaluation import robustness
from competition.evaluation.images import Preparation
from competition.evaluation.model_classes import output_names, outputs_of
from competition.rules import Protocol
from competition.rules.protocols import METRICS
from tests.competition.evaluation.tiny_models import (
    SIZE,
    assert_same,
    clip_model,
    evaluated,
    image_model,
    picture,
    png,
    write_image,
    write_json,
    write_lines,
)

MODEL = ("n07", "n01", "n05", "n02", "n04", "n03", "n06")
SUBSET = ("n02", "n05", "n06", "n07")


def write_subset(folder: Path, per_class: int = 6) -> tuple[Path, np.ndarray, np.ndarray]:
    """ImageNet-A's layout, with its pictures [N, S, S, 3] and labels [N]."""
    pictures, labels = [], []
    for label, name in enumerate(SUBSET):
        for number in range(per_class):
            drawn = picture(100 * label + number)
            write_image(folder / name / f"{number}.png", drawn)
            pictures.append(Preparation(SIZE, resize=36)(drawn))
            labels.append(label)
    write_lines(folder / "model_classes.txt", MODEL)
    return folder, np.stack(pictures), np.array(labels)


def write_shards(folder: Path, names: tuple[str, ...], labels: list[int]) -> Path:
    (folder / "test").mkdir(parents=True)
    samples = [
        Sample(f"{place:04d}", {"png": png(picture(place)), "cls": str(label).encode()})
        for place, label in enumerate(labels)
    ]
    write_samples(folder / "test" / "0.tar", iter(samples))
    (folder / "test" / "nshards.txt").write_text("1")
    write_lines(folder / "classnames.txt", names)
    return folder


def test_only_the_sets_classes_may_be_answered(tmp_path: Path) -> None:
    folder, pictures, labels = write_subset(tmp_path / "imagenet-a")
    encoder = image_model(len(MODEL))
    found = evaluated(encoder, Protocol.CLASSIFICATION_OF_SUBSET, folder, tmp_path / "cache")
    logits = encoder.class_logits(pictures)
    assert_same(found, robustness.masked(logits, labels, [3, 2, 6, 0]))
    free = np.array([3, 2, 6, 0])[labels] == logits.argmax(axis=1)
    assert found.metrics["acc1"] != free.mean()  # the mask matters for these pictures
    assert found.metrics["acc5"] is None
    assert set(METRICS[Protocol.CLASSIFICATION_OF_SUBSET]) - {"aupr"} <= set(found.metrics)


def test_the_second_time_nothing_is_decoded(tmp_path: Path) -> None:
    folder, _, _ = write_subset(tmp_path / "imagenet-a")
    encoder, cache = image_model(len(MODEL)), tmp_path / "cache"
    first = evaluated(encoder, Protocol.CLASSIFICATION_OF_SUBSET, folder, cache)
    decoded = list(cache.glob("*.npy"))
    assert len(decoded) == 1
    before = decoded[0].stat().st_mtime_ns
    assert_same(evaluated(image_model(len(MODEL)), Protocol.CLASSIFICATION_OF_SUBSET, folder, cache), first)
    assert [path.stat().st_mtime_ns for path in cache.glob("*.npy")] == [before]


def test_classes_of_shards_are_the_lines_of_their_names(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "s", ("cat", "ant"), [0, 1, 1, 0, 1])
    write_lines(folder / "model_classes.txt", ["ant", "bee", "cat"])
    encoder = image_model(3)
    found = evaluated(encoder, Protocol.CLASSIFICATION_OF_SUBSET, folder)
    pictures = np.stack([Preparation(SIZE, resize=36)(picture(place)) for place in range(5)])
    assert_same(found, robustness.masked(encoder.class_logits(pictures), [0, 1, 1, 0, 1], [2, 0]))


def test_a_thousand_outputs_are_imagenets_in_wordnets_order(tmp_path: Path) -> None:
    names = output_names(1000, tmp_path)
    assert names[0] == "n01440764"
    assert names[-1] == "n15075141"
    assert list(names) == sorted(names)
    assert outputs_of(1000, tmp_path, ["n15075141", "n01443537"]).tolist() == [999, 1]
    write_lines(tmp_path / "model_classes.txt", [*reversed(names)])
    assert outputs_of(1000, tmp_path, ["n15075141", "n01443537"]).tolist() == [0, 998]


@pytest.mark.parametrize(("name", "first", "last"), [("a", 6, 988), ("r", 1, 988)])
def test_datacomps_sets_have_readable_names_in_wordnets_order(name: str, first: int, last: int, tmp_path: Path) -> None:
    """The first and the last of ImageNet-A's and -R's 200 classes: stingray and acorn, goldfish and acorn."""
    folder = tmp_path / f"wds_imagenet-{name}_test"
    outputs = outputs_of(1000, folder, [f"class {number}" for number in range(200)])
    assert (outputs[0], outputs[-1], len(set(outputs.tolist()))) == (first, last, 200)
    with pytest.raises(EvaluationError, match="has 199 classes instead of 200"):
        outputs_of(1000, folder, [f"class {number}" for number in range(199)])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("no names", "nothing says which of them"),
        ("fewer names", "names 6 classes, and the model knows 7"),
        ("other class", "lacks 1 classes of the evaluation set, first of all 'n08'"),
        ("empty names", "it holds no classes of the model"),
        ("not text", "classes of the model of an evaluation set cannot be read"),
        ("no image", "holds no image of its class"),
        ("broken image", "set imagenet-a is damaged: 1 of [0-9]+ images cannot be used, first 'n05/1.png'"),
    ],
)
def test_damage_of_a_subset_is_said(damage: str, says: str, tmp_path: Path) -> None:
    folder, _, _ = write_subset(tmp_path / "imagenet-a", per_class=2)
    names = folder / "model_classes.txt"
    match damage:
        case "no names":
            names.unlink()
        case "fewer names":
            write_lines(names, MODEL[:-1])
        case "other class":
            write_image(folder / "n08" / "0.png", picture(0))
        case "empty names":
            names.write_text("\n \n")
        case "not text":
            names.write_bytes(b"\xff\xfe\x00")
        case "no image":
            (folder / "n01").mkdir()
        case "broken image":
            (folder / "n05" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(EvaluationError, match=says):
        evaluated(image_model(len(MODEL)), Protocol.CLASSIFICATION_OF_SUBSET, folder, tmp_path / "cache")


SHIFTED = (
    Protocol.CLASSIFICATION_OF_SUBSET,
    Protocol.CLASSIFICATION_OBJECTNET,
    Protocol.CLASSIFICATION_CORRUPTED,
)


@pytest.mark.parametrize("protocol", SHIFTED)
def test_models_without_classes_of_their_own(protocol: Protocol, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no classes of its own"):
        evaluated(clip_model(), protocol, tmp_path)
    with pytest.raises(EvaluationError, match="no classifier"):
        evaluated(image_model(0), protocol, tmp_path)
    with pytest.raises(EvaluationError, match="asks a model"):
        evaluated(None, protocol, tmp_path)


LABELS = ("quill", "dog", "throne", "park bench", "ballpoint, ballpen", "rocking chair", "cat")
"""Of the model's outputs."""
MAPPINGS = (
    "mappings/folder_to_objectnet_label.json",
    "mappings/objectnet_to_imagenet_1k.json",
    "mappings/pytorch_to_imagenet_2012_id.json",
    "mappings/imagenet_to_label_2012_v2",
)
OBJECTS = {"pen": "Pen", "air_freshener": "Air freshener", "bench": "Bench", "chair": "Chair"}
SHARED = {"Pen": "ballpoint, ballpen; quill", "Bench": "park bench", "Chair": "rocking chair; throne"}


def write_objectnet(folder: Path, per_class: int = 5) -> tuple[Path, np.ndarray]:
    """Its published layout, and the pictures [N, S, S, 3] of shared classes without their borders."""
    pictures = []
    for place, name in enumerate(sorted(OBJECTS)):
        for number in range(per_class):
            write_image(folder / "images" / name / f"{number}.png", picture(10 * place + number, (48, 40), border=2))
            if OBJECTS[name] in SHARED:
                pictures.append(Preparation(SIZE)(picture(10 * place + number, (48, 40))))
    lines = [*LABELS[3:], *LABELS[:3]]
    write_json(folder / MAPPINGS[0], OBJECTS)
    write_json(folder / MAPPINGS[1], SHARED)
    write_json(folder / MAPPINGS[2], {str(output): lines.index(label) for output, label in enumerate(LABELS)})
    write_lines(folder / MAPPINGS[3], lines)
    return folder, np.stack(pictures)


def test_objectnet_without_its_border_and_by_its_mapping(tmp_path: Path) -> None:
    folder, pictures = write_objectnet(tmp_path / "objectnet")
    (folder / "images" / "air_freshener" / "broken.png").write_bytes(b"not read: ImageNet lacks its class")
    encoder = image_model(len(LABELS))
    found = evaluated(encoder, Protocol.CLASSIFICATION_OBJECTNET, folder, tmp_path / "cache")
    labels = np.repeat([0, 1, 2], 5)  # bench, chair, pen
    assert_same(found, robustness.objectnet(encoder.class_logits(pictures), labels, [2, -1, 1, 0, 2, 1, -1]))
    assert found.samples == 15
    assert 0 < found.metrics["acc1_known"] < 1
    (decoded,) = (tmp_path / "cache").glob("*.npy")
    assert np.array_equal(np.load(decoded).transpose(0, 2, 3, 1), pictures)


def places(outputs: int = 7) -> dict[str, int]:
    return {str(output): output for output in range(outputs)}


OBJECTNET_DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no images": (lambda folder: (folder / "images").rename(folder / "pictures"), "is not there"),
    "no folder": (
        lambda folder: (folder / "images" / "chair").rename(folder / "chair"),
        "lacks the folders of 1 classes, first of all 'chair'",
    ),
    "unknown folder": (
        lambda folder: write_image(folder / "images" / "desk" / "0.png", picture(0)),
        "say nothing of its folder 'desk'",
    ),
    "no mapping": (lambda folder: (folder / MAPPINGS[0]).unlink(), "folder_to_objectnet_label.json"),
    "no json": (lambda folder: (folder / MAPPINGS[1]).write_text("[" * 100_000), "imagenet_1k.json is no JSON"),
    "a list": (lambda folder: write_json(folder / MAPPINGS[0], ["pen"]), "objectnet_label.json is no JSON object"),
    "a number": (lambda folder: write_json(folder / MAPPINGS[1], {"Pen": 3}), "which is no name"),
    "no line": (lambda folder: write_json(folder / MAPPINGS[2], places() | {"6": 99}), "for output 6, but 99"),
    "other outputs": (
        lambda folder: write_json(folder / MAPPINGS[2], {"0": 0, "1": 1, "3": 3}),
        "for output 2, but None",
    ),
    "fewer outputs": (
        lambda folder: write_json(folder / MAPPINGS[2], places(6)),
        "for models of 6 classes, and the model knows 7",
    ),
    "no labels": (lambda folder: (folder / MAPPINGS[3]).unlink(), "imagenet_to_label_2012_v2"),
    "other labels": (
        lambda folder: write_lines(folder / MAPPINGS[3], [f"label {place}" for place in range(7)]),
        "which not just one output is",
    ),
    "broken image": (
        lambda folder: (folder / "images" / "pen" / "0.png").write_bytes(b"nothing"),
        "set objectnet is damaged: 1 of [0-9]+ images cannot be used, first 'images/pen/0.png'",
    ),
    "all border": (
        lambda folder: write_image(folder / "images" / "pen" / "0.png", Image.new("RGB", (4, 90))),
        "nothing but the border",
    ),
}


@pytest.mark.parametrize("damage", OBJECTNET_DAMAGE)
def test_damage_of_objectnet_is_said(damage: str, tmp_path: Path) -> None:
    folder, _ = write_objectnet(tmp_path / "objectnet", per_class=1)
    harm, says = OBJECTNET_DAMAGE[damage]
    harm(folder)
    with pytest.raises(EvaluationError, match=says):
        evaluated(image_model(len(LABELS)), Protocol.CLASSIFICATION_OBJECTNET, folder, tmp_path / "cache")


def write_corrupted(folder: Path, per_class: int = 2) -> Path:
    """ImageNet-C's layout: 15 corruptions at 5 severities of three classes' pictures, all different."""
    seed = 0
    for corruption in robustness.ALEXNET_ERRORS:
        for severity in robustness.SEVERITIES:
            for name in ("n01", "n03", "n05"):
                for number in range(per_class):
                    seed += 1
                    write_image(folder / corruption / str(severity) / name / f"val_{number}.png", picture(seed))
    write_lines(folder / "model_classes.txt", MODEL)
    return folder


def test_imagenet_c_is_each_corruption_at_each_severity(tmp_path: Path) -> None:
    folder = write_corrupted(tmp_path / "imagenet-c")
    write_image(folder / "speckle_noise" / "1" / "n01" / "0.png", picture(0))  # published beside them, and not read
    encoder = image_model(len(MODEL))
    found = evaluated(encoder, Protocol.CLASSIFICATION_CORRUPTED, folder, tmp_path / "cache")
    seed, right = 0, {}
    for corruption in robustness.ALEXNET_ERRORS:
        for severity in robustness.SEVERITIES:
            pictures = np.stack([np.asarray(picture(seed + number)) for number in range(1, 7)])
            seed += 6
            answers = encoder.class_logits(pictures).argmax(axis=1)
            right[corruption, severity] = answers == np.repeat([1, 5, 2], 2)
    assert_same(found, robustness.imagenet_c(right))
    assert found.samples == 6
    assert 0 < found.metrics["acc1"] < 0.4
    assert "mce" not in found.components
    assert not list((tmp_path / "cache").glob("*.npy"))  # half a terabyte of the real one


def test_what_imagenet_c_lacks_is_named_before_any_image_is_read(tmp_path: Path) -> None:
    folder = write_corrupted(tmp_path / "imagenet-c", per_class=1)
    (folder / "gaussian_noise" / "1" / "n01" / "val_0.png").write_bytes(b"broken")
    (folder / "fog").rename(folder / "Fog")
    (folder / "snow" / "3").rename(folder / "snow" / "three")
    with pytest.raises(EvaluationError, match="lacks snow/3, fog/1, fog/2, fog/3, fog/4, fog/5") as failed:
        evaluated(image_model(len(MODEL)), Protocol.CLASSIFICATION_CORRUPTED, folder)
    assert "15 corruptions" in failed.value.hint
    with pytest.raises(EvaluationError, match="and 69 more"):
        evaluated(image_model(len(MODEL)), Protocol.CLASSIFICATION_CORRUPTED, tmp_path / "nothing")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("another image", "other images under fog/3 than under gaussian_noise/1, first of all 'n03/val_0.png'"),
        ("a class less", "other images under fog/3"),
        ("a broken image", "set imagenet-c is damaged: 1 of 3 images cannot be used, first 'fog/3/n03/val_0.png'"),
        ("no class", "holds no folder of a class"),
        ("no names", "nothing says which"),
        ("another class", "lacks 1 classes"),
    ],
)
def test_damage_of_imagenet_c_is_said(damage: str, says: str, tmp_path: Path) -> None:
    folder = write_corrupted(tmp_path / "imagenet-c", per_class=1)
    place = folder / "fog" / "3"
    match damage:
        case "another image":
            (place / "n03" / "val_0.png").rename(place / "n03" / "val_9.png")
        case "a class less":
            (place / "n05").rename(folder / "n05")
        case "a broken image":
            (place / "n03" / "val_0.png").write_bytes(b"broken")
        case "no class":
            for name in ("n01", "n03", "n05"):
                (folder / "gaussian_noise" / "1" / name).rename(folder / name)
        case "no names":
            (folder / "model_classes.txt").unlink()
        case "another class":
            write_image(folder / "gaussian_noise" / "1" / "n08" / "val_0.png", picture(0))
    with pytest.raises(EvaluationError, match=says) as failed:
        evaluated(image_model(len(MODEL)), Protocol.CLASSIFICATION_CORRUPTED, folder)
    if damage == "another class":
        assert isinstance(failed.value, LabelRangeError)
