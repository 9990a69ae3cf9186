"""Competition files: YAML in, a validated ``Competition`` out, errors that name file, line and the allowed values."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from competition.rules.base import Rule
from competition.rules.document import Document, parse_document, read_document
from competition.rules.extension import extended
from competition.rules.inconsistency import unique
from competition.rules.models import Competition
from competition.rules.recipes import Recipe


class RecipeFile(Rule):
    """A file of recipes beside a built-in competition."""

    schema_version: Literal[1]
    recipes: tuple[Recipe, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        unique("recipes", [recipe.id for recipe in self.recipes])
        return self


def load_recipes(path: Path) -> tuple[Recipe, ...]:
    """Read and validate a file of recipes, each of which may extend one above it (see ``extended``).

    Raises ``RulesError`` as ``load_competition`` does.
    """
    document = extended(read_document(path, "file of recipes"))
    try:
        return RecipeFile.model_validate(document.values).recipes
    except ValidationError as error:
        raise document.refusal(error.errors(), "file of recipes") from error


def load_competition(path: Path) -> Competition:
    """Read and validate one competition file.

    Raises ``RulesError`` naming file, line and field when the file is unreadable, too large, not YAML, or not a
    competition.
    """
    return _competition(read_document(path, "competition file"))


def parse_competition(raw: bytes, *, name: str) -> Competition:
    """Validate the bytes of a competition file; ``name`` is what error messages call it."""
    return _competition(parse_document(raw, name=name))


def _competition(document: Document) -> Competition:
    try:
        return Competition.model_validate(document.values)
    except ValidationError as error:
        raise document.refusal(error.errors(), "competition") from error
