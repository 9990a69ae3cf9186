"""Sets of images: a folder of picture files or of shards; read once, to pixels of one size or to descriptors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import competition
from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder, storage_errors
from competition.data.engine import Workers, engine_of
from competition.data.journal import Journal
from competition.data.shards import list_shards, read_samples
from competition.data.uids import parse_uid
from competition.errors import DataFormatError, UsageError
from competition.progress import ProgressHook

SIDE = 256
"""ImageNetV2's: images are squashed to a square, whatever their shape."""

IMAGE_EXTENSIONS = ("webp", "png", "jpg", "jpeg")

_FILES_A_TASK = 256


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Where the images of a set are.

    Args:
        root: the folder.
        parts: by name: a shard, or some picture files.
    """

    root: Path
    parts: Mapping[str, tuple[Path, ...]]

    @classmethod
    def of(cls, root: Path) -> ImageSet:
        """The images of a folder: of its tars if it has any (an evaluation set's are in ``test/``), else all picture
        files in it and below.

        Raises:
            DataFormatError: it holds neither.
            StorageError: it cannot be read.
        """
        with storage_errors("listing the image folder", root):
            names = [path.name for path in root.iterdir()]
            tests = list((root / "test").glob("*.tar"))
        if any(name.endswith(".tar") for name in names) or tests:
            folder = root / "test" if tests else root
            return cls(root, {shard.name: (shard.path,) for shard in list_shards(folder).shards})
        files = sorted(path for path in root.rglob("*") if path.suffix[1:].lower() in IMAGE_EXTENSIONS)
        if not files:
            raise DataFormatError(f"The folder {root} holds no image and no shard.")
        starts = range(0, len(files), _FILES_A_TASK)
        return cls(root, {f"{start:09d}": tuple(files[start : start + _FILES_A_TASK]) for start in starts})

    def images(self, part: str) -> Iterator[tuple[str, bytes | None]]:
        """What each image of a part is called (a file's path below the folder; a sample's uid, or shard and key without
        one), and its bytes, if there are any."""
        for path in self.parts[part]:
            if path.suffix != ".tar":
                with storage_errors("reading", path):
                    yield path.relative_to(self.root).as_posix(), path.read_bytes()
                continue
            for sample in read_samples(path, {*IMAGE_EXTENSIONS, "json"}):
                data = next((sample.members[name] for name in IMAGE_EXTENSIONS if name in sample.members), None)
                yield _uid(sample.members.get("json")) or f"{path.stem}/{sample.key}", data

    def state(self) -> str:
        """Changes when a file of the set does."""
        files = [path for paths in self.parts.values() for path in paths]
        states = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return hashlib.sha256(json.dumps([competition.__version__, states]).encode()).hexdigest()


def _uid(content: bytes | None) -> str | None:
    try:
        upper, lower = parse_uid(json.loads(content or b"")["uid"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DataFormatError):
        return None
    return f"{upper:016x}{lower:016x}"


@dataclass(frozen=True, slots=True)
class ReadSet:
    """A set that was read.

    Args:
        ids: of the images that could be decoded.
        parts: files of arrays, one row for each of them, one file behind the other.
        undecodable: how many others there are.
    """

    ids: list[str]
    parts: tuple[Path, ...]
    undecodable: int

    def arrays(self) -> list[NDArray[Any]]:
        """The rows, memory-mapped."""
        return [np.load(path, mmap_mode="r", allow_pickle=False) for path in self.parts]


@dataclass(frozen=True, slots=True)
class Reading:
    """To what images are read: ``pixels`` uint8 (side, side, 3), ``fc7`` or ``thumbnail`` descriptors float32.

    Args:
        kind: one of these.
        side: of pixels.
        weights: of VGG-16, for ``fc7``.
    """

    kind: str
    side: int = SIDE
    weights: Path | None = None


def read_set(
    images: ImageSet, reading: Reading, folder: Path, workers: Workers = 1, progress: ProgressHook | None = None
) -> ReadSet:
    """Decode every image of a set once; what is finished is not done again.

    Args:
        images: the set.
        reading: to what.
        folder: where the arrays go.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every part.

    Raises:
        UsageError: none can be decoded.
        DataFormatError: a shard is damaged.
        StorageError: a path cannot be read or written.
    """
    make_folder(folder)
    journal = Journal(folder / "journal.jsonl", f"{images.state()} {reading}")
    for name in journal.completed:
        if not _array_path(folder, name).exists():
            journal.forget(name)
    tasks = {name: name for name in images.parts}
    results = engine_of(workers).map(
        partial(_read_part, images, reading, folder), tasks, stage="decoding", journal=journal, progress=progress
    )
    ids = [name for result in results.values() for name in result["ids"]]
    undecodable = sum(result["undecodable"] for result in results.values())
    if not ids:
        raise UsageError(f"None of the {undecodable:,} images of {images.root} can be decoded.")
    return ReadSet(ids, tuple(_array_path(folder, name) for name in images.parts), undecodable)


def _array_path(folder: Path, part: str) -> Path:
    return folder / f"{part}.npy"


def _read_part(images: ImageSet, reading: Reading, folder: Path, part: str) -> dict[str, Any]:
    from competition.evaluation.images import ImageDecodingError, decode_rgb

    ids: list[str] = []
    rows: list[NDArray[Any]] = []
    undecodable = 0
    for name, data in images.images(part):
        try:
            if data is None:
                raise ImageDecodingError("there is none")
            row = _read_image(decode_rgb(data), reading)
        except ImageDecodingError:
            undecodable += 1
            continue
        ids.append(name)
        rows.append(row)
    with atomic_writer(_array_path(folder, part)) as stream:
        write_npy(stream, np.stack(rows) if rows else np.zeros((0, 1), np.uint8))
    return {"ids": ids, "undecodable": undecodable}


def _read_image(image: Any, reading: Reading) -> NDArray[Any]:
    from PIL.Image import Resampling

    if reading.kind == "thumbnail":
        from competition.evaluation.copy_descriptors import copy_descriptors

        descriptor: NDArray[Any] = copy_descriptors([image])[0]
        return descriptor
    side = FC7_SIDE if reading.kind == "fc7" else reading.side
    if image.size != (side, side):
        image = image.resize((side, side), Resampling.BILINEAR)
    pixels: NDArray[Any] = np.asarray(image)
    if reading.kind == "fc7":
        from participant_kit.dedup.fc7 import fc7_features

        assert reading.weights is not None
        features: NDArray[Any] = fc7_features(pixels[None], reading.weights)[0]
        return features
    return pixels


FC7_SIDE = 224


def stacked(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Features of several parts as one array."""
    full = [part for part in parts if len(part)]
    return full[0] if len(full) == 1 else np.concatenate(full)
