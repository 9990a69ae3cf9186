"""Zero-shot classification and retrieval equal CLIP_benchmark's own results on the golden sets."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from competition.evaluation import retrieval, zeroshot
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.images import Preparation
from competition.evaluation.sets import load_classification, load_retrieval


def expected(folder: Path, name: str) -> dict[str, float]:
    return json.loads((folder / "expected" / f"{name}.json").read_text())["metrics"]


@pytest.mark.parametrize("name", ["digits10", "digits4"])
def test_classification_equals_the_original(zeroshot_golden: Path, golden_encoder: ClipEncoder, name: str) -> None:
    outcome = zeroshot.evaluate(golden_encoder, load_classification(zeroshot_golden / name, Preparation(32)))
    for metric, value in expected(zeroshot_golden, f"{name}_zeroshot").items():
        ours = outcome.metrics[metric]
        if math.isnan(value):
            assert ours is None
        else:
            assert ours == pytest.approx(value, abs=1e-6)


def test_classifier_and_logits_equal_the_original(zeroshot_golden: Path, golden_encoder: ClipEncoder) -> None:
    data = load_classification(zeroshot_golden / "digits10", Preparation(32))
    golden = np.load(zeroshot_golden / "expected" / "digits10_logits.npz", allow_pickle=False)
    classifier = zeroshot.text_classifier(golden_encoder, data.class_names, data.templates)
    assert np.all((classifier * golden["classifier"]).sum(axis=0) > 0.99999)
    assert np.array_equal(data.labels, golden["labels"])
    assert np.abs(zeroshot.class_logits(golden_encoder, data) - golden["logits"]).max() < 1e-3


def test_retrieval_equals_the_original(zeroshot_golden: Path, golden_encoder: ClipEncoder) -> None:
    data = load_retrieval(zeroshot_golden / "retrieval", Preparation(32))
    outcome = retrieval.evaluate(golden_encoder, data)
    for metric, value in expected(zeroshot_golden, "retrieval").items():
        assert outcome.metrics[metric] == pytest.approx(value, abs=1e-6)
