"""The test images that entries' data are compared with: described once, in files beside the mirror.

``overlaps/<...>.npz`` hold the fingerprints of a set's test images, others which samples of a pool are copies of them,
and ``<...>.json`` names those of all tasks of a suite. They are made in a process that reads no entry, and a process
that does cannot write them: it sees fingerprints, and no test image.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from competition.canonical import digest
from competition.data.atomic import atomic_writer, make_folder, storage_errors, write_bytes
from competition.errors import DataFormatError, EvaluationError
from competition.evaluation.copies import Fingerprints
from competition.records.base import FileName, Identifier, Record, Several
from competition.rules import Competition, EntryData, Pool, Task, find_scale, find_track
from competition.verification.overlap import ComparedTask
from scorer.children import Send
from scorer.messages import Checking, Compared

OVERLAPS = "overlaps"
"""The folder in the mirror."""
BEAT_S = 60.0
"""How often a long check says that it goes on."""
_MOST_TASKS = 1024
_VERSION = 1
"""Rises when fingerprints of the same images become others."""


class OverlapRequest(Record):
    """``index_overlaps``' request."""

    competition: Competition
    track: Identifier
    scale: Identifier
    pools: Path
    evaluation: Path
    overlaps: Path


class _Indexed(Record):
    """The files of one task."""

    task: Identifier
    tests: FileName
    pool: FileName | None = None


class OverlapIndex(Record):
    """The tasks that entries are compared with; ``absent`` are those whose sets cannot be used here."""

    tasks: Several[_Indexed] = Field(max_length=_MOST_TASKS)
    absent: Several[Identifier] = ()


def must_compare(competition: Competition, track: str) -> bool:
    """Whether no entry of the track may pass without having been compared with the test images."""
    own = find_track(competition, track).data is EntryData.OWN
    return own or competition.contamination.subset_share < 1


def index_overlaps(raw: str, send: Send) -> None:
    """Describe the test images of a suite and find them in a pool, as far as that is not done; tells the index's name.

    Raises:
        EvaluationError, DataFormatError: a set is not here, or it or the pool is damaged, and entries must be compared.
        StorageError: a file cannot be read, or the folder not be written.
    """
    from competition.evaluation.sets import ensure_sets

    request = OverlapRequest.model_validate_json(raw)
    competition = request.competition
    make_folder(request.overlaps)
    ensure_sets(competition.suite.id, request.evaluation)
    beat = every(BEAT_S, lambda: send(Checking(check="test images")))
    must = must_compare(competition, request.track)
    tasks: list[_Indexed] = []
    absent: list[str] = []
    for task in competition.suite.tasks:
        try:
            found = _indexed(task, request, beat)
        except (EvaluationError, DataFormatError):
            if must:
                raise
            absent.append(task.id)
        else:
            tasks += [found] if found is not None else []
    index = OverlapIndex(tasks=tuple(tasks), absent=tuple(absent))
    name = f"{digest(index.model_dump(mode='json'))[:32]}.json"
    if not (request.overlaps / name).exists():
        write_bytes(request.overlaps / name, index.model_dump_json().encode())
    send(Compared(index=name))


def _indexed(task: Task, request: OverlapRequest, beat: Callable[[], None]) -> _Indexed | None:
    from competition.evaluation.set_images import SetImages

    images = SetImages.of(request.evaluation, task)
    if images is None:
        return None
    identity = digest([_VERSION, images.digest(request.overlaps)])[:32]
    tests = request.overlaps / f"{identity}.npz"
    if not tests.exists():
        described = images.fingerprints(beat)
        if not len(described):
            return None
        _write(tests, encoded=described.encoded, pixels=described.pixels, descriptors=described.descriptors)
    scale = find_scale(request.competition, request.scale)
    pool = None if scale.pool is None else _pool_file(scale.pool, request, tests, beat)
    return _Indexed(task=task.id, tests=tests.name, pool=pool)


def _pool_file(pool: Pool, request: OverlapRequest, tests: Path, beat: Callable[[], None]) -> str | None:
    """The name of the file with the pool's copies of the test images in ``tests``; None where the pool is not here."""
    from competition.evaluation.pool_copies import find_pool_copies, has_thumbnails
    from scorer.pool_index import pool_identity

    metadata = request.pools / pool.id / "metadata"
    if not metadata.is_dir():
        return None  # an entry without a subset needs none, and any other is refused a moment later
    cosine = request.competition.contamination.cosine if has_thumbnails(pool) else None
    identity = digest([pool_identity(metadata), tests.stem, cosine])[:32]
    path = request.overlaps / f"{pool.id}-{identity}.npz"
    if not path.exists():
        copies = find_pool_copies(metadata, _tests(tests), cosine, beat)
        _write(path, uids=copies.uids, images=copies.images, exact=copies.exact)
    return path.name


def load_compared(folder: Path, index: str, competition: Competition) -> list[ComparedTask]:
    """The tasks of an index, their arrays mapped into memory (raises ``DataFormatError`` or ``StorageError``)."""
    from competition.data.npz import open_member
    from competition.evaluation.pool_copies import PoolCopies

    with storage_errors("reading", folder):
        raw = (folder / index).read_bytes()
    try:
        tasks = OverlapIndex.model_validate_json(raw).tasks
    except ValidationError as error:
        raise DataFormatError(f"{folder / index} is no index.", hint="Remove it; it is made again.") from error
    found = []
    for indexed in tasks:
        task = competition.suite.task(indexed.task)
        pool = None
        if indexed.pool is not None:
            uids, images, exact = (open_member(folder / indexed.pool, name) for name in ("uids", "images", "exact"))
            pool = PoolCopies(uids, images, exact)
        title = "a hidden task" if task.hidden else f"task {task.id!r}"
        found.append(ComparedTask(task.id, title, _tests(folder / indexed.tests), pool))
    return found


def _tests(path: Path) -> Fingerprints:
    from competition.data.npz import open_member

    return Fingerprints(*(open_member(path, name) for name in ("encoded", "pixels", "descriptors")))


def _write(path: Path, **arrays: NDArray[Any]) -> None:
    with atomic_writer(path) as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def every(seconds: float, act: Callable[[], None]) -> Callable[[], None]:
    """Calls ``act`` when it is called, but not again before so many seconds have passed."""
    last = time.monotonic()

    def call() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            act()

    return call
