"""Evaluation sets whose images show several classes, or none (VOC 2007), in the layout of ``sets``.

``dataset_type.txt`` says ``multilabel``, and each ``cls`` holds any number of classes with blanks between them, or a
hyphen where the image shows none of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from competition.errors import EvaluationError
from competition.evaluation.images import Preparation
from competition.evaluation.sets import MAX_CLASSES, ClassificationSet, Split, _label, _lines, _Source, _text

_HINT = "Get or build the evaluation sets again."


def is_multilabel(folder: Path) -> bool:
    """Whether the images of a set show several classes.

    Raises:
        EvaluationError: the set says of what type it is, and that cannot be read.
    """
    path = folder / "dataset_type.txt"
    return path.exists() and _text(path, "type").strip().lower() == "multilabel"


def load_multilabel(
    folder: Path, prepare: Preparation, cache: Path | None = None, split: Split = "test", *, prompts: bool = True
) -> ClassificationSet:
    """Read such a set; arguments and errors as those of ``load_classification``.

    Returns:
        Labels are int64 [N, C]: 1 for each class that an image shows, else 0.
    """
    if not is_multilabel(folder):
        raise EvaluationError(
            f"The dataset_type.txt of the evaluation set {folder} does not say multilabel.", hint=_HINT
        )
    class_names = _lines(folder / "classnames.txt", "class names")
    templates = _lines(folder / "zeroshot_classification_templates.txt", "prompt templates") if prompts else ()
    if len(class_names) < 2 or len(class_names) > MAX_CLASSES:
        raise EvaluationError(f"The evaluation set {folder} has {len(class_names)} class names.", hint=_HINT)
    source = _Source(folder, cache, split)
    noted = source.annotations("cls")
    labels = np.zeros((len(noted.keys), len(class_names)), dtype=np.int64)
    for place, (key, text) in enumerate(zip(noted.keys, noted.texts, strict=True)):
        shown = [] if text.strip() == "-" else text.split() or [""]  # nothing at all is no class, and not none
        for number in shown:
            labels[place, _label(folder, key, number, len(class_names))] = 1
    images, identity = source.images(len(labels), prepare)
    return ClassificationSet(images, labels, class_names, templates, identity)
