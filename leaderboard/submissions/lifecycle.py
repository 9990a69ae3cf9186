"""The one table of transitions of the processing axis, and the change that everything goes through.

Intake: received → mirrored → validating → queued (a worker may skip the middle). Scoring: queued → leased → running →
scored. Work whose worker is lost goes back to where its job began, received or queued; so does given-up work when an
operator says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from competition.errors import ConflictError
from competition.records.lifecycle import Eligibility, JobKind, Processing, Trust
from leaderboard.accounts.viewer import Act
from leaderboard.events import service as events
from leaderboard.models import Submission
from leaderboard.submissions import repository

_P = Processing
_ENDS = frozenset({_P.INVALID, _P.FAILED, _P.CANCELLED})
TRANSITIONS: dict[Processing, frozenset[Processing]] = {
    _P.DRAFT: frozenset({_P.RECEIVED, _P.CANCELLED}),
    _P.RECEIVED: _ENDS | {_P.MIRRORED, _P.VALIDATING, _P.QUEUED},
    _P.MIRRORED: _ENDS | {_P.VALIDATING, _P.QUEUED, _P.RECEIVED},
    _P.VALIDATING: _ENDS | {_P.QUEUED, _P.RECEIVED},
    _P.QUEUED: frozenset({_P.LEASED, _P.CANCELLED}),
    _P.LEASED: _ENDS | {_P.RUNNING, _P.SCORED, _P.QUEUED},
    _P.RUNNING: _ENDS | {_P.SCORED, _P.QUEUED},
    _P.SCORED: frozenset(),
    _P.INVALID: frozenset(),
    _P.FAILED: frozenset({_P.RECEIVED, _P.QUEUED}),  # by an operator's word, never by itself
    _P.CANCELLED: frozenset(),
}
#: Where a submission waits for each kind of job, and goes back to when the job's worker is lost.
WAITING: dict[JobKind, Processing] = {JobKind.INTAKE: _P.RECEIVED, JobKind.SCORING: _P.QUEUED}

#: How far an entry's numbers are verified: scoring takes the first step, audits take the others.
TRUST: dict[Trust, frozenset[Trust]] = {
    Trust.SELF_REPORTED: frozenset({Trust.RE_EVALUATED}),
    Trust.RE_EVALUATED: frozenset({Trust.RE_TRAINED}),
    Trust.RE_TRAINED: frozenset({Trust.RE_EVALUATED}),
}
#: What an audit may flag. An entry that is out of the table for another reason keeps that reason.
FLAGGED_FROM = frozenset({Eligibility.ELIGIBLE, Eligibility.BASELINE})


def move(
    session: Session,
    submission: Submission,
    to: Processing,
    act: Act,
    *,
    kind: str = "processing",
    values: Mapping[str, Any] | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Take a submission to another state, with other columns' new ``values`` and its event, all or nothing.

    Raises ``ConflictError`` when the table does not allow it, or when somebody else changed the submission first.
    """
    before = submission.processing
    if to is not before and to not in TRANSITIONS[before]:
        raise ConflictError(f"Submission {submission.id} is {before.value}; it cannot become {to.value}.")
    change(session, submission, act, values={"stage": None, **(values or {}), "processing": to})
    events.append(session, submission.id, act, kind, change=(before.value, to.value), detail=detail)


def change(session: Session, submission: Submission, act: Act, *, values: Mapping[str, Any]) -> None:
    """Compare-and-set columns of a submission. The caller appends the event; ``move`` does both."""
    if not repository.compare_and_set(session, submission, {**values, "updated_at": act.at}):
        raise ConflictError(
            f"Submission {submission.id} was changed by somebody else in the meantime.",
            hint="Look at it and try again.",
        )


def assess(session: Session, submission: Submission, act: Act, *, trust: Trust, flag: str | None) -> None:
    """What an audit makes of an entry: its ``trust``, and with the public reason ``flag`` that it is out of the table.

    Each change has its event. Raises ``ConflictError`` as ``move`` does.
    """
    values: dict[str, Any] = {}
    before, eligibility = submission.trust, submission.eligibility
    if trust is not before:
        if trust not in TRUST[before]:
            raise ConflictError(f"Submission {submission.id} is {before.value}; it cannot become {trust.value}.")
        values["trust"] = trust
    flags = flag is not None and eligibility in FLAGGED_FROM
    if flags:
        values["eligibility"] = Eligibility.FLAGGED
    change(session, submission, act, values=values)
    if trust is not before:
        events.append(session, submission.id, act, "trust", change=(before.value, trust.value))
    if flags:
        after, detail = Eligibility.FLAGGED.value, {"reason": flag}
        events.append(session, submission.id, act, "eligibility", change=(eligibility.value, after), detail=detail)
