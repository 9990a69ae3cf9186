"""What a report is of, and what it says about each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from competition.records.evaluation import ClassResult, EvaluationReport, TaskResult

KEPT = Path(__file__).resolve().parents[2] / "data" / "records" / "v1" / "evaluation_report.json"
SHA = "0" * 64
RUN = {"recipe": "digits-nano", "recipe_digest": SHA, "model_sha256": SHA}
WEIGHTS = {"model_sha256": SHA}
REFERENCE = {"reference_model": "timm:resnet50.a1_in1k"}
PREDICTIONS = {"predictions_sha256": SHA}


def report(**subject: Any) -> EvaluationReport:
    return EvaluationReport.model_validate(
        {
            "competition": "digits",
            "suite": "digits@1",
            "suite_digest": SHA,
            "results": [],
            "code_version": "datacup 0.1.0",
            "finished_at": "2026-01-01T00:00:00Z",
            **subject,
        }
    )


@pytest.mark.parametrize("subject", [RUN, REFERENCE, REFERENCE | WEIGHTS, PREDICTIONS])
def test_a_report_is_of_a_run_a_reference_model_or_predictions(subject: dict[str, str]) -> None:
    found = report(**subject)
    assert {
        name: value for name, value in found.model_dump().items() if value and name in RUN | REFERENCE | PREDICTIONS
    } == subject


@pytest.mark.parametrize(
    "subject",
    [
        {},
        WEIGHTS,
        {"recipe": "digits-nano"},
        {"recipe_digest": SHA, "model_sha256": SHA},
        {"recipe": "digits-nano", "recipe_digest": SHA},
        RUN | REFERENCE,
        RUN | PREDICTIONS,
        REFERENCE | PREDICTIONS,
        PREDICTIONS | WEIGHTS,
    ],
)
def test_half_a_subject_and_two_are_refused(subject: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="a report"):
        report(**subject)


def test_a_report_from_before_these_fields_says_what_was_so() -> None:
    """Earlier versions evaluated in float32 only, and did not measure memory."""
    old = EvaluationReport.model_validate_json(KEPT.read_bytes())
    assert (old.precision, old.device, old.recipe) == ("fp32", None, "digits-nano")
    assert {(result.unreadable, result.peak_memory_bytes, result.classes) for result in old.results} == {(0, None, ())}


def result(classes: list[dict[str, Any]]) -> TaskResult:
    old = EvaluationReport.model_validate_json(KEPT.read_bytes()).results[0]
    return TaskResult.model_validate({**old.model_dump(), "classes": classes})


def test_classes_survive_a_round_trip() -> None:
    found = result([{"label": 0, "name": "naïve", "right": 1, "n": 1}, {"label": 7, "right": 0, "n": 3}])
    assert TaskResult.model_validate_json(found.model_dump_json()) == found
    assert found.classes[1] == ClassResult(label=7, name=None, right=0, n=3)


@pytest.mark.parametrize(
    "classes",
    [
        [{"label": 1, "right": 0, "n": 1}, {"label": 1, "right": 0, "n": 1}],
        [{"label": 2, "right": 0, "n": 1}, {"label": 1, "right": 0, "n": 1}],
        [{"label": 0, "right": 2, "n": 1}],
        [{"label": 0, "right": 0, "n": 0}],
        [{"label": -1, "right": 0, "n": 1}],
        [{"label": 0, "name": "a\u202eb", "right": 0, "n": 1}],
        [{"label": 0, "name": "a" * 121, "right": 0, "n": 1}],
        [{"label": label, "right": 0, "n": 1} for label in range(1001)],
    ],
    ids=["twice", "order", "too-right", "empty", "negative", "unsafe", "long", "many"],
)
def test_classes_that_cannot_be_are_refused(classes: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        result(classes)
