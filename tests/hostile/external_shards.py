"""Hostile shards of external data: tars that leave the archive, that are bombs, or that hold no samples."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from competition.data.shards import Sample
from competition.data.tar import header
from competition.errors import RejectionReason
from tests.competition.verification.own_entries import ROWS, OwnEntry, picture, png, samples
from tests.hostile.case import Hostile

R = RejectionReason
BAD, IMAGE = R.EXTERNAL_SHARD_MALFORMED, R.EXTERNAL_IMAGE_MALFORMED
Make = Callable[[OwnEntry], object]
END = bytes(1024)
PICTURE = picture(0)


def raw(content: bytes) -> Make:
    return lambda entry: entry.shard(content).seal()


def special(kind: bytes, name: str = "a.png", target: str = "") -> bytes:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    made.devmajor, made.devminor = 1, 5
    return made.tobuf(tarfile.USTAR_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def plain(name: str, data: bytes = b"", size: int | None = None) -> bytes:
    return header(name.encode(), len(data) if size is None else size) + padded(data)


def before(something: bytes) -> Make:
    """This, and a sound sample after it."""
    return raw(something + plain("s.png", PICTURE) + plain("s.txt", b"a picture") + END)


def of_samples(*made: dict[str, bytes]) -> Make:
    return lambda entry: entry.shard([Sample(f"s{n}", members) for n, members in enumerate(made)]).seal()


def image(data: bytes, extension: str = "png") -> Make:
    return of_samples({"png": PICTURE, "txt": b"sound"}, {extension: data, "txt": b"a picture"})


def pax(records: bytes) -> bytes:
    """An extended header."""
    made = tarfile.TarInfo("pax")
    made.type, made.size = b"x", len(records)
    return made.tobuf(tarfile.USTAR_FORMAT) + padded(records)


def record(key: str, value: str) -> bytes:
    size = len(key) + len(value) + 3
    length = size + len(str(size + len(str(size))))
    return f"{length} {key}={value}\n".encode()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claiming(width: int, height: int) -> bytes:
    """A PNG that says that it is so large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")


