"""One reader of ``.npy`` headers: what NumPy writes it reads, and whatever else ends in one kind of error."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from competition.data.npy import MAX_HEADER_BYTES, NpyHeaderError, map_npy, read_npy_header
from competition.data.npz import open_member
from competition.data.uids import UID_DTYPE, load_subset
from competition.errors import DataFormatError, PredictionsError
from competition.evaluation.predictions import TestSetShape, read_predictions
from competition.evaluation.set_columns import ColumnsError, row
from participant_kit.feature_files import read_features
from participant_kit.subsets.centroids import load_matrix
from tests.competition.data.hostile_headers import HOSTILE, LONG, npy
from tests.participant_kit.cli.typed import refused

ALL = {**{name: npy(header) for name, header in HOSTILE.items()}, "long": LONG, "short": npy(b"{")[:9], "empty": b""}
hostile = pytest.mark.parametrize("content", ALL.values(), ids=ALL)


class Counted(io.BytesIO):
    """Remembers the longest read that was asked for."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.most = max(self.most, 1 << 62 if size is None or size < 0 else size)
        return super().read(size)


@settings(max_examples=50)
@given(
    array=hnp.arrays(hnp.scalar_dtypes() | st.just(UID_DTYPE), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)),
    version=st.sampled_from([None, (2, 0), (3, 0)]),
    column_major=st.booleans(),
)
def test_what_numpy_writes_is_read(array: np.ndarray, version: tuple[int, int] | None, column_major: bool) -> None:
    stream = io.BytesIO()
    array = np.asarray(array, order="F" if column_major else "C")
    np.lib.format.write_array(stream, array, version, allow_pickle=False)
    stream.seek(0)
    header = read_npy_header(stream)
    assert (header.shape, header.dtype) == (array.shape, array.dtype)
    assert header.size == stream.tell()
    assert len(stream.read()) == header.data_bytes == array.nbytes
    assert header.column_major == (array.flags.f_contiguous and not array.flags.c_contiguous)


@hostile
def test_strange_headers_are_one_kind_of_error_and_cost_nothing(content: bytes) -> None:
    stream = Counted(content)
    with pytest.raises(NpyHeaderError):
        read_npy_header(stream)
    assert stream.most <= MAX_HEADER_BYTES


@given(header=st.binary(max_size=200) | st.text("{}()[]'\",:<f8-descrshape \n", max_size=80).map(str.encode))
def test_no_header_ends_otherwise(header: bytes) -> None:
    try:
        found = read_npy_header(io.BytesIO(npy(header)))
    except NpyHeaderError:
        return
    assert all(side >= 0 for side in found.shape)


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3).T, np.zeros((0, 4))])
def test_a_map_is_numpys(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", array)
    found = map_npy(tmp_path / "x.npy")
    assert found.dtype == array.dtype
    assert np.array_equal(found, np.load(tmp_path / "x.npy"))
    assert isinstance(found, np.memmap) == bool(array.size)


@hostile
@pytest.mark.parametrize("way", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_of_them_are_damaged(tmp_path: Path, content: bytes, way: int) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", way) as archive:
        archive.writestr("a.npy", content)
    for most_bytes in (None, 1000):
        with pytest.raises(DataFormatError, match=r"x\.npz is damaged or is not an npz"):
            open_member(path, "a", most_bytes=most_bytes)


@hostile
def test_predictions_of_them_are_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises((DataFormatError, PredictionsError), match=r"The predictions x\.npz are damaged"):
        read_predictions(path, {"a": TestSetShape(1, 1000)})


@hostile
def test_columns_of_them_cannot_be_read(content: bytes) -> None:
    with pytest.raises(ColumnsError, match="its npy cannot be read"):
        row(content)


@hostile
def test_files_of_them_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    for read in (read_features, load_matrix, map_npy):
        with pytest.raises(DataFormatError, match=r"x\.npy is not a plain \.npy file"):
            read(path)
    if content.startswith(b"\x93NUMPY"):
        with pytest.raises(DataFormatError, match="malformed NumPy header"):
            load_subset(path)


def test_the_command_line_says_it_in_one_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "sound.npy", np.ones((4, 3)))
    for name in ("unclosed", "nested"):
        (tmp_path / "x.npy").write_bytes(ALL[name])
        failed = refused("metrics", "distance", f"{tmp_path}/x.npy", f"{tmp_path}/sound.npy", "--metric", "kid")
        assert "x.npy is not a plain .npy file: its header is malformed." in failed.err
