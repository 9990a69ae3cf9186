"""Reading a stranger's safetensors file: the header alone first, every length bounded before it is believed.

Format: https://github.com/huggingface/safetensors#format (8 bytes of little-endian header length, a JSON header, then
the tensors' bytes without holes or overlaps).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from competition.errors import RejectionError, RejectionReason
from competition.verification.entry import shown

# A model of a thousand tensors has 120 kB. Python's objects of a hostile header take forty times its length.
MAX_HEADER_BYTES = 1_000_000
_MAX_DIMENSIONS = 8
_MAX_EXTENT = 1 << 40
_MAX_DIGITS = 15
_CHUNK_BYTES = 1 << 24

# NumPy has no bfloat16: its bits are looked at as integers.
_STORAGE = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "u1",
}
_BF16_EXPONENT = 0x7F80


@dataclass(frozen=True)
class TensorEntry:
    """One tensor: safetensors' name of the dtype, the shape, and its bytes [start, end) in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path, name: str) -> dict[str, TensorEntry]:
    """The tensors of the file by name; ``name`` is what messages call it.

    Raises:
        RejectionError: the header is too long, is not JSON, or its tensors leave the file, overlap or leave holes.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        document, data_start = _header_json(stream, size, name)
    _check_metadata(document.pop("__metadata__", {}), name)
    tensors = {key: _tensor(key, value, data_start, name) for key, value in document.items()}
    _check_layout(tensors, data_start, size, name)
    return tensors


def check_finite(path: Path, tensors: dict[str, TensorEntry], name: str) -> None:
    """No weight is NaN or infinite. Streams the file in pieces of 16 MiB (raises ``RejectionError``)."""
    for key, tensor in tensors.items():
        bad = sum(_not_finite(piece, tensor.dtype) for piece in _pieces(path, tensor))
        if bad:
            count = (tensor.end - tensor.start) // np.dtype(_STORAGE[tensor.dtype]).itemsize
            raise RejectionError(
                RejectionReason.MODEL_NOT_FINITE,
                f"{name}: {bad} of the {count} weights of {shown(key)} are NaN or infinite.",
            )


def _header_json(stream: BinaryIO, size: int, name: str) -> tuple[dict[str, Any], int]:
    """The decoded header and the offset of the first tensor's byte."""
    length = int.from_bytes(stream.read(8), "little")
    if size < 8 or length > size - 8:
        raise _malformed(f"{name} promises a header of {length} bytes, but the file has {size} bytes.")
    if length > MAX_HEADER_BYTES:
        raise _malformed(f"{name} has a header of {length} bytes; at most {MAX_HEADER_BYTES} are read.")
    try:
        document = json.loads(stream.read(length).decode("utf-8"), object_pairs_hook=_distinct, parse_int=_natural)
    except (ValueError, RecursionError) as error:
        reason = shown(error).strip("'\"")
        raise _malformed(f"{name} has a header that is not valid JSON: {reason}.") from error
    if not isinstance(document, dict):
        raise _malformed(f"{name} has a header that is not a JSON object.")
    return document, 8 + length


def _check_metadata(metadata: Any, name: str) -> None:
    """The official library, which loads the model, wants a map from text to text: what it refuses is refused here."""
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _malformed(f"{name}: the header's __metadata__ is not a map from text to text.")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")
    for key, value in pairs:
        # JSON can write half a character, which UTF-8 cannot: encoding it is a ValueError.
        key.encode("utf-8")
        if isinstance(value, str):
            value.encode("utf-8")
    return members


def _natural(text: str) -> int:
    """A number of the header: JSON knows -0, which the official library does not take for a length."""
    if text.startswith("-") or len(text) > _MAX_DIGITS:
        raise ValueError(f"the number {shown(text)} is no length")
    return int(text)


def _tensor(key: str, value: Any, data_start: int, name: str) -> TensorEntry:
    """One member of the header, with every number bounded before it is used."""
    wrong = _malformed(f"{name}: the header's entry {shown(key)} is not a dtype, a shape and two offsets.")
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise wrong
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(offsets, list):
        raise wrong
    numbers = shape + offsets
    plain = all(type(number) is int and 0 <= number <= _MAX_EXTENT for number in numbers)
    if len(shape) > _MAX_DIMENSIONS or len(offsets) != 2 or not plain:
        raise wrong
    if dtype not in _STORAGE:
        raise _malformed(f"{name}: tensor {shown(key)} has dtype {shown(dtype)}; known are {', '.join(_STORAGE)}.")
    needed = np.dtype(_STORAGE[dtype]).itemsize
    for extent in shape:
        needed *= extent
    if offsets[1] - offsets[0] != needed:
        raise _malformed(
            f"{name}: tensor {shown(key)} of {dtype} {shape} needs {needed} bytes, but its offsets are {offsets}."
        )
    return TensorEntry(dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _check_layout(tensors: dict[str, TensorEntry], data_start: int, size: int, name: str) -> None:
    """The tensors follow one another without holes or overlaps and fill the file."""
    position = data_start
    for key, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start != position:
            problem = "overlaps the one before it" if tensor.start < position else "leaves a hole before it"
            raise _malformed(f"{name}: tensor {shown(key)} {problem}.")
        position = tensor.end
    if position != size:
        raise _malformed(f"{name} has {size} bytes, but its header describes {position}.")


def _pieces(path: Path, tensor: TensorEntry) -> Iterator[NDArray[Any]]:
    with path.open("rb") as stream:
        stream.seek(tensor.start)
        left = tensor.end - tensor.start
        while left:
            raw = stream.read(min(left, _CHUNK_BYTES))
            if not raw:
                raise OSError(f"{path} became shorter while it was read")
            left -= len(raw)
            yield np.frombuffer(raw, dtype=_STORAGE[tensor.dtype])


def _not_finite(values: NDArray[Any], dtype: str) -> int:
    """How many values are NaN or infinite."""
    if dtype == "BF16":
        return int(np.count_nonzero((values & _BF16_EXPONENT) == _BF16_EXPONENT))
    return int(np.count_nonzero(~np.isfinite(values))) if values.dtype.kind == "f" else 0


def _malformed(message: str) -> RejectionError:
    return RejectionError(RejectionReason.MODEL_MALFORMED, message)
