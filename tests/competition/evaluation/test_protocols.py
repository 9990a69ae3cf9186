"""What each protocol reads of a set and asks of a model: rows of numbers beside images, parts of a set, text towers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from competition.data.shards import Sample, read_samples, write_samples
from competition.errors import EvaluationError
from competition.evaluation import classification, fairness, knn, wilds, zeroshot
from competition.evaluation.encoders import ClipEncoder, build_clip
from competition.evaluation.features import LabelledFeatures
from competition.evaluation.image_encoders import ImageEncoder, PixelStatistics
from competition.evaluation.image_models import build_image_model
from competition.evaluation.images import Preparation
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols import EVALUATIONS, Case, Subject
from competition.evaluation.protocols import run_protocol as run_case
from competition.evaluation.protocols.case import Encoder
from competition.evaluation.protocols.grouped import COLUMNS
from competition.evaluation.sets import load_classification, load_columns
from competition.evaluation.task import evaluate_task
from competition.rules import Protocol, Task, find_recipe, find_suite
from competition.rules.protocols import METRICS
from competition.rules.recipes import Backbone, ClipRecipe

CPU = torch.device("cpu")
CLASSES, SIZE = 6, 32
REGIONS = 5


def run_protocol(encoder: Encoder, asked: Task, folder: Path, cache: Path | None) -> ProtocolOutcome:
    return run_case(Subject(encoder), Case(asked, folder, cache))


def test_every_protocol_runs() -> None:
    assert set(EVALUATIONS) == set(Protocol)


def clip() -> ClipEncoder:
    _, recipe = find_recipe("digits-nano-clip")
    assert isinstance(recipe, ClipRecipe)
    return ClipEncoder(build_clip(recipe.architecture, 1), recipe.architecture, CPU)


def image_model(classes: int = CLASSES) -> ImageEncoder:
    options = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
    model = build_image_model(Backbone(name="resnet18", options=options), classes, 3)
    return ImageEncoder(model, Preparation(SIZE), PixelStatistics((0.5,) * 3, (0.5,) * 3), CPU)


def npy(values: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(values), allow_pickle=True)
    return stream.getvalue()


def write_set(folder: Path, columns: tuple[str, ...] = (), count: int = 60, split: str = "test", seed: int = 0) -> Path:
    """Noise whose brightness says its class, with a row of numbers for each image where there are columns."""
    random = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        label = number % CLASSES
        pixels = (random.integers(0, 60, (SIZE, SIZE, 3)) + 30 * label).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        members = {"png": stream.getvalue(), "cls": str(label).encode()}
        if columns:
            values = [label if name == "y" else int(random.integers(REGIONS)) for name in columns]
            members["npy"] = npy(values)
        samples.append(Sample(f"{number:04d}", members))
    (folder / split).mkdir(parents=True)
    (folder / split / "nshards.txt").write_text("1")
    write_samples(folder / split / "0.tar", iter(samples))
    (folder / "classnames.txt").write_text("\n".join(f"level {number}" for number in range(CLASSES)))
    (folder / "zeroshot_classification_templates.txt").write_text("a photo of {c}")
    return folder


def task(protocol: Protocol) -> Task:
    metric = METRICS[protocol][0]
    return Task.model_validate({"id": "t", "title": "T", "protocol": protocol, "dataset": "s", "metric": metric})


@pytest.mark.parametrize("protocol", sorted(COLUMNS))
def test_groups_are_those_of_the_samples_rows(protocol: Protocol, tmp_path: Path) -> None:
    folder, encoder = write_set(tmp_path / "s", COLUMNS[protocol]), clip()
    found = run_protocol(encoder, task(protocol), folder, tmp_path / "cache")
    data = load_classification(folder, encoder.preparation)
    columns, logits = load_columns(folder, COLUMNS[protocol]), zeroshot.class_logits(encoder, data)
    expected = {
        Protocol.WILDS_IWILDCAM: lambda: wilds.iwildcam(logits, data.labels).metrics["F1-macro_all"],
        Protocol.WILDS_CAMELYON17: lambda: classification.score(logits, data.labels).metrics["acc1"],
        Protocol.WILDS_FMOW: lambda: wilds.fmow(logits, data.labels, columns["region"], columns["year"]).metrics[
            "acc_worst_region_without_other"
        ],
        Protocol.WILDS_FMOW_DATACOMP: lambda: wilds.fmow(
            logits, data.labels, columns["region"], columns["year"]
        ).metrics["acc_worst_region"],
        Protocol.FAIRNESS_DOLLAR_STREET: lambda: fairness.dollar_street(
            logits, data.labels, columns["income_ds"]
        ).metrics["acc_top5_wg"],
        Protocol.FAIRNESS_GEODE: lambda: fairness.geode(logits, data.labels, columns["region"]).metrics["acc_wg"],
    }[protocol]()
    metric = METRICS[protocol][0]
    assert found.metrics[metric] == expected
    assert found.samples == len(data.labels)
    # What is of one group says which: the group's own accuracy is the score.
    of_groups = {name for name in METRICS[protocol] if "worst" in name or name.endswith("_wg")}
    assert set(found.units) & set(METRICS[protocol]) == of_groups
    if metric in of_groups:
        prefix = "acc_top5" if protocol is Protocol.FAIRNESS_DOLLAR_STREET else "acc"
        assert found.metrics[f"{prefix}_{found.units[metric]}"] == expected


def test_a_worst_groups_result_names_the_group(tmp_path: Path) -> None:
    """So that no other group's images are paired with its own."""
    write_set(tmp_path / "s", COLUMNS[Protocol.FAIRNESS_GEODE])
    encoder, suite = clip(), find_suite("datacomp-38")
    asked = task(Protocol.FAIRNESS_GEODE)
    found = evaluate_task(Subject(encoder), asked, suite, tmp_path)
    assert found.units is not None
    assert found.metrics[f"acc_{found.units}"] == found.value
    plain = evaluate_task(Subject(encoder), asked.model_copy(update={"metric": "acc_avg"}), suite, tmp_path)
    assert plain.units is None


