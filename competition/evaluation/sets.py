"""Evaluation sets in CLIP_benchmark's webdataset layout, decoded once for all entries.

``<root>/<set>/`` holds ``test/nshards.txt`` and ``test/{0..n-1}.tar`` of images (webp, png or jpg) with a ``cls`` each,
``classnames.txt`` and ``zeroshot_classification_templates.txt`` (one a line, ``{c}`` stands for the class); or, with
``dataset_type.txt`` saying ``retrieval``, images with a ``txt`` of one caption a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation.decoding import Pixels
from competition.evaluation.images import Preparation
from competition.evaluation.made_sets import DIGITS_SUITES
from competition.evaluation.set_cache import CACHE_FOLDER
from competition.evaluation.set_source import SetSource, Split, unreadable
from competition.evaluation.set_texts import HINT, lines, templates, text
from competition.progress import ProgressHook

__all__ = [
    "CACHE_FOLDER",
    "ClassificationSet",
    "Pixels",
    "RetrievalSet",
    "Split",
    "ensure_sets",
    "load_class_names",
    "load_classification",
    "load_columns",
    "load_labels",
    "load_retrieval",
]

MAX_CLASSES = 100_000


@dataclass(frozen=True)
class ClassificationSet:
    """Prepared images uint8 [N, S, S, 3], labels int64 [N], and what the text classifier is made of.

    ``key`` is the identity of the pixels, under which an encoder remembers their features; empty without a cache.
    ``folders`` are the classes' folders, where the set has such, which may be called otherwise than the classes.
    ``unreadable`` are the positions of samples that the set has and that are not among the N: their images cannot be
    decoded.
    """

    images: Pixels
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    key: str = ""
    folders: tuple[str, ...] = ()
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
    class_names = load_class_names(folder)
    prompt_templates = templates(folder / "zeroshot_classification_templates.txt") if prompts else ()
    source = SetSource(folder, cache, split)
    labels = _labels(source, folder, len(class_names))
    images, key, missing = source.images(len(labels), prepare, tolerance)
    readable = np.delete(labels, missing)
    return ClassificationSet(images, readable, class_names, prompt_templates, key, unreadable=missing)


def load_labels(
    folder: Path, cache: Path | None = None, split: Split = "test"
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The labels int64 [N] and class names of a classification set; its images are not decoded.

    Errors as of ``load_classification``.
    """
    class_names = load_class_names(folder)
    return _labels(SetSource(folder, cache, split), folder, len(class_names)), class_names


def _labels(source: SetSource, folder: Path, classes: int) -> NDArray[np.int64]:
    noted = source.annotations("cls")
    labels = [label_of(folder, key, said, classes) for key, said in zip(noted.keys, noted.texts, strict=True)]
    return np.asarray(labels, dtype=np.int64)


def load_class_names(folder: Path) -> tuple[str, ...]:
    """The names of a set's classes in order (raises ``EvaluationError`` where there are none)."""
    class_names = lines(folder / "classnames.txt", "class names")
    if len(class_names) < 2 or len(class_names) > MAX_CLASSES:
        raise EvaluationError(f"The evaluation set {folder} has {len(class_names)} class names.", hint=HINT)
    return class_names


def load_retrieval(
    folder: Path, prepare: Preparation, cache: Path | None = None, *, tolerance: float = 0.0
) -> RetrievalSet:
    """Read a retrieval set; arguments and errors as those of ``load_classification``."""
    kind = text(folder / "dataset_type.txt", "type").strip().lower()
    if kind != "retrieval":
        raise EvaluationError(f"The evaluation set {folder} is of type {kind!r} instead of retrieval.", hint=HINT)
    source = SetSource(folder, cache)
    noted = source.annotations("txt")
    captions = tuple(_captions(folder, key, said) for key, said in zip(noted.keys, noted.texts, strict=True))
    images, key, missing = source.images(len(captions), prepare, tolerance)
    left_out = frozenset(missing)
    readable = tuple(texts for position, texts in enumerate(captions) if position not in left_out)
    return RetrievalSet(images, readable, key, missing)


def load_columns(folder: Path, names: Sequence[str], cache: Path | None = None) -> dict[str, NDArray[np.int64]]:
    """The named columns [N] of the rows of whole numbers that a set's samples have (``npy`` members).

    Raises:
        EvaluationError: a sample has no such row, or one of another length.
    """
    noted = SetSource(folder, cache).annotations("npy")
    rows = [[int(value) for value in said.split()] for said in noted.texts]
    for key, values in zip(noted.keys, rows, strict=True):
        if len(values) != len(names):
            raise unreadable(folder, key, f"its npy has {len(values)} numbers instead of {len(names)}")
    table = np.array(rows, dtype=np.int64)
    return {name: table[:, place] for place, name in enumerate(names)}


def label_of(folder: Path, key: str, said: str, classes: int) -> int:
    """The class that the sample ``key`` says it is of (raises ``EvaluationError`` when that is none)."""
    content = said.strip()
    if not (content.isascii() and content.isdigit()) or len(content) > 9:
        raise unreadable(folder, key, "its class is not a number")
    label = int(content)
    if label >= classes:
        raise unreadable(folder, key, f"class {label} is not one of {classes}")
    return label


def _captions(folder: Path, key: str, said: str) -> tuple[str, ...]:
    captions = tuple(said.splitlines())
    if not captions:
        raise unreadable(folder, key, "it has no caption")
    return captions


def _build_digits(root: Path, progress: ProgressHook) -> None:
    from competition.catalog.digits.testsets import build_evaluation_sets

    build_evaluation_sets(root, progress)


# Suites whose sets are made from code instead of downloaded.
_BUILDERS = dict.fromkeys(DIGITS_SUITES, _build_digits)


def ensure_sets(suite_id: str, root: Path, progress: ProgressHook | None = None) -> None:
    """Build the sets of a suite below ``root`` when they are made from code and not there yet."""
    if suite_id in _BUILDERS:
        _BUILDERS[suite_id](root, progress or (lambda _progress: None))
