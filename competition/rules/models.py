"""What a competition fixes, as frozen models. A competition file (YAML) holds exactly these fields.

Digests of recipes and suites (sha256 of their canonical JSON) travel with every artefact, so that a result always
says under which rules it was obtained.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from competition.canonical import digest
from competition.rules.inconsistency import known, unique, wrong
from competition.rules.towers import check_towers

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$", max_length=64)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=120)]
Prose = Annotated[str, StringConstraints(max_length=4000)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Rule(BaseModel):
    """Base of all rules: immutable, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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


class ClipRecipe(Rule):
    """A contrastive image-text training that is identical for everybody."""

    kind: Literal["clip"]
    id: Identifier
    architecture: ClipArchitecture
    optimizer: Optimizer
    samples_seen: int = Field(gt=0)
    global_batch: int = Field(gt=1)
    crop_scale: tuple[Probability, Probability] = (0.9, 1.0)
    precision: Literal["fp32", "amp_bf16"] = "fp32"
    corrupt_tolerance: Probability = Field(default=0.0, description="share of undecodable samples that stops training")
    sources: dict[str, str] = Field(default_factory=dict, description="where each number comes from")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        # Of recipes alone: `pool annotate` takes open_clip models with other kinds of towers, too.
        check_towers(self.architecture.vision, self.architecture.text, "architecture")
        if self.samples_seen < self.global_batch:
            raise wrong(f"fewer than one batch of {self.global_batch}: nothing would be trained", "samples_seen")
        smallest, largest = self.crop_scale
        if not 0 < smallest <= largest:
            raise wrong("must be two shares of the image, above 0, the smaller one first", "crop_scale")
        return self

    @property
    def steps(self) -> int:
        """Optimiser steps: floor(samples seen / global batch), whatever the number of workers."""
        return self.samples_seen // self.global_batch

    @property
    def digest(self) -> str:
        """Identity of the recipe."""
        return digest(self.model_dump(mode="json"))


Recipe = ClipRecipe


class Protocol(StrEnum):
    """How a task is evaluated; one module each in ``competition.evaluation``."""

    ZEROSHOT_CLASSIFICATION = "zeroshot_classification"
    IMAGE_TEXT_RETRIEVAL = "image_text_retrieval"


METRICS = {
    Protocol.ZEROSHOT_CLASSIFICATION: ("acc1", "acc5", "mean_per_class_recall"),
    Protocol.IMAGE_TEXT_RETRIEVAL: ("mean_recall@1",),
}


class Task(Rule):
    """One evaluation: a protocol on a data set, with the metric that counts."""

    id: Identifier
    title: Title
    description: Prose = ""
    protocol: Protocol
    dataset: Identifier = Field(description="folder of the evaluation set, in CLIP_benchmark's webdataset layout")
    metric: Literal["acc1", "acc5", "mean_per_class_recall", "mean_recall@1"]
    samples: int = Field(gt=0, description="number of test images")
    chance: Probability | None = None
    hidden: bool = False
    revealed: bool = Field(default=True, description="a hidden task's results are shown to everybody")
    group: Identifier = "main"
    licence: Title = "unknown"

    @model_validator(mode="after")
    def _scored_by_its_protocol(self) -> Self:
        if self.metric not in METRICS[self.protocol]:
            offered = ", ".join(METRICS[self.protocol])
            raise wrong(f"{self.protocol.value} has no {self.metric}; it has {offered}", "metric")
        return self


class Aggregate(Rule):
    """A number made from several tasks: their unweighted mean. Not available while one of them is unscored."""

    id: Identifier
    title: Title
    tasks: tuple[Identifier, ...] = Field(min_length=1)


class Suite(Rule):
    """The official evaluation: tasks and what is made of them. Versioned; results of two versions never mix."""

    id: Identifier
    version: int = Field(ge=1)
    tasks: tuple[Task, ...] = Field(min_length=1)
    aggregates: tuple[Aggregate, ...] = Field(min_length=1)
    primary: Identifier = Field(description="the aggregate by which entries are ranked")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = unique("tasks", [task.id for task in self.tasks])
        aggregates = unique("aggregates", [aggregate.id for aggregate in self.aggregates])
        for number, aggregate in enumerate(self.aggregates):
            unique("tasks", list(aggregate.tasks), "aggregates", number)
            for place, task in enumerate(aggregate.tasks):
                known(task, names, "aggregates", number, "tasks", place)
        known(self.primary, aggregates, "primary")
        return self

    @property
    def reference(self) -> str:
        """Name and version, as in ``digits@1``."""
        return f"{self.id}@{self.version}"

    @property
    def digest(self) -> str:
        """Identity of the suite."""
        return digest(self.model_dump(mode="json"))

    def task(self, task_id: str) -> Task:
        """The task of that id (raises ``KeyError``)."""
        return {task.id: task for task in self.tasks}[task_id]

    @property
    def primary_aggregate(self) -> Aggregate:
        """The aggregate by which entries are ranked."""
        return {aggregate.id: aggregate for aggregate in self.aggregates}[self.primary]


class Track(Rule):
    """A kind of entry, such as filtering the given pool."""

    id: Identifier
    title: Title
    description: Prose = ""


class Pool(Rule):
    """The samples an entry chooses from."""

    id: Identifier
    samples: int = Field(gt=0)
    uids_sha256: Sha256 | None = Field(default=None, description="sha256 of the sorted uid array's bytes (u8,u8)")


class Scale(Rule):
    """A size of the competition: its pool and its recipe."""

    id: Identifier
    title: Title
    description: Prose = ""
    pool: Pool
    recipe: Identifier


class Phase(Rule):
    """When entries are taken, in UTC to the second."""

    id: Identifier
    title: Title
    opens: AwareDatetime
    closes: AwareDatetime | None = None


class Limits(Rule):
    """Bounds on what an entry may hold; everything from a participant is hostile until checked."""

    files: int = Field(default=64, gt=0)
    file_bytes: int = Field(default=2 * 2**30, gt=0)
    total_bytes: int = Field(default=4 * 2**30, gt=0)
    subset_uids: int = Field(default=10_000_000, gt=0, description="uids of a subset, repeats counted")


class Competition(Rule):
    """One competition, whole: what is fixed, what is entered, how it is scored."""

    schema_version: Literal[1]
    id: Identifier
    version: int = Field(ge=1)
    title: Title
    summary: Prose
    description: Prose = ""
    notice: Prose = Field(default="", description="what readers must know to read the results rightly")
    tracks: tuple[Track, ...] = Field(min_length=1)
    scales: tuple[Scale, ...] = Field(min_length=1)
    recipes: tuple[Recipe, ...] = Field(min_length=1)
    suite: Suite
    phases: tuple[Phase, ...] = Field(min_length=1)
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unique("tracks", [track.id for track in self.tracks])
        unique("scales", [scale.id for scale in self.scales])
        recipes = unique("recipes", [recipe.id for recipe in self.recipes])
        unique("phases", [phase.id for phase in self.phases])
        for number, scale in enumerate(self.scales):
            known(scale.recipe, recipes, "scales", number, "recipe")
        for number, phase in enumerate(self.phases):
            if phase.closes is not None and phase.closes <= phase.opens:
                raise wrong("the phase closes before it opens", "phases", number, "closes")
        return self

    @property
    def digest(self) -> str:
        """Identity of the whole competition file."""
        return digest(self.model_dump(mode="json"))

    def recipe_of(self, scale: Scale) -> Recipe:
        """The recipe that the scale trains."""
        return {recipe.id: recipe for recipe in self.recipes}[scale.recipe]
