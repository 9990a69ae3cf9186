"""Sample ids and subset files, as DataComp defines them.

A uid is 128 bits: 32 lowercase hex digits in metadata, a pair of unsigned 64-bit integers ``(f0, f1)`` = (upper half,
lower half) in arrays. A subset is a 1-D array of such pairs, sorted unsigned by ``f0`` then ``f1``, which is the
lexicographic order of the zero-padded hex digits. A uid that occurs *c* times means *c* copies of the sample.
"""

from __future__ import annotations

import binascii
import mmap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import atomic_writer, storage_errors
from competition.data.npy import NpyHeaderError, read_npy_header
from competition.errors import DataFormatError

UID_DTYPE = np.dtype([("f0", "<u8"), ("f1", "<u8")])
UID_DIGITS = 32

UidArray = NDArray[np.void]
"""A 1-D array of dtype ``UID_DTYPE``."""

_NPY_MAGIC = b"\x93NUMPY"
_BLOCK_ROWS = 1 << 16
"""Uids worked on at a time where blocks do: they stay in the cache; touching fresh memory costs more than the work."""


def uids_from_digits(digits: NDArray[np.uint8]) -> UidArray:
    """ASCII hex digits, contiguous, shape (n, 32) uint8, to n uids.

    Raises:
        DataFormatError: a character is not a hex digit; the message says at which position.
    """
    try:
        raw = binascii.unhexlify(digits.data)
    except binascii.Error:
        raise _first_malformed(digits) from None
    return np.frombuffer(raw, dtype=">u8").astype("<u8").view(UID_DTYPE)


def parse_uids(values: Sequence[str] | NDArray[np.str_]) -> UidArray:
    """Hex uids of 1 to 32 digits (shorter ones are left-padded with zeros, either case) to a uid array, order kept.

    Raises:
        DataFormatError: a value is empty, too long or not hex; the message says which and at which position.
    """
    texts: list[str] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if not set(map(len, texts)) <= {UID_DIGITS} or not "".join(texts).isascii():
        for position, text in enumerate(texts):
            if not 0 < len(text) <= UID_DIGITS or not text.isascii():
                raise _malformed(position, text)
        texts = [text.rjust(UID_DIGITS, "0") for text in texts]
    return uids_from_digits(np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8).reshape(-1, UID_DIGITS))


def parse_uid(text: str) -> tuple[int, int]:
    """One hex uid to its pair, without the cost of an array.

    Raises:
        DataFormatError: it is not 1 to 32 hex digits.
    """
    try:
        if not 0 < len(text) <= UID_DIGITS or not text.isalnum():
            raise ValueError
        raw = bytes.fromhex(text.rjust(UID_DIGITS, "0"))
    except ValueError:
        raise _malformed(0, text) from None
    return int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big")


def uids_to_hex(uids: UidArray) -> list[str]:
    """Uids to 32 lowercase hex digits each, order kept."""
    halves = np.empty((len(uids), 2), dtype=">u8")
    halves[:, 0], halves[:, 1] = uids["f0"], uids["f1"]
    digits = halves.tobytes().hex()
    return [digits[start : start + UID_DIGITS] for start in range(0, len(digits), UID_DIGITS)]


def sort_uids(uids: UidArray) -> UidArray:
    """A sorted copy; duplicates stay.

    One 64-bit key holds the upper digits of a uid and, in place of its lower digits, the uid's position, so that plain
    numbers are sorted, which numpy does with the processor's vectors. Uids whose keys tie are rare (two copies of one
    uid, or hashes that begin alike) and are put in order afterwards. Sorting pairs as numpy does, field by field
    through generic code, takes many times as long.
    """
    uids = np.ascontiguousarray(uids)
    position_bits = np.uint64(max(1, (len(uids) - 1).bit_length()))
    keys = uids["f0"] >> position_bits
    keys <<= position_bits
    for start in range(0, len(keys), _BLOCK_ROWS):
        block = keys[start : start + _BLOCK_ROWS]
        block |= np.arange(start, start + len(block), dtype=np.uint64)
    keys.sort()
    ordered = uids[(keys & ((np.uint64(1) << position_bits) - np.uint64(1))).view(np.int64)]
    keys >>= position_bits
    equal = keys[1:] == keys[:-1]
    if equal.any():
        run = np.zeros(len(ordered), dtype=bool)
        run[1:] |= equal
        run[:-1] |= equal
        tied = ordered[run]
        ordered[run] = tied[np.lexsort((tied["f1"], tied["f0"]))]
    return ordered


