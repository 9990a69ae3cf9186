"""The most similar rows of a large matrix, exactly, in one pass over it and in bounded memory.

Blocks of the support are multiplied with blocks of the queries. Nearly no product of a late block is among a query's
best: comparing with the least of these leaves few to look at, so that the product is nearly all of the cost, and all
numbers of neighbours come from the one pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from competition.evaluation.features import unit_rows

_SUPPORT_BLOCK = 4096
_QUERY_BLOCK = 1024
_ROOM = 4


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Of each query the nearest rows of the support, nearest first; of equally near ones the lowest row first.

    Args:
        rows: int64 [Q, k].
        similarities: float32 [Q, k], cosines.
    """

    rows: NDArray[np.int64]
    similarities: NDArray[np.float32]


def nearest_rows(
    support: NDArray[np.floating],
    queries: NDArray[np.floating],
    most: int,
    *,
    device: torch.device | None = None,
    blocks: tuple[int, int] = (_SUPPORT_BLOCK, _QUERY_BLOCK),
) -> Neighbours:
    """The ``most`` rows of ``support`` [N, D] with the greatest cosine to each of ``queries`` [Q, D].

    The support is read once, block by block, so it may be mapped from a file. Beside the queries and a block of the
    support, memory is that of ``blocks`` products and of at most a few times ``most`` candidates a query.

    Args:
        support: finite, of any length.
        queries: finite, of any length.
        most: at most the support's rows.
        device: that multiplies; the CPU when absent.
        blocks: rows of the support and of the queries that are multiplied at a time.
    """
    place = device or torch.device("cpu")
    support_rows, query_rows = blocks
    units = torch.from_numpy(unit_rows(queries)).to(place)
    parts = torch.split(units, query_rows)
    best = [_Best(len(part), most, place) for part in parts]
    room = torch.empty(min(query_rows, len(units)) * min(support_rows, len(support)), device=place)
    with torch.inference_mode(), _true_float32():
        for start in range(0, len(support), support_rows):
            block = torch.from_numpy(unit_rows(support[start : start + support_rows])).to(place)
            for part, found in zip(parts, best, strict=True):
                products = room[: len(part) * len(block)].view(len(part), len(block))
                found.add(torch.mm(part, block.T, out=products), start)
        settled = [found.settled() for found in best]
    return Neighbours(
        torch.cat([rows for rows, _ in settled]).cpu().numpy(),
        torch.cat([values for _, values in settled]).cpu().numpy(),
    )


@contextmanager
def _true_float32() -> Iterator[None]:
    """A GPU multiplies in float32 itself, whatever a training before has allowed."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _Best:
    """Of each query the best so far in order, then candidates in order of their rows."""

    def __init__(self, queries: int, most: int, device: torch.device) -> None:
        self._most = most
        self._width = _ROOM * most
        self._values = torch.full((queries, self._width), -torch.inf, device=device)
        self._rows = torch.zeros((queries, self._width), dtype=torch.int64, device=device)
        self._held = torch.zeros(queries, dtype=torch.int64, device=device)
        self._least = torch.full((queries, 1), -torch.inf, device=device)
        self._full = False

    def add(self, similarities: torch.Tensor, first: int) -> None:
        """Products [queries, block] with the rows from ``first`` on."""
        query, column, counts = self._passed(similarities)
        if int((self._held + counts).max()) > self._width:
            self._thin_out()
            query, column, counts = self._passed(similarities)
            self._make_room(int((self._held + counts).max()))
        before = torch.cumsum(counts, 0) - counts
        slot = torch.arange(len(query), device=query.device) + (self._held - before)[query]
        self._values[query, slot] = similarities[query, column]
        self._rows[query, slot] = column + first
        self._held += counts

    def settled(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The best rows and their similarities."""
        self._thin_out()
        return self._rows[:, : self._most].clone(), self._values[:, : self._most].clone()

    def _passed(self, similarities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries and columns of the products that may be among the best, in order, and how many each query has.

        Equal to the least is too late: an earlier row holds the place.
        """
        if self._full:
            passed = similarities > self._least
        elif similarities.shape[1] <= self._most:
            passed = torch.ones_like(similarities, dtype=torch.bool)
        else:
            passed = similarities >= similarities.topk(self._most, dim=1).values[:, -1:]
        query, column = passed.nonzero(as_tuple=True)
        return query, column, torch.bincount(query, minlength=len(similarities))

    def _thin_out(self) -> None:
        """Keep the best in order. The sort is stable, so that equal ones keep the order of their rows."""
        used = max(self._most, int(self._held.max()))
        order = torch.sort(self._values[:, :used], dim=1, descending=True, stable=True).indices[:, : self._most]
        self._rows[:, : self._most] = self._rows.gather(1, order)
        self._values[:, : self._most] = self._values.gather(1, order)
        self._values[:, self._most :] = -torch.inf
        self._held.clamp_(max=self._most)
        self._full = int(self._held.min()) == self._most
        self._least = self._values[:, self._most - 1 : self._most].clone()

    def _make_room(self, needed: int) -> None:
        """More equal products than there is room for (a model that says the same about everything)."""
        if needed > self._width:
            grown = (len(self._held), needed - self._width)
            self._values = torch.cat([self._values, self._values.new_full(grown, -torch.inf)], dim=1)
            self._rows = torch.cat([self._rows, self._rows.new_zeros(grown)], dim=1)
            self._width = needed
