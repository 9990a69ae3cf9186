"""Constructed records for the tests of the website: a competition with entries of every kind."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from competition.errors import RejectionReason
from competition.records.evaluation import Interval
from competition.records.lifecycle import GENESIS_HASH, Eligibility, Event, Processing, Trust, Visibility
from competition.records.standings import StandingsRow, StandingsTask, StandingsView
from competition.records.submission import Rejection, Score, SubmissionView, TaskScore
from competition.rules.catalog import find_competition
from leaderboard.web.templating import Place

DIGITS = find_competition("digits")
START = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
PLACE = Place(site="http://testserver", path="/")


def score(value: float, samples: int = 540) -> Score:
    """A score with a normal-approximation interval, cut off at 0 and 1."""
    half = 1.96 * math.sqrt(max(value * (1 - value), 1e-4) / samples)
    low, high = max(0.0, value - half), min(1.0, value + half)
    return Score(value=value, interval=Interval(low=low, high=high, method="clopper-pearson"))


def row(
    number: int, values: tuple[float, ...], ranks: tuple[int | None, int | None, int | None], **changes
) -> StandingsRow:
    """A standings row; ``ranks`` are rank, lowest and highest rank."""
    tasks = {task.id: score(value, task.samples) for task, value in zip(DIGITS.suite.tasks, values, strict=True)}
    fields = {
        "rank": ranks[0],
        "rank_low": ranks[1],
        "rank_high": ranks[2],
        "submission_id": f"s{number}",
        "method_name": f"Method {number}",
        "author": f"Author {number}",
        "account": "team",
        "score": score(sum(values) / len(values), 1600),
        "tasks": tasks,
        "subset_samples": 4000 + number,
        "subset_unique": 3000 + number,
        "eligibility": Eligibility.ELIGIBLE,
        "trust": Trust.RE_EVALUATED,
        "submitted_at": START + timedelta(minutes=number),
    }
    return StandingsRow.model_validate(fields | changes)


def standings(rows: list[StandingsRow]) -> StandingsView:
    """Standings of the digits competition's first scale."""
    suite = DIGITS.suite
    return StandingsView(
        competition=DIGITS.id,
        competition_version=DIGITS.version,
        track="filtering",
        scale="nano",
        suite=suite.reference,
        suite_digest=suite.digest,
        recipe_digest=DIGITS.recipes[0].digest,
        aggregate=suite.primary_aggregate.title,
        tasks=[
            StandingsTask(
                id=task.id, title=task.title, metric=task.metric, samples=task.samples, chance=task.chance,
                hidden=task.hidden,
            )
            for task in suite.tasks
        ],
        rows=rows,
        generated_at=START,
    )  # fmt: skip


def sample_standings() -> StandingsView:
    """Two entries that cannot be separated, two that can, a baseline, and one with an unscored task."""
    unscored = row(6, (0.4, 0.3, 0.2, 0.4), (None, None, None), method_name="Half a night", score=None)
    unscored = unscored.model_copy(update={"tasks": unscored.tasks | {"digits-shift": None}})
    return standings(
        [
            row(1, (0.931, 0.712, 0.655, 0.924), (1, 1, 2), method_name="Dedup + agreement", author="Mina Okafor"),
            row(2, (0.926, 0.724, 0.611, 0.916), (2, 1, 2), method_name="CLIP score, best 30 %", author="Calm Data"),
            row(3, (0.838, 0.604, 0.470, 0.821), (3, 3, 3), method_name="Basic filter", author="Jo Lindqvist"),
            row(4, (0.124, 0.118, 0.045, 0.134), (4, 4, 4), method_name="Whole pool", author="DataCup",
                trust=Trust.RE_TRAINED),
            row(5, (0.702, 0.491, 0.390, 0.690), (None, None, None), method_name="Random half",
                eligibility=Eligibility.BASELINE),
            unscored,
        ]
    )  # fmt: skip