def first_unsorted(uids: UidArray) -> int | None:
    """Position of the first uid that is smaller than the one before it; ``None`` for a sorted array."""
    for start in range(0, max(len(uids) - 1, 0), _BLOCK_ROWS):
        part = uids[start : start + _BLOCK_ROWS + 1]
        f0, f1 = part["f0"], part["f1"]
        smaller = (f0[1:] < f0[:-1]) | ((f0[1:] == f0[:-1]) & (f1[1:] < f1[:-1]))
        if smaller.any():
            return start + 1 + int(smaller.argmax())
        forget_pages(part)
    return None


def check_sorted(uids: UidArray, source: str) -> None:
    """Refuse an unsorted subset: binary searches would miss its uids silently.

    Raises:
        DataFormatError: names ``source`` and the position.
    """
    position = first_unsorted(uids)
    if position is not None:
        uid = uids_to_hex(uids[position : position + 1])[0]
        raise DataFormatError(
            f"{source} is not sorted: uid {uid} at position {position} is smaller than the one before it.",
            hint="Sort the uids as unsigned pairs before saving them, for instance with `numpy.sort`.",
        )


def multiplicities(uids: UidArray) -> tuple[UidArray, NDArray[np.int64]]:
    """The distinct uids of a sorted array and how often each occurs (int64, at least 1)."""
    if not len(uids):
        return uids[:0], np.zeros(0, dtype=np.int64)
    new = np.ones(len(uids), dtype=bool)
    new[1:] = (uids["f0"][1:] != uids["f0"][:-1]) | (uids["f1"][1:] != uids["f1"][:-1])
    starts = np.flatnonzero(new)
    return uids[starts], np.diff(starts, append=len(uids)).astype(np.int64)


def repeated_rows(uids: UidArray) -> int:
    """How many uids of a sorted array equal the one before them."""
    count = 0
    for start in range(0, max(len(uids) - 1, 0), _BLOCK_ROWS):
        part = uids[start : start + _BLOCK_ROWS + 1]
        equal = part["f0"][1:] == part["f0"][:-1]
        if equal.any():
            count += int((equal & (part["f1"][1:] == part["f1"][:-1])).sum())
        forget_pages(part)
    return count


def count_in(keys: UidArray, ordered: UidArray) -> NDArray[np.int64]:
    """How often each key occurs in a *sorted* uid array: int64, shape of ``keys``, 0 for a foreign key."""
    return _bisect(ordered, keys, "right") - _bisect(ordered, keys, "left")


def contained_in(subset: UidArray, pool: UidArray) -> NDArray[np.bool_]:
    """Mask over ``subset``: is this uid in the pool? Neither array needs to be sorted."""
    ordered = pool if first_unsorted(pool) is None else sort_uids(pool)
    return count_in(subset, ordered) > 0


def _bisect(ordered: UidArray, keys: UidArray, side: Any) -> NDArray[np.int64]:
    """``numpy.searchsorted`` for uids: by ``f0`` in C, then inside the runs of equal ``f0`` by ``f1``."""
    f0, f1 = np.ascontiguousarray(ordered["f0"]), np.ascontiguousarray(ordered["f1"])
    low = np.searchsorted(f0, keys["f0"], side="left")
    high = np.searchsorted(f0, keys["f0"], side="right")
    wanted = keys["f1"]
    open_runs = np.flatnonzero(low < high)
    while len(open_runs):
        middle = (low[open_runs] + high[open_runs]) // 2
        here, key = f1[middle], wanted[open_runs]
        right = here <= key if side == "right" else here < key
        low[open_runs[right]] = middle[right] + 1
        high[open_runs[~right]] = middle[~right]
        open_runs = open_runs[low[open_runs] < high[open_runs]]
    return low


