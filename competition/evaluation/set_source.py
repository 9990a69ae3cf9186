"""The shards of an evaluation set: what their samples say, and their images, both through the cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from competition.data.shards import Sample, read_samples
from competition.errors import DataFormatError, EvaluationError, StorageError
from competition.evaluation.decoding import Pixels, UnreadableImagesError, decoded_shards, processors
from competition.evaluation.images import Preparation
from competition.evaluation.set_cache import Annotations, SetCache, pixels_key
from competition.evaluation.set_columns import ColumnsError, row
from competition.evaluation.set_texts import HINT, text

MAX_SHARDS = 100_000
Split = Literal["train", "val", "test"]


class SetSource:
    """The shards of a part of a set, through the cache.

    Args:
        folder: the set's.
        cache: folder of decoded sets; nothing is read or written when absent.
        split: the part.

    Raises:
        EvaluationError: the number of shards cannot be read, or a shard cannot.
    """

    def __init__(self, folder: Path, cache: Path | None, split: Split = "test") -> None:
        self._folder = folder
        self._shards = shards_of(folder, split)
        self._cache = SetCache(cache)
        self._digest = ""
        if cache is not None:
            try:
                self._digest = self._cache.set_digest(self._shards)
            except OSError as error:
                raise _damaged(folder, f"{error.filename} cannot be read: {error.strerror}.") from error

    def annotations(self, extension: str) -> Annotations:
        """Keys, and the member of this extension of each sample."""
        known = self._cache.annotations(self._digest, extension)
        if known is not None:
            return known
        samples = [
            (sample.key, _decoded_text(self._folder, sample, extension))
            for sample in _samples(self._shards, (extension,), self._folder)
        ]
        if not samples:
            raise EvaluationError(f"The evaluation set {self._folder} holds no sample.", hint=HINT)
        found = Annotations(*(tuple(column) for column in zip(*samples, strict=True)))
        self._cache.keep_annotations(self._digest, extension, found)
        return found

    def images(self, count: int, prepare: Preparation, tolerance: float = 0.0) -> tuple[Pixels, str, tuple[int, ...]]:
        """Prepared images in the order of the set, their identity (empty without a cache), and the positions of those
        that are not among them, since they cannot be decoded.

        Args:
            count: samples of the set.
            prepare: the transform.
            tolerance: share of the samples whose images may be so.
        """
        try:
            decoded = decoded_shards(self._shards, prepare, processors())
            pixels, missing = self._cache.pixels(self._digest, decoded, count, prepare, tolerance)
        except UnreadableImagesError as error:
            raise _damaged(self._folder, str(error)) from error
        except DataFormatError as error:
            raise _damaged(self._folder, error.message) from error
        key = pixels_key(self._digest, prepare) if self._digest else ""
        return pixels, key, tuple(image.position for image in missing)


def shards_of(folder: Path, split: Split) -> list[Path]:
    """The shards that a part of a set should have (raises ``EvaluationError`` when their number cannot be read)."""
    content = text(folder / split / "nshards.txt", "number of shards").strip()
    count = int(content) if content.isascii() and content.isdigit() and len(content) < 9 else 0
    if not 0 < count <= MAX_SHARDS:
        raise EvaluationError(f"{folder / split / 'nshards.txt'} holds {content[:20]!r}, not a number.", hint=HINT)
    return [folder / split / f"{number}.tar" for number in range(count)]


def _samples(shards: list[Path], extensions: tuple[str, ...], folder: Path) -> Iterator[Sample]:
    try:
        for shard in shards:
            yield from read_samples(shard, extensions)
    except (DataFormatError, StorageError) as error:
        raise _damaged(folder, error.message) from error


def _decoded_text(folder: Path, sample: Sample, extension: str) -> str:
    if extension == "npy":
        try:
            return " ".join(map(str, row(sample.members.get(extension, b""))))
        except ColumnsError as error:
            raise unreadable(folder, sample.key, str(error)) from error
    try:
        return sample.members.get(extension, b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise unreadable(folder, sample.key, f"its {extension} is not UTF-8") from error


def unreadable(folder: Path, key: str, reason: str) -> EvaluationError:
    """That a sample of a set cannot be used."""
    return EvaluationError(f"Sample {key!r} of the evaluation set {folder.name} cannot be used: {reason}.", hint=HINT)


def _damaged(folder: Path, reason: str) -> EvaluationError:
    return EvaluationError(f"The evaluation set {folder.name} is damaged: {reason}", hint=HINT)
