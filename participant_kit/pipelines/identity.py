"""What a pool and other files are, as digests that do not depend on where they lie or when they were copied.

Metadata files are read once and remembered by size and time of change. Of feature files, which have most of a pool's
bytes, only the directory is read: a zip archive keeps in it a checksum of every array. Of shards, names and sizes
stand for the content, as they do for ``datacup reshard``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from competition.canonical import digest
from competition.data.atomic import storage_errors
from competition.data.digests import file_sha256
from competition.data.engine import Needs, Workers, engine_of
from competition.data.journal import Journal
from competition.data.metadata import EXTRAS_FOLDER, features_path, list_metadata
from competition.data.npz import member_checksums
from competition.data.shards import list_shards
from competition.progress import ProgressHook
from competition.records.lineage import LineagePool, SourceFile

_METHOD = "sha256 of metadata, checksums of features"


def pool_identity(
    metadata_dir: Path, memory: Path | None, workers: Workers = 1, progress: ProgressHook | None = None
) -> LineagePool:
    """The identity of a pool's metadata, extras and features.

    Args:
        metadata_dir: the pool's metadata folder.
        memory: a file in whose folder's digests are kept, so that an unchanged file is read once; none without it.
        workers: how many files at a time on this machine, or an engine.
        progress: told after every file.

    Raises:
        DataFormatError: there is no metadata file, or a feature file is damaged.
        StorageError: a file cannot be read, or the memory not written.
    """
    files = list_metadata(metadata_dir)
    beside = [path for file in files for path in (features_path(file), file.parent / EXTRAS_FOLDER / file.name)]
    tasks = {str(path.relative_to(metadata_dir)): path for path in [*files, *beside] if path.exists()}
    journal = None if memory is None else Journal(memory, _METHOD)
    if journal is not None:
        for name, known in journal.completed.items():
            if name not in tasks or known["state"] != _state(tasks[name]):
                journal.forget(name)
    found = engine_of(workers).map(
        _identified,
        tasks,
        stage="identifying the pool",
        needs=Needs(threads=True),
        journal=journal,
        progress=progress,
    )
    named = [[name, each["digest"]] for name, each in sorted(found.items())]
    return LineagePool(metadata_files=len(files), digest=digest(named))


def shards_identity(shards_dir: Path) -> SourceFile:
    """The identity of a pool's shards.

    Raises:
        DataFormatError: there is none.
        StorageError: the folder cannot be read.
    """
    shards = list_shards(shards_dir).shards
    return SourceFile(
        file=shards_dir.name, sha256=digest([[shard.name, shard.path.stat().st_size] for shard in shards])
    )


def source_file(path: Path) -> SourceFile:
    """A file that a step depends on; of a folder, the names and digests of all files in it.

    Raises:
        StorageError: it cannot be read.
    """
    with storage_errors("reading", path):
        if not path.is_dir():
            return SourceFile(file=path.name, sha256=file_sha256(path))
        inside = sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith("."))
        content = [[str(each.relative_to(path)), _digest(each)] for each in inside]
    return SourceFile(file=path.name, sha256=digest(content))


def _identified(path: Path) -> dict[str, Any]:
    with storage_errors("reading", path):
        return {"state": _state(path), "digest": _digest(path)}


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _digest(path: Path) -> str:
    return digest([list(each) for each in member_checksums(path)]) if path.suffix == ".npz" else file_sha256(path)
