"""The images that an entry consists of: shards as ``datacup train`` reads them, or a folder for each class.

Labels of shards are the numbers in their ``cls`` members; those of class folders are the folders' names, which
``set_classes.labels_among`` finds among a set's classes. Nothing is decoded before a protocol asks for pixels; these
are kept like those of sets, so that an entry of any size needs little memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from competition.canonical import digest
from competition.data.atomic import storage_errors
from competition.data.shards import list_shards, read_payload, scan_samples
from competition.data.tar import open_tar
from competition.errors import DataFormatError, EvaluationError, StorageError
from competition.evaluation.decoding import (
    Decoded,
    Pixels,
    UnreadableImagesError,
    decoded_files,
    decoded_shards,
    processors,
)
from competition.evaluation.images import IMAGE_EXTENSIONS, Preparation
from competition.evaluation.known_digests import KnownDigests
from competition.evaluation.set_cache import SetCache, pixels_key
from competition.records.evaluation import MAX_OUTCOMES

WITHOUT_LABEL = -1
MAX_IMAGES = MAX_OUTCOMES
MAX_IMAGE_BYTES = 200 * 10**6
_MOST_DIGITS = 9
_MOST_LABEL_BYTES = 64
_BLOCK = 32
_BLOCKS_AHEAD = 4
_HINT = "Give the folder that was trained on: shards (*.tar), or a folder of images for each class."

Integers = NDArray[np.int64]


class Content(Protocol):
    """Where the images lie."""

    def decoded(self, prepare: Preparation, wanted: NDArray[np.bool_]) -> Decoded:
        """The prepared images in order, of those that are wanted."""

    def name(self, position: int) -> str:
        """Of an image, for messages."""


@dataclass(frozen=True, slots=True)
class EntryImages:
    """An entry's images in a fixed order.

    Args:
        folder: of the entry.
        digest: identity of all names and bytes.
        labels: int64 [N]; of shards class numbers, and -1 where an image has none; otherwise positions in
            ``class_names``.
        class_names: names of the class folders, sorted; ``None`` of shards.
        content: the images themselves.
    """

    folder: Path
    digest: str
    labels: Integers
    class_names: tuple[str, ...] | None
    content: Content

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, prepare: Preparation, cache: Path | None, rows: Integers | None = None) -> tuple[Pixels, str]:
        """Prepared images uint8 [N, S, S, 3], mapped from the cache, and the identity of these pixels.

        Args:
            prepare: the transform.
            cache: folder of decoded images; they are in memory, all of them, when absent.
            rows: ascending positions of the images that are wanted; all when absent.

        Raises:
            EvaluationError: an image cannot be decoded, or the entry changed meanwhile.
            StorageError: it cannot be read, or the disk is full.
        """
        wanted, identity = np.ones(len(self), dtype=np.bool_), self.digest
        if rows is not None:
            wanted = np.zeros(len(self), dtype=np.bool_)
            wanted[rows] = True
            identity = digest({"entry": self.digest, "rows": hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()})
        count = int(np.count_nonzero(wanted))
        try:
            pixels, _ = SetCache(cache).pixels(identity, self.content.decoded(prepare, wanted), count, prepare)
        except UnreadableImagesError as error:
            raise EvaluationError(
                f"The entry {self.folder} cannot be used: {error}", hint="Leave such images out of the entry."
            ) from error
        except DataFormatError as error:
            raise EvaluationError(f"The entry {self.folder} is damaged: {error.message}", hint=_HINT) from error
        return pixels, pixels_key(identity, prepare)


def open_entry_images(folder: Path, cache: Path | None = None) -> EntryImages:
    """Find an entry's images and read their bytes once, for the digest.

    Args:
        folder: see above.
        cache: where digests of shards are remembered.

    Raises:
        EvaluationError: there are no images or too many, both shards and class folders, or a shard is damaged.
        StorageError: something cannot be read.
    """
    if not folder.is_dir():
        raise EvaluationError(f"There is no folder {folder} of an entry's images.", hint=_HINT)
    with storage_errors("listing", folder):
        below = [path for path in folder.iterdir() if not path.name.startswith(".")]
        shards = any(path.suffix == ".tar" for path in below)
        classes = sorted((path for path in below if path.is_dir()), key=lambda path: path.name)
    if shards and any(_image_paths(path) for path in classes):
        raise EvaluationError(f"{folder} holds shards and class folders: which of them is the entry?", hint=_HINT)
    found = _of_shards(folder, cache) if shards else _of_class_folders(folder, classes)
    if not len(found):
        raise EvaluationError(f"The entry {folder} holds no image.", hint=_HINT)
    if len(found) > MAX_IMAGES:
        raise EvaluationError(
            f"The entry {folder} has {len(found):,} images, more than the {MAX_IMAGES:,} that a result can hold.",
            hint="Give a part of it.",
        )
    return found


def _of_shards(folder: Path, cache: Path | None) -> EntryImages:
    try:
        paths = tuple(shard.path for shard in list_shards(folder).shards)
        labels = [label for path in paths for label in _shard_labels(path)]
    except DataFormatError as error:
        raise EvaluationError(f"The entry {folder} is damaged: {error.message}", hint=_HINT) from error
    with storage_errors("reading", folder):
        identity = SetCache(cache).set_digest(list(paths))
    return EntryImages(folder, identity, np.asarray(labels, dtype=np.int64), None, _Shards(paths))


def _shard_labels(path: Path) -> Iterator[int]:
    with open_tar(path) as buffer:
        for span in scan_samples(buffer, path):
            member = span.members.get("cls")
            if member is None:
                yield WITHOUT_LABEL
                continue
            text = read_payload(buffer, member).strip() if member.size <= _MOST_LABEL_BYTES else b""
            if not text.isdigit() or len(text) > _MOST_DIGITS:
                raise DataFormatError(f"The class of sample {span.key!r} in {path} is not a number.")
            yield int(text)


def _of_class_folders(folder: Path, classes: Sequence[Path]) -> EntryImages:
    paths: list[Path] = []
    labels: list[int] = []
    for label, path in enumerate(classes):
        of_class = _image_paths(path)
        paths += of_class
        labels += [label] * len(of_class)
    names = [path.relative_to(folder).as_posix() for path in paths]
    try:
        "".join(names).encode()
    except UnicodeEncodeError as error:
        raise EvaluationError(f"A file below {folder} has a name that is not UTF-8.", hint="Rename it.") from error
    with storage_errors("reading", folder):
        contents = KnownDigests(None).of(paths, processors())
    return EntryImages(
        folder,
        digest({"images": [list(pair) for pair in zip(names, contents, strict=True)]}),
        np.asarray(labels, dtype=np.int64),
        tuple(path.name for path in classes),
        _Files(folder, tuple(paths)),
    )


def _image_paths(folder: Path) -> list[Path]:
    """Images below a class's folder, hidden ones and other files passed over, as training does."""
    found: list[Path] = []
    with storage_errors("listing", folder):
        for parent, folders, files in os.walk(folder, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [
                Path(parent, name)
                for name in sorted(files)
                if not name.startswith(".") and Path(name).suffix[1:].lower() in IMAGE_EXTENSIONS
            ]
    return found


def _raise(error: OSError) -> None:
    raise error


@dataclass(frozen=True, slots=True)
class _Shards:
    paths: tuple[Path, ...]

    def decoded(self, prepare: Preparation, wanted: NDArray[np.bool_]) -> Decoded:
        return decoded_shards(self.paths, prepare, processors(), wanted)

    def name(self, position: int) -> str:
        before = 0
        for path in self.paths:
            with open_tar(path) as buffer:
                for number, span in enumerate(scan_samples(buffer, path), before):
                    if number == position:
                        return f"{path.name}: {span.key}"
                    before = number + 1
        return f"number {position}"


@dataclass(frozen=True, slots=True)
class _Files:
    folder: Path
    paths: tuple[Path, ...]

    def name(self, position: int) -> str:
        return self.paths[position].relative_to(self.folder).as_posix()

    def decoded(self, prepare: Preparation, wanted: NDArray[np.bool_]) -> Decoded:
        chosen = ((self.name(row), self.paths[row]) for row in np.flatnonzero(wanted).tolist())
        return decoded_files(chosen, prepare, processors())


def require_labels(images: EntryImages) -> None:
    """Refuse images without a class (raises ``EvaluationError``, which names the first)."""
    without = np.flatnonzero(images.labels == WITHOUT_LABEL)
    if len(without):
        try:
            name = images.content.name(int(without[0]))
        except (DataFormatError, StorageError):
            name = f"number {without[0]}"
        raise EvaluationError(
            f"{len(without):,} of {len(images):,} images of the entry {images.folder} have no class, first {name}.",
            hint="Give shards whose samples have a `cls` member, or a folder of images for each class.",
        )
