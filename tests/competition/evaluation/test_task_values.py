"""A task's value and interval, whatever its metric is: shares stay shares, and nothing is resampled that cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from competition.errors import EvaluationError
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.task import _interval, _value
from competition.rules import Protocol, Suite, Task, find_competition

SUITE: Suite = find_competition("digits").suite


def _task(protocol: Protocol, metric: str) -> Task:
    return Task(id="t", title="T", protocol=protocol, dataset="d", metric=metric)


ACCURACY = _task(Protocol.ZEROSHOT_CLASSIFICATION, "acc1")
RECALL = _task(Protocol.IMAGE_TEXT_RETRIEVAL, "mean_recall@1")
FID = _task(Protocol.DATASET_METRICS, "fid")
CLIP_SCORE = _task(Protocol.DATASET_METRICS, "clip_score")


def _outcome(metric: str, value: float | None, *components: list[float]) -> ProtocolOutcome:
    parts = {metric: tuple(np.array(part) for part in components)} if components else {}
    return ProtocolOutcome(10, {metric: value}, parts)


def test_a_metric_without_components_has_a_value_and_no_interval() -> None:
    for made in (_outcome("fid", 123.4), ProtocolOutcome(10, {"fid": 123.4}, {"fid": ()})):
        assert _value(made, FID) == 123.4
        assert _interval(made, FID, SUITE) is None


def test_an_interval_is_held_within_0_and_1_only_where_the_metric_is_a_share() -> None:
    scores = _interval(_outcome("clip_score", 31.0, [20.0, 42.0, 31.0, -5.0]), CLIP_SCORE, SUITE)
    assert scores is not None
    assert 1.0 < scores.low < 31.0 < scores.high
    weights = _interval(_outcome("mean_recall@1", 0.9, [0.3, 1.5, 1.5, 0.3]), RECALL, SUITE)
    assert weights is not None
    assert weights.high == 1.0, "a resample may hold more than the whole"


@pytest.mark.parametrize("value", [1.01, -0.01, float("nan"), float("inf")])
def test_a_share_outside_its_range_is_refused(value: float) -> None:
    with pytest.raises(EvaluationError, match=r"'acc1' of task 't' is .* instead of a share between 0 and 1"):
        _value(_outcome("acc1", value), ACCURACY)
    assert [_value(_outcome("acc1", edge), ACCURACY) for edge in (0.0, 1.0)] == [0.0, 1.0]


def test_a_distance_may_be_any_finite_number_and_nothing_else() -> None:
    assert [_value(_outcome("fid", number), FID) for number in (-0.5, 0.0, 4e5)] == [-0.5, 0.0, 4e5]
    for number in (float("nan"), float("-inf")):
        with pytest.raises(EvaluationError, match="instead of a finite number"):
            _value(_outcome("fid", number), FID)
    with pytest.raises(EvaluationError, match="not defined"):
        _value(_outcome("fid", None), FID)
