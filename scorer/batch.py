"""Work in bulk for organisers: everything that waits, a competition under another suite, one entry once more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from competition import __version__
from competition.client import LeaderboardClient
from competition.errors import EngineError, StorageError, UsageError
from competition.records.evaluation import TaskResult
from competition.records.lifecycle import JobKind, Processing
from competition.records.rescoring import EvaluationView, ReplayNote, RescoringRequest, RescoringView
from competition.records.scoring import (
    EntryFilter,
    JobGrant,
    RescoringOrder,
    ResultReport,
    ResultTakenOver,
    StageReport,
)
from competition.records.submission import SubmissionView
from competition.rules import Competition
from competition.verification.self_report import allowed_gap
from scorer.children import Children
from scorer.engine import LocalEngine
from scorer.guard import Guard, Stop
from scorer.jobs import Job
from scorer.lease import Unleased
from scorer.mirror import Mirror
from scorer.rulebook import known_competitions
from scorer.settings import ScorerSettings
from scorer.work import Mode, Observer, Service

_PAGE = 100
_ENDS = frozenset({"verified", "scored", "invalid", "failed", "abandoned"})


@dataclass(frozen=True)
class Workplace:
    """What the work of this machine needs; ``stop`` ends it, ``observe`` hears its events."""

    settings: ScorerSettings
    client: LeaderboardClient
    children: Children
    stop: Stop
    observe: Observer = lambda _event: None
    jobs: int = 1

    def drain(self, kinds: tuple[JobKind, ...], only: EntryFilter) -> None:
        """Do jobs of these kinds and entries until none can be claimed, or until a stop is asked for."""
        service = Service(self.settings, self.client, self.children, kinds=kinds, only=only, observe=self.observe)
        service.stop = self.stop
        service.run(Mode.DRAIN, self.jobs)


@dataclass
class Line:
    """What became of one entry's job."""

    submission: str
    kind: str
    outcome: str = "running"
    tasks: int = 0
    taken_over: int = 0
    seconds: float = 0.0
    message: str = ""


@dataclass
class Tally:
    """An observer that remembers the last word on every job; may be used from several threads."""

    lines: dict[tuple[str, str], Line] = field(default_factory=dict)
    _begun: dict[tuple[str, str], float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, event: dict[str, Any]) -> None:
        """Note an event."""
        key, name = (event["submission"], event["kind"]), event["event"]
        with self._lock:
            line = self.lines.setdefault(key, Line(*key))
            if name == "claimed":
                self._begun[key] = time.monotonic()
            elif name == "task":
                line.tasks += 1
            elif name == "taken_over":
                line.taken_over += 1
            elif name in _ENDS:
                line.outcome, line.message = name, str(event.get("message", ""))
                line.seconds += time.monotonic() - self._begun.get(key, time.monotonic())


def find_version(reference: str, files: tuple[str, ...]) -> Competition:
    """The competition with the suite of that reference (``digits@2``), among ``files`` and the built-in ones.

    Raises ``UsageError`` when there is none, or when competitions of several names have it.
    """
    found = [each for each in known_competitions(files) if each.suite.reference == reference]
    if not found:
        raise UsageError(
            f"No competition that this scorer knows is scored by suite {reference!r}.",
            hint="Give the file of the competition's new version with --competition, or in DATACUP_COMPETITIONS.",
        )
    names = sorted({each.id for each in found})
    if len(names) > 1:
        raise UsageError(
            f"Several competitions are scored by suite {reference!r}: {', '.join(names)}.",
            hint="Give the file of one of them with --competition, and the others' not at all.",
        )
    return max(found, key=lambda each: each.version)


def phase_filter(competition: Competition, phase: str | None, track: str | None, scale: str | None) -> EntryFilter:
    """The entries of a competition that were received in a phase (raises ``UsageError`` for one that is not there)."""
    window = None
    if phase is not None:
        phases = {each.id: each for each in competition.phases}
        if phase not in phases:
            raise UsageError(
                f"Competition {competition.id!r} has no phase {phase!r}.",
                hint=f"Its phases are: {', '.join(phases)}.",
            )
        window = phases[phase]
    return EntryFilter(
        competition=competition.id,
        track=track,
        scale=scale,
        received_from=window.opens if window else None,
        received_before=window.closes if window else None,
    )


