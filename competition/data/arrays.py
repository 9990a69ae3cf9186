"""Writing NumPy arrays so that a full disk is recognised."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


def write_npy(stream: BinaryIO, array: NDArray[Any]) -> None:
    """Write an array as ``.npy``, byte for byte as ``numpy.save`` does.

    NumPy hands the data of a file to ``ndarray.tofile``, whose error for a full disk carries no error number; here
    the stream writes it.

    Raises:
        OSError: as the stream raises it, with its error number.
    """
    whole = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(whole))
    # As plain bytes: a view of records without rows brings the interpreter down.
    stream.write(whole.reshape(-1).view(np.uint8).data)
