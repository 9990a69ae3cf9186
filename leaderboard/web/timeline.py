"""The life of an entry in words: the steps it passes, and its event log as a story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from competition import story
from competition.records.audit import AuditVerdict
from competition.records.lifecycle import Event, Processing
from competition.records.submission import SubmissionView


class StepState(StrEnum):
    """How far one step is."""

    DONE = "done"
    CURRENT = "current"
    STOPPED = "stopped"
    AHEAD = "ahead"


@dataclass(frozen=True)
class Step:
    """One step of the way to a score."""

    title: str
    note: str
    state: StepState


@dataclass(frozen=True)
class Moment:
    """One event in words. ``tone`` is ``good``, ``bad`` or ``plain``; it never says more than the words do."""

    at: datetime
    title: str
    note: str
    actor: str
    tone: str
    hash: str


# Number of steps that lie behind an entry in that state.
_DONE = {
    Processing.DRAFT: 0,
    Processing.RECEIVED: 1,
    Processing.MIRRORED: 2,
    Processing.VALIDATING: 2,
    Processing.QUEUED: 3,
    Processing.LEASED: 4,
    Processing.RUNNING: 4,
    Processing.SCORED: 6,
}

_TONES = {Processing.SCORED: "good", Processing.INVALID: "bad", Processing.FAILED: "bad"}
_VERDICT_TONES = {AuditVerdict.CONFIRMED: "good", AuditVerdict.EXCEEDS: "bad"}
_TROUBLE = {"lease_expired", "platform_failure"}


def steps(view: SubmissionView, events: Sequence[Event]) -> list[Step]:
    """The way from received to scored, and where this entry stands on it."""
    notes = [
        ("Received", "the repository's commit is pinned"),
        ("Mirrored", "files copied, digests compared"),
        ("Checked", "against the rules, file by file"),
        ("Queued", "waiting for a scorer"),
        (f"{len(view.results)} of {view.tasks_total} tasks", "evaluated one by one"),
        ("Scored", "ranked on the leaderboard"),
    ]
    halted = view.processing in {Processing.INVALID, Processing.FAILED, Processing.CANCELLED}
    behind = _furthest(events) if halted else _DONE[view.processing]
    return [Step(title, note, _step_state(place, behind, halted=halted)) for place, (title, note) in enumerate(notes)]


def _furthest(events: Sequence[Event]) -> int:
    reached = [_DONE[state] for event in events if (state := story.state(event.after)) in _DONE]
    return max(reached, default=1)


def _step_state(place: int, behind: int, *, halted: bool) -> StepState:
    if place < behind:
        return StepState.DONE
    if place > behind:
        return StepState.AHEAD
    return StepState.STOPPED if halted else StepState.CURRENT


def moments(events: Sequence[Event], task_titles: Mapping[str, str]) -> list[Moment]:
    """The event log in words, oldest first. An event of an unknown kind keeps its own name and detail."""
    return [
        Moment(
            at=event.at,
            title=story.title(event, task_titles),
            note=story.note(event),
            actor=event.actor,
            tone=_tone(event),
            hash=event.hash,
        )
        for event in events
    ]


def _tone(event: Event) -> str:
    if event.kind in _TROUBLE:
        return "bad"
    if event.kind == "audit" and event.after in set(AuditVerdict):
        return _VERDICT_TONES.get(AuditVerdict(event.after), "plain")
    state = story.state(event.after)
    return _TONES.get(state, "plain") if state is not None else "plain"
