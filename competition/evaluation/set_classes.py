"""The classes of an evaluation set, and which of them an entry's images are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from competition.errors import EvaluationError
from competition.evaluation.entry_images import EntryImages, Integers, require_labels
from competition.evaluation.image_folder import is_image_folder, list_image_folder
from competition.evaluation.sets import load_class_names

_HINT = "Name the entry's class folders like the set's classes, or by their numbers from 0."


@dataclass(frozen=True, slots=True)
class SetClasses:
    """The classes of a set in order.

    Args:
        set_name: for messages.
        names: as prompts have them.
        folders: class by the name of its folder, where the set is a folder of images and these have other names
            (ImageNet's WordNet ids).
    """

    set_name: str
    names: tuple[str, ...]
    folders: Mapping[str, int]


def set_classes(folder: Path, part: Literal["test", "val"] = "test") -> SetClasses:
    """The classes of a set in either layout, whose test images are in ``part``; no image is opened.

    Raises:
        EvaluationError: the set is damaged.
    """
    if not is_image_folder(folder):
        return SetClasses(folder.name, load_class_names(folder), {})
    listing = list_image_folder(folder, part)
    base = folder / part if (folder / part).is_dir() else folder
    folders: dict[str, int] = {}
    for path, label in zip(listing.images, listing.labels.tolist(), strict=True):
        folders[path.relative_to(base).parts[0]] = label
    return SetClasses(folder.name, listing.class_names, folders)


def labels_among(images: EntryImages, classes: SetClasses) -> Integers:
    """Class of each of the entry's images, int64 [N] in [0, classes).

    Class folders are found by name: as the set's classes are called, or its folders. Where all are numbers, and no
    class is called so, they are the numbers of classes.

    Raises:
        EvaluationError: an image has no class, or one that the set has not.
    """
    count = len(classes.names)
    if images.class_names is None:
        require_labels(images)
        outside = np.flatnonzero(images.labels >= count)
        if len(outside):
            raise EvaluationError(
                f"The entry {images.folder} has an image of class {images.labels[outside[0]]}, and the evaluation set "
                f"{classes.set_name} has classes 0 to {count - 1}.",
                hint="Number the entry's classes like the set's.",
            )
        return images.labels
    named = {**classes.folders, **{name: place for place, name in enumerate(classes.names)}}
    numbered = {str(place): place for place in range(count)}
    known = named if any(name in named for name in images.class_names) else numbered
    found = [known.get(_plain(name) if known is numbered else name, -1) for name in images.class_names]
    if -1 in found:
        first = images.class_names[found.index(-1)]
        raise EvaluationError(
            f"The entry's class folder {first!r} is no class of the evaluation set {classes.set_name}, "
            f"whose first is {classes.names[0]!r}.",
            hint=_HINT,
        )
    return np.asarray(found, dtype=np.int64)[images.labels]


def _plain(name: str) -> str:
    """A number without leading zeros."""
    return name.lstrip("0") or "0" if name.isascii() and name.isdigit() else name
