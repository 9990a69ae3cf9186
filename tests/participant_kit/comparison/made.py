"""Evaluation reports of made-up models: one is right about an image where it is better than the image is hard."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from competition.records.evaluation import EvaluationReport, Interval, Outcomes, TaskResult


def result(task: str, components: list[np.ndarray], metric: str = "acc1", **metrics: float | None) -> TaskResult:
    value = float(np.mean([part.mean() for part in components]))
    return TaskResult(
        task=task,
        metric=metric,
        value=value,
        interval=Interval(low=0.0, high=1.0, method="bootstrap"),
        metrics={metric: value, **metrics},
        samples=max(1, sum(map(len, components))),
        seconds=0.0,
        outcomes=tuple(Outcomes.encode(part) for part in components),
    )


def report(*results: TaskResult, suite: str = "a") -> EvaluationReport:
    return EvaluationReport(
        competition="digits",
        suite="digits@1",
        suite_digest=suite * 64,
        recipe="digits-nano",
        recipe_digest="b" * 64,
        model_sha256="c" * 64,
        results=results,
        code_version="0",
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def write(folder: Path, found: EvaluationReport) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation_report.json").write_text(found.model_dump_json())
    return folder


def right(skill: float, images: int, seed: int, noise: int = 0) -> np.ndarray:
    """1 where the model of that skill is right, 0 elsewhere [images]; hardness comes from ``seed``."""
    hardness = np.random.default_rng(seed).normal(size=images)
    own = np.random.default_rng([seed, noise]).normal(scale=0.3, size=images)
    return (skill + own > hardness).astype(float)
