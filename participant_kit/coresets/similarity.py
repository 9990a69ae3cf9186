"""The rows of an open set that are most similar to each centroid: by NumPy, or by PyTorch on a GPU, with one result.

Products are computed in float32, block by block, and decide which rows may be among the best. These few are multiplied
again in float64, row by row, so that the ranking depends neither on the blocks nor on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.vector_source import Floats, Rows, VectorShard
from participant_kit.coresets.best_rows import BestRows, Exact, Ranking

Take = Callable[[Rows], Floats]
"""From ascending row numbers to their vectors."""


def rank_shard(shard: VectorShard, centroids: Floats, most: int, device: str | None = None) -> tuple[Ranking, int]:
    """The ``most`` rows of one file that are most similar to each centroid, and how many rows have no vector.

    Args:
        shard: vectors of length 1; rows that are not finite are left out.
        centroids: (columns, dimensions).
        most: rows of each.
        device: of PyTorch; NumPy when absent.

    Raises:
        DataFormatError: the file is damaged, or a vector is not of length 1.
    """
    seen = 0

    def blocks() -> Iterable[tuple[Rows, Floats]]:
        nonlocal seen
        for rows, vectors in shard.blocks(skip_missing=True):
            seen += len(rows)
            yield rows, vectors

    ranking = rank_vectors(blocks(), centroids, most, shard.take, device)
    return ranking, shard.rows - seen


def rank_vectors(
    blocks: Iterable[tuple[Rows, Floats]], centroids: Floats, most: int, take: Take, device: str | None = None
) -> Ranking:
    """The same for vectors in blocks of ascending rows; ``take`` gives some of them again."""
    best = BestRows(len(centroids), most, _slack(centroids), _exact(centroids, take))
    add = _add_by_numpy(best, centroids) if device is None else _add_by_torch(best, centroids, device)
    for rows, vectors in blocks:
        add(rows, vectors)
    return best.ranking()


def rank_similarities(blocks: Iterable[tuple[Rows, Floats]], columns: int, most: int) -> Ranking:
    """The same for similarities that are there already: blocks of shape (columns, rows), which count as they are."""
    best = BestRows(columns, most)
    for rows, similarities in blocks:
        best.add_block(similarities, rows)
    return best.ranking()


def merge_rankings(rankings: Iterable[Ranking], most: int) -> Ranking:
    """One ranking of several sets of rows, each wholly before the next; only one of them is in memory at a time."""
    best: BestRows | None = None
    for ranking in rankings:
        if best is None:
            best = BestRows(len(ranking.rows), most)
        for column, (scores, rows) in enumerate(zip(ranking.scores, ranking.rows, strict=True)):
            passed = np.flatnonzero(scores > best.least[column])
            order = passed[np.argsort(rows[passed])]
            best.add(column, scores[order], rows[order])
    assert best is not None
    return best.ranking()


def _slack(centroids: Floats) -> float:
    """A float32 inner product of vectors of length 1 is off by less, in whatever order it sums."""
    return float(centroids.shape[1] * np.finfo(np.float32).eps)


def _exact(centroids: Floats, take: Take) -> Exact:
    wide = centroids.astype(np.float64)

    def exact(column: int, rows: Rows) -> NDArray[np.float64]:
        products: NDArray[np.float64] = (take(rows) * wide[column]).sum(axis=1)
        return products

    return exact


def _add_by_numpy(best: BestRows, centroids: Floats) -> Callable[[Rows, Floats], None]:
    def add(rows: Rows, vectors: Floats) -> None:
        best.add_block(centroids @ vectors.T, rows)

    return add


def _add_by_torch(best: BestRows, centroids: Floats, device: str) -> Callable[[Rows, Floats], None]:
    """Products and comparison on the device: only what passes comes back."""
    import torch

    columns = torch.from_numpy(centroids).to(device)

    def add(rows: Rows, vectors: Floats) -> None:
        with torch.no_grad():
            products = columns @ torch.from_numpy(vectors).to(device).T
            least = torch.from_numpy(best.least_float32()).to(device)
            found: Any = (products > least[:, None]).nonzero(as_tuple=True)
            values = products[found].cpu().numpy()
            column, place = (each.cpu().numpy() for each in found)
        bounds = np.searchsorted(column, np.arange(len(centroids) + 1))
        for number in range(len(centroids)):
            part = slice(bounds[number], bounds[number + 1])
            best.add(number, values[part], rows[place[part]])

    return add
