"""Subset algebra is that of multisets, sorted, recorded, and the same bytes whatever is in memory at a time."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from competition.data.uids import UID_DTYPE, UidArray, load_subset, save_subset, sort_uids
from competition.errors import DataFormatError, UsageError
from participant_kit.subsets import stream
from participant_kit.subsets.algebra import MOST_WEIGHT, combine_subsets, weigh_subsets
from participant_kit.subsets.info import compare_subsets, describe_subset
from participant_kit.subsets.ranking import Share, float_keys, integer_keys, nth_least
from participant_kit.subsets.sample import sample_subset
from participant_kit.subsets.stream import count_in_file, steps, subset_writer

BIG = 2**63 + 5
UIDS = st.tuples(st.sampled_from([0, 1, BIG, 2**64 - 1]), st.sampled_from([0, 3, BIG]))
MULTISETS = st.dictionaries(UIDS, st.integers(1, 9)).map(Counter)
STEP_ROWS = st.integers(1, 40)
FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Multiset = Counter[tuple[int, int]]


def array(multiset: Multiset) -> UidArray:
    return sort_uids(np.array(list(multiset.elements()), dtype=UID_DTYPE))


def saved(folder: Path, name: str, multiset: Multiset) -> Path:
    path = folder / f"{name}.npy"
    save_subset(path, array(multiset))
    return path


def read(path: Path) -> Multiset:
    return Counter(load_subset(path).tolist())


def hashes(count: int, seed: int = 0) -> UidArray:
    return sort_uids(np.random.default_rng(seed).integers(0, 2**64, (count, 2), np.uint64).view(UID_DTYPE)[:, 0])


def _minus(multisets: list[Multiset]) -> Multiset:
    left = Counter(multisets[0])
    for other in multisets[1:]:
        left -= other
    return left


def _fold(operator: Callable[[Multiset, Multiset], Multiset]) -> Callable[[list[Multiset]], Multiset]:
    def folded(multisets: list[Multiset]) -> Multiset:
        result = multisets[0]
        for other in multisets[1:]:
            result = operator(result, other)
        return result

    return folded


MODEL: dict[str, Callable[[list[Multiset]], Multiset]] = {
    "and": _fold(lambda a, b: a & b),
    "or": _fold(lambda a, b: a | b),
    "minus": _minus,
}


@FAST
@given(st.lists(MULTISETS, min_size=1, max_size=4), STEP_ROWS)
def test_steps_say_every_uid_once_with_its_copies_everywhere(multisets: list[Multiset], step_rows: int) -> None:
    seen: list[tuple[int, int]] = []
    found = [Counter() for _ in multisets]
    for uids, counts in steps([array(each) for each in multisets], step_rows):
        assert counts.shape == (len(multisets), len(uids))
        seen += uids.tolist()
        for each, row in zip(found, counts, strict=True):
            each.update({uid: int(count) for uid, count in zip(uids.tolist(), row, strict=True)})
    assert seen == sorted(set().union(*multisets))
    assert [+each for each in found] == multisets


@FAST
@given(st.sampled_from(list(MODEL)), st.lists(MULTISETS, min_size=2, max_size=4), STEP_ROWS)
def test_operations_are_those_of_multisets(
    tmp_path: Path, operation: str, multisets: list[Multiset], step_rows: int
) -> None:
    paths = [saved(tmp_path, f"in{number}", each) for number, each in enumerate(multisets)]
    report = combine_subsets(operation, paths, tmp_path / "out.npy", step_rows=step_rows)
    expected = MODEL[operation](multisets)
    assert read(tmp_path / "out.npy") == expected
    np.save(tmp_path / "numpys.npy", array(expected))
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "numpys.npy").read_bytes()
    read_rows = multisets[0].total() if operation == "minus" else sum(each.total() for each in multisets)
    assert (report.total, report.kept) == (read_rows, expected.total())
    assert report.kept - report.repeats + sum(report.dropped.values()) == report.total


@FAST
@given(st.lists(st.tuples(MULTISETS, st.integers(1, 5)), min_size=1, max_size=3), STEP_ROWS)
def test_weights_multiply_copies_and_add_subsets(
    tmp_path: Path, weighted: list[tuple[Multiset, int]], step_rows: int
) -> None:
    pairs = [(saved(tmp_path, f"in{number}", each), weight) for number, (each, weight) in enumerate(weighted)]
    report = weigh_subsets(pairs, tmp_path / "out.npy", step_rows=step_rows)
    expected: Multiset = Counter()
    for each, weight in weighted:
        expected.update({uid: count * weight for uid, count in each.items()})
    assert read(tmp_path / "out.npy") == expected
    assert report.kept - report.repeats == report.total
    assert report.options == {"weights": [weight for _, weight in weighted]}


@FAST
@given(MULTISETS.filter(bool), st.integers(0, 3), STEP_ROWS, st.data())
def test_a_sample_has_as_many_rows_as_asked_for_and_grows_with_the_number(
    tmp_path: Path, multiset: Multiset, seed: int, step_rows: int, data: st.DataObject
) -> None:
    source = saved(tmp_path, "in", multiset)
    larger = data.draw(st.integers(1, multiset.total()))
    smaller = data.draw(st.integers(1, larger))
    for name, count, rows in (("large", larger, step_rows), ("again", larger, 1000), ("small", smaller, step_rows)):
        sample_subset(source, tmp_path / f"{name}.npy", Share(count=count), seed, step_rows=rows)
    assert (tmp_path / "large.npy").read_bytes() == (tmp_path / "again.npy").read_bytes()
    large, small = read(tmp_path / "large.npy"), read(tmp_path / "small.npy")
    assert (large.total(), small.total()) == (larger, smaller)
    assert small <= large <= multiset


def test_samples_are_uniform_and_differ_by_seed(tmp_path: Path) -> None:
    uids = np.repeat(hashes(4000), 2)
    save_subset(tmp_path / "in.npy", uids)
    for seed in (1, 2):
        report = sample_subset(tmp_path / "in.npy", tmp_path / f"{seed}.npy", Share(fraction=0.5), seed)
        assert report.options == {"seed": seed, "fraction": 0.5}
        assert report.dropped == {"not_drawn": 4000}
    first, second = load_subset(tmp_path / "1.npy"), load_subset(tmp_path / "2.npy")
    # Copies are drawn one by one: of 4000 uids about a quarter keep both copies, and two seeds share half of the rows.
    both = np.count_nonzero(first[1:] == first[:-1])
    assert abs(both - 1000) < 150
    overlap = compare_subsets(tmp_path / "1.npy", tmp_path / "2.npy")
    assert 2000 < overlap.common_rows < 3200
    assert np.abs(np.mean(first["f0"] < 2**63) - 0.5) < 0.05
    assert not np.array_equal(first, second)


def test_one_uid_with_very_many_copies_takes_no_memory_of_their_number(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(stream, "_BLOCK_ROWS", 1000)
    source = saved(tmp_path, "in", Counter({(7, 7): 5000, (8, 8): 3}))
    report = weigh_subsets([(source, 3)], tmp_path / "out.npy", step_rows=16)
    assert report.kept == 15_009
    assert read(tmp_path / "out.npy") == Counter({(7, 7): 15_000, (8, 8): 9})


@FAST
@given(MULTISETS, st.lists(UIDS, max_size=20))
def test_counting_in_a_mapped_file_is_counting(tmp_path: Path, multiset: Multiset, keys: list[tuple[int, int]]) -> None:
    ordered = load_subset(saved(tmp_path, "in", multiset))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_IN_MEMORY_ROWS", 0)
        counts = count_in_file(np.array(keys, dtype=UID_DTYPE), ordered)
    assert counts.tolist() == [multiset[key] for key in keys]


@FAST
@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 3)), min_size=1, max_size=30), st.data())
def test_the_nth_least_is_that_of_the_sorted_list(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    ordered = sorted(key for key, copies in pairs for _ in range(copies))
    if not ordered:
        return
    rank = data.draw(st.integers(0, len(ordered) - 1))
    blocks = [(np.array([key], np.uint64), np.array([copies], np.int64)) for key, copies in pairs]
    key, before = nth_least(lambda: iter(blocks), rank)
    assert key == ordered[rank]
    assert before == rank - ordered.index(ordered[rank])


@FAST
@given(st.lists(st.floats(allow_nan=False), min_size=1), st.lists(st.integers(-(2**63) + 3, 2**63 - 1), min_size=1))
def test_keys_are_in_the_order_of_the_numbers(floats: list[float], integers: list[int]) -> None:
    for values, keys in (
        (floats, float_keys(np.array(floats, np.float64))),
        (integers, integer_keys(np.array(integers, np.int64))),
    ):
        assert keys.min() >= 2
        for a, key_a in zip(values, keys.tolist(), strict=True):
            for b, key_b in zip(values, keys.tolist(), strict=True):
                assert (a < b, a == b) == (key_a < key_b, key_a == key_b)


@FAST
@given(MULTISETS, MULTISETS, STEP_ROWS)
def test_info_and_comparison_count_rows_and_uids(tmp_path: Path, a: Multiset, b: Multiset, step_rows: int) -> None:
    paths = saved(tmp_path, "a", a), saved(tmp_path, "b", b)
    info = describe_subset(paths[0], step_rows=step_rows)
    assert (info.rows, info.distinct, info.max_multiplicity) == (a.total(), len(a), max(a.values(), default=0))
    overlap = compare_subsets(*paths, step_rows=step_rows)
    assert overlap.rows == (a.total(), b.total())
    assert overlap.common_rows == (a & b).total()
    assert overlap.common_distinct == len(set(a) & set(b))
    assert overlap.only_rows == ((a - b).total(), (b - a).total())
    assert overlap.only_distinct == (len(set(a) - set(b)), len(set(b) - set(a)))
    union = len(set(a) | set(b))
    assert overlap.jaccard_distinct == (len(set(a) & set(b)) / union if union else 1.0)
    assert overlap.jaccard_rows == ((a & b).total() / (a | b).total() if union else 1.0)


def test_the_record_names_the_inputs_by_digest_and_the_code(tmp_path: Path) -> None:
    a, b = (saved(tmp_path, name, Counter({(1, 1): 2, (2, number): 1})) for number, name in enumerate("ab"))
    report = combine_subsets("minus", [a, b], tmp_path / "new" / "out.npy")
    record = json.loads((tmp_path / "new" / "out.npy.json").read_text())
    assert record == report.as_json()
    assert record["strategy"] == "minus"
    assert record["assets"]["subset_2"] == {"file": "b.npy", "sha256": hashlib.sha256(b.read_bytes()).hexdigest()}
    assert record["subset_sha256"] == hashlib.sha256((tmp_path / "new" / "out.npy").read_bytes()).hexdigest()
    assert str(tmp_path) not in json.dumps(record)
    info = describe_subset(tmp_path / "new" / "out.npy")
    assert info.record == record
    assert info.record_matches is True
    save_subset(tmp_path / "new" / "out.npy", array(Counter()))
    assert describe_subset(tmp_path / "new" / "out.npy").record_matches is False


def test_raw_arrays_of_pairs_are_inputs_too(tmp_path: Path) -> None:
    saved(tmp_path, "a", Counter({(1, 1): 1, (2, 2): 1}))
    (tmp_path / "b.bin").write_bytes(array(Counter({(2, 2): 1})).tobytes())
    combine_subsets("and", [tmp_path / "a.npy", tmp_path / "b.bin"], tmp_path / "out.npy")
    assert read(tmp_path / "out.npy") == Counter({(2, 2): 1})


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def fail() -> None:
        with subset_writer(tmp_path / "out.npy") as writer:
            writer.add(hashes(10), np.ones(10, np.int64))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_refused_in_a_sentence(tmp_path: Path) -> None:
    a = saved(tmp_path, "a", Counter({(1, 1): 1, (2, 2): 2}))
    unsorted, out = tmp_path / "unsorted.npy", tmp_path / "out.npy"
    np.save(unsorted, array(Counter({(1, 1): 1, (2, 2): 1}))[::-1])
    cases: dict[str, Callable[[], object]] = {
        "needs at least two subsets": lambda: combine_subsets("and", [a], out),
        "no operation 'xor'": lambda: combine_subsets("xor", [a, a], out),
        "is one of the inputs": lambda: combine_subsets("or", [a, tmp_path / "." / "a.npy"], a),
        r"does not end in \.npy": lambda: combine_subsets("or", [a, a], tmp_path / "out.txt"),
        "weight 0 of .* is not between 1 and": lambda: weigh_subsets([(a, 0)], out),
        f"not between 1 and {MOST_WEIGHT}": lambda: weigh_subsets([(a, MOST_WEIGHT + 1)], out),
        "No subset is given": lambda: weigh_subsets([], out),
        "--seed -1 is negative": lambda: sample_subset(a, out, Share(count=1), -1),
        "--count 4 is not between 1 and the subset's 3 rows": lambda: sample_subset(a, out, Share(count=4)),
        "--fraction 0 is not above 0": lambda: sample_subset(a, out, Share(fraction=0)),
        "Exactly one of --count and --fraction": lambda: sample_subset(a, out, Share()),
    }
    for message, call in cases.items():
        with pytest.raises(UsageError, match=message):
            call()
    with pytest.raises(DataFormatError, match="is not sorted"):
        combine_subsets("and", [a, unsorted], out)
    assert not out.exists()
