"""SELECT's summary of robustness (arXiv 2410.05057): natural and synthetic shifts, and scores relative to a baseline.

The paper's program evaluates the sets and summarises nothing; the means are those that its figure groups the sets by. A
missing task makes an aggregate "not available": it is never averaged over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from competition.errors import EvaluationError

NATURAL = ("imagenetv2", "imagenet-sketch", "imagenet-r", "imagenet-a", "objectnet")
SYNTHETIC = ("imagenet-c", "stylized-imagenet")


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A mean over tasks; ``value`` is None, and ``missing`` says which tasks are, where one has no score."""

    value: float | None
    missing: tuple[str, ...] = ()


def mean_over(scores: Mapping[str, float | None], tasks: tuple[str, ...]) -> Aggregate:
    """The mean score of ``tasks``, each in [0, 1] (raises ``EvaluationError`` for one that is not)."""
    missing = tuple(task for task in tasks if scores.get(task) is None)
    found = [_share(scores[task], task) for task in tasks if task not in missing]
    return Aggregate(None, missing) if missing else Aggregate(sum(found) / len(found))


def natural(scores: Mapping[str, float | None]) -> Aggregate:
    """Mean accuracy on images of other origins: ImageNet-V2, -Sketch, -R, -A and ObjectNet."""
    return mean_over(scores, NATURAL)


def synthetic(scores: Mapping[str, float | None]) -> Aggregate:
    """Mean accuracy on changed images: ImageNet-C and Stylized-ImageNet."""
    return mean_over(scores, SYNTHETIC)


def relative(
    scores: Mapping[str, float | None], baseline: Mapping[str, float | None], tasks: tuple[str, ...]
) -> dict[str, Aggregate]:
    """Each task's score divided by the baseline's (in SELECT, of the model trained on ImageNet-1k).

    Raises ``EvaluationError`` for a score outside [0, 1], or a baseline of 0, which nothing is relative to.
    """
    found = {}
    for task in tasks:
        both = (scores.get(task), baseline.get(task))
        if None in both:
            found[task] = Aggregate(None, (task,))
            continue
        own, other = (_share(value, task) for value in both)
        if other == 0.0:
            raise EvaluationError(f"The baseline's score of {task!r} is 0, so there is no relative one.")
        found[task] = Aggregate(own / other)
    return found


def _share(value: float | None, task: str) -> float:
    if value is None or not 0.0 <= value <= 1.0:
        raise EvaluationError(f"The score of {task!r} is {value}, which is not between 0 and 1.")
    return value
