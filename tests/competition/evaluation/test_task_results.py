"""What a result says beside its value: each class, speed and memory; in which precision; and of which set."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from competition.canonical import canonical_json
from competition.errors import DataFormatError, EvaluationError
from competition.evalsets.lock import record_set, write_lock
from competition.evalsets.sources import Origin
from competition.evaluation import peak_memory
from competition.evaluation.class_results import class_results
from competition.evaluation.classification import merged, outcome, score
from competition.evaluation.encoders import build_clip
from competition.evaluation.entrants import TrainedModel
from competition.evaluation.image_encoders import ImageEncoder
from competition.evaluation.outcome import ClassCounts
from competition.evaluation.protocols import Subject
from competition.evaluation.run import evaluate
from competition.evaluation.task import evaluate_task
from competition.records.evaluation import EvaluationReport, TaskResult
from competition.rules import Aggregate, Protocol, Suite, Task, all_suites, find_recipe
from competition.rules.recipes import Backbone, ClipRecipe, SelfSupervisedRecipe
from tests.competition.evaluation.test_protocols import CLASSES, clip, write_set

CPU = torch.device("cpu")
COMMIT, OTHER = "1" * 40, "2" * 40


def make_task(metric: str = "acc1", protocol: Protocol = Protocol.ZEROSHOT_CLASSIFICATION, **further: str) -> Task:
    values = {"id": "t", "title": "T", "protocol": protocol, "dataset": "s", "metric": metric}
    return Task.model_validate(values | further)


def suite_of(*tasks: Task, **further: str) -> Suite:
    average = Aggregate(id="average", title="Average", tasks=tuple(task.id for task in tasks))
    return Suite.model_validate(
        {"id": "s", "version": 1, "tasks": tasks, "aggregates": (average,), "primary": "average", **further}
    )


def evaluated(root: Path, task: Task) -> TaskResult:
    return evaluate_task(Subject(clip()), task, suite_of(task), root)


@pytest.mark.parametrize(
    ("protocol", "metric"),
    [
        (Protocol.ZEROSHOT_CLASSIFICATION, "acc5"),
        (Protocol.KNN_SIMCORE, "acc1@20"),
        (Protocol.KNN_SIMCORE, "acc1@200"),
        (Protocol.LINEAR_PROBE_CLIPBENCH, "acc1"),
    ],
)
def test_classes_are_those_behind_the_accuracy(tmp_path: Path, protocol: Protocol, metric: str) -> None:
    write_set(tmp_path / "s", count=59)
    write_set(tmp_path / "s", count=240, split="train", seed=1)
    found = evaluated(tmp_path, make_task(metric, protocol))
    assert [(each.label, each.name, each.n) for each in found.classes] == [
        (label, f"level {label}", 10 if label < 5 else 9) for label in range(CLASSES)
    ]
    accuracy = found.metrics[metric.replace("acc5", "acc1")]
    assert sum(each.right for each in found.classes) == round((accuracy or 0) * 59)
    recall = found.metrics.get("mean_per_class_recall")
    if recall is not None:
        assert np.mean([each.right / each.n for each in found.classes]) == pytest.approx(recall)


def test_right_and_wrong_land_at_their_own_class() -> None:
    logits = np.array([[2.0, 1, 0], [2, 1, 0], [2, 1, 0], [0, 1, 2]])
    base = score(logits, [0, 1, 1, 2])
    for found in (base, merged(base, outcome(4, {"other": (np.ones(4),)}))):
        assert found.classes is not None
        assert (found.classes.samples.tolist(), found.classes.right.tolist()) == ([1, 2, 1], [1, 0, 1])


def counts(number: int) -> ClassCounts:
    return ClassCounts(np.ones(number, dtype=np.int64), np.zeros(number, dtype=np.int64))


def test_sets_of_more_than_a_thousand_classes_have_none() -> None:
    assert len(class_results(counts(1000), ())) == 1000
    assert class_results(counts(1001), ()) == ()
    assert class_results(None, ("a",)) == ()


def test_names_are_those_of_the_same_classes_and_fit_into_a_line() -> None:
    names = ("plain", "a\u202eb\tc", "x" * 300, "\x00\n")
    assert [each.name for each in class_results(counts(4), names)] == ["plain", "a b c", "x" * 120, None]
    assert {each.name for each in class_results(counts(3), names)} == {None}
    empty = replace(counts(4), samples=np.array([1, 0, 2, 0]))
    assert [(each.label, each.n) for each in class_results(empty, names)] == [(0, 1), (2, 2)]


def test_speed_and_memory_are_measured(tmp_path: Path) -> None:
    write_set(tmp_path / "s")
    found = evaluated(tmp_path, make_task())
    assert found.images_per_second == found.samples / found.seconds
    # The process has torch in it: more than 50 MiB, and less than this machine could hold in a test.
    assert found.peak_memory_bytes is not None
    assert 50 * 2**20 < found.peak_memory_bytes < 2**40
    block = np.ones(found.peak_memory_bytes // 8 + 2**22)
    assert peak_memory.peak_bytes(CPU) > found.peak_memory_bytes
    del block


def test_precision_is_no_part_of_a_suite_that_says_nothing() -> None:
    plain, said = suite_of(make_task()), suite_of(make_task(), precision="fp32")
    assert b"precision" not in canonical_json(plain.model_dump(mode="json"))
    assert plain.digest == said.digest != suite_of(make_task(), precision="bf16").digest
    assert {suite.precision for suite in all_suites().values()} == {"fp32"}


def weights_of(path: Path) -> tuple[ClipRecipe, Path]:
    _, recipe = find_recipe("digits-nano-clip")
    assert isinstance(recipe, ClipRecipe)
    save_file(build_clip(recipe.architecture, 1).state_dict(), path)
    return recipe, path


def report_of(root: Path, suite: Suite) -> EvaluationReport:
    recipe, weights = weights_of(root / "model.safetensors")
    return evaluate(TrainedModel(recipe, weights), suite, root, competition="c", devices=(CPU,))


def test_models_run_in_the_suites_precision_and_the_report_says_so(tmp_path: Path) -> None:
    write_set(tmp_path / "s")
    recipe, weights = weights_of(tmp_path / "model.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    features = {}
    for precision in ("fp32", "bf16"):
        encoder = TrainedModel(recipe, weights).load(CPU, precision, tmp_path).encoder
        assert encoder is not None
        size = encoder.image_size
        features[precision] = encoder.encode_images(np.resize(pixels, (4, size, size, 3)))
        report = report_of(tmp_path, suite_of(make_task(), precision=precision))
        assert (report.precision, report.device) == (precision, "cpu")
    assert 1e-5 < np.abs(features["fp32"] - features["bf16"]).max() < 0.1


def test_image_models_run_in_it_too(tmp_path: Path) -> None:
    _, recipe = find_recipe("digits-nano-simclr")
    assert isinstance(recipe, SelfSupervisedRecipe)
    small = Backbone(name="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]})
    recipe = recipe.model_copy(update={"backbone": small})
    from competition.evaluation.image_models import build_image_model

    weights = tmp_path / "model.safetensors"
    save_file(build_image_model(recipe.backbone, 0, 3).state_dict(), weights)
    features = []
    for precision in ("fp32", "bf16"):
        encoder = TrainedModel(recipe, weights).load(CPU, precision, tmp_path).encoder
        assert isinstance(encoder, ImageEncoder)
        size = encoder.image_size
        pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
        features.append(encoder.encode_images(pixels))
    assert 1e-5 < np.abs(features[0] - features[1]).max() < 0.1 * np.abs(features[0]).max()


def locked(root: Path, revision: str | None = COMMIT) -> None:
    origin = Origin.HUB if revision else Origin.ELSEWHERE
    write_lock(root, record_set(root / "s", "s", origin, source="a/b", revision=revision))


def test_a_set_of_another_revision_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "s")
    locked(tmp_path)
    for wanted in (None, COMMIT, "main"):
        task = make_task() if wanted is None else make_task(revision=wanted)
        assert evaluated(tmp_path, task).samples == 60
    with pytest.raises(EvaluationError) as failed:
        evaluated(tmp_path, make_task(revision=OTHER))
    assert failed.value.message == (
        f"The evaluation set 's' was taken at revision {COMMIT}, and task 't' wants {OTHER}."
    )


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("changed", "other bytes: test/0.tar"),
        ("missing", "missing: zeroshot_classification_templates.txt"),
        ("prompts", "other bytes: zeroshot_classification_templates.txt"),
    ],
)
def test_a_set_whose_digest_differs_from_its_lock_is_refused(tmp_path: Path, damage: str, words: str) -> None:
    """Even where its decoded images and their digest are kept from before."""
    write_set(tmp_path / "s")
    locked(tmp_path)
    evaluated(tmp_path, make_task())
    templates = tmp_path / "s" / "zeroshot_classification_templates.txt"
    if damage == "changed":
        write_set(tmp_path / "new", seed=9)
        shutil.copyfile(tmp_path / "new" / "test" / "0.tar", tmp_path / "s" / "test" / "0.tar")
    elif damage == "missing":
        templates.unlink()
    else:
        templates.write_text("a phota of {c}")
    with pytest.raises(EvaluationError) as failed:
        evaluated(tmp_path, make_task())
    assert failed.value.message == f"The evaluation set 's' differs from its lock file: {words}."


def test_an_image_beside_those_of_the_lock_counts_in_a_folder_of_images(tmp_path: Path) -> None:
    source = write_set(tmp_path / "s")
    (source / "notes.md").write_text("of mine")
    locked(tmp_path, None)
    assert evaluated(tmp_path, make_task(revision=OTHER)).samples == 60
    (source / "more.png").write_bytes(b"x")
    with pytest.raises(EvaluationError, match=r"not part of it: more\.png"):
        evaluated(tmp_path, make_task())


def test_a_file_that_is_no_lock_is_named(tmp_path: Path) -> None:
    write_set(tmp_path / "s")
    (tmp_path / "s.lock.json").write_text("{}")
    with pytest.raises(DataFormatError, match=r"s\.lock\.json is no lock file"):
        evaluated(tmp_path, make_task())


def test_memory_of_a_gpu_is_that_of_the_task() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU is at hand")
    device = torch.device("cuda", 0)
    large = torch.empty(2**26, device=device)
    del large
    peak_memory.start_measuring(device)
    small = torch.empty(2**18, device=device)
    assert 2**20 <= peak_memory.peak_bytes(device) < 2**27
    del small
    assert peak_memory.device_name(device) == torch.cuda.get_device_name(device)
