"""``datacup metrics``: what it prints is what the functions say of the files' arrays; bad files end in one sentence."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from competition.evaluation.dataset_metrics.cler import recognise
from competition.evaluation.dataset_metrics.clip_iqa import clip_iqa
from competition.evaluation.dataset_metrics.clip_score import best_of_each_class, clip_s, clip_scores
from competition.evaluation.dataset_metrics.cmmd import Estimator, cmmd
from competition.evaluation.dataset_metrics.features import Features
from competition.evaluation.dataset_metrics.frechet import Normaliser, frechet_distance
from competition.evaluation.dataset_metrics.inception_score import Answers, inception_score
from competition.evaluation.dataset_metrics.kid import kernel_distance, kernel_distance_of_subsets
from competition.evaluation.dataset_metrics.neighbourhoods import neighbourhoods
from competition.evaluation.dataset_metrics.proxy_a import genbench_proxy_a_distance, proxy_a_distance
from competition.evaluation.features import LabelledFeatures
from participant_kit import feature_files
from tests.participant_kit.cli.typed import refused, typed

FIRST, SECOND = (np.random.default_rng(seed).normal(size=(40 - 8 * seed, 5)).astype(np.float32) for seed in (0, 1))
LABELS = np.arange(40) % 4
TEXTS = np.random.default_rng(2).normal(size=(4, 5))


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the working folder: both sets, one of them in a compressed npz, the other among others in a stored one."""
    monkeypatch.chdir(tmp_path)
    np.save("first.npy", FIRST)
    np.savez_compressed("second.npz", other=SECOND)
    np.savez("several.npz", l14_img=SECOND.astype(np.float16), b32_img=FIRST)
    np.savez("train.npz", features=FIRST, labels=LABELS)
    np.savez_compressed("test.npz", features=SECOND, labels=LABELS[:32])
    np.save("texts.npy", TEXTS)


def answer(*words: str) -> Any:
    result = typed("metrics", *words, "--json")
    assert result.code == 0, result.err
    return json.loads(result.out)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("frechet", asdict(frechet_distance(FIRST, SECOND))),
        ("frechet --genbench", asdict(frechet_distance(FIRST, SECOND, Normaliser.GENBENCH))),
        (
            "frechet --normalise",
            asdict(frechet_distance(*(Features.of(each, "set").directions() for each in (FIRST, SECOND)))),
        ),
        ("kid", {"value": kernel_distance(FIRST, SECOND).value}),
        (
            "kid --subset-size 9 --splits 7 --seed 3",
            asdict(kernel_distance_of_subsets(FIRST, SECOND, size=9, subsets=7, seed=3)),
        ),
        ("cmmd", {"value": cmmd(FIRST, SECOND)}),
        ("cmmd --unbiased", {"value": cmmd(FIRST, SECOND, estimator=Estimator.UNBIASED)}),
        ("precision-recall", asdict(neighbourhoods(FIRST, SECOND))),
        ("precision-recall --neighbours 2", asdict(neighbourhoods(FIRST, SECOND, 2))),
        ("proxy-a --splits 2 --seed 4", asdict(proxy_a_distance(FIRST, SECOND, splits=2, seed=4))),
        ("proxy-a --genbench", {"value": genbench_proxy_a_distance(FIRST, SECOND)}),
    ],
)
def test_distances_are_the_functions(words: str, expected: dict[str, Any]) -> None:
    shown = answer("distance", "first.npy", "second.npz", "--metric", *words.split())
    assert shown["values"] == json.loads(json.dumps(expected))
    assert (shown["rows"], shown["dimensions"]) == ([40, 32], 5)
    assert shown["normalised"] == ("--normalise" in words or words.startswith("cmmd"))
    table = typed("metrics", "distance", "first.npy", "second.npz", "--metric", *words.split())
    first = next(iter(expected.values()))
    assert f"{first:.6g}" in table.out


def test_an_array_of_several_is_named() -> None:
    shown = answer("distance", "several.npz", "first.npy", "--metric", "kid", "--features", "l14_img")
    assert shown["values"]["value"] == kernel_distance(SECOND.astype(np.float16), FIRST).value
    failed = refused("metrics", "distance", "several.npz", "first.npy", "--metric", "kid")
    assert "it has l14_img, b32_img" in failed.err
    assert "--features" in failed.err
    failed = refused("metrics", "distance", "several.npz", "first.npy", "--metric", "kid", "--features", "b16")
    assert "has no 'b16'" in failed.err


