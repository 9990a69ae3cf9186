"""Sets with a layout of their own become records of results, by the function that kit and scorer call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from competition.errors import EvaluationError
from competition.evaluation.protocols import Subject
from competition.evaluation.protocols.case import Encoder
from competition.evaluation.run import evaluate_task
from competition.records.evaluation import TaskResult
from competition.rules import Protocol, Task, find_suite
from tests.competition.evaluation import test_face_set, test_shifted_sets, test_winogavil_set
from tests.competition.evaluation.tiny_models import clip_model, image_model

Writer = Callable[[Path], object]

SETS: dict[Protocol, tuple[Writer, Callable[[], Encoder], str, int]] = {
    Protocol.WINOGAVIL: (test_winogavil_set.write_set, clip_model, "jaccard_score_10-12", 12),
    Protocol.FAIRNESS_FACES: (test_face_set.write_set, clip_model, "acc_race_avg", test_face_set.FACES),
    Protocol.CLASSIFICATION_OF_SUBSET: (test_shifted_sets.write_subset, lambda: image_model(7), "acc1", 24),
    Protocol.CLASSIFICATION_OBJECTNET: (test_shifted_sets.write_objectnet, lambda: image_model(7), "acc1", 15),
    Protocol.CLASSIFICATION_CORRUPTED: (test_shifted_sets.write_corrupted, lambda: image_model(7), "acc1", 6),
}
"""What writes a set, a model for it, the metric that suites ask for, and the number of samples."""


def task(protocol: Protocol, samples: int) -> Task:
    return Task.model_validate(
        {
            "id": "t",
            "title": "T",
            "protocol": protocol,
            "dataset": "own",
            "metric": SETS[protocol][2],
            "samples": samples,
        }
    )


@pytest.mark.parametrize("protocol", SETS)
def test_a_result_with_its_interval(protocol: Protocol, tmp_path: Path) -> None:
    write, model, metric, samples = SETS[protocol]
    write(tmp_path / "own")
    result = evaluate_task(Subject(model()), task(protocol, samples), find_suite("select"), tmp_path)
    assert result.samples == samples
    assert result.metric == metric
    assert result.interval.low <= result.value <= result.interval.high
    assert result.interval.low < result.interval.high
    assert TaskResult.model_validate_json(result.model_dump_json()) == result
    with pytest.raises(EvaluationError, match=f"has {samples} images instead of {samples + 1}"):
        evaluate_task(Subject(model()), task(protocol, samples + 1), find_suite("select"), tmp_path)
