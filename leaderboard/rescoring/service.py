"""The life of a re-scoring: begun, worked on as jobs of the queue, published in one transaction, or cancelled.

While it is open, its entries stay scored and their older numbers public. Every step may be repeated: beginning again
takes up what has come or failed since, publishing and cancelling again change nothing.
"""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from competition.canonical import digest
from competition.errors import ConflictError, NotFoundError, UsageError
from competition.records.lifecycle import JobKind, Processing, Visibility
from competition.records.rescoring import (
    Omission,
    PublishRequest,
    RescoringPlan,
    RescoringProgress,
    RescoringRequest,
    RescoringState,
    RescoringView,
)
from competition.rules import Competition, unsupported
from leaderboard.accounts.viewer import Act, Viewer
from leaderboard.competitions import documents
from leaderboard.competitions import repository as published
from leaderboard.competitions import service as competitions
from leaderboard.events import service as events
from leaderboard.models import Evaluation, JobState, RescoredEntry, Rescoring, Submission
from leaderboard.rescoring import places, planning, repository
from leaderboard.rescoring.planning import Candidate
from leaderboard.scoring import queue
from leaderboard.scoring import repository as jobs
from leaderboard.submissions import repository as submissions

#: Entries that nobody has scored yet go first.
PRIORITY = 1
_SHOWN = 5


def plan(session: Session, competition: str, request: RescoringRequest) -> RescoringPlan:
    """What ``begin`` would do (raises as it does)."""
    return planning.plan(session, _current(session, competition, request.document), request)


def begin(session: Session, competition: str, request: RescoringRequest, act: Act) -> RescoringView:
    """Open a re-scoring with a job for each entry. The same request again goes on with the open one.

    What was scored in the meantime is added, and what had failed is tried again.

    Raises:
        NotFoundError: there is no such competition.
        UsageError: the document is not this competition's, or cannot be scored; or a filter names nothing.
        ConflictError: another re-scoring is open; the document's version is not the next one; there is nothing to do.
    """
    current = _current(session, competition, request.document)
    rescoring = repository.open_of(session, competition) or _create(session, current, request, act)
    _require_same(rescoring, request)
    known = repository.entered(session, rescoring.id)
    for entry in known.values():
        _revive(session, entry, act)
    for candidate in planning.select(session, current, request).chosen:
        if candidate.submission.id not in known:
            _add(session, rescoring, request.document, candidate, act)
    if current.version == request.document.version and not repository.entered(session, rescoring.id):
        raise ConflictError(
            f"Every entry that can have one has a public score under {request.document.suite.reference}.",
            hint="There is nothing to re-score.",
        )
    return show(session, rescoring)


def publish(session: Session, rescoring: Rescoring, wanted: PublishRequest, act: Act) -> RescoringView:
    """Make the new evaluations and the competition's new version public, all in this transaction.

    Raises ``ConflictError`` while entries are being worked on, when one of the table has no new score (unless that is
    allowed), or when the re-scoring was cancelled.
    """
    rescoring = repository.lock(session, rescoring.id)
    if rescoring.state is RescoringState.PUBLISHED:
        return show(session, rescoring)
    if rescoring.state is RescoringState.CANCELLED:
        raise ConflictError(f"Re-scoring {rescoring.id} was cancelled.", hint="Begin another one.")
    unfinished = progress(session, rescoring).unfinished
    if unfinished:
        raise ConflictError(
            f"Re-scoring {rescoring.id} has {unfinished} entries that are not done.",
            hint="Let scorers work until the queue is empty, then publish.",
        )
    document = competition_of(rescoring)
    lacking = missing(session, rescoring)
    if lacking and not wanted.allow_missing:
        names = ", ".join(each.submission_id for each in lacking[:_SHOWN])
        raise ConflictError(
            f"{len(lacking)} entries of the table have no score under {document.suite.reference}: {names}"
            f"{', ...' if len(lacking) > _SHOWN else ''}.",
            hint="Begin again to retry them, or allow missing ones: they would leave the table.",
        )
    _publish(session, rescoring, document, act)
    return show(session, rescoring)


def cancel(session: Session, rescoring: Rescoring, act: Act) -> RescoringView:
    """End an open re-scoring; nothing of it becomes public. Raises ``ConflictError`` when it is published."""
    rescoring = repository.lock(session, rescoring.id)
    if rescoring.state is RescoringState.PUBLISHED:
        raise ConflictError(
            f"Re-scoring {rescoring.id} is published.", hint="Publish a further version of the suite instead."
        )
    if rescoring.state is RescoringState.OPEN:
        for entry in repository.entered(session, rescoring.id).values():
            submissions.lock(session, entry.submission_id)
            job = jobs.job(session, entry.job_id)
            if job is not None and job.state in {JobState.READY, JobState.LEASED}:
                jobs.update_job(session, job, {"state": JobState.CANCELLED, "ended_at": act.at})
                detail = {"rescoring": rescoring.id}
                events.append(session, entry.submission_id, act, "rescoring_cancelled", detail=detail)
        rescoring.state, rescoring.ended_at = RescoringState.CANCELLED, act.at
        session.flush()
    return show(session, rescoring)


