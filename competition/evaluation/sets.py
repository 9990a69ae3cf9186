"""Evaluation sets in CLIP_benchmark's webdataset layout, decoded once for all entries.

``<root>/<set>/`` holds ``test/nshards.txt`` and ``test/{0..n-1}.tar`` of images (webp, png or jpg) with a ``cls`` each,
``classnames.txt`` and ``zeroshot_classification_templates.txt`` (one a line, ``{c}`` stands for the class); or, with
``dataset_type.txt`` saying ``retrieval``, images with a ``txt`` of one caption a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from competition.data.shards import Sample, read_samples
from competition.errors import DataFormatError, EvaluationError, StorageError
from competition.evaluation.decoding import Pixels, UnreadableImagesError
from competition.evaluation.images import Preparation
from competition.evaluation.set_cache import CACHE_FOLDER, Annotations, SetCache, pixels_key
from competition.evaluation.set_columns import ColumnsError, row
from competition.progress import ProgressHook

__all__ = [
    "CACHE_FOLDER",
    "ClassificationSet",
    "Pixels",
    "RetrievalSet",
    "ensure_sets",
    "load_classification",
    "load_columns",
    "load_retrieval",
]

MAX_SHARDS = 100_000
MAX_CLASSES = 100_000
_MAX_TEXT_BYTES = 64 * 2**20
_HINT = "Get or build the evaluation sets again."


Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class ClassificationSet:
    """Prepared images uint8 [N, S, S, 3], labels int64 [N], and what the text classifier is made of.

    ``key`` is the identity of the pixels, under which an encoder remembers their features; empty without a cache.
    ``unreadable`` are the positions of samples that the set has and that are not among the N: their images cannot be
    decoded.
    """

    images: Pixels
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    key: str = ""
    unreadable: tuple[int, ...] = ()


@dataclass(frozen=True)
class RetrievalSet:
    """Prepared images uint8 [N, S, S, 3] and one or more captions of each; the rest as of ``ClassificationSet``."""

    images: Pixels
    captions: tuple[tuple[str, ...], ...]
    key: str = ""
    unreadable: tuple[int, ...] = ()


def load_classification(
    folder: Path,
    prepare: Preparation,
    cache: Path | None = None,
    split: Split = "test",
    *,
    prompts: bool = True,
    tolerance: float = 0.0,
) -> ClassificationSet:
    """Read a classification set.

    Args:
        folder: the set's.
        prepare: decoded images are brought to its size.
        cache: folder of decoded sets; none are read or written when absent.
        split: the part of the set; only those that are trained on have others than ``test``.
        prompts: the protocol needs prompt templates; otherwise none are read, and the set may have none.
        tolerance: share of the images that may be undecodable, and are left out then.

    Raises:
        EvaluationError: the set is absent, damaged or does not fit together.
    """
    class_names = _lines(folder / "classnames.txt", "class names")
    templates = _lines(folder / "zeroshot_classification_templates.txt", "prompt templates") if prompts else ()
    if len(class_names) < 2 or len(class_names) > MAX_CLASSES:
        raise EvaluationError(f"The evaluation set {folder} has {len(class_names)} class names.", hint=_HINT)
    for template in templates:
        if "{c}" not in template:
            raise EvaluationError(f"A prompt template of {folder} has no slot {{c}}: {template!r}.", hint=_HINT)
    source = _Source(folder, cache, split)
    noted = source.annotations("cls")
    labels = [_label(folder, key, text, len(class_names)) for key, text in zip(noted.keys, noted.texts, strict=True)]
    images, key, unreadable = source.images(len(labels), prepare, tolerance)
    readable = np.delete(np.asarray(labels, dtype=np.int64), unreadable)
    return ClassificationSet(images, readable, class_names, templates, key, unreadable)


def load_retrieval(
    folder: Path, prepare: Preparation, cache: Path | None = None, *, tolerance: float = 0.0
) -> RetrievalSet:
    """Read a retrieval set; arguments and errors as those of ``load_classification``."""
    kind = _text(folder / "dataset_type.txt", "type").strip().lower()
    if kind != "retrieval":
        raise EvaluationError(f"The evaluation set {folder} is of type {kind!r} instead of retrieval.", hint=_HINT)
    source = _Source(folder, cache)
    noted = source.annotations("txt")
    captions = tuple(_captions(folder, key, text) for key, text in zip(noted.keys, noted.texts, strict=True))
    images, key, unreadable = source.images(len(captions), prepare, tolerance)
    left_out = frozenset(unreadable)
    readable = tuple(texts for position, texts in enumerate(captions) if position not in left_out)
    return RetrievalSet(images, readable, key, unreadable)


def load_columns(folder: Path, names: Sequence[str], cache: Path | None = None) -> dict[str, NDArray[np.int64]]:
    """The named columns [N] of the rows of whole numbers that a set's samples have (``npy`` members).

    Raises:
        EvaluationError: a sample has no such row, or one of another length.
    """
    noted = _Source(folder, cache).annotations("npy")
    rows = [[int(value) for value in text.split()] for text in noted.texts]
    for key, values in zip(noted.keys, rows, strict=True):
        if len(values) != len(names):
            raise _unreadable(folder, key, f"its npy has {len(values)} numbers instead of {len(names)}")
    table = np.array(rows, dtype=np.int64)
    return {name: table[:, place] for place, name in enumerate(names)}


class _Source:
    """The shards of a set, through the cache."""

    def __init__(self, folder: Path, cache: Path | None, split: Split = "test") -> None:
        self._folder = folder
        self._shards = _shards(folder, split)
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
            raise EvaluationError(f"The evaluation set {self._folder} holds no sample.", hint=_HINT)
        found = Annotations(*(tuple(column) for column in zip(*samples, strict=True)))
        self._cache.keep_annotations(self._digest, extension, found)
        return found

    def images(self, count: int, prepare: Preparation, tolerance: float) -> tuple[Pixels, str, tuple[int, ...]]:
        """Prepared images in the order of the set, their identity (empty without a cache), and who is missing."""
        try:
            pixels, unreadable = self._cache.pixels(self._digest, self._shards, count, prepare, tolerance)
        except UnreadableImagesError as error:
            raise EvaluationError(f"The evaluation set {self._folder.name} is damaged: {error}", hint=_HINT) from error
        except DataFormatError as error:
            raise _damaged(self._folder, error.message) from error
        key = pixels_key(self._digest, prepare) if self._digest else ""
        return pixels, key, tuple(image.position for image in unreadable)


def _shards(folder: Path, split: Split) -> list[Path]:
    content = _text(folder / split / "nshards.txt", "number of shards").strip()
    count = int(content) if content.isascii() and content.isdigit() and len(content) < 9 else 0
    if not 0 < count <= MAX_SHARDS:
        raise EvaluationError(f"{folder / split / 'nshards.txt'} holds {content[:20]!r}, not a number.", hint=_HINT)
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
            raise _unreadable(folder, sample.key, str(error)) from error
    try:
        return sample.members.get(extension, b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable(folder, sample.key, f"its {extension} is not UTF-8") from error


def _label(folder: Path, key: str, text: str, classes: int) -> int:
    content = text.strip()
    if not (content.isascii() and content.isdigit()) or len(content) > 9:
        raise _unreadable(folder, key, "its class is not a number")
    label = int(content)
    if label >= classes:
        raise _unreadable(folder, key, f"class {label} is not one of {classes}")
    return label


def _captions(folder: Path, key: str, text: str) -> tuple[str, ...]:
    captions = tuple(text.splitlines())
    if not captions:
        raise _unreadable(folder, key, "it has no caption")
    return captions


def _unreadable(folder: Path, key: str, reason: str) -> EvaluationError:
    return EvaluationError(f"Sample {key!r} of the evaluation set {folder.name} cannot be used: {reason}.", hint=_HINT)


def _damaged(folder: Path, reason: str) -> EvaluationError:
    return EvaluationError(f"The evaluation set {folder.name} is damaged: {reason}", hint=_HINT)


def _lines(path: Path, what: str) -> tuple[str, ...]:
    lines = tuple(line.strip() for line in _text(path, what).splitlines() if line.strip())
    if not lines:
        raise EvaluationError(f"{path} holds no {what}.", hint=_HINT)
    return lines


def _text(path: Path, what: str) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_TEXT_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"The {what} of an evaluation set cannot be read from {path}.", hint=_HINT) from error


def _build_digits(root: Path, progress: ProgressHook) -> None:
    from competition.catalog.digits.testsets import build_evaluation_sets

    build_evaluation_sets(root, progress)


# Suites whose sets are made from code instead of downloaded.
_BUILDERS = dict.fromkeys(("digits", "digits-classification", "digits-features"), _build_digits)


def ensure_sets(suite_id: str, root: Path, progress: ProgressHook | None = None) -> None:
    """Build the sets of a suite below ``root`` when they are made from code and not there yet."""
    if suite_id in _BUILDERS:
        _BUILDERS[suite_id](root, progress or (lambda _progress: None))
