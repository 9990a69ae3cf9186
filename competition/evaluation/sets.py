"""Evaluation sets in CLIP_benchmark's webdataset layout, decoded once for all entries.

``<root>/<set>/`` holds ``test/nshards.txt`` and ``test/{0..n-1}.tar`` of images (webp, png or jpg) with a ``cls`` each,
``classnames.txt`` and ``zeroshot_classification_templates.txt`` (one a line, ``{c}`` stands for the class); or, with
``dataset_type.txt`` saying ``retrieval``, images with a ``txt`` of one caption a line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.canonical import digest
from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder
from competition.data.digests import file_sha256
from competition.data.shards import Sample, read_samples
from competition.errors import DataFormatError, EvaluationError, StorageError
from competition.evaluation.images import IMAGE_EXTENSIONS, ImageDecodingError, Preparation, decode_rgb
from competition.progress import ProgressHook

CACHE_FOLDER = ".decoded"
MAX_SHARDS = 100_000
MAX_CLASSES = 100_000
_MAX_TEXT_BYTES = 64 * 2**20
_HINT = "Get or build the evaluation sets again."

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ClassificationSet:
    """Prepared images uint8 [N, S, S, 3], labels int64 [N], and what the text classifier is made of."""

    images: Pixels
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    templates: tuple[str, ...]


@dataclass(frozen=True)
class RetrievalSet:
    """Prepared images uint8 [N, S, S, 3] and one or more captions of each."""

    images: Pixels
    captions: tuple[tuple[str, ...], ...]


def load_classification(folder: Path, prepare: Preparation, cache: Path | None = None) -> ClassificationSet:
    """Read a classification set.

    Args:
        folder: the set's.
        prepare: decoded images are brought to its size.
        cache: folder of decoded sets; none are read or written when absent.

    Raises:
        EvaluationError: the set is absent, damaged or does not fit together.
    """
    class_names = _lines(folder / "classnames.txt", "class names")
    templates = _lines(folder / "zeroshot_classification_templates.txt", "prompt templates")
    if len(class_names) < 2 or len(class_names) > MAX_CLASSES:
        raise EvaluationError(f"The evaluation set {folder} has {len(class_names)} class names.", hint=_HINT)
    for template in templates:
        if "{c}" not in template:
            raise EvaluationError(f"A prompt template of {folder} has no slot {{c}}: {template!r}.", hint=_HINT)
    shards = _shards(folder)
    labels = [_label(sample, len(class_names), folder) for sample in _samples(shards, ("cls",), folder)]
    images = _images(folder, shards, len(labels), prepare, cache)
    return ClassificationSet(images, np.asarray(labels, dtype=np.int64), class_names, templates)


def load_retrieval(folder: Path, prepare: Preparation, cache: Path | None = None) -> RetrievalSet:
    """Read a retrieval set; arguments and errors as those of ``load_classification``."""
    kind = _text(folder / "dataset_type.txt", "type").strip().lower()
    if kind != "retrieval":
        raise EvaluationError(f"The evaluation set {folder} is of type {kind!r} instead of retrieval.", hint=_HINT)
    shards = _shards(folder)
    captions = tuple(_captions(sample, folder) for sample in _samples(shards, ("txt",), folder))
    return RetrievalSet(_images(folder, shards, len(captions), prepare, cache), captions)


def _shards(folder: Path) -> list[Path]:
    content = _text(folder / "test" / "nshards.txt", "number of shards").strip()
    count = int(content) if content.isascii() and content.isdigit() and len(content) < 9 else 0
    if not 0 < count <= MAX_SHARDS:
        raise EvaluationError(f"{folder / 'test' / 'nshards.txt'} holds {content[:20]!r}, not a number.", hint=_HINT)
    return [folder / "test" / f"{number}.tar" for number in range(count)]


def _samples(shards: list[Path], extensions: tuple[str, ...], folder: Path) -> Iterator[Sample]:
    try:
        for shard in shards:
            yield from read_samples(shard, extensions)
    except (DataFormatError, StorageError) as error:
        raise EvaluationError(f"The evaluation set {folder.name} is damaged: {error.message}", hint=_HINT) from error


def _images(folder: Path, shards: list[Path], count: int, prepare: Preparation, cache: Path | None) -> Pixels:
    """Prepared images in the order of the set, from the cache when it has them."""
    if not count:
        raise EvaluationError(f"The evaluation set {folder} holds no sample.", hint=_HINT)
    if cache is None:
        return _decoded(folder, shards, count, prepare)
    content = [[shard.name, file_sha256(shard)] for shard in shards]
    path = cache / f"{digest({'shards': content, **prepare.identity})}.npy"
    shape = (count, prepare.size, prepare.size, 3)
    known = _cached(path, shape)
    if known is not None:
        return known
    images = _decoded(folder, shards, count, prepare)
    if _writable(cache):
        with atomic_writer(path) as stream:
            write_npy(stream, images)
    return images


def _cached(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    try:
        images: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _writable(cache: Path) -> bool:
    """A cache that may not be written (sets shared read-only) is simply not filled."""
    try:
        make_folder(cache)
    except StorageError:
        return False
    return os.access(cache, os.W_OK)


def _decoded(folder: Path, shards: list[Path], count: int, prepare: Preparation) -> Pixels:
    images = np.empty((count, prepare.size, prepare.size, 3), dtype=np.uint8)
    for position, sample in enumerate(_samples(shards, IMAGE_EXTENSIONS, folder)):
        data = next((sample.members[name] for name in IMAGE_EXTENSIONS if name in sample.members), None)
        try:
            if data is None:
                raise ImageDecodingError("it has no image")
            images[position] = prepare(decode_rgb(data))
        except ImageDecodingError as error:
            raise _unreadable(sample, folder, str(error)) from error
    return images


def _label(sample: Sample, classes: int, folder: Path) -> int:
    content = sample.members.get("cls", b"").strip()
    if not content.isdigit() or len(content) > 9:
        raise _unreadable(sample, folder, "its class is not a number")
    label = int(content)
    if label >= classes:
        raise _unreadable(sample, folder, f"class {label} is not one of {classes}")
    return label


def _captions(sample: Sample, folder: Path) -> tuple[str, ...]:
    try:
        captions = tuple(sample.members.get("txt", b"").decode("utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise _unreadable(sample, folder, "its captions are not UTF-8") from error
    if not captions:
        raise _unreadable(sample, folder, "it has no caption")
    return captions


def _unreadable(sample: Sample, folder: Path, reason: str) -> EvaluationError:
    return EvaluationError(
        f"Sample {sample.key!r} of the evaluation set {folder.name} cannot be used: {reason}.", hint=_HINT
    )


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
_BUILDERS = {"digits": _build_digits}


def ensure_sets(suite_id: str, root: Path, progress: ProgressHook | None = None) -> None:
    """Build the sets of a suite below ``root`` when they are made from code and not there yet."""
    if suite_id in _BUILDERS:
        _BUILDERS[suite_id](root, progress or (lambda _progress: None))
