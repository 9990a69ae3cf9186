"""Image folders as torchvision lays them out: ``folder/<class>/**/<image>``, with captions where they lie beside."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.canonical import digest
from competition.data.atomic import storage_errors
from competition.data.digests import file_sha256
from competition.data.engine import Needs, engine_of
from competition.errors import DataFormatError
from competition.evaluation.images import IMAGE_EXTENSIONS
from competition.progress import ProgressHook
from participant_kit.train.data.layout import OTHER_IMAGES, SPLITS, extension_of
from participant_kit.train.data.source import Indices, Part, RawSample, part_name

_CAPTION = ".txt"


@dataclass(frozen=True)
class ImageFolder:
    """The images of class folders: classes by name, then by path within the class.

    Args:
        folder: that holds the class folders.
        parts: the classes (see ``Source``).
        firsts: int64 [classes + 1], position of each class's first image.
        names: uint8 [bytes], the images' paths within their class folders (UTF-8), one behind the other.
        ends: int64 [samples + 1], where each of them begins and ends.
        captioned: bool [samples], whether a caption lies beside the image.
        identities: int64 [samples], from the images' content: equal images are copies.
    """

    folder: Path
    parts: tuple[Part, ...]
    firsts: NDArray[np.int64]
    names: NDArray[np.uint8]
    ends: NDArray[np.int64]
    captioned: NDArray[np.bool_]
    identities: Indices

    def read(self, index: int) -> RawSample:
        """The sample at a position; its label is the index of its class (raises ``StorageError``)."""
        path = self._path(index)
        with storage_errors("reading", path):
            image = path.read_bytes()
            caption = path.with_suffix(_CAPTION).read_bytes() if self.captioned[index] else None
        return RawSample(image, caption, self._class(index))

    def describe(self, index: int) -> str:
        """Path of a sample, for messages."""
        return f"image {self._path(index)}"

    def _class(self, index: int) -> int:
        return int(np.searchsorted(self.firsts, index, side="right")) - 1

    def _path(self, index: int) -> Path:
        name = self.names[self.ends[index] : self.ends[index + 1]].tobytes().decode()
        return self.folder / self.parts[self._class(index)].name / name


def open_image_folder(folder: Path, workers: int, progress: ProgressHook) -> ImageFolder:
    """Index and hash all class folders of a folder.

    Files that are no images, and hidden ones, are passed over, as torchvision does; a caption is ``x.txt`` beside
    ``x.jpg``. A class's digest is over its sorted (path, sha256 of content) pairs, captions included.

    Args:
        folder: that directly holds the class folders.
        workers: threads that read images.
        progress: told how many classes are read.

    Raises:
        DataFormatError: a class without images, a link that leads out of the folder, images of a format that is not
            read, or folders that are splits instead of classes.
        StorageError: a file cannot be read.
    """
    classes = _classes_of(folder)
    with storage_errors("reading", folder):
        root = folder.resolve()
    read = engine_of(workers).map(
        partial(_index_class, root),
        {path.name: path for path in classes},
        stage="reading class folders",
        needs=Needs(threads=True),
        progress=progress,
    )
    indexed = [read[path.name] for path in classes]
    names = [name for entry in indexed for name in entry["names"]]
    counts = [len(entry["names"]) for entry in indexed]
    return ImageFolder(
        folder=folder,
        parts=tuple(
            Part(path.name, count, entry["sha256"]) for path, count, entry in zip(classes, counts, indexed, strict=True)
        ),
        firsts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        names=np.frombuffer(b"".join(names), dtype=np.uint8),
        ends=np.concatenate([[0], np.cumsum([len(name) for name in names])]).astype(np.int64),
        captioned=np.concatenate([entry["captioned"] for entry in indexed]),
        identities=np.concatenate([entry["identities"] for entry in indexed]),
    )


def _classes_of(folder: Path) -> list[Path]:
    with storage_errors("listing", folder):
        found = [entry for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]
        linked = next((entry.path for entry in found if entry.is_symlink()), None)
    if linked is not None:
        raise _link_refused(linked)
    names = sorted(part_name(entry.name, folder) for entry in found)
    if set(names) <= SPLITS:
        raise DataFormatError(
            f"The folders of {folder} are splits ({', '.join(names)}), not classes.",
            hint=f"Give the folder that directly holds the class folders as --data-dir, such as {folder / names[0]}",
        )
    return [folder / name for name in names]


def _index_class(root: Path, path: Path) -> dict[str, Any]:
    with storage_errors("reading", path):
        files = dict(_walk(path, root))
        images = sorted(name for name in files if extension_of(name) in IMAGE_EXTENSIONS)
        if not images:
            raise DataFormatError(
                f"The class folder {path} holds no image.",
                hint=f"Images end in {', '.join(IMAGE_EXTENSIONS)}. Remove the folder if there is no such class: the "
                "classes are numbered in the order of all folders' names.",
            )
        captions = [str(Path(name).with_suffix(_CAPTION)) for name in images]
        sha256 = {name: file_sha256(files[name]) for name in {*images, *(set(captions) & files.keys())}}
    return {
        "names": [name.encode() for name in images],
        "captioned": np.array([caption in files for caption in captions]),
        "identities": np.array([int(sha256[name][:16], 16) for name in images], dtype=np.uint64).view(np.int64),
        "sha256": digest(sorted([name, each] for name, each in sha256.items())),
    }


def _walk(path: Path, root: Path) -> list[tuple[str, Path]]:
    """Images and texts below a class folder: (path within it, path)."""
    found: list[tuple[str, Path]] = []
    for parent, folders, files in os.walk(path, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        linked = next((name for name in folders if Path(parent, name).is_symlink()), None)
        if linked is not None:
            raise _link_refused(str(Path(parent, linked)))
        data = [Path(parent, name) for name in files if not name.startswith(".") and _is_data(Path(parent, name), root)]
        found += [(_within(each, path), each) for each in data]
    return found


def _is_data(path: Path, root: Path) -> bool:
    extension = extension_of(path.name)
    if extension in OTHER_IMAGES:
        raise DataFormatError(
            f"The image {path} is of a format that is not read.",
            hint=f"Convert such images to one of {', '.join(IMAGE_EXTENSIONS)}, or remove them.",
        )
    if extension not in IMAGE_EXTENSIONS and f".{extension}" != _CAPTION:
        return False
    if path.is_symlink() and not path.resolve().is_relative_to(root):
        raise _link_refused(str(path))
    if not S_ISREG(path.stat().st_mode):
        raise DataFormatError(f"{path} is not a file.", hint="Remove it, or rename it so that it is no image's name.")
    return True


def _within(path: Path, folder: Path) -> str:
    name = str(path.relative_to(folder))
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataFormatError(f"The name of {path!r} is not UTF-8.", hint="Rename it.") from error
    return name


def _link_refused(path: str) -> DataFormatError:
    return DataFormatError(
        f"{path} is a link to a folder, or out of the data's folder; it is not followed.",
        hint="Replace it by what it leads to, or by hard links (`cp -rl`).",
    )


def _raise(error: OSError) -> None:
    raise error