def save_subset(path: Path, uids: UidArray) -> None:
    """Write a sorted uid array as ``.npy``, atomically and byte-identical to ``numpy.save``.

    Raises:
        DataFormatError: the uids are not sorted.
        StorageError: the disk is full or the path cannot be written.
    """
    check_sorted(uids, "The subset to save")
    array = np.ascontiguousarray(uids, dtype=UID_DTYPE)
    save_blocks(path, len(array), (array[start : start + _BLOCK_ROWS] for start in range(0, len(array), _BLOCK_ROWS)))


def save_blocks(path: Path, rows: int, blocks: Iterable[UidArray]) -> None:
    """Write a subset that comes in blocks of ``rows`` uids together, in order; only one block is in memory.

    Raises:
        StorageError: the disk is full or the path cannot be written.
    """
    header = {"descr": np.lib.format.dtype_to_descr(UID_DTYPE), "fortran_order": False, "shape": (rows,)}
    with atomic_writer(path) as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for block in blocks:
            stream.write(block.view(np.uint8).data)
            forget_pages(block)


def forget_pages(uids: UidArray) -> None:
    """Give back the memory of a memory-mapped array that was read; the file's content stays and is read again if asked.

    Without this, a process that passes over a mapped file once seems to hold all of it.
    """
    owner: Any = uids
    read_only = False
    while isinstance(owner, np.ndarray):
        read_only = read_only or (isinstance(owner, np.memmap) and owner.mode == "r")
        owner = owner.base
    # Of any other mapping the system would not give back the content, but what the file or nothing at all holds.
    if read_only and isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def load_subset(path: Path, *, max_bytes: int | None = None, require_sorted: bool = True) -> UidArray:
    """Open a subset read-only (memory-mapped): ``.npy``, or a raw array of pairs when NumPy's magic is absent.

    The header is parsed before any data is touched and must promise exactly the bytes that the file has; a pickle is
    never loaded.

    Raises:
        DataFormatError: wrong dtype, shape or length, larger than ``max_bytes``, or unsorted (if required).
        StorageError: the file cannot be read.
    """
    with storage_errors("reading", path):
        size = path.stat().st_size
        if max_bytes is not None and size > max_bytes:
            raise DataFormatError(f"Subset {path} has {size} bytes; at most {max_bytes} are allowed.")
        with path.open("rb") as stream:
            offset, rows = (
                _npy_layout(stream, path) if stream.read(6) == _NPY_MAGIC else (0, size // UID_DTYPE.itemsize)
            )
        if offset + rows * UID_DTYPE.itemsize != size:
            raise DataFormatError(
                f"Subset {path} has {size} bytes where its {rows} uids need {offset + rows * UID_DTYPE.itemsize}.",
                hint="The file is truncated or is not a subset; make it again with `datacup subset`.",
            )
        if not rows:
            return np.zeros(0, dtype=UID_DTYPE)
        uids: UidArray = np.memmap(path, dtype=UID_DTYPE, mode="r", offset=offset, shape=(rows,))
    if require_sorted:
        check_sorted(uids, f"Subset {path}")
    return uids


def _npy_layout(stream: BinaryIO, path: Path) -> tuple[int, int]:
    """Offset of the data and number of uids that a ``.npy`` header promises."""
    stream.seek(0)
    try:
        header = read_npy_header(stream)
    except NpyHeaderError as error:
        raise DataFormatError(f"Subset {path} has a malformed NumPy header.") from error
    if header.dtype != UID_DTYPE or len(header.shape) != 1:
        raise DataFormatError(
            f"Subset {path} holds dtype {header.dtype} of shape {header.shape} instead of one row of `u8,u8` pairs.",
            hint="Save the uids with `numpy.dtype('u8,u8')`, as `datacup subset` does.",
        )
    return header.size, int(header.shape[0])


def _malformed(position: int, text: str) -> DataFormatError:
    shown = text if len(text) <= UID_DIGITS else f"{text[:UID_DIGITS]}..."
    return DataFormatError(f"The uid {shown!r} at position {position} is not 1 to {UID_DIGITS} hex digits.")


def _first_malformed(digits: NDArray[np.uint8]) -> DataFormatError:
    """The error about the first row that is not hex."""
    for position, row in enumerate(digits):
        try:
            binascii.unhexlify(row.data)
        except binascii.Error:
            return _malformed(position, row.tobytes().decode("ascii", errors="replace"))
    raise AssertionError("every row is hex")
