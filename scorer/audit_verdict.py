"""From what an audit's runs scored to its report. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competition.audit_rule import Errors, find, score_of
from competition.records.audit import Arm, AuditBar, AuditReport, AuditRun, AuditTarget, KnownSpread
from competition.records.evaluation import TaskResult
from competition.records.training import TrainingReport
from competition.rules import Suite
from competition.rules.aggregates import aggregate_replicates
from competition.rules.uncertainty import task_replicates
from competition.seed_noise import SeedSpread
from scorer.audit_folder import AuditPlan, FinishedRun, values_of
from scorer.messages import Materialised

Replicates = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Evidence:
    """All that an audit found. ``entry`` are the results of the entry's own model, and None at a smaller scale."""

    entry: Sequence[TaskResult] | None
    runs: Mapping[tuple[Arm, int], FinishedRun]
    facts: Materialised
    known: SeedSpread


def conclude(target: AuditTarget, plan: AuditPlan, suite: Suite, evidence: Evidence, bar: AuditBar) -> AuditReport:
    """The report; the same evidence gives the same one.

    Raises ``ValidationFailedError`` when the runs are too few, or the entry has no score by itself.
    """
    runs = [_run(arm, seed, run.training, run.results, suite) for (arm, seed), run in evidence.runs.items()]
    known = KnownSpread(sd=evidence.known.sd, degrees=evidence.known.degrees)
    own = target.tasks if evidence.entry is not None else None
    found = find(suite, runs, own, evaluation_errors(suite, evidence), bar, known)
    data = {run.training.data.digest for (arm, _), run in evidence.runs.items() if arm is Arm.SUBSET}
    return AuditReport(
        submission_id=target.submission_id,
        version=target.version,
        scale=plan.scale,
        recipe_digest=plan.recipe_digest,
        suite_digest=plan.suite_digest,
        subset_sha256=plan.subset_sha256,
        model_sha256=plan.model_sha256,
        entry_seed=evidence.facts.entry_seed,
        same_shards=data == {evidence.facts.entry_data_digest},
        missing=evidence.facts.missing,
        runs=tuple(runs),
        bar=bar,
        known=known,
        score=found.score,
        tasks=found.tasks,
        verdict=found.verdict,
        seeds_needed=found.seeds_needed,
        code_version=plan.code_version,
        started_at=plan.started_at,
        finished_at=max(run.training.finished_at for run in evidence.runs.values()),
    )


def evaluation_errors(suite: Suite, evidence: Evidence) -> Errors:
    """Paired bootstrap over the test samples: of the difference between the entry and the mean of the runs.

    All were evaluated on the same samples, and each replicate draws the same of them for all (common random numbers).
    """
    by_arm = {
        arm: [_replicates(suite, run.results) for (of, _), run in evidence.runs.items() if of is arm] for arm in Arm
    }
    if evidence.entry is not None:
        first, second = [_replicates(suite, evidence.entry)], by_arm[Arm.SUBSET]
    else:
        first, second = by_arm[Arm.SUBSET], by_arm[Arm.RANDOM]
    tasks = {}
    for task in suite.tasks:
        parts = [[one[task.id] for one in side if task.id in one] for side in (first, second)]
        tasks[task.id] = _error(*parts)
    scores = [[_of_score(suite, one) for one in side] for side in (first, second)]
    return Errors(_error(*([part for part in side if part is not None] for side in scores)), tasks)


def _replicates(suite: Suite, results: Sequence[TaskResult]) -> Replicates:
    """[2000] by task, of those that have an interval."""
    found = {
        result.task: task_replicates(result, [part.decode() for part in result.outcomes], suite.digest)
        for result in results
    }
    return {task: replicates for task, replicates in found.items() if replicates is not None}


def _of_score(suite: Suite, replicates: Replicates) -> NDArray[np.float64] | None:
    return aggregate_replicates(suite, suite.primary_aggregate, replicates)


def _error(first: Sequence[NDArray[np.float64]], second: Sequence[NDArray[np.float64]]) -> float:
    """Standard error of the difference of means; 0 where nothing could be resampled: seed noise alone counts then."""
    if not first or not second:
        return 0.0
    return float(np.std(np.mean(first, axis=0) - np.mean(second, axis=0), ddof=1))


def _run(arm: Arm, seed: int, training: TrainingReport, results: tuple[TaskResult, ...], suite: Suite) -> AuditRun:
    return AuditRun(
        arm=arm,
        seed=seed,
        score=score_of(suite, values_of(results)),
        tasks=values_of(results),
        samples=training.data.samples,
        data_digest=training.data.digest,
        model_sha256=training.model_sha256,
        final_loss=training.final_loss,
        seconds=training.seconds,
        device=training.hardware.device,
        torch_version=training.hardware.torch_version,
        code_version=training.code_version,
    )
