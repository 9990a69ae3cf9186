"""What a reader gives: the classes, and the images of each part in a fixed order, none opened yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SourcePart:
    """A part of a set.

    Args:
        labels: the class of each image; its length is the part's.
        image: gives the n-th image: bytes of a file, its path, or a PIL image.
    """

    labels: Sequence[int]
    image: Callable[[int], Any]


@dataclass(frozen=True)
class Source:
    """All parts, and the names of the classes in the order of their labels."""

    class_names: tuple[str, ...]
    parts: Mapping[str, SourcePart]


def of_paths(images: Sequence[tuple[Path, int]]) -> SourcePart:
    """A part that is files on disk with their labels."""
    paths = [path for path, _ in images]
    return SourcePart([label for _, label in images], paths.__getitem__)


def joined(parts: Sequence[SourcePart]) -> SourcePart:
    """Parts one after another as one."""
    if len(parts) == 1:
        return parts[0]
    places = [(part, number) for part in parts for number in range(len(part.labels))]

    def image(position: int) -> Any:
        part, number = places[position]
        return part.image(number)

    return SourcePart([label for part in parts for label in part.labels], image)


def chosen(part: SourcePart, rows: Sequence[int]) -> SourcePart:
    """The images at these places, in their order."""
    return SourcePart([part.labels[row] for row in rows], lambda position: part.image(rows[position]))
