"""Fine-tuning: learns digits, follows its schedule, is repeatable, and refuses what it cannot train on."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from competition.errors import EvaluationError, ModelOutputError
from competition.evaluation.fine_tune import (
    SELECT_LEGACY,
    SELECT_SANE,
    SIMCORE_SEMI_SUPERVISED,
    FineTuning,
    LabelledImages,
    fine_tune,
    labelled_rows,
)
from competition.evaluation.image_models import build_image_model
from competition.evaluation.images import Preparation
from competition.evaluation.random_crops import crop_box, random_crops
from competition.evaluation.select_transfer import LEGACY_PREPARATION, TASKS, legacy_settings
from competition.rules.recipes import Backbone

SMALL = FineTuning(image_size=16, batch=32, learning_rates=(0.05,), steps=60, momentum=0.9, seed=3)


@pytest.fixture(scope="module")
def digits() -> tuple[LabelledImages, LabelledImages]:
    pixels, labels = load_digits(return_X_y=True)
    grey = (pixels.reshape(-1, 8, 8) * 15.9).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)
    data = LabelledImages(np.repeat(grey[..., None], 3, axis=3), labels.astype(np.int64))
    return data.taken(np.arange(600)), data.taken(np.arange(600, 900))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build_image_model(Backbone(name="test_resnet"), 0)


def test_it_learns_digits_and_leaves_the_model_as_it_is(
    digits: tuple[LabelledImages, LabelledImages], model: nn.Module
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    outcome = fine_tune(model, *digits, 10, SMALL)
    assert outcome.metrics["acc1"] > 0.6
    assert outcome.metrics["acc5"] > outcome.metrics["acc1"]
    assert outcome.samples == 300
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_seed_decides_everything(digits: tuple[LabelledImages, LabelledImages], model: nn.Module) -> None:
    short = replace(SMALL, steps=5, crops=True)
    torch.manual_seed(1)
    first = fine_tune(model, *digits, 10, short)
    torch.manual_seed(2)
    second, other = fine_tune(model, *digits, 10, short), fine_tune(model, *digits, 10, replace(short, seed=4))
    assert np.array_equal(first.components["acc5"][0], second.components["acc5"][0])
    assert not np.array_equal(first.components["acc5"][0], other.components["acc5"][0])


def test_it_is_pytorchs_own_loop(digits: tuple[LabelledImages, LabelledImages]) -> None:
    """Plain SGD that decays after every two steps, on a classifier alone, of which each step can be written down."""
    train, test = digits

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc: nn.Module = nn.Identity()

        def reset_classifier(self, classes: int) -> None:
            self.fc = nn.Linear(256, classes)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.fc(pixels.mean(dim=1).flatten(1))

    settings = replace(SMALL, momentum=0.0, steps=5, decay_steps=2, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    outcome = fine_tune(Mean(), train, test, 10, settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        linear = nn.Linear(256, 10)
    mean, std = np.array(settings.mean), np.array(settings.std)
    inputs = [torch.tensor(((d.images / 255 - mean) / std).mean(axis=3).reshape(len(d), -1)).float() for d in digits]
    order = np.random.default_rng(3).permutation(600)
    for step, rate in enumerate((0.05, 0.05, 0.005, 0.005, 0.0005)):
        rows = np.sort(order[step * 32 : step * 32 + 32])
        optimizer = torch.optim.SGD(linear.parameters(), rate)
        optimizer.zero_grad()
        nn.functional.cross_entropy(linear(inputs[0][rows]), torch.from_numpy(train.labels[rows])).backward()
        optimizer.step()
    expected = linear(inputs[1]).argmax(dim=1).numpy() == test.labels
    assert np.array_equal(outcome.components["acc1"][0], expected)


def test_the_best_learning_rate_is_found_without_the_test_set(
    digits: tuple[LabelledImages, LabelledImages], model: nn.Module
) -> None:
    """Of one that learns nothing, one that learns and one that diverges, the second; so its outcome."""
    train, test = digits
    good = fine_tune(model, train, test, 10, SMALL)
    several = fine_tune(model, train, test, 10, replace(SMALL, learning_rates=(1e-7, 0.05, 1e30)))
    assert np.array_equal(several.components["acc1"][0], good.components["acc1"][0])


def test_peeking_reports_the_best_epoch(digits: tuple[LabelledImages, LabelledImages], model: nn.Module) -> None:
    settings = replace(SMALL, steps=None, epochs=3, milestones=(1,))
    last, best = (fine_tune(model, *digits, 10, replace(settings, peeking=peeking)) for peeking in (False, True))
    shorter = [fine_tune(model, *digits, 10, replace(settings, epochs=epochs)).metrics["acc1"] for epochs in (1, 2)]
    assert best.metrics["acc1"] == max(*shorter, last.metrics["acc1"])


def test_simcores_labels_are_those_of_pythons_generator() -> None:
    random.seed(0)
    assert labelled_rows(667, 0.1).tolist() == random.sample(range(667), 66)


def test_a_share_of_labels_is_trained_on(digits: tuple[LabelledImages, LabelledImages], model: nn.Module) -> None:
    train, test = digits
    share = fine_tune(model, train, test, 10, replace(SMALL, label_share=0.1))
    same = fine_tune(model, train.taken(labelled_rows(600, 0.1)), test, 10, SMALL)
    assert np.array_equal(share.components["acc5"][0], same.components["acc5"][0])


def test_a_last_batch_of_one_is_left_out(digits: tuple[LabelledImages, LabelledImages], model: nn.Module) -> None:
    train, test = digits
    outcome = fine_tune(model, train.taken(np.arange(33)), test, 10, replace(SMALL, steps=4))
    assert outcome.samples == 300


def test_larger_images_are_cut_in_the_middle(digits: tuple[LabelledImages, LabelledImages], model: nn.Module) -> None:
    padded = [LabelledImages(np.pad(d.images, ((0, 0), (3, 3), (3, 3), (0, 0))), d.labels) for d in digits]
    settings = replace(SMALL, steps=3)
    outcomes = [fine_tune(model, *data, 10, settings) for data in (digits, padded)]
    assert np.array_equal(*(outcome.components["acc5"][0] for outcome in outcomes))


def test_schedules_of_the_protocols() -> None:
    assert [SELECT_LEGACY.rate_factor(step, 9, 1000) for step in (0, 299, 300, 999)] == pytest.approx(
        [1, 1, 0.1, 0.001]
    )
    assert [SIMCORE_SEMI_SUPERVISED.rate_factor(step * 7, 7, 700) for step in (0, 59, 60, 80)] == pytest.approx(
        [1, 1, 0.1, 0.01]
    )
    assert [SELECT_SANE.rate_factor(step, 9, 1000) for step in (0, 500, 1000)] == pytest.approx([1, 0.5, 0])
    assert SELECT_LEGACY.momentum == 0
    assert legacy_settings("svhn").mean == (0.4386, 0.4447, 0.4737)


def test_selects_tasks_are_eleven() -> None:
    assert len(TASKS) == 11
    with pytest.raises(EvaluationError, match="no transfer task 'mnist'"):
        legacy_settings("mnist")


def test_squashing_keeps_the_whole_image() -> None:
    image = np.zeros((20, 60, 3), dtype=np.uint8)
    image[:, 30:] = 200
    assert LEGACY_PREPARATION.identity == Preparation(64, interpolation="bilinear", squash=True).identity
    squashed = Preparation(16, interpolation="bilinear", squash=True)(Image.fromarray(image))
    assert squashed.shape == (16, 16, 3)
    assert squashed[:, 0].max() == 0
    assert squashed[:, -1].min() == 200


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32))
def test_crops_lie_inside(height: int, width: int, seed: int) -> None:
    top, left, high, wide = crop_box(height, width, np.random.default_rng(seed))
    assert 0 <= top <= top + high <= height
    assert 0 <= left <= left + wide <= width
    assert high
    assert wide


def test_crops_are_parts_of_their_image_and_some_are_flipped() -> None:
    ramp = torch.linspace(0, 1, 40).expand(64, 3, 40, 40)
    crops = random_crops(ramp, 20, np.random.default_rng(0))
    assert crops.shape == (64, 3, 20, 20)
    rising = crops[:, 0, 0, -1] > crops[:, 0, 0, 0]
    assert 16 < int(rising.sum()) < 48
    assert float(crops.min()) >= 0
    assert float(crops.max()) <= 1
    spans = (crops[:, 0, 0, -1] - crops[:, 0, 0, 0]).abs()
    assert float(spans.min()) < 0.6
    assert float(spans.max()) > 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: LabelledImages(d.images[:0], d.labels[:0]), "is empty"),
        (lambda d: LabelledImages(d.images[:, :8, :8], d.labels), "8 x 8 pixels; 16 are needed"),
        (lambda d: LabelledImages(d.images.astype(np.float32), d.labels), "float32 images"),
        (lambda d: LabelledImages(d.images, d.labels[1:]), "299 labels|599 labels"),
        (lambda d: LabelledImages(d.images, d.labels + 1), "class 10, which is not one of 10"),
        (lambda d: LabelledImages(d.images, d.labels - 1), "class -1"),
    ],
)
def test_bad_sets(
    digits: tuple[LabelledImages, LabelledImages], model: nn.Module, change: object, message: str
) -> None:
    train, test = digits
    for given_sets in ((change(train), test), (train, change(test))):
        with pytest.raises(EvaluationError, match=message):
            fine_tune(model, *given_sets, 10, SMALL)


def test_what_cannot_be_trained(digits: tuple[LabelledImages, LabelledImages], model: nn.Module) -> None:
    train, test = digits
    with pytest.raises(EvaluationError, match="nothing to train with"):
        fine_tune(model, train, test, 10, replace(SMALL, label_share=0.001))
    with pytest.raises(EvaluationError, match="too few training images"):
        fine_tune(model, train.taken(np.arange(10)), test, 10, replace(SMALL, learning_rates=(0.1, 0.2)))
    with pytest.raises(EvaluationError, match="no classifier that could be replaced"):
        fine_tune(nn.Flatten(), train, test, 10, SMALL)
    with pytest.raises(ModelOutputError, match="diverges"):
        fine_tune(model, train, test, 10, replace(SMALL, learning_rates=(1e30,)))
    for settings in ({"steps": None}, {"epochs": 2}, {"steps": 0}, {"learning_rates": ()}, {"label_share": 0.0}):
        with pytest.raises(EvaluationError, match="A fine-tuning needs"):
            replace(SMALL, **settings)
