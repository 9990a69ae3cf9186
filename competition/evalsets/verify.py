"""Are the evaluation sets of a suite all here, and are their bytes the recorded ones?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError
from competition.evalsets.layout import LABELS_FILE, PARTS, SHARD_COUNT, check_complete, files_of
from competition.evalsets.lock import SetLock, compare, read_lock, record_set, write_lock
from competition.evalsets.sources import EvaluationSet
from competition.progress import ProgressHook
from competition.records.base import Record


class Finding(StrEnum):
    """What was found about a set."""

    SOUND = "sound"
    MISSING = "missing"
    UNRECORDED = "unrecorded"
    DIFFERENT = "different"
    MALFORMED = "malformed"


class SetFinding(Record):
    """What was found about a set; ``tasks`` cannot be evaluated (or trusted) unless it is sound."""

    name: str
    finding: Finding
    tasks: tuple[str, ...]
    detail: str = ""
    revision: str | None = None
    digest: str = ""


def verify_sets(
    wanted: Sequence[EvaluationSet],
    root: Path,
    *,
    record: bool = False,
    workers: int = 4,
    progress: ProgressHook | None = None,
) -> tuple[SetFinding, ...]:
    """Look at sets, hashing every file. Needs no network and, unless ``record``, changes nothing.

    Args:
        wanted: the sets.
        root: folder of all sets.
        record: write a lock for sets that have none: their present bytes are what is right from now on.
        workers: files at a time.
        progress: told after every file.

    Raises:
        StorageError: a file cannot be read, or a lock cannot be written.
    """
    return tuple(_verify(item, root, record, workers, progress) for item in wanted)


def summary(root: Path, name: str) -> tuple[str, SetLock | None]:
    """What a glance says about a set, without hashing: ``here``, ``unrecorded``, ``absent`` or ``bad lock``."""
    try:
        lock = read_lock(root, name)
    except DataFormatError:
        return "bad lock", None
    if not (root / name).is_dir():
        return "absent", lock
    return ("here" if lock is not None else "unrecorded"), lock


def _verify(item: EvaluationSet, root: Path, record: bool, workers: int, progress: ProgressHook | None) -> SetFinding:
    folder = root / item.name
    lock: SetLock | None = None

    def found(finding: Finding, detail: str = "") -> SetFinding:
        revision, digest = (lock.revision, lock.digest) if lock is not None else (None, "")
        return SetFinding(
            name=item.name, finding=finding, tasks=item.tasks, detail=detail, revision=revision, digest=digest
        )

    try:
        lock = read_lock(root, item.name)
        if not folder.is_dir():
            return found(Finding.MISSING)
        _check_layout(folder)
        if lock is None and record:
            lock = record_set(folder, item.name, item.origin, source="found here", workers=workers, progress=progress)
            write_lock(root, lock)
            return found(Finding.SOUND)
    except DataFormatError as error:
        return found(Finding.MALFORMED, error.message)
    if lock is None:
        return found(Finding.UNRECORDED)
    difference = compare(folder, lock, workers, progress)
    return found(Finding.DIFFERENT, difference.words) if difference else found(Finding.SOUND)


def _check_layout(folder: Path) -> None:
    """Shards are all there; of folders of images, that there is one, or labels alone (what is in them is for the
    evaluation to say)."""
    paths = files_of(folder)
    if any(f"{part}/{SHARD_COUNT}" in paths for part in PARTS):
        check_complete(folder.name, paths, folder)
        return
    if LABELS_FILE in paths:
        return
    with storage_errors("listing", folder):
        if not any(path.is_dir() and not path.name.startswith(".") for path in folder.iterdir()):
            raise DataFormatError(f"The evaluation set {folder.name} holds neither shards nor folders of images.")
