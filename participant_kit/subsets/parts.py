"""What a strategy finds in each file of a pool: kept on the disk file by file, so that a killed run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import atomic_writer, make_folder, storage_errors
from competition.data.journal import Journal
from participant_kit.subsets.pool import MetadataPool


@dataclass(frozen=True, slots=True)
class Part:
    """What one file holds.

    Args:
        arrays: by name, the same names for every file; never of objects.
        facts: JSON: counts and the like.
    """

    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Parts:
    """The parts of all files, in the order of the pool's files.

    Args:
        pool: with a ``work_dir``.
        function: from a file to its part; picklable.
        stage: what is being done, in words.

    Raises what the function raises, and ``EngineError`` and ``StorageError`` as engines do.
    """

    def __init__(self, pool: MetadataPool, function: Callable[[Path], Part], stage: str) -> None:
        assert pool.work_dir is not None
        make_folder(pool.work_dir)
        journal = Journal(pool.work_dir / "journal.jsonl", pool.fingerprint)
        for name in journal.completed:
            if not _part_path(pool.work_dir, name).exists():
                journal.forget(name)
        self.facts: list[dict[str, Any]] = pool.map(partial(_save_part, function, pool.work_dir), stage, journal)
        self._paths = [_part_path(pool.work_dir, path.name) for path in pool.files]

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        """The arrays of one file after the other."""
        return map(_load, self._paths)

    def total(self, name: str) -> int:
        """A count of the facts, added up; files without it count nothing."""
        return sum(int(facts.get(name, 0)) for facts in self.facts)


def load_part(work_dir: Path, path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of the pool's file ``path``, for who has no ``Parts`` at hand."""
    return _load(_part_path(work_dir, path.name))


def _load(path: Path) -> dict[str, NDArray[Any]]:
    with storage_errors("reading", path), np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _save_part(function: Callable[[Path], Part], work_dir: Path, path: Path) -> dict[str, Any]:
    """Runs in a worker: arrays go to a file, facts travel back."""
    part = function(path)
    arrays: dict[str, Any] = dict(part.arrays)
    with atomic_writer(_part_path(work_dir, path.name), synced=False) as stream:
        np.savez(stream, **arrays)
    return dict(part.facts)


def _part_path(work_dir: Path, name: str) -> Path:
    return work_dir / f"{name}.npz"