def find(session: Session, competition: str, number: int, viewer: Viewer) -> Rescoring:
    """A re-scoring that the viewer may know of: everybody of published ones, organisers of all."""
    found = repository.by_id(session, competition, number)
    if found is None or not (viewer.is_admin or found.state is RescoringState.PUBLISHED):
        raise NotFoundError(
            f"Competition {competition!r} has no re-scoring {number}.",
            hint=f"GET /api/v1/competitions/{competition}/rescorings lists those there are.",
        )
    return found


def list_(session: Session, competition: str, viewer: Viewer) -> list[RescoringView]:
    """The re-scorings that the viewer may know of, the newest first (raises ``NotFoundError``)."""
    competitions.get(session, competition)
    seen = [row for row in repository.all_of(session, competition) if viewer.is_admin or _is_public(row)]
    return [show(session, row) for row in seen]


def last_published(session: Session, competition: str) -> RescoringView | None:
    """The newest re-scoring that is public, if there is one."""
    found = next(filter(_is_public, repository.all_of(session, competition)), None)
    return None if found is None else show(session, found)


def show(session: Session, rescoring: Rescoring) -> RescoringView:
    """A re-scoring as the API shows it."""
    before, after = rules_before(session, rescoring), competition_of(rescoring)
    return RescoringView(
        id=rescoring.id,
        competition=rescoring.competition,
        version_before=before.version,
        version_after=after.version,
        suite_before=before.suite.reference,
        suite_after=after.suite.reference,
        suite_digest=after.suite.digest,
        state=rescoring.state,
        track=rescoring.track,
        scale=rescoring.scale,
        phase=rescoring.phase,
        fresh=rescoring.fresh,
        tasks=planning.changes(before.suite, after.suite),
        progress=progress(session, rescoring),
        created_at=rescoring.created_at,
        ended_at=rescoring.ended_at,
    )


def progress(session: Session, rescoring: Rescoring) -> RescoringProgress:
    """How many entries are where."""
    states = repository.job_states(session, rescoring.id)
    return RescoringProgress(
        total=sum(states.values()),
        waiting=states.get(JobState.READY, 0),
        running=states.get(JobState.LEASED, 0),
        done=states.get(JobState.DONE, 0),
        failed=states.get(JobState.DEAD, 0),
        cancelled=states.get(JobState.CANCELLED, 0),
    )


def competition_of(rescoring: Rescoring) -> Competition:
    """The competition's version whose suite the entries are evaluated under."""
    return documents.parse(rescoring.document)


def rules_before(session: Session, rescoring: Rescoring) -> Competition:
    """The competition's version that was the newest one when the re-scoring began."""
    return competitions.document(session, rescoring.competition, rescoring.version_before)


def missing(session: Session, rescoring: Rescoring) -> tuple[Omission, ...]:
    """Entries that are in a table before publication and in none afterwards."""
    if rescoring.state is RescoringState.CANCELLED:
        return ()
    document = competition_of(rescoring)
    if rescoring.state is RescoringState.PUBLISHED:
        current = rules_before(session, rescoring)
    else:
        current = competitions.get(session, rescoring.competition).document
    new = {row.id for row, _evaluation in places.members_after(session, rescoring, document)}
    gone = [row for row, _evaluation in places.members_now(session, current) if row.id not in new]
    return planning.omissions(gone, f"no score under {document.suite.reference}")


def _publish(session: Session, rescoring: Rescoring, document: Competition, act: Act) -> None:
    current = competitions.get(session, rescoring.competition).document
    old = places.places(session, current, places.members_now(session, current))
    new = places.places(session, document, places.members_after(session, rescoring, document))
    competitions.publish(session, document, act.at)
    for entry in repository.entered(session, rescoring.id).values():
        submission = submissions.lock(session, entry.submission_id)
        job = jobs.job(session, entry.job_id)
        if submission is None or job is None or job.state is not JobState.DONE:
            continue
        if submission.visibility is Visibility.WITHDRAWN:
            continue
        evaluation = jobs.evaluation(session, entry.evaluation_id)
        before = jobs.evaluation(session, entry.before_id)
        evaluation.published_at = act.at
        was, now = old.get(entry.submission_id), new.get(entry.submission_id)
        entry.score_before = was.score if was is not None else before.score
        entry.score_after = now.score if now is not None else evaluation.score
        entry.rank_before = None if was is None else was.rank
        entry.rank_after = None if now is None else now.rank
        session.flush()
        # The log is public, and scores may rest on hidden tasks: digests are enough to prove what was replaced.
        detail = {
            "rescoring": rescoring.id,
            "before_sha256": _digest(session, before),
            "after_sha256": _digest(session, evaluation),
        }
        change = (before.suite, evaluation.suite)
        events.append(session, entry.submission_id, act, "rescored", change=change, detail=detail)
    rescoring.state, rescoring.ended_at = RescoringState.PUBLISHED, act.at
    session.flush()


