"""Evaluation sets that are folders of images, one folder for each class, read as they are.

``<set>/<part>/<class>/**/*.jpg`` with parts ``train``, ``val`` and ``test``, or ``<set>/<class>/**/*.jpg`` without. The
classes are the folders of all parts together, so that a class without an image in one part shifts no label:

* in the order of ``classnames.txt`` where its lines are the folders' names;
* else by number where all names are numbers (ImageNetV2's folders 0 to 999), which sorting as text would mix up;
* else sorted by name, as torchvision's ImageFolder does; ``classnames.txt`` then gives the class of each folder in
  this order a readable name (ImageNet's folders are WordNet ids).

``zeroshot_classification_templates.txt`` is as in the webdataset layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.data.shards import Sample
from competition.errors import EvaluationError
from competition.evaluation.decoding import MAX_IMAGE_BYTES
from competition.evaluation.image_files import ImageFiles
from competition.evaluation.images import IMAGE_EXTENSIONS, Preparation
from competition.evaluation.set_texts import lines, templates
from competition.evaluation.sets import ClassificationSet

PARTS = ("train", "val", "test")
_OTHER_IMAGES = ("bmp", "gif", "pgm", "ppm", "tif", "tiff", "jp2", "avif", "heic")


@dataclass(frozen=True)
class ImageFolder:
    """Images of a part in the order of their classes, then of their paths; labels int64 [N] in [0, classes).

    ``folders`` are the classes' folders in the order of their labels.
    """

    folder: Path
    images: tuple[Path, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    folders: tuple[str, ...]


def is_image_folder(folder: Path) -> bool:
    """Whether a set is in this layout, and not one of shards."""
    return folder.is_dir() and not any((folder / part / "nshards.txt").exists() for part in PARTS)


def list_image_folder(folder: Path, part: str = "test", *, other_formats: bool = False) -> ImageFolder:
    """Find the images of a part of a set, without opening one.

    Args:
        folder: the set's.
        part: ``train``, ``val`` or ``test``; a set without parts is all test.
        other_formats: list images that evaluations do not read (ppm, tiff) too, for one who turns them into others.

    Raises:
        EvaluationError: there is no such part; a class holds no image, or one in a format that evaluations do not
            read; or ``classnames.txt`` fits neither the names nor the number of the folders.
        StorageError: the folder cannot be read.
    """
    with storage_errors("listing", folder):
        parts = [folder / name for name in PARTS if (folder / name).is_dir()]
        base = folder / part if parts else folder
        if not base.is_dir() or (not parts and part != "test"):
            raise EvaluationError(f"The evaluation set {folder} has no part {part!r}.", hint=_hint(part, parts))
        found = {path.name for root in parts or [folder] for path in root.iterdir() if is_class(path)}
    if len(found) < 2:
        raise EvaluationError(f"The evaluation set {folder} has {len(found)} folders of classes.", hint="It needs two.")
    folders, names = _classes(folder, found)
    images: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(folders):
        of_class = images_of_class(base / name, other_formats)
        images += of_class
        labels += [label] * len(of_class)
    if not images:
        raise EvaluationError(f"The part {part!r} of the evaluation set {folder} holds no image.")
    return ImageFolder(folder, tuple(images), np.asarray(labels, dtype=np.int64), names, tuple(folders))


def read_image_folder(listing: ImageFolder) -> Iterator[Sample]:
    """The images as samples with ``cls``, as shards of the webdataset layout hold them, one in memory at a time.

    Raises:
        EvaluationError: a file is larger than any image may be.
        StorageError: a file cannot be read.
    """
    for path, label in zip(listing.images, listing.labels.tolist(), strict=True):
        with storage_errors("reading", path), path.open("rb") as stream:
            data = stream.read(MAX_IMAGE_BYTES + 1)
        if len(data) > MAX_IMAGE_BYTES:
            raise EvaluationError(f"{path} is larger than an image may be.", hint="Is it one?")
        extension = path.suffix[1:].lower()
        key = path.relative_to(listing.folder).as_posix()
        yield Sample(key, {"cls": str(label).encode(), extension: data})


def load_image_folder(
    folder: Path,
    prepare: Preparation,
    part: str = "test",
    *,
    prompts: bool = True,
    cache: Path | None = None,
    tolerance: float = 0.0,
) -> ClassificationSet:
    """Read a classification set of this layout; see ``sets.load_classification`` for that of shards.

    Args:
        folder: the set's.
        prepare: decoded images are brought to its size.
        part: which part.
        prompts: the protocol needs prompt templates; where it trains a head instead, there are none in the result.
        cache: folder of decoded sets; none are read or written when absent.
        tolerance: share of the images that may be undecodable, and are left out then.

    Raises:
        EvaluationError: the set is absent, damaged or does not fit together.
    """
    listing = list_image_folder(folder, part)
    prompt_templates = templates(folder / "zeroshot_classification_templates.txt") if prompts else ()
    images, key, missing = ImageFiles(folder, listing.images).pixels(prepare, cache, tolerance)
    labels = np.delete(listing.labels, missing)
    return ClassificationSet(images, labels, listing.class_names, prompt_templates, key, listing.folders, missing)


def _hint(part: str, parts: Sequence[Path]) -> str:
    if part == "test" and any(path.name == "val" for path in parts):
        return (
            "Published sets may have their test images in `val`: give the task the setting `part: val`, or call the "
            "folder `test`."
        )
    return "Is this the folder of the whole set?"


def is_class(path: Path) -> bool:
    """Whether a path is the folder of a class."""
    return path.is_dir() and not path.name.startswith(".")


def _classes(folder: Path, found: set[str]) -> tuple[list[str], tuple[str, ...]]:
    """Folders in the order of their labels, and the names of their classes."""
    numbers = all(name.isascii() and name.isdigit() for name in found)
    ordered = sorted(found, key=lambda name: (int(name), name)) if numbers else sorted(found)
    path = folder / "classnames.txt"
    if not path.exists():
        return ordered, tuple(ordered)
    names = lines(path, "class names")
    if found <= set(names) and len(set(names)) == len(names):
        return list(names), names
    if len(names) == len(ordered):
        return ordered, names
    raise EvaluationError(
        f"{path} names {len(names)} classes, and there are {len(ordered)} folders, which it does not name.",
        hint="It has to list the folders, or one readable name for each of them in their order.",
    )


def images_of_class(folder: Path, other_formats: bool = False) -> list[Path]:
    """Images below the folder of a class; none where there is no such folder, but no folder is empty.

    Raises:
        EvaluationError: the folder holds no image, or one in a format that evaluations do not read.
        StorageError: it cannot be read.
    """
    if not folder.is_dir():
        return []
    images: list[Path] = []
    with storage_errors("listing", folder):
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
            extension = path.suffix[1:].lower()
            if any(name.startswith(".") for name in path.relative_to(folder).parts) or not path.is_file():
                continue
            if extension in _OTHER_IMAGES and not other_formats:
                raise EvaluationError(
                    f"{path} is an image in a format that evaluations do not read.",
                    hint="Turn the set into the webdataset layout: `datacup evalsets prepare`.",
                )
            if extension in (*IMAGE_EXTENSIONS, *_OTHER_IMAGES):
                images.append(path)
    if not images:
        raise EvaluationError(f"The folder {folder} holds no image of its class.", hint="Remove it, or fill it.")
    return images
