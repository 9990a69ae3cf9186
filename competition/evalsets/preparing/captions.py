"""Sets of images with captions, from the two kinds of annotation files in which Flickr30k's and COCO's tests are had.

``captions-csv`` is what DataComp evaluates on (the Hub's ``nlphuji/flickr_1k_test_image_text_retrieval`` and
``nlphuji/mscoco_2014_5k_test_image_text_retrieval``): a row for each image with its ``filename``, and its captions as a
list in ``raw``. ``karpathy`` is the file that both go back to (Karpathy and Fei-Fei, arXiv 1412.2306):
``dataset_flickr30k.json`` or ``dataset_coco.json``, with the ``split``, ``filename`` and ``sentences`` of each image.
The images lie beside them, in zip files or unpacked.
"""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError, NotFoundError
from competition.evalsets.preparing.archives import Archives, check_inside
from competition.evalsets.preparing.recipes import SetRecipe
from competition.evalsets.preparing.source import Source, SourcePart, check_unique

_MAX_BYTES = 1024 * 2**20
_MAX_CAPTIONS = 1_000
_SPLIT = "test"

Captioned = list[tuple[str, tuple[str, ...]]]


def read_captions_csv(recipe: SetRecipe, folder: Path) -> Source:
    """The test part of a set of captions from its table.

    Raises:
        NotFoundError: the table or an image is absent.
        DataFormatError: the table is damaged, names an image twice, or gives one no caption.
    """
    path = _only(folder, "*.csv", f"{recipe.name}: its table of captions")
    try:
        rows = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
        found = [(str(row["filename"]), _listed(row["raw"])) for row in rows if row.get("split") in {None, "", _SPLIT}]
    except (csv.Error, KeyError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise _no_annotations(path, error) from error
    return _source(folder, path, found)


def read_karpathy(recipe: SetRecipe, folder: Path) -> Source:
    """The test part of a set of captions from Karpathy's file; errors as those of ``read_captions_csv``."""
    path = _only(folder, "dataset_*.json", f"{recipe.name}: Karpathy's dataset_flickr30k.json or dataset_coco.json")
    try:
        images: Any = json.loads(_text(path))["images"]
        found = [
            (str(image["filename"]), tuple(str(sentence["raw"]) for sentence in image["sentences"]))
            for image in images
            if image["split"] == _SPLIT
        ]
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise _no_annotations(path, error) from error
    return _source(folder, path, found)


def clean_captions(captions: Iterable[str], where: str) -> tuple[str, ...]:
    """Captions as a set stores them, one a line: what ends a line within one becomes a blank.

    Raises:
        DataFormatError: there is none, one is empty, or there are very many.
    """
    kept = tuple(" ".join(caption.splitlines()).strip() for caption in captions)
    if not kept or not all(kept) or len(kept) > _MAX_CAPTIONS:
        what = "no caption" if not kept else "an empty caption" if not all(kept) else f"{len(kept):,} captions"
        raise DataFormatError(f"{where} has {what}.", hint="Get the source again.")
    return kept


def _source(folder: Path, path: Path, found: Captioned) -> Source:
    if not found:
        raise DataFormatError(f"{path} has no image of the split {_SPLIT}.", hint="Is it the right file?")
    names = [name for name, _ in found]
    check_inside(*names)
    check_unique(names, str(path))
    labels = [clean_captions(captions, f"The image {name[:80]!r} of {path}") for name, captions in found]
    images = _Images(folder)
    return Source((), {_SPLIT: SourcePart(labels, lambda position: images.read(names[position]))})


class _Images:
    """Images by their file names, in folders of the source (or in theirs), or in its zip files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._archives = Archives(folder)
        with storage_errors("listing", folder):
            shown = _shown(folder)
            below = [path for path in shown if path.is_dir()]
            self._folders = [folder, *below, *(path for base in below for path in _shown(base) if path.is_dir())]
        self._members: dict[str, str] = {}
        for archive in (path.name for path in shown if path.suffix == ".zip"):
            members = self._archives.members(archive)
            self._members = {name: f"{archive}@{member}" for name, member in members.items()} | self._members

    def read(self, name: str) -> bytes | Path:
        for folder in self._folders:
            if (folder / name).is_file():
                return folder / name
        member = self._members.get(Path(name).name)
        if member is None:
            raise NotFoundError(
                f"The image {name[:80]!r} is neither in a folder nor in a zip file of {self._folder}.",
                hint="Put the images' zip file, or their folder, beside the annotations.",
            )
        return self._archives.read(member)


def _shown(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _only(folder: Path, pattern: str, what: str) -> Path:
    with storage_errors("listing", folder):
        found = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
    if not found:
        raise NotFoundError(
            f"{folder} does not hold {pattern} ({what}).",
            hint="Give the folder of the annotations and images as --source.",
        )
    if len(found) > 1:
        raise DataFormatError(
            f"{folder} holds {len(found)} files {pattern}: {found[0].name}, {found[1].name} ...",
            hint="Leave the one there that is meant.",
        )
    return found[0]


def _text(path: Path) -> str:
    with storage_errors("reading", path), path.open("rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise DataFormatError(f"{path} is too long for annotations of an evaluation set.")
    return content.decode("utf-8-sig")


def _listed(text: Any) -> tuple[str, ...]:
    """Captions of a cell: a list in JSON, or as Python prints it."""
    try:
        found = json.loads(text)
    except ValueError:
        found = ast.literal_eval(text)
    if not isinstance(found, list) or not all(isinstance(caption, str) for caption in found):
        message = f"{str(text)[:40]!r} is no list of captions"
        raise ValueError(message)
    return tuple(found)


def _no_annotations(path: Path, error: Exception) -> DataFormatError:
    reason = f"{error} is missing" if isinstance(error, KeyError) else (str(error) or type(error).__name__)[:120]
    return DataFormatError(
        f"{path} holds no captions of images, or is not whole ({reason}).", hint="Get the source again."
    )
