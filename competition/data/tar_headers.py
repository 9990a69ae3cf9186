"""Tar headers by the thousand: read and written as one array of 512-byte rows, never one by one.

Reading understands what img2dataset, webdataset and DataCup write (ustar or GNU headers without extensions) and says
so when a tar holds anything else; ``competition.data.tar`` then decides member by member, and says what is damaged.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from competition.data import tar
from competition.data.atomic import storage_errors

BLOCK: Final = tar.BLOCK
MAX_NAME_BYTES: Final = 100

Bytes2D = NDArray[np.uint8]

_ROWS = 4096
_MAX_MEMBERS = 1 << 17
_WINDOW = 4096
_MAX_TEXT = 2048
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

    A payload begins ``BLOCK`` after its start. Names are padded with zeros. ``texts`` are the payloads of small members
    where they were read on the way; of a large one they hold nothing, or less than its size.
    """

    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    names: Bytes2D
    texts: list[bytes]


def padded(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Payload sizes rounded up to whole blocks."""
    return (sizes + (BLOCK - 1)) & -BLOCK


def read_plain_members(buffer: tar.Buffer, starts: Sequence[int], stops: Sequence[int]) -> PlainMembers | None:
    """The members of byte ranges that each begin with a header and end behind a payload, without texts.

    Returns:
        All members in order; ``None`` when any header is of another kind or wrong, so that nothing is decided here.
    """
    positions: list[int] = []
    headers: list[bytes] = []
    try:
        for start, stop in zip(starts, stops, strict=True):
            position = start
            while start <= position < stop <= len(buffer):
                header = buffer[position : position + BLOCK]
                headers.append(header)
                positions.append(position)
                position += BLOCK + (int(header[124:135], 8) + 511 & -512)
            if position != stop:
                return None
    except ValueError:
        return None
    return _members(positions, headers, [], len(buffer))


def read_plain_tar(buffer: tar.Buffer, source: Path) -> PlainMembers | None:
    """All members of a tar, with texts; ``None`` as in ``read_plain_members``, and for more than 131,072 members.

    Args:
        buffer: the opened tar, of which only the end is read.
        source: its path, of which headers are read: many times fewer pages than a mapping would bring in.

    Raises:
        StorageError: it cannot be read.
        DataFormatError: there is data after the end-of-archive mark.
    """
    with storage_errors("reading", source):
        descriptor = os.open(source, os.O_RDONLY)
        try:
            end, positions, headers, texts = _walk(descriptor, len(buffer))
        finally:
            os.close(descriptor)
    if end + BLOCK > len(buffer) or buffer[end : end + BLOCK] != bytes(BLOCK):
        return None
    members = _members(positions, headers, texts, len(buffer))
    if members is not None:
        tar.check_end(buffer, source, end)
    return members


def _walk(descriptor: int, stop: int) -> tuple[int, list[int], list[bytes], list[bytes]]:
    """Follow the size fields from header to header; returns where they lead out of the tar, and what they led to.

    The loop that everything waits for. What a header says beside its size is checked later, for all at once.
    """
    positions: list[int] = []
    headers: list[bytes] = []
    texts: list[bytes] = []
    add_position, add_header, add_text = positions.append, headers.append, texts.append
    position = base = filled = 0
    window = b""
    with contextlib.suppress(ValueError):
        for _ in range(min(_MAX_MEMBERS, stop // BLOCK)):
            at = position - base
            if not 0 <= at <= filled - BLOCK:
                if not 0 <= position < stop:
                    break
                window = os.pread(descriptor, _WINDOW, position)
                base, at, filled = position, 0, len(window)
            header = window[at : at + BLOCK]
            size = int(header[124:135], 8)
            add_position(position)
            add_header(header)
            add_text(window[at + BLOCK : at + BLOCK + size] if size <= _MAX_TEXT else b"")
            position += BLOCK + (size + 511 & -512)
    return position, positions, headers, texts


def _members(positions: list[int], headers: list[bytes], texts: list[bytes], end: int) -> PlainMembers | None:
    starts = np.array(positions, dtype=np.int64)
    sizes = np.empty(len(starts), dtype=np.int64)
    names = np.empty((len(starts), MAX_NAME_BYTES), dtype=np.uint8)
    for first in range(0, len(starts), _ROWS):
        part = slice(first, first + _ROWS)
        joined = b"".join(headers[part])
        if len(joined) != BLOCK * len(starts[part]):
            return None
        rows = np.frombuffer(joined, dtype=np.uint8).reshape(-1, BLOCK)
        checked = _sizes(rows)
        if checked is None:
            return None
        sizes[part], names[part] = checked, rows[:, _NAME]
    if (sizes > tar.MAX_MEMBER_BYTES).any() or (starts + BLOCK + sizes > end).any():
        return None
    return PlainMembers(starts, sizes, names, texts)


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
