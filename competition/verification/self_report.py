"""What the authors measured against what was verified: a gap is worth a look, and changes no score."""

from __future__ import annotations

from competition.records.evaluation import EvaluationReport, TaskResult

_SHARE = 0.005
"""Of the value, or of 1 where that is more: other hardware changes single answers, not half a percent."""
_SAMPLES = 2
"""Answers that may turn, which in a small set is more than that."""


def allowed_gap(value: float, samples: int) -> float:
    """By how much two machines' values of one task may differ, the one being ``value``, of so many samples."""
    return max(_SHARE * max(1.0, abs(value)), _SAMPLES / samples)


def reported_gap(report: EvaluationReport, verified: TaskResult) -> float | None:
    """The reported value less the verified one, where they differ by more than machines do.

    None where they agree, or where the report has no result of that task and metric.
    """
    for claimed in report.results:
        if claimed.task == verified.task and claimed.metric == verified.metric:
            return value_gap(claimed.value, verified)
    return None


def value_gap(claimed: float, verified: TaskResult) -> float | None:
    """A value of the task less the verified one, where they differ by more than machines do."""
    gap = claimed - verified.value
    return gap if abs(gap) > allowed_gap(verified.value, verified.samples) else None
