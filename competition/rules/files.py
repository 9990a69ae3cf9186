"""Files of recipes and of suites: YAML in, frozen rules out, errors that name file, line and the allowed values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from competition.errors import RulesError
from competition.rules.base import Rule
from competition.rules.document import Document, read_document
from competition.rules.extension import extended
from competition.rules.inconsistency import unique
from competition.rules.recipes import Recipe
from competition.rules.suites import Suite


class RecipeFile(Rule):
    """A file of recipes beside a built-in competition."""

    schema_version: Literal[1]
    recipes: tuple[Recipe, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        unique("recipes", [recipe.id for recipe in self.recipes])
        return self


class SuiteFile(Suite):
    """A file of one suite, called ``ID@VERSION.yaml``."""

    schema_version: Literal[1]

    def suite(self) -> Suite:
        """What the file describes."""
        return Suite(**{name: getattr(self, name) for name in Suite.model_fields})


def load_recipes(path: Path) -> tuple[Recipe, ...]:
    """Read and validate a file of recipes, each of which may extend one above it (see ``extended``).

    Raises ``RulesError`` as ``load_competition`` does.
    """
    document = extended(read_document(path, "file of recipes"))
    try:
        return RecipeFile.model_validate(document.values).recipes
    except ValidationError as error:
        raise document.refusal(error.errors(), "file of recipes") from error


def load_suite(path: Path) -> Suite:
    """Read and validate a file of a suite.

    With ``extends: ID@VERSION``, the suite of that file in the same folder, a task may be given by its id alone: it is
    then that suite's.

    Raises ``RulesError`` as ``load_competition`` does, and when the file is not called after its suite.
    """
    document = _with_tasks(read_document(path, "file of a suite"), path)
    try:
        suite = SuiteFile.model_validate(document.values).suite()
    except ValidationError as error:
        raise document.refusal(error.errors(), "suite") from error
    if path.stem != suite.reference:
        raise RulesError(f"{path}: holds suite {suite.reference}, and must be called {suite.reference}.yaml.")
    return suite


def _with_tasks(document: Document, path: Path) -> Document:
    """The document with every task that is given by its id replaced by the extended suite's."""
    values = document.values
    if not isinstance(values, dict) or "extends" not in values:
        return document
    tasks = _tasks_of(values["extends"], document, path)
    given = values.get("tasks")
    whole: list[Any] = []
    for place, task in enumerate(given if isinstance(given, list) else []):
        if isinstance(task, str) and task not in tasks:
            line = document.line(("tasks", place))
            raise RulesError(
                f"{document.name}, line {line}: tasks.{place}: {task[:80]!r} is no task of {values['extends']}; "
                f"it has {', '.join(tasks)}."
            )
        whole.append(tasks[task] if isinstance(task, str) else task)
    kept = {name: value for name, value in values.items() if name != "extends"}
    return replace(document, values={**kept, "tasks": whole})


def _tasks_of(extends: object, document: Document, path: Path) -> dict[str, Any]:
    """The tasks of the suite that a file extends, by id. A suite that is extended extends none itself."""
    files = {other.stem: other for other in sorted(path.parent.glob("*.yaml")) if other != path}
    if not isinstance(extends, str) or extends not in files:
        line = document.line(("extends",))
        raise RulesError(
            f"{document.name}, line {line}: extends: {str(extends)[:80]!r} is no suite beside this one; "
            f"there are {', '.join(files) or 'none'}."
        )
    base = read_document(files[extends], "file of a suite")
    if isinstance(base.values, dict) and "extends" in base.values:
        line = document.line(("extends",))
        raise RulesError(f"{document.name}, line {line}: extends: {extends} extends another suite itself.")
    return {task.id: task for task in load_suite(files[extends]).tasks}
