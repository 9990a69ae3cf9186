"""The life of an entry in words: the steps it passes, and its event log as a story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from competition.errors import RejectionReason
from competition.records.audit import AuditVerdict
from competition.records.lifecycle import Event, Processing
from competition.records.submission import SubmissionView
from leaderboard.web import formatting


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

_STATE_TITLES = {
    Processing.DRAFT: "Announced; the upload may begin",
    Processing.RECEIVED: "Received",
    Processing.MIRRORED: "Copied to the mirror, every digest checked",
    Processing.VALIDATING: "Checks began",
    Processing.QUEUED: "All checks passed; waiting for a scorer",
    Processing.LEASED: "Taken by a scorer",
    Processing.RUNNING: "Scoring",
    Processing.SCORED: "Scored: every task has a verified result",
    Processing.INVALID: "Refused",
    Processing.FAILED: "Stopped by a fault of the platform",
    Processing.CANCELLED: "Cancelled",
}

_KIND_TITLES = {
    "registered": "Registered; the upload may begin",
    "lease_expired": "The worker fell silent; its work goes back to the queue",
    "platform_failure": "A fault of the platform; the work goes back to the queue",
    "requeued": "Put back into the queue",
    "visibility": "Visibility changed",
    "eligibility": "Eligibility changed",
    "audit": "Audited: trained again on its subset",
    "trust": "Badge",
}
_JOB_TITLES = {"intake": "A worker begins to fetch and check the files", "scoring": "A worker begins to score"}

_TONES = {Processing.SCORED: "good", Processing.INVALID: "bad", Processing.FAILED: "bad"}
_VERDICT_TONES = {AuditVerdict.CONFIRMED: "good", AuditVerdict.EXCEEDS: "bad"}
_TROUBLE = {"lease_expired", "platform_failure"}
# Told by the title, or of use to machines only (the API gives the events whole).
_UNTOLD = {
    *("reason", "message", "task", "job", "result_sha256", "manifest_sha256", "on_time"),
    *("report_sha256", "recipe_digest", "code_version", "scale"),
}


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
    reached = [_DONE[state] for event in events if (state := _state(event.after)) in _DONE]
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
            title=_title(event, task_titles),
            note=_note(event),
            actor=event.actor,
            tone=_tone(event),
            hash=event.hash,
        )
        for event in events
    ]


def _title(event: Event, task_titles: Mapping[str, str]) -> str:
    state = _state(event.after)
    task = str(event.detail.get("task") or "")
    if event.kind == "task_result":
        return f"Result accepted: {task_titles.get(task, task)}"
    if state is Processing.RUNNING and task in task_titles:
        return f"Evaluating: {task_titles[task]}"
    if event.kind == "claimed":
        return _JOB_TITLES.get(str(event.detail.get("job")), "Taken by a worker")
    if event.kind == "processing" or state is Processing.FAILED:
        return _STATE_TITLES[state] if state is not None else formatting.words(event.kind)
    title = _KIND_TITLES.get(event.kind, formatting.words(event.kind))
    return f"{title}: {formatting.words(event.after).lower()}" if event.after and state is None else title


def _note(event: Event) -> str:
    """The detail in words: the reason and message first, then whatever else there is."""
    parts = []
    reason, message = event.detail.get("reason"), event.detail.get("message")
    if reason:
        known = str(reason) in set(RejectionReason)
        parts.append(formatting.words(str(reason)) if known else str(reason))
    if message:
        parts.append(str(message))
    if event.detail.get("on_time") is False:
        parts.append("after the last phase had closed")
    parts += [
        f"{formatting.words(key).lower()} {_plain(value)}"
        for key, value in event.detail.items()
        if key not in _UNTOLD
        and (key, value) != ("attempt", 1)
        and isinstance(value, str | int | float)
        and value != ""
    ]
    return " · ".join(parts)


def _plain(value: str | float) -> str:
    text = str(value)
    return formatting.short(text) if len(text) in {40, 64} and text.isalnum() else text


def _tone(event: Event) -> str:
    if event.kind in _TROUBLE:
        return "bad"
    if event.kind == "audit" and event.after in set(AuditVerdict):
        return _VERDICT_TONES.get(AuditVerdict(event.after), "plain")
    state = _state(event.after)
    return _TONES.get(state, "plain") if state is not None else "plain"


def _state(name: str | None) -> Processing | None:
    return Processing(name) if name is not None and name in set(Processing) else None
