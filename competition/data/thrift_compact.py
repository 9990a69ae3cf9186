"""Thrift's compact protocol, as far as the headers of parquet pages need it; every length is bounded before it is used.

Format: Apache Thrift, "thrift-compact-protocol.md". A structure becomes a dictionary from field number to value.
"""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 8
MAX_VALUES = 4096

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


class ThriftError(ValueError):
    """The bytes are no structure of the compact protocol, or one that is too deep or too large."""


class CompactReader:
    """Reads structures from a buffer, from ``position`` on, which moves behind what was read."""

    def __init__(self, buffer: bytes, position: int = 0) -> None:
        self._buffer = buffer
        self.position = position
        self._values = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The next structure.

        Raises:
            ThriftError: it is malformed, ends early, or has more than 4,096 values or 8 levels.
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
        self._values += 1
        if self._values > MAX_VALUES:
            raise ThriftError("it has too many values")
        if kind in {_I16, _I32, _I64}:
            return self._signed()
        if kind == _BINARY:
            return self._take(self._varint())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in {_LIST, _SET}:
            head = self._byte()
            length, item = head >> 4, head & 15
            return self._items(self._varint() if length == 15 else length, item, depth)
        if kind in {_TRUE, _FALSE, _BYTE}:
            return self._byte()
        if kind == _DOUBLE:
            return self._take(8)
        raise ThriftError(f"a value is of the kind {kind}")

    def _items(self, length: int, kind: int, depth: int) -> list[Any]:
        if length > MAX_VALUES or depth >= MAX_DEPTH:
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
