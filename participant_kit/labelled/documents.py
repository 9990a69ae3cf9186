"""Small files that people write by hand: JSON, YAML, or tab-separated lines; what is wrong is said with its line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError

DOCUMENTS = (".json", ".yaml", ".yml")


def read_document(path: Path) -> Any:
    """The content of a ``.json``, ``.yaml`` or ``.yml`` file.

    Raises:
        DataFormatError: it is malformed, or a key occurs twice; names the line where that is known.
        StorageError: it cannot be read.
    """
    text = read_text(path)
    if path.suffix == ".json":
        try:
            return json.loads(text, object_pairs_hook=lambda pairs: _once(path, pairs))
        except ValueError as error:
            line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
            raise DataFormatError(f"Line {line} of {path} is not JSON: {str(error).split(':')[0]}.") from error
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"Line {mark.line + 1} of {path}" if mark is not None else f"{path}"
        problem = str(getattr(error, "problem", None) or "it cannot be parsed")
        raise DataFormatError(f"{where} is not YAML: {problem}.") from error


def read_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and tab-separated fields of every line that is neither empty nor a comment (``#``).

    Raises:
        DataFormatError: the file is not UTF-8.
        StorageError: it cannot be read.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            yield number, [field.strip() for field in line.split("\t")]


def read_text(path: Path) -> str:
    """A file's text, without a byte order mark.

    Raises:
        DataFormatError: it is not UTF-8; says at which byte.
        StorageError: it cannot be read.
    """
    with storage_errors("reading", path):
        data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFormatError(f"{path} is not UTF-8 text: see byte {error.start}.") from error


def _once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of two equal keys Python would keep the last without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise DataFormatError(f"{path} has the key {twice!r} twice in one object.", hint="Keep one of the two.")
    return found
