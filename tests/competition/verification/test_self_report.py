"""A gap between what was reported and what was verified is told where it is more than machines differ by."""

from __future__ import annotations

from typing import Any

import pytest

from competition.records.evaluation import EvaluationReport, TaskResult
from competition.verification.self_report import reported_gap


def result(value: float, samples: int = 10_000, **changes: Any) -> TaskResult:
    fields = {"task": "a", "metric": "acc1", "interval": None, "metrics": {}, "seconds": 1.0}
    return TaskResult(**{**fields, "value": value, "samples": samples, **changes})


def report(*results: TaskResult) -> EvaluationReport:
    return EvaluationReport(
        suite="a@1", suite_digest="0" * 64, reference_model="timm:a", results=results, code_version="1",
        finished_at="2026-01-01T00:00:00Z",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("claimed", "verified", "samples", "gap"),
    [
        (0.5, 0.5, 10_000, None),
        (0.504, 0.5, 10_000, None),
        (0.51, 0.5, 10_000, 0.01),
        (0.45, 0.5, 10_000, -0.05),
        (0.66, 0.5, 12, None),
        (0.75, 0.5, 12, 0.25),
        (20.05, 20.0, 10_000, None),
        (21.0, 20.0, 10_000, 1.0),
    ],
)
def test_a_gap_is_told_where_it_is_one(claimed: float, verified: float, samples: int, gap: float | None) -> None:
    found = reported_gap(report(result(claimed, samples)), result(verified, samples))
    assert found == (None if gap is None else pytest.approx(gap))


def test_other_tasks_and_metrics_are_not_compared() -> None:
    verified = result(0.5)
    assert reported_gap(report(result(0.9, task="b"), result(0.9, metric="acc5")), verified) is None
