"""Running a pipeline: stages that are there are left alone, the others are made; then the dataset and its lineage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

import competition
from competition.data.atomic import atomic_writer, make_folder, storage_errors, write_bytes
from competition.data.digests import file_sha256
from competition.data.engine import Workers
from competition.data.lock import folder_lock
from competition.errors import UsageError
from competition.progress import ProgressHook
from competition.records.lineage import LINEAGE_NAME, MAX_LINEAGE_BYTES, DatasetLineage, LineagePool, LineageStep
from participant_kit.pipelines.identity import pool_identity
from participant_kit.pipelines.load import Pipeline
from participant_kit.pipelines.operations import METADATA, RESULT_NAMES, SUBSET_NAME, Task
from participant_kit.pipelines.plan import Stage, plan_stages
from participant_kit.pipelines.stages import StageCache, StageResult

MADE, UNCHANGED = "made", "unchanged"
_STAGES, _POOL_MEMORY = "stages", "pool.jsonl"


@dataclass(frozen=True, slots=True)
class Terminal:
    """How a run says where it is.

    Args:
        show: a title; the hook moves the progress under it.
        note: a line for a person.
    """

    show: Callable[[str], AbstractContextManager[ProgressHook]]
    note: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Built:
    """What a run left.

    Args:
        subset: the dataset.
        lineage_path: how it was made.
        lineage: its content.
        states: of each step by name, ``made`` or ``unchanged``.
    """

    subset: Path
    lineage_path: Path
    lineage: DatasetLineage
    states: dict[str, str]


def build(pipeline: Pipeline, output_dir: Path, workers: Workers, terminal: Terminal) -> Built:
    """Make the dataset of a pipeline: ``dataset.npy`` with what belongs to it, and ``dataset.json``.

    A killed run goes on where it stopped. Stages are kept in ``stages/`` by the digest of all that they depend on.

    Args:
        pipeline: the steps.
        output_dir: made when absent.
        workers: how many tasks at a time on this machine, or an engine.
        terminal: told what happens.

    Raises:
        UsageError: another process builds there, the stages there are of another form, or a step refuses its options.
        DataFormatError: a file of the pool, or one that a step names, is damaged.
        StorageError: a file cannot be read or written.
    """
    cache = StageCache(output_dir / _STAGES)
    make_folder(cache.folder)
    with folder_lock(output_dir, "is building", "--output-dir"):
        _refuse_foreign(cache, output_dir)
        _say_version(cache, terminal)
        cache.mark()
        pool, stages = _planned(pipeline, output_dir / _POOL_MEMORY, workers, terminal)
        results, states = {}, {}
        for stage in stages:
            found = cache.find(stage.digest)
            states[stage.step.name] = MADE if found is None else UNCHANGED
            results[stage.step.name] = found or _make(stage, stages, pipeline, cache, workers, terminal)
        lineage = _lineage(pool, stages, results, output_dir / LINEAGE_NAME)
        _publish(cache.files(stages[-1].digest), lineage, output_dir)
        cache.clear()
    return Built(output_dir / SUBSET_NAME, output_dir / LINEAGE_NAME, lineage, states)


def foresee(pipeline: Pipeline, output_dir: Path, workers: Workers, terminal: Terminal) -> dict[str, bool]:
    """Which steps a run would make, by name; the others are there already. Nothing is written but the memory of pool
    files, in an output folder that there is. Errors as of ``build``."""
    cache = StageCache(output_dir / _STAGES)
    memory = output_dir / _POOL_MEMORY if cache.folder.exists() else None
    with nullcontext() if memory is None else folder_lock(output_dir, "is building", "--output-dir"):
        _say_version(cache, terminal)
        _, stages = _planned(pipeline, memory, workers, terminal)
        return {stage.step.name: cache.find(stage.digest) is None for stage in stages}


def _refuse_foreign(cache: StageCache, output_dir: Path) -> None:
    """A dataset that lies where no run was is somebody's own, and would be replaced."""
    if not cache.used and (output_dir / SUBSET_NAME).exists() and not (output_dir / LINEAGE_NAME).exists():
        raise UsageError(
            f"{output_dir} has a {SUBSET_NAME} that no `datacup build` made.", hint="Choose another --output-dir."
        )


def _say_version(cache: StageCache, terminal: Terminal) -> None:
    other = cache.check_format()
    if other is not None:
        terminal.note(
            f"The stages in {cache.folder} were made by DataCup {other} and are not used: this is "
            f"{competition.__version__}, whose results may differ."
        )


def _planned(
    pipeline: Pipeline, memory: Path | None, workers: Workers, terminal: Terminal
) -> tuple[LineagePool, tuple[Stage, ...]]:
    with terminal.show("Identifying the pool") as progress:
        pool = pool_identity(pipeline.pool / METADATA, memory, workers, progress)
    return pool, plan_stages(pipeline, pool)


def _make(
    stage: Stage,
    stages: tuple[Stage, ...],
    pipeline: Pipeline,
    cache: StageCache,
    workers: Workers,
    terminal: Terminal,
) -> StageResult:
    step = stage.step
    digests = {each.step.name: each.digest for each in stages}
    inputs = tuple(cache.subset(digests[name]) for name in step.inputs)
    with terminal.show(f"{step.name}: {step.operation.name}") as progress, step.errors():
        return cache.make(
            stage.digest,
            lambda folder: step.operation.run(Task(pipeline.pool, inputs, folder, workers, progress), step.options),
        )


def _lineage(
    pool: LineagePool, stages: tuple[Stage, ...], results: dict[str, StageResult], path: Path
) -> DatasetLineage:
    """The record; a dataset that is the same as before keeps the date of the time when it was made."""
    try:
        made = DatasetLineage(
            pool=pool,
            steps=tuple(_described(stage, results[stage.step.name]) for stage in stages),
            code_version=competition.__version__,
            created_at=datetime.now(UTC),
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise UsageError(f"The lineage cannot hold {field}: {first['msg']}.") from error
    try:
        earlier = DatasetLineage.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return made
    same = made.model_copy(update={"created_at": earlier.created_at})
    return same if same == earlier else made


def _described(stage: Stage, result: StageResult) -> LineageStep:
    step = stage.step
    return LineageStep(
        name=step.name,
        operation=step.operation.name,
        options=dict(stage.options),
        inputs=step.inputs,
        reads_pool=step.operation.reads_pool,
        assets=dict(stage.assets),
        digest=stage.digest,
        **result.model_dump(),
    )


def _publish(files: list[Path], lineage: DatasetLineage, output_dir: Path) -> None:
    """Put the result where a person looks for it, the lineage last: it is never beside another dataset's subset."""
    content = lineage.model_dump_json(indent=2).encode() + b"\n"
    if len(content) > MAX_LINEAGE_BYTES:
        raise UsageError(
            f"The lineage has {len(content):,} bytes; an entry's may have {MAX_LINEAGE_BYTES:,}.",
            hint="Name fewer files, or put them into a folder.",
        )
    target, subset = output_dir / LINEAGE_NAME, output_dir / SUBSET_NAME
    with storage_errors("replacing the files in", output_dir):
        told = subset.exists() and target.exists() and target.read_bytes() == content
        if told and file_sha256(subset) == lineage.result.subset_sha256:
            return
        for name in (LINEAGE_NAME, *RESULT_NAMES):
            (output_dir / name).unlink(missing_ok=True)
        for path in files:
            with path.open("rb") as source, atomic_writer(output_dir / path.name) as stream:
                shutil.copyfileobj(source, stream)
    write_bytes(target, content)
