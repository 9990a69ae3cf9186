"""What changes while a method trains, in closed form: learning rate, momentum of a teacher, its temperature.

Formulas and counting are those of SimCore (``util/misc.py`` and ``on_epoch_end`` of its methods).
"""

from __future__ import annotations

import math

from competition.rules.recipes.optimizers import Cosine
from competition.rules.recipes.selfsupervised import Dino, Momentum
from participant_kit.train.selfsupervised.passes import Passes


def learning_rate(schedule: Cosine, peak: float, passes: Passes, step: int) -> float:
    """Rate of a step (counted from 0).

    Warm-up rises with each step to the cosine's value at its end, so that the two meet without a jump.
    """
    position, warmup = passes.position(step), schedule.warmup_epochs
    if position < warmup:
        end = _cosine(schedule, peak, warmup / passes.epochs)
        return schedule.warmup_start + (end - schedule.warmup_start) * position / warmup
    moment = position if schedule.every == "step" else float(passes.epoch(step))
    return _cosine(schedule, peak, (schedule.first_epoch + moment) / passes.epochs)


def momentum(rule: Momentum, passes: Passes, step: int) -> float:
    """Weight of the old teacher in the average that is taken after a step: half a cosine from start to end."""
    done = step / passes.steps if rule.every == "step" else passes.epoch(step) / passes.epochs
    return rule.end - (rule.end - rule.start) * (1 + math.cos(math.pi * done)) / 2


def teacher_temperature(rule: Dino, passes: Passes, step: int) -> float:
    """DINO's temperature of the teacher: linear over the epochs of its warm-up, constant afterwards."""
    warmup, epoch = passes.share(rule.teacher_temperature_warmup), passes.epoch(step)
    if epoch >= warmup:
        return rule.teacher_temperature
    start = rule.teacher_temperature_start
    return start + (rule.teacher_temperature - start) * epoch / warmup


def is_frozen(share: float, passes: Passes, step: int) -> bool:
    """Whether a step is among the first epochs, at least one, in which a layer keeps its weights."""
    return passes.epoch(step) < max(1, passes.share(share))


def _cosine(schedule: Cosine, peak: float, done: float) -> float:
    return schedule.final + (peak - schedule.final) * (1 + math.cos(math.pi * done)) / 2