def test_a_singular_set_is_said_so() -> None:
    np.save("few.npy", FIRST[:5])
    result = typed("metrics", "distance", "few.npy", "second.npz", "--metric", "frechet")
    assert "no more rows than dimensions" in result.err
    assert "no more rows" not in typed("metrics", "distance", "first.npy", "second.npz", "--metric", "frechet").err


def test_cler_is_the_function_of_all_training_files() -> None:
    shown = answer(
        *[
            "cler",
            "--train",
            "train.npz",
            "--train",
            "test.npz",
            "--test",
            "test.npz",
            "--text",
            "texts.npy",
            "--neighbours",
            "3",
        ]
    )
    train = LabelledFeatures(np.concatenate([FIRST, SECOND]), np.array([*LABELS, *LABELS[:32]]), "train")
    test = LabelledFeatures(SECOND, np.array(LABELS[:32]), "test")
    expected = recognise(train, test, TEXTS, neighbours=3)
    assert list(shown["scores"]) == [name.value for name in expected]
    for name, each in expected.items():
        found = shown["scores"][name.value]
        assert (found["accuracy"], found["mean_per_class"]) == (each.accuracy, each.mean_per_class)
        assert found["recall"] == each.recall.tolist()
    assert shown["rows"] == {"train": 72, "test": 32}
    table = typed(*["metrics", "cler", "--train", "train.npz", "--test", "test.npz"])
    assert "centres" in table.out
    assert "text" not in table.out


def test_a_class_without_test_images_has_no_recall() -> None:
    np.savez("part.npz", features=SECOND[:3], labels=LABELS[:3])
    shown = answer(*["cler", "--train", "train.npz", "--test", "part.npz"])
    assert [value is None for value in shown["scores"]["centres"]["recall"]] == [False, False, False, True]


def test_scores_are_the_functions() -> None:
    scores = clip_scores(FIRST, TEXTS, LABELS)
    shown = answer("clip-score", "train.npz", "texts.npy", "--keep", "2")
    assert shown["clip_score"] == scores.mean()
    assert shown["clip_s"] == clip_s(scores).mean()
    best = best_of_each_class(scores, LABELS, 4, 2)
    assert [[each["row"] for each in rows] for rows in shown["best"]] == [rows.tolist() for rows in best]
    assert [each["score"] for each in shown["best"][0]] == scores[best[0]].tolist()
    np.save("other.npy", TEXTS[::-1])
    shown = answer("clip-iqa", "first.npy", "--positive", "texts.npy", "--negative", "other.npy")
    assert [each["mean"] for each in shown["pairs"]] == clip_iqa(FIRST, TEXTS, TEXTS[::-1]).mean(axis=0).tolist()
    shown = answer("inception-score", "first.npy", "--splits", "3", "--seed", "5")
    assert shown["splits"] == inception_score(FIRST, splits=3, seed=5).splits.tolist()
    shares = np.exp(FIRST) / np.exp(FIRST).sum(axis=1, keepdims=True)
    np.save("shares.npy", shares)
    shown = answer("inception-score", "shares.npy", "--probabilities")
    assert shown["mean"] == inception_score(shares, kind=Answers.PROBABILITIES).mean
    assert "Inception score" in typed("metrics", "inception-score", "first.npy").out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("kid --splits 3", "--splits means nothing for --metric kid."),
        ("frechet --seed 3", "--seed means nothing for --metric frechet."),
        ("cmmd --genbench", "--genbench means nothing for --metric cmmd."),
        ("precision-recall --subset-size 3", "--subset-size means nothing for --metric precision-recall."),
        ("proxy-a --genbench --splits 3", "--splits means nothing for --metric proxy-a with --genbench."),
        ("kid --subset-size 33", "A subset of 33 rows is larger than second.npz:other, which has 32."),
        ("precision-recall --neighbours 32", "needs 33 rows or more; second.npz:other has 32."),
    ],
)
def test_options_that_do_not_fit(words: str, sentence: str) -> None:
    assert sentence in refused("metrics", "distance", "first.npy", "second.npz", "--metric", *words.split()).err


