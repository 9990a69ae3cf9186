"""Fetching all images of a pool, resuming, and the honest count of what was not to be had.

One run does one of two things. While shards of the latest round are missing, it fetches those and leaves the complete
ones alone. When none is missing, it tries the failed rows of the latest round again, in further shards whose numbers go
on (``rounds.py``); a row that succeeds is in one shard only, whichever round got it.
"""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from competition.data.atomic import make_folder
from competition.data.engine import Engine, LocalEngine, Needs
from competition.errors import DataFormatError
from competition.progress import Progress, ProgressHook
from competition.records.base import Record
from participant_kit.pools.images.failures import SUCCESS, by_kind
from participant_kit.pools.images.options import ImageOptions
from participant_kit.pools.images.rounds import Rounds
from participant_kit.pools.images.shard import ShardTask, fetch_shard, read_stats
from participant_kit.pools.lock import locked

_STAGE = "fetching images"


class ImagesReport(Record):
    """What a pool's images have come to: ``images`` and the counts of ``failed`` (by kind) sum to ``rows``."""

    rows: int
    images: int
    failed: dict[str, int]
    shards: int
    rounds: int
    fetched: int
    """Images that this run added."""


def fetch_images(
    sources: Sequence[Path],
    shards: Path,
    record_folder: Path,
    options: ImageOptions,
    *,
    engine: Engine | None = None,
    progress: ProgressHook | None = None,
) -> ImagesReport:
    """Fetch what is missing; see the module for what a run does.

    Args:
        sources: parquet files with ``uid``, ``url`` and ``text``, and ``sha256`` and ``face_bboxes`` where there are.
        shards: made when absent; gets ``NNNNNNNN.tar``, ``.parquet`` and ``_stats.json`` as img2dataset names them.
        record_folder: where it is kept which rows went into which shard.
        options: how.
        engine: runs the shards; by default ``options.processes`` at a time on this machine.
        progress: told about rows, about once a second.

    Raises:
        UsageError: another process fetches there, or the shards were begun from other metadata or options.
        StorageError: the disk is full or a folder cannot be written.
        ServiceUnavailableError: there is no network.
        EngineError: img2dataset's process died again and again on a shard.
    """
    make_folder(shards)
    make_folder(record_folder)
    with locked(record_folder):
        rounds = Rounds.open(record_folder, shards, tuple(sorted(sources)), options)
        missing = [task for task in rounds.tasks() if read_stats(task) is None]
        if not missing and options.retry_failed and rounds.add_round():
            missing = [task for task in rounds.tasks() if task.round == rounds.number]
        if missing:
            _fetch(missing, options, engine or LocalEngine(options.processes), progress)
            shutil.rmtree(shards / ".work", ignore_errors=True)
        return _count(rounds, {task.number for task in missing})


def _fetch(missing: list[ShardTask], options: ImageOptions, engine: Engine, progress: ProgressHook | None) -> None:
    tally = _Tally(missing, progress)
    tasks = {task.name: task for task in missing}
    # The threads wait for processes of their own, so they leave this one's interpreter alone.
    # On a cluster rows cannot be told from there, so the engine tells of shards.
    local = isinstance(engine, LocalEngine)
    engine.map(
        partial(fetch_shard, options, tally.report if local else None),
        tasks,
        stage=_STAGE,
        needs=Needs(threads=True),
        progress=None if local else progress,
    )


class _Tally:
    """Rows done so far by all processes together."""

    def __init__(self, missing: list[ShardTask], progress: ProgressHook | None) -> None:
        self._progress = progress
        self._rows = dict.fromkeys((task.number for task in missing), 0)
        self._total = sum(task.stop - task.start for task in missing)
        self._done = 0
        self._lock = threading.Lock()

    def report(self, number: int, rows: int) -> None:
        """``rows`` of shard ``number`` are done."""
        with self._lock:
            self._done += rows - self._rows[number]
            self._rows[number] = rows
            if self._progress is not None:
                self._progress(Progress(_STAGE, self._done, self._total))


def _count(rounds: Rounds, fetched: set[int]) -> ImagesReport:
    """Sum up the shards' statistics. Why a row failed is what the latest round says, which tried it last."""
    images = added = count = 0
    failed: Counter[str] = Counter()
    for task in rounds.tasks():
        stats = read_stats(task)
        if stats is None:
            raise DataFormatError(
                f"Shard {task.name} in {task.shards} was changed while it was counted.",
                hint="Run the same command again.",
            )
        images += stats["successes"]
        added += stats["successes"] if task.number in fetched else 0
        failed += by_kind(stats["status_dict"]) if stats["round"] == rounds.number else Counter()
        count += 1
    del failed[SUCCESS]
    return ImagesReport(
        rows=sum(rows for _, rows in rounds.record.rounds[0]),
        images=images,
        failed=dict(failed.most_common()),
        shards=count,
        rounds=rounds.number,
        fetched=added,
    )
