"""Steps that ``datacup dedup`` has as commands. Those that compare the pool with itself may do so within a step."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from participant_kit.dedup.contamination import DATACOMP_THRESHOLD, decontaminate
from participant_kit.dedup.hamming import MOST_BITS
from participant_kit.dedup.keep import DEFAULT_SCORE, Keep, KeepRule
from participant_kit.dedup.same import DEFAULT_BITS, Sources, deduplicate_exact, deduplicate_perceptual
from participant_kit.dedup.semantic import DEFAULT_THRESHOLD, SemanticOptions, deduplicate_semantic
from participant_kit.pipelines.operations import SHARDS, AnyOperation, Made, Operation, Task
from participant_kit.pipelines.options import InputPath, Seed, StepOptions, Text

Linkage = Literal["group", "pair"]
Cosine = Annotated[float, Field(ge=0, lt=1)]


class ExactOptions(StepOptions):
    """See ``deduplicate_exact``; ``shards`` reads the images instead of the metadata's digests."""

    keep: Literal["best", "largest", "first"] = "best"
    score: Text = DEFAULT_SCORE
    shards: bool = False

    @property
    def rule(self) -> KeepRule:
        """Which of a group stays."""
        return KeepRule(Keep(self.keep), self.score)


class PerceptualOptions(ExactOptions):
    """See ``deduplicate_perceptual``."""

    max_bits: Annotated[int, Field(ge=0, le=MOST_BITS)] = DEFAULT_BITS
    linkage: Linkage = "group"


class SemanticStepOptions(StepOptions):
    """See ``deduplicate_semantic``."""

    threshold: Cosine = DEFAULT_THRESHOLD
    features: Text = "l14_img"
    num_clusters: Annotated[int, Field(ge=1)] | None = None
    keep: Literal["best", "largest", "first", "outermost"] = "best"
    score: Text = DEFAULT_SCORE
    linkage: Linkage = "group"
    seed: Seed = 0


class DecontaminateOptions(StepOptions):
    """See ``decontaminate``."""

    references: InputPath
    features: Text = "dedup"
    threshold: Cosine = DATACOMP_THRESHOLD


def _exact(task: Task, options: ExactOptions) -> Made:
    return deduplicate_exact(_sources(task, options), task.save_path, options.rule, task.workers, task.progress).report


def _perceptual(task: Task, options: PerceptualOptions) -> Made:
    return deduplicate_perceptual(
        _sources(task, options),
        task.save_path,
        options.rule,
        options.max_bits,
        by_pair=options.linkage == "pair",
        workers=task.workers,
        progress=task.progress,
    ).report


def _sources(task: Task, options: ExactOptions) -> Sources:
    return Sources(task.metadata_dir, task.pool / SHARDS if options.shards else None, task.within)


def _semantic(task: Task, options: SemanticStepOptions) -> Made:
    rule = KeepRule(Keep(options.keep), options.score)
    by_pair = options.linkage == "pair"
    chosen = SemanticOptions(
        options.threshold, options.features, options.num_clusters, options.seed, by_pair, task.within
    )
    return deduplicate_semantic(task.metadata_dir, task.save_path, rule, chosen, task.workers, task.progress).report


def _decontaminate(task: Task, options: DecontaminateOptions) -> Made:
    return decontaminate(
        task.metadata_dir,
        options.references,
        task.save_path,
        options.features,
        options.threshold,
        task.workers,
        task.progress,
    ).report


def _with_shards(options: ExactOptions) -> bool:
    return options.shards


DEDUP_STEPS: tuple[AnyOperation, ...] = (
    Operation("dedup exact", ExactOptions, _exact, most=1, reads_shards=_with_shards),
    Operation("dedup perceptual", PerceptualOptions, _perceptual, most=1, reads_shards=_with_shards),
    Operation("dedup semantic", SemanticStepOptions, _semantic, most=1),
    Operation("dedup decontaminate", DecontaminateOptions, _decontaminate),
)
