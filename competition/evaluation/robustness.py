"""How a classifier of ImageNet's classes holds on other images: the out-of-distribution sets that SELECT scores.

ImageNet-V2 and -Sketch ask for all 1,000 classes (``classification.score``), and so does Stylized-ImageNet. ImageNet-A
and -R have 200 of them, ImageNet-O none (natural adversarial examples, arXiv 1907.07174; renditions, arXiv 2006.16241),
ObjectNet has classes of its own. ImageNet-C is ImageNet's validation set, corrupted in 15 ways at 5 severities
(arXiv 1903.12261). All are read as they were published; nothing here corrupts or stylises an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from competition.errors import EmptySetError, EvaluationError, LabelRangeError
from competition.evaluation import classification
from competition.evaluation.classification import Components, Floats, merged, outcome
from competition.evaluation.inputs import Integers, checked_labels, checked_scores
from competition.evaluation.outcome import ProtocolOutcome

UNMAPPED = -1
SEVERITIES = (1, 2, 3, 4, 5)
ALEXNET_ERRORS = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""AlexNet's error under each of the benchmark's 15 corruptions, mean over severities, as published with ImageNet-C."""


def class_subset(model_classes: Sequence[str], set_classes: Sequence[str]) -> Integers:
    """Which of a model's outputs the classes of a set are [S], in the set's order.

    Args:
        model_classes: what each output stands for, for instance WordNet ids in their order.
        set_classes: classes of the set: the names of its folders, sorted.

    Raises:
        EmptySetError: the set has no class.
        LabelRangeError: one is not among the model's, or either list names one twice.
    """
    if not set_classes:
        raise EmptySetError("The evaluation set has no class.")
    for classes, whose in ((model_classes, "model"), (set_classes, "evaluation set")):
        if len(set(classes)) != len(classes):
            raise LabelRangeError(f"The {whose} has a class twice.")
    place = {name: position for position, name in enumerate(model_classes)}
    unknown = [name for name in set_classes if name not in place]
    if unknown:
        raise LabelRangeError(
            f"The model lacks {len(unknown)} classes of the evaluation set, first of all {unknown[0]!r}."
        )
    return np.array([place[name] for name in set_classes], dtype=np.int64)


def masked(logits: ArrayLike, labels: ArrayLike, subset: ArrayLike) -> ProtocolOutcome:
    """ImageNet-A and -R: accuracies where only the set's classes may be answered.

    Args:
        logits: of all classes of the model [N, C].
        labels: the right class of every sample [N], a position in ``subset``.
        subset: the model's outputs that are classes of the set [S].

    Raises:
        EmptySetError: there is no sample, or no class.
        LabelRangeError: a label or an output is out of range.
        ModelOutputError: a score is not finite.
        EvaluationError: the arrays do not fit together.
    """
    scores = checked_scores(logits, len(np.atleast_1d(np.asarray(labels))))
    outputs = checked_labels(subset, scores.shape[1], "class of the set")
    return classification.score(scores[:, outputs], labels)


def objectnet_mapping(
    folders: Sequence[str],
    label_of_folder: Mapping[str, str],
    imagenet_of_label: Mapping[str, str],
    imagenet_labels: Sequence[str],
) -> tuple[tuple[str, ...], Integers]:
    """ObjectNet's classes that ImageNet has too, and which of them each of ImageNet's is, from its published files.

    Args:
        folders: of its images; those of classes that ImageNet lacks are among them.
        label_of_folder: ``folder_to_objectnet_label.json``.
        imagenet_of_label: ``objectnet_to_imagenet_1k.json``; ImageNet's labels are divided by ``"; "``.
        imagenet_labels: the label of each of the model's outputs, as ``imagenet_to_label_2012_v2`` spells them.

    Returns:
        The folders that count, sorted, and for each output the position of its folder, or -1 [C].

    Raises:
        LabelRangeError: the files do not fit together, or an output would be of two classes.
        EmptySetError: no folder is of a class that ImageNet has.
    """
    unknown = [folder for folder in folders if folder not in label_of_folder]
    if unknown:
        raise LabelRangeError(f"ObjectNet's files say nothing of its folder {unknown[0]!r}.")
    shared = tuple(sorted(folder for folder in folders if label_of_folder[folder] in imagenet_of_label))
    if not shared:
        raise EmptySetError("ObjectNet has no folder of a class that ImageNet has.")
    outputs = {label: position for position, label in enumerate(imagenet_labels)}
    mapping = np.full(len(imagenet_labels), UNMAPPED, dtype=np.int64)
    for position, folder in enumerate(shared):
        for label in imagenet_of_label[label_of_folder[folder]].split("; "):
            if imagenet_labels.count(label) != 1:
                raise LabelRangeError(f"ObjectNet's class {folder!r} is {label!r}, which not just one output is.")
            if mapping[outputs[label]] != UNMAPPED:
                raise LabelRangeError(f"ImageNet's class {label!r} is said to be two classes of ObjectNet.")
            mapping[outputs[label]] = position
    return shared, mapping


