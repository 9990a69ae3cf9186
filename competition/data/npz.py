"""Members of ``.npz`` archives by themselves: one that is stored uncompressed is memory-mapped where it lies.

An npz is a zip of ``.npy`` files. DataComp's archives of features have several gigabytes, of which a filter needs one
member, and often a few of its rows. Nothing here ever loads a pickle.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.data.npy import MAX_HEADER_BYTES, NpyHeader, map_array, read_npy_header
from competition.errors import DataFormatError

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_MAGIC = b"PK\x03\x04"
_ENCRYPTED = 0x1
_SUFFIX = ".npy"
_STEP_BYTES = 1 << 20


def member_names(archive: Path) -> list[str]:
    """Names of the arrays in an npz, in the order of the archive, without ``.npy``.

    Raises:
        DataFormatError: it is not an npz.
        StorageError: it cannot be read.
    """
    with _npz_errors(archive), zipfile.ZipFile(archive) as members:
        return [name.removesuffix(_SUFFIX) for name in members.namelist() if name.endswith(_SUFFIX)]


def member_checksums(archive: Path) -> list[tuple[str, int, int]]:
    """Name, size in bytes and CRC-32 of each file in an npz, as its directory says: no array is read.

    Raises:
        DataFormatError: it is not an npz.
        StorageError: it cannot be read.
    """
    with _npz_errors(archive), zipfile.ZipFile(archive) as members:
        return [(info.filename, info.file_size, info.CRC) for info in members.infolist()]


def open_member(archive: Path, member: str, *, most_bytes: int | None = None) -> NDArray[Any]:
    """One array of an npz, read-only. A stored one is a memory map: what is not touched is not read, and the checksum
    of the archive is not computed. A deflated one is read whole, and its checksum holds.

    Args:
        archive: the npz.
        member: its name, without ``.npy``.
        most_bytes: of a deflated array: the memory that a stranger's file may take.

    Raises:
        DataFormatError: there is no such member, the archive is truncated or damaged, the array holds objects, or it is
            larger than ``most_bytes``.
        StorageError: it cannot be read.
    """
    with _npz_errors(archive), archive.open("rb") as stream, zipfile.ZipFile(stream) as members:
        try:
            info = members.getinfo(member + _SUFFIX)
        except KeyError:
            names = [name.removesuffix(_SUFFIX) for name in members.namelist()]
            raise DataFormatError(f"Feature file {archive} has no {member!r}; it has {', '.join(names)}.") from None
        if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & _ENCRYPTED:
            return _mapped(archive, stream, info)
        _require_bytes(members, info, most_bytes)
        with members.open(info) as content:
            array: NDArray[Any] = np.lib.format.read_array(
                content, allow_pickle=False, max_header_size=MAX_HEADER_BYTES
            )
            return array


def _require_bytes(members: zipfile.ZipFile, info: zipfile.ZipInfo, most: int | None) -> None:
    """Refuse a deflated array that is too large, or whose shape says more than the member has, before it is read."""
    with members.open(info) as content:
        header = _plain_header(content)
    size = header.data_bytes
    if most is not None and size > most:
        raise ValueError(f"{info.filename} has {size} bytes, more than {most}; save it uncompressed (numpy.savez)")
    if size > info.file_size:
        raise _other_bytes(info, header)


def check_member(archive: Path, member: str) -> None:
    """Read one array of an npz through and compare its bytes with the archive's checksum; little memory is used.

    Raises:
        DataFormatError: there is no such member, or its bytes are not those that were stored.
        StorageError: it cannot be read.
    """
    with _npz_errors(archive), zipfile.ZipFile(archive) as members:
        try:
            content = members.open(member + _SUFFIX)
        except KeyError:
            raise DataFormatError(f"Feature file {archive} has no {member!r}.") from None
        with content:
            while content.read(_STEP_BYTES):
                pass


def _mapped(archive: Path, stream: BinaryIO, info: zipfile.ZipInfo) -> NDArray[Any]:
    """The member's bytes follow its local header, whose length differs from that in the archive's directory."""
    stream.seek(info.header_offset)
    magic, name_length, extra_length = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    if magic != _LOCAL_MAGIC:
        raise zipfile.BadZipFile("a member is not where the directory says")
    start = info.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    if start + info.file_size > archive.stat().st_size:
        raise zipfile.BadZipFile("it is truncated")
    stream.seek(start)
    header = _plain_header(stream)
    if header.size + header.data_bytes != info.file_size:
        raise _other_bytes(info, header)
    return map_array(archive, header, start + header.size)


def _plain_header(stream: IO[bytes]) -> NpyHeader:
    header = read_npy_header(stream)
    if header.dtype.hasobject:
        raise ValueError("it holds pickled objects, which are never loaded")
    return header


def _other_bytes(info: zipfile.ZipInfo, header: NpyHeader) -> ValueError:
    return ValueError(
        f"{info.filename} has {info.file_size} bytes, not those of shape {header.shape} and {header.dtype}"
    )


@contextmanager
def _npz_errors(archive: Path) -> Iterator[None]:
    """Say what zipfile and numpy find wrong as an error that names the archive."""
    damage = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, TypeError, OverflowError, SyntaxError)
    try:
        with storage_errors("reading", archive):
            yield
    except (*damage, RuntimeError) as error:  # RuntimeError: encrypted, or a compression that zipfile lacks
        reason = str(error).rstrip(".") or type(error).__name__
        raise DataFormatError(f"Feature file {archive} is damaged or is not an npz: {reason}.") from error