@pytest.mark.parametrize(
    "protocol",
    [
        *sorted(COLUMNS),
        Protocol.ZEROSHOT_CLASSIFICATION,
        Protocol.CLASSIFICATION,
        Protocol.KNN_SIMCORE,
        Protocol.LINEAR_PROBE,
        Protocol.LINEAR_PROBE_CLIPBENCH,
    ],
)
def test_every_metric_that_can_be_a_score_is_there(protocol: Protocol, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "s", COLUMNS.get(protocol, ()))
    write_set(folder, count=240, split="train", seed=1)
    encoder: Encoder = image_model() if protocol is Protocol.CLASSIFICATION else clip()
    found = run_protocol(encoder, task(protocol), folder, None)
    for metric in sorted(set(METRICS[protocol]) - {"auc", "map11"}):
        assert found.metrics[metric] is not None
        parts = found.components[metric]
        assert np.mean([part.mean() for part in parts]) == pytest.approx(found.metrics[metric])


def test_neighbours_are_those_of_the_training_part(tmp_path: Path) -> None:
    folder, encoder = write_set(tmp_path / "s"), image_model(0)
    write_set(folder, count=240, split="train", seed=1)
    found = run_protocol(encoder, task(Protocol.KNN_SIMCORE), folder, tmp_path / "cache")
    support, queries = (load_classification(folder, encoder.preparation, None, part) for part in ("train", "test"))
    features = [LabelledFeatures(encoder.encode_images(part.images), part.labels) for part in (support, queries)]
    by_k = knn.evaluate(*features, CLASSES, knn.SIMCORE)
    assert found.metrics["acc1@20"] == by_k[20].metrics["acc1"] > 1.5 / CLASSES
    assert found.metrics["acc1@200"] == by_k[200].metrics["acc1"]


