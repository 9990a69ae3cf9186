"""Evaluation sets whose images show several classes, or none (VOC 2007), in the layout of ``sets``.

``dataset_type.txt`` says ``multilabel``, and each ``cls`` holds any number of classes with blanks between them, or a
hyphen where the image shows none of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from competition.errors import EvaluationError
from competition.evaluation.images import Preparation
from competition.evaluation.set_source import SetSource
from competition.evaluation.set_texts import templates, text
from competition.evaluation.sets import ClassificationSet, Split, label_of, load_class_names

_HINT = "Get or build the evaluation sets again."


def is_multilabel(folder: Path) -> bool:
    """Whether the images of a set show several classes.

    Raises:
        EvaluationError: the set says of what type it is, and that cannot be read.
    """
    path = folder / "dataset_type.txt"
    return path.exists() and text(path, "type").strip().lower() == "multilabel"


def load_multilabel(
    folder: Path,
    prepare: Preparation,
    cache: Path | None = None,
    split: Split = "test",
    *,
    prompts: bool = True,
    tolerance: float = 0.0,
) -> ClassificationSet:
    """Read such a set; arguments and errors as those of ``load_classification``.

    Returns:
        Labels are int64 [N, C]: 1 for each class that an image shows, else 0.
    """
    if not is_multilabel(folder):
        raise EvaluationError(
            f"The dataset_type.txt of the evaluation set {folder} does not say multilabel.", hint=_HINT
        )
    class_names = load_class_names(folder)
    prompt_templates = templates(folder / "zeroshot_classification_templates.txt") if prompts else ()
    source = SetSource(folder, cache, split)
    noted = source.annotations("cls")
    labels = np.zeros((len(noted.keys), len(class_names)), dtype=np.int64)
    for place, (key, said) in enumerate(zip(noted.keys, noted.texts, strict=True)):
        shown = [] if said.strip() == "-" else said.split() or [""]  # nothing at all is no class, and not none
        for number in shown:
            labels[place, label_of(folder, key, number, len(class_names))] = 1
    images, identity, missing = source.images(len(labels), prepare, tolerance)
    readable = np.delete(labels, missing, axis=0)
    return ClassificationSet(images, readable, class_names, prompt_templates, identity, unreadable=missing)
