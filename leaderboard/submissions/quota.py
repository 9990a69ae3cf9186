"""How many entries an account may have. Nothing is booked: what counts is counted, so that no count can be wrong.

An entry counts in the phase in which it was registered, on the day (UTC) on which it was received, until it ends
invalid, failed or cancelled. A withdrawn entry that was scored still counts.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta

from sqlalchemy.orm import Session

from competition.errors import ConflictError, QuotaError
from competition.records.submission import Allowance, QuotaView
from competition.rules import Competition, Phase
from leaderboard.competitions.service import phase_at
from leaderboard.submissions import repository


def view(session: Session, competition: Competition, account_id: int, account: str, now: datetime) -> QuotaView:
    """What an account may still enter now (raises ``ConflictError`` while no phase is open)."""
    phase = phase_at(competition, now)
    if phase is None:
        raise ConflictError(f"Competition {competition.id!r} has no open phase.", hint="Its page says when one opens.")
    return _count(session, competition, phase, account_id, account, now)


def require(
    session: Session, competition: Competition, registered_at: datetime, account_id: int, now: datetime
) -> None:
    """Raises ``QuotaError`` when the account may enter nothing more in the phase of ``registered_at``.

    The account stays locked until the transaction ends: of two entries that are received at the same moment, the
    second is counted after the first.
    """
    phase = phase_at(competition, registered_at)
    if phase is None:
        return
    account = repository.lock_account(session, account_id)
    counted = _count(session, competition, phase, account_id, account, now)
    tomorrow = f"Another one may come after {counted.resets_at:%Y-%m-%d %H:%M:%S} UTC."
    if counted.phase_total.left == 0:
        raise QuotaError(
            f"Account {account} has {counted.phase_total.used} entries in phase {phase.title!r}, which allows no more.",
            hint="Entries that end invalid or failed do not count.",
        )
    if counted.today.left == 0:
        raise QuotaError(
            f"Account {account} has entered {counted.today.used} times today, and phase {phase.title!r} allows no more "
            "on one day.",
            hint=f"{tomorrow} The same command goes on from where it stopped.",
        )
    if counted.invalid_today.left == 0:
        raise QuotaError(
            f"{counted.invalid_today.used} entries of account {account} ended invalid today.",
            hint=f"{tomorrow} `datacup check` finds what is wrong without entering.",
        )


def _count(
    session: Session, competition: Competition, phase: Phase, account_id: int, account: str, now: datetime
) -> QuotaView:
    midnight = datetime.combine(now.date(), time(), tzinfo=now.tzinfo)
    found = repository.count_entries(session, account_id, competition.id, phase.opens, phase.closes, midnight)
    return QuotaView(
        competition=competition.id,
        account=account,
        phase=phase.id,
        phase_closes=phase.closes,
        today=_allowance(phase.quota.per_day, found.today),
        phase_total=_allowance(phase.quota.total, found.total),
        invalid_today=_allowance(phase.quota.invalid_per_day, found.invalid_today),
        resets_at=midnight + timedelta(days=1),
    )


def _allowance(limit: int | None, used: int) -> Allowance:
    return Allowance(limit=limit, used=used, left=None if limit is None else max(0, limit - used))
