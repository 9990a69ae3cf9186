"""Rates equal those of timm's scheduler and of SimCore's formula, whatever step is asked for."""

from __future__ import annotations

import math

import pytest
import torch
from timm.scheduler import CosineLRScheduler

from competition.rules.recipes.optimizers import AdamW, Cosine
from participant_kit.train.schedules import Span, cosine_decay, cosine_rate

SPAN = Span(steps=200, batch=5, samples=100, epochs=10)


def timm_rates(**options: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = CosineLRScheduler(optimizer, t_initial=10, **options)
    rates = []
    for epoch in range(10):
        scheduler.step(epoch)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        (Cosine(), {}),
        (Cosine(final=0.01), {"lr_min": 0.01}),
        (Cosine(warmup_epochs=5, warmup_start=1e-6, throughout=True), {"warmup_t": 5, "warmup_lr_init": 1e-6}),
    ],
)
def test_rates_equal_timms_epoch_by_epoch(schedule: Cosine, options: dict[str, object]) -> None:
    rate = cosine_rate(schedule, 0.5, SPAN)
    expected = timm_rates(**options)
    assert [rate(epoch * 20) for epoch in range(10)] == pytest.approx(expected, rel=1e-12)
    assert rate(39) == rate(20)


def test_rates_equal_simcores() -> None:
    """Its epochs count from 1 and end at a thousandth of the rate."""
    rate = cosine_rate(Cosine(final=1e-4, first_epoch=1), 0.1, SPAN)
    for epoch in range(1, 11):
        expected = 1e-4 + (0.1 - 1e-4) * (1 + math.cos(math.pi * epoch / 10)) / 2
        assert rate((epoch - 1) * 20) == pytest.approx(expected, rel=1e-12)


def test_rates_of_every_step() -> None:
    rate = cosine_rate(Cosine(every="step", warmup_share=0.1), 1.0, SPAN)
    assert [rate(step) for step in (0, 10, 20)] == pytest.approx([0.0, 0.5, 1.0])
    assert rate(110) == pytest.approx(0.5)
    assert 0 < rate(199) < 1e-3


def test_weight_decay_along_a_cosine() -> None:
    decay = cosine_decay(AdamW(learning_rate=1, weight_decay=0.04, weight_decay_end=0.4), Cosine(every="step"), SPAN)
    assert decay is not None
    assert [decay(0), decay(100)] == pytest.approx([0.04, 0.22])
    assert cosine_decay(AdamW(learning_rate=1, weight_decay=0.04), Cosine(), SPAN) is None
