"""The pipeline's file: its form, and what has to hold between its steps."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from competition.records.base import Identifier
from competition.records.lineage import MAX_STEPS
from competition.rules.inconsistency import wrong
from participant_kit.pipelines.operations import METADATA, AnyOperation
from participant_kit.pipelines.options import InputPath
from participant_kit.pipelines.registry import OPERATIONS


def _pool(path: Path, info: ValidationInfo) -> Path:  # noqa: ARG001 - pydantic's signature
    if not (path / METADATA).is_dir():
        raise ValueError(f"{path} is no pool: it has no folder {METADATA!r}")
    return path


class StepEntry(BaseModel):
    """A step as it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Identifier
    run: str
    inputs: list[str] = Field(default_factory=list, alias="from", max_length=MAX_STEPS)
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def operation(self) -> AnyOperation:
        """What it runs."""
        return OPERATIONS[self.run]


class PipelineFile(BaseModel):
    """A file as it is written, whose steps fit together; their options are looked at apart."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    pool: Annotated[InputPath, AfterValidator(_pool)]
    steps: list[StepEntry] = Field(min_length=1, max_length=MAX_STEPS)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_names()
        for place, step in enumerate(self.steps):
            self._check_step(place, step)
        self._check_cycles()
        self._check_result()
        return self

    @property
    def _names(self) -> list[str]:
        return [step.name for step in self.steps]

    def _check_names(self) -> None:
        for place, name in enumerate(self._names):
            if name in self._names[:place]:
                raise wrong(f"there is a step {name!r} already", "steps", place, "name")

    def _check_step(self, place: int, step: StepEntry) -> None:
        if step.run not in OPERATIONS:
            raise wrong(f"there is no {step.run!r} to run; there are {', '.join(OPERATIONS)}", "steps", place, "run")
        for number, name in enumerate(step.inputs):
            if name not in self._names:
                names = ", ".join(self._names)
                raise wrong(f"there is no step {name!r}; there are {names}", "steps", place, "from", number)
        least, most, found = step.operation.least, step.operation.most, len(step.inputs)
        if not least <= found <= most:
            asked = _asked(least, most)
            raise wrong(f"{step.run} takes {asked}; {found or 'none'} given", "steps", place, "from")

    def _check_cycles(self) -> None:
        try:
            self.order()
        except CycleError as error:
            circle = error.args[1]
            place = self._names.index(circle[0])
            raise wrong(
                f"the steps take one another in a circle: {' -> '.join(circle)}", "steps", place, "from"
            ) from error

    def _check_result(self) -> None:
        """Exactly one step is taken by no other: what the pipeline is for."""
        taken = {name for step in self.steps for name in step.inputs}
        untaken = [place for place, name in enumerate(self._names) if name not in taken]
        if len(untaken) > 1:
            both = " and ".join(repr(self._names[place]) for place in untaken[:2])
            problem = f"no step takes {both}, but a pipeline has one result; combine them, or leave one out"
            raise wrong(problem, "steps", untaken[0], "name")

    def order(self) -> list[str]:
        """Names of the steps such that each comes behind those that it takes.

        Raises:
            CycleError: there is none.
        """
        return list(TopologicalSorter({step.name: step.inputs for step in self.steps}).static_order())


def _asked(least: int, most: int) -> str:
    if most == 0:
        return "no steps in `from`"
    if least == most:
        return f"exactly {least} step{'s' if least > 1 else ''} in `from`"
    return f"at most {most} step{'s' if most > 1 else ''} in `from`" if not least else f"at least {least} in `from`"
