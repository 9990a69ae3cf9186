"""Steps that ``datacup subset`` has as commands: strategies, own choices, and subsets from subsets."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationInfo, create_model, field_validator, model_validator

from participant_kit.pipelines.operations import MANY, AnyOperation, Made, Operation, Task
from participant_kit.pipelines.options import InputPath, NoOptions, PathOrName, Seed, StepOptions, Text, folder_of
from participant_kit.subsets import STRATEGIES, Strategy, StrategyOptions, build_subset
from participant_kit.subsets.algebra import MOST_WEIGHT, OPERATIONS, combine_subsets, weigh_subsets
from participant_kit.subsets.function import function_subset
from participant_kit.subsets.ranking import Share
from participant_kit.subsets.sample import sample_subset
from participant_kit.subsets.strategy import Option, declared_options
from participant_kit.subsets.top import top_subset
from participant_kit.subsets.where import where_subset

Weight = Annotated[int, Field(ge=1, le=MOST_WEIGHT)]


class FileOptions(StepOptions):
    """A subset from elsewhere."""

    path: InputPath


class WhereOptions(StepOptions):
    """See ``where_subset``."""

    condition: Text


class FunctionOptions(StepOptions):
    """See ``function_subset``."""

    function: Text

    @field_validator("function")
    @classmethod
    def _located(cls, function: str, info: ValidationInfo) -> str:
        file, colon, name = function.rpartition(":")
        there = folder_of(info) / file
        if not (colon and name.isidentifier() and there.suffix == ".py"):
            raise ValueError(f"{function!r} is not of the form FILE.py:NAME")
        if not there.is_file():
            raise ValueError(f"there is no {there}")
        return f"{there}:{name}"

    def recorded(self) -> dict[str, Any]:
        """The file by its name."""
        path, _, name = self.function.rpartition(":")
        return {"function": f"{Path(path).name}:{name}"}

    def files(self) -> dict[str, Path]:
        """The file of the function."""
        return {"function": Path(self.function.rpartition(":")[0])}


class WeightOptions(StepOptions):
    """See ``weigh_subsets``; a weight for each step that is taken."""

    weights: list[Weight]

    def check_inputs(self, inputs: int) -> None:
        """A weight for each."""
        if len(self.weights) != inputs:
            raise ValueError(f"there are {len(self.weights)} weights for {inputs} steps")


class ShareOptions(StepOptions):
    """Exactly one of a number of rows and a fraction."""

    count: int | None = Field(default=None, gt=0)
    fraction: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.count is None) == (self.fraction is None):
            raise ValueError("exactly one of count and fraction is needed")
        return self

    @property
    def share(self) -> Share:
        """Of the rows."""
        return Share(self.count, self.fraction)


class SampleOptions(ShareOptions):
    """See ``sample_subset``."""

    seed: Seed = 0


class TopOptions(ShareOptions):
    """See ``top_subset``."""

    by: Text


def _strategy(strategy: Strategy) -> AnyOperation:
    """A strategy as an operation; its options are made from what it says that it takes."""
    declared = declared_options()
    fields: dict[str, Any] = {name: (_kind(declared[name]), strategy.defaults.get(name)) for name in strategy.accepts}
    model = create_model(f"{strategy.name}_options", __base__=StepOptions, **fields)

    def complete(options: StepOptions) -> StrategyOptions:
        given = {name: getattr(options, name) for name in strategy.accepts}
        return strategy.complete(StrategyOptions(**given))

    def run(task: Task, options: StepOptions) -> Made:
        return build_subset(
            strategy.name, task.metadata_dir, task.save_path, complete(options), task.workers, task.progress
        )

    return Operation(
        f"subset {strategy.name}", model, run, assets=lambda options: dict(strategy.assets(complete(options)))
    )


def _kind(option: Option) -> Any:
    if option.kind == Path | None:
        return PathOrName | None

    def allowed(value: Any) -> Any:
        if option.choices and value not in option.choices:
            raise ValueError(f"{value!r} is unknown; choose one of {', '.join(option.choices)}")
        if not option.allows(value):
            raise ValueError(f"{value} {option.otherwise}")
        return value

    (kind,) = (each for each in option.kind.__args__ if each is not type(None))
    return Annotated[kind, AfterValidator(allowed)] | None


def _file(task: Task, options: FileOptions) -> Made:
    return weigh_subsets([(options.path, 1)], task.save_path, task.progress)


def _where(task: Task, options: WhereOptions) -> Made:
    return where_subset(options.condition, task.metadata_dir, task.save_path, task.workers, task.progress)


def _function(task: Task, options: FunctionOptions) -> Made:
    return function_subset(options.function, task.metadata_dir, task.save_path, task.workers, task.progress)


def _combined(operation: str, task: Task, _options: NoOptions) -> Made:
    return combine_subsets(operation, task.inputs, task.save_path, task.progress)


def _weighed(task: Task, options: WeightOptions) -> Made:
    return weigh_subsets(list(zip(task.inputs, options.weights, strict=True)), task.save_path, task.progress)


def _sample(task: Task, options: SampleOptions) -> Made:
    return sample_subset(task.inputs[0], task.save_path, options.share, options.seed, task.progress)


def _top(task: Task, options: TopOptions) -> Made:
    (subset,) = task.inputs
    return top_subset(subset, options.by, task.metadata_dir, task.save_path, options.share, task.workers, task.progress)


SUBSET_STEPS: tuple[AnyOperation, ...] = (
    *map(_strategy, STRATEGIES.values()),
    Operation("subset where", WhereOptions, _where),
    Operation("subset function", FunctionOptions, _function),
    *(
        Operation(f"subset {name}", NoOptions, partial(_combined, name), least=2, most=MANY, reads_pool=False)
        for name in OPERATIONS
    ),
    Operation("subset weights", WeightOptions, _weighed, least=1, most=MANY, reads_pool=False),
    Operation("subset sample", SampleOptions, _sample, least=1, most=1, reads_pool=False),
    Operation("subset top", TopOptions, _top, least=1, most=1),
    Operation("file", FileOptions, _file, reads_pool=False),
)
