"""Hostile subsets: files that are no arrays, arrays that are no subsets, and subsets that break the rules."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable

import numpy as np

from competition.data.uids import UID_DTYPE, sort_uids
from competition.errors import RejectionReason
from tests.competition.verification.entries import TinyEntry, pool_array
from tests.hostile.case import Hostile, write

R = RejectionReason
Make = Callable[[TinyEntry], object]


def saved(array: np.ndarray, **options: bool) -> bytes:
    """As numpy saves it."""
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npy(header: bytes, data: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    """An ``.npy`` with this text for a header, whose length may be a lie."""
    said = len(header) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", said) + header + data


def _raw(content: bytes) -> Make:
    return lambda entry: write(entry, "subset.npy", content)


def _uids(uids: np.ndarray, **claims: int) -> Make:
    """This array, and a manifest that claims these counts."""

    def make(entry: TinyEntry) -> None:
        (entry.folder / "subset.npy").write_bytes(saved(uids))
        entry.report(data={"shards": 1, "samples": 1, "digest": "0" * 64, "corrupt_samples": 0})
        entry.seal(**claims)

    return make


class Bomb:
    """Would leave a mark if it were ever unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("open('unpickled', 'w').close()",))


def _described(shape: str, descr: str = "[('f0', '<u8'), ('f1', '<u8')]") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()


POOL = pool_array()
FOREIGN = POOL[:23].copy()
FOREIGN["f1"][7] ^= np.uint64(1)
STRANGERS = POOL[:23].copy()
STRANGERS["f0"] ^= np.uint64(1 << 40)
LARGER = sort_uids(np.concatenate([POOL, FOREIGN[7:8]]))
REPEATED = np.repeat(POOL[:1], 23)
OBJECTS = np.array([Bomb()] * 4, dtype=object)

CASES: dict[str, Hostile[TinyEntry]] = {
    "a pickled array": Hostile(R.SUBSET_MALFORMED, "dtype object", _raw(saved(OBJECTS, allow_pickle=True))),
    "a pickle and nothing else": Hostile(
        R.SUBSET_MALFORMED, "not a NumPy file", _raw(b"\x80\x04cposix\nsystem\n(S'touch unpickled'\ntR.")
    ),
    "a pair with an object in it": Hostile(
        R.SUBSET_MALFORMED, "dtype", _raw(npy(_described("(1,)", "[('f0', '<u8'), ('f1', '|O')]"), bytes(16)))
    ),
    "ten terabytes promised": Hostile(R.SUBSET_MALFORMED, "bytes where its", _raw(npy(_described("(625000000000,)")))),
    "a length beyond a word": Hostile(R.SUBSET_MALFORMED, "malformed", _raw(npy(_described(f"({2**70},)")))),
    "a length below nothing": Hostile(R.SUBSET_MALFORMED, "malformed", _raw(npy(_described("(-1,)"), bytes(16)))),
    "a header of four gigabytes": Hostile(
        R.SUBSET_MALFORMED, "malformed", _raw(npy(b"{}", version=2, length=2**32 - 1))
    ),
    "a header nested deeply": Hostile(R.SUBSET_MALFORMED, "malformed", _raw(npy(b"(" * 4000))),
    "a header that calls": Hostile(
        R.SUBSET_MALFORMED, "malformed", _raw(npy(b"__import__('os').system('touch unpickled')"))
    ),
    "a header of a version to come": Hostile(R.SUBSET_MALFORMED, "malformed", _raw(npy(b"{}", version=9))),
    "an npz": Hostile(R.SUBSET_MALFORMED, "not a NumPy file", _raw(b"PK\x03\x04" + bytes(100))),
    "compressed": Hostile(R.SUBSET_MALFORMED, "not a NumPy file", _raw(gzip.compress(saved(POOL[:23])))),
    "floats": Hostile(R.SUBSET_MALFORMED, "float64", _raw(saved(np.zeros(23)))),
    "uids as text": Hostile(R.SUBSET_MALFORMED, "U32", _raw(saved(np.array(["0" * 32] * 23)))),
    "the other byte order": Hostile(
        R.SUBSET_MALFORMED, "dtype", _raw(saved(POOL[:23].astype([("f0", ">u8"), ("f1", ">u8")])))
    ),
    "two dimensions": Hostile(R.SUBSET_MALFORMED, "shape (23, 1)", _raw(saved(POOL[:23].reshape(23, 1)))),
    "no dimension": Hostile(R.SUBSET_MALFORMED, "shape ()", _raw(saved(POOL[0]))),
    "cut short": Hostile(R.SUBSET_MALFORMED, "bytes where its", _raw(saved(POOL[:23])[:-1])),
    "something after the array": Hostile(R.SUBSET_MALFORMED, "bytes where its", _raw(saved(POOL[:23]) + b"PK\x05\x06")),
    "no uid": Hostile(R.SUBSET_MALFORMED, "no uid", _raw(saved(POOL[:0]))),
    "no byte": Hostile(R.SUBSET_MALFORMED, "not a NumPy file", _raw(b"")),
    "more than allowed": Hostile(R.SUBSET_MALFORMED, "at most 80, repeats counted", _raw(saved(np.repeat(POOL, 2)))),
    "unsorted": Hostile(R.SUBSET_UNSORTED, "position 1", _uids(POOL[22::-1].copy())),
    "sorted as signed numbers": Hostile(
        R.SUBSET_UNSORTED, "is not sorted", _uids(POOL[np.argsort(POOL["f0"].view(np.int64))])
    ),
    "one foreign uid": Hostile(R.SUBSET_FOREIGN_UIDS, "1 of 23", _uids(sort_uids(FOREIGN))),
    "foreign uids alone": Hostile(R.SUBSET_FOREIGN_UIDS, "23 of 23", _uids(sort_uids(STRANGERS))),
    "the whole pool and one more": Hostile(R.SUBSET_FOREIGN_UIDS, "1 of 61", _uids(LARGER)),
    "uids of the greatest number": Hostile(
        R.SUBSET_FOREIGN_UIDS, "3 of 3", _uids(np.full(3, 2**64 - 1, dtype=np.uint64).repeat(2).view(UID_DTYPE))
    ),
    "repeats that are not declared": Hostile(
        R.SUBSET_COUNT_MISMATCH, "subset_unique = 23, but the file has 1", _uids(REPEATED, subset_unique=23)
    ),
    "fewer than claimed": Hostile(
        R.SUBSET_COUNT_MISMATCH, "subset_samples = 60", _uids(POOL[:23], subset_samples=60, subset_unique=23)
    ),
    "counts that are not claimed": Hostile(
        R.SUBSET_COUNT_MISMATCH, "subset_samples = None", _uids(POOL[:23], subset_samples=None, subset_unique=None)
    ),
}
