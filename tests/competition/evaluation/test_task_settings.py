"""What a task sets: the size of its test images, the part that they lie in, and what a probe is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn

from competition.errors import EvaluationError
from competition.evaluation import classification, robustness, zeroshot
from competition.evaluation.entry_images import open_entry_images
from competition.evaluation.features import LabelledFeatures
from competition.evaluation.fixed_models import CLIP_B32
from competition.evaluation.image_encoders import ImageEncoder, PixelStatistics
from competition.evaluation.image_models import build_image_model
from competition.evaluation.images import Preparation
from competition.evaluation.linear_probe.protocols import Elevater, elevater
from competition.evaluation.multilabel import load_multilabel
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols import Case, Subject, run_protocol
from competition.evaluation.sets import load_classification
from competition.rules import Protocol, Task
from competition.rules.recipes import Backbone
from tests.competition.evaluation import entries
from tests.competition.evaluation.test_probe_protocols import write_multilabel
from tests.competition.evaluation.test_shifted_sets import (
    LABELS,
    MODEL,
    SUBSET,
    write_corrupted,
    write_objectnet,
    write_subset,
)
from tests.competition.evaluation.tiny_models import CPU, assert_same, image_model, picture, write_image, write_lines

CUT = {"size": 24, "resize": 28, "interpolation": "bilinear"}
SIZE = 32
LARGE = {"size": 40, "interpolation": "bilinear"}


def task(protocol: Protocol, metric: str, **settings: object) -> Task:
    return Task.model_validate(
        {"id": "t", "title": "T", "protocol": protocol, "dataset": "s", "metric": metric, "settings": settings}
    )


def run(encoder: ImageEncoder, asked: Task, folder: Path, cache: Path | None = None) -> ProtocolOutcome:
    return run_protocol(Subject(encoder), Case(asked, folder, cache))


def drawn(prepare: Preparation, first: int = 0, per_class: int = 6) -> np.ndarray:
    """The pictures of ``write_subset``."""
    return np.stack(
        [prepare(picture(100 * label + number + first)) for label in range(len(SUBSET)) for number in range(per_class)]
    )


def test_a_head_is_tested_at_the_tasks_size(tmp_path: Path) -> None:
    folder, _, labels = write_subset(tmp_path / "s")
    encoder = image_model(len(SUBSET))
    found = run(encoder, task(Protocol.CLASSIFICATION, "acc1", **CUT), folder, tmp_path / "cache")
    logits = encoder.class_logits(drawn(Preparation(24, resize=28, interpolation="bilinear")))
    assert_same(found, classification.score(logits, labels))
    own = encoder.class_logits(drawn(encoder.preparation))
    assert (own.argmax(axis=1) != logits.argmax(axis=1)).any(), "the size matters for these pictures"
    assert_same(
        run(encoder, task(Protocol.CLASSIFICATION, "acc1"), folder, tmp_path / "cache"),
        classification.score(own, labels),
    )


def test_a_head_on_a_subset_is_tested_at_the_tasks_size(tmp_path: Path) -> None:
    folder, _, labels = write_subset(tmp_path / "s")
    encoder = image_model(len(MODEL))
    found = run(encoder, task(Protocol.CLASSIFICATION_OF_SUBSET, "acc1", **CUT), folder)
    logits = encoder.class_logits(drawn(Preparation(24, resize=28, interpolation="bilinear")))
    assert_same(found, robustness.masked(logits, labels, [3, 2, 6, 0]))


def test_objectnet_and_imagenet_c_are_brought_to_the_tasks_size_whole(tmp_path: Path) -> None:
    folder, _ = write_objectnet(tmp_path / "objectnet")
    encoder = image_model(len(LABELS))
    found = run(encoder, task(Protocol.CLASSIFICATION_OBJECTNET, "acc1", **LARGE), folder)
    prepare = Preparation(40, interpolation="bilinear")
    seeds = [10 * place + number for place in (1, 2, 3) for number in range(5)]
    pictures = np.stack([prepare(picture(seed, (48, 40))) for seed in seeds])
    mapping = [2, -1, 1, 0, 2, 1, -1]
    assert_same(found, robustness.objectnet(encoder.class_logits(pictures), np.repeat([0, 1, 2], 5), mapping))

    folder = write_corrupted(tmp_path / "imagenet-c", per_class=1)
    encoder = image_model(len(MODEL))
    found = run(encoder, task(Protocol.CLASSIFICATION_CORRUPTED, "acc1", **LARGE), folder)
    answers = encoder.class_logits(np.stack([prepare(picture(seed)) for seed in range(1, 226)])).argmax(axis=1)
    right = answers.reshape(75, 3) == [1, 5, 2]
    assert found.metrics["acc1"] == pytest.approx(right.mean())


def transformer(**options: object) -> ImageEncoder:
    given = {"img_size": SIZE, "patch_size": 8, "depth": 1, "embed_dim": 16, "num_heads": 2, **options}
    model = build_image_model(Backbone.model_validate({"name": "vit_tiny_patch16_224", "options": given}), 4, 3)
    return ImageEncoder(model, Preparation(SIZE), PixelStatistics((0.5,) * 3, (0.5,) * 3), CPU)


def test_a_transformer_of_another_size_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder, _, _ = write_subset(tmp_path / "s", per_class=1)
    asked = task(Protocol.CLASSIFICATION, "acc1", **LARGE)
    with pytest.raises(EvaluationError, match=r"for images of 32 x 32 pixels, and the task has images of 40 x 40"):
        run(transformer(), asked, folder)
    assert run(transformer(dynamic_img_size=True), asked, folder).samples == 4
    assert run(transformer(), task(Protocol.CLASSIFICATION, "acc1", size=SIZE), folder).samples == 4


def published(folder: Path, part: str | None) -> Path:
    """Class folders as ImageNet is published: one class has no image in the part that is tested."""
    base = folder / part if part else folder
    for label, name in enumerate(SUBSET):
        for number in range(3):
            if name != "n05":
                write_image(base / name / f"{number}.png", picture(100 * label + number))
    for name in SUBSET:
        write_image(folder / "train" / name / "0.png", picture(9))
    write_lines(folder / "model_classes.txt", MODEL)
    return folder


@pytest.mark.parametrize("protocol", [Protocol.CLASSIFICATION, Protocol.CLASSIFICATION_OF_SUBSET])
def test_published_validation_images_are_read_where_the_task_says_so(protocol: Protocol, tmp_path: Path) -> None:
    folder = published(tmp_path / "s", "val")
    encoder = image_model(len(MODEL) if protocol is Protocol.CLASSIFICATION_OF_SUBSET else len(SUBSET))
    with pytest.raises(EvaluationError, match="has no part 'test'") as failed:
        run(encoder, task(protocol, "acc1"), folder)
    assert "`part: val`" in failed.value.hint
    found = run(encoder, task(protocol, "acc1", part="val"), folder)
    assert found.samples == 9
    assert_same(found, run(encoder, task(protocol, "acc1"), published(tmp_path / "named", "test")))


def test_a_part_is_that_of_shards_too_and_is_never_guessed(tmp_path: Path) -> None:
    folder = entries.write_set(tmp_path / "s", entries.spread(12), seed=1)
    other = entries.write_set(tmp_path / "other", entries.spread(18), seed=2)
    (other / "test").rename(folder / "val")
    encoder = entries.image_model()
    assert run(encoder, task(Protocol.CLASSIFICATION, "acc1"), folder).samples == 12
    assert run(encoder, task(Protocol.CLASSIFICATION, "acc1", part="val"), folder).samples == 18
    images = open_entry_images(entries.write_shards(tmp_path / "entry", entries.spread(12)))
    subject = Subject(images=images, fixed=entries.tiny_models())
    asked = task(Protocol.CLER, "centres", part="val")
    assert run_protocol(subject, Case(asked, folder)).samples == 18


def test_classes_of_an_entry_are_folders_of_the_part_that_is_tested(tmp_path: Path) -> None:
    """Readable names beside WordNet ids, as ImageNet's: the entry's folders are called as the set's."""
    folder = tmp_path / "s"
    for name in ("n01", "n02"):
        for number in range(3):
            write_image(folder / "val" / name / f"{number}.png", picture(number))
            write_image(tmp_path / "entry" / name / f"{number}.png", picture(number))
    write_lines(folder / "classnames.txt", ["ant", "bee"])
    subject = Subject(images=open_entry_images(tmp_path / "entry"))
    found = run_protocol(subject, Case(task(Protocol.CLASS_STATISTICS, "coverage_classes", part="val"), folder))
    assert found.metrics["coverage_classes"] == 2


