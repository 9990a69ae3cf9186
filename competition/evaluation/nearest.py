"""The most similar rows of a large matrix, exactly, in one pass over it and in bounded memory.

Blocks of the support are multiplied with blocks of the queries on a device; which rows are nearest is decided by
``competition.data.nearest``, the one exact search. All numbers of neighbours come from the one pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from competition.data.nearest import Nearest
from competition.evaluation.features import unit_rows

_SUPPORT_BLOCK = 4096
_QUERY_BLOCK = 1024


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
        queries: finite, of any length; at least one.
        most: at most the support's rows.
        device: that multiplies; the CPU when absent.
        blocks: rows of the support and of the queries that are multiplied at a time.
    """
    place = device or torch.device("cpu")
    support_rows, query_rows = blocks
    # The search looks for the least: of negated units, whose products are the cosines but for their sign, exactly.
    units = torch.from_numpy(-unit_rows(queries)).to(place)
    parts = torch.split(units, query_rows)
    best = [Nearest(len(part), most) for part in parts]
    room = torch.empty(min(query_rows, len(units)) * min(support_rows, len(support)), device=place)
    with torch.inference_mode(), _true_float32():
        for start in range(0, len(support), support_rows):
            block = torch.from_numpy(unit_rows(support[start : start + support_rows])).to(place)
            for part, found in zip(parts, best, strict=True):
                products = room[: len(part) * len(block)].view(len(part), len(block))
                torch.mm(part, block.T, out=products)
                if place.type == "cpu":
                    found.add(products.numpy(), np.arange(start, start + len(block)))
                else:
                    scores, columns = least_of_rows(products, most)
                    found.add(scores.cpu().numpy(), columns.cpu().numpy() + start)
    tables = [found.pairs().table(len(part), most) for part, found in zip(parts, best, strict=True)]
    return Neighbours(
        np.concatenate([rows for rows, _ in tables]),
        np.concatenate([-scores.astype(np.float32, copy=False) for _, scores in tables]),
    )


def least_of_rows(scores: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What may be among the ``most`` least scores of each row, and in which columns it is, both [rows, width].

    That is all that is no greater than a row's ``most``-th score, so that of equal ones none is lost, and perhaps more.
    It leaves the rest of a block of scores where it was computed.
    """
    if scores.shape[1] <= most:
        return scores, torch.arange(scores.shape[1], device=scores.device).expand(scores.shape)
    limits = scores.topk(most, dim=1, largest=False).values[:, -1:]
    width = int((scores <= limits).sum(dim=1).max())
    found = scores.topk(width, dim=1, largest=False)
    return found.values, found.indices


@contextmanager
def _true_float32() -> Iterator[None]:
    """A GPU multiplies in float32 itself, whatever a training before has allowed."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
