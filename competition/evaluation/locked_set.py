"""Whether a set is the one that its task means: its lock file says where it came from, and what it consists of."""

from __future__ import annotations

import re
from pathlib import Path

from competition.data.atomic import storage_errors
from competition.errors import EvaluationError
from competition.evalsets.lock import compare, lock_path, read_lock
from competition.evaluation.decoding import processors
from competition.evaluation.known_digests import KnownDigests
from competition.rules.suites import Task

_COMMIT = re.compile(r"[0-9a-f]{40}")


def check_locked(root: Path, task: Task, cache: Path) -> None:
    """Refuse the set of a task below ``root`` when its lock file contradicts the task, or the set its lock file.

    A set without a lock file (built here, or copied by hand) has nothing to be held against. A task that names a
    branch or a tag is not compared with the commit that this was when the set was taken.

    Args:
        root: folder of the evaluation sets.
        task: whose set is checked.
        cache: remembers digests of files, so that only those that changed are read.

    Raises:
        EvaluationError: the set is of another revision, or differs from its lock.
        DataFormatError: the lock file is none.
        StorageError: a file cannot be read.
    """
    lock = read_lock(root, task.dataset)
    if lock is None:
        return
    wanted = task.revision
    if wanted is not None and lock.revision not in {None, wanted} and _COMMIT.fullmatch(wanted):
        raise EvaluationError(
            f"The evaluation set {task.dataset!r} was taken at revision {lock.revision}, and task {task.id!r} wants "
            f"{wanted}.",
            hint=f"Remove {root / task.dataset} and {lock_path(root, task.dataset)}, and get the set again.",
        )

    def digests(paths: list[Path]) -> list[str]:
        with storage_errors("reading", root / task.dataset):
            return KnownDigests(cache).of(paths, processors())

    difference = compare(root / task.dataset, lock, digests=digests)
    if difference:
        raise EvaluationError(
            f"The evaluation set {task.dataset!r} differs from its lock file: {difference.words}.",
            hint="`datacup evalsets verify` lists all; get the set again, or prepare it again.",
        )
