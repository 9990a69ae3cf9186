"""Dataset metrics equal GenBench's own program on the golden features, where that is what is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from competition.evaluation.dataset_metrics.cler import Recogniser, recognise
from competition.evaluation.dataset_metrics.clip_score import best_of_each_class, clip_scores
from competition.evaluation.dataset_metrics.features import Features
from competition.evaluation.dataset_metrics.frechet import Normaliser, frechet_distance
from competition.evaluation.dataset_metrics.proxy_a import genbench_proxy_a_distance, proxy_a_distance
from competition.evaluation.features import LabelledFeatures

THEIRS = {
    Recogniser.TEXT: "image_text_contrastive",
    Recogniser.NEIGHBOURS: "image_topk_label_mean",
    Recogniser.NEIGHBOURS_AND_TEXT: "image_topk_label_mean_Average_image_text_contrastive",
    Recogniser.CENTRES: "image_imageCLSCenter_contrastive",
    Recogniser.CENTRES_AND_TEXT: "image_MeanTextImageCLSCenter_contrastive",
}


@pytest.fixture(scope="module")
def folder(golden: Path) -> Path:
    return golden / "genbench"


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "expected.json").read_text())


@pytest.fixture(scope="module")
def arrays(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for name in ("features", "fid_cases", "pad_cases"):
        with np.load(folder / f"{name}.npz", allow_pickle=False) as content:
            found |= {key: content[key] for key in content.files}
    return found


@pytest.fixture(scope="module")
def train(arrays: dict[str, np.ndarray]) -> LabelledFeatures:
    """GenBench's "original": training and validation images."""
    return LabelledFeatures(
        np.concatenate([arrays["train"], arrays["val"]]),
        np.concatenate([arrays["train_labels"], arrays["val_labels"]]),
        "train",
    )


def test_recognition(expected: dict[str, Any], arrays: dict[str, np.ndarray], train: LabelledFeatures) -> None:
    test = LabelledFeatures(arrays["test"], arrays["test_labels"], "test")
    found = recognise(train, test, arrays["text"])
    assert list(found) == list(Recogniser) == list(THEIRS)
    for name, theirs in THEIRS.items():
        assert 100 * found[name].accuracy == pytest.approx(expected["accuracy"][theirs], abs=1e-6), name
        assert 100 * found[name].mean_per_class == pytest.approx(expected["mean-per-class"][theirs], abs=1e-6), name


def test_frechet_of_clip_features(
    expected: dict[str, Any], arrays: dict[str, np.ndarray], train: LabelledFeatures
) -> None:
    sets = Features.of(train.features, "train").directions(), Features.of(arrays["test"], "test").directions()
    theirs, ours = (frechet_distance(*sets, mode) for mode in (Normaliser.GENBENCH, Normaliser.OWN))
    assert theirs.value == pytest.approx(expected["fid"], abs=1e-5)
    assert ours.value == pytest.approx(expected["fid_own_recomputation_corrected_normaliser"], abs=1e-6)
    assert theirs.singular


def test_frechet_of_small_cases(expected: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    first, second = arrays["A"], arrays["B"]
    cases = {
        "A_vs_B": (first, second),
        "B_vs_A": (second, first),
        "A_vs_A": (first, first),
        "first200ofA_vs_A": (first[:200], first),
    }
    small = expected["fid_small"]
    for name, sets in cases.items():
        assert frechet_distance(*sets, Normaliser.GENBENCH).value == pytest.approx(small[name], abs=1e-8), name
    for name, value in small["own_recomputation_corrected_normaliser"].items():
        assert frechet_distance(*cases[name]).value == pytest.approx(value, abs=1e-8), name


@pytest.mark.parametrize(
    "case",
    [
        "s1_t1",
        "s1_t2",
        pytest.param("s1_t3_unbalanced_same_distribution", marks=pytest.mark.slow),
        "s1_t4_separable",
    ],
)
def test_proxy_a_distance(expected: dict[str, Any], arrays: dict[str, np.ndarray], case: str) -> None:
    first, second = (arrays[name] for name in case.split("_")[:2])
    value = expected["proxy_a_distance"][case]
    assert genbench_proxy_a_distance(first, second) == pytest.approx(value, abs=1e-9)


def test_proxy_a_distance_of_clip_features(
    expected: dict[str, Any], arrays: dict[str, np.ndarray], train: LabelledFeatures
) -> None:
    first = Features(train.features[:200], "train").directions()
    found = genbench_proxy_a_distance(first, Features.of(arrays["test"], "test").directions())
    assert found == pytest.approx(expected["proxy_a_distance"]["features_normalised_train_vs_test"], abs=1e-9)


def test_balance_removes_what_unequal_sizes_add(expected: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """The true distance is 0; GenBench says 0.93."""
    found = proxy_a_distance(arrays["s1"], arrays["t3"], splits=20)
    assert found.value < 0.3 < expected["proxy_a_distance"]["s1_t3_unbalanced_same_distribution"]
    assert proxy_a_distance(arrays["s1"], arrays["t4"]).value == 2


def test_clip_scores_and_the_images_that_are_kept(folder: Path, expected: dict[str, Any]) -> None:
    """Scores of every image, then zip members and index of the five best of each class."""
    inputs = json.loads((folder / "clip_score" / "inputs.json").read_text())
    theirs = json.loads((folder / "clip_score" / "expected" / "clip_score.json").read_text())
    folders = [inputs["folder_of_class"][name] for name in inputs["class_names"]]
    images, labels, names, values = [], [], [], []
    for number, each in enumerate(folders):
        for file, score in theirs[each]:
            with Image.open(folder / "clip_score" / "images" / each / file) as image:
                images.append(np.asarray(image, dtype=np.float32).reshape(-1) / 127.5 - 1)
            labels.append(number)
            names.append(f"{each}/{file}")
            values.append(score)
    scores = clip_scores(np.stack(images), np.array(inputs["text_embeddings"]), labels)
    assert np.abs(scores - values).max() < 1e-3
    assert scores.mean() == pytest.approx(expected["clip_score"]["mean"], abs=1e-3)
    best = best_of_each_class(scores, np.array(labels), len(folders), 5)
    assert [names[row] for rows in best for row in rows] == expected["clip_score"]["zip_members"]
    lines = [f"golden_5_train.zip@{names[row]} {number}" for number, rows in enumerate(best) for row in rows]
    assert lines == (folder / "clip_score" / "expected" / "golden_5_train.txt").read_text().splitlines()
