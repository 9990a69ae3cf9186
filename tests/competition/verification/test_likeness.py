"""A copy with noise is near, another seed and another model are far, and the places that are looked at are secret."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from competition.verification.likeness import NEAR, SAMPLES, Sample, relative_distance, weight_sample
from competition.verification.safetensors_file import read_header
from tests.competition.verification.entries import tiny_weights

SALT = b"a salt"


def sample(folder: Path, weights: dict[str, np.ndarray], salt: bytes = SALT) -> Sample:
    path = folder / "model.safetensors"
    save_file(weights, path)
    return weight_sample(path, read_header(path, "model"), salt)


def with_noise(weights: dict[str, np.ndarray], share: float) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {
        name: np.asarray(each + share * each.std() * random.standard_normal(each.shape), np.float32)
        for name, each in weights.items()
    }


def test_a_sample_holds_weights_of_the_file_in_proportion_to_its_tensors(tmp_path: Path) -> None:
    weights = {"b": np.full((30, 10), 2.0, np.float32), "a": np.full((70, 10), 1.0, np.float32)}
    found = sample(tmp_path, {**weights, "bias": np.full(9, 7.0, np.float32), "whole": np.full((9, 9), 7)})
    assert found.shape == (SAMPLES,)
    assert set(found.tolist()) == {1.0, 2.0}
    assert abs(np.mean(found == 2.0) - 0.3) < 0.05
    assert found.tolist() == sorted(found.tolist()), "in the order of the names"


@pytest.mark.parametrize("share", [0.0, 1e-4, 1e-3, 5e-3])
def test_a_copy_with_noise_is_near(tmp_path: Path, share: float) -> None:
    weights = tiny_weights()
    distance = relative_distance(sample(tmp_path, weights), sample(tmp_path, with_noise(weights, share)))
    assert distance == pytest.approx(share, rel=0.2)
    assert distance < NEAR


def test_another_run_is_far(tmp_path: Path) -> None:
    one, other = sample(tmp_path, tiny_weights(0)), sample(tmp_path, tiny_weights(1))
    assert relative_distance(one, other) > 1.0


def test_the_places_follow_the_salt(tmp_path: Path) -> None:
    weights = {"a": np.arange(1_000_000, dtype=np.float32).reshape(1000, 1000)}
    one, same, other = (sample(tmp_path, weights, salt) for salt in (b"1", b"1", b"2"))
    assert np.array_equal(one, same)
    assert len(np.intersect1d(one, other)) < 100


def test_a_model_without_matrices_has_a_sample_of_zeros(tmp_path: Path) -> None:
    found = sample(tmp_path, {"bias": np.ones(5, np.float32)})
    assert not found.any()
    assert relative_distance(found, found) == 0.0
