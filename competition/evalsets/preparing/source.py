"""What a reader gives: the classes, and the images of each part in a fixed order, none opened yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from competition.errors import DataFormatError

Label = int | tuple[int, ...] | tuple[str, ...]
"""An image's class; its classes, where it may have several; or its captions."""


@dataclass(frozen=True)
class SourcePart:
    """A part of a set.

    Args:
        labels: what is known of each image; its length is the part's.
        image: gives the n-th image: bytes of a file, its path, or a PIL image.
    """

    labels: Sequence[Label]
    image: Callable[[int], Any]


@dataclass(frozen=True)
class Source:
    """All parts, and the names of the classes in the order of their labels (none, where images have captions)."""

    class_names: tuple[str, ...]
    parts: Mapping[str, SourcePart]


def annotation(label: Label) -> tuple[str, bytes]:
    """The member of a sample that holds its label: extension and content.

    Class numbers are divided by a blank, and a hyphen stands for none; captions are one a line.
    """
    if isinstance(label, int):
        return "cls", str(label).encode()
    if label and isinstance(label[0], str):
        return "txt", "\n".join(map(str, label)).encode()
    return "cls", (" ".join(map(str, label)) or "-").encode()


def of_paths(images: Sequence[tuple[Path, int]]) -> SourcePart:
    """A part that is files on disk with their labels (raises ``DataFormatError`` when one is listed twice)."""
    paths = [path for path, _ in images]
    check_unique([path.as_posix() for path in paths], "The source")
    return SourcePart([label for _, label in images], paths.__getitem__)


def check_unique(names: Sequence[str], where: str) -> None:
    """Raise ``DataFormatError`` when ``where`` lists an image twice, which would count double."""
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataFormatError(f"{where} lists the image {name[:120]!r} twice.", hint="Get the source again.")
        seen.add(name)


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
