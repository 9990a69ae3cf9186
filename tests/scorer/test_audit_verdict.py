"""From runs to a verdict: what the evaluation adds to seed noise, which way is better, and what cannot be compared."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from competition.audit_rule import Errors, find, score_of
from competition.errors import ValidationFailedError
from competition.records.audit import Arm, AuditBar, AuditRun, AuditVerdict, KnownSpread
from competition.records.evaluation import Interval, Outcomes, TaskResult
from competition.records.training import Hardware, TrainingData, TrainingReport
from competition.rules import Aggregate, Suite
from competition.rules.suites import AverageRank
from competition.seed_noise import SeedSpread
from competition.statistics import clopper_pearson
from scorer.audit_folder import FinishedRun
from scorer.audit_verdict import Evidence, evaluation_errors
from scorer.messages import Materialised
from tests.leaderboard.audited import run
from tests.scorer.squares import squares

NOBODY = KnownSpread(sd=0.0, degrees=0)
NOTHING = Errors(0.0, {})
BAR = AuditBar(confidence=0.95, tolerance=0.0, resolution=1.0)
SUITE = squares().suite
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRAINING = TrainingReport(
    competition="squares", recipe="r", recipe_digest="0" * 64, seed=0, steps=1, samples_seen=1, final_loss=1.0,
    data=TrainingData(shards=1, samples=1, digest="0" * 64, corrupt_samples=0), model_sha256="0" * 64,
    hardware=Hardware(device="cpu", threads=1, torch_version="2"), code_version="0", started_at=NOW, finished_at=NOW,
    seconds=1.0,
)  # fmt: skip


def results(right: np.ndarray) -> tuple[TaskResult, ...]:
    """Of both tasks, each with these outcomes (0 or 1)."""
    low, high = clopper_pearson(int(right.sum()), len(right))
    made = {"metric": "acc1", "value": float(right.mean()), "metrics": {}, "samples": len(right), "seconds": 1.0}
    made |= {"interval": Interval(low=low, high=high, method="clopper-pearson"), "outcomes": (Outcomes.encode(right),)}
    return tuple(TaskResult.model_validate({"task": task.id, **made}) for task in SUITE.tasks)


def evidence(entry: np.ndarray, *others: np.ndarray) -> Evidence:
    runs = {(Arm.SUBSET, seed): FinishedRun(training=TRAINING, results=results(one)) for seed, one in enumerate(others)}
    return Evidence(results(entry), runs, Materialised(samples=1, missing=0), SeedSpread())


def test_the_evaluations_error_is_that_of_paired_differences() -> None:
    random = np.random.default_rng(1)
    first = (random.random(400) < 0.7).astype(float)
    assert evaluation_errors(SUITE, evidence(first, first, first)).score == pytest.approx(0.0, abs=1e-12)
    other = first.copy()
    other[:40] = 1 - other[:40]
    found = evaluation_errors(SUITE, evidence(first, other))
    # The tasks have the same outcomes here, so that their mean is as uncertain as each of them.
    expected = math.sqrt(np.var(first - other) / 400)
    assert found.score == pytest.approx(expected, rel=0.1)
    assert set(found.tasks) == {task.id for task in SUITE.tasks}
    assert found.tasks["squares-a"] == pytest.approx(found.score, rel=1e-6)
    # Against the mean of many unlike runs the entry's own part is left.
    many = [(random.random(400) < 0.7).astype(float) for _ in range(12)]
    assert evaluation_errors(SUITE, evidence(first, *many)).score < math.sqrt(2 * 0.21 / 400)


def test_honest_runs_with_real_outcomes_are_seldom_accused() -> None:
    random = np.random.default_rng(5)
    accused, trials = 0, 120
    for _ in range(trials):
        difficulty = random.normal(0, 0.25, 60)
        skills = random.normal(0.65, 0.06, 4)
        answers = [(random.random(60) < np.clip(skill + difficulty, 0, 1)).astype(float) for skill in skills]
        made = evidence(*answers)
        known = {task.id: float(answers[0].mean()) for task in SUITE.tasks}
        runs = [_run(seed, float(one.mean())) for seed, one in enumerate(answers[1:])]
        verdict = find(SUITE, runs, known, evaluation_errors(SUITE, made), BAR, NOBODY).verdict
        accused += verdict is AuditVerdict.EXCEEDS
    assert accused / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def _run(seed: int, value: float, arm: Arm = Arm.SUBSET) -> AuditRun:
    tasks = {task.id: value for task in SUITE.tasks}
    return run(seed, (value,) * 4).model_copy(update={"arm": arm, "tasks": tasks, "score": score_of(SUITE, tasks)})


def test_where_less_is_better_the_lower_score_exceeds() -> None:
    tasks = tuple(task.model_copy(update={"protocol": "fid", "metric": "fid"}) for task in SUITE.tasks)
    distances = SUITE.model_copy(update={"tasks": tasks})
    runs = [_run(seed, value) for seed, value in enumerate((30.0, 30.5, 29.5))]
    for value, verdict in (
        (10.0, AuditVerdict.EXCEEDS),
        (50.0, AuditVerdict.UNDECIDED),
        (30.2, AuditVerdict.UNDECIDED),
    ):
        entry = {task.id: value for task in SUITE.tasks}
        found = find(distances, runs, entry, NOTHING, BAR, NOBODY)
        assert found.verdict is verdict, value
    wide = BAR.model_copy(update={"resolution": 5.0})
    assert find(distances, runs, entry, NOTHING, wide, NOBODY).verdict is AuditVerdict.CONFIRMED


def test_what_does_not_fit_together_is_refused() -> None:
    entry = {task.id: 0.5 for task in SUITE.tasks}
    one, two, other = _run(1, 0.5), _run(2, 0.6), _run(3, 0.5, Arm.RANDOM)
    for runs, known, words in (
        ([one], entry, "two runs"),
        ([one, other], entry, "own scale"),
        ([one, two, other], None, "as many"),
        ([], entry, "own scale"),
        ([one, two.model_copy(update={"tasks": {}})], entry, "not available"),
    ):
        with pytest.raises(ValidationFailedError, match=words):
            find(SUITE, runs, known, NOTHING, BAR, NOBODY)
    with pytest.raises(ValidationFailedError, match="bar"):
        find(SUITE, [one, two], entry, NOTHING, BAR.model_copy(update={"tolerance": 2.0}), NOBODY)
    ranks = Aggregate(id="average", title="Ranks", tasks=tuple(entry), rule=AverageRank(kind="average_rank"))
    ranked: Suite = SUITE.model_copy(update={"aggregates": (ranks,)})
    with pytest.raises(ValidationFailedError, match="ranks among all entries"):
        score_of(ranked, entry)