def _digest(session: Session, evaluation: Evaluation) -> str:
    """Identity of an evaluation: its suite, its score, and the digests of its accepted results."""
    results = repository.outcomes(session, [evaluation.id]).get(evaluation.id, {})
    return digest(
        {
            "suite_digest": evaluation.suite_digest,
            "score": evaluation.score,
            "results": {task: outcome.digest for task, outcome in results.items()},
        }
    )


def _current(session: Session, competition: str, document: Competition) -> Competition:
    """The newest published version, checked against the one that shall follow it."""
    current = competitions.get(session, competition).document
    if document.id != competition:
        raise UsageError(f"The document is of competition {document.id!r}, not of {competition!r}.")
    known = published.version(session, competition, document.version)
    if known is not None and known.digest != document.digest:
        raise ConflictError(
            f"Version {document.version} of competition {competition!r} is published with another content.",
            hint=f"Raise `version` in the competition's file above {current.version}.",
        )
    if document.version < current.version:
        raise ConflictError(
            f"Competition {competition!r} is published in version {current.version} already.",
            hint=f"Raise `version` in the competition's file above {current.version}.",
        )
    reasons = unsupported(document)
    if reasons:
        raise UsageError(f"Competition {competition!r} cannot be published: {' '.join(reasons)}")
    same = [row for row in published.versions(session, competition) if _reuses(row.document, document)]
    if same:
        raise ConflictError(
            f"Suite {document.suite.reference} was published with another content, in version {same[0].version}.",
            hint="Results of two suites never mix: raise `version` in the suite too.",
        )
    return current


def _reuses(raw: str, document: Competition) -> bool:
    """Whether an older version's suite has the name of the newer one's, and is another."""
    suite = documents.parse(raw).suite
    return suite.reference == document.suite.reference and suite.digest != document.suite.digest


def _create(session: Session, current: Competition, request: RescoringRequest, act: Act) -> Rescoring:
    rescoring = Rescoring(
        competition=current.id,
        version_before=current.version,
        version_after=request.document.version,
        digest=request.document.digest,
        document=request.document.model_dump_json(),
        track=request.track,
        scale=request.scale,
        phase=request.phase,
        fresh=request.fresh,
        state=RescoringState.OPEN,
        created_at=act.at,
    )
    try:
        with session.begin_nested():
            session.add(rescoring)
    except IntegrityError as error:
        raise ConflictError(
            f"Somebody else has just begun a re-scoring of {current.id!r}.", hint="Run the same command again."
        ) from error
    return rescoring


def _require_same(rescoring: Rescoring, request: RescoringRequest) -> None:
    ours = (rescoring.digest, rescoring.track, rescoring.scale, rescoring.phase, rescoring.fresh)
    if ours != (request.document.digest, request.track, request.scale, request.phase, request.fresh):
        raise ConflictError(
            f"Re-scoring {rescoring.id} of competition {rescoring.competition!r} is open, and is another one.",
            hint="Publish it or cancel it first.",
        )


def _add(session: Session, rescoring: Rescoring, document: Competition, candidate: Candidate, act: Act) -> None:
    submission = submissions.lock(session, candidate.submission.id)
    if submission is None or not _may_be_rescored(submission):
        return
    _require_idle(session, submission)
    suite = document.suite
    evaluation = jobs.evaluation_under(session, submission.id, suite.digest)
    if evaluation is None:
        evaluation = Evaluation(
            submission_id=submission.id, suite=suite.reference, suite_digest=suite.digest, created_at=act.at
        )
        session.add(evaluation)
        session.flush()
    job = queue.enqueue(session, submission, JobKind.SCORING, act.at, evaluation_id=evaluation.id, priority=PRIORITY)
    session.add(
        RescoredEntry(
            rescoring_id=rescoring.id,
            submission_id=submission.id,
            before_id=candidate.before.id,
            evaluation_id=evaluation.id,
            job_id=job.id,
        )
    )
    session.flush()
    detail = {"rescoring": rescoring.id, "suite": suite.reference}
    events.append(session, submission.id, act, "rescoring_queued", detail=detail)


def _may_be_rescored(submission: Submission) -> bool:
    return submission.processing is Processing.SCORED and submission.visibility is not Visibility.WITHDRAWN


def _require_idle(session: Session, submission: Submission) -> None:
    if jobs.live_job(session, submission.id) is not None:
        raise ConflictError(f"Submission {submission.id} is being worked on.", hint="Try again when that is done.")


def _revive(session: Session, entry: RescoredEntry, act: Act) -> None:
    """Try again what had failed; accepted results stay."""
    submission = submissions.lock(session, entry.submission_id)
    job = jobs.job(session, entry.job_id)
    if submission is None or job is None or job.state is not JobState.DEAD or not _may_be_rescored(submission):
        return
    _require_idle(session, submission)
    values = {"state": JobState.READY, "failures": 0, "available_at": act.at, "ended_at": None}
    jobs.update_job(session, job, values)
    entry.failure = None
    session.flush()
    events.append(session, submission.id, act, "requeued", detail={"rescoring": entry.rescoring_id})


def _is_public(rescoring: Rescoring) -> bool:
    return rescoring.state is RescoringState.PUBLISHED
