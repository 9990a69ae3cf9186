"""Where all samples of a shard lie, as arrays: what ``shards.scan_samples`` says, many times faster for plain tars.

The native module reads plain tars, or numpy does; what neither is sure of, ``scan_samples`` decides sample by sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from competition.data import native
from competition.data.atomic import storage_errors
from competition.data.shards import SampleSpan, scan_samples
from competition.data.tar import BLOCK, Buffer, check_end
from competition.data.tar_headers import Bytes2D, PlainMembers, padded, read_plain_members, read_plain_tar

ABSENT = -1
_TO_THE_END = np.array([-1])


@dataclass(frozen=True, slots=True)
class SampleTable:
    """The samples of a tar in order, and their members in order.

    Args:
        starts: int64 [samples], first header byte.
        stops: int64 [samples], byte behind the last payload.
        firsts: int64 [samples + 1], where the members of a sample begin in the following arrays.
        offsets: int64 [members], first payload byte.
        sizes: int64 [members], payload bytes.
        kinds: int64 [members], index into ``extensions``.
        extensions: lower case, without dot.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    firsts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    kinds: NDArray[np.int64]
    extensions: tuple[str, ...]

    @classmethod
    def of(cls, spans: Iterable[SampleSpan]) -> SampleTable:
        """The table of samples that were found one by one."""
        starts, stops, firsts, offsets, sizes, kinds = [], [], [0], [], [], []
        numbers: dict[str, int] = {}
        for span in spans:
            starts.append(span.start)
            stops.append(span.stop)
            for extension, member in span.members.items():
                offsets.append(member.offset)
                sizes.append(member.size)
                kinds.append(numbers.setdefault(extension, len(numbers)))
            firsts.append(len(offsets))
        return cls(
            np.array(starts, dtype=np.int64),
            np.array(stops, dtype=np.int64),
            np.array(firsts, dtype=np.int64),
            np.array(offsets, dtype=np.int64),
            np.array(sizes, dtype=np.int64),
            np.array(kinds, dtype=np.int64),
            tuple(numbers),
        )

    @classmethod
    def joined(cls, tables: Sequence[SampleTable]) -> SampleTable:
        """The samples of several tars, one table behind the other."""
        if len(tables) == 1:
            return tables[0]
        numbers: dict[str, int] = {}
        kinds, firsts, behind = [], [np.zeros(1, dtype=np.int64)], 0
        for table in tables:
            own = [numbers.setdefault(extension, len(numbers)) for extension in table.extensions]
            kinds.append(np.array(own, dtype=np.int64)[table.kinds])
            firsts.append(table.firsts[1:] + behind)
            behind += len(table.kinds)
        return cls(
            np.concatenate([table.starts for table in tables]),
            np.concatenate([table.stops for table in tables]),
            np.concatenate(firsts),
            np.concatenate([table.offsets for table in tables]),
            np.concatenate([table.sizes for table in tables]),
            np.concatenate(kinds),
            tuple(numbers),
        )

    def __len__(self) -> int:
        return len(self.starts)

    def member(self, extension: str) -> NDArray[np.int64]:
        """For every sample the index of its member of this extension, ``ABSENT`` where it has none."""
        found = np.full(len(self), ABSENT, dtype=np.int64)
        if extension in self.extensions:
            members = np.flatnonzero(self.kinds == self.extensions.index(extension))
            found[np.searchsorted(self.firsts, members, side="right") - 1] = members
        return found

    def take(self, rows: NDArray[np.int64]) -> SampleTable:
        """These samples alone, in the given order."""
        counts = self.firsts[rows + 1] - self.firsts[rows]
        firsts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        members = np.repeat(self.firsts[rows] - firsts[:-1], counts) + np.arange(firsts[-1])
        return SampleTable(
            self.starts[rows],
            self.stops[rows],
            firsts,
            self.offsets[members],
            self.sizes[members],
            self.kinds[members],
            self.extensions,
        )


class Texts(NamedTuple):
    """Payloads of small members that were read on the way: that of member ``i`` is ``content[ends[i - 1] : ends[i]]``.

    Where that is shorter than the member, its payload was not read. ``ends`` (int64) is empty where none was.
    """

    content: bytes
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, payloads: Sequence[bytes]) -> Texts:
        """One entry for each member."""
        return cls(b"".join(payloads), np.cumsum([len(payload) for payload in payloads], dtype=np.int64))


NO_TEXTS = Texts.of([])


