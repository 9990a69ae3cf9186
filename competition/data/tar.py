"""The tar format, as far as shards need it: where every member lies, and writing members deterministically.

The scanner parses the 512-byte headers itself (POSIX ustar and pax, GNU long names). It is several times faster than
``tarfile``, tells byte ranges (so that payloads can be copied without being parsed), and reports as damage what
``tarfile`` takes for the end of an archive: a truncated tail, a hole of zeros in the middle.
Format: POSIX.1-2017 ``pax``, "ustar Interchange Format" and "pax Extended Header".
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError

BLOCK = 512
RECORD = 20 * BLOCK
MAX_MEMBER_BYTES = 1 << 28
MAX_EXTENDED_HEADERS = 16
"""Before one member; tar itself writes four at most."""

_MAX_EXTENDED_HEADER = 1 << 16
_ZERO_BLOCK = bytes(BLOCK)
_FIELDS = struct.Struct("100s24x12s12x8s1s100x8s80x155s12x")
_REGULAR = (b"0", b"\0", b"7")
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
    b"S": "sparse",
}

Buffer = bytes | mmap.mmap


class Member(NamedTuple):
    """One regular file of a tar: ``start`` is its first header byte, its payload is ``offset : offset + size``."""

    name: str
    start: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """First byte after the padded payload."""
        return self.offset + _padded(self.size)


def damaged(source: Path, position: int, what: str) -> DataFormatError:
    """The error of a tar that cannot be trusted from byte ``position`` on."""
    return DataFormatError(
        f"Shard {source} is damaged at byte {position}: {what}.",
        hint="Get this shard again; then run the same command: finished work is kept.",
    )


@contextmanager
def open_tar(path: Path) -> Iterator[Buffer]:
    """Map a tar into memory, read-only. An empty file is an empty buffer.

    Raises:
        StorageError: it cannot be opened.
    """
    with storage_errors("reading", path):
        stream = path.open("rb")
    with stream:
        if not path.stat().st_size:
            yield b""
            return
        with storage_errors("reading", path):
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        with mapped:
            yield mapped


def scan_members(
    buffer: Buffer, source: Path, start: int = 0, stop: int | None = None, *, folders: bool = True
) -> Iterator[Member]:
    """The regular files of a tar in order, from the header at byte ``start`` up to byte ``stop``.

    Directories are passed over, or refused without ``folders``. Without ``stop`` the archive must end as tar
    prescribes: a zero block, then only zeros.

    Raises:
        DataFormatError: a bad header, a truncated member, a missing end, a link or other special member, a name that
            leaves the archive, more than ``MAX_EXTENDED_HEADERS`` before one member, or a member above
            ``MAX_MEMBER_BYTES``; names ``source`` and the byte offset.
    """
    position = first = start
    end = len(buffer) if stop is None else stop
    extended: dict[str, str] = {}
    about_the_next = 0
    while position < end:
        header = buffer[position : position + BLOCK]
        if len(header) < BLOCK:
            raise damaged(source, position, "the file ends inside a header")
        if header == _ZERO_BLOCK:
            check_end(buffer, source, position)
            return
        name, size_field, checksum, kind, magic, prefix = _FIELDS.unpack(header)
        if _number(checksum, source, position) != sum(header) - sum(checksum) + 256:
            raise damaged(source, position, "the header's checksum is wrong")
        size = (
            int(extended["size"]) if "size" in extended and kind in _REGULAR else _number(size_field, source, position)
        )
        payload = position + BLOCK
        if payload + size > len(buffer):
            raise damaged(source, position, f"a member of {size} bytes goes beyond the end of the file")
        if kind in _REGULAR:
            path_name = extended.get("path") or _name(name, prefix, magic)
            _check_member(path_name, size, source, position)
            yield Member(path_name, first, payload, size)
            extended, about_the_next = {}, 0
        elif kind == b"5" and folders:
            # What was said about the directory must not be taken for its first file's.
            extended, about_the_next = {}, 0
        else:
            about_the_next += 1
            if about_the_next > MAX_EXTENDED_HEADERS:
                raise damaged(source, position, "there are too many extended headers before one member")
            extended |= _special(kind, buffer, payload, size, source)
        position = payload + _padded(size)
        first = first if extended else position
    if stop is None:
        raise damaged(source, min(position, len(buffer)), "the file ends without the end-of-archive mark")


def _special(kind: bytes, buffer: Buffer, payload: int, size: int, source: Path) -> dict[str, str]:
    """What a header that is not a regular file says about the member after it."""
    if kind in {b"x", b"L"}:
        if size > _MAX_EXTENDED_HEADER:
            raise damaged(source, payload - BLOCK, f"an extended header has {size} bytes")
        content = buffer[payload : payload + size]
        if kind == b"L":
            return {"path": content.rstrip(b"\0").decode("utf-8", errors="replace")}
        return _pax_records(content, source, payload)
    if kind in {b"g", b"K"}:
        return {}
    what = _KINDS.get(kind, f"of the unknown type {kind!r}")
    raise damaged(source, payload - BLOCK, f"a member is {what}; shards hold plain files only")


def _pax_records(content: bytes, source: Path, position: int) -> dict[str, str]:
    """``"<length> <key>=<value>\\n"`` records: path and size matter, sparse files are refused."""
    records: dict[str, str] = {}
    start = 0
    while start < len(content):
        length_text, _, _ = content[start : start + 8].partition(b" ")
        length = int(length_text) if length_text.isdigit() and len(length_text) < 8 else 0
        record = content[start + len(length_text) + 1 : start + length]
        key, equals, value = record[:-1].partition(b"=")
        if not equals or not record.endswith(b"\n"):
            raise damaged(source, position, "a pax header is malformed")
        if key.startswith(b"GNU.sparse"):
            raise damaged(source, position, "a member is sparse; shards hold plain files only")
        if key == b"path" or (key == b"size" and value.isdigit() and len(value) < 20):
            records[key.decode()] = value.decode("utf-8", errors="replace")
        start += length
    return records


def _number(field: bytes, source: Path, position: int) -> int:
    """An octal field, or GNU's base-256 for numbers that octal digits cannot hold."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        if not digits:
            return 0
        raise damaged(source, position, "a header field is not a number")
    return int(digits, 8)


