"""From the pipeline's file to steps that can run; whatever is wrong is said with its line, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from competition.errors import DataCupError
from competition.rules.document import Document, read_document
from participant_kit.pipelines.file import PipelineFile, StepEntry
from participant_kit.pipelines.operations import AnyOperation
from participant_kit.pipelines.options import StepOptions


@dataclass(frozen=True, slots=True)
class Step:
    """A step that can run.

    Args:
        name: of the step.
        operation: what it runs.
        options: of the operation's type.
        inputs: names of the steps that it takes.
        place: file and line, for messages.
    """

    name: str
    operation: AnyOperation
    options: StepOptions
    inputs: tuple[str, ...]
    place: str

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Say with every user's error of the block which step it is about."""
        try:
            yield
        except DataCupError as error:
            error.message = f"{self.place}: step {self.name!r}: {error.message}"
            raise


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline.

    Args:
        pool: the pool's folder.
        steps: each behind those that it takes; the last one is the result.
    """

    pool: Path
    steps: tuple[Step, ...]


def load_pipeline(path: Path) -> Pipeline:
    """Read a pipeline's file and check all that can be checked without running it. Relative paths start at its folder.

    Raises:
        RulesError: names file, line and field: not YAML, unknown or missing fields, an operation or option that does
            not exist, a value of the wrong type or out of range, a file that is not there, an input that is no step,
            steps in a circle, or more than one result.
    """
    document = read_document(path, "pipeline")
    try:
        file = PipelineFile.model_validate(document.values, context=path.parent)
    except ValidationError as error:
        raise document.refusal(error.errors(), "pipeline") from error
    steps = {entry.name: _step(document, place, entry, path.parent) for place, entry in enumerate(file.steps)}
    return Pipeline(file.pool, tuple(steps[name] for name in file.order()))


def _step(document: Document, place: int, entry: StepEntry, folder: Path) -> Step:
    try:
        options = entry.operation.options.model_validate(entry.options, context=folder)
    except ValidationError as error:
        raise document.refusal([_inside(each, place) for each in error.errors()], "pipeline") from error
    try:
        options.check_inputs(len(entry.inputs))
    except ValueError as error:
        found = ErrorDetails(type="value_error", loc=(), msg=str(error), input=entry.options)
        raise document.refusal([_inside(found, place)], "pipeline") from error
    here = f"{document.name}, line {document.line(('steps', place))}"
    return Step(entry.name, entry.operation, options, tuple(entry.inputs), here)


def _inside(error: ErrorDetails, place: int) -> ErrorDetails:
    """An error in a step's options as one of the whole file."""
    return cast("ErrorDetails", {**error, "loc": ("steps", place, "options", *error["loc"])})
