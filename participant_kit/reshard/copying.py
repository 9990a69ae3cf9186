"""Write members into a tar by copying byte ranges: headers are made all at once, payloads never become objects.

A range of members that lie behind one another in the source as they will in the output is one read, headers included;
their headers are then overwritten. What is written does not depend on how the work was cut. The native module does
the same with less between the reads and writes, and lets other threads run meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from competition.data import native
from competition.data.atomic import storage_error, storage_errors
from competition.data.engine import LocalEngine, Needs
from competition.data.tar import BLOCK, RECORD, damaged, header
from competition.data.tar_headers import Bytes2D, headers_of, padded

CHUNK = 1 << 18
"""Bytes that are read and then written at a time: they stay in the processor's cache."""

_BATCH = 4096
_OPEN_FILES = 64
_ZEROS = bytes(BLOCK)
_TOO_SHORT = "the file ends where a payload was found before"


@dataclass(frozen=True, slots=True)
class MemberCopies:
    """Members of an output tar in order, and where their payloads come from.

    Args:
        names: [n, 100], padded with zeros.
        sources: int64 [n], index into ``paths``.
        offsets: int64 [n], first payload byte in the source.
        sizes: int64 [n], payload bytes.
        paths: files.
    """

    names: Bytes2D
    sources: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    paths: Sequence[Path]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where members go: ``starts`` of their headers, ``ends`` behind their padding; ``joined`` to the one before."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    joined: NDArray[np.bool_]


def write_tar(path: Path, descriptor: int, members: MemberCopies, lanes: int = 1) -> int:
    """Write a whole tar to an open, empty file; returns its bytes.

    Args:
        path: named in messages.
        descriptor: the open file.
        members: its content.
        lanes: threads that write parts of it.

    Raises:
        DataFormatError: a source ends too early.
        StorageError: a source cannot be read, or the file cannot be written.
    """
    ends = np.cumsum(BLOCK + padded(members.sizes))
    starts = ends - BLOCK - padded(members.sizes)
    joined = np.zeros(len(ends), dtype=bool)
    shift = members.offsets - starts
    joined[1:] = (members.sources[1:] == members.sources[:-1]) & (shift[1:] == shift[:-1])
    layout = _Layout(starts, ends, joined)
    length = int(ends[-1]) if len(ends) else 0
    size = length + 2 * BLOCK + -(length + 2 * BLOCK) % RECORD
    cuts = _cuts(ends, lanes)
    tasks = {f"part {number} of {path.name}": cut for number, cut in enumerate(cuts, start=1)}
    LocalEngine(lanes, retries=0).map(
        partial(_write_part, _Target(path, descriptor), members, layout),
        tasks,
        stage="copying",
        needs=Needs(threads=True),
    )
    os.ftruncate(descriptor, size)
    return size


def _cuts(ends: NDArray[np.int64], lanes: int) -> list[tuple[int, int]]:
    """Split the members into ``lanes`` parts of about as many bytes."""
    if not len(ends):
        return []
    targets = ends[-1] * np.arange(1, lanes) // lanes
    borders = [0, *np.searchsorted(ends, targets).tolist(), len(ends)]
    return [(first, last) for first, last in pairwise(borders) if first < last]


def _write_part(target: _Target, members: MemberCopies, layout: _Layout, part: tuple[int, int]) -> None:
    buffer = np.empty(CHUNK, dtype=np.uint8)
    with _Sources(members.paths).opened() as sources:
        for first in range(*part, _BATCH):
            batch = slice(first, min(part[1], first + _BATCH))
            if native.module is not None:
                _write_natively(target, members, layout, batch, sources)
            else:
                _write_batch(target, members, layout, batch, sources, buffer)


def _write_natively(target: _Target, members: MemberCopies, layout: _Layout, batch: slice, sources: _Sources) -> None:
    """As ``_write_batch``, in parts whose sources may be open together."""
    for part in _with_few_sources(members.sources, batch):
        used, places = np.unique(members.sources[part], return_inverse=True)
        failure = native.module.copy(
            target.descriptor,
            np.array([sources.descriptor(source) for source in used.tolist()], dtype=np.intc),
            header(b"", 0),
            np.ascontiguousarray(members.names[part]),
            places.astype(np.int64),
            np.ascontiguousarray(members.offsets[part]),
            np.ascontiguousarray(members.sizes[part]),
            layout.starts[part],
        )
        if failure is None:
            continue
        place, position, code = failure
        if place < 0:
            raise storage_error(OSError(code, os.strerror(code)), "writing", target.path)
        source = members.paths[int(used[place])]
        if not code:
            raise damaged(source, position, _TOO_SHORT)
        raise storage_error(OSError(code, os.strerror(code)), "reading", source)


