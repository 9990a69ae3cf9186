"""What a competition fixes, as frozen models. A competition file (YAML) holds exactly these fields.

Digests of recipes and suites (sha256 of their canonical JSON) travel with every artefact, so that a result always
says under which rules it was obtained.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from competition.canonical import digest
from competition.rules.base import Identifier, Probability, Prose, Rule, Sha256, Title
from competition.rules.inconsistency import known, unique, wrong
from competition.rules.recipes import ClipRecipe


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
    recipes: tuple[ClipRecipe, ...] = Field(min_length=1)
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

    def recipe_of(self, scale: Scale) -> ClipRecipe:
        """The recipe that the scale trains."""
        return {recipe.id: recipe for recipe in self.recipes}[scale.recipe]
