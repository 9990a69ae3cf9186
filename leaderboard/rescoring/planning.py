"""Which entries a re-scoring is about, what of their results can be taken over, and what the rest will cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from sqlalchemy.orm import Session

from competition.errors import UsageError
from competition.records.rescoring import ChangedTasks, Omission, RescoringPlan, RescoringRequest
from competition.rules import Competition, Phase, Suite, Task, find_scale, find_track
from competition.rules.suite_changes import suite_changes
from leaderboard.competitions import service as competitions
from leaderboard.models import Evaluation, Submission
from leaderboard.rescoring import repository


@dataclass(frozen=True)
class Candidate:
    """A scored entry with the evaluation that the newer one will stand beside."""

    submission: Submission
    before: Evaluation


@dataclass(frozen=True)
class Selection:
    """The entries to re-score, and those of the competition that are not, each with the reason."""

    chosen: list[Candidate] = field(default_factory=list)
    left_out: list[Omission] = field(default_factory=list)


def select(session: Session, current: Competition, request: RescoringRequest) -> Selection:
    """Sort the competition's scored entries. One that has a public score under the newer suite is neither.

    Raises ``UsageError`` for a track, scale or phase that the current version does not have.
    """
    phase = _phase(current, request)
    done = repository.published_under(session, current.id, request.document.suite.digest)
    selection = Selection()
    for submission, before in repository.scored(session, current.id):
        if submission.id in done:
            continue
        reason = _outside(submission, request, phase) or _incomparable(submission, current, request.document)
        if reason is None:
            selection.chosen.append(Candidate(submission, before))
        else:
            omission = Omission(submission_id=submission.id, method_name=submission.method_name, reason=reason)
            selection.left_out.append(omission)
    return selection


def _phase(current: Competition, request: RescoringRequest) -> Phase | None:
    if request.track is not None:
        find_track(current, request.track)
    if request.scale is not None:
        find_scale(current, request.scale)
    if request.phase is None:
        return None
    phases = {phase.id: phase for phase in current.phases}
    if request.phase not in phases:
        raise UsageError(
            f"Competition {current.id!r} has no phase {request.phase!r}.", hint=f"Its phases are: {', '.join(phases)}."
        )
    return phases[request.phase]


def _outside(submission: Submission, request: RescoringRequest, phase: Phase | None) -> str | None:
    for what in ("track", "scale"):
        wanted = getattr(request, what)
        if wanted is not None and getattr(submission, what) != wanted:
            return f"not of {what} {wanted!r}, which alone is re-scored"
    received = submission.received_at
    if phase is not None and (
        received is None or received < phase.opens or (phase.closes is not None and received >= phase.closes)
    ):
        return f"not received in phase {phase.id!r}, which alone is re-scored"
    return None


def _incomparable(submission: Submission, current: Competition, document: Competition) -> str | None:
    """Why no score under the newer version can be the entry's; None where one can."""
    version = f"version {document.version}"
    try:
        track, scale = find_track(document, submission.track), find_scale(document, submission.scale)
    except UsageError as error:
        return f"{version} does not have its table: {error.message}"
    if track.entry is not {each.id: each.entry for each in current.tracks}.get(track.id, track.entry):
        return f"{version} takes entries of another kind on track {track.id!r}"
    if document.training_digest(scale) != submission.recipe_digest:
        return f"{version} has another recipe for scale {scale.id!r}: it would have to be trained anew"
    return None


def changes(old: Suite, new: Suite) -> ChangedTasks:
    """What becomes of the older suite's tasks, as a record."""
    found = suite_changes(old, new)
    return ChangedTasks(kept=found.kept, changed=found.changed, added=found.added, removed=found.removed)


def taken_over(old: Suite, new: Suite, results: Mapping[str, object], *, fresh: bool) -> tuple[str, ...]:
    """Tasks of the newer suite whose accepted ``results`` under the older one are theirs, too."""
    return () if fresh else tuple(task for task in suite_changes(old, new).kept if task in results)


def plan(session: Session, current: Competition, request: RescoringRequest) -> RescoringPlan:
    """What a re-scoring would do."""
    selection = select(session, current, request)
    suites = _Suites(session, current)
    known = repository.recorded_seconds(session, [each.before.id for each in selection.chosen])
    done = repository.accepted_under(session, current.id, request.document.suite.digest)
    cost = _Cost()
    for each in selection.chosen:
        old = suites.of(each.before.suite_digest)
        left = [task for task in request.document.suite.tasks if task.id not in done.get(each.submission.id, ())]
        cost.add(old, request.document.suite, left, known.get(each.before.id, {}), fresh=request.fresh)
    return RescoringPlan(
        competition=current.id,
        version_before=current.version,
        version_after=request.document.version,
        suite_before=current.suite.reference,
        suite_after=request.document.suite.reference,
        suite_digest=request.document.suite.digest,
        tasks=changes(current.suite, request.document.suite),
        entries=len(selection.chosen),
        evaluations=cost.evaluations,
        taken_over=cost.taken_over,
        seconds=cost.seconds,
        seconds_by_analogy=cost.by_analogy,
        not_estimated=cost.unknown,
        left_out=tuple(selection.left_out),
    )


class _Suites:
    """Suites of published evaluations by digest, each read once."""

    def __init__(self, session: Session, current: Competition) -> None:
        self._session = session
        self._competition = current.id
        self._known = {current.suite.digest: current.suite}

    def of(self, digest: str) -> Suite:
        if digest not in self._known:
            found = competitions.under_suite(self._session, self._competition, digest)
            self._known[digest] = found.suite
        return self._known[digest]


@dataclass
class _Cost:
    evaluations: int = 0
    taken_over: int = 0
    seconds: float = 0.0
    by_analogy: float = 0.0
    unknown: int = 0

    def add(self, old: Suite, new: Suite, left: Sequence[Task], seconds: Mapping[str, float], *, fresh: bool) -> None:
        """Count one entry, whose older tasks took so long; ``left`` are the newer ones without a result."""
        kept = taken_over(old, new, seconds, fresh=fresh)
        for task in left:
            if task.id in kept:
                self.taken_over += 1
                continue
            self.evaluations += 1
            if task.id in seconds:
                self.seconds += seconds[task.id]
                continue
            alike = list(_alike(task.protocol.value, old, seconds)) or list(seconds.values())
            guess = fmean(alike) if alike else 0.0
            self.unknown += not alike
            self.seconds += guess
            self.by_analogy += guess


def _alike(protocol: str, old: Suite, seconds: Mapping[str, float]) -> Iterator[float]:
    return (seconds[task.id] for task in old.tasks if task.protocol.value == protocol and task.id in seconds)


def omissions(submissions: Sequence[Submission], reason: str) -> tuple[Omission, ...]:
    """Entries that are all left out for one reason."""
    return tuple(Omission(submission_id=row.id, method_name=row.method_name, reason=reason) for row in submissions)
