"""What changes while a method trains, in closed form. Formulas and counting are SimCore's (``on_epoch_end``)."""

from __future__ import annotations

import math

from competition.rules.recipes.selfsupervised import Dino, Momentum
from participant_kit.train.schedules import Span

_ROUNDING = 1e-9


def momentum(rule: Momentum, span: Span, step: int) -> float:
    """Weight of the old teacher in the average that is taken after a step: half a cosine from start to end."""
    return rule.end - (rule.end - rule.start) * (1 + math.cos(math.pi * span.share(step, rule.every))) / 2


def teacher_temperature(rule: Dino, span: Span, step: int) -> float:
    """DINO's temperature of the teacher: linear over the epochs of its warm-up, constant afterwards."""
    warmup, epoch = _epochs(rule.teacher_temperature_warmup, span), span.epoch(step)
    if epoch >= warmup:
        return rule.teacher_temperature
    start = rule.teacher_temperature_start
    return start + (rule.teacher_temperature - start) * epoch / warmup


def is_frozen(share: float, span: Span, step: int) -> bool:
    """Whether a step is among the first epochs, at least one, in which a layer keeps its weights."""
    return span.epoch(step) < max(1, _epochs(share, span))


def _epochs(share: float, span: Span) -> int:
    """Whole span in a share of the run, rounded down."""
    return math.floor(share * span.epochs + _ROUNDING)