def bad_files() -> dict[str, str]:
    """Written into the working folder: names, and what is said of each."""
    np.save("none.npy", FIRST[:0])
    np.save("one.npy", FIRST[:1])
    np.save("narrow.npy", FIRST[:, :3])
    np.save("numbers.npy", np.arange(20).reshape(4, 5))
    np.save("flat.npy", FIRST[0])
    np.save("lacking.npy", np.where(FIRST[7, 1] == FIRST, np.nan, FIRST))
    np.save("objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.savez("objects.npz", features=np.array([[{}]], dtype=object))
    Path("words.npy").write_text("no array")
    Path("words.npz").write_text("no array")
    Path("first.csv").write_text("1,2")
    Path("short.npy").write_bytes(Path("first.npy").read_bytes()[:-8])
    Path("folder.npy").mkdir()
    os.mkfifo("pipe.npy")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000), }"
    with zipfile.ZipFile("bomb.npz", "w", zipfile.ZIP_DEFLATED) as members:
        padded = header + b" " * (117 - len(header)) + b"\n"
        members.writestr("features.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + b"0000")
    return {
        "none.npy": "none.npy has 0",
        "one.npy": "needs 2 rows or more; one.npy has 1",
        "narrow.npy": "Dimensions differ: narrow.npy has 3, first.npy has 5",
        "numbers.npy": "Not rows of floats: numbers.npy has shape (4, 5) and type int64",
        "flat.npy": "Not rows of floats: flat.npy has shape (5,)",
        "lacking.npy": "Row 7 of lacking.npy is not finite",
        "objects.npy": "objects.npy is not a plain .npy file",
        "objects.npz": "pickled objects, which are never loaded",
        "words.npy": "words.npy is not a plain .npy file",
        "words.npz": "words.npz is damaged or is not an npz",
        "first.csv": "first.csv is no file of features",
        "short.npy": "short.npy is not a plain .npy file",
        "folder.npy": "There is no file folder.npy",
        "pipe.npy": "There is no file pipe.npy",
        "absent.npy": "There is no file absent.npy",
        "bomb.npz": "more than 4294967296",
    }


def test_bad_files_end_in_one_sentence() -> None:
    for name, sentence in bad_files().items():
        failed = refused("metrics", "distance", name, "first.npy", "--metric", "kid")
        assert sentence in failed.err, name


def test_bad_labels_end_in_one_sentence() -> None:
    np.savez("few.npz", features=FIRST, labels=LABELS[:-1])
    np.savez("real.npz", features=FIRST, labels=LABELS.astype(float))
    np.savez("gap.npz", features=FIRST, labels=LABELS * 2)
    np.savez("huge.npz", features=FIRST, labels=LABELS + 2**60)
    np.savez("narrow.npz", features=FIRST[:, :4], labels=LABELS)
    for name, sentence in {
        "few.npz": "The labels of few.npz:features have shape (39,)",
        "real.npz": "type float64",
        "gap.npz": "Class 1 has no row in the file gap.npz:features",
        "huge.npz": "Class 0 has no row in the file huge.npz:features",
        "narrow.npz": "Dimensions differ: the file narrow.npz:features has 4, the file test.npz:features has 5",
        "second.npz": "has no 'labels'",
        "first.npy": "first.npy is no .npz file",
    }.items():
        assert sentence in refused("metrics", "cler", "--train", name, "--test", "test.npz").err, name
    assert (
        "Dimensions differ"
        in refused(*["metrics", "cler", "--train", "train.npz", "--train", "narrow.npz", "--test", "test.npz"]).err
    )


def test_files_that_do_not_fit_into_memory_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_files, "MOST_BYTES", FIRST.nbytes + SECOND.nbytes - 1)
    failed = refused(*["metrics", "cler", "--train", "train.npz", "--train", "test.npz", "--test", "test.npz"])
    assert "and 1 more files have 1,440 bytes, more than 1,439" in failed.err
    monkeypatch.setattr(feature_files, "MOST_BYTES", SECOND.nbytes - 1)
    assert typed(*["metrics", "inception-score", "train.npz"]).code == 0, "a stored array is mapped"
    assert "more than 639" in refused(*["metrics", "inception-score", "test.npz"]).err
