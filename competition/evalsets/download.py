"""Getting the evaluation sets of a suite: each appears whole, at a recorded commit, with every digest checked."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.data.lock import folder_lock
from competition.errors import (
    AuthenticationError,
    DataCupError,
    DataFormatError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
)
from competition.evalsets.fetching import (
    PART_SUFFIX,
    RemoteFile,
    RemoteSet,
    fetch,
    locked_files,
    look_up,
    of_lock,
    wrong_files,
)
from competition.evalsets.layout import byte_limit, check_complete
from competition.evalsets.lock import SetLock, compare, hash_files, read_lock, record_set, write_lock
from competition.evalsets.sources import EvaluationSet, Origin
from competition.progress import ProgressHook
from competition.records.base import Record

STAGING_FOLDER = ".download"
_SPARE_BYTES = 100 * 10**6
_OF_ONE_SET = (AuthenticationError, DataFormatError, NotFoundError, PermissionDeniedError)


class State(StrEnum):
    """What became of a set."""

    FETCHED = "fetched"
    KEPT = "kept"
    BUILT = "built"
    UNRECORDED = "unrecorded"
    """It is there, and no lock says what its bytes should be."""
    ELSEWHERE = "elsewhere"
    """It is not there, and has to be prepared from what somebody has of another source."""
    FAILED = "failed"


class SetReport(Record):
    """What became of a set, with what its lock says."""

    name: str
    state: State
    revision: str | None = None
    files: int = 0
    files_fetched: int = 0
    bytes: int = 0
    digest: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a download came to; ``failures`` are those of single sets, which did not keep the others from coming."""

    sets: tuple[SetReport, ...]
    failures: dict[str, DataCupError]


def download_sets(
    wanted: Sequence[EvaluationSet],
    root: Path,
    endpoint: str,
    *,
    workers: int = 8,
    progress: ProgressHook | None = None,
) -> Outcome:
    """Get sets, go on where an earlier run stopped, and put right what has become wrong since.

    A set that its Hub does not give, or that arrives wrong, is a failure of its own; the others still come.

    Args:
        wanted: the sets.
        root: folder of all sets; made when absent.
        endpoint: the Hub's address.
        workers: files at a time.
        progress: told after every file.

    Raises:
        ServiceUnavailableError: the Hub does not answer.
        StorageError: the disk is full or the folder cannot be written.
        UsageError: another process downloads into the folder.
    """
    before = _there(wanted, root)
    return _each(wanted, root, lambda item: _obtain(item, root, endpoint, before, workers, progress))


def check_offline(
    wanted: Sequence[EvaluationSet], root: Path, *, workers: int = 8, progress: ProgressHook | None = None
) -> Outcome:
    """The same without any network: sets that are made from code are made, the others must be there, as recorded.

    Raises:
        StorageError: the folder cannot be read or written.
        UsageError: another process downloads into the folder.
    """
    before = _there(wanted, root)
    return _each(wanted, root, lambda item: _present(item, root, before, workers, progress))


def _there(wanted: Sequence[EvaluationSet], root: Path) -> frozenset[str]:
    """Sets whose folders are there to begin with: making one from code brings the others of its suite, too."""
    return frozenset(item.name for item in wanted if (root / item.name).is_dir())


def _each(wanted: Sequence[EvaluationSet], root: Path, get: Callable[[EvaluationSet], SetReport]) -> Outcome:
    make_folder(root)
    reports: list[SetReport] = []
    failures: dict[str, DataCupError] = {}
    with folder_lock(root, "is downloading evaluation sets", "--data-dir"):
        for item in wanted:
            try:
                reports.append(get(item))
            except _OF_ONE_SET as error:
                failures[item.name] = error
                reports.append(SetReport(name=item.name, state=State.FAILED, problem=error.message))
    return Outcome(tuple(reports), failures)


def _present(
    item: EvaluationSet, root: Path, before: frozenset[str], workers: int, progress: ProgressHook | None
) -> SetReport:
    """A set that needs no Hub, or that must be here already."""
    folder = root / item.name
    if item.origin is Origin.CODE:
        return _built(item, root, before, workers, progress)
    lock = read_lock(root, item.name)
    if not folder.is_dir():
        if item.origin is Origin.ELSEWHERE:
            return SetReport(name=item.name, state=State.ELSEWHERE)
        raise NotFoundError(
            f"The evaluation set {item.name} is not in {root}, and --offline forbids to fetch it.",
            hint="Download it without --offline, or copy its folder and its lock file here.",
        )
    if lock is None:
        return SetReport(name=item.name, state=State.UNRECORDED)
    difference = compare(folder, lock, workers, progress)
    if difference:
        raise DataFormatError(
            f"The evaluation set {item.name} is not what its lock says ({difference.words}).",
            hint="Put the recorded files back, or move the set and its lock away and get it again.",
        )
    return _report(lock, State.KEPT)