def scan_table(buffer: Buffer, source: Path) -> tuple[SampleTable, Texts]:
    """All samples of an opened tar, and the payloads of small members as far as they were read on the way.

    Raises:
        DataFormatError: the tar is damaged; names file and byte offset.
        StorageError: it cannot be read.
    """
    if native.module is not None:
        found = _scan_natively(len(buffer), source, np.zeros(1, dtype=np.int64), _TO_THE_END)
        if found is not None:
            table, texts, end = found
            check_end(buffer, source, end)
            return table, texts
    else:
        members = read_plain_tar(buffer, source)
        grouped = None if members is None else _group(members)
        if members is not None and grouped is not None:
            return grouped, Texts.of(members.texts)
    return SampleTable.of(scan_samples(buffer, source)), NO_TEXTS


def scan_ranges(
    buffer: Buffer, source: Path, starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> tuple[SampleTable, Texts]:
    """The samples that lie at known byte ranges, one each, as an earlier ``scan_table`` found them.

    Raises:
        DataFormatError: the tar is damaged, or a range does not hold exactly one sample.
        StorageError: it cannot be read.
    """
    table, texts = None, NO_TEXTS
    if native.module is not None:
        found = _scan_natively(len(buffer), source, starts, stops)
        if found is not None:
            table, texts, _ = found
    else:
        members = read_plain_members(buffer, starts.tolist(), stops.tolist())
        table = None if members is None else _group(members)
    if table is not None and np.array_equal(table.starts, starts) and np.array_equal(table.stops, stops):
        return table, texts
    ranges = zip(starts.tolist(), stops.tolist(), strict=True)
    spans = (span for start, stop in ranges for span in scan_samples(buffer, source, start, stop))
    return SampleTable.of(spans), NO_TEXTS


def _scan_natively(
    length: int, source: Path, starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> tuple[SampleTable, Texts, int] | None:
    """The samples of plain ranges, json payloads, and where the last range ends; ``None`` for what is not plain."""
    with storage_errors("reading", source), source.open("rb", buffering=0) as stream:
        found = native.module.scan(stream.fileno(), length, starts.tobytes(), stops.tobytes())
    if found is None or not found[0]:
        return None
    *columns, extensions, content, end = found
    starts, stops, firsts, offsets, sizes, kinds, ends = (np.frombuffer(column, dtype=np.int64) for column in columns)
    return SampleTable(starts, stops, firsts, offsets, sizes, kinds, tuple(extensions)), Texts(content, ends), end


def _group(members: PlainMembers) -> SampleTable | None:
    """Members to samples by key; ``None`` for names that need a closer look."""
    if not len(members.names):
        return None
    width = int(np.flatnonzero(members.names.any(axis=0))[-1]) + 1 if members.names.any() else 1
    names = np.ascontiguousarray(members.names[:, :width])
    columns = np.arange(width)
    used = np.logical_and.accumulate(names != 0, axis=1)
    is_dot = (names == ord(".")) & used
    dots = is_dot.argmax(axis=1)[:, None]
    upper = (names >= ord("A")) & (names <= ord("Z")) & (columns > dots)
    odd = ((names == ord("/")) | (names > 127) | upper) & used
    empty = used.sum(axis=1) == dots[:, 0] + 1
    if odd.any() or not is_dot.any(axis=1).all() or not dots.all() or empty.any():
        return None
    in_key = columns < dots
    keys = np.where(in_key, names, 0)
    new = np.ones(len(names), dtype=bool)
    new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    kinds, extensions = _kinds(np.where(in_key | ~used, 0, names))
    starts = np.flatnonzero(new)
    pairs = np.cumsum(new) * len(extensions) + kinds
    if (np.bincount(pairs) > 1).any():  # an extension twice: the second one begins another sample
        return None
    firsts = np.append(starts, len(names)).astype(np.int64)
    ends = members.starts + BLOCK + padded(members.sizes)
    return SampleTable(
        members.starts[starts],
        ends[firsts[1:] - 1],
        firsts,
        members.starts + BLOCK,
        members.sizes,
        kinds,
        extensions,
    )


def _kinds(suffixes: Bytes2D) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Rows that hold ``.extension`` somewhere among zeros, to numbers and the extensions that they stand for."""
    kinds = np.full(len(suffixes), ABSENT, dtype=np.int64)
    numbers: dict[bytes, int] = {}
    rows = suffixes.view(np.dtype((np.void, suffixes.shape[1])))[:, 0]
    while (kinds == ABSENT).any():
        row = rows[(kinds == ABSENT).argmax()]
        text = row.tobytes().strip(b"\0")
        kinds[rows == row] = numbers.setdefault(text, len(numbers))
    return kinds, tuple(text[1:].decode("ascii") for text in numbers)