def objectnet(logits: ArrayLike, labels: ArrayLike, mapping: ArrayLike) -> ProtocolOutcome:
    """ObjectNet: acc1, where an answer that is no class of ObjectNet is wrong; acc1_known, where it may not be given.

    The first is SELECT's (EasyRobust's). The second takes for each of ObjectNet's classes the highest score of
    ImageNet's classes that it is.

    Args:
        logits: of all of ImageNet's classes [N, C].
        labels: the right class of every sample [N], one of ObjectNet's.
        mapping: which of ObjectNet's classes each of ImageNet's is, or -1 [C].

    Raises ``EmptySetError``, ``LabelRangeError``, ``ModelOutputError`` and ``EvaluationError`` as ``masked`` does;
    also when a class between others is none of ImageNet's.
    """
    of_output = np.asarray(mapping)
    if of_output.ndim != 1 or of_output.dtype.kind not in "iu" or not (of_output >= 0).any():
        raise LabelRangeError(
            "A mapping to ObjectNet's classes is a row of whole numbers, of which some are not negative."
        )
    classes = int(of_output.max()) + 1
    true = checked_labels(labels, classes)
    scores = checked_scores(logits, len(true), len(of_output))
    answers = of_output[classification.first_choices(scores, len(true))]
    best = np.empty((len(true), classes), dtype=scores.dtype)
    for position in range(classes):
        columns = np.flatnonzero(of_output == position)
        if not len(columns):
            raise LabelRangeError(f"ObjectNet's class {position} is none of ImageNet's.")
        best[:, position] = scores[:, columns].max(axis=1)
    components: Components = {
        "acc1": ((answers == true).astype(np.float64),),
        "acc1_known": ((best.argmax(axis=1) == true).astype(np.float64),),
    }
    found = outcome(len(true), components, proportions=frozenset(components))
    return replace(found, classes=classification.class_counts(components["acc1"][0], true, classes))


def imagenet_o(known: ArrayLike, unknown: ArrayLike) -> ProtocolOutcome:
    """ImageNet-O: area under the precision-recall curve of telling images of no known class by the model's doubt.

    An image's anomaly score is minus the highest probability (softmax) of its classes; images of ImageNet-O are to be
    found among those of known classes. The area is average precision: the mean, over ImageNet-O's images, of the
    precision among all images that are no less anomalous, so its components are one value an image.

    An interval of it holds the known images fixed. DataComp scores ImageNet-O as a set of 200 classes instead
    (``zeroshot``).

    Args:
        known: logits of images of ImageNet's validation set, restricted to ImageNet-O's 200 classes [N, S].
        unknown: of ImageNet-O's images, likewise [M, S].

    Raises:
        EmptySetError: one of the two has no image.
        ModelOutputError: a score is not finite.
        EvaluationError: the two have different classes.
    """
    inside, outside = (-_confidence(logits) for logits in (known, unknown))
    if np.asarray(known).shape[1] != np.asarray(unknown).shape[1]:
        raise EvaluationError("Known and unknown images need scores of the same classes.")
    found = len(outside) - np.searchsorted(np.sort(outside), outside, side="left")
    wrong = len(inside) - np.searchsorted(np.sort(inside), outside, side="left")
    return outcome(len(outside), {"aupr": (found / (found + wrong),)})


def _confidence(logits: ArrayLike) -> Floats:
    scores = np.asarray(logits, dtype=np.float64)
    if not len(scores):
        raise EmptySetError("The evaluation set holds no image, so there is nothing to evaluate.")
    checked_scores(scores, len(scores))
    confidence: Floats = 1.0 / np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1)
    return confidence


def imagenet_c(right: Mapping[tuple[str, int], ArrayLike]) -> ProtocolOutcome:
    """ImageNet-C: acc1 as the mean over 15 corruptions at 5 severities, and the mean corruption error, mce.

    mce is the mean over corruptions of the model's error (mean over severities) divided by AlexNet's; less is better,
    and it may exceed 1. ``acc1_<corruption>`` is that corruption's accuracy. The 75 pictures of an image are one unit.

    Args:
        right: of every corruption (a key of ``ALEXNET_ERRORS``) and severity (1 to 5), whether each image is classified
            rightly [N], the same images in the same order.

    Raises:
        EvaluationError: a corruption or severity is missing or unknown, the numbers of images differ, or an outcome is
            neither right nor wrong.
        EmptySetError: there is no image.
    """
    wanted = [(corruption, severity) for corruption in ALEXNET_ERRORS for severity in SEVERITIES]
    for differing, says in ((set(wanted) - set(right), "lacks"), (set(right) - set(wanted), "has no such thing as")):
        if differing:
            corruption, severity = min(differing)
            raise EvaluationError(f"ImageNet-C {says} {corruption!r} at severity {severity}.")
    flags = [_flags(right[key], key) for key in wanted]
    if len({len(row) for row in flags}) > 1:
        raise EvaluationError("ImageNet-C needs the same images under every corruption and severity.")
    outcomes = np.stack(flags).reshape(len(ALEXNET_ERRORS), len(SEVERITIES), -1)
    accuracies = outcomes.mean(axis=(1, 2))
    errors = (1.0 - accuracies) / np.array(list(ALEXNET_ERRORS.values()))
    whole = outcome(outcomes.shape[2], {"acc1": (outcomes.mean(axis=(0, 1)),)}, further={"mce": float(errors.mean())})
    parts: Components = {
        f"acc1_{name}": (units,) for name, units in zip(ALEXNET_ERRORS, outcomes.mean(axis=1), strict=True)
    }
    return merged(whole, outcome(outcomes.shape[2], parts))


def _flags(right: ArrayLike, key: tuple[str, int]) -> NDArray[np.float64]:
    found = np.asarray(right, dtype=np.float64)
    if found.ndim != 1 or not np.isin(found, (0.0, 1.0)).all():
        raise EvaluationError(f"Outcomes under {key[0]!r} at severity {key[1]} are a row of right and wrong.")
    if not len(found):
        raise EmptySetError(f"ImageNet-C holds no image under {key[0]!r} at severity {key[1]}.")
    return found
