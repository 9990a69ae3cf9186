"""Whether a set is the one that its task means: its lock file says where it came from, and what it consists of.

Results carry the set's digest, so that those of two versions of a set can be told apart.
"""

from __future__ import annotations

import re
from pathlib import Path

from competition.data.atomic import storage_errors
from competition.errors import EvaluationError
from competition.evalsets.layout import LABELS_FILE, PARTS, SHARD_COUNT, byte_limit, files_of
from competition.evalsets.lock import LockedFile, SetLock, compare, lock_path, read_lock
from competition.evalsets.sources import Origin
from competition.evaluation.decoding import processors
from competition.evaluation.known_digests import KnownDigests
from competition.rules.suites import Task

_COMMIT = re.compile(r"[0-9a-f]{40}")


def set_digest(root: Path, task: Task, cache: Path) -> str | None:
    """Identity of the set of a task below ``root``, which is refused when it and its lock file contradict.

    A set without a lock file (built here, or copied by hand) has nothing to be held against: of one of shards the
    digest is that of the lock that it would get, and a folder of images, whose files would all have to be read for it,
    has none. A task that names a
    branch or a tag is not compared with the commit that this was when the set was taken.

    Args:
        root: folder of the evaluation sets.
        task: whose set is checked.
        cache: remembers digests of files, so that only those that changed are read.

    Returns:
        ``SetLock.digest``, or nothing where it is not known.

    Raises:
        EvaluationError: the set is of another revision, or differs from its lock.
        DataFormatError: the lock file is none.
        StorageError: a file cannot be read.
    """
    lock = read_lock(root, task.dataset)
    if lock is None:
        return _unrecorded(root / task.dataset, task.dataset, cache)
    wanted = task.revision
    if wanted is not None and lock.revision not in {None, wanted} and _COMMIT.fullmatch(wanted):
        raise EvaluationError(
            f"The evaluation set {task.dataset!r} was taken at revision {lock.revision}, and task {task.id!r} wants "
            f"{wanted}.",
            hint=f"Remove {root / task.dataset} and {lock_path(root, task.dataset)}, and get the set again.",
        )

    difference = compare(root / task.dataset, lock, digests=lambda paths: _known(paths, root / task.dataset, cache))
    if difference:
        raise EvaluationError(
            f"The evaluation set {task.dataset!r} differs from its lock file: {difference.words}.",
            hint="`datacup evalsets verify` lists all; get the set again, or prepare it again.",
        )
    return lock.digest


def _known(paths: list[Path], folder: Path, cache: Path) -> list[str]:
    with storage_errors("reading", folder):
        return KnownDigests(cache).of(paths, processors())


def _unrecorded(folder: Path, name: str, cache: Path) -> str | None:
    if not any((folder / part / SHARD_COUNT).is_file() for part in PARTS) and not (folder / LABELS_FILE).is_file():
        return None
    # A page beside the shards is no part of a set; WinoGAViL's instances are.
    paths = [path for path in files_of(folder) if byte_limit(path) is not None or path.endswith(".jsonl")]
    digests = _known([folder / path for path in paths], folder, cache)
    with storage_errors("reading", folder):
        files = tuple(
            LockedFile(path=path, size=(folder / path).stat().st_size, sha256=sha256)
            for path, sha256 in zip(paths, digests, strict=True)
        )
    return SetLock(name=name, origin=Origin.ELSEWHERE, files=files).digest
