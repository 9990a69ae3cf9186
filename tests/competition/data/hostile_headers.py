"""Headers of ``.npy`` arrays that NumPy's parser does not expect, for the tests of whoever reads such arrays."""

from __future__ import annotations

HOSTILE = {
    "unclosed": b"{'descr': '<i8', 'shape': (1,5",  # tokenize.TokenError
    "nested": b"{'descr': '<i8', 'fortran_order': False, 'shape': (" + b"-" * 3900 + b"1,), }",  # RecursionError
    "brackets": b"[" * 3000,
    "words": b"no literal at all",
    "no-numbers": b"{'descr': '<i8', 'fortran_order': False, 'shape': ('a', 5), }",
    "number-as-key": b"{1: 2, 'descr': '<i8'}",  # TypeError: keys of two types are sorted
    "endless": b"{'descr': '<i8', 'fortran_order': False, 'shape': (" + b"9" * 40 + b", 5), }",  # OverflowError
    "below-zero": b"{'descr': '<i8', 'fortran_order': False, 'shape': (-5, 5), }",
    "true": b"{'descr': '<i8', 'fortran_order': False, 'shape': (True, 5), }",
    "axes": b"{'descr': '<i8', 'fortran_order': False, 'shape': (" + b"1," * 70 + b"), }",
    "dtype": b"{'descr': [('a', [('b', 3)])], 'fortran_order': False, 'shape': (1, 5), }",
    "dtype-side": b"{'descr': ('<i8', (99999999999999999999,)), 'fortran_order': False, 'shape': (1, 5), }",
    "null": b"{'descr': '<i8\x00', 'fortran_order': False, 'shape': (1, 5), }",
}


def npy(header: bytes, data: bytes = bytes(40)) -> bytes:
    """An ``.npy`` of version 1.0 with this text as its header."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


LONG = b"\x93NUMPY\x02\x00" + (0xFFFFFFFF).to_bytes(4, "little") + b"{'descr': '<i8'"
"""A length field of four bytes that promises four gigabytes."""
