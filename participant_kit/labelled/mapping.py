"""A schema mapping: from the labels of an open vocabulary to classes, several labels to one class if need be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from competition.errors import DataFormatError, UsageError
from participant_kit.labelled.classes import ClassList
from participant_kit.labelled.documents import DOCUMENTS, read_document, read_lines

_HINT = "A mapping has a label and the id of its class on each line, separated by a tab; or is {label: id} in JSON."
_SHOWN = 5


def load_mapping(path: Path, classes: ClassList) -> Mapping[str, int]:
    """From a label to the index of its class.

    Args:
        path: ``{label: id}`` in a ``.json``, ``.yaml`` or ``.yml`` file, or lines of a label and an id (a first line
            "label id" is passed over).
        classes: those that exist.

    Raises:
        DataFormatError: malformed, an id that is no class's, or a label twice with different classes; says where.
        StorageError: the file cannot be read.
        UsageError: the mapping is empty.
    """
    found: dict[str, tuple[str, str]] = {}
    unknown: dict[str, str] = {}
    for place, label, identity in _of_document(path) if path.suffix in DOCUMENTS else _of_lines(path):
        if label in found and found[label][0] != identity:
            before, where = found[label]
            raise DataFormatError(
                f"{place} of {path} maps {label!r} to {identity!r}, but {where} maps it to {before!r}.",
                hint="Several labels can share a class, but a label has one class.",
            )
        found[label] = identity, place
        if identity not in classes.positions:
            unknown.setdefault(identity, place)
    if unknown:
        shown = ", ".join(f"{identity!r} ({place})" for identity, place in list(unknown.items())[:_SHOWN])
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise DataFormatError(
            f"The mapping {path} has ids of no class: {shown}{more}.",
            hint="Add them to the class list, or remove them.",
        )
    if not found:
        raise UsageError(f"The mapping {path} is empty.", hint=_HINT)
    return {label: classes.positions[identity] for label, (identity, _) in found.items()}


def _of_lines(path: Path) -> Iterator[tuple[str, str, str]]:
    for number, fields in read_lines(path):
        if number == 1 and fields[:1] == ["label"]:
            continue
        if len(fields) != 2 or not all(fields):
            raise DataFormatError(f"Line {number} of {path} is not a label and a class id.", hint=_HINT)
        yield f"line {number}", fields[0], fields[1]


def _of_document(path: Path) -> Iterator[tuple[str, str, str]]:
    document: Any = read_document(path)
    if not isinstance(document, dict):
        raise DataFormatError(f"{path} is not a mapping from labels to class ids.", hint=_HINT)
    for number, (label, identity) in enumerate(document.items(), start=1):
        if isinstance(identity, bool) or not isinstance(identity, str | int) or not str(identity).strip():
            raise DataFormatError(f"Entry {number} of {path}, {label!r}, has no class id.", hint=_HINT)
        yield f"entry {number}", str(label), str(identity).strip()
