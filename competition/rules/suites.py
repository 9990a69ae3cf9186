"""Suites: what an official evaluation consists of, and the numbers that are made of its tasks."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from competition.canonical import digest
from competition.rules.base import Identifier, Probability, Prose, Rule, Title
from competition.rules.inconsistency import known, unique, wrong
from competition.rules.protocols import (
    CHOICES,
    LESS_IS_BETTER,
    METRICS,
    OF_ANSWERS,
    OF_ENTRY_IMAGES,
    SETTINGS,
    Protocol,
)

MetricName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_@.-]+$", max_length=64)]
Setting = int | float | Identifier


def _absent(value: object) -> bool:
    return value is None


def _zero(value: float) -> bool:
    return value == 0


def _empty(value: dict[str, Any]) -> bool:
    return not value


class Task(Rule):
    """One evaluation: a protocol on a data set, with the metric that counts.

    Fields that were added since the first suites are left out of the canonical form while they are not given, so that
    those suites keep their digests.
    """

    id: Identifier
    title: Title
    description: Prose = ""
    protocol: Protocol
    dataset: Identifier = Field(description="folder of the evaluation set, in CLIP_benchmark's webdataset layout")
    metric: MetricName
    samples: int | None = Field(default=None, gt=0, description="number of test images, where it is known")
    chance: Probability | None = None
    hidden: bool = False
    revealed: bool = Field(default=True, description="a hidden task's results are shown to everybody")
    group: Identifier = "main"
    licence: Title = "unknown"
    reference_seconds: float | None = Field(
        default=None, gt=0, exclude_if=_absent, description="what the original needed; a hint of the cost"
    )
    unreadable_tolerance: Probability = Field(
        default=0.0, exclude_if=_zero, description="share of test images that may be undecodable before the task fails"
    )
    revision: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = Field(
        default=None, exclude_if=_absent, description="revision of the set where it is published"
    )
    settings: dict[str, Setting] = Field(
        default_factory=dict, exclude_if=_empty, description="what the protocol is set to, see SETTINGS"
    )

    @model_validator(mode="after")
    def _scored_by_its_protocol(self) -> Self:
        if self.metric not in METRICS[self.protocol]:
            offered = ", ".join(METRICS[self.protocol])
            raise wrong(f"{self.protocol.value} has no {self.metric}; it has {offered}", "metric")
        for name, value in self.settings.items():
            self._check_setting(name, value)
        self._check_settings_together()
        return self

    def _check_setting(self, name: str, value: Setting) -> None:
        permitted = SETTINGS.get(self.protocol, frozenset())
        if name not in permitted:
            offered = ", ".join(sorted(permitted)) or "nothing"
            raise wrong(f"{self.protocol.value} has no setting {name!r}; it has {offered}", "settings", name)
        if name in CHOICES:
            known(str(value), set(CHOICES[name]), "settings", name)
        elif name == "label_share":
            if isinstance(value, str) or not 0 < value <= 1:
                raise wrong("must be a share above 0 and at most 1", "settings", name)
        elif type(value) is not int or value < 1:
            raise wrong("must be a whole number above 0", "settings", name)

    def _check_settings_together(self) -> None:
        if self.metric == "aupr" and self.part == "val":
            raise wrong("aupr tells the images of `test` from those of `val`", "settings", "part")
        size, resize = (self.settings.get(name) for name in ("size", "resize"))
        for name in ("resize", "interpolation"):
            if name in self.settings and size is None:
                raise wrong("goes with a `size`", "settings", name)
        if isinstance(size, int) and isinstance(resize, int) and resize < size:
            raise wrong(f"must not be less than the size, {size}", "settings", "resize")

    @property
    def needs_images(self) -> bool:
        """Whether it is about the images that an entry consists of."""
        trained_on = self.settings.get("train") == "entry"
        return trained_on or (self.protocol in OF_ENTRY_IMAGES and self.metric not in OF_ANSWERS)

    @property
    def part(self) -> Literal["test", "val"]:
        """Which part of the set holds the test images."""
        return "val" if self.settings.get("part") == "val" else "test"

    @property
    def less_is_better(self) -> bool:
        """Whether a smaller value is the better one, as with a distance."""
        return self.metric in LESS_IS_BETTER


class Mean(Rule):
    """The unweighted mean of the tasks."""

    kind: Literal["mean"] = "mean"


class MeanOfGroups(Rule):
    """The mean of the means of the tasks of each group: a group counts as one, however many tasks it has."""

    kind: Literal["mean_of_groups"]


class RelativeToBaseline(Rule):
    """The mean of the tasks' values, each divided by a baseline's (SELECT's comparison with ImageNet).

    ``scores`` has the baseline's value of each task, above 0.
    """

    kind: Literal["relative_to_baseline"]
    baseline: Title
    scores: dict[Identifier, Annotated[float, Field(gt=0)]]


class ChanceCentred(Rule):
    """The mean of (value - chance) / (1 - chance): 0 is guessing, 1 is perfect (DCLM's centred score)."""

    kind: Literal["chance_centred"]


class AverageRank(Rule):
    """The mean of an entry's ranks in the tasks: needs all entries, so the leaderboard computes it."""

    kind: Literal["average_rank"]


AggregateRule = Annotated[
    Mean | MeanOfGroups | RelativeToBaseline | ChanceCentred | AverageRank, Field(discriminator="kind")
]


class Aggregate(Rule):
    """A number made from several tasks by a rule. Not available while one of them is unscored."""

    id: Identifier
    title: Title
    tasks: tuple[Identifier, ...] = Field(min_length=1)
    rule: AggregateRule = Field(default=Mean(), exclude_if=lambda rule: rule == Mean())


class Suite(Rule):
    """The official evaluation: tasks and what is made of them. Versioned; results of two versions never mix."""

    id: Identifier
    version: int = Field(ge=1)
    title: Title | None = Field(default=None, exclude_if=_absent)
    description: Prose = Field(default="", exclude_if=lambda text: text == "")
    tasks: tuple[Task, ...] = Field(min_length=1)
    aggregates: tuple[Aggregate, ...] = Field(min_length=1)
    primary: Identifier = Field(description="the aggregate by which entries are ranked")
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        exclude_if=lambda precision: precision == "fp32",
        description="in which models run: true float32, or torch's automatic mixed precision (slower on most CPUs)",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = unique("tasks", [task.id for task in self.tasks])
        aggregates = unique("aggregates", [aggregate.id for aggregate in self.aggregates])
        for number, aggregate in enumerate(self.aggregates):
            unique("tasks", list(aggregate.tasks), "aggregates", number)
            for place, task in enumerate(aggregate.tasks):
                known(task, names, "aggregates", number, "tasks", place)
            self._check_rule(aggregate, "aggregates", number)
        known(self.primary, aggregates, "primary")
        return self

    def _check_rule(self, aggregate: Aggregate, *where: str | int) -> None:
        tasks = [self.task(task) for task in aggregate.tasks]
        if isinstance(aggregate.rule, AverageRank):
            return
        if len({task.less_is_better for task in tasks}) > 1:
            raise wrong("mixes metrics of which more is better with some of which less is better", *where, "tasks")
        if isinstance(aggregate.rule, RelativeToBaseline):
            scored = set(aggregate.rule.scores)
            for name in sorted(scored ^ set(aggregate.tasks)):
                problem = "is no task of the aggregate" if name in scored else "has no score of the baseline"
                raise wrong(f"{name!r} {problem}", *where, "rule", "scores")
        if isinstance(aggregate.rule, ChanceCentred):
            for place, task in enumerate(tasks):
                if task.chance is None or task.chance == 1:
                    raise wrong(f"{task.id!r} has no chance level below 1", *where, "tasks", place)

    @property
    def reference(self) -> str:
        """Name and version, as in ``digits@1``."""
        return f"{self.id}@{self.version}"

    @property
    def digest(self) -> str:
        """Identity of the suite: what is evaluated and how. Title and description explain, and are no part of it."""
        return digest(self.model_dump(mode="json", exclude={"title", "description"}))

    def task(self, task_id: str) -> Task:
        """The task of that id (raises ``KeyError``)."""
        return {task.id: task for task in self.tasks}[task_id]

    @property
    def primary_aggregate(self) -> Aggregate:
        """The aggregate by which entries are ranked."""
        return {aggregate.id: aggregate for aggregate in self.aggregates}[self.primary]
