"""YAML files that people write: plain values with the line of each, and errors that name file, line and field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic_core import ErrorDetails

from competition.errors import RulesError

MAX_FILE_BYTES = 1_000_000
_MAX_DEPTH = 32
_DISCRIMINATORS = ("kind", "method")
"""Fields by which a model is chosen."""
_SHOWN = 5
_LINE_ENDS = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # YAML's
_LARGEST_INTEGER = 2**53 - 1  # canonical JSON, and so every digest, knows no larger one

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a YAML file.

    Args:
        name: what messages call the file.
        values: plain: mappings, lists, texts, numbers, dates, true, false, null.
        lines: of every value, from 1, by the keys and indices that lead to it.
    """

    name: str
    values: Any
    lines: Mapping[Location, int]

    def line(self, where: Location) -> int:
        """The line of a value, or of the nearest one around it where there is none."""
        while where not in self.lines:
            where = where[:-1]
        return self.lines[where]

    def refusal(self, errors: Sequence[ErrorDetails], root: str) -> RulesError:
        """What pydantic found wrong: one sentence a problem, at most five, each with its line.

        An error's ``ctx["where"]`` goes on from its place. ``root`` is what the whole of the file is called.
        """
        sentences = []
        errors = [error for error in errors if not _follows(error, errors)]
        for error in errors[:_SHOWN]:
            where = self._without_tags(error["loc"] + tuple(error.get("ctx", {}).get("where", ())))
            problem = error["msg"].removeprefix("Value error, ")
            sentences.append(f"{self.name}, line {self.line(where)}: {_dotted(where) or root}: {problem}.")
        if len(errors) > len(sentences):
            sentences.append(f"{len(errors) - len(sentences)} more problems follow.")
        return RulesError("\n".join(sentences))

    def _without_tags(self, where: Location) -> Location:
        """The place in the file: pydantic puts the kind that it took a mapping for between its place and its keys."""
        value, place, passed = self.values, list[str | int](), False
        for part in where:
            if not passed and isinstance(value, dict) and part in [value.get(name) for name in _DISCRIMINATORS]:
                passed = True
                continue
            place.append(part)
            passed = False
            inside = isinstance(value, dict) or (isinstance(value, list) and part in range(len(value)))
            value = (value.get(part) if isinstance(value, dict) else value[int(part)]) if inside else None
        return tuple(place)


def read_document(path: Path, kind: str) -> Document:
    """Read a YAML file; ``kind`` says what it should be, for instance "competition file".

    Raises:
        RulesError: it cannot be read; see also ``parse_document``.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise RulesError(f"{path}: cannot read the {kind} ({error.strerror}).") from error
    return parse_document(raw, name=str(path))


def parse_document(raw: bytes, *, name: str) -> Document:
    """The document in the bytes of a YAML file; ``name`` is what messages call it.

    Raises:
        RulesError: more than ``MAX_FILE_BYTES``, not UTF-8, not YAML, empty, a key that is given twice, or what makes a
            small file large: anchors, deep nesting, endless numbers. The message names the line.
    """
    if len(raw) > MAX_FILE_BYTES:
        raise RulesError(f"{name}: the file has more than {MAX_FILE_BYTES} bytes.")
    lines: dict[Location, int] = {}
    try:
        text = raw.decode("utf-8")
        _refuse_bombs(text, name)
        return Document(name, _plain(yaml.compose(text, Loader=yaml.SafeLoader), (), lines, name), lines)
    except UnicodeDecodeError as error:
        line = len(_LINE_ENDS.findall(raw[: error.start].decode())) + 1
        raise RulesError(f"{name}, line {line}: not UTF-8 text (byte {error.start}).") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RulesError(f"{name}, line {line}: not valid YAML: {error.problem}.") from error
    except yaml.reader.ReaderError as error:
        line = len(_LINE_ENDS.findall(text[: error.position])) + 1
        raise RulesError(f"{name}, line {line}: not valid YAML: {error.reason}.") from error


def _refuse_bombs(text: str, name: str) -> None:
    """Anchors let a few bytes expand to gigabytes, and deep nesting exhausts the stack: neither is read."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise RulesError(f"{name}, line {line}: nested deeper than {_MAX_DEPTH} levels.")
        if getattr(event, "anchor", None) is not None:
            raise RulesError(f"{name}, line {line}: anchors and aliases are not read; write the value out.")
        if getattr(event, "tag", None) is not None:
            raise RulesError(f"{name}, line {line}: tags (!) are not read; write the plain value.")


def _plain(node: yaml.Node | None, where: Location, lines: dict[Location, int], name: str) -> Any:
    """Turn YAML nodes into plain values and note the line of every location."""
    if node is None:
        raise RulesError(f"{name}, line 1: the file is empty.")
    line = node.start_mark.line + 1
    lines[where] = line
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*where, index), lines, name) for index, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, where, lines, name)
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except ValueError as error:  # it looks like a date or a number, and is none
        raise RulesError(f"{name}, line {line}: {_dotted(where)}: {node.value[:40]!r}: {error}.") from error
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        raise RulesError(f"{name}, line {line}: {_dotted(where)}: numbers may not be above {_LARGEST_INTEGER}.")
    return value


def _mapping(node: yaml.MappingNode, where: Location, lines: dict[Location, int], name: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = key_node.value
        if not isinstance(key_node, yaml.ScalarNode) or key == "<<":
            raise RulesError(f"{name}, line {line}: keys must be plain words.")
        if key in values:
            raise RulesError(f"{name}, line {line}: {_dotted((*where, key))} is given twice.")
        values[key] = _plain(value_node, (*where, key), lines, name)
        lines[(*where, key)] = line
    return values


def _follows(error: ErrorDetails, errors: Sequence[ErrorDetails]) -> bool:
    """A list is "too short" when its items were refused: that is no second mistake."""
    place = error["loc"]
    return error["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in errors
    )


def _dotted(where: Location) -> str:
    return ".".join(str(part) for part in where)