def test_folders_of_images_without_prompts(tmp_path: Path) -> None:
    """Heads, neighbours and probes need no prompts, and both layouts give the same; zero-shot names what is missing."""
    shards, folders, encoder = write_set(tmp_path / "s"), tmp_path / "f", image_model()
    write_set(shards, count=240, split="train", seed=1)
    for split in ("train", "test"):
        for sample in read_samples(shards / split / "0.tar", ("png", "cls")):
            path = folders / split / f"level {sample.members['cls'].decode()}" / f"{sample.key}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sample.members["png"])
    (shards / "zeroshot_classification_templates.txt").unlink()
    for protocol in (Protocol.CLASSIFICATION, Protocol.KNN_SIMCORE):
        first, second = (run_protocol(encoder, task(protocol), folder, None) for folder in (shards, folders))
        assert first.metrics == second.metrics
    for folder in (shards, folders):
        with pytest.raises(EvaluationError, match="templates"):
            run_protocol(clip(), task(Protocol.ZEROSHOT_CLASSIFICATION), folder, None)


def test_a_linear_probe_learns_from_the_training_part(tmp_path: Path) -> None:
    folder, encoder = write_set(tmp_path / "s"), image_model(0)
    write_set(folder, count=240, split="train", seed=1)
    found = run_protocol(encoder, task(Protocol.LINEAR_PROBE), folder, tmp_path / "cache")
    assert found.samples == 60
    assert found.metrics["acc1"] > 2 / CLASSES


def test_a_set_without_the_part_that_is_needed(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="train"):
        run_protocol(clip(), task(Protocol.KNN_SIMCORE), write_set(tmp_path / "s"), None)


def test_models_that_lack_what_a_protocol_asks_for(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "s")
    with pytest.raises(EvaluationError, match="no text tower"):
        run_protocol(image_model(), task(Protocol.ZEROSHOT_CLASSIFICATION), folder, None)
    with pytest.raises(EvaluationError, match="no classes of its own"):
        run_protocol(clip(), task(Protocol.CLASSIFICATION), folder, None)
    with pytest.raises(EvaluationError, match="knows 7 classes"):
        run_protocol(image_model(7), task(Protocol.CLASSIFICATION), folder, None)
    with pytest.raises(EvaluationError, match="no classifier"):
        run_protocol(image_model(0), task(Protocol.CLASSIFICATION), folder, None)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (b"", "cannot be read"),
        (b"\x93NUMPY nonsense", "cannot be read"),
        (npy([1, 2, 3])[:-9], "cannot be read"),
        (npy(np.array([1, {}], dtype=object)), "cannot be read"),
        (npy([0.5, 1.0, 2.0]), "something else than whole numbers"),
        (npy([np.nan, 1.0, 2.0]), "something else than whole numbers"),
        (npy(["a", "b", "c"]), "something else than whole numbers"),
        (npy(np.zeros((2, 2), int)), "no row of numbers"),
        (npy(np.zeros(65, int)), "no row of numbers"),
        (b"\x93NUMPY" + bytes(5000), "has 5006 bytes"),
        (npy([1, 2]), "2 numbers instead of 3"),
    ],
)
def test_a_row_of_numbers_that_is_none(member: bytes, said: str, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "s", ("region", "year", "y"), count=12)
    image = next(iter(read_png(folder)))
    write_samples(folder / "test" / "0.tar", iter([Sample("bad", {"png": image, "cls": b"0", "npy": member})]))
    with pytest.raises(EvaluationError, match=f"'bad'.*{said}"):
        run_protocol(clip(), task(Protocol.WILDS_FMOW), folder, tmp_path / "cache")


def read_png(folder: Path) -> list[bytes]:
    return [sample.members["png"] for sample in read_samples(folder / "test" / "0.tar", ("png",))]


def test_rows_that_belong_to_other_images_are_refused(tmp_path: Path) -> None:
    """DataComp reads labels and rows by separate passes, and would not notice."""
    folder = write_set(tmp_path / "s", ("region", "year", "y"), count=12)
    image = read_png(folder)[0]
    samples = [Sample("a", {"png": image, "cls": b"0", "npy": npy([0, 1, 2])})]
    write_samples(folder / "test" / "0.tar", iter(samples))
    with pytest.raises(EvaluationError, match="has class 0, and its row of numbers says 2"):
        run_protocol(clip(), task(Protocol.WILDS_FMOW), folder, None)
