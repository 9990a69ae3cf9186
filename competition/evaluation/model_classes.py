"""Which outputs of a model the classes of a set are: by names, as the model's classes and the set's are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from competition.errors import EvaluationError
from competition.evaluation.inputs import Integers
from competition.evaluation.robustness import class_subset
from competition.evaluation.set_texts import lines

MODEL_CLASSES = "model_classes.txt"
"""In a set's folder: what each of a model's outputs stands for, one a line."""

IMAGENET_CLASSES = 1000

_WORDNET_IDS: Mapping[str, str] = {"wds_imagenet-a_test": "imagenet_a", "wds_imagenet-r_test": "imagenet_r"}
"""DataComp's sets, which have readable names alone; their classes are in the order of their WordNet ids."""


def output_names(classes: int, folder: Path) -> tuple[str, ...]:
    """What a model's outputs stand for.

    A recipe says how many classes there are and not which, so it is the set that says it, in ``model_classes.txt``.
    Without that file 1,000 outputs are ImageNet's classes in the order of their WordNet ids.

    Args:
        classes: outputs of the model.
        folder: the set's.

    Raises:
        EvaluationError: nothing says what they are, or the file is of another number of outputs.
    """
    path = folder / MODEL_CLASSES
    if path.exists():
        names = lines(path, "classes of the model")
        if len(names) != classes:
            raise EvaluationError(
                f"{path} names {len(names)} classes, and the model knows {classes}.",
                hint="Evaluate models that were trained on those classes, or correct the file.",
            )
        return names
    if classes == IMAGENET_CLASSES:
        return _wordnet_ids("imagenet")
    raise EvaluationError(
        f"The model knows {classes} classes, and nothing says which of them the evaluation set {folder.name} has.",
        hint=f"Name what each output stands for in {MODEL_CLASSES} of the set's folder, one a line.",
    )


def outputs_of(classes: int, folder: Path, names: Sequence[str]) -> Integers:
    """Which of a model's outputs are the classes of a set [S].

    Args:
        classes: outputs of the model.
        folder: the set's.
        names: of its classes in the order of their labels: their folders, or the lines of ``classnames.txt``.

    Raises:
        EvaluationError: it cannot be known what the outputs stand for, or the model lacks a class of the set.
    """
    known = output_names(classes, folder)
    published = _WORDNET_IDS.get(folder.name)
    if published is not None and not set(names) <= set(known):
        ids = _wordnet_ids(published)
        if len(ids) != len(names):
            raise EvaluationError(
                f"The evaluation set {folder.name} has {len(names)} classes instead of {len(ids)}.",
                hint="Get the evaluation sets again.",
            )
        names = ids
    return class_subset(known, names)


def _wordnet_ids(name: str) -> tuple[str, ...]:
    """As timm has them, in their order."""
    return tuple((files("timm.data") / "_info" / f"{name}_synsets.txt").read_text("utf-8").split())
