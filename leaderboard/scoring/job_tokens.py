"""The token of one attempt: all that a worker needs after its claim, and worth nothing beyond the job.

It is random, made anew with every claim, known to the database only by its sha256, and names its job and attempt, so
that a token of an earlier attempt is told from one that never was. It is as good as the lease, which heartbeats extend,
and ends with the token that the job was claimed with: revoking that one stops a worker at its next message.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from competition.errors import AuthenticationError, StaleAttemptError
from leaderboard.models import Account, Job, JobState, Token

PREFIX = "dcj_"
_SHAPE = re.compile(r"dcj_([1-9][0-9]{0,15})\.([1-9][0-9]{0,15})\.[A-Za-z0-9_-]{43}")
_HINT = "Send the `token` of the claim's answer: 'Authorization: Bearer TOKEN'."


@dataclass(frozen=True)
class Holder:
    """Who speaks for one attempt at a job: the account that claimed it."""

    job_id: int
    attempt: int
    account_id: int
    account: str


def make(job_id: int, attempt: int) -> tuple[str, str]:
    """A new token for an attempt, and what the database keeps of it."""
    token = f"{PREFIX}{job_id}.{attempt}.{secrets.token_urlsafe(32)}"
    return token, _digest(token)


def holder(session: Session, token: str | None, job_id: str, now: datetime) -> Holder:
    """Whom a token speaks for; ``job_id`` is the job that the message is about, as its address has it.

    Raises:
        AuthenticationError: no token, none of this job, or one whose own token was revoked or has expired.
        StaleAttemptError: the attempt is over. The one that has finished the job may repeat itself.
    """
    if not token:
        raise AuthenticationError("This needs the token of a job.", hint=_HINT)
    shape = _SHAPE.fullmatch(token)
    if shape is None or shape[1] != job_id:
        raise _unknown(job_id)
    attempt = int(shape[2])
    columns = (Job.attempt, Job.state, Job.lease_expires_at, Job.finish_attempt, Job.token_digest, Job.holder_id)
    query = select(*columns, Account.name, Token.revoked_at, Token.expires_at)
    query = query.join(Account, Account.id == Job.holder_id).join(Token, Token.id == Job.token_id)
    row = session.execute(query.where(Job.id == int(job_id))).first()
    if row is None or attempt > row.attempt:
        raise _unknown(job_id)
    if attempt < row.attempt:
        raise stale(int(job_id), attempt)
    if row.token_digest is None or not hmac.compare_digest(row.token_digest, _digest(token)):
        raise _unknown(job_id)
    if row.revoked_at is not None or row.expires_at <= now:
        raise AuthenticationError(
            f"The token that job {job_id} was claimed with was revoked, or has expired.",
            hint="Ask the organisers for a new one.",
        )
    live = row.state is JobState.LEASED and row.lease_expires_at is not None and row.lease_expires_at > now
    if not live and row.finish_attempt != attempt:
        raise stale(int(job_id), attempt)
    return Holder(int(job_id), attempt, row.holder_id, row.name)


def stale(job_id: int, attempt: int) -> StaleAttemptError:
    """What a worker is told whose attempt is over."""
    return StaleAttemptError(
        f"Attempt {attempt} of job {job_id} is not the live one: its lease has ended.",
        hint="Drop this job and claim another; what was accepted before is kept.",
    )


def _unknown(job_id: str) -> AuthenticationError:
    return AuthenticationError(f"The token is not that of job {job_id[:20]}.", hint=_HINT)


def _digest(token: str) -> str:
    # 256 random bits need no slow hash.
    return hashlib.sha256(token.encode()).hexdigest()
