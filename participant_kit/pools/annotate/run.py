"""Annotating a folder of shards: check, compute shard by shard, record."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

import competition
from competition.data.atomic import make_folder, remove_partials, storage_errors, write_bytes
from competition.data.digests import file_sha256
from competition.data.engine import Engine, LocalEngine, Needs, Workers, engine_of
from competition.data.journal import Journal
from competition.data.metadata import EXTRAS_FOLDER
from competition.data.shards import Shard, list_shards
from competition.errors import DataFormatError, UsageError
from competition.progress import ProgressHook
from participant_kit.pools.annotate.models import ModelChoice, find_model
from participant_kit.pools.annotate.shard import Job, annotate_shard, made_files
from participant_kit.pools.index import file_state
from participant_kit.pools.lock import locked
from participant_kit.subsets.language import language_model

RECORD_NAME = "annotation.json"
_VERSION = 2
_WORK_FOLDER = ".annotate"
_CLUSTER_THREADS = 4
"""Processor cores that decode for each GPU of a cluster."""


@dataclass(frozen=True, slots=True)
class AnnotateOptions:
    """How to annotate.

    Args:
        models: one or two, of different roles; the first one's image features give the ``dedup`` descriptors.
        batch: pairs that go through a model together.
        language_model: a fastText model; the bundled one when absent.
        tolerate: how many damaged shards are only reported: their samples before the damage have rows, the others none.
    """

    models: tuple[ModelChoice, ...]
    batch: int = 256
    language_model: Path | None = None
    tolerate: int = 0

    def check(self) -> None:
        """Raises ``UsageError`` for a value out of range."""
        roles = [choice.role for choice in self.models]
        if not roles or len(set(roles)) < len(roles):
            raise UsageError("Annotating needs a model, and at most one for each of the roles b32 and l14.")
        if self.batch < 1:
            raise UsageError(f"The batch is {self.batch}; it must be at least 1.")
        if self.tolerate < 0:
            raise UsageError(f"The number of tolerated shards is {self.tolerate}; it must be at least 0.")


@dataclass(frozen=True, slots=True)
class AnnotateReport:
    """What was annotated, by what; written into the metadata folder as ``annotation.json``.

    Args:
        shards: read.
        samples: found in them; ``rows`` and ``dropped`` sum to it.
        rows: written.
        dropped: samples without a row, by reason.
        notes: rows of which something was made up or left out, by what.
        models: name, role and digest of each.
        language_model: name and digest.
        gaps: (first, last) runs of shard numbers that are missing.
        input_digest: changes with the shards.
        job_digest: changes with the result.
        damaged_shards: what is wrong with shards that were used up to their damage.
        code_version: of DataCup.
        format_version: of this record.
    """

    shards: int
    samples: int
    rows: int
    dropped: dict[str, int]
    notes: dict[str, int]
    models: list[dict[str, Any]]
    language_model: dict[str, str]
    gaps: list[list[int]]
    input_digest: str
    job_digest: str
    damaged_shards: list[str] = field(default_factory=list)
    code_version: str = competition.__version__
    format_version: int = _VERSION

    def as_json(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)


def annotate_pool(
    shards_dir: Path,
    output_dir: Path,
    options: AnnotateOptions,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> AnnotateReport:
    """Make DataComp's metadata for shards in webdataset's layout: one parquet file and npz for each shard with rows.

    What DataComp has no column for goes to ``extras/<stem>.parquet``, row by row the same samples. A score for which
    there is no model is missing. The names and contents of the files depend on the shards and models alone (on a GPU,
    up to its rounding). A killed run goes on at the shards that are not finished; so does one after a shard was
    repaired. Memory: two batches of images, and the features of one shard, for each worker.

    Args:
        shards_dir: folder of tars.
        output_dir: the metadata folder: absent, empty, or of the same job; a finished one's record is returned, unless
            shards were damaged: what was repaired since is annotated then.
        options: models, batch and tolerance.
        workers: tasks at a time, or the engine that runs them. Where it has GPUs there is a task for each of them, and
            the workers decode.
        progress: told after every shard.

    Raises:
        UsageError: no model, two for one role, an unknown one, or ``output_dir`` holds something else.
        DataFormatError: more shards are damaged than tolerated (the others are finished first), or no sample is usable.
        EvaluationError: weights do not fit, or a feature is not finite.
        StorageError: the disk is full, or a path cannot be read or written.
        EngineError: a worker died on every attempt.
    """
    options.check()
    listing = list_shards(shards_dir)
    models = tuple(find_model(choice) for choice in options.models)
    language = language_model(options.language_model)
    described = [each.as_json() for each in models]
    identifier = {"file": language.name, "sha256": file_sha256(language)}
    job_digest = _digest([_VERSION, described, identifier, options.batch])
    input_digest = _digest([[shard.name, file_state(shard.path)[0]] for shard in listing.shards])
    make_folder(output_dir)
    with locked(output_dir):
        finished = _prepare(output_dir, job_digest, input_digest)
        if finished is not None:
            return finished
        engine, needs, threads = _engine(workers)
        job = Job(output_dir, models, language, options.batch, threads, gpu=needs.gpus > 0)
        done = _map(job, listing.shards, job_digest, engine, needs, progress)
        _refuse_damage(done, options.tolerate)
        gaps = [list(gap) for gap in listing.gaps]
        remove_partials(output_dir, output_dir / EXTRAS_FOLDER)
        report = _report(done, described, identifier, gaps, input_digest, job_digest)
        write_bytes(output_dir / RECORD_NAME, (json.dumps(report.as_json(), indent=2, sort_keys=True) + "\n").encode())
        if not report.damaged_shards:  # else a repair is due, after which only the repaired shards are annotated
            with storage_errors("removing", output_dir / _WORK_FOLDER):
                shutil.rmtree(output_dir / _WORK_FOLDER)
    return report


def _engine(workers: Workers) -> tuple[Engine, Needs, int]:
    """What runs the tasks, what each needs, and the threads that decode in it."""
    engine = engine_of(workers)
    if isinstance(engine, LocalEngine):
        engine.gpus = torch.cuda.device_count()  # an engine of this machine knows of GPUs only what it is told
    gpus = engine.gpu_count()
    if not gpus:
        return engine, Needs(), 1
    if isinstance(engine, LocalEngine):
        return engine, Needs(gpus=1), max(1, engine.workers // gpus)
    return engine, Needs(cpus=_CLUSTER_THREADS, gpus=1), _CLUSTER_THREADS


def _map(
    job: Job,
    shards: Sequence[Shard],
    job_digest: str,
    engine: Engine,
    needs: Needs,
    progress: ProgressHook | None,
) -> dict[str, dict[str, Any]]:
    journal = Journal(job.output / _WORK_FOLDER / "shards.jsonl", job_digest)
    states = {shard.name: file_state(shard.path) for shard in shards}
    for name, entry in journal.completed.items():
        made = made_files(job.output, entry["stem"]) if entry["stem"] else []
        if states.get(name) != entry["state"] or not all(path.exists() for path in made):
            journal.forget(name)
            for path in made:
                with storage_errors("removing", path):
                    path.unlink(missing_ok=True)
    tasks = {shard.name: (position, shard) for position, shard in enumerate(shards)}
    return engine.map(
        partial(annotate_shard, job), tasks, stage="annotating shards", needs=needs, journal=journal, progress=progress
    )


def _refuse_damage(done: Mapping[str, Mapping[str, Any]], tolerate: int) -> None:
    damage = _damage(done)
    if len(damage) > tolerate:
        others = f" {len(damage) - 1} more shards are damaged." if len(damage) > 1 else ""
        raise DataFormatError(
            damage[0],
            hint="Get the damaged shards again, then run the same command: finished work is kept. Or pass "
            f"`--tolerate {len(damage)}` to go on without what is lost.{others}",
        )


def _damage(done: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [entry["damage"] for entry in done.values() if entry["damage"] is not None]


def _report(
    done: Mapping[str, Mapping[str, Any]],
    models: list[dict[str, Any]],
    language: dict[str, str],
    gaps: list[list[int]],
    input_digest: str,
    job_digest: str,
) -> AnnotateReport:
    dropped: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    for entry in done.values():
        dropped.update(entry["dropped"])
        notes.update(entry["notes"])
    rows = sum(entry["rows"] for entry in done.values())
    if not rows:
        raise DataFormatError(
            f"None of the {dropped.total()} samples can be annotated: {dict(dropped)}.",
            hint="A sample needs an image (jpg, png or webp) and a caption (txt, or `caption` in its json).",
        )
    return AnnotateReport(
        shards=len(done),
        samples=rows + dropped.total(),
        rows=rows,
        dropped=dict(sorted(dropped.items())),
        notes=dict(sorted(notes.items())),
        models=models,
        language_model=language,
        gaps=gaps,
        input_digest=input_digest,
        job_digest=job_digest,
        damaged_shards=_damage(done),
    )


def _prepare(output: Path, job_digest: str, input_digest: str) -> AnnotateReport | None:
    """The report of a finished run of the same job without damage; ``None`` when it is to be done, or looked at again.

    Begins the work folder.

    Raises:
        UsageError: something else is there.
    """
    record, mark = output / RECORD_NAME, output / _WORK_FOLDER / "job"
    other = UsageError(
        f"{output} holds other metadata than this command would make.",
        hint="Choose another --output-dir, or delete that folder.",
    )
    if record.exists():
        try:
            report = AnnotateReport(**json.loads(record.read_bytes()))
        except (ValueError, TypeError) as error:
            raise other from error
        if report.job_digest != job_digest or (report.input_digest != input_digest and not report.damaged_shards):
            raise other
        if not report.damaged_shards:
            return report
    elif mark.exists():
        if mark.read_text() != job_digest:
            raise other
    elif any(not path.name.startswith(".") for path in output.iterdir()):
        raise UsageError(f"The output folder {output} is not empty.", hint="Choose another --output-dir.")
    make_folder(mark.parent)
    write_bytes(mark, job_digest.encode())
    return None


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
