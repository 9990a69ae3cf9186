"""Arrays are written as NumPy writes them, and a disk that takes no more is said so."""

from __future__ import annotations

import errno
import io
import resource
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.uids import UID_DTYPE, save_subset
from competition.errors import StorageError


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(0, dtype=UID_DTYPE),
        np.array([(1, 2), (3, 4)], dtype=UID_DTYPE),
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2],
    ],
    ids=["empty", "uids", "images", "strided"],
)
def test_the_bytes_are_those_of_numpy(array: NDArray[np.generic], tmp_path: Path) -> None:
    expected = io.BytesIO()
    np.save(expected, np.ascontiguousarray(array), allow_pickle=False)
    with (tmp_path / "a.npy").open("wb") as stream:
        write_npy(stream, array)
    assert (tmp_path / "a.npy").read_bytes() == expected.getvalue()


def test_a_subset_that_does_not_fit_is_said_so_and_leaves_nothing(tmp_path: Path) -> None:
    """The limit on a file's size takes the same way through NumPy and the system as a full disk does."""
    uids = np.zeros(100_000, dtype=UID_DTYPE)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="would exceed the largest size allowed here while writing") as raised:
            save_subset(tmp_path / "s.npy", uids)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(raised.value.__cause__, OSError)
    assert raised.value.__cause__.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []
