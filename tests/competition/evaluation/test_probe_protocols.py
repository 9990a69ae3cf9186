"""Probes on sets: every metric is there, CLIP features keep their lengths, crops are other ones in each epoch."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from competition.data.shards import Sample, write_samples
from competition.errors import EvaluationError
from competition.evaluation import zeroshot
from competition.evaluation.encoders import normalise_pixels
from competition.evaluation.features import LabelledFeatures
from competition.evaluation.images import Preparation
from competition.evaluation.linear_probe.protocols import Elevater, SimCore, elevater, simcore
from competition.evaluation.multilabel import load_multilabel
from competition.evaluation.protocols.case import Encoder, Subject
from competition.evaluation.protocols.probes import CroppedViews
from competition.evaluation.run import evaluate_task
from competition.evaluation.sets import load_classification
from competition.rules import Protocol, Task, all_suites
from competition.rules.protocols import METRICS
from tests.competition.evaluation.test_protocols import CLASSES, SIZE, clip, image_model, run_protocol, write_set

ELEVATERS = (Protocol.LINEAR_PROBE, Protocol.LINEAR_PROBE_ELEVATER)


def task(protocol: Protocol, metric: str, **settings: object) -> Task:
    given = {"id": "t", "title": "T", "protocol": protocol, "dataset": "s", "metric": metric, "settings": settings}
    return Task.model_validate(given)


def both_parts(folder: Path, images: int = 90) -> Path:
    write_set(folder)
    return write_set(folder, count=images, split="train", seed=1)


def write_multilabel(folder: Path, split: str, count: int, seed: int) -> Path:
    """Noise in which each channel that is bright is a class; some images show none."""
    random = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        shown = random.random(3) < 0.4
        pixels = (random.integers(0, 90, (SIZE, SIZE, 3)) + 120 * shown).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        classes = " ".join(map(str, np.flatnonzero(shown))) or "-"
        samples.append(Sample(f"{number:04d}", {"png": stream.getvalue(), "cls": classes.encode()}))
    (folder / split).mkdir(parents=True)
    (folder / split / "nshards.txt").write_text("1")
    write_samples(folder / split / "0.tar", iter(samples))
    (folder / "classnames.txt").write_text("red\ngreen\nblue")
    (folder / "zeroshot_classification_templates.txt").write_text("{c} light")
    (folder / "dataset_type.txt").write_text("multilabel\n")
    return folder


def multilabel_set(folder: Path) -> Path:
    write_multilabel(folder, "test", 60, 0)
    return write_multilabel(folder, "train", 90, 1)


@pytest.mark.parametrize("metric", METRICS[Protocol.LINEAR_PROBE])
@pytest.mark.parametrize("protocol", ELEVATERS)
def test_every_metric_and_the_components_of_the_score(protocol: Protocol, metric: str, tmp_path: Path) -> None:
    found = run_protocol(image_model(), task(protocol, metric), both_parts(tmp_path / "s"), None)
    for name in METRICS[protocol]:
        assert found.metrics[name] is not None
    parts = found.components[metric]
    assert np.mean([part.mean() for part in parts]) == pytest.approx(found.metrics[metric])
    assert found.metrics[metric] > 1.5 / CLASSES


def test_the_original_reports_no_worse_an_epoch(tmp_path: Path) -> None:
    folder, encoder = both_parts(tmp_path / "s"), image_model()
    last, best = (run_protocol(encoder, task(protocol, "auc"), folder, None) for protocol in ELEVATERS)
    assert best.metrics["auc"] >= last.metrics["auc"]


@pytest.mark.parametrize("protocol", ELEVATERS)
def test_a_clip_model_is_probed_by_its_raw_features_from_its_text_classifier(
    protocol: Protocol, tmp_path: Path
) -> None:
    folder, encoder = both_parts(tmp_path / "s"), clip()
    found = run_protocol(encoder, task(protocol, "acc1"), folder, tmp_path / "cache")
    train, test = (load_classification(folder, encoder.preparation, None, part) for part in ("train", "test"))
    features = [LabelledFeatures(encoder.raw_image_features(part.images), part.labels) for part in (train, test)]
    settings = Elevater(peeking=protocol is Protocol.LINEAR_PROBE_ELEVATER)
    text = zeroshot.text_classifier(encoder, train.class_names, train.templates)
    expected = elevater(*features, CLASSES, settings, text_weights=text).outcome
    assert found.metrics == expected.metrics


def test_a_clip_model_needs_prompts_and_an_image_model_none(tmp_path: Path) -> None:
    folder = both_parts(tmp_path / "s")
    (folder / "zeroshot_classification_templates.txt").unlink()
    asked = task(Protocol.LINEAR_PROBE, "acc1", shots=5)
    assert run_protocol(image_model(), asked, folder, None).samples == 60
    with pytest.raises(EvaluationError, match="templates"):
        run_protocol(clip(), asked, folder, None)


def test_raw_features_are_the_models_and_cost_no_second_pass() -> None:
    encoder = clip()
    pixels = np.random.default_rng(0).integers(0, 256, (70, encoder.image_size, encoder.image_size, 3), np.uint8)
    seen: list[int] = []
    encoder._model.visual.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    units, raw = encoder.encode_images(pixels, key="a"), encoder.raw_image_features(pixels, key="a")
    assert sum(seen) == 70
    with torch.inference_mode():
        images = normalise_pixels(torch.from_numpy(pixels[:64]))
        assert raw[:64] == pytest.approx(encoder._model.encode_image(images).numpy(), rel=1e-5, abs=1e-6)
        assert np.array_equal(units[:64], encoder._model.encode_image(images, normalize=True).numpy())
    assert np.array_equal(encoder.raw_image_features(pixels), raw)


@pytest.mark.parametrize("metric", ["map11", "auc"])
@pytest.mark.parametrize("protocol", ELEVATERS)
def test_images_that_show_several_classes(protocol: Protocol, metric: str, tmp_path: Path) -> None:
    folder = multilabel_set(tmp_path / "s")
    found = run_protocol(image_model(), task(protocol, metric), folder, tmp_path / "cache")
    assert found.metrics[metric] > (0.9 if protocol is Protocol.LINEAR_PROBE else 0.8), "a softmax lets classes compete"
    assert found.metrics["acc1"] is None
    assert np.mean(found.components[metric][0]) == pytest.approx(found.metrics[metric])


def test_labels_of_several_classes(tmp_path: Path) -> None:
    folder = multilabel_set(tmp_path / "s")
    for _ in range(2):  # the second time from the cache
        data = load_multilabel(folder, Preparation(SIZE), tmp_path / "cache")
        bright = data.images.reshape(60, -1, 3).mean(axis=1) > 100
        assert np.array_equal(data.labels, bright)
        assert (data.labels.sum(axis=1) == 0).any()
        assert (data.labels.sum(axis=1) > 1).any()


@pytest.mark.parametrize(
    ("classes", "said"), [(b"", "not a number"), (b"0 x", "not a number"), (b"0 3", "class 3 is not one of 3")]
)
def test_labels_that_are_none(classes: bytes, said: str, tmp_path: Path) -> None:
    folder = multilabel_set(tmp_path / "s")
    write_samples(folder / "test" / "0.tar", iter([Sample("bad", {"png": b"", "cls": classes})]))
    with pytest.raises(EvaluationError, match=f"'bad'.*{said}"):
        load_multilabel(folder, Preparation(SIZE))


def test_sets_and_measures_that_do_not_fit(tmp_path: Path) -> None:
    folder, single = multilabel_set(tmp_path / "s"), both_parts(tmp_path / "o")
    with pytest.raises(EvaluationError, match="cannot be scored by acc1"):
        run_protocol(image_model(), task(Protocol.LINEAR_PROBE, "acc1"), folder, None)
    with pytest.raises(EvaluationError, match="does not say multilabel"):
        load_multilabel(single, Preparation(SIZE))


def test_simcores_crops_are_other_ones_in_each_epoch(tmp_path: Path) -> None:
    folder, encoder = both_parts(tmp_path / "s"), image_model(0)
    data = load_classification(folder, Preparation(36, interpolation="bilinear"), None, "train")
    views = CroppedViews(encoder, data, 3, seed=0)
    assert np.array_equal(views[0].features, views[0].features)
    assert not np.array_equal(views[0].features, views[1].features)
    assert np.array_equal(views[1:][1].features, views[2].features)
    assert len(views) == 3
    assert not np.array_equal(CroppedViews(encoder, data, 3, seed=1)[0].features, views[0].features)
    with pytest.raises(IndexError):
        views[3]


def test_simcores_probe_is_trained_on_crops_and_tested_on_middles(tmp_path: Path) -> None:
    folder, encoder = both_parts(tmp_path / "s"), image_model(0)
    asked = task(Protocol.LINEAR_PROBE_SIMCORE, "mean_per_class_recall")
    found = run_protocol(encoder, asked, folder, tmp_path / "cache")
    train = load_classification(folder, Preparation(36, interpolation="bilinear"), None, "train")
    test = load_classification(folder, encoder.preparation)
    settings = SimCore(peeking=True, metric="mean_per_class_recall")
    right = LabelledFeatures(encoder.encode_images(test.images), test.labels)
    expected = simcore(CroppedViews(encoder, train, 100, 0), right, CLASSES, settings).outcome
    assert found.metrics == expected.metrics
    assert found.metrics["acc1"] > 1.5 / CLASSES
    for metric in METRICS[Protocol.LINEAR_PROBE_SIMCORE]:
        assert found.components[metric]


@pytest.mark.parametrize("encoder", [clip()], ids=["clip"])
def test_simcores_probe_is_of_image_models(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="the entry is a CLIP model"):
        run_protocol(encoder, task(Protocol.LINEAR_PROBE_SIMCORE, "acc1"), both_parts(tmp_path / "s"), None)


@pytest.mark.parametrize("metric", ["map11", "auc"])
def test_rankings_become_results_with_intervals(metric: str, tmp_path: Path) -> None:
    """By the function that kit and scorer call; images that are told apart without a mistake have an interval too."""
    multilabel_set(tmp_path / "s")
    suite = next(suite for suite in all_suites().values() if suite.id == "genbench")
    for shots in ({}, {"shots": 2}):
        asked = task(Protocol.LINEAR_PROBE, metric, **shots)
        result = evaluate_task(Subject(image_model()), asked, suite, tmp_path)
        assert result.interval.low <= result.value <= result.interval.high
        assert result.interval.method == "bootstrap"
        assert len(result.outcomes[0].decode()) == 7, "of 60 images, in about as many groups as a group has images"
        assert result.metrics["acc1"] is None
