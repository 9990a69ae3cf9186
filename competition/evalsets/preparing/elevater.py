"""Sets in ELEVATER's format, which GenBench packs its own sets in, too: an index beside zip files.

``<part>.txt`` has a line ``<zip>@<member> <label>`` for each image, labels from 0, several divided by commas; or
``<part>.json`` is like COCO's, with ``images`` whose ``file_name`` is ``<zip>@<member>`` (or a member of ``zip_file``),
``annotations`` and ``categories``; a class's label is the place of its id. A name without ``@`` is a file of the
folder. ``classnames.txt``, ``labels.txt`` or ``labelmap.txt`` may name the classes, one a line. Indices are called as
in ELEVATER's registry: ``train_ic.txt``, ``valid.txt``, ``validation_meta.json``, ``test_images.txt`` and the like.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError, NotFoundError
from competition.evalsets.preparing.archives import Archives
from competition.evalsets.preparing.recipes import Kind, SetRecipe
from competition.evalsets.preparing.source import Label, Source, SourcePart, check_unique, joined

_MAX_INDEX_BYTES = 512 * 2**20
_STEMS = {"val": ("val", "valid", "validation"), "valid": ("valid", "val", "validation")}
_SUFFIXES = ("_ic", "", "_images", "_meta")
_CLASS_FILES = ("classnames.txt", "labels.txt", "labelmap.txt")

Classes = list[tuple[int, ...]]


def read_elevater(recipe: SetRecipe, folder: Path) -> Source:
    """The parts of a recipe.

    Raises:
        NotFoundError: an index or a zip file is absent.
        DataFormatError: an index is malformed, names an image twice, or gives several classes to an image of a set
            whose images have one.
    """
    names: dict[int, str] = {}
    archives = Archives(folder)
    parts = {
        part: joined([_part(recipe, folder, split, archives, names) for split in splits])
        for part, splits in recipe.splits.items()
    }
    return Source(_class_names(folder, names, recipe.classes), parts)


def index_names(recipe: SetRecipe, split: str) -> Iterator[str]:
    """What the index of a split may be called, the likeliest first."""
    for stem in (recipe.index[split],) if split in recipe.index else _STEMS.get(split, (split,)):
        for suffix in _SUFFIXES:
            yield from (f"{stem}{suffix}.txt", f"{stem}{suffix}.json")


def _part(recipe: SetRecipe, folder: Path, split: str, archives: Archives, names: dict[int, str]) -> SourcePart:
    candidates = list(index_names(recipe, split))
    path = next((folder / name for name in candidates if (folder / name).is_file()), None)
    if path is None:
        raise NotFoundError(
            f"{folder} holds no index of the part {split!r} ({', '.join(candidates)}).",
            hint="Give the folder of the set, with its index files and zip files, as --source.",
        )
    with storage_errors("reading", path), path.open("rb") as stream:
        content = stream.read(_MAX_INDEX_BYTES + 1)
    if len(content) > _MAX_INDEX_BYTES:
        raise DataFormatError(f"{path} is too long for an index.")
    try:
        files, classes = _coco(content, names) if path.suffix == ".json" else _lines(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataFormatError(
            f"{path} is no index of images and their classes, or not a whole one ({_reason(error)}).",
            hint="Get the source again.",
        ) from error
    check_unique(files, str(path))
    return SourcePart(_labels(recipe, path, files, classes), lambda position: archives.read(files[position]))


def _labels(recipe: SetRecipe, path: Path, files: list[str], classes: Classes) -> list[Label]:
    for name, found in zip(files, classes, strict=True):
        if not found and recipe.kind is not Kind.SEVERAL_CLASSES:
            raise DataFormatError(f"{path} gives the image {name[:80]!r} no class.", hint="Is the index whole?")
        if recipe.kind is not Kind.SEVERAL_CLASSES and len(found) > 1:
            raise DataFormatError(
                f"{path} gives the image {name[:80]!r} several classes; images of {recipe.name} have one.",
                hint="Is it the right source?",
            )
    if recipe.kind is Kind.SEVERAL_CLASSES:
        return [tuple(sorted(set(found))) for found in classes]
    return [found[0] for found in classes]


def _lines(content: bytes) -> tuple[list[str], Classes]:
    files: list[str] = []
    classes: Classes = []
    for line in content.decode("utf-8").splitlines():
        if line.strip():
            name, blank, labels = line.strip().rpartition(" ")
            files.append(name if blank else labels)
            classes.append(tuple(int(label) for label in labels.split(",")) if blank else ())
    return files, classes


def _coco(content: bytes, names: dict[int, str]) -> tuple[list[str], Classes]:
    index: Any = json.loads(content)
    place = {key: number for number, key in enumerate(sorted(int(entry["id"]) for entry in index["categories"]))}
    names |= {place[int(entry["id"])]: str(entry["name"]) for entry in index["categories"]}
    classes_of: dict[int, list[int]] = {}
    for annotation in index["annotations"]:
        classes_of.setdefault(int(annotation["image_id"]), []).append(place[int(annotation["category_id"])])
    images = sorted(index["images"], key=lambda entry: int(entry["id"]))
    files = [(f"{entry['zip_file']}@" if entry.get("zip_file") else "") + str(entry["file_name"]) for entry in images]
    return files, [tuple(classes_of.get(int(entry["id"]), ())) for entry in images]


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else (str(error) or type(error).__name__)[:120]


def _class_names(folder: Path, names: dict[int, str], classes: int) -> tuple[str, ...]:
    for name in _CLASS_FILES:
        path = folder / name
        if path.is_file():
            try:
                with storage_errors("reading", path), path.open("rb") as stream:
                    text = stream.read(_MAX_INDEX_BYTES).decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataFormatError(f"{path} is not UTF-8.", hint="Get the source again.") from error
            return tuple(line.strip() for line in text.splitlines() if line.strip())
    return tuple(names.get(number, str(number)) for number in range(max([classes, *[key + 1 for key in names]])))
