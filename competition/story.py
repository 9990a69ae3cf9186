"""What happened to an entry in words: the same on the website and at the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from competition.errors import RejectionReason
from competition.records.lifecycle import Event, Processing, Visibility
from competition.records.submission import NearCopyNotice, Notice, Withdrawal, value_text

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
    "dead_lettered": "Given up",
    "rescoring_queued": "To be scored under another suite too; until that is public, its score stays",
    "rescoring_failed": "Could not be scored under the other suite; its score stays",
    "rescoring_cancelled": "The scoring under another suite was called off; its score stays",
    "evaluated": "Every task of the other suite has a result; it is not public yet",
    "replayed": "Evaluated again by an organiser, to see whether the numbers hold",
    "visibility": "Visibility changed",
    "eligibility": "Eligibility changed",
    "near_copy": "Its weights are nearly those of another entry: a sign, and no proof",
    "withheld": "Withheld",
    "audit": "Audited: trained again on its subset",
    "trust": "Badge",
}
_JOB_TITLES = {"intake": "A worker begins to fetch and check the files", "scoring": "A worker begins to score"}

# Told by the title, or of use to machines only (the API gives the events whole).
_UNTOLD = {"reason", "message", "task", "job", "result_sha256", "manifest_sha256", "on_time", "salt"} | {
    *("report_sha256", "recipe_digest", "code_version", "scale"),
}


def title(event: Event, task_titles: Mapping[str, str]) -> str:
    """What happened, in a few words. An event of an unknown kind keeps its own name."""
    after = state(event.after)
    task = str(event.detail.get("task") or "")
    if event.kind == "task_result" or (after is Processing.RUNNING and task in task_titles):
        begun = "Result accepted" if event.kind == "task_result" else "Evaluating"
        return f"{begun}: {task_titles.get(task, task)}"
    if event.kind == "rescored":
        return f"Scored under suite {event.after}; the score under {event.before} is kept beside it"
    if event.kind == "claimed":
        return _JOB_TITLES.get(str(event.detail.get("job")), "Taken by a worker")
    if after is not None and (event.kind == "processing" or after is Processing.FAILED):
        return _STATE_TITLES[after]
    if event.kind == "visibility" and event.after == Visibility.WITHDRAWN:
        return "Withdrawn"
    known = _KIND_TITLES.get(event.kind, words(event.kind))
    return f"{known}: {words(event.after).lower()}" if event.after and after is None else known


def note(event: Event) -> str:
    """The detail in words: the reason and message first, then whatever else there is."""
    parts = []
    reason, message = event.detail.get("reason"), event.detail.get("message")
    if reason:
        known = str(reason) in set(RejectionReason)
        parts.append(words(str(reason)) if known else str(reason))
    if message:
        parts.append(str(message))
    if event.detail.get("on_time") is False:
        parts.append("after the last phase had closed")
    parts += [
        _detail(key, value)
        for key, value in event.detail.items()
        if key not in _UNTOLD
        and (key, value) != ("attempt", 1)
        and isinstance(value, str | int | float)
        and value != ""
    ]
    if event.withheld and event.kind != "withheld":
        parts.append("not shown to you in full")
    return " · ".join(parts)


def _detail(key: str, value: str | float) -> str:
    if key == "retry_in_seconds" and not isinstance(value, str):
        return f"next try in {waiting(value)}"
    if key == "reported_gap" and not isinstance(value, str):
        return f"the entry's own report says {abs(value):.3g} {'more' if value > 0 else 'less'}"
    return f"{words(key).lower()} {_plain(value)}"


def _plain(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    text = str(value)
    return text[:10] if len(text) in {40, 64} and text.isalnum() else text


def notice(found: Notice) -> str:
    """What was found and changes no score, in a sentence or two."""
    if isinstance(found, NearCopyNotice):
        other = "another entry"
        if found.other is not None:
            other = f"entry {found.other} of account {found.other_account}"
        return (
            f"Its weights are nearly those of {other}, which was verified before it "
            f"(relative distance {found.distance:.2g}). That is a sign, and no proof of anything."
        )
    return (
        f"{found.title}: its authors report {_short(found.reported)}, verified was {_short(found.verified)}. "
        "The verified value counts."
    )


def _short(value: float) -> str:
    """A report may claim anything, also a number of three hundred digits."""
    return value_text(value) if abs(value) < 1e9 else f"{value:.3g}"


def withdrawn(withdrawal: Withdrawal) -> str:
    """Who took an entry back, and on which day (UTC)."""
    who = "its author" if withdrawal.by_author else "the organisers"
    return f"withdrawn by {who} on {day(withdrawal.at)}"


def day(moment: datetime) -> str:
    """The UTC date, as in ``5 Jan 2026``."""
    utc = moment.astimezone(UTC)
    return f"{utc.day} {utc:%b %Y}"


def waiting(seconds: float) -> str:
    """How long something has to wait, short."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def words(name: str) -> str:
    """An identifier as words: ``digest_mismatch`` becomes ``Digest mismatch``."""
    text = name.replace("_", " ").replace("-", " ").strip()
    return text[:1].upper() + text[1:]


def state(name: str | None) -> Processing | None:
    """The processing state of that name; None where the name is another axis' or nobody's."""
    return Processing(name) if name is not None and name in set(Processing) else None
