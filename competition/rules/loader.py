"""Competition files: YAML in, a validated ``Competition`` out, errors that name file, line and the allowed values."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from competition.rules.document import Document, parse_document, read_document
from competition.rules.models import Competition
from competition.rules.references import resolved


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
    whole = resolved(document)
    try:
        return Competition.model_validate(whole.values)
    except ValidationError as error:
        raise document.refusal(error.errors(), "competition") from error
