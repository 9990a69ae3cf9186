"""The life of a submission: three independent axes, and the event log that tells its story."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from competition.canonical import digest
from competition.records.base import Identifier, Line, Record, Sha256, Timestamp


class Processing(StrEnum):
    """Where the work on an entry stands. ``invalid``: the entry is at fault; ``failed``: the platform is."""

    DRAFT = "draft"
    RECEIVED = "received"
    MIRRORED = "mirrored"
    VALIDATING = "validating"
    QUEUED = "queued"
    LEASED = "leased"
    RUNNING = "running"
    SCORED = "scored"
    INVALID = "invalid"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """No further processing follows by itself."""
        return self in {Processing.SCORED, Processing.INVALID, Processing.FAILED, Processing.CANCELLED}


class Visibility(StrEnum):
    """Who may see an entry."""

    PRIVATE = "private"
    EMBARGOED = "embargoed"
    PUBLIC = "public"
    WITHDRAWN = "withdrawn"


class Eligibility(StrEnum):
    """Whether an entry is ranked."""

    ELIGIBLE = "eligible"
    BASELINE = "baseline"
    LATE = "late"
    FLAGGED = "flagged"
    DISQUALIFIED = "disqualified"
    SUPERSEDED = "superseded"


class Trust(StrEnum):
    """How far the numbers of an entry were verified."""

    SELF_REPORTED = "self_reported"
    RE_EVALUATED = "re_evaluated"
    RE_TRAINED = "re_trained"


class JobKind(StrEnum):
    """The two leased jobs of a submission."""

    INTAKE = "intake"
    SCORING = "scoring"


class Event(Record):
    """One line of a submission's append-only log.

    ``hash`` covers all other fields, ``previous_hash`` among them, but ``withheld``: who may not see all of an event
    still sees that there is one, and that it has its place in the chain.
    """

    submission_id: Identifier
    sequence: int = Field(ge=1)
    at: Timestamp
    actor: Line
    kind: Line = Field(description="what happened, e.g. processing, task_result, lease_expired")
    before: str | None = None
    after: str | None = None
    detail: dict[str, Any] = Field(default_factory=dict)
    previous_hash: Sha256
    hash: Sha256
    withheld: bool = Field(default=False, description="some of it is not shown to you: ``hash`` covers more than this")

    def expected_hash(self) -> str:
        """The hash that this event must carry, if it is whole."""
        return digest(self.model_dump(mode="json", exclude={"hash", "withheld"}))


GENESIS_HASH = "0" * 64


def chain_is_intact(events: list[Event]) -> bool:
    """Whether the events of one submission, in order, form an unbroken hash chain from the first on.

    Of an event of which something is withheld only the place in the chain can be checked.
    """
    previous = GENESIS_HASH
    for sequence, event in enumerate(events, start=1):
        if event.sequence != sequence or event.previous_hash != previous:
            return False
        if not event.withheld and event.hash != event.expected_hash():
            return False
        previous = event.hash
    return True