def waiting(client: LeaderboardClient, only: EntryFilter) -> list[SubmissionView]:
    """Entries on which work is due, the oldest first."""
    found: list[SubmissionView] = []
    filters = only.model_dump(mode="json", exclude_none=True)
    for state in Processing:
        if state.terminal or state is Processing.DRAFT:
            continue
        cursor: dict[str, str | int] = {}
        while True:
            page = client.submissions(**filters, processing=state.value, limit=_PAGE, **cursor)
            found += page.items
            if page.next_cursor is None:
                break
            cursor = {"cursor": page.next_cursor}
    return sorted(found, key=lambda view: view.created_at)


def work_off(place: Workplace, only: EntryFilter) -> list[SubmissionView]:
    """Do everything that waits, as long as something does; what is left when a stop was asked for."""
    while True:
        place.drain(tuple(JobKind), only)
        left = waiting(place.client, only)
        if not left or place.stop.requested:
            return left
        # Work that other scorers hold, or that waits for its next try.
        place.stop.wait(place.settings.poll_seconds)


def rescore(place: Workplace, request: RescoringRequest, tell: Callable[[RescoringView], None]) -> RescoringView:
    """Begin a re-scoring or go on with the open one, and work until every entry of it is done or given up.

    ``tell`` hears how it stands after every round. Other scorers may help; a fresh entry of the competition is scored
    first. Ends early when a stop is asked for.
    """
    view = place.client.begin_rescoring(request)
    only = EntryFilter(competition=request.document.id, track=request.track, scale=request.scale)
    while True:
        tell(view)
        if not view.progress.unfinished or place.stop.requested:
            return view
        place.drain((JobKind.SCORING,), only)
        view = _as_it_is(place.client, view)
        if view.progress.unfinished:
            place.stop.wait(place.settings.poll_seconds)


def _as_it_is(client: LeaderboardClient, view: RescoringView) -> RescoringView:
    found = {each.id: each for each in client.rescorings(view.competition)}
    if view.id not in found:
        raise EngineError(
            f"The leaderboard no longer shows re-scoring {view.id}.", hint="Is the token still one of scope `admin`?"
        )
    return found[view.id]


@dataclass(frozen=True)
class ReplayedTask:
    """A stored value beside the one that came now; ``allowed`` is by how much two machines may differ."""

    task: str
    title: str
    metric: str
    stored: float | None
    replayed: float
    allowed: float

    @property
    def within(self) -> bool:
        """Whether the stored value holds. One that is absent does not."""
        return self.stored is not None and abs(self.replayed - self.stored) <= self.allowed


@dataclass(frozen=True)
class Replay:
    """One entry, evaluated once more under the suite of one of its public evaluations."""

    submission: str
    suite: str
    suite_digest: str
    tasks: tuple[ReplayedTask, ...]

    @property
    def differing(self) -> tuple[ReplayedTask, ...]:
        """Tasks whose stored value does not hold."""
        return tuple(task for task in self.tasks if not task.within)


class _Basket:
    """Keeps what a job hands in, instead of the leaderboard."""

    def __init__(self) -> None:
        self.results: list[TaskResult] = []

    def report_stage(self, grant: JobGrant, message: StageReport) -> None:
        """Of no interest."""

    def report_result(self, grant: JobGrant, message: ResultReport) -> None:  # noqa: ARG002 - as the leaderboard's
        """Keep it."""
        self.results.append(message.result)

    def take_over_result(self, grant: JobGrant, message: ResultTakenOver) -> None:
        """Nothing is taken over in a replay."""
        raise EngineError(f"Task {message.task!r} of submission {grant.submission_id} was to be evaluated.")


