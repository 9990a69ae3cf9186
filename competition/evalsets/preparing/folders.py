"""Sets from the folders in which their authors publish them, which torchvision does not read.

Lists are read with bounds, and no path of a list leaves the set's folder.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError, NotFoundError
from competition.evalsets.preparing.recipes import Format, SetRecipe
from competition.evalsets.preparing.source import Source, SourcePart, joined, of_paths

_MAX_LIST_BYTES = 256 * 2**20
_FOOD_FOLDERS = {"train": "training", "val": "validation", "test": "evaluation"}
_FOOD_NAMES = (
    "bread",
    "dairy product",
    "dessert",
    "egg",
    "fried food",
    "meat",
    "noodles or pasta",
    "rice",
    "seafood",
    "soup",
    "vegetable or fruit",
)
_FOOD_FILE = re.compile(r"(\d{1,3})_\d+\.(?:jpg|jpeg|png)", re.IGNORECASE | re.ASCII)

Labelled = list[tuple[Path, int]]


def read_image_folders(recipe: SetRecipe, folder: Path) -> Source:
    """Parts of class folders, see ``evaluation.image_folder`` (and its errors)."""
    from competition.evaluation.image_folder import list_image_folder

    listed = {part: list_image_folder(folder, part, other_formats=True) for part in recipe.splits if part != "all"}
    if recipe.random_split:
        listed = {"all": list_image_folder(folder, other_formats=True)}
    parts = {
        part: of_paths(list(zip(found.images, found.labels.tolist(), strict=True))) for part, found in listed.items()
    }
    return Source(next(iter(listed.values())).class_names, parts)


def read_published(recipe: SetRecipe, folder: Path) -> Source:
    """A set in its authors' own folder, by the recipe's format.

    Raises:
        NotFoundError: a list or folder is absent.
        DataFormatError: a list is malformed.
    """
    match recipe.format:
        case Format.CUB:
            return _cub(folder)
        case Format.STANFORD_DOGS:
            return _stanford_dogs(folder)
        case Format.STANFORD_40:
            return _stanford_40(folder)
        case Format.MIT_67:
            return _mit_67(folder)
        case _:
            return _food_11(recipe, folder)


def _cub(folder: Path) -> Source:
    """CUB-200-2011: ``images.txt``, ``image_class_labels.txt`` (from 1) and ``train_test_split.txt`` share ids."""
    images = dict(_pairs(folder / "images.txt"))
    labels = dict(_pairs(folder / "image_class_labels.txt"))
    train = dict(_pairs(folder / "train_test_split.txt"))
    names = tuple(name for _, name in _pairs(folder / "classes.txt"))
    parts: dict[str, Labelled] = {"train": [], "test": []}
    for key, name in images.items():
        if key not in labels or key not in train:
            raise DataFormatError(f"Image {key} of {folder / 'images.txt'} has no class or no part.")
        path = _inside(folder / "images", name)
        parts["train" if train[key] == "1" else "test"].append((path, _number(labels[key], folder) - 1))
    return Source(names, {part: of_paths(found) for part, found in parts.items()})


def _stanford_dogs(folder: Path) -> Source:
    """Stanford Dogs: ``train_list.mat`` and ``test_list.mat`` with ``file_list`` and ``labels`` (from 1)."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    parts: dict[str, SourcePart] = {}
    names: dict[int, str] = {}
    for part in ("train", "test"):
        path = _existing(folder / f"{part}_list.mat")
        try:
            content = loadmat(path, squeeze_me=True, variable_names=("file_list", "labels"))
            files = [str(name) for name in content["file_list"]]
            labels = [int(label) - 1 for label in content["labels"]]
        except (
            *(MatReadError, zlib.error, struct.error, EOFError, OSError, NotImplementedError),
            *(ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError),
        ) as error:
            reason = (str(error).splitlines() or [""])[0].strip("'\"")[:120] or type(error).__name__
            raise DataFormatError(
                f"{path} is no list of Stanford Dogs, or not a whole one ({reason}).", hint="Get the source again."
            ) from error
        if len(files) != len(labels):
            raise DataFormatError(f"{path} has {len(files)} files and {len(labels)} labels.")
        listed = list(zip(files, labels, strict=True))
        parts[part] = of_paths([(_inside(folder / "Images", name), label) for name, label in listed])
        names |= {label: name.split("/")[0].partition("-")[2] for name, label in listed}
    return Source(tuple(names[label] for label in sorted(names)), parts)


