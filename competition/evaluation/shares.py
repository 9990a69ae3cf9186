"""Which tasks of a suite belong together when they are spread over processes. Light: no torch."""

from __future__ import annotations

from collections.abc import Sequence

from competition.rules.suites import Task


def shares(tasks: Sequence[Task]) -> list[tuple[str, ...]]:
    """Ids of the tasks by their evaluation sets, those with the most images first: the last one should be short."""
    by_set: dict[str, list[Task]] = {}
    for task in tasks:
        by_set.setdefault(task.dataset, []).append(task)
    ordered = sorted(by_set.values(), key=lambda group: -sum(task.samples or 0 for task in group))
    return [tuple(task.id for task in group) for group in ordered]
