"""Parts of an evaluation set, in whichever layout it lies, and their features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from competition.evaluation.features import LabelledFeatures
from competition.evaluation.image_folder import is_image_folder, load_image_folder
from competition.evaluation.images import Preparation
from competition.evaluation.multilabel import is_multilabel, load_multilabel
from competition.evaluation.protocols.case import Case, Encoder
from competition.evaluation.sets import (
    ClassificationSet,
    RetrievalSet,
    Split,
    load_classification,
    load_columns,
    load_retrieval,
)


def labelled(encoder: Encoder, case: Case, split: Split = "test", *, prompts: bool = False) -> ClassificationSet:
    """A part of a set in either layout, shards or a folder for each class, prepared for the encoder.

    The task says which part holds the test images (``Task.part``): ``split`` is ``test`` for these, wherever they lie.
    Of them, the task tolerates a share that cannot be decoded; of those that are trained on, none.
    """
    return prepared(case, encoder.preparation, split, prompts=prompts)


def prepared(case: Case, prepare: Preparation, split: Split = "test", *, prompts: bool = False) -> ClassificationSet:
    """The same, prepared as a protocol demands it."""
    part, tolerance = _part(case, split)
    if is_image_folder(case.folder):
        data = load_image_folder(case.folder, prepare, part, prompts=prompts, cache=case.cache, tolerance=tolerance)
    else:
        data = load_classification(case.folder, prepare, case.cache, part, prompts=prompts, tolerance=tolerance)
    return _noted(case, data, split)


def with_several_classes(
    encoder: Encoder, case: Case, split: Split = "test", *, prompts: bool = False
) -> ClassificationSet:
    """As ``labelled``, for protocols that take several classes an image: of such sets, labels are [N, C]."""
    if not is_multilabel(case.folder):
        return labelled(encoder, case, split, prompts=prompts)
    part, tolerance = _part(case, split)
    data = load_multilabel(case.folder, encoder.preparation, case.cache, part, prompts=prompts, tolerance=tolerance)
    return _noted(case, data, split)


def _part(case: Case, split: Split) -> tuple[Split, float]:
    """Where the images lie, and the share of them that may be undecodable."""
    return (case.task.part, case.task.unreadable_tolerance) if split == "test" else (split, 0.0)


def _noted(case: Case, data: ClassificationSet, split: Split) -> ClassificationSet:
    if split == "test":
        case.notes.class_names, case.notes.unreadable = data.class_names, len(data.unreadable)
    return data


def captioned(encoder: Encoder, case: Case) -> RetrievalSet:
    """The images of a retrieval set with their captions, prepared for the encoder; see ``labelled``."""
    tolerance = case.task.unreadable_tolerance
    data = load_retrieval(case.folder, encoder.preparation, case.cache, tolerance=tolerance)
    case.notes.unreadable = len(data.unreadable)
    return data


def columns(case: Case, names: Sequence[str], data: ClassificationSet) -> dict[str, NDArray[np.int64]]:
    """The named columns [N] of the rows of numbers beside the test images ``data``, which ``labelled`` read."""
    rows = load_columns(case.folder, names, case.cache)
    return {name: np.delete(values, data.unreadable) for name, values in rows.items()}


def features(encoder: Encoder, case: Case, split: Split) -> tuple[LabelledFeatures, int]:
    """Features of a part of a set, and the number of its classes."""
    data = labelled(encoder, case, split)
    return LabelledFeatures(encoder.encode_images(data.images, key=data.key), data.labels), len(data.class_names)
