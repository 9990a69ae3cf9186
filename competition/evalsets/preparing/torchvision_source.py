"""Sets from the folders that torchvision's dataset classes read."""

from __future__ import annotations

import csv
import inspect
import struct
import tarfile
import xml.etree.ElementTree as ET
import zipfile
import zlib
from pathlib import Path
from typing import Any

from competition.errors import DataFormatError, NotFoundError, UsageError
from competition.evalsets.preparing.recipes import SetRecipe
from competition.evalsets.preparing.source import Source, SourcePart, chosen, joined

_OF_READERS = (
    *(KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, MemoryError),
    *(EOFError, OSError, RuntimeError, AssertionError),
    *(csv.Error, struct.error, ET.ParseError, zlib.error),
    *(tarfile.TarError, zipfile.BadZipFile),
)

_OF_BOOLEAN = {"train": True, "test": False}


def read_torchvision(recipe: SetRecipe, folder: Path, *, download: bool) -> Source:
    """The parts of a recipe by torchvision's class.

    Args:
        recipe: what is read.
        folder: torchvision's ``root``: its classes look for a folder of their own inside.
        download: let torchvision fetch what is absent.

    Raises:
        NotFoundError: the set is not in the folder.
        UsageError: torchvision cannot download it.
        DataFormatError: torchvision cannot read what is there.
    """
    opened: dict[str, Any] = {}
    for splits in recipe.splits.values():
        for split in splits:
            opened[split] = _open(recipe, folder, split, download)
    parts = {part: joined([_part(opened[split]) for split in splits]) for part, splits in recipe.splits.items()}
    if recipe.random_split:
        parts = {part: _ordered(opened[part], found) for part, found in parts.items()}
    return Source(_class_names(next(iter(opened.values())), recipe.classes), parts)


def _open(recipe: SetRecipe, folder: Path, split: str, download: bool) -> Any:
    import torchvision.datasets

    kind = getattr(torchvision.datasets, recipe.dataset)
    taken = inspect.signature(kind.__init__).parameters
    options: dict[str, Any] = dict(recipe.options)
    if "split" in taken:
        options["split"] = split
    elif "train" in taken:
        options["train"] = _OF_BOOLEAN[split]
    if "loader" in taken:  # the file's own bytes, instead of pixels that would have to be encoded again
        options["loader"] = Path
    if download:
        if "download" not in taken:
            raise UsageError(f"torchvision cannot download {recipe.dataset}.", hint="Get it, and give its --source.")
        options["download"] = True
    try:
        return kind(str(folder), **options)
    except _damages() as error:
        first = _first_line(error)
        if isinstance(error, FileNotFoundError) or (isinstance(error, RuntimeError) and "not found" in first):
            raise NotFoundError(
                f"torchvision finds no {recipe.dataset} ({split}) in {folder} ({first}).",
                hint="Give torchvision's root as --source (it looks for a folder of its own inside), or --download.",
            ) from error
        if download and isinstance(error, ValueError):
            raise UsageError(
                f"torchvision cannot download {recipe.dataset} ({first}).",
                hint="Get it, and give its --source.",
            ) from error
        raise _unreadable(f"{recipe.dataset} ({split}) in {folder}", error) from error


def _damages() -> tuple[type[Exception], ...]:
    """What torchvision's readers, and those that they use, raise for damaged files."""
    from scipy.io.matlab import MatReadError

    return (*_OF_READERS, MatReadError)


def _part(dataset: Any) -> SourcePart:
    def image(position: int) -> Any:
        try:
            return dataset[position][0]
        except _damages() as error:
            raise _unreadable(f"image {position} of {type(dataset).__name__}", error) from error

    try:
        labels = _labels(dataset)
    except _damages() as error:
        raise _unreadable(f"the labels of {type(dataset).__name__}", error) from error
    return SourcePart(labels, image)


def _unreadable(what: str, error: Exception) -> DataFormatError:
    return DataFormatError(f"torchvision cannot read {what} ({_first_line(error)}).", hint="Get the source again.")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__


def _ordered(dataset: Any, part: SourcePart) -> SourcePart:
    """By path, where torchvision lists files in the order of the disk (SUN397): a split must not depend on that."""
    files = getattr(dataset, "_image_files", None)
    if files is None:
        return part
    return chosen(part, sorted(range(len(files)), key=lambda row: Path(files[row]).as_posix()))


def _labels(dataset: Any) -> list[int]:
    """Labels without opening images where the class keeps them, in whichever of its ways."""
    for name in ("_labels", "labels", "targets", "y"):
        found = getattr(dataset, name, None)
        if found is not None and len(found) == len(dataset):
            return [int(label) for label in found]
    samples = getattr(dataset, "_samples", None)
    if samples and len(samples) == len(dataset) and isinstance(samples[0], tuple) and isinstance(samples[0][-1], int):
        return [int(sample[-1]) for sample in samples]
    return [int(dataset[position][1]) for position in range(len(dataset))]


def _class_names(dataset: Any, classes: int) -> tuple[str, ...]:
    """Names that the class knows, else the numbers of the classes."""
    names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    if not names and isinstance(getattr(dataset, "class_to_idx", None), dict):
        names = sorted(dataset.class_to_idx, key=dataset.class_to_idx.__getitem__)
    if names and not (names and isinstance(names[0], str)):
        names = [" ".join(map(str, name)) for name in names]
    return tuple(names) if names else tuple(str(number) for number in range(classes))
