"""Parts of an evaluation set, in whichever layout it lies, and their features."""

from __future__ import annotations

from competition.evaluation.features import LabelledFeatures
from competition.evaluation.image_folder import is_image_folder, load_image_folder
from competition.evaluation.images import Preparation
from competition.evaluation.protocols.case import Case, Encoder
from competition.evaluation.sets import ClassificationSet, Split, load_classification


def labelled(encoder: Encoder, case: Case, split: Split = "test", *, prompts: bool = False) -> ClassificationSet:
    """A part of a set in either layout, shards or a folder for each class, prepared for the encoder."""
    return prepared(case, encoder.preparation, split, prompts=prompts)


def prepared(
    case: Case, preparation: Preparation, split: Split = "test", *, prompts: bool = False
) -> ClassificationSet:
    """The same, prepared as a protocol demands it."""
    if is_image_folder(case.folder):
        return load_image_folder(case.folder, preparation, split, prompts=prompts)
    return load_classification(case.folder, preparation, case.cache, split, prompts=prompts)


def features(encoder: Encoder, case: Case, split: Split) -> tuple[LabelledFeatures, int]:
    """Features of a part of a set, and the number of its classes."""
    data = labelled(encoder, case, split)
    return LabelledFeatures(encoder.encode_images(data.images, key=data.key), data.labels), len(data.class_names)
