"""The entry's model judged by nearest neighbours of its features."""

from __future__ import annotations

from collections.abc import Mapping

from competition.evaluation import knn
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Evaluation, Subject, model_of
from competition.evaluation.protocols.reading import features
from competition.rules.protocols import Protocol


def _simcore(subject: Subject, case: Case) -> ProtocolOutcome:
    encoder = model_of(subject, case.task)
    support, classes = features(encoder, case, "train")
    queries, _ = features(encoder, case, "test")
    by_k = knn.evaluate(support, queries, classes, knn.SIMCORE)
    return ProtocolOutcome(
        len(queries),
        {f"{name}@{k}": value for k, found in by_k.items() for name, value in found.metrics.items()},
        {f"{name}@{k}": parts for k, found in by_k.items() for name, parts in found.components.items()},
        frozenset(f"{name}@{k}" for k, found in by_k.items() for name in found.proportions),
        by_k[int(case.task.metric.rpartition("@")[2])].classes,
    )


EVALUATIONS: Mapping[Protocol, Evaluation] = {Protocol.KNN_SIMCORE: _simcore}
