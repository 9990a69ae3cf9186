"""What an evaluation set says of every image beside its class: rows of whole numbers, as ``npy`` members.

DataComp's sets of WILDS and of fairness have these. Its program takes rows and labels in the order in which it meets
them; here both come from the same sample.
"""

from __future__ import annotations

import io

import numpy as np

MOST_COLUMNS = 64
_MOST_BYTES = 4096
_LARGEST = 2.0**53


class ColumnsError(Exception):
    """A member is no row of whole numbers; the message says why."""


def row(data: bytes) -> tuple[int, ...]:
    """The whole numbers of an ``npy`` member, at most 64 (raises ``ColumnsError``); nothing is unpickled."""
    if len(data) > _MOST_BYTES:
        raise ColumnsError(f"its npy has {len(data)} bytes")
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise ColumnsError("its npy cannot be read") from error
    if not isinstance(values, np.ndarray) or values.ndim > 1 or values.size > MOST_COLUMNS:
        raise ColumnsError("its npy is no row of numbers")
    if values.dtype.kind not in "iufb" or not np.array_equal(values, np.trunc(values)):
        raise ColumnsError("its npy holds something else than whole numbers")
    if values.size and float(np.abs(values.astype(np.float64)).max()) > _LARGEST:  # infinity too
        raise ColumnsError("its npy holds a number that is too large")
    return tuple(int(value) for value in np.atleast_1d(values))
