"""Which tasks of a suite an evaluation runs, and why the others stay unscored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from competition.errors import UsageError
from competition.evalsets.sources import Origin, sets_of
from competition.rules import Protocol, Suite, Task


@dataclass(frozen=True, slots=True)
class Unscored:
    """Tasks that are not run, and the reason: half a sentence that goes on after "since"."""

    tasks: tuple[Task, ...]
    reason: str

    @property
    def sentence(self) -> str:
        """For the person at the terminal."""
        named = ", ".join(f"{task.id} ({task.protocol.value}, {task.metric})" for task in self.tasks)
        return f"Unscored, since {self.reason}: {named}."


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run, in the suite's order, and what is not.

    Args:
        runs: ids of tasks.
        unscored: the other tasks that were asked for.
        missing: sets that are not there, though tasks need them.
    """

    runs: tuple[str, ...]
    unscored: tuple[Unscored, ...]
    missing: tuple[str, ...]


def plan(suite: Suite, root: Path, *, only: Collection[str] = (), with_images: bool = False) -> Plan:
    """Decide what can be run of a suite on a model.

    Args:
        suite: what is evaluated.
        root: folder of the evaluation sets.
        only: ids of the tasks that are asked for; all when empty.
        with_images: the images that the entry consists of are at hand.

    Raises:
        UsageError: ``only`` names a task that the suite does not have, or nothing can be run.
    """
    origins = {found.name: found.origin for found in sets_of(suite, only or None)}
    asked = [task for task in suite.tasks if not only or task.id in only]
    absent = {name for name, origin in origins.items() if origin is not Origin.CODE and not (root / name).is_dir()}
    runs: list[Task] = []
    reasons: dict[str, list[Task]] = {}
    for task in asked:
        reason = _reason(task, absent, root, with_images=with_images)
        if reason:
            reasons.setdefault(reason, []).append(task)
        else:
            runs.append(task)
    unscored = tuple(Unscored(tuple(tasks), reason) for reason, tasks in reasons.items())
    waiting = {task.dataset for each in unscored for task in each.tasks if each.reason == _not_there(root)}
    if not runs:
        raise _nothing(suite, asked, unscored, sorted(waiting))
    return Plan(tuple(task.id for task in runs), unscored, tuple(sorted(waiting)))


def _reason(task: Task, absent: Collection[str], root: Path, *, with_images: bool) -> str:
    if task.protocol is Protocol.PREDICTIONS:
        return "they ask for predictions and not for a model"
    if task.needs_images and not with_images:
        return "they are about the entry's images (give their folder: --entry-data DIR)"
    return _not_there(root) if task.dataset in absent else ""


def _not_there(root: Path) -> str:
    return f"their evaluation sets are not in {root}"


def _nothing(suite: Suite, asked: Sequence[Task], unscored: Sequence[Unscored], missing: Sequence[str]) -> UsageError:
    if all(task.protocol is Protocol.PREDICTIONS for task in asked):
        return UsageError(
            f"Suite {suite.reference} asks for predictions, and not for a model.",
            hint=f"`datacup evaluate --predictions FILE.npz --suite {suite.reference}` scores them.",
        )
    if all(task.needs_images for task in asked):
        return UsageError(
            f"All tasks of suite {suite.reference} are about the entry's images.",
            hint="Give their folder: --entry-data DIR",
        )
    why = "; ".join(each.reason for each in unscored)
    hint = f"`datacup evalsets list {suite.reference}` says how to get sets." if missing else ""
    return UsageError(f"No task of suite {suite.reference} can be run, since {why}.", hint=hint)
