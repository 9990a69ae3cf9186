"""Uids and subset files: exact encoding, order, multiplicity, and refusal of anything that is not a sorted subset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.data.uids import (
    UID_DTYPE,
    check_sorted,
    contained_in,
    count_in,
    first_unsorted,
    forget_pages,
    load_subset,
    multiplicities,
    parse_uid,
    parse_uids,
    repeated_rows,
    save_subset,
    sort_uids,
    uids_to_hex,
)
from competition.errors import DataFormatError, StorageError

HEX = st.integers(0, 2**128 - 1).map(lambda value: f"{value:032x}")
# Few distinct halves, so that equal f0 with different f1, duplicates and the top bit all occur often.
CLOSE_HEX = st.tuples(st.sampled_from([0, 1, 2**63, 2**64 - 1]), st.integers(0, 3)).map(
    lambda p: f"{p[0]:016x}{p[1]:016x}"
)


def test_the_published_pairs_of_two_uids() -> None:
    uids = parse_uids(["139e4a9b22a614771f06c700a8ebe150", "6e356964a967af455c8016b75d691203"])
    assert uids.tolist() == [
        (1413649363202610295, 2235693070683988304),
        (7941369398997528389, 6665352425310327299),
    ]


@given(st.lists(HEX))
def test_hex_round_trip(texts: list[str]) -> None:
    uids = parse_uids(texts)
    assert uids.dtype == np.dtype("u8,u8")
    assert uids_to_hex(uids) == texts
    assert [parse_uid(text) for text in texts] == uids.tolist()


@given(st.lists(HEX | CLOSE_HEX))
def test_sort_order_is_that_of_the_hex_digits(texts: list[str]) -> None:
    ordered = sort_uids(parse_uids(texts))
    assert uids_to_hex(ordered) == sorted(texts)
    assert first_unsorted(ordered) is None


@given(st.lists(CLOSE_HEX), st.lists(CLOSE_HEX))
def test_membership_and_counts_agree_with_python(keys: list[str], pool: list[str]) -> None:
    key_uids, pool_uids = parse_uids(keys), parse_uids(pool)
    assert contained_in(key_uids, pool_uids).tolist() == [key in set(pool) for key in keys]
    assert count_in(key_uids, sort_uids(pool_uids)).tolist() == [pool.count(key) for key in keys]


@given(st.lists(CLOSE_HEX))
def test_multiplicities_sum_to_the_length(texts: list[str]) -> None:
    ordered = sort_uids(parse_uids(texts))
    assert repeated_rows(ordered) == len(ordered) - len(multiplicities(ordered)[0])
    unique, counts = multiplicities(sort_uids(parse_uids(texts)))
    assert dict(zip(uids_to_hex(unique), counts.tolist(), strict=True)) == {text: texts.count(text) for text in texts}


def test_short_uids_are_padded_on_the_left() -> None:
    assert parse_uids(["ff", "0" * 32, "FF"]).tolist() == [(0, 255), (0, 0), (0, 255)]
    assert parse_uid("ff") == (0, 255)


@pytest.mark.parametrize("text", ["", "g" * 32, "0" * 33, "0x12", "-1", " 1", "1_0", "\u0661" * 32, "é" + "0" * 31])
def test_malformed_uids_are_refused_with_their_position(text: str) -> None:
    with pytest.raises(DataFormatError, match="position 1"):
        parse_uids(["0" * 32, text])
    with pytest.raises(DataFormatError):
        parse_uid(text)


@given(st.lists(CLOSE_HEX))
def test_subset_files_round_trip_and_equal_numpys_bytes(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("subset")
    uids = sort_uids(parse_uids(texts))
    save_subset(folder / "ours.npy", uids)
    np.save(folder / "numpy.npy", uids)
    assert (folder / "ours.npy").read_bytes() == (folder / "numpy.npy").read_bytes()
    uids.tofile(folder / "raw.bin")
    for name in ("ours.npy", "raw.bin"):
        assert np.array_equal(load_subset(folder / name), uids)
    assert sorted(path.name for path in folder.iterdir()) == ["numpy.npy", "ours.npy", "raw.bin"]


def test_the_golden_subset_and_its_raw_twin_are_equal(golden: Path) -> None:
    subset = load_subset(golden / "datacomp_reshard" / "subset.npy")
    assert len(subset) == 250
    assert np.array_equal(subset, load_subset(golden / "datacomp_reshard" / "subset_raw_memmap.bin"))


def test_a_loaded_subset_is_read_only(tmp_path: Path) -> None:
    save_subset(tmp_path / "s.npy", parse_uids(["1", "2"]))
    with pytest.raises(ValueError, match="read-only"):
        load_subset(tmp_path / "s.npy")[0] = (1, 1)


def test_forgetting_pages_changes_no_content(tmp_path: Path) -> None:
    uids = sort_uids(parse_uids([f"{number:032x}" for number in range(10_000)]))
    save_subset(tmp_path / "s.npy", uids)
    mapped = load_subset(tmp_path / "s.npy")
    forget_pages(mapped[10:20])
    assert np.array_equal(mapped, uids)
    changed = np.memmap(tmp_path / "s.npy", dtype=UID_DTYPE, mode="c", offset=128, shape=(10_000,))
    changed[0] = (7, 7)
    forget_pages(changed)
    assert changed[0].item() == (7, 7)
    forget_pages(uids)


def test_unsorted_subsets_are_refused_with_the_position(tmp_path: Path) -> None:
    uids = parse_uids(["1", "3", "2", "4"])
    np.save(tmp_path / "s.npy", uids)
    with pytest.raises(DataFormatError, match=r"s\.npy is not sorted: uid 0+2 at position 2 "):
        load_subset(tmp_path / "s.npy")
    assert len(load_subset(tmp_path / "s.npy", require_sorted=False)) == 4
    with pytest.raises(DataFormatError, match="not sorted"):
        save_subset(tmp_path / "t.npy", uids)
    assert not (tmp_path / "t.npy").exists()


def test_sorting_is_unsigned() -> None:
    check_sorted(parse_uids(["1", f"{2**127:032x}"]), "pool")
    with pytest.raises(DataFormatError, match="pool is not sorted"):
        check_sorted(parse_uids([f"{2**127:032x}", "1"]), "pool")


def test_wrong_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.npy"
    np.save(path, np.arange(4))
    with pytest.raises(DataFormatError, match="int64"):
        load_subset(path)
    np.save(path, np.zeros((2, 2), dtype=UID_DTYPE))
    with pytest.raises(DataFormatError, match="shape"):
        load_subset(path)


def test_truncated_and_oversized_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.npy"
    save_subset(path, parse_uids(["1", "2"]))
    with pytest.raises(DataFormatError, match="at most 10"):
        load_subset(path, max_bytes=10)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataFormatError, match="2 uids need"):
        load_subset(path)
    path.write_bytes(b"x" * 17)
    with pytest.raises(DataFormatError, match="17 bytes"):
        load_subset(path)
    path.write_bytes(b"\x93NUMPY\x01\x00\xff\xff{'descr'")
    with pytest.raises(DataFormatError, match="malformed NumPy header"):
        load_subset(path)


@pytest.mark.parametrize(
    "header",
    [
        "(",
        " 1\n  2\n 3\n{",
        "-" * 3500 + "1",
        "{'descr': (), 'fortran_order': False, 'shape': (1,)}",
        "{'descr': {'names': 1}, 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('f0', '<u8'), ('f1', '<u8')], 'fortran_order': False, 'shape': (-1,)}",
    ],
    ids=["unclosed", "indented", "deep", "empty dtype", "dtype of names", "negative length"],
)
def test_a_header_that_breaks_numpys_parser_is_malformed_and_no_crash(tmp_path: Path, header: str) -> None:
    path = tmp_path / "s.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with pytest.raises(DataFormatError, match=r"malformed NumPy header|bytes where its -1 uids"):
        load_subset(path)


def test_a_pickled_array_is_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "s.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataFormatError, match="object"):
        load_subset(path)


def test_an_absent_file_or_folder_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        load_subset(tmp_path / "absent.npy")
    with pytest.raises(StorageError, match="No such file"):
        save_subset(tmp_path / "absent" / "s.npy", parse_uids(["1"]))
