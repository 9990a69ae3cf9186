"""Sets in ELEVATER's format, which GenBench packs its own sets in, too: an index beside zip files.

``<part>.txt`` has a line ``<zip>@<member> <label>`` for each image, labels from 0; or ``<part>.json`` is like COCO's,
with ``images`` whose ``file_name`` is ``<zip>@<member>``, ``annotations`` and ``categories``, ids from 1. A name
without ``@`` is a file of the folder. ``labels.txt`` or ``classnames.txt`` may name the classes, one a line.
"""

from __future__ import annotations

import json
import threading
import zipfile
from pathlib import Path
from typing import Any

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError, NotFoundError
from competition.evalsets.preparing.images import MAX_IMAGE_BYTES, read_image
from competition.evalsets.preparing.recipes import SetRecipe
from competition.evalsets.preparing.source import Source, SourcePart, joined

_MAX_INDEX_BYTES = 512 * 2**20
_NAMES = ("{}.txt", "{}.json", "{}_images.txt", "{}_images.json")


def read_elevater(recipe: SetRecipe, folder: Path) -> Source:
    """The parts of a recipe.

    Raises:
        NotFoundError: an index or a zip file is absent.
        DataFormatError: an index is malformed, or gives an image several classes.
    """
    names: dict[int, str] = {}
    archives = _Archives(folder)
    parts = {
        part: joined([_part(folder, split, archives, names) for split in splits])
        for part, splits in recipe.splits.items()
    }
    return Source(_class_names(folder, names, recipe.classes), parts)


class _Archives:
    """Zip files of a folder, each opened once; one member at a time, and none that unpacks to more than an image."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, zipfile.ZipFile] = {}
        self._lock = threading.Lock()

    def read(self, name: str) -> bytes:
        archive, _, member = name.rpartition("@")
        for given in (archive, member):
            if ".." in Path(given).parts or Path(given).is_absolute():
                raise DataFormatError(f"An index names an image outside of its folder: {name[:80]!r}.")
        if not archive:
            return read_image(self._folder / member)
        with self._lock:
            opened = self._archive(archive)
            try:
                with opened.open(member) as stream:
                    data = stream.read(MAX_IMAGE_BYTES + 1)
            except (KeyError, zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as error:
                raise DataFormatError(f"{self._folder / archive} does not give {member[:80]!r} ({error}).") from error
        if len(data) > MAX_IMAGE_BYTES:
            raise DataFormatError(f"{name[:80]!r} unpacks to more than an image may have.")
        return data

    def _archive(self, name: str) -> zipfile.ZipFile:
        if name not in self._open:
            path = self._folder / name
            if not path.exists():
                raise NotFoundError(f"{path} is not there.", hint="Put the zip files beside their index.")
            try:
                self._open[name] = zipfile.ZipFile(path)
            except (zipfile.BadZipFile, OSError) as error:
                raise DataFormatError(f"{path} is no zip file ({error}).") from error
        return self._open[name]


def _part(folder: Path, split: str, archives: _Archives, names: dict[int, str]) -> SourcePart:
    path = next((folder / name.format(split) for name in _NAMES if (folder / name.format(split)).exists()), None)
    if path is None:
        raise NotFoundError(
            f"{folder} holds no index of the part {split!r} ({', '.join(name.format(split) for name in _NAMES)}).",
            hint="Give the folder of the set, with its index files and zip files, as --source.",
        )
    with storage_errors("reading", path), path.open("rb") as stream:
        content = stream.read(_MAX_INDEX_BYTES + 1)
    if len(content) > _MAX_INDEX_BYTES:
        raise DataFormatError(f"{path} is too long for an index.")
    try:
        files, labels = _coco(content, names) if path.suffix == ".json" else _lines(content)
    except (ValueError, KeyError, TypeError) as error:
        raise DataFormatError(
            f"{path} is no index of images with one class each ({error}).",
            hint="Sets with several classes an image cannot be prepared.",
        ) from error
    return SourcePart(labels, lambda position: archives.read(files[position]))


def _lines(content: bytes) -> tuple[list[str], list[int]]:
    files: list[str] = []
    labels: list[int] = []
    for line in content.decode("utf-8").splitlines():
        if line.strip():
            name, _, label = line.strip().rpartition(" ")
            files.append(name)
            labels.append(int(label))
    return files, labels


def _coco(content: bytes, names: dict[int, str]) -> tuple[list[str], list[int]]:
    index: Any = json.loads(content)
    names |= {int(entry["id"]) - 1: str(entry["name"]) for entry in index["categories"]}
    label_of: dict[Any, int] = {}
    for annotation in index["annotations"]:
        image = annotation["image_id"]
        if image in label_of:
            message = f"image {image!r} has several classes"
            raise ValueError(message)
        label_of[image] = int(annotation["category_id"]) - 1
    images = sorted(index["images"], key=lambda entry: entry["id"])
    return [str(entry["file_name"]) for entry in images], [label_of[entry["id"]] for entry in images]


def _class_names(folder: Path, names: dict[int, str], classes: int) -> tuple[str, ...]:
    for name in ("classnames.txt", "labels.txt"):
        path = folder / name
        if path.exists():
            with storage_errors("reading", path):
                return tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
    return tuple(names.get(number, str(number)) for number in range(max([classes, *[key + 1 for key in names]])))
