"""What may be done with an entry before and after it is scored: register, revise, withdraw, mark, look at."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from competition.canonical import digest
from competition.errors import ConflictError, NotFoundError, PermissionDeniedError, ValidationFailedError
from competition.records.lifecycle import Eligibility, JobKind, Processing, Trust, Visibility
from competition.records.submission import (
    QuotaView,
    SubmissionPage,
    SubmissionRegistration,
    SubmissionRevision,
    SubmissionTicket,
    SubmissionView,
    SubmissionWithdrawal,
)
from competition.rules import Competition, find_scale, find_track
from leaderboard.accounts.viewer import ANONYMOUS, Act, Viewer
from leaderboard.competitions import service as competitions
from leaderboard.events import service as events
from leaderboard.events.withholding import VISIBILITY
from leaderboard.models import Submission
from leaderboard.scoring import queue
from leaderboard.settings import Settings
from leaderboard.submissions import lifecycle, quota, repository, views
from leaderboard.submissions.repository import Filter
from leaderboard.visibility import owns


def view(session: Session, submission_id: str, viewer: Viewer = ANONYMOUS) -> SubmissionView:
    """One submission with its results so far (raises ``NotFoundError`` when the viewer may not know of it)."""
    found = repository.find(session, submission_id, viewer)
    if found is None:
        raise _not_found(submission_id)
    return views.show(session, [found], viewer)[0]


def page(session: Session, wanted: Filter, viewer: Viewer = ANONYMOUS) -> SubmissionPage:
    """A page of submissions, newest first."""
    rows = repository.page(session, wanted, viewer)
    shown = rows[: wanted.limit]
    more = len(rows) > wanted.limit
    return SubmissionPage(
        items=views.show(session, shown, viewer),
        next_cursor=_cursor(shown[-1]) if more else None,
    )


def quota_of(session: Session, competition: str, viewer: Viewer, now: datetime) -> QuotaView:
    """What the viewer may still enter (raises ``NotFoundError``, and ``ConflictError`` while no phase is open)."""
    assert viewer.account_id is not None
    rules = competitions.get(session, competition, clock=lambda: now).document
    return quota.view(session, rules, viewer.account_id, viewer.account or "", now)


def require_hub(endpoint: str, settings: Settings) -> None:
    """Raises ``ValidationFailedError`` for a Hub from which the organisers take no entries."""
    if not settings.takes_from(endpoint):
        raise ValidationFailedError(
            f"hub_endpoint: this leaderboard takes no entries from {endpoint}.",
            hint=f"Upload to {' or '.join(settings.hubs)} (HF_ENDPOINT), or ask the organisers to allow this Hub.",
        )


def register(session: Session, request: SubmissionRegistration, viewer: Viewer, now: datetime) -> SubmissionTicket:
    """Announce an entry; the same key and request give the same ticket for ever.

    Raises ``NotFoundError`` for an unknown competition, ``UsageError`` for an unknown track or scale,
    ``ConflictError`` when no phase is open or the key was used for something else, and ``QuotaError``.
    """
    assert viewer.account_id is not None
    known = repository.by_idempotency_key(session, viewer.account_id, request.idempotency_key)
    if known is not None:
        return _same_ticket(known, request)
    competition = competitions.get(session, request.competition, clock=lambda: now).document
    find_track(competition, request.track)
    if not competitions.is_open(competition, now):
        raise ConflictError(
            f"Competition {competition.id!r} takes no entries at {now:%Y-%m-%d %H:%M:%S} UTC.",
            hint=_phases(competition),
        )
    quota.require(session, competition, now, viewer.account_id, now)
    row = _draft(competition, request, viewer.account_id, now)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        # Two requests with one key at the same moment: the other one won.
        known = repository.by_idempotency_key(session, viewer.account_id, request.idempotency_key)
        if known is None:
            raise
        return _same_ticket(known, request)
    act = Act(viewer.account or "", now)
    events.append(session, row.id, act, "registered", change=(None, Processing.DRAFT.value))
    return _ticket(row)


def set_revision(
    session: Session, submission_id: str, revision: SubmissionRevision, viewer: Viewer, now: datetime
) -> SubmissionView:
    """The upload is complete: the entry is received, becomes public, and its intake is queued.

    Repeating it with the same revision changes nothing; another one raises ``ConflictError``. An entry whose upload
    ends after the last phase has closed is marked late. Raises ``QuotaError``: then it stays a draft, and the same
    request may be sent another day.
    """
    row = _own(session, submission_id, viewer)
    if row.revision is not None and (row.revision, row.path) == (revision.revision, revision.path):
        return view(session, submission_id, viewer)
    if row.processing is not Processing.DRAFT:
        raise ConflictError(
            f"Submission {row.id} is {row.processing.value} and cannot take another revision.",
            hint="Register a new submission for another revision.",
        )
    competition = competitions.document(session, row.competition, row.competition_version)
    quota.require(session, competition, row.created_at, row.account_id, now)
    on_time = competitions.is_open(competition, now)
    values = {
        "revision": revision.revision,
        "path": revision.path,
        "received_at": now,
        "visibility": Visibility.PUBLIC,
        "eligibility": Eligibility.ELIGIBLE if on_time else Eligibility.LATE,
    }
    act = Act(viewer.account or "", now)
    detail = {"revision": revision.revision, "on_time": on_time}
    lifecycle.move(session, row, Processing.RECEIVED, act, values=values, detail=detail)
    queue.enqueue(session, row, JobKind.INTAKE, now)
    return view(session, submission_id, viewer)


def withdraw(
    session: Session, submission_id: str, request: SubmissionWithdrawal, viewer: Viewer, now: datetime
) -> SubmissionView:
    """Take an entry back for good: work on it stops, a tombstone stays. Repeating it changes nothing."""
    row = _own(session, submission_id, viewer)
    if row.visibility is Visibility.WITHDRAWN:
        return view(session, submission_id, viewer)
    act = Act(viewer.account or "", now)
    # A scored entry may be on its way to a second score.
    queue.cancel(session, row.id, now)
    if not row.processing.terminal:
        lifecycle.move(session, row, Processing.CANCELLED, act)
    before = row.visibility
    lifecycle.change(session, row, act, values={"visibility": Visibility.WITHDRAWN})
    change, detail = (before.value, Visibility.WITHDRAWN.value), {"reason": request.reason} if request.reason else None
    events.append(session, row.id, act, VISIBILITY, change=change, detail=detail)
    return view(session, submission_id, viewer)


def mark(session: Session, submission_id: str, eligibility: Eligibility, reason: str, act: Act) -> None:
    """Set whether an entry is ranked, with the public reason (an organiser's act; raises ``NotFoundError``)."""
    row = repository.lock(session, submission_id)
    if row is None:
        raise _not_found(submission_id)
    before = row.eligibility
    lifecycle.change(session, row, act, values={"eligibility": eligibility})
    detail = {"reason": reason}
    events.append(session, row.id, act, "eligibility", change=(before.value, eligibility.value), detail=detail)


def cancel_old_drafts(session: Session, before: datetime, act: Act) -> int:
    """Cancel registrations older than that to which nothing was uploaded; how many there were."""
    cancelled = 0
    for submission_id in repository.old_drafts(session, before):
        row = repository.lock(session, submission_id)
        if row is not None and row.processing is Processing.DRAFT:
            lifecycle.move(session, row, Processing.CANCELLED, act, detail={"reason": "no upload followed"})
            cancelled += 1
    return cancelled


def cursor_position(cursor: str) -> tuple[datetime, str]:
    """What a cursor stands for (raises ``ValidationFailedError`` for one that the API did not give)."""
    try:
        at, _, last = base64.urlsafe_b64decode(cursor.encode("ascii")).decode("ascii").partition(" ")
        position = datetime.fromisoformat(at)
        # At the edge of the calendar another zone's time has no UTC.
        in_utc = position.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _bad_cursor() from error
    if position.tzinfo is None or not last or not last.isprintable():
        raise _bad_cursor()
    return in_utc, last


def _cursor(row: Submission) -> str:
    return base64.urlsafe_b64encode(f"{row.created_at.isoformat()} {row.id}".encode("ascii")).decode("ascii")


def _bad_cursor() -> ValidationFailedError:
    return ValidationFailedError("cursor: not one of ours.", hint="Use the next_cursor of the page before.")


def _own(session: Session, submission_id: str, viewer: Viewer) -> Submission:
    """The submission, locked, if it is the viewer's to change."""
    seen = repository.find(session, submission_id, viewer)
    row = repository.lock(session, submission_id) if seen is not None else None
    if row is None:
        raise _not_found(submission_id)
    if not owns(row, viewer) and not viewer.is_admin:
        raise PermissionDeniedError(f"Submission {submission_id} belongs to another account.")
    return row


def _draft(competition: Competition, request: SubmissionRegistration, account_id: int, now: datetime) -> Submission:
    return Submission(
        id=f"sub-{secrets.token_hex(6)}",
        account_id=account_id,
        idempotency_key=request.idempotency_key,
        request_digest=digest(request.model_dump(mode="json")),
        nonce=secrets.token_hex(32),
        competition=competition.id,
        competition_version=competition.version,
        competition_digest=competition.digest,
        track=request.track,
        scale=request.scale,
        recipe_digest=competition.training_digest(find_scale(competition, request.scale)),
        suite=competition.suite.reference,
        suite_digest=competition.suite.digest,
        method_name=request.method_name,
        author=request.author,
        description=request.description,
        hub_endpoint=request.hub_endpoint,
        repo=request.repo,
        processing=Processing.DRAFT,
        visibility=Visibility.PRIVATE,
        eligibility=Eligibility.ELIGIBLE,
        trust=Trust.SELF_REPORTED,
        created_at=now,
        updated_at=now,
    )


def _same_ticket(known: Submission, request: SubmissionRegistration) -> SubmissionTicket:
    if known.request_digest != digest(request.model_dump(mode="json")):
        raise ConflictError(
            "The idempotency key was used for another registration.", hint="Use a fresh key for another entry."
        )
    return _ticket(known)


def _ticket(row: Submission) -> SubmissionTicket:
    return SubmissionTicket(submission_id=row.id, nonce=row.nonce, processing=row.processing)


def _phases(competition: Competition) -> str:
    windows = []
    for phase in competition.phases:
        closes = f"{phase.closes:%Y-%m-%d %H:%M:%S %Z}" if phase.closes else "further notice"
        windows.append(f"{phase.title}: {phase.opens:%Y-%m-%d %H:%M:%S %Z} until {closes}")
    return "Entries are taken in: " + "; ".join(windows) + "."


def _not_found(submission_id: str) -> NotFoundError:
    return NotFoundError(f"There is no submission {submission_id!r}.", hint="Check the id; drafts are private.")
