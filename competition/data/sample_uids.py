"""The uids of a shard's samples, from their json members, without parsing json where its beginning proves the uid."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from competition.data import native
from competition.data.sample_table import ABSENT, SampleTable, Texts
from competition.data.tar import Buffer
from competition.data.uids import UID_DIGITS, UID_DTYPE, UidArray, parse_uid, uids_from_digits
from competition.errors import DataFormatError

NO_JSON = "no json member"
MALFORMED = "malformed json"

_ROWS = 4096
_ALL = slice(None)
_BEGINNING = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"uid"[ \t\r\n]*:[ \t\r\n]*"')
_BEGINNING_WITH_UID = re.compile(_BEGINNING.pattern + rb'([0-9A-Fa-f]{1,32})"')
_DECODER: Any = json.JSONDecoder()
_ESCAPED_LETTERS = (rb"\u006", rb"\u007")


@dataclass(frozen=True, slots=True)
class SampleUids:
    """What the json members of a ``SampleTable`` say.

    Args:
        rows: int64, the samples that have a uid, in order.
        uids: theirs.
        skipped: how many samples have none, by reason.
        unread: int64, the samples that have none.
    """

    rows: NDArray[np.int64]
    uids: UidArray
    skipped: Counter[str]
    unread: NDArray[np.int64]


def read_uids(buffer: Buffer, table: SampleTable, texts: Texts) -> SampleUids:
    """The uid of every sample. What is malformed behind a uid that stands first is not noticed.

    ``well_formed`` parses the json of those samples that matter. ``texts`` are those of ``scan_table``, or none.
    """
    members = table.member("json")
    uids = np.zeros(len(table), dtype=UID_DTYPE)
    known = members != ABSENT
    skipped: Counter[str] = Counter()
    if not known.all():
        skipped[NO_JSON] = int((~known).sum())
    rows = np.flatnonzero(known)
    for first in range(0, len(rows), _ROWS):
        part = rows[first : first + _ROWS]
        payloads = _payloads(buffer, table, members[part], texts)
        uids[part], proven = _proven(payloads)
        others = np.flatnonzero(~proven)
        for row, text in zip(part[others].tolist(), payloads.of(others), strict=True):
            uid = _uid_of(text)
            if isinstance(uid, str):
                skipped[uid] += 1
                known[row] = False
            else:
                uids[row] = uid
    rows = np.flatnonzero(known)
    return SampleUids(rows, uids[rows], skipped, np.flatnonzero(~known))


def well_formed(buffer: Buffer, table: SampleTable, rows: NDArray[np.int64], texts: Texts) -> NDArray[np.bool_]:
    """For each of these samples (which have json): is it json as a whole? ``texts`` as in ``read_uids``."""
    contents = _payloads(buffer, table, table.member("json")[rows], texts).of(_ALL)
    return np.fromiter(map(_is_json, contents), dtype=bool, count=len(contents))


def _is_json(text: bytes) -> bool:
    try:
        decoded = text.decode()
        if _DECODER.scan_once(decoded, 0)[1] == len(decoded):  # what json.loads comes to, without its overhead
            return True
    except (StopIteration, ValueError, RecursionError):
        pass
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class _Payloads(NamedTuple):
    """Some members' payloads: ``content[start:stop]`` of each, int64."""

    content: bytes
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    def of(self, chosen: NDArray[np.int64] | slice) -> list[bytes]:
        """Some of them, each by itself."""
        ranges = zip(self.starts[chosen].tolist(), self.stops[chosen].tolist(), strict=True)
        return [self.content[start:stop] for start, stop in ranges]


def _payloads(buffer: Buffer, table: SampleTable, members: NDArray[np.int64], texts: Texts) -> _Payloads:
    offsets, sizes = table.offsets[members], table.sizes[members]
    starts = stops = np.zeros(len(members), dtype=np.int64)
    if len(texts.ends):
        starts, stops = np.concatenate([[0], texts.ends])[members], texts.ends[members]
    if (stops - starts == sizes).all():
        return _Payloads(texts.content, starts, stops)
    ranges = zip(starts.tolist(), stops.tolist(), offsets.tolist(), sizes.tolist(), strict=True)
    whole = Texts.of([texts.content[a:b] if b - a == size else buffer[at : at + size] for a, b, at, size in ranges])
    return _Payloads(whole.content, whole.ends - sizes, whole.ends)


def _proven(payloads: _Payloads) -> tuple[UidArray, NDArray[np.bool_]]:
    """The uids of json objects that begin with them and cannot mean another one; a mask says which do."""
    uids = np.zeros(len(payloads.starts), dtype=UID_DTYPE)
    proven = np.zeros(len(uids), dtype=bool)
    if native.module is not None:
        native.module.uids(payloads.content, payloads.starts, payloads.stops, uids, proven)
        return uids, proven
    found = _uids_at_the_beginning(payloads.of(_ALL))
    return (uids, proven) if found is None else (found, ~proven)


def _uids_at_the_beginning(texts: list[bytes]) -> UidArray | None:
    """The uids of json objects that all begin alike with ``{"uid": "<32 digits>"``; ``None`` where that is not proven.

    json takes the last value of a repeated key. So ``"uid"`` must stand nowhere else, and no letter may be written as
    an escape, which is the other way to spell that key.
    """
    beginning = _BEGINNING.match(texts[0])
    joined = b"\n".join(texts)
    if (
        beginning is None
        or joined.count(b'"uid"') != len(texts)
        or any(escape in joined for escape in _ESCAPED_LETTERS)
        or min(map(len, texts)) <= beginning.end() + UID_DIGITS
    ):
        return None
    width = beginning.end()
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)) + 1
    starts = np.cumsum(lengths) - lengths
    heads = np.frombuffer(joined, dtype=np.uint8)[starts[:, None] + np.arange(width + UID_DIGITS + 1)]
    prefix = np.frombuffer(beginning[0], dtype=np.uint8)
    if (heads[:, :width] != prefix).any() or (heads[:, -1] != ord('"')).any():
        return None
    try:
        return uids_from_digits(np.ascontiguousarray(heads[:, width:-1]))
    except DataFormatError:
        return None


def _uid_of(text: bytes) -> tuple[int, int] | str:
    """The uid in a sample's json, or the reason why there is none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        beginning = _BEGINNING_WITH_UID.match(text)
        return parse_uid(beginning[1].decode()) if beginning else MALFORMED
    uid = content.get("uid") if isinstance(content, dict) else None
    if not isinstance(uid, str):
        return "no uid in the json"
    try:
        return parse_uid(uid)
    except DataFormatError:
        return "malformed uid"