def replay(place: Workplace, submission: str, suite: str | None) -> Replay:
    """Evaluate a scored entry once more from the mirror, under its newest public suite or the one of that reference.

    The leaderboard is told that it was done and how many values held, and nothing else changes there.

    Raises:
        UsageError: it has no public score, or none under that suite.
        StorageError: the mirror does not have it.
        RejectionError: it cannot be evaluated, although it was.
    """
    known = place.client.evaluations(submission)
    chosen = [each for each in known if suite in {None, each.suite}]
    if not chosen:
        under = f" under suite {suite!r}" if suite else ""
        raise UsageError(
            f"Submission {submission} has no public score{under}.",
            hint=f"It has scores under: {', '.join(each.suite for each in known) or 'no suite'}.",
        )
    record = chosen[-1]
    grant = _grant(place, submission, record, known)
    basket = _Basket()
    events = {"submission": submission, "job": 0, "kind": JobKind.SCORING.value, "attempt": grant.attempt}

    def notify(event: str, **detail: object) -> None:
        place.observe({"event": event, **events, **detail})

    place.children.warm_up()
    guard = Guard(Unleased(), place.stop)
    engine = LocalEngine(place.children, place.settings)
    Job(grant, basket, place.children, place.settings, guard, notify, engine).run()
    done = Replay(submission, record.suite, record.suite_digest, _compared(record, basket.results))
    note = ReplayNote(
        suite_digest=record.suite_digest,
        tasks=len(done.tasks),
        differing=tuple(task.task for task in done.differing),
        worker=place.settings.worker,
        code_version=__version__,
    )
    place.client.note_replay(submission, note)
    return done


def _grant(place: Workplace, submission: str, record: EvaluationView, known: list[EvaluationView]) -> JobGrant:
    """What the leaderboard would grant, were this a job of its queue: from the mirror's word on the entry."""
    mirrored = Mirror(place.settings.mirror_root).entry(submission)
    if mirrored is None:
        raise StorageError(
            f"The mirror {place.settings.mirror_root} knows nothing of {submission}.",
            hint="Set DATACUP_MIRROR to a mirror that has it: `datacup-scorer mirror ls`.",
        )
    manifest, source = mirrored.manifest, mirrored.source
    own = next((each for each in known if each.suite_digest == manifest.suite_digest), None)
    if manifest.submission_id != submission or own is None:
        raise UsageError(
            f"The mirror's manifest of {submission} is not that of the entry that was scored.",
            hint="Is DATACUP_MIRROR the mirror of this leaderboard?",
        )
    order = None
    if record.suite_digest != manifest.suite_digest:
        order = RescoringOrder(
            competition_version=record.competition_version,
            competition_digest=record.competition_digest,
            suite=record.suite,
            suite_digest=record.suite_digest,
            taken_over=(),
        )
    same = ("submission_id", "nonce", "competition", "track", "scale", "recipe_digest", "suite", "suite_digest")
    return JobGrant(
        job_id=0,
        kind=JobKind.SCORING,
        attempt=1,
        token="nobody-is-spoken-to",  # noqa: S106 - of the right shape, and sent nowhere
        lease_seconds=1,
        competition_digest=own.competition_digest,
        hub_endpoint=source.endpoint,
        repo=source.repo,
        revision=source.revision,
        path=source.path,
        manifest=manifest,
        finished_tasks=(),
        rescoring=order,
        **{name: getattr(manifest, name) for name in same},
    )


def _compared(record: EvaluationView, results: list[TaskResult]) -> tuple[ReplayedTask, ...]:
    stored = {each.task: each for each in record.results}
    compared = []
    for result in results:
        known = stored.get(result.task)
        compared.append(
            ReplayedTask(
                task=result.task,
                title=result.task if known is None else known.title,
                metric=result.metric,
                stored=None if known is None else known.score.value,
                replayed=result.value,
                allowed=allowed_gap(result.value if known is None else known.score.value, result.samples),
            )
        )
    return tuple(compared)
