"""Building the digits pool: shards by parallel workers, two reference models, then the metadata they give."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from competition import __version__
from competition.canonical import digest
from competition.data.atomic import make_folder, remove_partials, storage_errors, write_bytes
from competition.data.engine import Workers, engine_of
from competition.data.journal import Journal
from competition.data.lock import folder_lock
from competition.data.metadata import pool_uids
from competition.data.shards import SHARD_FORMAT
from competition.errors import DataFormatError, UsageError
from competition.evaluation.encoders import ClipEncoder
from competition.progress import Progress, ProgressHook
from competition.records.base import Record, Sha256
from competition.rules.models import Scale
from participant_kit.pools.digits.features import write_shard_metadata
from participant_kit.pools.digits.reference_set import FOLDER, write_reference_set
from participant_kit.pools.digits.score_model import RECIPES, load_references, model_path, train_references
from participant_kit.pools.digits.shards import SHARD_SAMPLES, ShardTask, answer_path, make_shard, write_table

REVISION = 2
"""Rises with every change of the pool's content."""

METADATA_SHARDS = 5
"""Shards whose samples share one metadata file."""

ANSWERS_FILE = "answers.parquet"
POOL_FILE = "pool.json"
_WORK = ".build"


class PoolReport(Record):
    """What was built; also the content of ``pool.json``."""

    pool: str
    scale: str
    samples: int
    shards: int
    seed: int
    revision: int
    code_version: str
    uids_sha256: Sha256
    seconds: float


@dataclass(frozen=True)
class _Build:
    """One pool and where its parts go."""

    folder: Path
    scale: Scale
    seed: int

    @property
    def samples(self) -> int:
        return self.scale.given_pool.samples

    @property
    def fingerprint(self) -> str:
        return digest([self.scale.given_pool.id, self.samples, self.seed, REVISION])

    @property
    def metadata(self) -> Path:
        return self.folder / "metadata"

    @property
    def shards(self) -> Path:
        return self.folder / "shards"

    @property
    def work(self) -> Path:
        return self.folder / _WORK

    @property
    def tasks(self) -> dict[str, ShardTask]:
        starts = range(0, self.samples, SHARD_SAMPLES)
        return {
            f"{number:08d}": ShardTask(
                self.shards, self.work, self.seed, number, first, min(first + SHARD_SAMPLES, self.samples)
            )
            for number, first in enumerate(starts)
        }


def build_digits_pool(
    output_dir: Path, scale: Scale, seed: int = 0, workers: Workers = 2, progress: ProgressHook | None = None
) -> PoolReport:
    """Build the pool of a scale, or go on where a killed build stopped, or recognise that it is finished.

    ``output_dir`` gets ``metadata/`` and ``shards/`` in DataComp's layout, ``pool.json``, and ``answers.parquet``,
    which says what every sample really is: it is there for tests and must not be used for an entry. ``reference/`` may:
    see ``reference_set``. The uids are the same on every machine; a larger pool of the same seed begins with the
    samples of a smaller one.

    Args:
        output_dir: made when absent.
        scale: whose pool it is; its ``samples`` are built.
        seed: the competition's pools have seed 0.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every shard and every metadata file.

    Raises:
        UsageError: the folder holds another pool, or another process builds there.
        DataFormatError: the uids are not those that the competition names.
        StorageError: the disk is full or the folder cannot be written.
        EngineError: workers died again and again.
    """
    report = progress or (lambda _progress: None)
    build = _Build(output_dir, scale, seed)
    start = time.monotonic()
    make_folder(output_dir)
    with folder_lock(output_dir, "builds a pool", "--output-dir"):
        finished = _finished(build)
        if finished is not None:
            return finished
        for folder in (build.metadata, build.shards, build.work):
            make_folder(folder)
        _make_parts(build, workers, report)
        encoders = load_references(build.work)
        _make_metadata(build, encoders, report)
        write_reference_set(build.folder / FOLDER, encoders["l14"])
        return _finish(build, time.monotonic() - start)


