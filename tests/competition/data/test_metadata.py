"""Pool metadata: DataComp's exact columns and npz members, aligned rows, clear refusals."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from competition.data.metadata import (
    FEATURE_MEMBERS,
    SCHEMA,
    column_floats,
    list_metadata,
    pool_uids,
    read_columns,
    read_feature,
    read_uids,
    row_count,
    write_metadata,
)
from competition.data.uids import uids_to_hex
from competition.errors import DataFormatError, StorageError

STEM = "0123456789abcdef0123456789abcdef"


def rows(count: int, start: int = 0) -> dict[str, list[Any]]:
    return {
        "uid": [f"{start + i:032x}" for i in range(count)],
        "url": ["https://example.org/x.jpg"] * count,
        "text": ["a caption"] * count,
        "original_width": [200 + i for i in range(count)],
        "original_height": [300] * count,
        "clip_b32_similarity_score": [0.25] * count,
        "clip_l14_similarity_score": [0.281, *[None] * (count - 1)],
        "face_bboxes": [[[0.1, 0.2, 0.3, 0.4]]] + [[]] * (count - 1),
        "sha256": ["0" * 64] * count,
    }


def features(count: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    return {name: generator.standard_normal((count, 8)).astype(np.float32) for name in FEATURE_MEMBERS}


def test_written_metadata_has_datacomps_types_and_reads_back(tmp_path: Path) -> None:
    written = features(3)
    path = write_metadata(tmp_path, STEM, rows(3), written)
    assert list_metadata(tmp_path) == [path]
    assert row_count(path) == 3
    assert pq.read_schema(path).equals(SCHEMA)
    assert uids_to_hex(read_uids(path)) == rows(3)["uid"]
    scores = column_floats(read_columns(path, ["clip_l14_similarity_score"]), "clip_l14_similarity_score")
    assert scores.dtype == np.float32
    assert scores[0] == np.float32(0.281)
    assert np.isnan(scores[1:]).all()
    for name in ("b32_img", "b32_txt", "l14_img", "l14_txt"):
        array = read_feature(path, name)
        assert array.dtype == np.float16
        assert np.array_equal(array, written[name].astype(np.float16))
    assert read_feature(path, "dedup").dtype == np.float32
    with zipfile.ZipFile(tmp_path / f"{STEM}.npz") as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_metadata(tmp_path / folder, STEM, rows(3), features(3))
    for suffix in (".parquet", ".npz"):
        assert (tmp_path / "a" / STEM).with_suffix(suffix).read_bytes() == (tmp_path / "b" / STEM).with_suffix(
            suffix
        ).read_bytes()


def test_pool_uids_are_sorted_over_all_files_with_their_multiplicity(tmp_path: Path) -> None:
    write_metadata(tmp_path, "f" * 32, rows(3))
    write_metadata(tmp_path, STEM, rows(3, start=2))
    assert pool_uids(tmp_path).tolist() == [(0, 0), (0, 1), (0, 2), (0, 2), (0, 3), (0, 4)]


def test_the_golden_metadata_parses(golden: Path) -> None:
    folder = golden / "datacomp_filters" / "metadata_image"
    for path in list_metadata(folder):
        assert read_feature(path, "l14_img").shape == (row_count(path), 768)
    expected = np.load(golden / "datacomp_filters" / "expected" / "no_filter_image.npy")
    assert np.array_equal(pool_uids(folder), expected)


def test_sliced_unpadded_and_large_strings_parse_too(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    uids = ["1", "f" * 32, "0" * 32]
    for kind in (pa.string(), pa.large_string()):
        pq.write_table(pa.table({"uid": pa.array(uids, kind)}), path, row_group_size=2)
        assert uids_to_hex(read_uids(path)) == [uid.rjust(32, "0") for uid in uids]


def test_missing_columns_wrong_types_and_bad_uids_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"uid": ["1", "zz"], "text": [1, 2]}), path)
    with pytest.raises(DataFormatError, match=r"x\.parquet has no column 'original_width'"):
        read_columns(path, ["uid", "original_width"])
    with pytest.raises(DataFormatError, match="'text' of type int64 instead of string"):
        read_columns(path, ["text"])
    with pytest.raises(DataFormatError, match=r"x\.parquet: The uid '0*zz' at position 1"):
        read_uids(path)
    pq.write_table(pa.table({"uid": ["1", None]}), path)
    with pytest.raises(DataFormatError, match="1 rows without a uid"):
        read_uids(path)


@pytest.mark.parametrize("content", [b"", b"not parquet at all", b"PAR1" + b"\xff" * 64 + b"\x10\x00\x00\x00PAR1"])
def test_damaged_parquet_is_a_data_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(DataFormatError, match=r"x\.parquet is damaged"):
        read_uids(tmp_path / "x.parquet")


def test_features_must_exist_and_have_a_row_for_each_row(tmp_path: Path) -> None:
    path = write_metadata(tmp_path, STEM, rows(3))
    with pytest.raises(DataFormatError, match="has no features"):
        read_feature(path, "l14_img")
    np.savez(tmp_path / f"{STEM}.npz", l14_img=np.zeros((2, 8), np.float16))
    with pytest.raises(DataFormatError, match=r"shape \(2, 8\) for 3 rows"):
        read_feature(path, "l14_img")
    with pytest.raises(DataFormatError, match="has no 'dedup'"):
        read_feature(path, "dedup")
    np.savez(tmp_path / f"{STEM}.npz", allow_pickle=True, l14_img=np.array([{}, {}, {}], dtype=object))
    with pytest.raises(DataFormatError, match="damaged"):
        read_feature(path, "l14_img")
    (tmp_path / f"{STEM}.npz").write_bytes(b"PK")
    with pytest.raises(DataFormatError, match="damaged"):
        read_feature(path, "l14_img")


def test_the_writer_refuses_what_is_not_datacomps_layout(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match="32 lowercase hex"):
        write_metadata(tmp_path, "pool", rows(1))
    with pytest.raises(DataFormatError, match="exactly the columns"):
        write_metadata(tmp_path, STEM, {"uid": ["1"]})
    with pytest.raises(DataFormatError, match="do not fit"):
        write_metadata(tmp_path, STEM, rows(1) | {"original_width": ["wide"]})
    with pytest.raises(DataFormatError, match="'l14_img' has shape"):
        write_metadata(tmp_path, STEM, rows(2), {"l14_img": np.zeros((3, 8), np.float16)})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_metadata_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match="holds no parquet"):
        list_metadata(tmp_path)
    with pytest.raises(StorageError, match="No such file"):
        list_metadata(tmp_path / "absent")


def test_uids_that_are_no_text_and_a_column_that_is_there_twice_name_the_file(tmp_path: Path) -> None:
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 32], dtype="<i4")), pa.py_buffer(b"\xff" * 32))
    pq.write_table(pa.table({"uid": broken}), tmp_path / "text.parquet")
    with pytest.raises(DataFormatError, match=r"text\.parquet"):
        read_uids(tmp_path / "text.parquet")
    twice = pa.Table.from_arrays([pa.array(["0" * 32])] * 2, names=["uid", "uid"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(DataFormatError, match=r"twice\.parquet has several columns 'uid'"):
        read_uids(tmp_path / "twice.parquet")
