"""Fine-tuning from suites: each protocol's own images and settings, on a copy of the entry's network."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from competition.errors import EvaluationError
from competition.evaluation.fine_tune import SELECT_LEGACY, SELECT_SANE, SIMCORE_SEMI_SUPERVISED
from competition.evaluation.image_encoders import ImageEncoder, PixelStatistics
from competition.evaluation.image_models import build_image_model
from competition.evaluation.images import Preparation
from competition.evaluation.pixel_batches import inference, true_float32
from competition.evaluation.protocols.case import Case
from competition.evaluation.protocols.tuned import EVALUATIONS, Plan, plan, tuned
from competition.evaluation.sets import CACHE_FOLDER, load_classification
from competition.rules import Protocol, Task, all_suites
from competition.rules.protocols import METRICS
from competition.rules.recipes import Backbone
from tests.competition.evaluation.test_protocols import CLASSES, CPU, clip, image_model, run_protocol, write_set


def task(protocol: Protocol, dataset: str = "s", **settings: object) -> Task:
    given = {"id": "t", "title": "T", "protocol": protocol, "dataset": dataset, "settings": settings}
    return Task.model_validate(given | {"metric": METRICS[protocol][0]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_set(tmp_path / "s")
    return write_set(tmp_path / "s", count=90, split="train", seed=1)


def transformer(patch: int = 8) -> ImageEncoder:
    options = {"img_size": 32, "patch_size": patch, "embed_dim": 16, "depth": 1, "num_heads": 2}
    model = build_image_model(Backbone(name="vit_tiny_patch16_224", options=options), 0, 3)
    return ImageEncoder(model, Preparation(32), PixelStatistics((0.5,) * 3, (0.5,) * 3), CPU)


def test_each_protocol_has_its_own_images_and_settings() -> None:
    encoder, grey = image_model(), {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    sane = plan(encoder, task(Protocol.FINE_TUNE, "select-svhn"))
    assert sane.settings == replace(SELECT_SANE, **grey)
    assert sane.preparation.identity == Preparation(224).identity
    published = plan(encoder, task(Protocol.FINE_TUNE_SELECT, "select-svhn"))
    statistics = {"mean": (0.4386, 0.4447, 0.4737), "std": (0.1167, 0.1197, 0.1022)}
    assert published.settings == replace(SELECT_LEGACY, **statistics)
    assert published.preparation.identity == Preparation(64, interpolation="bilinear", squash=True).identity
    few = plan(encoder, task(Protocol.SEMI_SUPERVISED, label_share=0.3))
    assert few.settings == replace(SIMCORE_SEMI_SUPERVISED, label_share=0.3, **grey)
    assert few.preparation.identity == Preparation(256, interpolation="bilinear").identity
    assert plan(encoder, task(Protocol.SEMI_SUPERVISED)).settings.label_share == 0.1


def test_every_task_of_the_suites_can_be_planned() -> None:
    tasks = [task for suite in all_suites().values() for task in suite.tasks if task.protocol in EVALUATIONS]
    assert len(tasks) > 30
    for asked in tasks:
        assert plan(image_model(), asked).settings.image_size in (64, 224)


def test_selects_published_protocol_is_of_its_sets_alone(folder: Path) -> None:
    with pytest.raises(EvaluationError, match="no transfer task 's'"):
        run_protocol(image_model(), task(Protocol.FINE_TUNE_SELECT), folder, None)


def test_selects_published_protocol_runs(tmp_path: Path, folder: Path) -> None:
    """All of its 1,000 steps, on 12 images."""
    write_set(tmp_path / "few", count=12)
    write_set(tmp_path / "few", count=12, split="train")
    found = run_protocol(transformer(16), task(Protocol.FINE_TUNE_SELECT, "select-svhn"), tmp_path / "few", None)
    assert found.metrics["acc1"] > 1.5 / CLASSES


def test_few_labels_run_through_all_epochs(folder: Path, tmp_path: Path) -> None:
    asked = task(Protocol.SEMI_SUPERVISED, label_share=0.1)
    found = run_protocol(transformer(32), asked, folder, tmp_path / CACHE_FOLDER)
    for metric in METRICS[Protocol.SEMI_SUPERVISED]:
        assert found.metrics[metric] is not None
        assert found.components[metric]
    assert found.metrics["acc1"] > 1.5 / CLASSES


@pytest.mark.parametrize("protocol", [Protocol.FINE_TUNE, Protocol.SEMI_SUPERVISED])
def test_nothing_that_is_trained_leaks_into_the_encoder(protocol: Protocol, folder: Path, tmp_path: Path) -> None:
    encoder, case = image_model(), Case(task(protocol), folder, tmp_path / CACHE_FOLDER)
    data = load_classification(folder, encoder.preparation)
    weights = {name: tensor.clone() for name, tensor in encoder._model.state_dict().items()}
    features, logits = encoder.encode_images(data.images), encoder.class_logits(data.images)
    prescribed = plan(encoder, case.task)
    settings = {"batch": 8, "learning_rates": (0.01,), "steps": 2, "epochs": None}
    found = tuned(encoder, case, replace(prescribed, settings=replace(prescribed.settings, **settings)))
    for metric in METRICS[protocol]:
        assert found.metrics[metric] is not None
        assert np.mean([part.mean() for part in found.components[metric]]) == pytest.approx(found.metrics[metric])
    assert all(torch.equal(tensor, weights[name]) for name, tensor in encoder._model.state_dict().items())
    assert not encoder._model.training
    assert np.array_equal(encoder.encode_images(data.images), features)
    assert np.array_equal(encoder.class_logits(data.images), logits)


def test_images_are_decoded_at_the_protocols_size_and_kept(folder: Path, tmp_path: Path) -> None:
    cache, encoder = tmp_path / CACHE_FOLDER, image_model()
    chosen = Plan(replace(SELECT_SANE, image_size=40, steps=30, learning_rates=(0.05,)), Preparation(48))
    first = tuned(encoder, Case(task(Protocol.FINE_TUNE), folder, cache), chosen)
    assert {np.load(path, mmap_mode="r").shape for path in cache.glob("*.npy")} == {(60, 3, 48, 48), (90, 3, 48, 48)}
    assert first.metrics["acc1"] > 1.5 / CLASSES
    again = tuned(encoder, Case(task(Protocol.FINE_TUNE), folder, cache), chosen)
    assert first.metrics == again.metrics


def test_a_vision_transformer_takes_images_of_another_size(folder: Path) -> None:
    chosen = Plan(replace(SELECT_LEGACY, steps=2), Preparation(64))
    encoder = transformer()
    assert tuned(encoder, Case(task(Protocol.FINE_TUNE), folder), chosen).samples == 60
    assert encoder._model.patch_embed.img_size == (32, 32)
    with pytest.raises(EvaluationError, match="4 x 4"):
        encoder.trainable_copy(4)


@pytest.mark.parametrize("protocol", sorted(EVALUATIONS))
def test_clip_models_are_refused(protocol: Protocol, folder: Path) -> None:
    with pytest.raises(EvaluationError, match="the entry is a CLIP model"):
        run_protocol(clip(), task(protocol), folder, None)


@pytest.mark.parametrize("context", [true_float32, lambda: inference(CPU)], ids=["training", "inference"])
def test_float32_is_no_reason_to_do_without_cudnn(context: Callable[[], AbstractContextManager[None]]) -> None:
    before = torch.backends.cudnn.allow_tf32
    with context():
        assert torch.backends.cudnn.enabled
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before