def _name(name: bytes, prefix: bytes, magic: bytes) -> str:
    text = name.partition(b"\0")[0]
    if magic.startswith(b"ustar\0") and prefix[0]:
        text = prefix.partition(b"\0")[0] + b"/" + text
    return text.decode("utf-8", errors="replace")


def _check_member(name: str, size: int, source: Path, position: int) -> None:
    if not name or name.startswith("/") or "\0" in name or ".." in name.split("/"):
        raise damaged(source, position, f"the member name {name[:80]!r} leaves the archive")
    if size > MAX_MEMBER_BYTES:
        raise damaged(
            source, position, f"member {name[:80]!r} has {size} bytes; at most {MAX_MEMBER_BYTES} are allowed"
        )


def check_end(buffer: Buffer, source: Path, position: int) -> None:
    """After the end mark at byte ``position`` only zeros may follow: data there would be samples silently lost.

    Raises:
        DataFormatError: something else follows.
    """
    for start in range(position, len(buffer), 1 << 20):
        chunk = buffer[start : start + (1 << 20)]
        if chunk.count(0) != len(chunk):
            raise damaged(source, position, "there is data after the end-of-archive mark")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


class TarWriter:
    """Writes plain files as ustar; owner, mode and time are fixed, so the same content gives the same bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._written = 0

    def add(self, name: str, data: bytes) -> None:
        """Append one file.

        Raises:
            DataFormatError: the name is empty, leaves the archive, or has more than 100 bytes in UTF-8.
        """
        encoded = name.encode()
        if not 0 < len(encoded) <= 100 or name.startswith("/") or ".." in name.split("/"):
            raise DataFormatError(f"{name[:120]!r} cannot be the name of a member of a shard.")
        padding = _padded(len(data)) - len(data)
        self._stream.write(header(encoded, len(data)))
        self._stream.write(data)
        if padding:
            self._stream.write(_ZERO_BLOCK[:padding])
        self._written += BLOCK + len(data) + padding

    def finish(self) -> None:
        """Write the end-of-archive mark, padded to tar's record size."""
        self._stream.write(bytes(2 * BLOCK + -(self._written + 2 * BLOCK) % RECORD))


_BEFORE_SIZE = b"0000644\0" + b"0000000\0" * 2
_AFTER_SIZE = b"00000000000\0"
_AFTER_CHECKSUM = b"0" + bytes(100) + b"ustar\x0000" + bytes(80 + 155 + 12)


def header(name: bytes, size: int) -> bytes:
    """The ustar header of a plain file; the name has at most 100 bytes."""
    before = name.ljust(100, b"\0") + _BEFORE_SIZE + b"%011o\0" % size + _AFTER_SIZE
    checksum = sum(before) + 8 * 32 + sum(_AFTER_CHECKSUM)
    return before + b"%06o\0 " % checksum + _AFTER_CHECKSUM
