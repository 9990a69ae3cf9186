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
    missing: bool = False
    """Their sets are not there, and can be got."""

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


def plan(
    suite: Suite, root: Path, *, only: Collection[str] = (), with_images: bool = False, named: str | None = None
) -> Plan:
    """Decide what can be run of a suite on a model.

    Args:
        suite: what is evaluated.
        root: folder of the evaluation sets.
        only: ids of the tasks that are asked for; all when empty.
        with_images: the images that the entry consists of are at hand.
        named: how commands are to name the suite, for one of a file; its reference when absent.

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
    unscored = tuple(
        Unscored(tuple(tasks), reason, missing=reason == _not_there(root)) for reason, tasks in reasons.items()
    )
    waiting = {task.dataset for each in unscored if each.missing for task in each.tasks}
    if not runs:
        raise _nothing(named or suite.reference, asked, unscored, _asked_for(suite, asked, only))
    return Plan(tuple(task.id for task in runs), unscored, tuple(sorted(waiting)))


def _reason(task: Task, absent: Collection[str], root: Path, *, with_images: bool) -> str:
    if task.protocol is Protocol.PREDICTIONS:
        return "they ask for predictions and not for a model"
    if task.needs_images and not with_images:
        return "they are about the entry's images (give their folder: --entry-data DIR)"
    return _not_there(root) if task.dataset in absent else ""


def _not_there(root: Path) -> str:
    return f"their evaluation sets are not in {root}"


def _asked_for(suite: Suite, asked: Sequence[Task], only: Collection[str]) -> str:
    """What was asked for, as a sentence calls it."""
    return f"task {asked[0].id!r}" if len(asked) == 1 else "these tasks" if only else f"suite {suite.reference}"


def _nothing(named: str, asked: Sequence[Task], unscored: Sequence[Unscored], what: str) -> UsageError:
    if all(task.protocol is Protocol.PREDICTIONS for task in asked):
        return UsageError(
            f"Nothing of {what} is about a model: predictions are what is scored.",
            hint=f"`datacup evaluate --predictions FILE.npz --suite {named}` scores them.",
        )
    if all(task.needs_images for task in asked):
        return UsageError(f"All of {what} is about the entry's images.", hint="Give their folder: --entry-data DIR")
    why = "; ".join(each.sentence.removeprefix("Unscored, since ").removesuffix(".") for each in unscored)
    missing = any(each.missing for each in unscored)
    hint = f"`datacup evalsets list {named}` says how to get sets." if missing else ""
    return UsageError(f"Nothing of {what} can be run, since {why}.", hint=hint)
