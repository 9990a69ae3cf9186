"""What a pipeline's steps are made of, as digests: what has the digest of an earlier stage need not be made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import competition
from competition.records.lineage import LineagePool, SourceFile, stage_digest
from participant_kit.pipelines.identity import shards_identity, source_file
from participant_kit.pipelines.load import Pipeline, Step
from participant_kit.pipelines.operations import SHARDS


@dataclass(frozen=True, slots=True)
class Stage:
    """A step with all that its result depends on.

    Args:
        step: the step.
        options: as recorded.
        assets: files beside the pool, by role.
        digest: names all that.
    """

    step: Step
    options: Mapping[str, Any]
    assets: Mapping[str, SourceFile]
    digest: str


def plan_stages(pipeline: Pipeline, pool: LineagePool) -> tuple[Stage, ...]:
    """The stages of a pipeline, in the order of its steps.

    Raises:
        UsageError: a file that a step needs is not there; names the step and its line.
        DataFormatError, StorageError: one is damaged or cannot be read.
    """
    stages: dict[str, Stage] = {}
    for step in pipeline.steps:
        with step.errors():
            stages[step.name] = _stage(step, pipeline, pool, stages)
    return tuple(stages.values())


def _stage(step: Step, pipeline: Pipeline, pool: LineagePool, earlier: Mapping[str, Stage]) -> Stage:
    operation, options = step.operation, step.options.recorded()
    assets = {role: source_file(path) for role, path in operation.assets(step.options).items()}
    if operation.reads_shards(step.options):
        assets["shards"] = shards_identity(pipeline.pool / SHARDS)
    digest = stage_digest(
        operation.name,
        options,
        inputs=[earlier[name].digest for name in step.inputs],
        pool=pool.digest if operation.reads_pool else None,
        assets={role: source.sha256 for role, source in assets.items()},
        code_version=competition.__version__,
    )
    return Stage(step, options, assets, digest)
