"""The entry's model judged by linear classifiers of its features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from competition.errors import EvaluationError
from competition.evaluation.features import LabelledFeatures
from competition.evaluation.linear_probe import protocols as probes
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Evaluation, Subject, model_of
from competition.evaluation.protocols.reading import features
from competition.rules.protocols import Protocol

_SMALLEST_LENGTH = np.float32(1e-12)
_SEARCHED = ("acc1", "mean_per_class_recall")


def _probed(subject: Subject, case: Case) -> ProtocolOutcome:
    task, encoder = case.task, model_of(subject, case.task)
    if task.metric not in _SEARCHED:
        raise EvaluationError(
            f"Task {task.id!r} is scored by {task.metric}, and linear probes yield {' and '.join(_SEARCHED)} so far.",
            hint="The task stays unscored.",
        )
    train, classes = features(encoder, case, "train")
    test, _ = features(encoder, case, "test")
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


EVALUATIONS: Mapping[Protocol, Evaluation] = dict.fromkeys(
    (Protocol.LINEAR_PROBE, Protocol.LINEAR_PROBE_CLIPBENCH), _probed
)