def jpeg(side: int = 16, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(stream, "JPEG", **options)
    return stream.getvalue()


def scanned_again(times: int) -> bytes:
    """A progressive JPEG whose last scan comes so often again."""
    found = jpeg(progressive=True)
    last = found.rindex(b"\xff\xda")
    return found[:-2] + found[last:-2] * times + found[-2:]


def gif() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(stream, "GIF")
    return stream.getvalue()


SPARSE = special(b"S")[:124] + b"77777777777\0" + special(b"S")[136:]
FLAT = png(np.zeros((310, 310, 3), np.uint8))
NESTED = b'{"a":' * 90_000
BOMB = gzip.compress(bytes(16 << 20), 9) * 256
"""Four gigabytes of zeros in four megabytes."""

CASES: dict[str, Hostile[OwnEntry]] = {
    "a name that leaves the archive": Hostile(BAD, "leaves the archive", before(plain("../../home/secret.png"))),
    "a name with dots inside": Hostile(BAD, "leaves the archive", before(plain("a/../../../b.png"))),
    "an absolute name": Hostile(BAD, "leaves the archive", before(plain("/etc/passwd.png"))),
    "a long name that leaves the archive": Hostile(
        BAD, "leaves the archive", before(pax(record("path", "../" * 90 + "a.png")) + plain("a.png", PICTURE))
    ),
    "a symbolic link": Hostile(BAD, "a symbolic link", before(special(b"2", target="/etc/passwd"))),
    "a hard link": Hostile(BAD, "a hard link", before(special(b"1", target="../../home/secret"))),
    "a character device": Hostile(BAD, "a device", before(special(b"3"))),
    "a block device": Hostile(BAD, "a device", before(special(b"4"))),
    "a pipe": Hostile(BAD, "a pipe", before(special(b"6"))),
    "a folder": Hostile(BAD, "a folder", before(special(b"5", "inner"))),
    "an unknown kind of member": Hostile(BAD, "unknown type", before(special(b"Z"))),
    "four gigabytes of zeros, compressed": Hostile(BAD, "damaged at byte 0", raw(BOMB)),
    "a sparse member of eight gigabytes": Hostile(BAD, "damaged", before(SPARSE)),
    "a sparse member in a pax header": Hostile(
        BAD, "sparse", before(pax(record("GNU.sparse.realsize", str(2**42))) + plain("a.png", PICTURE))
    ),
    "a huge pax header": Hostile(
        BAD, "an extended header has 1000007 bytes", before(pax(record("comment", "a" * 999_990)))
    ),
    "a pax header of many records": Hostile(BAD, "malformed", before(pax(b"5 a=\n" * 9000 + b"0 b=\n"))),
    "pax headers without end": Hostile(BAD, "too many extended headers", before(pax(record("path", "a.png")) * 40)),
    "a member of ten terabytes": Hostile(
        BAD, "beyond the end", before(pax(record("size", str(10**13))) + plain("a.png", PICTURE))
    ),
    "a member larger than the shard": Hostile(BAD, "beyond the end", before(plain("a.png", PICTURE, 8 * 2**30 - 1))),
    "cut short": Hostile(BAD, "damaged", raw((plain("s.png", PICTURE) + plain("s.txt", b"x"))[:-600])),
    "no end": Hostile(BAD, "without the end-of-archive mark", raw(plain("s.png", PICTURE) + plain("s.txt", b"x"))),
    "something after the end": Hostile(
        BAD, "data after the end", raw(plain("s.png", PICTURE) + plain("s.txt", b"x") + END + b"PK\x03\x04")
    ),
    "a header with a wrong sum": Hostile(BAD, "checksum", raw(b"b" + plain("aa.png", PICTURE)[1:] + END)),
    "no tar": Hostile(BAD, "damaged at byte 0", raw(b"Rar!\x1a\x07" + bytes(range(256)) * 9)),
    "nothing": Hostile(BAD, "end-of-archive", raw(b"")),
    "no sample": Hostile(BAD, "holds no sample", raw(bytes(10240))),
    "twelve thousand tiny members": Hostile(
        R.EXTERNAL_TOO_LARGE, f"{ROWS} are left", raw((plain("a.png") + plain("a.txt", b"a")) * 6_000 + END)
    ),
    "more samples than fit": Hostile(
        R.EXTERNAL_TOO_LARGE, f"{ROWS} are left", lambda e: e.shard(samples(ROWS + 1)).seal()
    ),
    "a program": Hostile(BAD, "'s0.py' is no image", of_samples({"png": PICTURE, "txt": b"a", "py": b"import os"})),
    "a pickle": Hostile(
        BAD, "'s0.pickle' is no image", of_samples({"png": PICTURE, "txt": b"a", "pickle": b"\x80\x04."})
    ),
    "a member without an extension": Hostile(BAD, "'Makefile' is no image", before(plain("Makefile", b"all:"))),
    "a hidden member": Hostile(BAD, "'.hidden.png' is no image", before(plain(".hidden.png", PICTURE))),
    "a name with control characters": Hostile(BAD, "is no image", before(plain("\x1b[2J.png", PICTURE))),
    "a name of a megabyte's worth": Hostile(
        BAD, "is no image", before(pax(record("path", "a" * 60_000 + ".png")) + plain("a.png", PICTURE))
    ),
    "two images in a sample": Hostile(BAD, "not one image", of_samples({"png": PICTURE, "jpg": jpeg(), "txt": b"a"})),
    "an image without a caption": Hostile(BAD, "not one image", of_samples({"png": PICTURE})),
    "a caption that is no text": Hostile(BAD, "no UTF-8", of_samples({"png": PICTURE, "txt": b"\xff\xfe"})),
    "a caption with a zero": Hostile(BAD, "zero character", of_samples({"png": PICTURE, "txt": b"a\0b"})),
    "a caption that is a book": Hostile(BAD, "100000 bytes", of_samples({"png": PICTURE, "txt": b"a" * 100_000})),
    "facts that are none": Hostile(BAD, "json of its sample", of_samples({"png": PICTURE, "txt": b"a", "json": b"{"})),
    "facts that are a list": Hostile(BAD, "no object", of_samples({"png": PICTURE, "txt": b"a", "json": b"[]"})),
    "facts nested deeply": Hostile(BAD, "json", of_samples({"png": PICTURE, "txt": b"a", "json": NESTED[: 1 << 17]})),
    "an image of a megabyte": Hostile(BAD, "at most 100000", image(bytes(1 << 20))),
    "an image that is none": Hostile(IMAGE, "no jpeg, png or webp", image(b"<svg onload=alert(1)>")),
    "an image of another kind": Hostile(IMAGE, "no jpeg, png or webp", image(gif())),
    "an image cut short": Hostile(IMAGE, "cannot be decoded", image(jpeg(64)[:-200], "jpg")),
    "a decompression bomb": Hostile(IMAGE, "cannot be", image(claiming(65500, 65500))),
    "an image with more pixels than fit": Hostile(IMAGE, "9000 x 9000 pixels", image(claiming(9000, 9000))),
    "an image of 2 to the 62 pixels": Hostile(IMAGE, "cannot be", image(claiming(2**31 - 1, 2**31 - 1))),
    "an image of no pixel": Hostile(IMAGE, "cannot be", image(claiming(0, 0))),
    "an image decoded again and again": Hostile(IMAGE, "scans", image(scanned_again(500), "jpg")),
    "a large comment, compressed": Hostile(
        IMAGE,
        "cannot be",
        image(PICTURE[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(68 << 20), 9)) + PICTURE[33:]),
    ),
    "many pixels in all": Hostile(
        R.EXTERNAL_TOO_LARGE, "more than 500000 pixels", of_samples(*[{"png": FLAT, "txt": b"a"}] * 6)
    ),
    "samples that were not trained on": Hostile(
        R.TRAINING_DATA_MISMATCH, "does not name external/0.tar", lambda e: e.shard(samples(3)).retrain(parts=[]).seal()
    ),
    "fewer samples than claimed": Hostile(
        R.EXTERNAL_COUNT_MISMATCH, "external_samples = 9", lambda e: e.shard(samples(3)).seal(external_samples=9)
    ),
}