def submission(number: int, processing: Processing = Processing.SCORED, **changes) -> SubmissionView:
    """An entry as the API shows it."""
    fields = {
        "id": f"s{number}",
        "competition": "digits",
        "track": "filtering",
        "scale": "nano",
        "method_name": f"Method {number}",
        "author": f"Author {number}",
        "description": "Near-duplicates out by image distance, then the better half by caption agreement.",
        "account": "mina",
        "hub_endpoint": "https://huggingface.co",
        "repo": "mina/digits-entry",
        "revision": "4be2e1c7" * 5,
        "path": f"digits/filtering/nano/s{number}",
        "processing": processing,
        "stage": None,
        "visibility": Visibility.PUBLIC,
        "eligibility": Eligibility.ELIGIBLE,
        "trust": Trust.RE_EVALUATED if processing is Processing.SCORED else Trust.SELF_REPORTED,
        "rejection": None,
        "failure": None,
        "subset_samples": 4_210,
        "subset_unique": 3_930,
        "suite": DIGITS.suite.reference,
        "tasks_total": len(DIGITS.suite.tasks),
        "results": results() if processing is Processing.SCORED else [],
        "created_at": START,
        "updated_at": START + timedelta(minutes=4),
    }
    return SubmissionView.model_validate(fields | changes)


def results() -> list[TaskScore]:
    """A result for each task of the suite."""
    values = (0.931, 0.712, 0.655, 0.924)
    return [
        TaskScore(
            task=task.id,
            title=task.title,
            metric=task.metric,
            score=score(value, task.samples),
            metrics={task.metric: value, "acc5": None},
            samples=task.samples,
            seconds=3.2,
        )
        for task, value in zip(DIGITS.suite.tasks, values, strict=True)
    ]


def refused() -> SubmissionView:
    """An entry whose checkpoint is not the one of its manifest."""
    reason = RejectionReason.DIGEST_MISMATCH
    message = "model.safetensors has sha256 9f3c…21 but the manifest promises 07aa…e4."
    return submission(
        9, Processing.INVALID, method_name="Too good to be true", author="A. Nonymous",
        rejection=Rejection(reason=reason, message=message, hint=reason.hint),
    )  # fmt: skip


def events(
    steps: list[tuple[str, str | None, str | None, dict[str, object]]], submission_id: str = "s1"
) -> list[Event]:
    """A hash-chained log from (kind, before, after, detail)."""
    log: list[Event] = []
    for sequence, (kind, before, after, detail) in enumerate(steps, start=1):
        event = Event(
            submission_id=submission_id, sequence=sequence, at=START + timedelta(seconds=17 * sequence),
            actor="scorer-1", kind=kind, before=before, after=after, detail=detail,
            previous_hash=log[-1].hash if log else GENESIS_HASH, hash=GENESIS_HASH,
        )  # fmt: skip
        log.append(event.model_copy(update={"hash": event.expected_hash()}))
    return log


def scored_events() -> list[Event]:
    """The log of an entry that went all the way, with one lost worker."""
    done = [("task_result", None, None, {"task": task.id, "attempt": 2}) for task in DIGITS.suite.tasks[1:]]
    return events(
        [
            ("registered", None, "draft", {}),
            ("processing", "draft", "received", {"revision": "4be2e1c7" * 5, "on_time": True}),
            ("claimed", None, None, {"job": "intake", "attempt": 1}),
            ("processing", "received", "mirrored", {"attempt": 1}),
            ("processing", "mirrored", "validating", {"attempt": 1}),
            ("processing", "validating", "queued", {"manifest_sha256": "ab" * 32, "attempt": 1}),
            ("claimed", "queued", "leased", {"job": "scoring", "attempt": 1}),
            ("processing", "leased", "running", {"task": "digits-test", "attempt": 1}),
            ("task_result", None, None, {"task": "digits-test", "attempt": 1, "result_sha256": "cd" * 32}),
            ("lease_expired", "running", "queued", {"job": "scoring", "attempt": 1, "message": "Nothing was heard."}),
            ("claimed", "queued", "leased", {"job": "scoring", "attempt": 2}),
            *done,
            ("processing", "running", "scored", {"suite": "digits@1", "attempt": 2}),
        ]
    )
