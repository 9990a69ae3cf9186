"""Class-centred recognition (CLER): the entry's images, by class, recognise the test images; nothing is trained.

Features are those of GenBench's CLIP, whatever the entry's model is; class texts are of the set's own prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from competition.errors import EmptySetError, EvaluationError
from competition.evaluation import metrics, ranking_metrics
from competition.evaluation.classification import outcome_of_ranks
from competition.evaluation.dataset_metrics.cler import Recogniser, scores_of
from competition.evaluation.dataset_metrics.features import Features, Floats, Integers
from competition.evaluation.features import LabelledFeatures
from competition.evaluation.fixed_models import CLIP_B32
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Evaluation, Subject
from competition.evaluation.protocols.entry import entry_features, images_of
from competition.evaluation.protocols.reading import with_several_classes
from competition.evaluation.set_classes import labels_among, set_classes
from competition.evaluation.zeroshot import text_classifier
from competition.rules.protocols import Protocol

_SHARES = (Recogniser.NEIGHBOURS, Recogniser.NEIGHBOURS_AND_TEXT)
_CHOICES = ("acc1", "mean_per_class_recall")


def _recognised(subject: Subject, case: Case) -> ProtocolOutcome:
    task, images, encoder = case.task, images_of(subject, case.task), subject.fixed.clip(CLIP_B32)
    classes = set_classes(case.folder, case.task.part)
    labels = labels_among(images, classes)
    prompts = "text" in task.metric or _has_prompts(case.folder)
    data = with_several_classes(encoder, case, prompts=prompts)
    measure = str(task.settings.get("measure", "acc1"))
    if data.labels.ndim == 2 and measure in _CHOICES:
        raise EvaluationError(
            f"Task {task.id!r} is measured by {measure}, and images of its set show several classes.",
            hint="Set `measure` to auc or map11.",
        )
    train = LabelledFeatures(entry_features(encoder, images, case), labels, f"entry {images.folder}")
    test = Features.of(encoder.encode_images(data.images, key=data.key), "the set of test images")
    texts = text_classifier(encoder, data.class_names, data.templates).T if prompts else None
    parts: dict[Recogniser, list[NDArray[np.generic]]] = {}
    for rows, found in scores_of(train, test, len(classes.names), texts, device=encoder.device):
        for name, scores in found.items():
            part = metrics.ranks(scores, data.labels[rows]) if measure in _CHOICES else _comparable(name, scores)
            parts.setdefault(name, []).append(part)
    return _outcome({name: np.concatenate(found) for name, found in parts.items()}, data.labels, classes.names, measure)


def _has_prompts(folder: Path) -> bool:
    return (folder / "zeroshot_classification_templates.txt").is_file()


def _comparable(name: Recogniser, scores: Floats) -> Floats:
    """Scores that can be compared between images: shares of the classes, as in GenBench."""
    if name in _SHARES:
        return scores
    shares: Floats = softmax(scores, axis=1)
    return shares


def _outcome(
    found: Mapping[Recogniser, NDArray[np.generic]], labels: Integers, names: tuple[str, ...], measure: str
) -> ProtocolOutcome:
    """One number of each recogniser: of ranks [N] of the right class, or of comparable scores [N, C]."""
    values: dict[str, float | None] = {name.value: None for name in Recogniser}
    components: dict[str, tuple[Floats, ...]] = {}
    for name, results in found.items():
        if measure in _CHOICES:
            outcome = outcome_of_ranks(results.astype(np.int64), labels, len(names))
            values[name.value], components[name.value] = outcome.metrics[measure], outcome.components[measure]
        else:
            values[name.value], components[name.value] = _ranked(results.astype(np.float64), labels, measure)
    proportions = frozenset(components) if measure == "acc1" else frozenset()
    return ProtocolOutcome(len(labels), values, components, proportions)


def _ranked(scores: Floats, labels: Integers, measure: str) -> tuple[float, tuple[Floats, ...]]:
    several = labels.ndim == 2
    flags = labels.astype(np.bool_) if several else ranking_metrics.one_hot(labels, scores.shape[1])

    def of(rows: NDArray[np.int64]) -> float:
        if measure == "map11":
            return ranking_metrics.mean_average_precision_11(scores[rows], flags[rows])
        if several:
            return ranking_metrics.mean_area_under_roc(scores[rows], flags[rows])
        return ranking_metrics.area_under_roc(scores[rows], labels[rows])

    def of_part(rows: NDArray[np.int64]) -> float:
        try:
            return of(rows)
        except EmptySetError:
            return np.nan

    value = of(np.arange(len(labels)))
    return value, (ranking_metrics.pseudo_values(of_part, len(labels), value),)


EVALUATIONS: Mapping[Protocol, Evaluation] = {Protocol.CLER: _recognised}
