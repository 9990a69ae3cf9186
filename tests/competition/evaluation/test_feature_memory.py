"""A submission's features and classifiers are computed once, and memory for them is bounded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from competition.errors import ModelOutputError
from competition.evaluation import retrieval, zeroshot
from competition.evaluation.encoders import ClipEncoder, build_clip
from competition.evaluation.feature_memory import FeatureMemory
from competition.evaluation.protocols import Subject
from competition.evaluation.run import evaluate_task
from competition.evaluation.sets import load_classification, load_retrieval
from competition.rules.protocols import Protocol
from competition.rules.suites import Aggregate, Suite, Task
from tests.competition.evaluation.test_set_cache import make_set
from tests.competition.evaluation.test_text_tower import make_clip

CPU = torch.device("cpu")


class Counted:
    """How many images and prompts pass through the towers of a model."""

    def __init__(self) -> None:
        model, architecture = make_clip()
        self.images = self.prompts = 0
        model.visual.register_forward_hook(self._image)
        model.token_embedding.register_forward_hook(self._prompt)
        self.encoder = ClipEncoder(model, architecture, CPU)

    def _image(self, module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        self.images += len(inputs[0])

    def _prompt(self, module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        self.prompts += len(inputs[0])


def make_suite(*metrics: str) -> Suite:
    tasks = tuple(
        Task(
            id=f"t{number}",
            title="T",
            protocol=Protocol.ZEROSHOT_CLASSIFICATION,
            dataset="set",
            metric=metric,
            samples=70,
        )
        for number, metric in enumerate(metrics)
    )
    average = Aggregate(id="average", title="Average", tasks=tuple(task.id for task in tasks))
    return Suite(id="s", version=1, tasks=tasks, aggregates=(average,), primary="average")


def test_tasks_on_one_set_share_features_and_classifier(tmp_path: Path) -> None:
    make_set(tmp_path / "set")
    suite, counted = make_suite("acc1", "mean_per_class_recall", "acc1"), Counted()
    results = [evaluate_task(Subject(counted.encoder), task, suite, tmp_path) for task in suite.tasks]
    assert (counted.images, counted.prompts) == (70, 2)
    assert results[0].value == results[2].value
    fresh = evaluate_task(Subject(Counted().encoder), suite.tasks[2], suite, tmp_path)
    assert fresh.metrics == results[2].metrics


def test_other_prompts_are_computed_and_the_features_are_not(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    counted = Counted()
    data = load_classification(folder, counted.encoder.preparation, tmp_path / "cache")
    zeroshot.evaluate(counted.encoder, data)
    first = zeroshot.text_classifier(counted.encoder, data.class_names, data.templates)
    other = zeroshot.text_classifier(counted.encoder, data.class_names, ("the {c}", "one {c}"))
    zeroshot.evaluate(counted.encoder, replace(data, templates=("the {c}", "one {c}")))
    assert (counted.images, counted.prompts) == (70, 2 + 4)
    assert not np.allclose(first, other)


def test_another_set_has_features_of_its_own(tmp_path: Path) -> None:
    counted, cache = Counted(), tmp_path / "cache"
    sets = [make_set(tmp_path / name, seed=seed) for name, seed in (("one", 0), ("other", 500))]
    one, other = (load_classification(folder, counted.encoder.preparation, cache) for folder in sets)
    features = [counted.encoder.encode_images(data.images, key=data.key) for data in (one, other, one)]
    assert counted.images == 140
    assert not np.allclose(features[0], features[1])
    assert features[2] is features[0]


def test_pixels_without_identity_are_never_remembered() -> None:
    counted = Counted()
    pixels = np.zeros((3, 8, 8, 3), dtype=np.uint8)
    counted.encoder.encode_images(pixels)
    counted.encoder.encode_images(pixels + 1)
    assert counted.images == 6


def test_retrieval_shares_captions_and_images(tmp_path: Path) -> None:
    counted = Counted()
    data = load_retrieval(make_set(tmp_path / "set", kind="txt"), counted.encoder.preparation, tmp_path / "cache")
    assert retrieval.evaluate(counted.encoder, data).metrics == retrieval.evaluate(counted.encoder, data).metrics
    assert (counted.images, counted.prompts) == (70, 70)


@pytest.mark.parametrize("block", [1, 7, 10**6])
def test_metrics_do_not_depend_on_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    encoder = Counted().encoder
    labelled = load_classification(make_set(tmp_path / "a"), encoder.preparation)
    captioned = load_retrieval(make_set(tmp_path / "b", kind="txt"), encoder.preparation)
    expected = zeroshot.evaluate(encoder, labelled), retrieval.evaluate(encoder, captioned)
    monkeypatch.setattr(zeroshot, "_LOGITS_AT_A_TIME", 2 * block)
    monkeypatch.setattr(zeroshot, "_PROMPTS_AT_A_TIME", 1)
    monkeypatch.setattr(retrieval, "_SCORES_AT_A_TIME", 70 * block)
    encoder = Counted().encoder
    found = zeroshot.evaluate(encoder, labelled), retrieval.evaluate(encoder, captioned)
    for ours, whole in zip(found, expected, strict=True):
        assert ours.metrics == whole.metrics


def test_the_least_recently_used_goes_first() -> None:
    memory, computed = FeatureMemory(budget=3 * 400), []

    def array(key: str) -> np.ndarray:
        def compute() -> np.ndarray:
            computed.append(key)
            return np.full(100, len(computed), dtype=np.float32)

        return memory.once("images", key, compute)

    for key in "abcadb":  # d takes b's place, which is computed again
        array(key)
    assert computed == ["a", "b", "c", "d", "b"]


def test_what_is_larger_than_the_budget_is_not_kept_and_drives_nothing_out() -> None:
    memory = FeatureMemory(budget=400)
    small = memory.once("images", "small", lambda: np.zeros(50, dtype=np.float32))
    memory.once("images", "large", lambda: np.zeros(500, dtype=np.float32))
    assert memory.once("images", "small", lambda: np.ones(50, dtype=np.float32)) is small


def test_what_is_remembered_cannot_be_changed() -> None:
    memory = FeatureMemory()
    with pytest.raises(ValueError, match="read-only"):
        memory.once("images", "a", lambda: np.zeros(3, dtype=np.float32))[0] = 1


def test_images_and_texts_of_one_key_are_two_things() -> None:
    memory = FeatureMemory()
    memory.once("images", "a", lambda: np.zeros(3, dtype=np.float32))
    assert memory.once("texts", "a", lambda: np.ones(3, dtype=np.float32)).tolist() == [1, 1, 1]


def test_features_that_are_not_finite_are_named_and_not_remembered() -> None:
    model, architecture = make_clip()
    encoder = ClipEncoder(model, architecture, CPU)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)

    def spoil(module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[-1] = float("nan")
        return output

    hook = model.visual.register_forward_hook(spoil)
    with pytest.raises(ModelOutputError, match=r"image feature that is not finite \(query 3\)"):
        encoder.encode_images(pixels, batch=4, key="a")
    hook.remove()
    assert np.isfinite(encoder.encode_images(pixels, batch=4, key="a")).all()


def test_mixed_precision_is_close_and_not_the_same() -> None:
    model, architecture = make_clip()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    exact, mixed = (ClipEncoder(model, architecture, CPU, precision=precision) for precision in ("fp32", "bf16"))
    for found, near in (
        (exact.encode_images(pixels), mixed.encode_images(pixels)),
        (exact.encode_texts(["a cat"]), mixed.encode_texts(["a cat"])),
    ):
        assert near.dtype == np.float32
        assert not np.array_equal(found, near)
        assert np.abs(found - near).max() < 0.05


def test_memory_mapped_pixels_give_the_features_of_pixels_in_memory(tmp_path: Path) -> None:
    architecture = make_clip()[1]
    encoder = ClipEncoder(build_clip(architecture, 1), architecture, CPU)
    data = load_classification(make_set(tmp_path / "set"), encoder.preparation, tmp_path / "cache")
    plain = encoder.encode_images(np.ascontiguousarray(data.images))
    assert np.array_equal(encoder.encode_images(data.images), plain)
