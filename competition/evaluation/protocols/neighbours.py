"""Nearest neighbours: SimCore's judge the entry's model, SELECT's the entry's images.

SELECT's features are those of DINO's ResNet-50, which never saw the entry: its images vote, nothing is trained on them.
"""

from __future__ import annotations

from collections.abc import Mapping

from competition.evaluation import knn
from competition.evaluation.converted_models import DINO_RN50
from competition.evaluation.features import LabelledFeatures
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Evaluation, Subject, model_of
from competition.evaluation.protocols.entry import entry_features, images_of
from competition.evaluation.protocols.reading import features
from competition.evaluation.set_classes import labels_among, set_classes
from competition.evaluation.support_sampling import balanced_support, rows_of_classes
from competition.rules.protocols import Protocol

SUPPORT_PER_CLASS = 5
"""Where the task does not say: SELECT's "5spc"."""


def _simcore(subject: Subject, case: Case) -> ProtocolOutcome:
    encoder = model_of(subject, case.task)
    support, classes = features(encoder, case, "train")
    queries, _ = features(encoder, case, "test")
    return _outcome(knn.evaluate(support, queries, classes, knn.SIMCORE, encoder.device), case, len(queries))


def _select(subject: Subject, case: Case) -> ProtocolOutcome:
    task, images, encoder = case.task, images_of(subject, case.task), subject.fixed.encoder(DINO_RN50)
    labels = labels_among(images, set_classes(case.folder, case.task.part))
    queries, classes = features(encoder, case, "test")
    per_class = int(task.settings.get("support_per_class", SUPPORT_PER_CLASS))
    rows = rows_of_classes(labels, per_class)
    pool = LabelledFeatures(entry_features(encoder, images, case, rows), labels[rows])
    support = balanced_support(pool, classes, classes * per_class).support
    asked = int(task.metric.partition("@")[2])
    # Of a small support set the numbers of neighbours that it has; what the task is scored by is never left out.
    counts = tuple(k for k in knn.SELECT.neighbours if k == asked or k <= len(support))
    found = knn.evaluate(support, queries, classes, knn.KnnSettings(counts), encoder.device)
    return _outcome(found, case, len(queries))


def _outcome(by_k: Mapping[int, ProtocolOutcome], case: Case, samples: int) -> ProtocolOutcome:
    return ProtocolOutcome(
        samples,
        {f"{name}@{k}": value for k, found in by_k.items() for name, value in found.metrics.items()},
        {f"{name}@{k}": parts for k, found in by_k.items() for name, parts in found.components.items()},
        frozenset(f"{name}@{k}" for k, found in by_k.items() for name in found.proportions),
        by_k[int(case.task.metric.rpartition("@")[2])].classes,
    )


EVALUATIONS: Mapping[Protocol, Evaluation] = {Protocol.KNN_SIMCORE: _simcore, Protocol.KNN_SELECT: _select}
