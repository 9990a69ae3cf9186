"""Groups are the connected components of pairs, and the two linkages keep what they promise."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.data.uids import parse_uids
from competition.errors import DataFormatError
from participant_kit.dedup.groups import Groups, Linkage, UnionFind, groups_of, summary
from participant_kit.dedup.hamming import bit_distances, near_hashes

ROWS = 12
PAIRS = st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(0, ROWS - 1)), max_size=25)


def components(pairs: list[tuple[int, int]]) -> list[int]:
    """The least row of each row's component, one pair after another."""
    labels = list(range(ROWS))
    for a, b in pairs:
        low, high = sorted((labels[a], labels[b]))
        labels = [low if label == high else label for label in labels]
    return labels


@given(PAIRS, st.integers(1, 5))
def test_union_find_gives_connected_components_however_pairs_are_batched(
    pairs: list[tuple[int, int]], batch: int
) -> None:
    sets = UnionFind(ROWS)
    for start in range(0, len(pairs), batch):
        first, second = np.array(pairs[start : start + batch], dtype=np.int64).reshape(-1, 2).T
        sets.join(first, second)
    assert sets.labels().tolist() == components(pairs)


@given(PAIRS, st.permutations(range(ROWS)))
def test_a_group_keeps_its_best_and_pairs_drop_what_is_like_a_better_one(
    pairs: list[tuple[int, int]], ranks: list[int]
) -> None:
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    order = np.array(ranks)
    for by_pair in (False, True):
        linkage = Linkage(order, by_pair=by_pair)
        linkage.add(first, second)
        labels, least = linkage.result()
        dropped = (order > least).tolist()
        assert labels.tolist() == components(pairs)
        if by_pair:
            worse = {a if ranks[a] > ranks[b] else b for a, b in pairs if a != b}
            assert dropped == [row in worse for row in range(ROWS)]
        else:
            best = [min(ranks[other] for other in range(ROWS) if labels[other] == labels[row]) for row in range(ROWS)]
            assert dropped == [ranks[row] != best[row] for row in range(ROWS)]


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=40), st.integers(0, 16), st.data())
def test_near_hashes_finds_every_pair_within_the_bits_and_no_other(
    hashes: list[int], bits: int, data: st.DataObject
) -> None:
    for number in list(hashes):  # random hashes are never near: add some that are
        flipped = data.draw(st.sets(st.integers(0, 63), max_size=6))
        hashes.append(number ^ sum(1 << bit for bit in flipped))
    array = np.unique(np.array(hashes, dtype=np.uint64))
    found = set()
    for first, second in near_hashes(array, bits):
        assert (bit_distances(array[first], array[second]) <= bits).all()
        found |= {tuple(sorted(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    numbers = array.tolist()
    near = {(a, b) for a, b in combinations(range(len(numbers)), 2) if (numbers[a] ^ numbers[b]).bit_count() <= bits}
    assert found == near


def test_groups_come_largest_first_and_survive_their_file(tmp_path: Path) -> None:
    uids = parse_uids(list("654321"))
    labels, dropped = np.array([0, 1, 0, 3, 1, 1]), np.array([1, 0, 0, 0, 1, 1], dtype=bool)
    groups = groups_of(uids, labels, dropped, np.array([0.5, 0.6, 0.7, np.nan, 0.8, np.nan], dtype=np.float32))
    assert groups.numbers.tolist() == [0, 0, 0, 1, 1]
    assert [name[-1] for name in groups.ids] == ["5", "1", "2", "4", "6"]
    assert groups.roles == ["kept", "dropped", "dropped", "kept", "dropped"]
    assert summary(groups) == {"groups": 2, "members": 5, "largest": 3}
    groups.write(tmp_path / "groups.parquet")
    read = Groups.read(tmp_path / "groups.parquet")
    assert (read.ids, read.roles, read.numbers.tolist()) == (groups.ids, groups.roles, groups.numbers.tolist())
    assert np.array_equal(read.measures, groups.measures, equal_nan=True)


def test_a_file_that_holds_no_groups_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "groups.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(DataFormatError, match="is not a file of groups"):
        Groups.read(path)
