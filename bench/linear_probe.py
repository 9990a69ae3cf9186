"""ELEVATER's search for learning rate and L2, features cached: ours, and one training after the other.

    python -m bench linear_probe
    python -m bench.linear_probe [--rounds N] [--only NAME ...]

The original runs its frozen image tower in every epoch of every training. That is not counted here: its schedule is
written again on cached features (PyTorch's loader without workers, batch normalisation, ``Linear``, ``SGD``; a loss
value a step, a validation an epoch), which is less than its loop does. Both sides start from the same weights and see
the same order of images, so that they must select the same. Features are made, as large as those of the named sets.
Figures are of wall seconds, in brackets of the processor's; what is selected has its validation score beside it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

from bench.knn import Seconds, timed
from competition.evaluation.features import LabelledFeatures
from competition.evaluation.linear_probe.heads import Candidate
from competition.evaluation.linear_probe.protocols import Elevater, search_elevater
from competition.evaluation.linear_probe.scoring import score_of_choices
from competition.evaluation.linear_probe.search import Found, peak_search, weight_decays
from competition.evaluation.linear_probe.splits import validation_split
from competition.evaluation.linear_probe.trainer import ProbeTrainer

DIMENSIONS = 512
_PROTOCOL = Elevater()


@dataclass(frozen=True, slots=True)
class Work:
    """A training set: images in all, of which a fifth validates, classes, and how far images are from their mean."""

    images: int
    classes: int
    spread: float


WORKS = {"EuroSAT": Work(5000, 10, 14), "DTD": Work(1880, 47, 5), "Flowers": Work(1020, 102, 3)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("bench.linear_probe", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(WORKS), choices=list(WORKS))
    given = parser.parse_args([] if arguments is None else arguments)
    print(f"Features of {DIMENSIONS} dimensions; median of {given.rounds}; {os.cpu_count()} cores\n")
    print("| set | ours s | one after the other s | ratio | trainings | selected: ours | one after the other |")
    print("| --- " * 7 + "|")
    for name in given.only:
        print(_line(name, WORKS[name], given.rounds), flush=True)


def _line(name: str, work: Work, rounds: int) -> str:
    data, start = made(work)
    train, validation = (data.taken(rows) for rows in validation_split(data.labels))
    trainer = ProbeTrainer(work.classes, _PROTOCOL.seed, start, None)
    ours, theirs = [], []
    for _ in range(rounds):
        found, seconds = timed(lambda: search_elevater(trainer, train, validation, _PROTOCOL))
        ours.append(seconds)
        selected, seconds = timed(lambda: one_after_the_other(train, validation, start))
        theirs.append(seconds)
    mine, other = (Seconds(median(s.wall for s in of), median(s.cpu for s in of)) for of in (ours, theirs))
    cells = [f"{side.wall:.2f} ({side.cpu:.1f})" for side in (mine, other)]
    cells += [f"{other.wall / mine.wall:.1f} ({other.cpu / mine.cpu:.1f})", f"{found.trainings} / {selected.trainings}"]
    return f"| {name} | {' | '.join(cells)} | {_named(found)} | {_named(selected)} |"


def made(work: Work) -> tuple[LabelledFeatures, NDArray[np.float32]]:
    """Features of overlapping classes, and a text classifier [classes, D] that is right now and then."""
    generator = np.random.default_rng(0)
    means = generator.standard_normal((work.classes, DIMENSIONS)).astype(np.float32)
    labels = generator.permutation(np.arange(work.images) % work.classes)
    features = means[labels] + work.spread * generator.standard_normal((work.images, DIMENSIONS))
    start = means + 3 * generator.standard_normal(means.shape).astype(np.float32)
    return LabelledFeatures(features.astype(np.float32), labels), start / np.linalg.norm(start, axis=1, keepdims=True)


def one_after_the_other(train: LabelledFeatures, validation: LabelledFeatures, start: NDArray[np.float32]) -> Found:
    """The same search, in which each candidate is trained alone."""
    data = TensorDataset(torch.from_numpy(train.features), torch.from_numpy(train.labels))
    held = TensorDataset(torch.from_numpy(validation.features), torch.from_numpy(validation.labels))
    return peak_search(
        lambda candidates: [train_alone(data, held, candidate, start) for candidate in candidates],
        _PROTOCOL.learning_rates,
        weight_decays(*_PROTOCOL.decay_powers),
    )


def train_alone(train: TensorDataset, held: TensorDataset, candidate: Candidate, start: NDArray[np.float32]) -> float:
    """A candidate's best epoch on the validation set."""
    schedule = _PROTOCOL.search
    loader = DataLoader(train, schedule.batch, sampler=Orders(len(train), _PROTOCOL.seed))
    linear = nn.Linear(start.shape[1], len(start))
    linear.weight.data.copy_(torch.from_numpy(start))
    linear.bias.data.zero_()
    model = nn.Sequential(nn.BatchNorm1d(start.shape[1], affine=False), linear)
    optimizer = torch.optim.SGD(
        linear.parameters(), candidate.learning_rate, schedule.momentum, weight_decay=candidate.weight_decay
    )
    best = 0.0
    for _ in range(schedule.epochs):
        model.train()
        for features, labels in loader:
            if len(labels) == 1:
                continue
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(features), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss.item()
        model.eval()
        with torch.no_grad():
            logits = torch.cat([model(features) for features, _ in DataLoader(held, schedule.batch)])
        if bool(torch.isfinite(logits).all()):
            best = max(best, score_of_choices(logits.argmax(dim=1).numpy(), held.tensors[1].numpy(), _PROTOCOL.metric))
    return best


class Orders(Sampler[int]):
    """One permutation an epoch and no more (PyTorch's own sampler draws a second one at the end of each)."""

    def __init__(self, images: int, seed: int) -> None:
        self._images, self._generator = images, torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[int]:
        return iter(torch.randperm(self._images, generator=self._generator).tolist())

    def __len__(self) -> int:
        return self._images


def _named(found: Found) -> str:
    return f"lr {found.candidate.learning_rate:g}, L2 {found.candidate.weight_decay:.3g} ({found.score:.3f})"


if __name__ == "__main__":
    main(sys.argv[1:])