def raw(entry: Path, test: tuple[np.ndarray, np.ndarray]) -> tuple[LabelledFeatures, LabelledFeatures]:
    """Features of the fixed CLIP at their lengths, read in another way: of the entry and of the test images."""
    encoder = entries.tiny_models().clip(CLIP_B32)
    images = open_entry_images(entry)
    pixels, _ = images.pixels(encoder.preparation, None)
    return (
        LabelledFeatures(encoder.raw_image_features(pixels), images.labels),
        LabelledFeatures(encoder.raw_image_features(test[0]), test[1]),
    )


@pytest.mark.parametrize("protocol", [Protocol.LINEAR_PROBE, Protocol.LINEAR_PROBE_ELEVATER])
def test_genbenchs_probe_is_trained_on_the_entrys_images(protocol: Protocol, tmp_path: Path) -> None:
    folder = entries.write_set(tmp_path / "s", entries.spread(24))
    entry = entries.write_shards(tmp_path / "entry", entries.spread(36))
    encoder = entries.tiny_models().clip(CLIP_B32)
    data = load_classification(folder, encoder.preparation)
    asked = task(protocol, "acc1", train="entry")
    assert asked.needs_images
    assert not task(protocol, "acc1").needs_images
    subject = Subject(images=open_entry_images(entry), fixed=entries.tiny_models())  # no model of the entry's own
    found = run_protocol(subject, Case(asked, folder, tmp_path / "cache"))
    settings = Elevater("acc1", peeking=protocol is Protocol.LINEAR_PROBE_ELEVATER)
    weights = zeroshot.text_classifier(encoder, data.class_names, data.templates)
    train, test = raw(entry, (data.images, data.labels))
    expected = elevater(train, test, entries.CLASSES, settings, text_weights=weights).outcome
    assert_same(found, expected)
    assert found.metrics["acc1"] is not None
    assert found.metrics["acc1"] > 1 / entries.CLASSES, "brightness says the class, even to a model of fresh weights"
    with pytest.raises(EvaluationError, match="--entry-data") as failed:
        run_protocol(Subject(entries.image_model(), fixed=entries.tiny_models()), Case(asked, folder))
    assert "they are not given" in failed.value.message