def _with_few_sources(sources: NDArray[np.int64], batch: slice) -> Iterator[slice]:
    """Cut a batch of members into parts that have at most as many sources as may be open."""
    first, seen = batch.start, set[int]()
    for member, source in enumerate(sources[batch].tolist(), batch.start):
        if source not in seen and len(seen) == _OPEN_FILES:
            yield slice(first, member)
            first, seen = member, set()
        seen.add(source)
    yield slice(first, batch.stop)


def _write_batch(
    target: _Target, members: MemberCopies, layout: _Layout, batch: slice, sources: _Sources, buffer: NDArray[np.uint8]
) -> None:
    """Members whose headers are made at once, in chunks that fit the buffer."""
    headers = headers_of(members.names[batch], members.sizes[batch])
    starts, ends = layout.starts[batch], layout.ends[batch]
    payload_ends = (starts + BLOCK + members.sizes[batch]).tolist()
    padded_ends = ends.tolist()
    reads = _reads(members, layout, batch)
    blocks = buffer.reshape(-1, BLOCK)
    view = buffer.data
    first = 0
    while first < len(starts):
        begin = int(starts[first])
        last = int(np.searchsorted(ends, begin + CHUNK, side="right"))
        if last <= first:
            _copy_large(target, members, begin, batch.start + first, sources, buffer)
            first += 1
            continue
        length = padded_ends[last - 1] - begin
        for source, offset, start, stop in reads(first, last):
            sources.read(source, offset, view[start - begin : stop - begin])
        blocks[(starts[first:last] - begin) // BLOCK] = headers[first:last]
        for start, stop in zip(payload_ends[first:last], padded_ends[first:last], strict=True):
            if start < stop:
                view[start - begin : stop - begin] = _ZEROS[: stop - start]
        target.write(view[:length], begin)
        first = last


def _reads(
    members: MemberCopies, layout: _Layout, batch: slice
) -> Callable[[int, int], Iterator[tuple[int, int, int, int]]]:
    """For members ``first : last`` of the batch: (source, byte in it, first and last byte of the output) to read."""
    joined = layout.joined[batch].copy()
    joined[0] = False
    runs = np.flatnonzero(~joined)
    sources, offsets = members.sources[batch].tolist(), members.offsets[batch].tolist()
    starts = (layout.starts[batch] + BLOCK).tolist()
    ends = (layout.starts[batch] + BLOCK + members.sizes[batch]).tolist()

    def between(first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
        inside = runs[np.searchsorted(runs, first, side="right") : np.searchsorted(runs, last)].tolist()
        for begin, end in pairwise([first, *inside, last]):
            yield sources[begin], offsets[begin], starts[begin], ends[end - 1]

    return between


def _copy_large(
    target: _Target, members: MemberCopies, begin: int, member: int, sources: _Sources, buffer: NDArray[np.uint8]
) -> None:
    """A member that does not fit the buffer."""
    row = slice(member, member + 1)
    target.write(headers_of(members.names[row], members.sizes[row]).data.cast("B"), begin)
    source, offset, size = int(members.sources[member]), int(members.offsets[member]), int(members.sizes[member])
    view = buffer.data
    for done in range(0, size, CHUNK):
        piece = view[: min(CHUNK, size - done)]
        sources.read(source, offset + done, piece)
        target.write(piece, begin + BLOCK + done)


class _Target(NamedTuple):
    """The file that is written."""

    path: Path
    descriptor: int

    def write(self, content: memoryview, position: int) -> None:
        """All of ``content`` at a byte position."""
        try:
            while content:
                written = os.pwrite(self.descriptor, content, position)
                content, position = content[written:], position + written
        except OSError as error:
            raise storage_error(error, "writing", self.path) from error


class _Sources:
    """The files that payloads come from; only some of them are open at a time."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._open: dict[int, int] = {}

    def read(self, source: int, offset: int, into: memoryview) -> None:
        """Fill ``into`` from byte ``offset`` of a file."""
        descriptor, count = self.descriptor(source), 1
        try:
            while into and count:
                count = os.preadv(descriptor, [into], offset)
                into, offset = into[count:], offset + count
        except OSError as error:
            raise storage_error(error, "reading", self._paths[source]) from error
        if into:
            raise damaged(self._paths[source], offset, _TOO_SHORT)

    def descriptor(self, source: int) -> int:
        """Of an open file. Asking for another one may close the one that was not asked for for the longest time."""
        if source in self._open:
            self._open[source] = self._open.pop(source)
            return self._open[source]
        if len(self._open) >= _OPEN_FILES:
            os.close(self._open.pop(next(iter(self._open))))
        with storage_errors("reading", self._paths[source]):
            self._open[source] = os.open(self._paths[source], os.O_RDONLY)
        return self._open[source]

    @contextmanager
    def opened(self) -> Iterator[_Sources]:
        """Close what was opened."""
        try:
            yield self
        finally:
            for descriptor in self._open.values():
                os.close(descriptor)
            self._open.clear()