def _stanford_40(folder: Path) -> Source:
    """Stanford 40 Actions: ``ImageSplits/<action>_{train,test}.txt`` of names in ``JPEGImages``."""
    lists = _existing(folder / "ImageSplits")
    with storage_errors("listing", lists):
        found = {match[1] for path in lists.iterdir() if (match := re.fullmatch(r"(.+)_train\.txt", path.name))}
    actions = sorted(found)
    parts = {
        part: of_paths(
            [
                (_inside(folder / "JPEGImages", name), label)
                for label, action in enumerate(actions)
                for name in _lines(lists / f"{action}_{part}.txt")
            ]
        )
        for part in ("train", "test")
    }
    return Source(tuple(action.replace("_", " ") for action in actions), parts)


def _mit_67(folder: Path) -> Source:
    """MIT Indoor 67: ``TrainImages.txt`` and ``TestImages.txt`` of ``<room>/<file>`` below ``Images``."""
    lists = {part: _lines(folder / f"{part.title()}Images.txt") for part in ("train", "test")}
    rooms = sorted({name.split("/")[0] for names in lists.values() for name in names})
    label = {room: number for number, room in enumerate(rooms)}
    parts = {
        part: of_paths([(_inside(folder / "Images", name), label[name.split("/")[0]]) for name in names])
        for part, names in lists.items()
    }
    return Source(tuple(rooms), parts)


def _food_11(recipe: SetRecipe, folder: Path) -> Source:
    """Food-11: ``training``, ``validation`` and ``evaluation`` with files ``<class>_<number>.jpg``."""
    parts: dict[str, SourcePart] = {}
    for part, splits in recipe.splits.items():
        parts[part] = joined([of_paths(_food_part(folder / _FOOD_FOLDERS[split])) for split in splits])
    return Source(_FOOD_NAMES, parts)


def _food_part(folder: Path) -> Labelled:
    with storage_errors("listing", folder):
        names = sorted(path.name for path in _existing(folder).iterdir() if not path.name.startswith("."))
    found: Labelled = []
    for name in names:
        match = _FOOD_FILE.fullmatch(name)
        if match is None:
            raise DataFormatError(f"{folder / name} is not called <class>_<number>.jpg, as images of Food-11 are.")
        found.append((folder / name, int(match[1])))
    return sorted(found, key=lambda item: (item[1], item[0].name))


def _existing(path: Path) -> Path:
    if not path.exists():
        raise NotFoundError(f"{path} is not there.", hint="Give the folder that its authors publish as --source.")
    return path


def _lines(path: Path) -> list[str]:
    with storage_errors("reading", path), _existing(path).open("rb") as stream:
        content = stream.read(_MAX_LIST_BYTES + 1)
    if len(content) > _MAX_LIST_BYTES:
        raise DataFormatError(f"{path} is too long for a list.")
    try:
        return [line.strip() for line in content.decode("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataFormatError(f"{path} is not UTF-8.") from error


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    for line in _lines(path):
        first, _, second = line.partition(" ")
        if not second:
            raise DataFormatError(f"A line of {path} is not two words: {line[:60]!r}.")
        yield first, second


def _number(text: str, where: Path) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise DataFormatError(f"A class in {where} is no number: {text[:20]!r}.")
    return int(text)


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise DataFormatError(f"A list names an image outside of its folder: {name[:80]!r}.")
    return path