def _make_parts(build: _Build, workers: Workers, progress: ProgressHook) -> None:
    """Shards and reference models at the same time: training takes one worker as long as rendering takes the others."""
    tasks: dict[str, Path | ShardTask] = {"reference": build.work, **build.tasks}
    journal = Journal(build.work / "journal.jsonl", build.fingerprint)
    for name, task in tasks.items():
        if not all(path.exists() for path in _made(task)):
            journal.forget(name)
    engine_of(workers).map(
        _make_part, tasks, stage="rendering shards and training score models", journal=journal, progress=progress
    )


def _make_part(task: Path | ShardTask) -> int:
    """Runs in a worker; returns the samples made."""
    if isinstance(task, ShardTask):
        return make_shard(task)
    train_references(task)
    return 0


def _made(task: Path | ShardTask) -> list[Path]:
    """Files that the task leaves."""
    if isinstance(task, ShardTask):
        return [task.shards / SHARD_FORMAT.format(task.number), answer_path(task.answers, task.number)]
    return [model_path(task, role) for role in RECIPES]


def _make_metadata(build: _Build, encoders: Mapping[str, ClipEncoder], progress: ProgressHook) -> None:
    paths = [build.shards / SHARD_FORMAT.format(task.number) for task in build.tasks.values()]
    groups = [paths[start : start + METADATA_SHARDS] for start in range(0, len(paths), METADATA_SHARDS)]
    for number, group in enumerate(groups):
        progress(Progress("scoring pairs", number, len(groups)))
        stem = hashlib.blake2b(f"digits/{build.seed}/{number}".encode(), digest_size=16).hexdigest()
        if not (build.metadata / f"{stem}.parquet").exists():
            write_shard_metadata(build.metadata, stem, group, encoders)
    progress(Progress("scoring pairs", len(groups), len(groups)))


def _finish(build: _Build, seconds: float) -> PoolReport:
    parts = [pq.read_table(answer_path(build.work, task.number)) for task in build.tasks.values()]
    write_table(build.folder / ANSWERS_FILE, pa.concat_tables(parts))
    uids = pool_uids(build.metadata)
    report = PoolReport(
        pool=build.scale.given_pool.id,
        scale=build.scale.id,
        samples=len(uids),
        shards=len(build.tasks),
        seed=build.seed,
        revision=REVISION,
        code_version=__version__,
        uids_sha256=hashlib.sha256(uids.tobytes()).hexdigest(),
        seconds=round(seconds, 2),
    )
    expected = build.scale.given_pool.uids_sha256
    if build.seed == 0 and expected is not None and report.uids_sha256 != expected:
        raise DataFormatError(
            f"The pool in {build.folder} came out with other uids than competition's pool {report.pool!r} has.",
            hint="Update DataCup and scikit-learn, delete the folder, and build again.",
        )
    remove_partials(build.folder, build.metadata, build.shards)
    write_bytes(build.folder / POOL_FILE, (report.model_dump_json(indent=2) + "\n").encode())
    with storage_errors("removing", build.work):
        shutil.rmtree(build.work)
    return report


def _finished(build: _Build) -> PoolReport | None:
    """The report of the finished pool that is here; ``None`` when it is not finished.

    Raises:
        UsageError: another pool is here, finished or begun.
    """
    other = UsageError(
        f"{build.folder} holds another pool than {build.scale.given_pool.id!r} with seed {build.seed}.",
        hint="Choose another --output-dir, or delete that folder.",
    )
    path = build.folder / POOL_FILE
    mark = build.work / "fingerprint"
    if path.exists():
        try:
            report = PoolReport.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise other from error
        if digest([report.pool, report.samples, report.seed, report.revision]) != build.fingerprint:
            raise other
        return report
    if mark.exists():
        if mark.read_text() != build.fingerprint:
            raise other
    elif build.metadata.exists() or build.shards.exists():
        raise other
    else:
        make_folder(build.work)
        write_bytes(mark, build.fingerprint.encode())
    return None
