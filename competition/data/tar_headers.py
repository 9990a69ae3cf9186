"""Tar headers by the thousand: read and written as one array of 512-byte rows, never one by one.

Reading understands what img2dataset, webdataset and DataCup write (ustar or GNU headers without extensions) and says
so when a tar holds anything else; ``competition.data.tar`` then decides member by member, and says what is damaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from competition.data import tar

BLOCK: Final = tar.BLOCK
MAX_NAME_BYTES: Final = 100

Bytes2D = NDArray[np.uint8]

_ROWS = 4096
_NAME = slice(0, MAX_NAME_BYTES)
_SIZE, _SIZE_END = slice(124, 135), 135
_CHECKSUM, _CHECKSUM_END = slice(148, 154), slice(154, 156)
_KIND = 156
_MAGIC = slice(257, 262)
_PREFIX = 345
_USTAR = np.frombuffer(b"ustar", dtype=np.uint8)
_OCTAL_11 = 8 ** np.arange(10, -1, -1, dtype=np.int64)
_OCTAL_6 = 8 ** np.arange(5, -1, -1, dtype=np.int64)


class PlainMembers(NamedTuple):
    """Members of a tar whose headers are one block each: ``starts`` and ``sizes`` int64 [n], ``names`` uint8 [n, 100].

    A payload begins ``BLOCK`` after its start. Names are padded with zeros.
    """

    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    names: Bytes2D


def padded(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Payload sizes rounded up to whole blocks."""
    return (sizes + (BLOCK - 1)) & -BLOCK


def read_plain_members(buffer: tar.Buffer, starts: Sequence[int], stops: Sequence[int]) -> PlainMembers | None:
    """The members of byte ranges that each begin with a header and end behind a payload.

    Returns:
        All members in order; ``None`` when any header is of another kind or wrong, so that nothing is decided here.
    """
    positions: list[int] = []
    for start, stop in zip(starts, stops, strict=True):
        if _walk(buffer, start, stop, positions) != stop:
            return None
    return _members(buffer, np.array(positions, dtype=np.int64))


def read_plain_tar(buffer: tar.Buffer, source: Path) -> PlainMembers | None:
    """All members of a tar; ``None`` as in ``read_plain_members``.

    Raises:
        DataFormatError: there is data after the end-of-archive mark.
    """
    positions: list[int] = []
    end = _walk(buffer, 0, len(buffer), positions)
    if end + BLOCK > len(buffer) or buffer[end : end + BLOCK] != bytes(BLOCK):
        return None
    members = _members(buffer, np.array(positions, dtype=np.int64))
    if members is not None:
        tar.check_end(buffer, source, end)
    return members


def _walk(buffer: tar.Buffer, start: int, stop: int, positions: list[int]) -> int:
    """Follow the size fields from header to header; returns where they lead out of the range or make no sense.

    The loop that everything waits for: what a header says beside its size is checked later, for all at once.
    """
    add, position = positions.append, start
    try:
        for _ in range((stop - start) // BLOCK):
            if position >= stop:
                break
            size = int(buffer[position + 124 : position + 135], 8)
            add(position)
            position += BLOCK + (size + 511 & -512)
    except ValueError:
        pass
    return position


def _members(buffer: tar.Buffer, starts: NDArray[np.int64]) -> PlainMembers | None:
    blocks = np.frombuffer(buffer, dtype=np.uint8, count=len(buffer) // BLOCK * BLOCK).reshape(-1, BLOCK)
    sizes = np.empty(len(starts), dtype=np.int64)
    names = np.zeros((len(starts), MAX_NAME_BYTES), dtype=np.uint8)
    if len(starts) and not 0 <= starts.min() <= starts.max() <= (len(blocks) - 1) * BLOCK:
        return None
    for first in range(0, len(starts), _ROWS):
        part = slice(first, first + _ROWS)
        headers = blocks.take(starts[part] // BLOCK, axis=0)
        checked = _sizes(headers)
        if checked is None or (starts[part] % BLOCK).any():
            return None
        sizes[part], names[part] = checked, headers[:, _NAME]
    if (sizes > tar.MAX_MEMBER_BYTES).any() or (starts + BLOCK + sizes > len(buffer)).any():
        return None
    return PlainMembers(starts, sizes, names)


def _sizes(headers: Bytes2D) -> NDArray[np.int64] | None:
    """The size fields of headers that are all plain files with a right checksum."""
    size_digits = headers[:, _SIZE] ^ ord("0")
    sum_digits = headers[:, _CHECKSUM] ^ ord("0")
    kind = headers[:, _KIND]
    if (
        (size_digits > 7).any()
        or (sum_digits > 7).any()
        or (headers[:, _SIZE_END] & 0xDF).any()  # neither a zero nor a space
        or (headers[:, _CHECKSUM_END] & 0xDF).any()
        or ((kind != ord("0")) & (kind != 0)).any()
        or (headers[:, _MAGIC] != _USTAR).any()
        or headers[:, _PREFIX].any()
    ):
        return None
    checksum_field = headers[:, 148:156].sum(axis=1, dtype=np.uint32)
    checksums = headers.sum(axis=1, dtype=np.uint32) - checksum_field + 8 * ord(" ")
    if (checksums != sum_digits @ _OCTAL_6).any():
        return None
    sizes: NDArray[np.int64] = size_digits @ _OCTAL_11
    return sizes


def headers_of(names: Bytes2D, sizes: NDArray[np.int64]) -> Bytes2D:
    """The ustar headers of plain files, byte for byte those that ``TarWriter`` writes.

    Args:
        names: [n, 100], padded with zeros.
        sizes: [n], less than 8 GiB each.

    Returns:
        [n, 512]
    """
    template = np.frombuffer(tar.header(b"", 0), dtype=np.uint8)
    headers = np.broadcast_to(template, (len(sizes), BLOCK)).copy()
    headers[:, _NAME] = names
    digits = (sizes[:, None] >> np.arange(30, -1, -3)) & 7
    headers[:, _SIZE] = digits + ord("0")
    empty = int(template.sum(dtype=np.int64)) - int(template[148:156].sum(dtype=np.int64)) + 8 * ord(" ")
    checksums = empty + names.sum(axis=1, dtype=np.int64) + digits.sum(axis=1)
    headers[:, _CHECKSUM] = ((checksums[:, None] >> np.arange(15, -1, -3)) & 7) + ord("0")
    return headers
