"""From a task to its outcome: what each protocol reads of its evaluation set, and what it asks of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation import classification, fairness, knn, retrieval, wilds, zeroshot
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.features import LabelledFeatures
from competition.evaluation.image_encoders import ImageEncoder
from competition.evaluation.image_folder import is_image_folder, load_image_folder
from competition.evaluation.linear_probe import protocols as probes
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.sets import ClassificationSet, Split, load_classification, load_columns, load_retrieval
from competition.rules.protocols import Protocol
from competition.rules.suites import Task

Encoder = ClipEncoder | ImageEncoder
Columns = Mapping[str, NDArray[np.int64]]

_SMALLEST_LENGTH = np.float32(1e-12)
_SEARCHED = ("acc1", "mean_per_class_recall")

COLUMNS: Mapping[Protocol, tuple[str, ...]] = {
    Protocol.WILDS_IWILDCAM: ("location", "sequence", "year", "month", "day", "hour", "minute", "second", "y"),
    Protocol.WILDS_CAMELYON17: ("hospital", "slide", "y"),
    Protocol.WILDS_FMOW: ("region", "year", "y"),
    Protocol.WILDS_FMOW_DATACOMP: ("region", "year", "y"),
    Protocol.FAIRNESS_DOLLAR_STREET: ("income_ds", "income_meta", "region"),
    Protocol.FAIRNESS_GEODE: ("region", "country"),
}
"""What the rows of DataComp's sets hold beside the images, in their order; ``y`` is the class once more."""


def run_protocol(encoder: Encoder, task: Task, folder: Path, cache: Path | None) -> ProtocolOutcome:
    """Evaluate a task whose set lies in ``folder``; decoded images are kept in ``cache``.

    Raises:
        EvaluationError: the set is damaged, or the protocol asks for something that the model has not.
    """
    match task.protocol:
        case Protocol.ZEROSHOT_CLASSIFICATION:
            return zeroshot.evaluate(_clip(encoder, task), _labelled(encoder, folder, cache))
        case Protocol.IMAGE_TEXT_RETRIEVAL:
            return retrieval.evaluate(_clip(encoder, task), load_retrieval(folder, encoder.preparation, cache))
        case Protocol.CLASSIFICATION:
            return _classified(encoder, _labelled(encoder, folder, cache, prompts=False))
        case Protocol.KNN_SIMCORE:
            return _neighbours(encoder, folder, cache)
        case Protocol.LINEAR_PROBE | Protocol.LINEAR_PROBE_CLIPBENCH:
            return _probed(encoder, task, folder, cache)
        case grouped if grouped in COLUMNS:
            return _grouped(_clip(encoder, task), task.protocol, folder, cache)
        case _:
            raise AssertionError(f"{task.protocol.value} is called executable and is not run")


def _labelled(
    encoder: Encoder, folder: Path, cache: Path | None, split: Split = "test", *, prompts: bool = True
) -> ClassificationSet:
    """A part of a set in either layout: shards, or a folder for each class."""
    if is_image_folder(folder):
        return load_image_folder(folder, encoder.preparation, split, prompts=prompts)
    return load_classification(folder, encoder.preparation, cache, split, prompts=prompts)


def _clip(encoder: Encoder, task: Task) -> ClipEncoder:
    if not isinstance(encoder, ClipEncoder):
        raise EvaluationError(
            f"Task {task.id!r} compares images with texts, and the model has no text tower.",
            hint="Choose a suite for image models.",
        )
    return encoder


def _classified(encoder: Encoder, data: ClassificationSet) -> ProtocolOutcome:
    if not isinstance(encoder, ImageEncoder):
        raise EvaluationError(
            "A CLIP model has no classes of its own.", hint="Evaluate it by zero-shot classification."
        )
    logits = encoder.class_logits(data.images, key=data.key)
    if logits.shape[1] != len(data.class_names):
        raise EvaluationError(
            f"The model knows {logits.shape[1]} classes, and the evaluation set has {len(data.class_names)}.",
            hint="Evaluate models that were trained on the classes of the set.",
        )
    return classification.score(logits, data.labels)


