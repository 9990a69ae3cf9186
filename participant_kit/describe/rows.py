"""Rows of a dataset, block by block: of a pool's metadata, or of the samples of shards where there is no metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import EXTRAS_FOLDER, column_floats, column_types, column_uids, read_batches
from competition.data.shards import SampleSpan, Shard, read_payload
from competition.data.tar import Buffer, open_tar
from competition.data.uids import UidArray, load_subset
from participant_kit.dedup.marks import PERCEPTUAL_HASH, SHA256, Mark, file_marks, parse_marks
from participant_kit.describe.quantities import SCORES, Floats
from participant_kit.subsets.captions import Captions
from participant_kit.subsets.gallery import readable_samples
from participant_kit.subsets.stream import count_in_file

SIZES = ("original_width", "original_height")
CAPTION = "text"
SHA = SHA256.column
HASH = PERCEPTUAL_HASH.column

_SCORES = tuple(score.key for score in SCORES)
_BLOCK = 4096
_MOST_JSON = 1 << 20
_MOST_CAPTION = 1 << 20
"""Bytes of one sample's json and caption that are looked at."""

Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Marks:
    """64 bits of each row's mark, and which rows have one."""

    words: Words
    present: NDArray[np.bool_]

    @classmethod
    def none(cls, rows: int) -> Marks:
        """No row has one."""
        return cls(np.zeros(rows, np.uint64), np.zeros(rows, bool))

    def take(self, rows: NDArray[Any]) -> Marks:
        """Those of some rows."""
        return Marks(self.words[rows], self.present[rows])

    @classmethod
    def joined(cls, parts: Sequence[Marks]) -> Marks:
        """One behind the other."""
        none = cls.none(0)
        words = np.concatenate([none.words, *(part.words for part in parts)])
        return cls(words, np.concatenate([none.present, *(part.present for part in parts)]))


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows.

    Args:
        read: rows that were read for it: these, and those that the dataset does not have.
        uids: of each row.
        copies: int64, at least 1: how often the dataset has the row.
        captions: of each row; empty where there is none.
        values: by column: float64 of each row, NaN where missing or the source lacks the column.
        sha256: the first 64 bits of each.
        hashes: perceptual ones.
    """

    read: int
    uids: UidArray
    copies: NDArray[np.int64]
    captions: Captions
    values: dict[str, Floats]
    sha256: Marks
    hashes: Marks


@dataclass(slots=True)
class Source:
    """What a file of rows has.

    Args:
        columns: those that it has of the columns that are looked at.
        damaged: it ends in damage.
        without_uid: samples that cannot be told from others.
    """

    columns: set[str] = field(default_factory=set)
    damaged: bool = False
    without_uid: int = 0


def metadata_blocks(path: Path, selection: Path | None, source: Source) -> Iterator[Block]:
    """The rows of a metadata file that the dataset has.

    Args:
        path: parquet.
        selection: sorted uids that the dataset has, as often as it has them; every row once when absent.
        source: is told which columns there are.

    Raises:
        DataFormatError: the file is damaged, or a uid or caption in it.
        StorageError: it cannot be read.
    """
    wanted = (CAPTION, *SIZES, *_SCORES, SHA)
    present = column_types(path).names
    columns = [name for name in wanted if name in present]
    source.columns |= set(columns)
    hashes = _perceptual(path, source)
    chosen = None if selection is None else load_subset(selection, require_sorted=False)
    start = 0
    for table in read_batches(path, ["uid", *columns]):
        uids = column_uids(table, path)
        copies = np.ones(len(uids), np.int64) if chosen is None else count_in_file(uids, chosen)
        rows = np.flatnonzero(copies)
        texts = Captions.of_table(table, path) if CAPTION in columns else Captions.of_strings([""] * len(uids))
        values = {name: _numbers(table, name, columns)[rows] for name in (*SIZES, *_SCORES)}
        sha256 = Marks.none(len(uids))
        if SHA in columns:
            words, known = parse_marks(table.column(SHA), SHA256, path)
            sha256 = Marks(np.ascontiguousarray(words[:, 0]), known)
        here = hashes.take(rows + start) if len(hashes.words) else Marks.none(len(rows))
        yield Block(len(uids), uids[rows], copies[rows], texts.take(rows), values, sha256.take(rows), here)
        start += len(uids)


def _perceptual(path: Path, source: Source) -> Marks:
    """Of all rows of a file; of none where it has none."""
    if not has_mark(path, PERCEPTUAL_HASH):
        return Marks.none(0)
    source.columns.add(HASH)
    words, present = file_marks(PERCEPTUAL_HASH, path)
    return Marks(np.ascontiguousarray(words[:, 0]), present)


def has_mark(path: Path, mark: Mark) -> bool:
    """Has a metadata file this mark, or the extras beside it?"""
    extras = path.parent / EXTRAS_FOLDER / path.name
    return mark.column in column_types(path).names or (extras.exists() and mark.column in column_types(extras).names)


def _numbers(table: Any, name: str, present: Sequence[str]) -> Floats:
    if name not in present:
        return np.full(table.num_rows, np.nan)
    if name in _SCORES:
        return column_floats(table, name).astype(np.float64)
    import pyarrow as pa

    values = table.column(name).combine_chunks().cast(pa.float64(), safe=False).fill_null(np.nan)
    numbers: NDArray[Any] = np.from_dlpack(values)
    return numbers.astype(np.float64)


def shard_blocks(shard: Shard, source: Source) -> Iterator[Block]:
    """The samples of a shard that have a uid, up to damage.

    Args:
        shard: a tar.
        source: is told what its samples' json has, and of samples without uid.

    Raises:
        StorageError: it cannot be read.
    """
    with open_tar(shard.path) as buffer:
        spans, uids, source.without_uid, source.damaged = readable_samples(buffer, shard)
        for start in range(0, len(spans), _BLOCK):
            part = slice(start, start + _BLOCK)
            yield _samples_block(buffer, spans[part], uids[part], source)


def shard_uids(shard: Shard) -> tuple[UidArray, bool]:
    """The uids of a shard's samples in order, and whether it ends in damage."""
    with open_tar(shard.path) as buffer:
        found = readable_samples(buffer, shard)
    return found.uids, found.damaged


