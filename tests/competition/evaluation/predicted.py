"""A competition of predictions of the test digits, its labels, and predictions whose accuracy is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.catalog.digits.captions import DIGIT_NAMES
from competition.catalog.digits.split import Part, load_part
from competition.rules import Competition, parse_competition

SAMPLES, CLASSES = 540, 10
SETS = ("digits-even", "digits-odd")
"""The test digits, by the parity of their places."""

_TASK = """
    - {{id: {name}-{metric}, title: {name} {metric}, protocol: predictions, dataset: {name}, metric: {metric},
       samples: 270, settings: {{classes: 10}}}}"""
COMPETITION_YAML = f"""
schema_version: 1
id: guess
version: 1
title: Guess the digit
summary: Predict the classes of the test digits.
tracks:
  - {{id: predictions, title: Predictions, entry: predictions}}
scales:
  - {{id: digits, title: Ten digits}}
suite:
  id: guess
  version: 1
  tasks:{"".join(_TASK.format(name=name, metric=metric) for name in SETS for metric in ("acc1", "acc5"))}
  aggregates:
    - {{id: top1, title: Top-1, tasks: [{", ".join(f"{name}-acc1" for name in SETS)}]}}
  primary: top1
phases:
  - {{id: public, title: Open, opens: 2020-01-01T00:00:00Z}}
limits: {{files: 4, file_bytes: 1000000, total_bytes: 1000000}}
"""


def guessing() -> Competition:
    """The competition as the loader reads it."""
    return parse_competition(COMPETITION_YAML.encode(), name="guess.yaml")


def digit_labels() -> dict[str, NDArray[np.int64]]:
    """The labels of the two sets."""
    labels = load_part(Part.TEST).labels.astype(np.int64)
    return {SETS[0]: labels[::2], SETS[1]: labels[1::2]}


def write_labels(root: Path) -> Path:
    """The two sets with nothing but labels."""
    for name, labels in digit_labels().items():
        (root / name).mkdir(parents=True)
        (root / name / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
        (root / name / "classnames.txt").write_text("\n".join(DIGIT_NAMES))
    return root


def guesses(labels: NDArray[np.int64], seed: int = 0, skill: float = 0.6) -> NDArray[np.uint16]:
    """Five classes a sample, best first: the right one stands first with that chance, else anywhere or nowhere."""
    random = np.random.default_rng(seed)
    rows = np.argsort(random.random((len(labels), CLASSES)), axis=1)
    for row, label in zip(rows, labels, strict=True):
        if random.random() < skill:
            place = int(np.flatnonzero(row == label)[0])
            row[[0, place]] = row[[place, 0]]
    return rows[:, :5].astype(np.uint16)


def all_guesses(seed: int = 0) -> dict[str, NDArray[np.uint16]]:
    """Predictions for both sets."""
    return {name: guesses(labels, seed) for name, labels in digit_labels().items()}


def counted(top5: NDArray[np.uint16], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Top-1 and top-5 by a count in plain Python."""
    rows = list(zip(top5.tolist(), labels.tolist(), strict=True))
    return sum(row[0] == label for row, label in rows) / len(rows), sum(label in row for row, label in rows) / len(rows)
