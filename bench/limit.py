"""The limit of choosing a subset: reading the columns it needs, sorting uids and writing them, and nothing else.

    python -m bench.limit WORK METADATA_DIR SAVE_PATH

The shortest code in numpy and Arrow that gives the right file (for ``basic_filter``, whose language identification is
not reading: the rows that pass its image tests). It checks, resumes and records nothing, and uses one core.
"""

from __future__ import annotations

import binascii
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

FRACTION = 0.3
SCORE = "clip_l14_similarity_score"
PAIR = np.dtype([("f0", "<u8"), ("f1", "<u8")])


def no_filter(metadata: Path, target: Path) -> None:
    """All uids."""
    _save(target, [_uids(table) for table in _read(metadata, ["uid"])])


def clip_score(metadata: Path, target: Path) -> None:
    """The uids of the best 30 % by the L/14 score."""
    tables = _read(metadata, ["uid", SCORE])
    scores = [np.from_dlpack(table.column(SCORE).combine_chunks()) for table in tables]
    everything = np.concatenate(scores)
    rank = int(len(everything) * FRACTION)
    threshold = -np.partition(-everything, rank)[rank]
    _save(target, [_uids(table)[score >= threshold] for table, score in zip(tables, scores, strict=True)])


def basic_filter(metadata: Path, target: Path) -> None:
    """The uids of the rows whose image is large and not narrow; captions are read and not looked at."""
    parts = []
    for table in _read(metadata, ["uid", "text", "original_width", "original_height"]):
        sides = [np.from_dlpack(table.column(f"original_{side}").combine_chunks()) for side in ("width", "height")]
        short, long = np.minimum(*sides), np.maximum(*sides)
        parts.append(_uids(table)[(short >= 200) & (long <= 3 * short)])
    _save(target, parts)


LIMITS: dict[str, Callable[[Path, Path], None]] = {
    "no_filter": no_filter,
    "basic_filter": basic_filter,
    "clip_score": clip_score,
}


def _read(metadata: Path, columns: list[str]) -> list[Any]:
    return [pq.ParquetFile(path, memory_map=True).read(columns=columns) for path in sorted(metadata.glob("*.parquet"))]


def _uids(table: Any) -> NDArray[np.void]:
    pairs = []
    for chunk in table.column("uid").chunks:
        digits = np.frombuffer(chunk.buffers()[2], dtype=np.uint8)[: 32 * len(chunk)]
        pairs.append(np.frombuffer(binascii.unhexlify(digits.data), dtype=">u8").astype("<u8").view(PAIR))
    return np.concatenate(pairs)


def _save(target: Path, parts: list[NDArray[np.void]]) -> None:
    uids = np.concatenate(parts)
    uids = uids[np.argsort(uids["f0"])]
    tied = np.flatnonzero(uids["f0"][1:] == uids["f0"][:-1])
    rows = np.union1d(tied, tied + 1)
    uids[rows] = np.sort(uids[rows])
    np.save(target, uids)


if __name__ == "__main__":
    LIMITS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
