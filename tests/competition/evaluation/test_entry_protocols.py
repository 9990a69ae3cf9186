"""Protocols about an entry's images give what the functions of the science give, in the features of fixed models."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from competition.canonical import digest
from competition.data.shards import Sample, write_samples, write_shard
from competition.errors import EvaluationError
from competition.evaluation import classification, knn, ranking_metrics, zeroshot
from competition.evaluation.class_statistics import class_scores
from competition.evaluation.converted_models import DINO_RN50
from competition.evaluation.dataset_metrics import (
    clip_iqa,
    clip_score,
    cmmd,
    frechet,
    inception_score,
    kid,
    neighbourhoods,
    proxy_a,
)
from competition.evaluation.dataset_metrics.cler import Recogniser, recognise, scores_of
from competition.evaluation.dataset_metrics.features import Features
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.entry_images import open_entry_images
from competition.evaluation.features import LabelledFeatures
from competition.evaluation.fixed_models import CLIP_B32, FixedModels
from competition.evaluation.image_encoders import ImageEncoder
from competition.evaluation.images import Preparation
from competition.evaluation.multilabel import load_multilabel
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols import Case, Subject, datasets, run_protocol
from competition.evaluation.protocols.case import Encoder
from competition.evaluation.run import evaluate_task
from competition.evaluation.sets import load_classification
from competition.evaluation.support_sampling import balanced_support, rows_of_classes
from competition.rules import Aggregate, Protocol, Suite, Task
from competition.rules.protocols import METRICS, UNBOUNDED
from tests.competition.evaluation.entries import (
    CLASSES,
    CPU,
    NAMES,
    clip,
    image_model,
    picture,
    spread,
    tiny_models,
    write_set,
    write_shards,
)

ENTRY = [*spread(30), 0, 0, 0, 1, 1, 2]
QUERIES = spread(24)
GIVEN_NAMES = [f"class {number}" for number in range(9)]
GENBENCH_NAMES = {
    "text": "image_text_contrastive",
    "neighbours": "image_topk_label_mean",
    "neighbours-text": "image_topk_label_mean_Average_image_text_contrastive",
    "centres": "image_imageCLSCenter_contrastive",
    "centres-text": "image_MeanTextImageCLSCenter_contrastive",
}


def task(protocol: Protocol, metric: str, **settings: object) -> Task:
    return Task.model_validate(
        {"id": "t", "title": "T", "protocol": protocol, "dataset": "set", "metric": metric, "settings": settings}
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    write_set(folder / "set", QUERIES)
    write_shards(folder / "entry", ENTRY)
    return folder


@pytest.fixture(scope="module")
def subject(root: Path) -> Subject:
    return Subject(image_model(), open_entry_images(root / "entry"), fixed=tiny_models())


def run(subject: Subject, asked: Task, root: Path) -> ProtocolOutcome:
    return run_protocol(subject, Case(asked, root / "set", root / "cache"))


def features(encoder: Encoder, root: Path) -> tuple[LabelledFeatures, LabelledFeatures]:
    """Of the entry and of the test images, read in another way."""
    images = open_entry_images(root / "entry")
    test = load_classification(root / "set", encoder.preparation)
    return (
        LabelledFeatures(encoder.encode_images(images.pixels(encoder.preparation, None)[0]), images.labels),
        LabelledFeatures(encoder.encode_images(test.images), test.labels),
    )


def expected_of(metric: str, root: Path) -> float:
    """A metric of datasets from its function, in the features of the tiny model that stands for its space."""
    encoder: Encoder = clip() if datasets.SPACES[metric].startswith("open_clip:") else image_model()
    entry, test = features(encoder, root)
    near = neighbourhoods.neighbourhoods(test.features, entry.features)
    if metric == "clip_score":
        assert isinstance(encoder, ClipEncoder)
        texts = encoder.encode_texts([f"a photo of a {name}" for name in NAMES])
        return float(clip_score.clip_scores(entry.features, texts, entry.labels).mean())
    if metric == "clip_iqa":
        assert isinstance(encoder, ClipEncoder)
        good, bad = encoder.encode_texts(["Good photo."]), encoder.encode_texts(["Bad photo."])
        return float(clip_iqa.clip_iqa(entry.features, good, bad).mean())
    if metric == "inception_score":
        assert isinstance(encoder, ImageEncoder)
        pixels = open_entry_images(root / "entry").pixels(encoder.preparation, None)[0]
        return inception_score.inception_score(encoder.class_logits(pixels)).mean
    return {
        "fid": lambda: frechet.frechet_distance(entry.features, test.features).value,
        "kid": lambda: kid.kernel_distance(entry.features, test.features).value,
        "cmmd": lambda: cmmd.cmmd(entry.features, test.features),
        "proxy_a_distance": lambda: proxy_a.proxy_a_distance(entry.features, test.features).value,
        "precision": lambda: near.precision,
        "recall": lambda: near.recall,
        "density": lambda: near.density,
        "coverage": lambda: near.coverage,
    }[metric]()


@pytest.mark.parametrize("metric", METRICS[Protocol.DATASET_METRICS])
def test_metrics_of_datasets_are_their_functions(metric: str, subject: Subject, root: Path) -> None:
    found = run(subject, task(Protocol.DATASET_METRICS, metric), root)
    assert found.metrics[metric] == pytest.approx(expected_of(metric, root), rel=1e-5, abs=1e-6)
    alone = metric in {"clip_score", "clip_iqa", "inception_score"}
    assert found.samples == (len(ENTRY) if alone else len(QUERIES))
    if metric in {"fid", "kid", "cmmd", "proxy_a_distance", "inception_score"}:
        assert not found.components
        return
    (parts,) = found.components[metric]
    assert parts.mean() == pytest.approx(found.metrics[metric])
    assert len(parts) == (len(QUERIES) if metric in {"recall", "coverage"} else len(ENTRY))
    assert (metric in found.proportions) == (metric in {"precision", "recall", "coverage"})


def test_every_metric_of_datasets_has_the_space_of_its_source() -> None:
    assert set(datasets.SPACES) == set(METRICS[Protocol.DATASET_METRICS])
    genbench = {metric for metric, space in datasets.SPACES.items() if space == CLIP_B32}
    assert genbench == {"fid", "proxy_a_distance"}


@pytest.mark.parametrize("measure", ["acc1", "mean_per_class_recall"])
def test_recognisers_are_their_functions(measure: str, subject: Subject, root: Path) -> None:
    encoder = clip()
    entry, test = features(encoder, root)
    texts = zeroshot.text_classifier(encoder, NAMES, ["a photo of {c}", "the {c}"]).T
    expected = recognise(
        LabelledFeatures(entry.features, entry.labels, "entry"),
        LabelledFeatures(test.features, test.labels, "test"),
        texts,
    )
    found = run(subject, task(Protocol.CLER, "centres", measure=measure), root)
    for name in Recogniser:
        value = expected[name].accuracy if measure == "acc1" else expected[name].mean_per_class
        assert found.metrics[name.value] == pytest.approx(value)
        parts = found.components[name.value]
        assert np.mean([part.mean() for part in parts]) == pytest.approx(value)
        assert len(parts) == (1 if measure == "acc1" else CLASSES)
    assert (found.proportions == set(METRICS[Protocol.CLER])) == (measure == "acc1")


@pytest.mark.parametrize("measure", ["auc", "map11"])
def test_rankings_of_recognisers_compare_probabilities(measure: str, subject: Subject, root: Path) -> None:
    encoder = clip()
    entry, test = features(encoder, root)
    train = LabelledFeatures(entry.features, entry.labels, "entry")
    ((_, scores),) = scores_of(train, Features.of(test.features, "test"), CLASSES)
    centres = np.exp(scores[Recogniser.CENTRES])
    of = {
        Recogniser.CENTRES: centres / centres.sum(axis=1, keepdims=True),
        Recogniser.NEIGHBOURS: scores[Recogniser.NEIGHBOURS],
    }
    found = run(subject, task(Protocol.CLER, "centres", measure=measure), root)
    flags = ranking_metrics.one_hot(test.labels, CLASSES)
    for name, shares in of.items():
        value = (
            ranking_metrics.area_under_roc(shares, test.labels)
            if measure == "auc"
            else ranking_metrics.mean_average_precision_11(shares, flags)
        )
        assert found.metrics[name.value] == pytest.approx(value)
        assert found.components[name.value][0].mean() == pytest.approx(value)
    assert not found.proportions


@pytest.mark.parametrize("measure", ["auc", "map11"])
def test_test_images_may_show_several_classes(measure: str, subject: Subject, tmp_path: Path) -> None:
    """As in VOC 2007: each entry image is of one class, a test image of some, or of none."""
    folder = write_set(tmp_path / "set", QUERIES)
    shown = [[number % CLASSES, (number * 5 + 1) % CLASSES][: number % 3] for number in range(len(QUERIES))]
    random = np.random.default_rng(1)
    made = [
        Sample(
            f"{place:03d}",
            {"png": picture(place % CLASSES, random), "cls": (" ".join(map(str, classes)) or "-").encode()},
        )
        for place, classes in enumerate(shown)
    ]
    write_samples(folder / "test" / "0.tar", made)
    (folder / "dataset_type.txt").write_text("multilabel")
    found = run(subject, task(Protocol.CLER, "neighbours", measure=measure), tmp_path)
    data = load_multilabel(folder, clip().preparation)
    images = open_entry_images(write_shards(tmp_path / "entry", ENTRY))
    train = LabelledFeatures(clip().encode_images(images.pixels(clip().preparation, None)[0]), images.labels, "entry")
    ((_, scores),) = scores_of(train, Features.of(clip().encode_images(data.images), "test"), CLASSES)
    flags = np.array([[label in classes for label in range(CLASSES)] for classes in shown])
    metric = ranking_metrics.mean_area_under_roc if measure == "auc" else ranking_metrics.mean_average_precision_11
    assert found.metrics["neighbours"] == pytest.approx(metric(scores[Recogniser.NEIGHBOURS], flags))
    with pytest.raises(EvaluationError, match="is measured by acc1, and images of its set show several classes"):
        run(subject, task(Protocol.CLER, "centres"), tmp_path)
    beside = run(subject, task(Protocol.DATASET_METRICS, "fid"), tmp_path)
    assert (beside.metrics["fid"] or 0) > 0


def test_recognisers_without_text_need_no_prompts(subject: Subject, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", QUERIES)
    (folder / "zeroshot_classification_templates.txt").unlink()
    found = run(subject, task(Protocol.CLER, "centres"), tmp_path)
    assert found.metrics["centres"] is not None
    assert found.metrics["centres-text"] is None
    with pytest.raises(EvaluationError, match="prompt templates"):
        run(subject, task(Protocol.CLER, "centres-text"), tmp_path)


def test_a_class_without_images_recognises_nothing(root: Path, tmp_path: Path) -> None:
    images = open_entry_images(write_shards(tmp_path / "entry", [label for label in ENTRY if label != 4]))
    with pytest.raises(EvaluationError, match="Class 4 has no row in the entry"):
        run(Subject(images=images, fixed=tiny_models()), task(Protocol.CLER, "centres"), root)


def test_selects_neighbours_are_votes_of_the_entrys_images(subject: Subject, root: Path) -> None:
    """No class has 24 images, so that the rest is drawn; 144 vectors are too few for 200 neighbours."""
    entry, test = features(image_model(), root)
    found = run(subject, task(Protocol.KNN_SELECT, "acc1@20", support_per_class=24), root)
    support = balanced_support(entry, CLASSES, 24 * CLASSES).support
    by_k = knn.evaluate(support, test, CLASSES, knn.KnnSettings((10, 20, 100)))
    assert {name for name in found.metrics if "@200" in name} == set()
    for k, expected in by_k.items():
        for name in ("acc1", "acc5"):
            assert found.metrics[f"{name}@{k}"] == pytest.approx(expected.metrics[name])
            assert np.array_equal(found.components[f"{name}@{k}"][0], expected.components[name][0])
    assert found.samples == len(QUERIES)


def test_only_images_that_may_vote_are_looked_at(root: Path) -> None:
    models = tiny_models()
    seen = counted(models.encoder(DINO_RN50))
    subject = Subject(images=open_entry_images(root / "entry"), fixed=models)
    run(subject, task(Protocol.KNN_SELECT, "acc1@10", support_per_class=4), root)
    assert sum(seen) == len(QUERIES) + 4 * CLASSES


def test_more_neighbours_than_the_support_has_are_an_error(subject: Subject, root: Path) -> None:
    with pytest.raises(EvaluationError, match="support set has 30 images, which is fewer than the 100"):
        run(subject, task(Protocol.KNN_SELECT, "acc5@100"), root)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.integers(1, 8),
    st.integers(0, 3),
)
@settings(max_examples=50, deadline=None)
def test_rows_of_classes_are_as_many_of_each_as_there_may_be(labels: list[int], per_class: int, seed: int) -> None:
    given_labels = np.array(labels)
    rows = rows_of_classes(given_labels, per_class, seed)
    assert (np.diff(rows) > 0).all()
    counts = np.bincount(given_labels, minlength=5)
    assert np.bincount(given_labels[rows], minlength=5).tolist() == np.minimum(counts, per_class).tolist()


def test_rows_of_classes_are_drawn() -> None:
    """The first ones would be those of the first shards."""
    labels = np.zeros(1000, dtype=np.int64)
    assert rows_of_classes(labels, 100).max() > 900
    assert not np.array_equal(rows_of_classes(labels, 100, 0), rows_of_classes(labels, 100, 1))


def test_statistics_are_of_the_entrys_samples(root: Path, tmp_path: Path) -> None:
    labels = [0] * 510 + [1] * 30 + [3] * 3
    (tmp_path / "entry").mkdir()
    random = np.random.default_rng(0)
    for number, label in enumerate(labels):
        path = tmp_path / "entry" / NAMES[label] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(label, random, 4))
    found = run(
        Subject(images=open_entry_images(tmp_path / "entry")), task(Protocol.CLASS_STATISTICS, "coverage_classes"), root
    )
    assert found.metrics["coverage_classes"] == 3
    assert found.metrics["long_tail@500"] == CLASSES - 1
    assert found.metrics["large_share@5"] == pytest.approx(100 * 510 / 543)
    assert (found.samples, found.components) == (543, {})


def test_confusion_asks_the_model_and_no_images(root: Path) -> None:
    model = image_model()
    data = load_classification(root / "set", model.preparation)
    answers = classification.first_choices(model.class_logits(data.images), len(QUERIES), CLASSES)
    found = run(Subject(model), task(Protocol.CLASS_STATISTICS, "confusion_skew"), root)
    expected = class_scores(data.labels, answers, CLASSES).skew.mean()
    assert found.metrics["confusion_skew"] == pytest.approx(expected)
    with pytest.raises(EvaluationError, match="knows 9 classes"):
        run(Subject(image_model(9)), task(Protocol.CLASS_STATISTICS, "confusion_skew"), root)


@pytest.mark.parametrize(
    ("protocol", "metric"),
    [
        (Protocol.KNN_SELECT, "acc1@20"),
        (Protocol.CLER, "centres"),
        (Protocol.DATASET_METRICS, "clip_score"),
        (Protocol.DATASET_METRICS, "fid"),
        (Protocol.CLASS_STATISTICS, "coverage_classes"),
    ],
)
def test_without_images_there_is_one_sentence(protocol: Protocol, metric: str, root: Path) -> None:
    asked = task(protocol, metric)
    assert asked.needs_images
    with pytest.raises(EvaluationError, match="is about the images that the entry consists of") as raised:
        run(Subject(image_model(), fixed=tiny_models()), asked, root)
    assert "--entry-data" in str(raised.value.hint)


def counted(encoder: Encoder) -> list[int]:
    """How many images each batch has that the model sees from now on."""
    seen: list[int] = []
    network = encoder.model.visual if isinstance(encoder, ClipEncoder) else encoder._model.conv1
    network.register_forward_pre_hook(lambda _module, given: seen.append(len(given[0])))
    return seen


def test_features_of_an_entry_are_computed_once(root: Path) -> None:
    """By one model for all tasks in its space; here the sets are cached, so that the test images are too."""
    models = tiny_models()
    seen = counted(models.encoder(CLIP_B32))
    subject = Subject(images=open_entry_images(root / "entry"), fixed=models)
    for metric in ("fid", "proxy_a_distance", "fid"):
        run(subject, task(Protocol.DATASET_METRICS, metric), root)
    run(subject, task(Protocol.CLER, "centres"), root)
    assert sum(seen) == len(ENTRY) + len(QUERIES)


@pytest.mark.parametrize("metric", ["fid", "clip_score", "density", "precision", "clip_iqa"])
def test_results_are_records(metric: str, subject: Subject, root: Path) -> None:
    """Distances without an interval; means with one that holds them, whatever their range."""
    asked = task(Protocol.DATASET_METRICS, metric)
    average = Aggregate(id="a", title="A", tasks=("t",))
    suite = Suite(id="s", version=1, tasks=(asked,), aggregates=(average,), primary="a")
    result = evaluate_task(subject, asked, suite, root)
    assert json.loads(result.model_dump_json())["value"] == result.value
    if metric == "fid":
        assert result.interval is None
        assert result.outcomes == ()
        return
    assert result.interval is not None
    assert result.interval.low <= result.value <= result.interval.high
    assert result.interval.method == ("clopper-pearson" if metric == "precision" else "bootstrap")
    if metric == "clip_score":
        assert metric in UNBOUNDED
        assert abs(result.value) > 1


class _Given(nn.Module):
    """A stand-in CLIP as in the golden files: an image's pixels say which of the given features are its own."""

    def __init__(self, features: NDArray[np.float32]) -> None:
        super().__init__()
        self.features = nn.Parameter(torch.from_numpy(features), requires_grad=False)

    def encode_image(self, pixels: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        levels = (pixels[:, :, 0, 0] * 255).round().long()
        found = self.features[levels[:, 0] * 256 + levels[:, 1]]
        return found / found.norm(dim=1, keepdim=True) if normalize else found


def given_entry(golden: Path, folder: Path) -> Subject:
    """GenBench's golden features as an entry (train and val) and a set, with the text features of the classes."""
    given = np.load(golden / "genbench" / "features.npz")
    features = np.concatenate([given["train"], given["val"], given["test"]]).astype(np.float32)
    labels = np.concatenate([given["train_labels"], given["val_labels"], given["test_labels"]])
    made = [numbered(row, int(label)) for row, label in enumerate(labels)]
    entry = len(given["train"]) + len(given["val"])
    for path in (folder / "entry", folder / "set" / "test"):
        path.mkdir(parents=True)
    write_shard(folder / "entry", 0, made[:entry])
    write_samples(folder / "set" / "test" / "0.tar", made[entry:])
    (folder / "set" / "test" / "nshards.txt").write_text("1")
    (folder / "set" / "classnames.txt").write_text("\n".join(GIVEN_NAMES))
    (folder / "set" / "zeroshot_classification_templates.txt").write_text("{c}")
    encoder = ClipEncoder(
        _Given(features),
        None,
        CPU,
        tokenize=lambda texts: torch.zeros(len(texts), 1),
        preparation=Preparation(2),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )
    # Where the encoder would find the classifier of these classes, had it made it before.
    encoder.memory.once("classifier", digest([GIVEN_NAMES, ["{c}"]]), lambda: given["text"].T.astype(np.float32))
    return Subject(images=open_entry_images(folder / "entry"), fixed=FixedModels(load=lambda _name: encoder))


def numbered(row: int, label: int) -> Sample:
    """A picture whose pixels say the number of a row."""
    stream = io.BytesIO()
    Image.fromarray(np.full((2, 2, 3), (row // 256, row % 256, 0), dtype=np.uint8)).save(stream, "PNG")
    return Sample(f"{row:05d}", {"png": stream.getvalue(), "cls": str(label).encode()})


def test_genbenchs_own_scores_come_out(golden: Path, tmp_path: Path) -> None:
    """All five scores as its program printed them; of FID what it would print without its mistake of the normaliser."""
    expected = json.loads((golden / "genbench" / "expected.json").read_text())
    subject = given_entry(golden, tmp_path)
    for measure, name in (("acc1", "accuracy"), ("mean_per_class_recall", "mean-per-class")):
        found = run(subject, task(Protocol.CLER, "centres", measure=measure), tmp_path).metrics
        for recogniser, key in GENBENCH_NAMES.items():
            assert 100 * (found[recogniser] or 0) == pytest.approx(expected[name][key], abs=1e-6)
    fid = run(subject, task(Protocol.DATASET_METRICS, "fid"), tmp_path).metrics["fid"]
    assert fid == pytest.approx(expected["fid_own_recomputation_corrected_normaliser"], abs=1e-5)