def _grouped(encoder: ClipEncoder, protocol: Protocol, folder: Path, cache: Path | None) -> ProtocolOutcome:
    data = load_classification(folder, encoder.preparation, cache)
    columns = load_columns(folder, COLUMNS[protocol], cache)
    if "y" in columns and not np.array_equal(columns["y"], data.labels):
        first = int(np.flatnonzero(columns["y"] != data.labels)[0])
        raise EvaluationError(
            f"Sample {first} of the evaluation set {folder.name} has class {data.labels[first]}, and its row of "
            f"numbers says {columns['y'][first]}.",
            hint="Get the evaluation sets again.",
        )
    return _by_group(protocol, zeroshot.class_logits(encoder, data), data.labels, columns)


def _by_group(
    protocol: Protocol, logits: NDArray[np.float32], labels: NDArray[np.int64], columns: Columns
) -> ProtocolOutcome:
    match protocol:
        case Protocol.WILDS_IWILDCAM:
            return wilds.iwildcam(logits, labels)
        case Protocol.WILDS_CAMELYON17:
            return wilds.camelyon17(logits, labels, columns["slide"])
        case Protocol.WILDS_FMOW_DATACOMP:
            return wilds.fmow(logits, labels, columns["region"], columns["year"])
        case Protocol.WILDS_FMOW:
            found = wilds.fmow(logits, labels, columns["region"], columns["year"])
            return _renamed(found, "acc_worst_region_without_other", "acc_worst_region")
        case Protocol.FAIRNESS_DOLLAR_STREET:
            return fairness.dollar_street(logits, labels, columns["income_ds"])
        case Protocol.FAIRNESS_GEODE:
            return fairness.geode(logits, labels, columns["region"])
        case _:
            raise AssertionError(f"{protocol.value} has columns and is not run")


def _renamed(found: ProtocolOutcome, name: str, new: str) -> ProtocolOutcome:
    """The outcome whose metric ``name`` is called ``new``, in place of the one that was."""
    metrics = {key: value for key, value in found.metrics.items() if key not in (name, new)}
    components = {key: value for key, value in found.components.items() if key not in (name, new)}
    proportions = found.proportions - {name, new} | ({new} if name in found.proportions else set())
    return ProtocolOutcome(
        found.samples,
        metrics | {new: found.metrics[name]},
        components | {new: found.components[name]},
        frozenset(proportions),
    )


def _neighbours(encoder: Encoder, folder: Path, cache: Path | None) -> ProtocolOutcome:
    support, classes = _features(encoder, folder, cache, "train")
    queries, _ = _features(encoder, folder, cache, "test")
    by_k = knn.evaluate(support, queries, classes, knn.SIMCORE)
    return ProtocolOutcome(
        len(queries),
        {f"{name}@{k}": value for k, found in by_k.items() for name, value in found.metrics.items()},
        {f"{name}@{k}": parts for k, found in by_k.items() for name, parts in found.components.items()},
        frozenset(f"{name}@{k}" for k, found in by_k.items() for name in found.proportions),
    )


def _probed(encoder: Encoder, task: Task, folder: Path, cache: Path | None) -> ProtocolOutcome:
    if task.metric not in _SEARCHED:
        raise EvaluationError(
            f"Task {task.id!r} is scored by {task.metric}, and linear probes yield {' and '.join(_SEARCHED)} so far.",
            hint="The task stays unscored.",
        )
    train, classes = _features(encoder, folder, cache, "train")
    test, _ = _features(encoder, folder, cache, "test")
    if task.protocol is Protocol.LINEAR_PROBE_CLIPBENCH:
        train, test = _of_length_one(train), _of_length_one(test)
        return probes.clip_benchmark(train, test, classes).outcome
    shots = task.settings.get("shots")
    settings = probes.Elevater(task.metric, None if shots is None else int(shots))
    return probes.elevater(train, test, classes, settings).outcome


def _of_length_one(data: LabelledFeatures) -> LabelledFeatures:
    """As CLIP_benchmark has them; encoders without a text tower give features of any length."""
    lengths = np.linalg.norm(data.features, axis=1, keepdims=True)
    return LabelledFeatures(data.features / np.maximum(lengths, _SMALLEST_LENGTH), data.labels)


def _features(encoder: Encoder, folder: Path, cache: Path | None, split: Split) -> tuple[LabelledFeatures, int]:
    """Features of a part of a set, and the number of its classes."""
    data = _labelled(encoder, folder, cache, split, prompts=False)
    return LabelledFeatures(encoder.encode_images(data.images, key=data.key), data.labels), len(data.class_names)
