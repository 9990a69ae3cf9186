"""The metadata of a pool as strategies see it: files to map over, with results that survive a kill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from competition.data.atomic import make_folder
from competition.data.engine import Engine, LocalEngine
from competition.data.journal import Journal
from competition.data.metadata import features_path, list_metadata
from competition.data.uids import load_subset, save_subset, sort_uids
from competition.progress import ProgressHook
from participant_kit.subsets.result import SubsetResult, sum_dropped

R = TypeVar("R")


@dataclass(frozen=True)
class MetadataPool:
    """Parquet files of a pool and the engine that works on them.

    Args:
        files: in sorted order.
        engine: runs one task a file.
        progress: told after every file.
        work_dir: a folder for parts of the result, so that a killed ``select`` goes on; in memory when absent.
        fingerprint: changes whenever the parts would; parts of another one are not reused.
    """

    files: tuple[Path, ...]
    engine: Engine
    progress: ProgressHook | None = None
    work_dir: Path | None = None
    fingerprint: str = ""

    @classmethod
    def open(cls, metadata_dir: Path, workers: int = 1) -> MetadataPool:
        """The pool of a metadata folder, worked on by this machine's processes."""
        return cls(tuple(list_metadata(metadata_dir)), LocalEngine(workers))

    def map(self, function: Callable[[Path], R], stage: str, journal: Journal | None = None) -> list[R]:
        """The function's result for every file, in the order of ``files``."""
        tasks = {path.name: path for path in self.files}
        return list(self.engine.map(function, tasks, stage=stage, journal=journal, progress=self.progress).values())

    def select(self, function: Callable[[Path], SubsetResult], stage: str) -> SubsetResult:
        """Choose uids file by file and merge them: sorted, duplicates kept, drop counts added up."""
        if self.work_dir is None:
            return _merge(self.map(function, stage))
        make_folder(self.work_dir)
        work_dir = self.work_dir
        journal = Journal(work_dir / "journal.jsonl", self.fingerprint)
        for name in journal.completed:
            if not _part_path(work_dir, Path(name)).exists():
                journal.forget(name)
        counts = self.map(partial(_select_part, function, work_dir), stage, journal)
        return _merge(
            [
                SubsetResult(
                    load_subset(_part_path(work_dir, path)), count["total"], count["dropped"], count["repeats"]
                )
                for path, count in zip(self.files, counts, strict=True)
            ]
        )


def file_states(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Names, sizes and times of metadata files and their features: another state may mean other content."""
    present = [path for file in files for path in (file, features_path(file)) if path.exists()]
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in present]


def _select_part(function: Callable[[Path], SubsetResult], work_dir: Path, path: Path) -> dict[str, Any]:
    """Runs in a worker: the uids go to a file, only the counts travel back."""
    result = function(path)
    save_subset(_part_path(work_dir, path), sort_uids(result.uids))
    return {"total": result.total, "dropped": result.dropped, "repeats": result.repeats}


def _part_path(work_dir: Path, path: Path) -> Path:
    return work_dir / f"{path.stem}.npy"


def _merge(parts: list[SubsetResult]) -> SubsetResult:
    uids = sort_uids(np.concatenate([part.uids for part in parts]))
    dropped = sum_dropped([part.dropped for part in parts])
    return SubsetResult(uids, sum(part.total for part in parts), dropped, sum(part.repeats for part in parts))
