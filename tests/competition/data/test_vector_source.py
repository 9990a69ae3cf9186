"""Features of files as one source of vectors: the same rows from every format, and nothing that cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competition.data.vector_source import VectorShard, VectorSource, check_vectors
from competition.errors import DataFormatError, StorageError, UsageError
from tests.competition.data.vectors import clustered, save


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 vectors in four files of three formats."""
    folder = tmp_path_factory.mktemp("vectors")
    vectors = clustered(200, 8)
    save(folder / "a.npz", vectors[:60])
    save(folder / "b.npy", vectors[60:100])
    save(folder / "c.parquet", vectors[100:190])
    save(folder / "d.parquet", vectors[190:], fixed=False)
    return folder


def paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix != ".json")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 199), max_size=40), st.integers(1, 70))
def test_every_format_gives_the_rows_that_were_saved(folder: Path, rows: list[int], block: int) -> None:
    source = VectorSource.open(paths(folder), "l14_img")
    vectors = clustered(200, 8)
    assert (source.rows, source.dimensions) == (200, 8)
    assert np.array_equal(source.take(np.array(rows, dtype=np.int64)), vectors[rows])
    parts = [part for shard in source.shards for part in shard.blocks(rows=block)]
    assert np.array_equal(np.concatenate([numbers for numbers, _ in parts]), np.arange(200))
    assert np.array_equal(np.concatenate([values for _, values in parts]), vectors)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".parquet"])
def test_a_row_that_is_not_finite_is_refused_or_left_out(tmp_path: Path, suffix: str) -> None:
    vectors = clustered(100, 8)
    vectors[[41, 77]] = np.nan
    shard = VectorShard.open(save(tmp_path / f"x{suffix}", vectors), "l14_img")
    with pytest.raises(DataFormatError, match=r"Row 41 of x\..* is not finite"):
        list(shard.blocks())
    kept = np.concatenate([rows for rows, _ in shard.blocks(skip_missing=True)])
    assert kept.tolist() == [row for row in range(100) if row not in (41, 77)]


def test_a_null_in_parquet_is_a_row_that_is_not_finite(tmp_path: Path) -> None:
    lists = pa.array([[1.0, 0.0], None, [0.6, 0.8], [None, 1.0]], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"v": lists}), tmp_path / "x.parquet")
    (rows, vectors) = next(VectorShard.open(tmp_path / "x.parquet").blocks(skip_missing=True))
    assert rows.tolist() == [0, 2]
    assert vectors.tolist() == np.array([[1, 0], [0.6, 0.8]], np.float32).tolist()


def test_vectors_that_are_not_of_length_one_are_refused(tmp_path: Path) -> None:
    vectors = clustered(100, 8)
    np.save(tmp_path / "half.npy", vectors.astype(np.float16))
    assert len(next(VectorShard.open(tmp_path / "half.npy").blocks())[0]) == 100
    vectors[13] *= 1.5
    np.save(tmp_path / "x.npy", vectors)
    with pytest.raises(DataFormatError, match=r"Row 13 of x.npy has length 1\.5, not 1\. Divide"):
        list(VectorShard.open(tmp_path / "x.npy").blocks(skip_missing=True, rows=10))
    with pytest.raises(DataFormatError, match="Row 13 of The queries has length"):
        check_vectors(vectors, "The queries")
    with pytest.raises(DataFormatError, match="The queries have shape"):
        check_vectors(vectors[0], "The queries")


def test_features_of_two_models_are_refused(tmp_path: Path) -> None:
    first, second = (save(tmp_path / f"{name}.npz", clustered(20, 8)) for name in "ab")
    other = save(tmp_path / "c.npz", clustered(20, 16))
    with pytest.raises(DataFormatError, match=r"a.npz:l14_img has vectors of 8 dimensions, c.npz:l14_img of 16"):
        VectorSource.open([first, other], "l14_img")

    def record(path: Path, **digests: str) -> None:
        models = [{"role": role, "weights_sha256": digest} for role, digest in digests.items()]
        path.with_name(f"{path.name}.json").write_text(json.dumps({"models": models}))

    record(first, l14="a" * 64, b32="b" * 64)
    VectorSource.open([first, second], "l14_img")  # of the second nothing is known
    record(second, l14="c" * 64)
    with pytest.raises(DataFormatError, match=r"made by the model aaaaaaaaaaaa, .* by cccccccccccc"):
        VectorSource.open([first, second], "l14_img")
    (tmp_path / "annotation.json").write_text(json.dumps({"models": [{"role": "l14", "weights_sha256": "a" * 64}]}))
    table = pa.table({"l14_img": pa.array([[1.0, 0.0]])})
    pq.write_table(table.replace_schema_metadata({"weights_sha256": "d" * 64}), tmp_path / "p.parquet")
    assert VectorShard.open(tmp_path / "p.parquet").model == "d" * 64
    assert VectorShard.open(other, "l14_img").model == "a" * 64
    second.with_name("b.npz.json").write_text('{"models": [1]}')
    with pytest.raises(DataFormatError, match="does not list models"):
        VectorShard.open(second, "l14_img")


def test_what_is_no_file_of_features_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "x.npz", clustered(9, 4))
    np.save(tmp_path / "flat.npy", np.zeros(4, np.float32))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and no more")
    pq.write_table(pa.table({"v": pa.array([[1.0, 0.0], [1.0]])}), tmp_path / "ragged.parquet")
    pq.write_table(pa.table({"n": [1]}), tmp_path / "numbers.parquet")
    cases: list[tuple[type[Exception], str, str, str | None]] = [
        (UsageError, "has several features: l14_txt, l14_img", "x.npz", None),
        (DataFormatError, "has no b32_img; it has l14_txt", "x.npz", "b32_img"),
        (UsageError, "is no file of features", "x.bin", None),
        (DataFormatError, "not rows of floats", "flat.npy", None),
        (DataFormatError, "not a plain .npy", "objects.npy", None),
        (DataFormatError, "damaged", "damaged.parquet", None),
        (DataFormatError, "has no features; it has none", "numbers.parquet", None),
        (StorageError, "No such file", "absent.npy", None),
    ]
    for kind, message, name, member in cases:
        with pytest.raises(kind, match=message):
            VectorShard.open(tmp_path / name, member)
    with pytest.raises(DataFormatError, match=r"Row 1 of ragged.parquet:v is no vector of 2 dimensions"):
        list(VectorShard.open(tmp_path / "ragged.parquet").blocks())
