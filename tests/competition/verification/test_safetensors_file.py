"""Hostile safetensors headers are refused by what they say, before anything is allocated or believed."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import deserialize
from safetensors.numpy import save

from competition.errors import RejectionError, RejectionReason
from competition.verification.safetensors_file import MAX_HEADER_BYTES, check_finite, read_header


def write(path: Path, header: object, data: bytes = b"", *, length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(raw) if length is None else length).to_bytes(8, "little") + raw + data)
    return path


def tensor(start: int, end: int, *, dtype: object = "F32", shape: object = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(end - start) // 4] if shape is None else shape, "data_offsets": [start, end]}


HOSTILE: dict[str, tuple[object, bytes, str]] = {
    "overlap": ({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12), "overlaps"),
    "same bytes twice": ({"a": tensor(0, 8), "b": tensor(0, 8)}, bytes(8), "overlaps"),
    "hole": ({"a": tensor(0, 4), "b": tensor(8, 12)}, bytes(12), "hole"),
    "bytes left over": ({"a": tensor(0, 4)}, bytes(100), "its header describes"),
    "beyond the end": ({"a": tensor(0, 4096)}, bytes(8), "its header describes"),
    "ten terabytes": ({"a": tensor(0, 10**13)}, bytes(8), "offsets"),
    "offsets reversed": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, bytes(4), "offsets"),
    "negative offset": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, bytes(4), "is no length"),
    "shape and offsets differ": ({"a": tensor(0, 8, shape=[3])}, bytes(8), "needs 12 bytes"),
    "shape overflows": ({"a": tensor(0, 8, shape=[2**40] * 8)}, bytes(8), "needs"),
    "many dimensions": ({"a": tensor(0, 4, shape=[1] * 9)}, bytes(4), "two offsets"),
    "boolean extent": ({"a": tensor(0, 4, shape=[True])}, bytes(4), "two offsets"),
    "fractional extent": ({"a": tensor(0, 4, shape=[1.0])}, bytes(4), "two offsets"),
    "unknown dtype": ({"a": tensor(0, 4, dtype="PICKLE")}, bytes(4), "'PICKLE'"),
    "dtype is a list": ({"a": tensor(0, 4, dtype=["F32"])}, bytes(4), "two offsets"),
    "not an object": ([1, 2], b"", "not a JSON object"),
    "tensor is a word": ({"a": "b"}, b"", "two offsets"),
    "name twice": (b'{"a": 1, "a": 2}', b"", "occurs twice"),
    "not JSON": (b"\x80\x04pickle", b"", "not valid JSON"),
    "nested deeply": (b"[" * 200_000, b"", "not valid JSON"),
    "minus zero": (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-0, 4]}}', bytes(4), "is no length"),
    "metadata of numbers": ({"__metadata__": {"a": 1}, "a": tensor(0, 4)}, bytes(4), "from text to text"),
    "metadata of nothing": ({"__metadata__": None, "a": tensor(0, 4)}, bytes(4), "from text to text"),
    "half a character": ({"__metadata__": {"a": "\ud800"}, "a": tensor(0, 4)}, bytes(4), "not valid JSON"),
    "half a character in a name": ({"\ud800": tensor(0, 4)}, bytes(4), "not valid JSON"),
    "number of 5000 digits": (b'{"a": ' + b"9" * 5000 + b"}", b"", "not valid JSON"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_header_is_refused(tmp_path: Path, case: str) -> None:
    header, data, words = HOSTILE[case]
    with pytest.raises(RejectionError, match=words) as caught:
        read_header(write(tmp_path / "m.safetensors", header, data), "m.safetensors")
    assert caught.value.reason is RejectionReason.MODEL_MALFORMED


@pytest.mark.parametrize("raw", [b"", b"\x01\x02", b"\xff" * 8, b"\xff" * 100])
def test_a_file_shorter_than_its_header_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(raw)
    with pytest.raises(RejectionError, match="promises a header"):
        read_header(path, "m.safetensors")


def test_a_huge_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with path.open("wb") as stream:
        stream.write((MAX_HEADER_BYTES + 1).to_bytes(8, "little"))
        stream.truncate(MAX_HEADER_BYTES + 100)
    with pytest.raises(RejectionError, match="at most 1000000 are read"):
        read_header(path, "m.safetensors")


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_rejection(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    path.write_bytes(raw)
    with contextlib.suppress(RejectionError):
        read_header(path, "fuzz")


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.lists(st.integers(0, 4), max_size=3),
        max_size=5,
    ),
    st.sampled_from(["float32", "float16", "int64", "uint8"]),
)
def test_reads_what_the_official_library_writes(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, list[int]], dtype: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.safetensors"
    path.write_bytes(save({name: np.zeros(shape, dtype) for name, shape in shapes.items()}, {"format": "pt"}))
    found = read_header(path, "written")
    assert {name: list(entry.shape) for name, entry in found.items()} == shapes
    check_finite(path, found, "written")


SMALL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.floats(0, 4),
    st.text(max_size=2),
    st.sampled_from(["F32", "U8", "\ud800", "dtype", "__metadata__"]),
)
JSON = st.recursive(SMALL, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner))
TENSOR = st.fixed_dictionaries(
    {"dtype": st.sampled_from(["F32", "U8"]), "shape": st.just([1]) | JSON, "data_offsets": st.just([0, 4]) | JSON}
)


@given(
    header=st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), TENSOR | JSON, max_size=2), pad=st.text(" \n")
)
def test_what_is_taken_is_taken_by_the_official_library(
    tmp_path_factory: pytest.TempPathFactory, header: dict[str, Any], pad: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "taken.safetensors"
    write(path, (json.dumps(header) + pad).encode(), bytes(4))
    with contextlib.suppress(RejectionError):
        read_header(path, "taken")
        deserialize(path.read_bytes())


def test_infinity_in_bfloat16_is_seen(tmp_path: Path) -> None:
    ones, infinity, nan = b"\x80\x3f", b"\x80\x7f", b"\xc0\xff"
    sound = write(tmp_path / "a", {"a": tensor(0, 4, dtype="BF16", shape=[2])}, ones * 2)
    check_finite(sound, read_header(sound, "a"), "a")
    broken = write(tmp_path / "b", {"a": tensor(0, 6, dtype="BF16", shape=[3])}, ones + infinity + nan)
    with pytest.raises(RejectionError, match="2 of the 3 weights") as caught:
        check_finite(broken, read_header(broken, "b"), "b")
    assert caught.value.reason is RejectionReason.MODEL_NOT_FINITE
