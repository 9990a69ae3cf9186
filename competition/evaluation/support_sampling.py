"""SELECT's class-balanced support set for nearest neighbours: the same number of vectors for every class.

A class with more vectors gives a random part of them. One with fewer is filled with draws from a normal distribution of
its own mean and standard deviation in each dimension. One with none is placed at a point far from all vectors.
Vectors that occur several times are moved a little first. Lengths are normalised afterwards, by the classifier.

What SELECT's program does otherwise, and why this does not:

- It counts classes as the highest label and one, so that missing last classes change every class's share. Here the
  number of classes is given.
- With as many vectors as asked for, or fewer, it takes the first of each class, in the order of the stream; here every
  choice is drawn.
- Nothing is seeded; here one seed decides everything.
- It runs queries through the same code, which moves those that occur twice. Queries are not touched here.
- With image folders it balances by positions instead of labels, and writes a last, smaller batch over earlier rows.
  Both concern reading; here vectors and labels come together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation.features import LabelledFeatures, check

REPEATED_NOISE = 1e-3
SINGLE_DEVIATION = 1e-5
FAR_DISTANCE = 10.0
FAR_TRIES = 5
FAR_DEVIATION = 1e-2

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BalancedSupport:
    """Exactly ``per_class`` vectors of every class, in order of the classes.

    Args:
        support: the vectors and their classes.
        synthetic: bool [N], which of them were drawn instead of being a real image's.
        empty_classes: those without a real vector, ascending.
        seed: of every choice and draw.
    """

    support: LabelledFeatures
    synthetic: NDArray[np.bool_]
    empty_classes: tuple[int, ...]
    seed: int


def balanced_support(pool: LabelledFeatures, classes: int, total: int, seed: int = 0) -> BalancedSupport:
    """A support set of ``total // classes`` vectors a class.

    Args:
        pool: vectors to choose from, not normalised.
        classes: how many there are.
        total: size to aim for; SELECT's "5spc" is 5,000 for 1,000 classes.
        seed: of every choice and draw.

    Raises:
        EvaluationError: the pool is empty, a label is no class, or the total gives no vector to a class.
        ModelOutputError: a vector is not finite.
    """
    check(pool, classes, "support pool")
    per_class = total // classes
    if per_class < 1:
        raise EvaluationError(
            f"A support set of {total} vectors gives none to each of {classes} classes.",
            hint="Ask for at least one vector a class.",
        )
    generator = np.random.default_rng(seed)
    vectors = _repeated_moved(np.array(pool.features, dtype=np.float32), generator)
    order = generator.permutation(len(vectors))
    order = order[np.argsort(pool.labels[order], kind="stable")]
    bounds = np.searchsorted(pool.labels[order], np.arange(classes + 1))
    features = np.empty((classes * per_class, vectors.shape[1]), dtype=np.float32)
    synthetic = np.zeros((classes, per_class), dtype=np.bool_)
    for label in range(classes):
        members = vectors[np.sort(order[bounds[label] : bounds[label + 1]][:per_class])]
        place = features[label * per_class : (label + 1) * per_class]
        place[: len(members)] = members
        place[len(members) :] = _drawn(members, vectors, per_class - len(members), generator)
        synthetic[label, len(members) :] = True
    labels = np.repeat(np.arange(classes, dtype=np.int64), per_class)
    empty = tuple(np.flatnonzero(np.diff(bounds) == 0).tolist())
    return BalancedSupport(LabelledFeatures(features, labels), synthetic.ravel(), empty, seed)


def rows_of_classes(labels: NDArray[np.int64], per_class: int, seed: int = 0) -> NDArray[np.int64]:
    """Positions of ``per_class`` random images of every class, ascending; of a class with fewer all of them.

    Only these need features: more would be left out of the support set anyway. SELECT's program reads by default as
    many images as the set will have, the first ones, and so finds fewer of the rare classes.

    Args:
        labels: of all images, int64 [N].
        per_class: at most so many of a class.
        seed: of the choice.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    ordered = labels[order]
    firsts = np.searchsorted(ordered, ordered, side="left")
    rows: NDArray[np.int64] = np.sort(order[np.arange(len(order)) - firsts < per_class]).astype(np.int64)
    return rows


def _repeated_moved(vectors: Floats, generator: np.random.Generator) -> Floats:
    """Every copy of a vector that occurs more than once, moved by normal noise."""
    bytes_of_rows = np.ascontiguousarray(vectors + np.float32(0)).view(f"V{vectors.shape[1] * vectors.itemsize}")
    _, which, counts = np.unique(bytes_of_rows.ravel(), return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts[which] > 1)
    noise = generator.standard_normal((len(repeated), vectors.shape[1]), dtype=np.float32)
    vectors[repeated] += np.float32(REPEATED_NOISE) * noise
    return vectors


def _drawn(members: Floats, vectors: Floats, count: int, generator: np.random.Generator) -> Floats:
    """``count`` vectors for a class whose real ones are ``members``."""
    if not count:
        return vectors[:0]
    noise = generator.standard_normal((count, vectors.shape[1]), dtype=np.float32)
    if not len(members):
        drawn = _far_point(vectors, generator) + np.float32(FAR_DEVIATION) * noise
        drawn[0] -= np.float32(FAR_DEVIATION) * noise[0]
        return drawn
    deviation = members.std(axis=0, ddof=1) if len(members) > 1 else np.float32(SINGLE_DEVIATION)
    return np.asarray(members.mean(axis=0) + deviation * noise, dtype=np.float32)


def _far_point(vectors: Floats, generator: np.random.Generator) -> Floats:
    """A uniform point of the vectors' bounding box, drawn again while it is near one of them, five times at most."""
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    lengths = np.einsum("nd,nd->n", vectors, vectors)
    point: Floats = low
    for _ in range(FAR_TRIES):
        point = low + (high - low) * generator.random(len(low), dtype=np.float32)
        squared = lengths - 2 * (vectors @ point) + float(point @ point)
        if float(squared.min()) >= FAR_DISTANCE**2:
            break
    return point
