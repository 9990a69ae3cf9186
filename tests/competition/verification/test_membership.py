"""The walk along subset and pool finds what a set of Python finds, across blocks, runs of equal halves and repeats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.data.uids import UID_DTYPE, UidArray, sort_uids
from competition.verification import membership

Pair = tuple[int, int]
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=40)


def uids(pairs: list[Pair]) -> UidArray:
    return sort_uids(np.array(pairs, dtype=UID_DTYPE))


@given(subset=PAIRS, pool=PAIRS, block=st.integers(1, 9))
def test_the_walk_finds_what_a_set_finds(subset: list[Pair], pool: list[Pair], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(membership, "_BLOCK", block)
        found = [int(at) for part in membership.foreign_positions(uids(subset), uids(pool)) for at in part]
    known = set(pool)
    assert found == [at for at, uid in enumerate(uids(subset).tolist()) if uid not in known]


def test_more_than_a_block_of_both() -> None:
    random = np.random.default_rng(3)
    pool = np.empty(200_000, dtype=UID_DTYPE)
    for field in ("f0", "f1"):
        pool[field] = random.integers(0, 2**64, len(pool), dtype=np.uint64)
    pool = sort_uids(pool)
    own = np.repeat(pool[::2], 2)
    assert sum(map(len, membership.foreign_positions(own, pool))) == 0
    own["f1"][[0, 70_000, 199_999]] ^= np.uint64(1)
    own = sort_uids(own)
    found = np.concatenate(list(membership.foreign_positions(own, pool)))
    assert len(found) == 3
    assert not set(own[found].tolist()) & set(pool.tolist())
