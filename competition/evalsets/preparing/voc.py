"""VOC 2007 with all classes of an image, from the folder that its authors publish (``VOCdevkit/VOC2007``)."""

from __future__ import annotations

import re
from pathlib import Path

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError, NotFoundError
from competition.evalsets.preparing.recipes import SetRecipe
from competition.evalsets.preparing.source import Source, SourcePart

_MAX_LIST_BYTES = 16 * 2**20
_LINE = re.compile(r"([A-Za-z0-9_]{1,64})\s+(-1|0|1)", re.ASCII)
_LIST = re.compile(r"([a-z]+)_train\.txt", re.ASCII)


def read_voc_2007(recipe: SetRecipe, folder: Path) -> Source:
    """``ImageSets/Main/<class>_<split>.txt`` says of each image whether it shows the class: 1 yes, -1 no.

    0 means that all it shows of the class is hard to make out. That counts as shown: CLIP_benchmark's labels, which
    are those of the annotated objects, have it so.

    Raises:
        NotFoundError: a list or an image is absent.
        DataFormatError: a list is malformed, or the lists of a split are not of the same images.
    """
    base = next(
        (place for place in (folder / "VOCdevkit" / "VOC2007", folder / "VOC2007", folder) if _lists(place).is_dir()),
        None,
    )
    if base is None:
        raise NotFoundError(
            f"{folder} holds no VOCdevkit/VOC2007/ImageSets/Main.", hint="Unpack VOC's archives of 2007 into it."
        )
    with storage_errors("listing", base):
        found = (_LIST.fullmatch(path.name) for path in _lists(base).iterdir())
        classes = tuple(sorted(match[1] for match in found if match is not None))
    parts = {part: _part(base, classes, split) for part, splits in recipe.splits.items() for split in splits if classes}
    return Source(classes, parts)


def _lists(base: Path) -> Path:
    return base / "ImageSets" / "Main"


def _part(base: Path, classes: tuple[str, ...], split: str) -> SourcePart:
    shown: dict[str, list[int]] = {}
    for label, name in enumerate(classes):
        path = _lists(base) / f"{name}_{split}.txt"
        listed = _read(path)
        if label == 0:
            shown = {image: [] for image in listed}
        if listed.keys() != shown.keys():
            raise DataFormatError(f"{path} is not of the images that {classes[0]}_{split}.txt lists.")
        for image, there in listed.items():
            if there:
                shown[image].append(label)
    without = next((image for image, labels in shown.items() if not labels), None)
    if without is not None:
        raise DataFormatError(f"Image {without} of {base}, {split}, shows no class.", hint="Get the source again.")
    paths = [base / "JPEGImages" / f"{image}.jpg" for image in shown]
    absent = next((path for path in paths if not path.is_file()), None)
    if absent is not None:
        raise NotFoundError(f"{absent} is not there.", hint="Unpack the training images and the test images.")
    return SourcePart([tuple(labels) for labels in shown.values()], paths.__getitem__)


def _read(path: Path) -> dict[str, bool]:
    if not path.is_file():
        raise NotFoundError(f"{path} is not there.", hint="Unpack the training images and the test images.")
    with storage_errors("reading", path), path.open("rb") as stream:
        text = stream.read(_MAX_LIST_BYTES).decode("ascii", "replace")
    found: dict[str, bool] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise DataFormatError(f"A line of {path} is not an image and 1, 0 or -1: {line[:60]!r}.")
        if match[1] in found:
            raise DataFormatError(f"{path} lists the image {match[1]} twice.")
        found[match[1]] = match[2] != "-1"
    return found
