"""DataComp's FairFace and UTKFace: images with rows of numbers, and prompts for several classifiers in one file.

Shards as in ``sets``; every line of ``classnames.txt`` and of ``zeroshot_classification_templates.txt`` begins with the
classifier that it is for and a colon, and what follows is taken as it is. Lines of classifiers that nobody scores are
passed over, as DataComp's program does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from competition.errors import EvaluationError
from competition.evaluation.fairness import HEADS, Faces
from competition.evaluation.images import Preparation
from competition.evaluation.set_source import SetSource
from competition.evaluation.set_texts import HINT, lines
from competition.evaluation.sets import MAX_CLASSES, Pixels, load_columns

COLUMNS = ("age", "gender", "race", "race_binary")
"""What the row of an image says, in this order."""


@dataclass(frozen=True)
class Prompts:
    """What the text classifier of a head is made of."""

    class_names: tuple[str, ...]
    templates: tuple[str, ...]


@dataclass(frozen=True)
class FaceSet:
    """Prepared images uint8 [N, S, S, 3] and their key, what is known of each, and the prompts of every head."""

    images: Pixels
    known: Faces
    prompts: Mapping[str, Prompts]
    key: str = ""
    unreadable: tuple[int, ...] = ()


def load_faces(folder: Path, prepare: Preparation, cache: Path | None = None, *, tolerance: float = 0.0) -> FaceSet:
    """Read a set of faces; arguments as those of ``sets.load_classification``.

    Raises:
        EvaluationError: the set is absent, damaged or does not fit together.
    """
    prompts = _prompts(folder)
    columns = load_columns(folder, COLUMNS, cache)
    images, key, missing = SetSource(folder, cache).images(len(columns["race"]), prepare, tolerance)
    readable = {name: np.delete(values, missing) for name, values in columns.items()}
    return FaceSet(images, Faces(**readable), prompts, key, missing)


def _prompts(folder: Path) -> dict[str, Prompts]:
    names = _by_head(folder / "classnames.txt", "class names")
    templates = _by_head(folder / "zeroshot_classification_templates.txt", "prompt templates")
    for head, found in templates.items():
        for template in found:
            if "{c}" not in template:
                raise EvaluationError(
                    f"A prompt template of {head!r} of {folder} has no slot {{c}}: {template!r}.", hint=HINT
                )
    for head, classes in names.items():
        if not 2 <= len(classes) <= MAX_CLASSES:
            raise EvaluationError(f"The classifier {head!r} of {folder} has {len(classes)} class names.", hint=HINT)
    return {head: Prompts(names[head], templates[head]) for head in HEADS}


def _by_head(path: Path, what: str, heads: Collection[str] = HEADS) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {head: [] for head in heads}
    for line in lines(path, what):
        head, colon, rest = line.partition(":")
        if not colon or not rest.strip():
            raise EvaluationError(
                f"{path} has a line that does not name its classifier, {line[:60]!r}.",
                hint="Lines are like `race:White`.",
            )
        if head in found:
            found[head].append(rest)
    for head, own in found.items():
        if not own:
            raise EvaluationError(f"{path} has no {what} of the classifier {head!r}.", hint=HINT)
    return {head: tuple(own) for head, own in found.items()}
