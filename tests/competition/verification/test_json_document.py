"""A stranger's JSON is read in memory that is a small multiple of its length, and into the same record as ever."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from competition.errors import RejectionError, RejectionReason
from competition.records.base import Record, Several
from competition.verification.json_document import UnreadableJsonError, parse_record, read_json


class Part(Record):
    name: str
    size: int


class Whole(Record):
    parts: Several[Part]
    weights: Several[float] | None = None


def parse(raw: bytes) -> Whole:
    return parse_record(Whole, raw, name="a.json", what="a whole", reason=RejectionReason.LINEAGE_MALFORMED)


LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(width=32) | st.text(max_size=4)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


@given(VALUES)
def test_a_document_is_what_the_standard_library_reads(value: Any) -> None:
    raw = json.dumps(value)
    if "NaN" in raw or "Infinity" in raw or "\\ud8" in raw:
        return
    assert read_json(raw.encode()) == json.loads(raw)


@given(st.lists(st.fixed_dictionaries({"name": st.text(max_size=3) | st.integers(), "size": LEAVES}), max_size=3))
def test_a_record_is_what_the_validator_of_bytes_reads(parts: list[dict[str, Any]]) -> None:
    raw = json.dumps({"parts": parts, "weights": [1, 0.5]}).encode()
    try:
        expected = Whole.model_validate_json(raw)
    except ValidationError:
        expected = None
    try:
        found = parse(raw)
    except RejectionError:
        found = None
    assert found == expected


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"\xef\xbb\xbf{}", "Invalid JSON"),
        (b"[NaN]", "Invalid JSON"),
        (b"[Infinity]", "Invalid JSON"),
        (b'"\\ud800"', "Invalid JSON"),
        (b"[" * 40_000, "Invalid JSON"),
        (b"{}" * 50_001, "50001 objects and lists"),
        (b"[" + b"[]," * 50_000 + b"[]]", "50002 objects and lists"),
        (b'[{"a": {' + b",".join(b'"%d": 0' % key for key in range(1025)) + b"}}]", "an object of 1025 members"),
    ],
)
def test_what_is_unreadable_says_why(raw: bytes, words: str) -> None:
    with pytest.raises(UnreadableJsonError, match=words):
        read_json(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"parts": [' + b"{}," * 49_000 + b"{}]}",
        b'{"parts": [' + b"0," * 490_000 + b"0]}",
        b'{"parts": [], "weights": [' + b'"",' * 330_000 + b"0]}",
        b'{"parts": [' + b'{"a":0},' * 49_000 + b"{}]}",
    ],
    ids=["empty parts", "zeros", "weights", "unknown members"],
)
def test_a_million_mistakes_cost_no_more_than_their_bytes_deserve(raw: bytes) -> None:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(read_json(raw))
    assert caught.value.error_count() < 10
    tracemalloc.start()
    with pytest.raises(RejectionError, match=r"a.json is not a whole: (parts|weights)\.0"):
        parse(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * len(raw) + 10_000_000
