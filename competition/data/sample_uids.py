"""The uids of a shard's samples, from their json members, without parsing json where its beginning proves the uid."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.sample_table import ABSENT, SampleTable
from competition.data.tar import Buffer
from competition.data.uids import UID_DIGITS, UID_DTYPE, UidArray, parse_uid, uids_from_digits
from competition.errors import DataFormatError

NO_JSON = "no json member"
MALFORMED = "malformed json"

_ROWS = 4096
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


def read_uids(buffer: Buffer, table: SampleTable, texts: list[bytes]) -> SampleUids:
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
        contents = _payloads(buffer, table, members[part], texts)
        proven = _uids_at_the_beginning(contents)
        if proven is not None:
            uids[part] = proven
            continue
        for row, text in zip(part.tolist(), contents, strict=True):
            uid = _uid_of(text)
            if isinstance(uid, str):
                skipped[uid] += 1
                known[row] = False
            else:
                uids[row] = uid
    rows = np.flatnonzero(known)
    return SampleUids(rows, uids[rows], skipped, np.flatnonzero(~known))


def well_formed(buffer: Buffer, table: SampleTable, rows: NDArray[np.int64], texts: list[bytes]) -> NDArray[np.bool_]:
    """For each of these samples (which have json): is it json as a whole? ``texts`` as in ``read_uids``."""
    contents = _payloads(buffer, table, table.member("json")[rows], texts)
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


def _payloads(buffer: Buffer, table: SampleTable, members: NDArray[np.int64], texts: list[bytes]) -> list[bytes]:
    offsets, sizes = table.offsets[members].tolist(), table.sizes[members].tolist()
    if not texts:
        return [buffer[offset : offset + size] for offset, size in zip(offsets, sizes, strict=True)]
    known = [texts[member] for member in members.tolist()]
    return [
        text if len(text) == size else buffer[offset : offset + size]
        for text, offset, size in zip(known, offsets, sizes, strict=True)
    ]


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
