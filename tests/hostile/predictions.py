"""Hostile predictions: archives that are bombs, and arrays that are none."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

from competition.errors import RejectionReason
from tests.competition.evaluation.predicted import SETS, all_guesses
from tests.competition.verification.test_predictions import PredictionsFolder
from tests.hostile.case import Hostile
from tests.hostile.subsets import Bomb, npy, saved

R = RejectionReason
Make = Callable[[PredictionsFolder], object]
_CHUNK = 1 << 20


def _raw(content: bytes) -> Make:
    def make(entry: PredictionsFolder) -> None:
        (entry.folder / "predictions.npz").write_bytes(content)
        entry.seal()

    return make


def _archive(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def _beside(name: str, content: bytes = b"") -> bytes:
    """Sound predictions, and this member beside them."""
    return _archive(*((f"{each}.npy", saved(top5)) for each, top5 in all_guesses().items()), (name, content))


def zeros(size: int, *, claimed: int, start: bytes = b"") -> bytes:
    """An archive whose one member begins with ``start`` and inflates to as many zeros; it claims ``claimed`` bytes.

    Deflate's blocks may be repeated as they are after a full flush, so that no gigabyte has to be deflated for this.
    """
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(_CHUNK)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed += block * (size // _CHUNK) + packer.flush(zlib.Z_FINISH)
    name = f"{SETS[0]}.npy".encode()
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, 0, len(packed), min(claimed, 2**32 - 2), len(name), 0)
    local = b"PK\x03\x04" + fields + name + packed
    central = b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    return local + central + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)


HEADER = npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (270, 5), }\n")
TEN_TERABYTES = b"{'descr': '<i8', 'fortran_order': False, 'shape': (250000000000, 5), }\n"
PICKLED = saved(np.array([Bomb()] * 270, dtype=object), allow_pickle=True)


def _same_bytes_many_times() -> bytes:
    """A thousand entries of the directory that all mean the one member there is."""
    raw = zeros(900 * _CHUNK, claimed=900 * _CHUNK)
    at = raw.index(b"PK\x01\x02")
    central = raw[at : raw.rindex(b"PK\x05\x06")]
    end = struct.pack("<HHHHIIH", 0, 0, 1000, 1000, 1000 * len(central), at, 0)
    return raw[:at] + central * 1000 + b"PK\x05\x06" + end


CASES: dict[str, Hostile[PredictionsFolder]] = {
    "a bomb of four gigabytes": Hostile(R.PREDICTIONS_MALFORMED, "predictions", _raw(zeros(4 << 30, claimed=4 << 30))),
    "a bomb of nine hundred megabytes": Hostile(
        R.PREDICTIONS_MALFORMED, "more than fit", _raw(zeros(900 * _CHUNK, claimed=900 * _CHUNK, start=HEADER))
    ),
    "a bomb that claims to be small": Hostile(
        R.PREDICTIONS_MALFORMED, "damaged", _raw(zeros(900 * _CHUNK, claimed=10_928, start=HEADER))
    ),
    "a thousand entries of one bomb": Hostile(R.PREDICTIONS_SETS_MISMATCH, "twice", _raw(_same_bytes_many_times())),
    "a pickle": Hostile(
        R.PREDICTIONS_MALFORMED, "never loaded", _raw(_archive(*((f"{name}.npy", PICKLED) for name in SETS)))
    ),
    "a member upwards": Hostile(R.PREDICTIONS_SETS_MISMATCH, "'../../../", _raw(_beside("../../../tmp/owned.npy"))),
    "a member from the root": Hostile(R.PREDICTIONS_SETS_MISMATCH, "'/etc/cron", _raw(_beside("/etc/cron.d/owned"))),
    "a member of control characters": Hostile(R.PREDICTIONS_SETS_MISMATCH, "x1b", _raw(_beside("\x1b[2J" * 900))),
    "an archive in the archive": Hostile(
        R.PREDICTIONS_SETS_MISMATCH, "no test set", _raw(_beside("a.zip", _beside("b")))
    ),
    "no archive": Hostile(R.PREDICTIONS_MALFORMED, "not an npz", _raw(b"PK\x05\x06 nothing")),
    "a header of ten terabytes": Hostile(
        R.PREDICTIONS_SHAPE_MISMATCH,
        "instead of (270, 5)",
        _raw(_archive(*((f"{name}.npy", npy(TEN_TERABYTES)) for name in SETS))),
    ),
}
