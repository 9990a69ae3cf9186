"""The small text files of evaluation sets: bounded, and whatever is wrong with one is said in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from competition.errors import EvaluationError

MAX_TEXT_BYTES = 64 * 2**20
HINT = "Get or build the evaluation sets again."


def text(path: Path, what: str) -> str:
    """All of a UTF-8 file (raises ``EvaluationError``).

    Args:
        path: the file.
        what: what it holds, for messages: class names.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_TEXT_BYTES + 1)
        if len(content) > MAX_TEXT_BYTES:
            raise EvaluationError(f"{path} is larger than the {what} of an evaluation set may be.", hint=HINT)
        return content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"The {what} of an evaluation set cannot be read from {path}.", hint=HINT) from error


def lines(path: Path, what: str) -> tuple[str, ...]:
    """The lines of a file without the blank ones, of which there is at least one; arguments and errors as ``text``."""
    found = tuple(line.strip() for line in text(path, what).splitlines() if line.strip())
    if not found:
        raise EvaluationError(f"{path} is empty: it holds no {what}.", hint=HINT)
    return found


def templates(path: Path) -> tuple[str, ...]:
    """Prompt templates, one a line, each with a slot ``{c}``; errors as ``lines``."""
    found = lines(path, "prompt templates")
    for template in found:
        if "{c}" not in template:
            raise EvaluationError(f"A prompt template of {path.parent} has no slot {{c}}: {template!r}.", hint=HINT)
    return found


def json_object(content: str, where: str) -> dict[str, Any]:
    """A JSON object (raises ``EvaluationError``).

    Args:
        content: its text.
        where: the file, or the line of it, for messages.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{where} is no JSON.", hint=HINT) from error
    if not isinstance(found, dict):
        raise EvaluationError(f"{where} is no JSON object.", hint=HINT)
    return found