def _samples_block(buffer: Buffer, spans: Sequence[SampleSpan], uids: UidArray, source: Source) -> Block:
    documents = [_document(buffer, span) for span in spans]
    captions = [_caption(buffer, span, said) for span, said in zip(spans, documents, strict=True)]
    values: dict[str, Floats] = {}
    for name in (*SIZES, *_SCORES):
        values[name] = np.array([_number(said.get(name)) for said in documents], dtype=np.float64)
        if np.isfinite(values[name]).any():
            source.columns.add(name)
    source.columns.add(CAPTION)
    digests = [said.get(SHA) for said in documents]
    known = np.array([_is_sha256(text) for text in digests], dtype=bool)
    words = [int(str(text)[:16], 16) if good else 0 for text, good in zip(digests, known.tolist(), strict=True)]
    if known.any():
        source.columns.add(SHA)
    return Block(
        len(spans),
        uids,
        np.ones(len(spans), np.int64),
        Captions.of_strings(captions),
        values,
        Marks(np.array(words, dtype=np.uint64), known),
        Marks.none(len(spans)),
    )


def _document(buffer: Buffer, span: SampleSpan) -> dict[str, Any]:
    """The sample's json, which ``readable_samples`` found to have a uid; nothing of a very large one."""
    member = span.members["json"]
    if member.size > _MOST_JSON:
        return {}
    said: dict[str, Any] = json.loads(read_payload(buffer, member))
    return said


def _caption(buffer: Buffer, span: SampleSpan, said: dict[str, Any]) -> str:
    if "txt" in span.members:
        member = span.members["txt"]
        return buffer[member.offset : member.offset + min(member.size, _MOST_CAPTION)].decode("utf-8", "replace")
    caption = said.get("caption")
    # A lone surrogate, which json can spell, is no text.
    return caption.encode("utf-8", "replace").decode() if isinstance(caption, str) else ""


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("nan")


def _is_sha256(text: Any) -> bool:
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdefABCDEF")
