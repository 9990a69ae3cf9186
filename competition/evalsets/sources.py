"""Where the evaluation sets of a suite come from."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from competition.errors import UsageError
from competition.rules.suites import Suite, Task

HUB_PREFIX = "wds_"
"""Of the sets that DataComp published on the Hub (Gadre et al. 2023), each in a repository of the set's own name."""

DATACOMP_OWNER = "djghosh"
DEFAULT_REVISION = "main"
_CODE_PREFIX = "digits-"


class Origin(StrEnum):
    """Where a set comes from: downloaded, made from code, or prepared from what somebody has of another source."""

    HUB = "hub"
    CODE = "code"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """A set that tasks name.

    Args:
        name: of its folder below the folder of all sets.
        origin: where it comes from.
        repo: the dataset on the Hub, for one from there.
        revision: what of the repository is taken at first; later runs take the commit that was recorded then.
        tasks: the tasks that need it, in the order of their suites.
    """

    name: str
    origin: Origin
    repo: str = ""
    revision: str = DEFAULT_REVISION
    tasks: tuple[str, ...] = ()


def sets_of(suite: Suite, only: Collection[str] | None = None) -> tuple[EvaluationSet, ...]:
    """The sets of a suite's tasks, each once, in the order of the tasks.

    Args:
        suite: whose.
        only: ids of the tasks that count; all when absent.

    Raises:
        UsageError: ``only`` names a task that the suite does not have, or two tasks want two revisions of a set.
    """
    known = {task.id for task in suite.tasks}
    for name in only or ():
        if name not in known:
            raise UsageError(
                f"The suite {suite.reference} has no task {name!r}.", hint=f"Its tasks are: {', '.join(sorted(known))}."
            )
    return _distinct(task for task in suite.tasks if only is None or task.id in only)


def _distinct(tasks: Iterable[Task]) -> tuple[EvaluationSet, ...]:
    users: dict[str, list[Task]] = {}
    for task in tasks:
        users.setdefault(task.dataset, []).append(task)
    return tuple(_set(name, of_set) for name, of_set in users.items())


def _set(name: str, tasks: list[Task]) -> EvaluationSet:
    revisions = sorted({task.revision for task in tasks if task.revision is not None})
    if len(revisions) > 1:
        raise UsageError(f"Tasks want the evaluation set {name!r} at the revisions {' and '.join(revisions)}.")
    ids = tuple(task.id for task in tasks)
    if name.startswith(HUB_PREFIX):
        revision = revisions[0] if revisions else DEFAULT_REVISION
        return EvaluationSet(name, Origin.HUB, f"{DATACOMP_OWNER}/{name}", revision, ids)
    return EvaluationSet(name, Origin.CODE if name.startswith(_CODE_PREFIX) else Origin.ELSEWHERE, tasks=ids)
