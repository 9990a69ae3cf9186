"""Which kind of training data lies in a folder: fixed rules, and one sentence where none or more than one fits."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from competition.data.atomic import storage_errors
from competition.errors import TrainingError
from competition.evaluation.images import IMAGE_EXTENSIONS

OTHER_IMAGES = frozenset({"bmp", "pgm", "ppm", "tif", "tiff"})
"""Extensions that torchvision's image folders have beside ours."""

SPLITS = frozenset({"train", "val", "valid", "validation", "dev", "test"})
"""What folders and files of a data set's parts are named by custom."""

_HINT = (
    "Give a folder of shards (*.tar), a folder whose sub-folders are classes of images, a folder that "
    "`Dataset.save_to_disk` wrote, or one of parquet files; or hf:OWNER/NAME for a dataset of the Hub."
)


class Layout(Enum):
    """How training data lie in a folder; the value is what messages call it."""

    SHARDS = "shards (*.tar)"
    CLASSES = "class folders of images"
    SAVED = "a saved Hugging Face dataset"
    PARQUET = "parquet files"


def extension_of(name: str) -> str:
    """Of a file name: lower case, without the dot; empty where there is none."""
    return Path(name).suffix[1:].lower()


def layout_of(folder: Path) -> Layout:
    """The kind of data that a folder holds.

    A saved dataset says so itself (``dataset_info.json``, ``state.json``). Parquet files that carry the names of
    shards are img2dataset's metadata of these; images beside other parquet files are those that these name.

    Raises:
        TrainingError: the folder is missing, or holds no such data, or data of two kinds.
        StorageError: it cannot be read.
    """
    if not folder.is_dir():
        raise TrainingError(f"There is no folder {folder}.", hint="Check the path given as --data-dir.")
    with storage_errors("listing", folder):
        names = {entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")}
        if {"dataset_info.json", "state.json"} <= names:
            return Layout.SAVED
        if "dataset_dict.json" in names:
            raise TrainingError(
                f"{folder} holds a dictionary of saved datasets, one a split.",
                hint=f"Give one of its folders as --data-dir, such as {folder / 'train'}",
            )
        if "shards" in names and next((folder / "shards").glob("*.tar"), None) is not None:
            raise TrainingError(
                f"{folder} is a pool: its shards lie in a folder of it.",
                hint=f"Give {folder / 'shards'} as --data-dir.",
            )
        found = _found(folder, names)
    if not found:
        raise TrainingError(f"{folder} holds no training data: no shards, images or parquet files.", hint=_HINT)
    if len(found) > 1:
        kinds = " and ".join(layout.value for layout in found)
        raise TrainingError(
            f"{folder} holds {kinds}: it is ambiguous which of them is meant.",
            hint="Move one kind to a folder of its own; several folders can be joined by '::'.",
        )
    return found[0]


def _found(folder: Path, names: set[str]) -> list[Layout]:
    shards = {Path(name).stem for name in names if name.endswith(".tar")}
    parquet = any(name.endswith(".parquet") and Path(name).stem not in shards for name in names)
    # Otherwise they are below: in `data`, as on the Hub, or in the one folder of a configuration.
    parquet = parquet or (
        not shards and any(not path.parent.name.startswith(".") for path in folder.glob("*/*.parquet"))
    )
    found = [Layout.SHARDS] if shards else []
    if parquet:
        return [*found, Layout.PARQUET]
    # A linked class folder is refused where classes are read; here it only tells the kind.
    linked = not shards and any((folder / name).is_symlink() and (folder / name).is_dir() for name in names)
    return [*found, Layout.CLASSES] if linked or _has_images(folder) else found


def _has_images(folder: Path) -> bool:
    """Whether a sub-folder holds an image at any depth; the first one ends the search."""
    known = OTHER_IMAGES.union(IMAGE_EXTENSIONS)
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if Path(parent) != folder and any(extension_of(name) in known for name in files):
            return True
    return False
