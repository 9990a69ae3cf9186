"""The metadata of a pool as strategies see it: files to map over, with results that survive a kill."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from competition.data.atomic import make_folder
from competition.data.engine import Engine, Needs, Workers, engine_of
from competition.data.journal import Journal
from competition.data.merge import MEMORY_ROWS, merge_subsets
from competition.data.metadata import features_path, list_metadata, row_count
from competition.data.uids import save_subset, sort_uids
from competition.progress import ProgressHook
from participant_kit.subsets.result import SubsetResult, sum_dropped

R = TypeVar("R")

MERGED = ".merged.npy"


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
    def open(cls, metadata_dir: Path, workers: Workers = 1) -> MetadataPool:
        """The pool of a metadata folder, and who works on it."""
        return cls(tuple(list_metadata(metadata_dir)), engine_of(workers))

    @contextmanager
    def working(self) -> Iterator[MetadataPool]:
        """This pool with a ``work_dir`` that exists: its own, or one that is gone afterwards."""
        if self.work_dir is None:
            with tempfile.TemporaryDirectory() as folder:
                yield replace(self, work_dir=Path(folder))
            return
        make_folder(self.work_dir)
        yield self

    def map(
        self, function: Callable[[Path], R], stage: str, journal: Journal | None = None, *, quick: bool = False
    ) -> list[R]:
        """The function's result for every file, in the order of ``files``.

        Args:
            function: picklable.
            stage: what is being done, in words.
            journal: of finished files.
            quick: the function only reads and compares columns, which threads do as well as processes.
        """
        tasks = {path.name: path for path in self.files}
        results = self.engine.map(
            function, tasks, stage=stage, needs=Needs(threads=quick), journal=journal, progress=self.progress
        )
        return list(results.values())

    def select(self, function: Callable[[Path], SubsetResult], stage: str, *, quick: bool = False) -> SubsetResult:
        """Choose uids file by file and merge them: sorted, duplicates kept, drop counts added up.

        A ``quick`` function (see ``map``) on few rows is done again sooner than its parts would be on the disk, so none
        are kept. What is more than memory should hold comes back memory-mapped from the ``work_dir``.
        """
        if self.work_dir is None or (quick and sum(map(row_count, self.files)) <= MEMORY_ROWS):
            return _merge(self.map(function, stage, quick=quick))
        make_folder(self.work_dir)
        work_dir = self.work_dir
        journal = Journal(work_dir / "journal.jsonl", self.fingerprint)
        for name in journal.completed:
            if not _part_path(work_dir, Path(name)).exists():
                journal.forget(name)
        counts = self.map(partial(_select_part, function, work_dir), stage, journal, quick=quick)
        return SubsetResult(
            merge_subsets([_part_path(work_dir, path) for path in self.files], work_dir / MERGED, MEMORY_ROWS),
            sum(count["total"] for count in counts),
            sum_dropped([count["dropped"] for count in counts]),
            sum(count["repeats"] for count in counts),
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
