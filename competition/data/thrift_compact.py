"""Thrift's compact protocol, as far as parquet's footers and pages need it; every length is bounded before it is used.

Format: Apache Thrift, "thrift-compact-protocol.md". A structure becomes a dictionary from field number to value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_DEPTH = 12
MAX_VALUES = 4096

I32, I64, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12
_TRUE, _FALSE, _BYTE, _I16, _DOUBLE, _SET = 1, 2, 3, 4, 7, 10

Field = tuple[int, int, Any]
"""Number, kind and content of a field; a list's content is the kind of its items, and the items."""


class ThriftError(ValueError):
    """The bytes are no structure of the compact protocol, or one that is too deep or too large."""


class CompactReader:
    """Reads structures from a buffer, from ``position`` on, which moves behind what was read."""

    def __init__(self, buffer: bytes, position: int = 0, most: int = MAX_VALUES) -> None:
        self._buffer = buffer
        self.position = position
        self._left = most

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The next structure.

        Raises:
            ThriftError: it is malformed, ends early, or has too many values or levels.
        """
        if depth > MAX_DEPTH:
            raise ThriftError("structures are nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while True:
            head = self._byte()
            if head == 0:
                return fields
            delta, kind = head >> 4, head & 15
            number = number + delta if delta else self._signed()
            fields[number] = kind == _TRUE if kind in {_TRUE, _FALSE} else self._value(kind, depth)

    def _value(self, kind: int, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ThriftError("it has too many values")
        if kind in {_I16, I32, I64}:
            return self._signed()
        if kind == BINARY:
            return self._take(self._varint())
        if kind == STRUCT:
            return self.struct(depth + 1)
        if kind in {LIST, _SET}:
            head = self._byte()
            length, item = head >> 4, head & 15
            return self._items(self._varint() if length == 15 else length, item, depth)
        if kind in {_TRUE, _FALSE, _BYTE}:
            return self._byte()
        if kind == _DOUBLE:
            return self._take(8)
        raise ThriftError(f"a value is of the kind {kind}")

    def _items(self, length: int, kind: int, depth: int) -> list[Any]:
        if length > self._left or depth >= MAX_DEPTH:
            raise ThriftError("a list is too long or too deep")
        return [self._value(kind, depth + 1) for _ in range(length)]

    def _signed(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
            if shift > 63:
                raise ThriftError("a number is too long")

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, length: int) -> bytes:
        taken = self._buffer[self.position : self.position + length]
        if len(taken) != length:
            raise ThriftError("it ends early")
        self.position += length
        return taken


def encode(fields: Sequence[Field]) -> bytes:
    """A structure of fields with ascending numbers, at most 15 apart."""
    out, last = b"", 0
    for number, kind, content in fields:
        out += bytes([(number - last) << 4 | kind]) + _encoded(kind, content)
        last = number
    return out + b"\0"


def _encoded(kind: int, content: Any) -> bytes:
    if kind in {I32, I64}:
        return _varint(content << 1 if content >= 0 else (-content << 1) - 1)
    if kind == BINARY:
        return _varint(len(content)) + bytes(content)
    if kind == LIST:
        of, items = content
        head = bytes([len(items) << 4 | of]) if len(items) < 15 else bytes([0xF0 | of]) + _varint(len(items))
        return head + b"".join(_encoded(of, item) for item in items)
    return encode(content)


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])