def _obtain(
    item: EvaluationSet,
    root: Path,
    endpoint: str,
    before: frozenset[str],
    workers: int,
    progress: ProgressHook | None,
) -> SetReport:
    if item.origin is not Origin.HUB:
        return _present(item, root, before, workers, progress)
    folder, staging = root / item.name, root / STAGING_FOLDER / item.name
    lock = read_lock(root, item.name)
    if lock is not None and lock.revision is None and folder.is_dir():
        return _present(item, root, before, workers, progress)  # somebody's own set of that name, recorded as it was
    remote = _pinned(item, root, endpoint, lock)
    if folder.is_dir():
        wrong = wrong_files(folder, remote, workers, progress)
        if not wrong:
            return _recorded(item, root, folder, remote, lock, (State.KEPT, 0, workers))
        with storage_errors("moving", folder):  # a set that is being repaired is not there
            make_folder(staging.parent)
            shutil.rmtree(staging, ignore_errors=True)
            folder.rename(staging)
    make_folder(staging)
    wrong = wrong_files(staging, remote, workers, progress)
    _check_space(root, staging, wrong)
    fetch(endpoint, remote, wrong, staging, workers, progress)
    _remove_strangers(staging, remote)
    check_complete(item.name, [file.path for file in remote.files], staging)
    report = _recorded(item, root, staging, remote, lock, (State.FETCHED, len(wrong), workers))
    with storage_errors("moving", staging):
        staging.rename(folder)
        _listing(root, item.name).unlink(missing_ok=True)
    return report


def _pinned(item: EvaluationSet, root: Path, endpoint: str, lock: SetLock | None) -> RemoteSet:
    """The set at the commit that its lock says, or at that of a run which was cut off, or, at first, at today's."""
    if lock is not None:
        if lock.origin is not Origin.HUB or lock.revision is None or lock.source != item.repo:
            raise DataFormatError(
                f"The lock of {item.name} is of {lock.source or lock.origin.value}, not of {item.repo} on the Hub.",
                hint="Move the set and its lock file away to download it.",
            )
        return of_lock(lock, item.repo, lock.revision)
    path = _listing(root, item.name)
    if path.exists():
        with storage_errors("reading", path):
            content = path.read_bytes()
        try:
            known = RemoteSet.model_validate_json(content)
        except ValidationError:
            known = None  # torn or of another version: it is looked up again
        if known is not None and known.repo == item.repo:
            return known
    remote = look_up(endpoint, item.repo, item.revision)
    make_folder(path.parent)
    write_bytes(path, remote.model_dump_json().encode())
    return remote


def _recorded(
    item: EvaluationSet,
    root: Path,
    folder: Path,
    remote: RemoteSet,
    lock: SetLock | None,
    done: tuple[State, int, int],
) -> SetReport:
    """Write the lock of checked files unless there is one, and report."""
    state, fetched, workers = done
    if lock is None:
        digests = hash_files(folder, [file.path for file in remote.files], f"hashing {item.name}", workers, None)
        lock = SetLock(
            name=item.name,
            origin=Origin.HUB,
            source=item.repo,
            revision=remote.revision,
            files=locked_files(remote, digests),
        )
        write_lock(root, lock)
    return _report(lock, state, fetched)


def _built(
    item: EvaluationSet, root: Path, before: frozenset[str], workers: int, progress: ProgressHook | None
) -> SetReport:
    """A set that is made from code: made when absent, and made again when it is not what was recorded."""
    folder, suite = root / item.name, item.name.split("-", maxsplit=1)[0]
    kept, lock = item.name in before, read_lock(root, item.name)
    if folder.is_dir() and lock is not None:
        if not compare(folder, lock, workers, progress):
            return _report(lock, State.KEPT if kept else State.BUILT)
        with storage_errors("removing", folder):
            shutil.rmtree(folder)
        kept = False
    build_sets(suite, root, progress)
    lock = record_set(folder, item.name, Origin.CODE, source=f"made from code, suite {suite}", workers=workers)
    write_lock(root, lock)
    return _report(lock, State.KEPT if kept else State.BUILT)


def build_sets(suite: str, root: Path, progress: ProgressHook | None) -> None:
    """Make the sets of a suite from code (imports what draws images)."""
    from competition.evaluation.sets import ensure_sets

    ensure_sets(suite, root, progress)


def _report(lock: SetLock, state: State, fetched: int = 0) -> SetReport:
    return SetReport(
        name=lock.name,
        state=state,
        revision=lock.revision,
        files=lock.count,
        files_fetched=fetched,
        bytes=lock.bytes,
        digest=lock.digest,
    )


def _check_space(root: Path, staging: Path, files: Sequence[RemoteFile]) -> None:
    """A disk that will be full is said now, and not after hours."""
    with storage_errors("reading", root):
        free = shutil.disk_usage(root).free
    arrived = 0
    for file in files:
        part = staging / (file.path + PART_SUFFIX)
        arrived += part.stat().st_size if part.exists() else 0
    needed = sum(file.size for file in files) - arrived
    if needed + _SPARE_BYTES > free and needed:
        raise StorageError(
            f"The evaluation set {staging.name} needs {needed / 1e9:,.2f} GB more; {root} has {free / 1e9:,.2f} GB.",
            hint="Free some space, or choose another --data-dir; then run the same command again.",
        )


def _remove_strangers(staging: Path, remote: RemoteSet) -> None:
    """Shards and texts of another revision among a set's files would be taken for its own; the rest is somebody's."""
    own = {file.path for file in remote.files}
    with storage_errors("cleaning", staging):
        for path in [path for path in staging.rglob("*") if path.is_file()]:
            name = path.relative_to(staging).as_posix()
            if name not in own and byte_limit(name.removesuffix(PART_SUFFIX)) is not None:
                path.unlink()


def _listing(root: Path, name: str) -> Path:
    return root / STAGING_FOLDER / f"{name}.json"
