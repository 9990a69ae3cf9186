"""What an evaluation set says of every image beside its class: rows of whole numbers, as ``npy`` members.

DataComp's sets of WILDS and of fairness have these. Its program takes rows and labels in the order in which it meets
them; here both come from the same sample.
"""

from __future__ import annotations

import io
import math

import numpy as np

from competition.data.npy import NpyHeaderError, read_npy_header

MOST_COLUMNS = 64
_MOST_BYTES = 4096
_LARGEST = 2**53
"""Up to here a float has every whole number exactly."""


class ColumnsError(Exception):
    """A member is no row of whole numbers; the message says why."""


def row(data: bytes) -> tuple[int, ...]:
    """The whole numbers of an ``npy`` member, at most 64 of them, of at most 2**53 in size; nothing is unpickled.

    Raises:
        ColumnsError: it is something else.
    """
    if len(data) > _MOST_BYTES:
        raise ColumnsError(f"its npy has {len(data)} bytes")
    stream = io.BytesIO(data)
    try:
        header = read_npy_header(stream)
    except NpyHeaderError as error:
        raise ColumnsError("its npy cannot be read") from error
    if header.dtype.hasobject:
        raise ColumnsError("its npy cannot be read: it holds pickled objects")
    if len(header.shape) > 1 or math.prod(header.shape) > MOST_COLUMNS:
        raise ColumnsError("its npy is no row of numbers")
    if header.dtype.kind not in "iufb":
        raise ColumnsError("its npy holds something else than whole numbers")
    content = stream.read(header.data_bytes)
    if len(content) < header.data_bytes:
        raise ColumnsError("its npy cannot be read")
    values: list[int | float] = np.frombuffer(content, header.dtype).tolist()
    if any(abs(value) > _LARGEST for value in values):
        raise ColumnsError("its npy holds a number that is too large")
    if not all(float(value).is_integer() for value in values):
        raise ColumnsError("its npy holds something else than whole numbers")
    return tuple(map(int, values))
