"""One member of an npz: mapped where it lies, equal to what NumPy reads, and refused when the archive is not whole."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from competition.data.npz import member_names, open_member
from competition.errors import DataFormatError, StorageError

ARRAYS = hnp.arrays(
    st.sampled_from([np.float16, np.float32, np.float64]),
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=0),
    elements=st.floats(-1, 1, width=16),
)


@given(first=ARRAYS, second=ARRAYS, column_major=st.booleans(), deflated=st.booleans())
def test_every_member_equals_what_numpy_reads(
    tmp_path_factory: pytest.TempPathFactory,
    first: np.ndarray,
    second: np.ndarray,
    column_major: bool,
    deflated: bool,
) -> None:
    path = tmp_path_factory.mktemp("npz") / "x.npz"
    save = np.savez_compressed if deflated else np.savez
    save(path, first=first, second=np.asfortranarray(second) if column_major else second)
    assert member_names(path) == ["first", "second"]
    for name, expected in (("first", first), ("second", second)):
        found = open_member(path, name)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert np.array_equal(found, expected)


def test_a_stored_member_is_mapped_and_a_deflated_one_is_read(tmp_path: Path) -> None:
    values = np.arange(12.0).reshape(3, 4)
    np.savez(tmp_path / "stored.npz", a=values)
    np.savez_compressed(tmp_path / "deflated.npz", a=values)
    stored = open_member(tmp_path / "stored.npz", "a")
    assert isinstance(stored, np.memmap)
    assert not stored.flags.writeable
    assert not isinstance(open_member(tmp_path / "deflated.npz", "a"), np.memmap)


def test_a_member_whose_header_promises_other_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros((10, 4)))
    content = path.read_bytes().replace(b"(10, 4)", b"(99, 4)")
    path.write_bytes(content)
    with pytest.raises(DataFormatError, match=r"damaged.*not those of shape \(99, 4\)"):
        open_member(path, "a")


@pytest.mark.parametrize("kept", [0, 10, 200, -30])
def test_a_truncated_archive_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros((100, 8)))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataFormatError, match=r"x\.npz is damaged"):
        open_member(path, "a")


def test_a_deflated_array_may_be_limited(tmp_path: Path) -> None:
    """By what its header says, before memory is taken for it; a stored one is mapped and may have any size."""
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.ones((10, 4)))
    assert np.array_equal(open_member(path, "a", most_bytes=320), np.ones((10, 4)))
    with pytest.raises(DataFormatError, match=r"a\.npy has 320 bytes, more than 319; save it uncompressed"):
        open_member(path, "a", most_bytes=319)
    with zipfile.ZipFile(path) as archive:
        content = archive.read("a.npy").replace(b"(10, 4)", b"(99, 4)")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(DataFormatError, match=r"not those of shape \(99, 4\)"):
        open_member(path, "a", most_bytes=10_000)
    np.savez(path, a=np.ones((10, 4)))
    assert open_member(path, "a", most_bytes=1).shape == (10, 4)


def test_damaged_deflated_data_objects_and_absent_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).standard_normal(1000))
    content = bytearray(path.read_bytes())
    content[500:600] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(DataFormatError, match="damaged"):
        open_member(path, "a")
    np.savez(path, allow_pickle=True, a=np.array([{}], dtype=object))
    with pytest.raises(DataFormatError, match="pickled objects"):
        open_member(path, "a")
    with pytest.raises(DataFormatError, match="has no 'b'; it has a"):
        open_member(path, "b")
    with pytest.raises(StorageError, match="No such file"):
        open_member(tmp_path / "absent.npz", "a")


def test_a_directory_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("a.npy", "w") as stream:
        np.lib.format.write_array(stream, np.zeros(4))
    content = bytearray(path.read_bytes())
    content[:4] = b"XXXX"
    path.write_bytes(content)
    with pytest.raises(DataFormatError, match="not where the directory says"):
        open_member(path, "a")
