"""The classes that a labelled dataset shall have: ids, names, definitions and prompts, from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from competition.errors import DataFormatError, UsageError
from participant_kit.labelled.documents import DOCUMENTS, read_document, read_lines

COLUMNS = ("id", "names", "definition", "prompts")

_HINT = 'A class is {"id": "n01440764", "names": ["tench", "Tinca tinca"], "definition": "...", "prompts": ["..."]}.'


@dataclass(frozen=True, slots=True)
class ClassEntry:
    """One class.

    Args:
        id: what becomes the label, for instance a WordNet id or a number.
        names: synonyms (a synset's lemmas), the usual one first; at least one.
        definition: a gloss, or nothing.
        prompts: sentences about the class; ``{}`` stands for its first name.
    """

    id: str
    names: tuple[str, ...]
    definition: str = ""
    prompts: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What LAIONet compares captions with: "name: definition", or the name alone."""
        return f"{self.names[0]}: {self.definition}" if self.definition else self.names[0]

    def filled_prompts(self, templates: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Its own prompts, or the templates where it has none, with its first name filled in."""
        return tuple(prompt.replace("{}", self.names[0]) for prompt in self.prompts or templates)


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of their file; the position of a class there is its index."""

    entries: tuple[ClassEntry, ...]

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def ids(self) -> list[str]:
        """Their ids in order."""
        return [entry.id for entry in self.entries]

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """From an id to the index."""
        return {entry.id: index for index, entry in enumerate(self.entries)}

    @cached_property
    def lemmas(self) -> Mapping[str, int]:
        """From a name that only one class has to that class; names that several share say nothing and are left out."""
        owners: dict[str, set[int]] = {}
        for index, entry in enumerate(self.entries):
            for name in entry.names:
                owners.setdefault(name, set()).add(index)
        return {name: min(found) for name, found in owners.items() if len(found) == 1}

    @property
    def without_lemma(self) -> list[str]:
        """Ids of classes all of whose names are shared with others."""
        named = set(self.lemmas.values())
        return [entry.id for index, entry in enumerate(self.entries) if index not in named]


def load_classes(path: Path) -> ClassList:
    """Classes from a list in a ``.json``, ``.yaml`` or ``.yml`` file, or from tab-separated lines.

    A line holds id, names (separated by ``", "``, as in ImageNet's own list), and optionally a definition and prompts
    (separated by ``|``); a first line "id names ..." may name the columns in another order.

    Raises:
        DataFormatError: malformed, a class without a name, or an id twice; says in which line or entry.
        StorageError: the file cannot be read.
        UsageError: there is no class.
    """
    found = _of_document(path) if path.suffix in DOCUMENTS else _of_lines(path)
    entries: list[ClassEntry] = []
    places: dict[str, str] = {}
    for place, entry in found:
        if entry.id in places:
            raise DataFormatError(f"{place} of {path} has the id {entry.id!r}, which {places[entry.id]} has too.")
        places[entry.id] = place
        entries.append(entry)
    if not entries:
        raise UsageError(f"The class list {path} has no class.", hint=_HINT)
    return ClassList(tuple(entries))


def _of_lines(path: Path) -> Iterator[tuple[str, ClassEntry]]:
    columns: tuple[str, ...] = COLUMNS
    for number, fields in read_lines(path):
        place = f"Line {number}"
        if columns is COLUMNS and fields[0].lower() == "id":
            columns = tuple(field.lower() for field in fields)
            if set(columns) - set(COLUMNS) or "names" not in columns:
                raise DataFormatError(f"{place} of {path} names the columns {', '.join(columns)}.", hint=_HINT)
            continue
        if not 2 <= len(fields) <= len(columns):
            raise DataFormatError(
                f"{place} of {path} has {len(fields)} tab-separated fields instead of 2 to {len(columns)}.",
                hint=f"Fields are {', '.join(columns)}, separated by tabs.",
            )
        row = dict(zip(columns, fields, strict=False))
        names, prompts = row.get("names", "").split(", "), row.get("prompts", "").split("|")
        document = {"id": row["id"], "names": names, "definition": row.get("definition", "")}
        yield place, _entry(document | {"prompts": [p for p in prompts if p.strip()]}, f"{place} of {path}")


def _of_document(path: Path) -> Iterator[tuple[str, ClassEntry]]:
    document = read_document(path)
    if isinstance(document, dict) and set(document) == {"classes"}:
        document = document["classes"]
    if not isinstance(document, list):
        raise DataFormatError(f"{path} is not a list of classes.", hint=_HINT)
    for number, value in enumerate(document, start=1):
        yield f"Entry {number}", _entry(value, f"Entry {number} of {path}")


def _entry(value: Any, place: str) -> ClassEntry:
    if not isinstance(value, dict) or set(value) - set(COLUMNS) or not isinstance(value.get("id"), str | int):
        raise DataFormatError(f"{place} is not a class with an id.", hint=_HINT)
    names, definition, prompts = value.get("names"), value.get("definition") or "", value.get("prompts") or []
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataFormatError(f"{place} has names that are not a list of texts.", hint=_HINT)
    if not isinstance(definition, str) or not isinstance(prompts, list) or not all(map(_is_text, prompts)):
        raise DataFormatError(f"{place} has a definition or prompts that are not texts.", hint=_HINT)
    distinct = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    identity = str(value["id"]).strip()
    if not identity or not distinct:
        raise DataFormatError(f"{place}, class {identity!r}, has no {'name' if identity else 'id'}.", hint=_HINT)
    if any(not character.isprintable() for name in distinct for character in name):
        raise DataFormatError(f"{place}, class {identity!r}, has a name with a control character.")
    return ClassEntry(identity, distinct, definition.strip(), tuple(prompt.strip() for prompt in prompts))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
