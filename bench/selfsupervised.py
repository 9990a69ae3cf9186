"""Self-supervised nano recipes on the digits pool, each beside the untrained encoder of the same seed.

    python -m bench selfsupervised
    python -m bench.selfsupervised [--pool DIR] [--seed N] [METHOD ...]

Images of ``digits-test`` are classified by features alone: by the five nearest others (cosine), and by a linear probe
in five folds. An interval is that of the paired difference, trained minus untrained, over the test images. ``DIR`` is
the folder of a digits-nano pool; without it the pool is built, once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from bench.made_pool import CACHE
from competition.catalog.digits.testsets import build_evaluation_sets
from competition.evaluation.images import Preparation
from competition.evaluation.sets import ClassificationSet, load_classification
from competition.rules import all_recipes, find_competition, find_scale
from competition.rules.recipes import SelfSupervisedRecipe
from competition.statistics import bootstrap_replicates, percentile_interval
from participant_kit.pools.digits import build_digits_pool
from participant_kit.train.data.choice import DataChoice, open_data
from participant_kit.train.distributed import Group
from participant_kit.train.launcher import Plan, train
from participant_kit.train.machine import Machine
from participant_kit.train.run import MODEL_FILE
from participant_kit.train.selfsupervised import selfsupervised_ingredients

METHODS = ("simclr", "moco", "byol", "simsiam", "swav", "dino", "mae")
NEIGHBOURS = 5
FOLDS = 5

Outcomes = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Probes:
    """Which test images [N] are classified correctly, by their neighbours and by a linear probe."""

    neighbours: Outcomes
    linear: Outcomes


def main(arguments: Sequence[str] = ()) -> None:
    """Print a Markdown table: method, training seconds, and both probes of the untrained and the trained encoder."""
    parser = argparse.ArgumentParser("bench.selfsupervised")
    parser.add_argument("methods", nargs="*", default=METHODS, metavar="METHOD")
    parser.add_argument("--pool", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    pool = options.pool or _pool()
    print("| method | training s | probe | untrained | trained | difference |")
    print("| --- " * 6 + "|")
    for method in options.methods:
        _, recipe = all_recipes()[f"digits-nano-{method}"]
        assert isinstance(recipe, SelfSupervisedRecipe)
        seconds, before, after = compare(recipe, pool / "shards", options.seed)
        for probe in ("neighbours", "linear"):
            print(_row(method, seconds, probe, getattr(before, probe), getattr(after, probe)), flush=True)


def compare(recipe: SelfSupervisedRecipe, shards: Path, seed: int) -> tuple[float, Probes, Probes]:
    """Training seconds, and the probes of the encoder before and after training."""
    with tempfile.TemporaryDirectory() as folder:
        choice = DataChoice((str(shards),))
        plan = Plan(recipe, "digits", choice, Path(folder), recipe.id, seed)
        report = train(plan, Machine("cpu"))
        data = open_data(choice, plan.folder, 1, lambda _progress: None)
        encoder = selfsupervised_ingredients(recipe, data, seed, Group(0, 1, torch.device("cpu"))).objective.model()
        images = _test_images(recipe.image_size)
        before = probe(_features(encoder, recipe, images), images.labels)
        encoder.load_state_dict(load_file(plan.folder / MODEL_FILE))
        return report.seconds, before, probe(_features(encoder, recipe, images), images.labels)


def probe(features: NDArray[np.float32], labels: NDArray[np.int64]) -> Probes:
    """Classify each image by features [N, D] of the others, without ever using its own label [N]."""
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = units @ units.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS]
    votes = np.array([np.bincount(labels[row], minlength=int(labels.max()) + 1).argmax() for row in nearest])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(classifier, features, labels, cv=folds)
    return Probes(votes == labels, predicted == labels)


def _features(encoder: nn.Module, recipe: SelfSupervisedRecipe, images: ClassificationSet) -> NDArray[np.float32]:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (recipe.views.mean, recipe.views.std))
    pixels = torch.from_numpy(np.array(images.images)).permute(0, 3, 1, 2).float().div(255)
    with torch.inference_mode():
        features: NDArray[np.float32] = encoder.eval()((pixels - mean) / std).numpy()
    return features


def _test_images(size: int) -> ClassificationSet:
    build_evaluation_sets(CACHE / "digits-sets")
    return load_classification(CACHE / "digits-sets" / "digits-test", Preparation(size))


def _pool() -> Path:
    competition = find_competition("digits")
    scale = find_scale(competition, "nano")
    pool = CACHE / scale.given_pool.id
    build_digits_pool(pool, scale)
    return pool


def _row(method: str, seconds: float, name: str, before: Outcomes, after: Outcomes) -> str:
    trained, untrained = (
        bootstrap_replicates([outcome.astype(np.float64)], seed_text="digits-test") for outcome in (after, before)
    )
    low, high = percentile_interval(trained - untrained)
    difference = f"{after.mean() - before.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"| {method} | {seconds:.1f} | {name} | {before.mean():.3f} | {after.mean():.3f} | {difference} |"


if __name__ == "__main__":
    main(sys.argv[1:])
