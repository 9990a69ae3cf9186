"""Nearest neighbours are those of float64 brute force, whatever the blocks, the order of rows, and ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competition.data import nearest
from competition.data.uids import UID_DTYPE
from participant_kit.labelled.neighbours import InnerProduct, Neighbours, nearest_rows


def _uids(numbers: list[int] | np.ndarray) -> np.ndarray:
    uids = np.zeros(len(numbers), UID_DTYPE)
    uids["f1"] = numbers
    return uids


def _brute(queries: np.ndarray, rows: np.ndarray, uids: np.ndarray, count: int) -> list[list[tuple[float, int]]]:
    answers = []
    for query in queries.astype(np.float64):
        best: dict[int, float] = {}
        for row, uid in zip(rows.astype(np.float64), uids["f1"].tolist(), strict=True):
            score = float((query * row).sum())
            best[uid] = max(score, best.get(uid, -np.inf))
        answers.append(sorted((-score, uid) for uid, score in best.items())[:count])
    return answers


def _listed(found: Neighbours, queries: int) -> list[list[tuple[float, int]]]:
    lists: list[list[tuple[float, int]]] = [[] for _ in range(queries)]
    for query, uid, score in zip(found.queries, found.uids["f1"], found.scores, strict=True):
        lists[query].append((-float(score), int(uid)))
    return lists


# Few different values, so that many products tie exactly and many uids have several rows.
CASES = st.tuples(st.integers(0, 10**6), st.integers(1, 9), st.integers(0, 60), st.integers(1, 12), st.booleans())


@settings(deadline=None)
@given(CASES, st.integers(1, 7), st.integers(1, 20))
def test_any_blocks_give_brute_force(case: tuple[int, int, int, int, bool], block: int, step: int) -> None:
    seed, queries, rows, count, ties = case
    generator = np.random.default_rng(seed)
    q, p = generator.normal(size=(queries, 5)), generator.normal(size=(rows, 5))
    if ties:
        q, p = q.round(), p.round()
    q, p, uids = q.astype(np.float32), p.astype(np.float16), _uids(generator.integers(0, 50, rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "QUERY_ROWS", block)
        patch.setattr(InnerProduct, "reference_rows", step)
        found = nearest_rows(q, p, uids, count)
    assert _listed(found, queries) == _brute(q, p, uids, count)
    half = rows // 2
    parts = [nearest_rows(q, p[cut], uids[cut], count) for cut in (slice(half, None), slice(None, half))]
    merged = Neighbours.joined(*parts).nearest(count)
    assert np.array_equal(merged.scores, found.scores)
    assert np.array_equal(merged.uids, found.uids), "files merge to the same"


def test_no_row_or_fewer_than_asked() -> None:
    queries = np.eye(3, dtype=np.float32)
    assert len(nearest_rows(queries, np.zeros((0, 3), np.float16), _uids([]), 4).scores) == 0
    found = nearest_rows(queries, np.eye(3, dtype=np.float16), _uids([3, 2, 1]), 10)
    assert _listed(found, 3)[1] == [(-1.0, 2), (-0.0, 1), (-0.0, 3)]
