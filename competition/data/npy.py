"""Headers of ``.npy`` arrays from untrusted bytes, and maps of such files; nothing here ever loads a pickle.

NumPy evaluates a header as a Python literal. Strange ones end in errors of Python's tokenizer and parser that NumPy
does not name, and its length field of four bytes is believed before anything is checked. Whoever reads an array that
somebody else made reads its header here.
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError

MAX_HEADER_BYTES = 4096
"""Of the text of a header; NumPy's own have 128 bytes with magic and all, unless there are dozens of fields."""

_MAX_AXES = 32
_MAX_SIDE = (1 << 63) - 1
_LENGTH_FIELDS = {(1, 0): "<H", (2, 0): "<I", (3, 0): "<I"}


class NpyHeaderError(ValueError):
    """The bytes are no header of an ``.npy`` array; the message says why, without a full stop."""


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What an ``.npy`` says about its array.

    Args:
        shape: of the array, at most 32 axes.
        dtype: of its elements; it may hold objects, which whoever reads the data must refuse.
        column_major: the elements are in Fortran's order.
        size: bytes in front of the data.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    column_major: bool
    size: int

    @property
    def data_bytes(self) -> int:
        """How many bytes the data has."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(stream: IO[bytes]) -> NpyHeader:
    """The header at the start of a stream, which is then at the data. At most ``MAX_HEADER_BYTES`` and a few are read.

    Raises:
        NpyHeaderError: it is malformed, cut off, too long, or of an unknown version.
    """
    magic = stream.read(np.lib.format.MAGIC_LEN)
    if len(magic) < np.lib.format.MAGIC_LEN or not magic.startswith(np.lib.format.MAGIC_PREFIX):
        raise NpyHeaderError("it does not begin as an .npy does")
    version = (magic[-2], magic[-1])
    if version not in _LENGTH_FIELDS:
        raise NpyHeaderError(f"version {version[0]}.{version[1]} of .npy is not known")
    field = stream.read(struct.calcsize(_LENGTH_FIELDS[version]))
    try:
        (length,) = struct.unpack(_LENGTH_FIELDS[version], field)
    except struct.error as error:
        raise NpyHeaderError("its header is cut off") from error
    if length > MAX_HEADER_BYTES:
        raise NpyHeaderError(f"its header has {length} bytes, more than {MAX_HEADER_BYTES}")
    text = stream.read(length)
    if len(text) < length:
        raise NpyHeaderError("its header is cut off")
    shape, column_major, dtype = _parsed(version, field + text)
    return NpyHeader(shape, dtype, column_major, len(magic) + len(field) + length)


def _parsed(version: tuple[int, int], content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    # Version 3.0 differs from 2.0 in the encoding of the names of fields alone, for which no array here has need.
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, column_major, dtype = read(io.BytesIO(content), max_header_size=MAX_HEADER_BYTES)
    except Exception as error:  # TokenError, RecursionError, MemoryError and more than numpy names
        raise NpyHeaderError("its header is malformed") from error
    if len(shape) > _MAX_AXES or any(isinstance(side, bool) or not 0 <= side <= _MAX_SIDE for side in shape):
        raise NpyHeaderError("its header has an impossible shape")
    return shape, column_major, dtype


def map_array(path: Path, header: NpyHeader, offset: int) -> NDArray[Any]:
    """A read-only memory map of the array that lies at ``offset`` in a file, whose size was checked."""
    if not math.prod(header.shape):
        return np.zeros(header.shape, header.dtype)
    return np.memmap(path, header.dtype, "r", offset, header.shape, "F" if header.column_major else "C")


def map_npy(path: Path) -> NDArray[Any]:
    """A read-only memory map of an ``.npy`` file.

    Raises:
        DataFormatError: it is not a plain ``.npy``: malformed, cut off, or of pickled objects.
        StorageError: it cannot be read.
    """
    with storage_errors("reading", path):
        try:
            with path.open("rb") as stream:
                header = read_npy_header(stream)
            if header.dtype.hasobject:
                raise NpyHeaderError("it holds pickled objects, which are never loaded")
            if path.stat().st_size < header.size + header.data_bytes:
                raise NpyHeaderError("it is shorter than its header says")
            return map_array(path, header, header.size)
        except (ValueError, TypeError, OverflowError) as error:
            raise DataFormatError(f"{path} is not a plain .npy file: {error}.") from error