def test_images_of_one_class_each_teach_where_test_images_show_several(tmp_path: Path) -> None:
    folder = write_multilabel(tmp_path / "s", "test", 30, 1)
    labels = [number % 3 for number in range(24)]
    entry = entries.write_class_folders(tmp_path / "entry", labels, names=("red", "green", "blue"))
    encoder = entries.tiny_models().clip(CLIP_B32)
    subject = Subject(images=open_entry_images(entry), fixed=entries.tiny_models())
    found = run_protocol(subject, Case(task(Protocol.LINEAR_PROBE, "map11", train="entry"), folder))
    data = load_multilabel(folder, encoder.preparation)
    train, test = raw(entry, (data.images, data.labels))
    places = np.array([2, 1, 0])[train.labels]  # class folders are sorted: blue, green, red
    train = LabelledFeatures(train.features, np.eye(3, dtype=np.int64)[places])
    weights = zeroshot.text_classifier(encoder, data.class_names, data.templates)
    assert_same(found, elevater(train, test, 3, Elevater("map11"), text_weights=weights).outcome)


def test_a_class_without_an_image_of_the_entrys_is_named(tmp_path: Path) -> None:
    folder = entries.write_set(tmp_path / "s", entries.spread(12))
    entry = entries.write_shards(tmp_path / "entry", [label for label in entries.spread(24) if label != 3])
    subject = Subject(images=open_entry_images(entry), fixed=entries.tiny_models())
    with pytest.raises(EvaluationError, match=r"has no image of class 'level 3' \(1 of 6"):
        run_protocol(subject, Case(task(Protocol.LINEAR_PROBE, "acc1", train="entry"), folder))


def test_imagenet_o_is_told_from_imagenets_images_of_its_classes(tmp_path: Path) -> None:
    folder = tmp_path / "imagenet-o"
    for part, first in (("test", 0), ("val", 50)):
        for label, name in enumerate(SUBSET):
            for number in range(6):
                write_image(folder / part / name / f"{number}.png", picture(100 * label + number + first))
    write_lines(folder / "model_classes.txt", MODEL)
    encoder = image_model(len(MODEL))
    found = run(encoder, task(Protocol.CLASSIFICATION_OF_SUBSET, "aupr"), folder)
    logits = [encoder.class_logits(drawn(encoder.preparation, first))[:, [3, 2, 6, 0]] for first in (0, 50)]
    doubt = [-nn.functional.softmax(torch.from_numpy(part).double(), dim=1).amax(dim=1).numpy() for part in logits]
    expected = average_precision_score(np.repeat([1, 0], 24), np.concatenate(doubt))
    assert found.metrics == {"aupr": pytest.approx(expected)}
    assert found.samples == 24
    assert expected not in (0.5, 1.0)
    for path in (folder / "val").rglob("*.png"):
        path.unlink()
    with pytest.raises(EvaluationError, match="holds no image"):
        run(encoder, task(Protocol.CLASSIFICATION_OF_SUBSET, "aupr"), folder)
