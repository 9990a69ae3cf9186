"""What one suite measures otherwise than another: which results of the one are results of the other, too."""

from __future__ import annotations

from dataclasses import dataclass

from competition.canonical import digest
from competition.rules.suites import Suite, Task

# What a task is called, who may see it, and what is made of its value: none of it changes the value.
_NOT_MEASURED = {"title", "description", "group", "licence", "hidden", "revealed", "chance", "reference_seconds"}


def measurement_digest(task: Task, suite: Suite) -> str:
    """Identity of what is measured: two tasks of that digest have the same value for the same entry.

    The precision belongs to it, because it decides what a model yields.
    """
    return digest({"precision": suite.precision, **task.model_dump(mode="json", exclude=_NOT_MEASURED)})


@dataclass(frozen=True, slots=True)
class SuiteChanges:
    """Ids of tasks, in the order of the newer suite, ``removed`` in that of the older one.

    ``kept``: the same is measured, so that results can be taken over. ``changed``: the same id, another measurement.
    """

    kept: tuple[str, ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]


def suite_changes(old: Suite, new: Suite) -> SuiteChanges:
    """What becomes of the tasks of ``old`` in ``new``. A task of another id is another task."""
    before = {task.id: measurement_digest(task, old) for task in old.tasks}
    after = {task.id: measurement_digest(task, new) for task in new.tasks}
    return SuiteChanges(
        kept=tuple(task for task in after if before.get(task) == after[task]),
        changed=tuple(task for task in after if task in before and before[task] != after[task]),
        added=tuple(task for task in after if task not in before),
        removed=tuple(task for task in before if task not in after),
    )
