"""What of an event a viewer sees: the whole, or what is left of it where the policy of ``visibility`` says so.

An event whose content is withheld keeps its place, its hash and the one before: whoever sees the log sees that there is
an event, and that nothing was taken out between the others.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from competition.records.lifecycle import Event

TASK_RESULT = "task_result"
NEAR_COPY = "near_copy"
VISIBILITY = "visibility"
WITHHELD = "withheld"
"""Kind and actor of an event of which nothing is shown."""

_OF_HIDDEN_RESULT = {"task", "attempt"}
_NAMES_ANOTHER = {"other", "salt"}


@dataclass(frozen=True)
class Sight:
    """What a viewer may see of one submission: of a ``tombstone`` that it was taken back; else the results of
    ``tasks``, and the names of other ``entries``.
    """

    tombstone: bool
    tasks: Container[str]
    entries: Container[str]


def shown(event: Event, sight: Sight) -> Event:
    """The event as it may be seen; unchanged where nothing has to be withheld.

    Whether a report disagrees with a hidden result would give that result away, value by value: of those events the
    same is withheld whether it does or not.
    """
    if sight.tombstone:
        if event.kind == VISIBILITY:
            return _keep(event, set())
        nothing = {"kind": WITHHELD, "actor": WITHHELD, "before": None, "after": None, "detail": dict[str, Any]()}
        return event.model_copy(update={**nothing, "withheld": True})
    if event.kind == TASK_RESULT and event.detail.get("task") not in sight.tasks:
        return _keep(event, _OF_HIDDEN_RESULT)
    if event.kind == NEAR_COPY and event.detail.get("other") not in sight.entries:
        return _keep(event, set(event.detail) - _NAMES_ANOTHER)
    return event


def _keep(event: Event, names: set[str]) -> Event:
    """The event with only these parts of its detail."""
    left = {name: value for name, value in event.detail.items() if name in names}
    return event if left == event.detail else event.model_copy(update={"detail": left, "withheld": True})
