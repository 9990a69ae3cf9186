"""Contrastive image-text training as open_clip runs it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from competition.rules.base import Identifier, Probability, Rule
from competition.rules.inconsistency import wrong
from competition.rules.recipes.common import BaseRecipe
from competition.rules.towers import check_towers


class ClipArchitecture(Rule):
    """An open_clip model configuration; the keys of the two towers are open_clip's own."""

    name: Identifier
    embed_dim: int = Field(ge=8, le=8192)
    vision: dict[str, Any]
    text: dict[str, Any]

    @model_validator(mode="after")
    def _sized(self) -> Self:
        for tower, key in (("vision", "image_size"), ("text", "context_length")):
            size = getattr(self, tower).get(key)
            if type(size) is not int or size < 1:
                raise wrong(f"{key} must be a whole number of at least 1, and is {str(size)[:40]!r}", tower)
        return self

    def open_clip_config(self) -> dict[str, Any]:
        """The configuration in the form that ``open_clip.CLIP`` takes."""
        return {"embed_dim": self.embed_dim, "vision_cfg": dict(self.vision), "text_cfg": dict(self.text)}

    @property
    def image_size(self) -> int:
        """Side of the square input image in pixels."""
        return int(self.vision["image_size"])


class Optimizer(Rule):
    """AdamW with linear warm-up and cosine decay to zero, as open_clip runs it."""

    learning_rate: float = Field(gt=0, le=1)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.98, ge=0, lt=1)
    epsilon: float = Field(default=1e-6, gt=0)
    weight_decay: float = Field(default=0.2, ge=0)
    warmup_steps: int = Field(ge=0)


class Permutation(Rule):
    """Every sample once before any comes again: one seeded permutation of the data after another.

    Copies of one uid never meet in a batch while there are a batch of distinct uids. Data of more than ``window``
    samples are permuted in windows of whole shards, the shards themselves in a seeded order.
    """

    kind: Literal["permutation"] = "permutation"
    window: int = Field(default=4_194_304, gt=0)


class ShardsWithReplacement(Rule):
    """The order of open_clip's resampled webdataset, as DataComp uses it.

    Each of ``streams`` loader workers draws shards with replacement, with a probability in proportion to the weight
    of their source (so a source counts by its weight times its *shards*, and samples of short shards are seen more
    often), and reads them whole through a shuffle buffer of ``buffer`` samples (``initial`` before the first is
    drawn). Every rank of the original's machine has ``streams / ranks`` of the workers and takes a batch of each in
    turn; a global batch is made of those of all ranks, in equal parts. So with one rank, a stream gives every
    ``streams``-th batch. The order belongs to the recipe, and is the same on any machine.
    """

    kind: Literal["shards_with_replacement"]
    streams: int = Field(ge=1, le=65536)
    ranks: int = Field(default=1, ge=1, le=65536)
    buffer: int = Field(default=5000, ge=1)
    initial: int = Field(default=1000, ge=1)


Order = Annotated[Permutation | ShardsWithReplacement, Field(discriminator="kind")]


class WholeBatches(Rule):
    """Steps = floor(samples seen / global batch), whatever the number of workers."""

    kind: Literal["whole_batches"] = "whole_batches"


class PerWorkerEpochs(Rule):
    """open_clip's count: each epoch's steps are rounded up to a multiple of the loader's workers.

    Steps = epochs x workers x ceil(ceil(floor(samples seen / epochs) / global batch) / workers).
    """

    kind: Literal["per_worker_epochs"]
    epochs: int = Field(ge=1)
    workers: int = Field(ge=1)


StepCount = Annotated[WholeBatches | PerWorkerEpochs, Field(discriminator="kind")]


class ClipRecipe(BaseRecipe):
    """A contrastive image-text training that is identical for everybody."""

    kind: Literal["clip"]
    architecture: ClipArchitecture
    optimizer: Optimizer
    samples_seen: int = Field(gt=0)
    step_count: StepCount = WholeBatches()
    order: Order = Permutation()
    crop_scale: tuple[Probability, Probability] = (0.9, 1.0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        # Of recipes alone: `pool annotate` takes open_clip models with other kinds of towers, too.
        check_towers(self.architecture.vision, self.architecture.text, "architecture")
        if self.samples_seen < self.global_batch:
            raise wrong(f"fewer than one batch of {self.global_batch}: nothing would be trained", "samples_seen")
        smallest, largest = self.crop_scale
        if not 0 < smallest <= largest:
            raise wrong("must be two shares of the image, above 0, the smaller one first", "crop_scale")
        if isinstance(self.order, ShardsWithReplacement):
            for name, whole in (("streams", self.order.streams), ("global_batch", self.global_batch)):
                if whole % self.order.ranks:
                    raise wrong(f"the ranks share {name} evenly, and {whole} is no multiple of them", "order", "ranks")
        return self

    @property
    def steps(self) -> int:
        """Optimiser steps, whatever the machine; see ``step_count``."""
        rule = self.step_count
        if isinstance(rule, WholeBatches):
            return self.samples_seen // self.global_batch
        batches = -(-(self.samples_seen // rule.epochs) // self.global_batch)
        return rule.epochs * rule.workers * -(-batches // rule.workers)

    def steps_on(self, source_samples: tuple[int, ...]) -> int:  # noqa: ARG002 - the same on all data
        """Optimiser steps on data whose sources have so many samples."""
        return self.steps
