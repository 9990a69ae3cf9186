"""Running a choice of samples over a pool's metadata, to a subset file and its record; a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import competition
from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.data.digests import file_sha256
from competition.data.engine import Workers
from competition.data.lock import folder_lock
from competition.data.uids import repeated_rows, save_subset
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.subsets.pool import MetadataPool, file_states
from participant_kit.subsets.record import SubsetReport, check_save_path, digests, picture_path
from participant_kit.subsets.result import SubsetResult


@dataclass(frozen=True, slots=True)
class Choice:
    """A way to choose, and what its record says of it.

    Args:
        name: of the strategy.
        options: JSON, as recorded.
        select: from the pool to the kept uids; deterministic.
        assets: further files that the result depends on, by role.
        tools: see ``SubsetReport``.
    """

    name: str
    options: Mapping[str, Any]
    select: Callable[[MetadataPool], SubsetResult]
    assets: Mapping[str, Path] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)


def run_choice(
    choice: Choice, metadata_dir: Path, save_path: Path, workers: Workers = 1, progress: ProgressHook | None = None
) -> SubsetReport:
    """Choose, and write the subset with its record; see ``build_subset``.

    Raises:
        UsageError: not a ``.npy`` path, no metadata folder but a pool, another process makes this subset, nothing kept,
            or what the choice itself refuses.
        DataFormatError: a metadata file is damaged or lacks a column.
        StorageError: a file cannot be read or written.
    """
    check_save_path(save_path)
    if (metadata_dir / "metadata").is_dir():  # a pool's own folder holds other tables too
        raise UsageError(f"{metadata_dir} is a pool.", hint=f"Its metadata is in {metadata_dir / 'metadata'}.")
    assets = digests(choice.assets)
    make_folder(save_path.parent)
    work_dir = save_path.with_name(f".{save_path.name}.parts")
    pool = MetadataPool.open(metadata_dir, workers)
    fingerprint = _fingerprint(choice, assets, pool.files)
    pool = replace(pool, progress=progress, work_dir=work_dir, fingerprint=fingerprint)
    with _working(work_dir):
        report = _make(choice, pool, save_path, assets)
        _empty(work_dir)
    return report


def _make(choice: Choice, pool: MetadataPool, save_path: Path, assets: dict[str, dict[str, str]]) -> SubsetReport:
    result = choice.select(pool)
    if not len(result.uids):
        assert pool.work_dir is not None
        _empty(pool.work_dir)
        raise _nothing_kept(choice, result)
    save_subset(save_path, result.uids)
    report = SubsetReport(
        choice.name,
        dict(choice.options),
        len(pool.files),
        result.total,
        len(result.uids),
        result.dropped,
        result.repeats,
        assets,
        dict(choice.tools),
        save_path.name,
        file_sha256(save_path),
        shared_uids=repeated_rows(result.uids) - result.repeats,
        details=dict(result.details),
        picture=picture_path(save_path).name if result.picture else "",
    )
    report.write(save_path)
    if result.picture:
        write_bytes(picture_path(save_path), result.picture.encode())
    return report


@contextmanager
def _working(work_dir: Path) -> Iterator[None]:
    """Keep a second process out of the folder, which stays only if finished parts are in it."""
    make_folder(work_dir)
    held = False
    try:
        with folder_lock(work_dir, "makes this subset", "--save-path"):
            held = True
            yield
    finally:  # after the lock's file is closed: some file systems keep a folder with an open file
        if held and [path.name for path in work_dir.iterdir()] == [".lock"]:
            _remove(work_dir)


def _empty(work_dir: Path) -> None:
    """Remove all but the lock."""
    with storage_errors("removing", work_dir):
        for path in work_dir.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != ".lock":
                path.unlink()


def _remove(work_dir: Path) -> None:
    with storage_errors("removing", work_dir):
        shutil.rmtree(work_dir)


def _nothing_kept(choice: Choice, result: SubsetResult) -> UsageError:
    reasons = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in result.dropped.items() if count)
    return UsageError(
        f"{choice.name} keeps none of the {result.total:,} samples ({reasons or 'the pool is empty'}).",
        hint="Choose a less strict filter; nothing was written.",
    )


def _fingerprint(choice: Choice, assets: Mapping[str, Any], files: tuple[Path, ...]) -> str:
    """Changes whenever a part of the result could: parts of an interrupted run are reused only under the same one."""
    content = [competition.__version__, choice.name, dict(choice.options), dict(assets), file_states(files)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
