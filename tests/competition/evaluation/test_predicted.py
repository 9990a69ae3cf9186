"""Predictions as a protocol: labels of every layout give the same score, and a report says what was scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from competition.data.digests import file_sha256
from competition.data.shards import Sample, write_samples
from competition.errors import EvaluationError, PredictionsError, RejectionReason, UsageError
from competition.evaluation.protocols import Case, Subject, run_protocol
from competition.evaluation.run_predictions import evaluate_predictions
from competition.evaluation.set_labels import load_set_labels
from competition.records.evaluation import EvaluationReport, TaskResult
from competition.rules import Competition, Protocol, Task, find_competition, predicted_sets
from tests.competition.evaluation.predicted import (
    SETS,
    all_guesses,
    counted,
    digit_labels,
    guesses,
    guessing,
    write_labels,
)

LABELS = np.sort(np.random.default_rng(3).integers(0, 12, 90))
"""Sorted, as the samples of folders of images are; the last class is one that sorting as text would misplace."""


def as_list(folder: Path) -> None:
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))


def as_shards(folder: Path) -> None:
    """Images that nothing can decode: only labels may be read."""
    (folder / "test").mkdir()
    (folder / "test" / "nshards.txt").write_text("2")
    (folder / "classnames.txt").write_text("\n".join(f"class {number}" for number in range(12)))
    samples = [Sample(f"{n:03d}", {"jpg": b"no image", "cls": str(y).encode()}) for n, y in enumerate(LABELS)]
    write_samples(folder / "test" / "0.tar", iter(samples[:40]))
    write_samples(folder / "test" / "1.tar", iter(samples[40:]))


def as_images(folder: Path) -> None:
    for number, label in enumerate(LABELS):
        (folder / str(label)).mkdir(exist_ok=True)
        (folder / str(label) / f"{number:03d}.jpg").write_bytes(b"no image")


def task(**changes: object) -> Task:
    fields = {"id": "t", "title": "T", "protocol": "predictions", "dataset": "s", "metric": "acc1", "samples": 90}
    return Task.model_validate({**fields, "settings": {"classes": 12}, **changes})


def entry(folder: Path, **sets: np.ndarray) -> Subject:
    np.savez_compressed(folder / "entry.npz", **sets)
    return Subject(predictions=folder / "entry.npz")


def twelve(seed: int = 0) -> np.ndarray:
    """Five of twelve classes, the right one first more often than not."""
    random = np.random.default_rng(seed)
    rows = np.argsort(random.random((len(LABELS), 12)), axis=1)
    for row, label in zip(rows[:60], LABELS[:60], strict=True):
        place = int(np.flatnonzero(row == label)[0])
        row[[0, place]] = row[[place, 0]]
    return rows[:, :5].astype(np.int32)


@pytest.mark.parametrize("lay_out", [as_list, as_shards, as_images])
def test_labels_suffice_in_every_layout(lay_out: Callable[[Path], None], tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    lay_out(folder)
    found = load_set_labels(folder, 12)
    assert found.classes == 12
    np.testing.assert_array_equal(found.labels, LABELS)
    top5 = twelve()
    outcome = run_protocol(entry(tmp_path, s=top5), Case(task(), folder, tmp_path / "cache"))
    acc1, acc5 = counted(top5.astype(np.uint16), LABELS)
    assert (outcome.metrics["acc1"], outcome.metrics["acc5"]) == (pytest.approx(acc1), pytest.approx(acc5))
    first = top5[:, 0]
    recalls = [np.mean(first[np.flatnonzero(np.isin(LABELS, c))] == c) for c in np.unique(LABELS)]
    assert outcome.metrics["mean_per_class_recall"] == pytest.approx(np.mean(recalls))
    assert outcome.samples == 90


@pytest.mark.parametrize(
    ("write", "classes", "message"),
    [
        ({"labels.txt": "0\n1\n12\n"}, 12, "line 3: '12' is no class from 0 to 11"),
        ({"labels.txt": "0\n\n1\n"}, 12, "line 2: '' is no class"),
        ({"labels.txt": "0\n-1\n"}, 12, "line 2: '-1' is no class"),
        ({"labels.txt": "0\n1e0\n"}, 12, "line 2: '1e0' is no class"),
        ({"labels.txt": "9" * 5000}, 12, "is no class"),
        ({"labels.txt": ""}, 12, "is empty"),
        ({"labels.txt": "0\n1\n"}, None, "Neither the evaluation set s nor its task says how many classes"),
        ({"labels.txt": "0\n1\n", "classnames.txt": "a\nb\nc\n"}, 2, "has 3 classes instead of 2"),
        ({"labels.txt": "0\n1\n", "samples.txt": "a.jpg\n"}, 2, "names 1 samples, and there are 2 labels"),
    ],
)
def test_labels_that_do_not_fit_are_the_sets_fault(
    write: dict[str, str], classes: int | None, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    for name, text in write.items():
        (folder / name).write_text(text)
    with pytest.raises(EvaluationError, match=message) as error:
        load_set_labels(folder, classes)
    assert not isinstance(error.value, PredictionsError)


def test_a_set_with_other_samples_than_its_task_says_is_not_blamed_on_the_predictions(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    as_list(tmp_path / "s")
    with pytest.raises(EvaluationError, match="has 90 labels instead of 80") as error:
        run_protocol(entry(tmp_path, s=twelve()[:80]), Case(task(samples=80), tmp_path / "s"))
    assert not isinstance(error.value, PredictionsError)


def test_an_entry_without_predictions_and_predictions_without_the_set_are_named(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    as_list(tmp_path / "s")
    with pytest.raises(EvaluationError, match="asks for predictions, and the entry has none"):
        run_protocol(Subject(), Case(task(), tmp_path / "s"))
    with pytest.raises(PredictionsError, match="has 0 arrays for the test set s") as error:
        run_protocol(entry(tmp_path, other=twelve()), Case(task(), tmp_path / "s"))
    assert error.value.reason is RejectionReason.PREDICTIONS_SETS_MISMATCH


def traps() -> dict[RejectionReason, Callable[[np.ndarray], np.ndarray]]:
    return {
        RejectionReason.PREDICTIONS_REVERSED: lambda top5: top5[:, ::-1],
        RejectionReason.PREDICTIONS_DISORDERED: lambda top5: top5[:, [1, 0, 2, 3, 4]],
        RejectionReason.PREDICTIONS_TRANSPOSED: lambda top5: top5.T,
        RejectionReason.PREDICTIONS_SHAPE_MISMATCH: lambda top5: top5[:-1],
        RejectionReason.PREDICTIONS_OUT_OF_RANGE: lambda top5: top5 + 1,
        RejectionReason.PREDICTIONS_REPEATED: lambda top5: top5[:, [0, 0, 1, 2, 3]],
        RejectionReason.PREDICTIONS_MALFORMED: lambda top5: top5.astype(np.float32),
    }


@pytest.mark.parametrize("reason", traps())
def test_every_trap_has_its_reason(reason: RejectionReason, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    as_list(tmp_path / "s")
    subject = entry(tmp_path, s=traps()[reason](twelve()))
    with pytest.raises(PredictionsError) as error:
        run_protocol(subject, Case(task(), tmp_path / "s"))
    assert error.value.reason is reason


@pytest.fixture
def competition() -> Competition:
    return guessing()


def test_a_file_is_scored_without_a_model(competition: Competition, tmp_path: Path) -> None:
    root, sets = write_labels(tmp_path / "sets"), all_guesses()
    heard: list[TaskResult] = []
    file = entry(tmp_path, **sets).predictions
    assert file is not None
    report = evaluate_predictions(file, competition, root, on_result=heard.append)
    values = {result.task: result.value for result in report.results}
    for name, labels in digit_labels().items():
        expected = counted(sets[name], labels)
        assert (values[f"{name}-acc1"], values[f"{name}-acc5"]) == pytest.approx(expected)
        assert expected[0] > 0.5
    assert list(report.results) == heard
    assert (report.recipe, report.recipe_digest, report.model_sha256) == (None, None, None)
    assert report.predictions_sha256 == file_sha256(file)
    assert EvaluationReport.model_validate_json(report.model_dump_json()) == report
    outcomes = report.results[0].outcomes[0].decode()
    np.testing.assert_array_equal(outcomes, sets[SETS[0]][:, 0] == digit_labels()[SETS[0]])


def test_a_set_that_the_file_leaves_out_stays_unscored(competition: Competition, tmp_path: Path) -> None:
    root = write_labels(tmp_path / "sets")
    file = entry(tmp_path, **{SETS[1]: all_guesses()[SETS[1]]}).predictions
    assert file is not None
    report = evaluate_predictions(file, competition, root)
    assert [result.task for result in report.results] == [f"{SETS[1]}-acc1", f"{SETS[1]}-acc5"]


def test_the_whole_file_is_checked_before_the_first_task(competition: Competition, tmp_path: Path) -> None:
    root, sets = write_labels(tmp_path / "sets"), all_guesses()
    file = entry(tmp_path, **{SETS[0]: sets[SETS[0]], SETS[1]: sets[SETS[1]].T}).predictions
    assert file is not None
    heard: list[TaskResult] = []
    with pytest.raises(PredictionsError, match="digits-odd are transposed"):
        evaluate_predictions(file, competition, root, on_result=heard.append)
    assert heard == []


def test_a_suite_without_predictions_is_refused(tmp_path: Path) -> None:
    file = entry(tmp_path, s=guesses(digit_labels()[SETS[0]])).predictions
    assert file is not None
    with pytest.raises(UsageError, match="has no task of predictions"):
        evaluate_predictions(file, find_competition("digits"), tmp_path)


def test_a_report_is_of_a_model_or_of_predictions_and_never_of_both() -> None:
    fields = {"competition": "a", "suite": "a@1", "suite_digest": "a" * 64, "results": [], "code_version": "1"}
    fields |= {"finished_at": "2026-01-01T00:00:00Z"}
    nothing = {"recipe": None, "recipe_digest": None, "model_sha256": None}
    model = {"recipe": "r", "recipe_digest": "b" * 64, "model_sha256": "c" * 64}
    predicted = {"predictions_sha256": "d" * 64}
    EvaluationReport.model_validate({**fields, **model})
    EvaluationReport.model_validate({**fields, **nothing, **predicted})
    for wrong in (nothing, {**model, **predicted}, {**model, "recipe": None}, {**nothing, "recipe": "r", **predicted}):
        with pytest.raises(ValidationError, match=r"of exactly one of them|names its competition"):
            EvaluationReport.model_validate({**fields, **wrong})


def test_rules_say_how_large_the_sets_are() -> None:
    sets = predicted_sets(find_competition("generalization").suite)
    assert {name: (shape.samples, shape.classes) for name, shape in sets.items()} == {
        "imagenet-validation-original": (50_000, 1000),
        "imagenetv2-b-33": (10_000, 1000),
        "imagenetv2-a-44": (10_000, 1000),
        "imagenetv2-c-12": (10_000, 1000),
    }
    suite = guessing().suite
    for changes in ({"samples": None}, {"settings": {}}):
        vague = suite.tasks[0].model_copy(update=changes)
        with pytest.raises(UsageError, match="does not say how many samples and classes"):
            predicted_sets(suite.model_copy(update={"tasks": (vague, *suite.tasks[1:])}))
    other = suite.tasks[1].model_copy(update={"samples": 3})
    with pytest.raises(UsageError, match="another task says otherwise how large set 'digits-even' is"):
        predicted_sets(suite.model_copy(update={"tasks": (suite.tasks[0], other)}))
    assert {task.protocol for task in suite.tasks} == {Protocol.PREDICTIONS}
