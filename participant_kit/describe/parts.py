"""What each file of a dataset comes to, and all of them together: counts of fixed size, and 38 bytes for each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from competition.data.shards import Shard
from competition.data.uids import UID_DTYPE, UidArray, uids_to_hex
from participant_kit.dedup.groups import joined
from participant_kit.describe.quantities import SCORES, Distribution, caption_values, size_values
from participant_kit.describe.rows import SIZES, Block, Marks, Source, metadata_blocks, shard_blocks
from participant_kit.subsets.draw import lots

LANGUAGE_PURPOSE = 6
"""Of the lots that choose captions; other purposes are those of other draws."""

_LOTS = 2.0**64
_REPEATS = 8
"""A row is expected at most so many times among the first of a block."""


class Ranked(NamedTuple):
    """A row by its score."""

    score: float
    uid: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is counted.

    Args:
        selection: file of the sorted uids that the dataset has; every row when absent.
        language_model: ``None`` when languages are not asked for.
        language_share: of the rows whose caption's language is looked at.
        score: the column that rows are ranked by, if there is one.
        ranked: how many of the best rows, and how many of the worst.
        seed: of the rows whose language is looked at.
    """

    selection: Path | None
    language_model: Path | None
    language_share: float
    score: str | None
    ranked: int
    seed: int


@dataclass(frozen=True, slots=True)
class RowTable:
    """What duplicates are found by: of each metadata row (or sample) of the dataset its uid, copies and marks."""

    uids: UidArray
    copies: NDArray[np.int32]
    sha256: Marks
    hashes: Marks

    @classmethod
    def joined(cls, parts: Sequence[RowTable]) -> RowTable:
        """One behind the other."""
        return cls(
            joined([part.uids for part in parts], UID_DTYPE),
            joined([part.copies for part in parts], np.int32),
            Marks.joined([part.sha256 for part in parts]),
            Marks.joined([part.hashes for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A file, or all files.

    Args:
        read: rows of the files, those among them that the dataset does not have.
        distributions: by quantity.
        columns: that a file had.
        languages: captions by language.
        rows: of the dataset.
        best: rows with the highest scores, the highest first, of equal ones the least uid first.
        worst: with the lowest, the lowest first.
        without_uid: samples of shards that have no uid, which are left out.
        damaged: names of shards that end in damage.
    """

    read: int
    distributions: dict[str, Distribution]
    columns: set[str]
    languages: Counter[str]
    rows: RowTable
    best: list[Ranked]
    worst: list[Ranked]
    without_uid: int
    damaged: list[str]


def count_metadata(wanted: Wanted, path: Path) -> Part:
    """Runs in a worker. Raises as ``metadata_blocks`` does."""
    source = Source()
    return _counted(wanted, metadata_blocks(path, wanted.selection, source), source, path.name)


def count_shard(wanted: Wanted, shard: Shard) -> Part:
    """Runs in a worker. Raises as ``shard_blocks`` does."""
    source = Source()
    return _counted(wanted, shard_blocks(shard, source), source, shard.name)


def together(parts: Sequence[Part], ranked: int) -> Part:
    """All parts as one."""
    keys = list(dict.fromkeys(key for part in parts for key in part.distributions))
    totals = {key: Distribution.total(part.distributions[key] for part in parts if key in part.distributions)
              for key in keys}  # fmt: skip
    languages: Counter[str] = Counter()
    for part in parts:
        languages.update(part.languages)
    return Part(
        sum(part.read for part in parts),
        {key: total for key, total in totals.items() if total is not None},
        set().union(*(part.columns for part in parts)),
        languages,
        RowTable.joined([part.rows for part in parts]),
        _ordered((row for part in parts for row in part.best), -1, ranked),
        _ordered((row for part in parts for row in part.worst), 1, ranked),
        sum(part.without_uid for part in parts),
        [name for part in parts for name in part.damaged],
    )


def _counted(wanted: Wanted, blocks: Iterable[Block], source: Source, name: str) -> Part:
    counted = [_count_block(wanted, block) for block in blocks]
    part = together(counted, wanted.ranked)
    damaged = [name] if source.damaged else []
    return Part(part.read, part.distributions, source.columns, part.languages, part.rows, part.best, part.worst,
                source.without_uid, damaged)  # fmt: skip


def _count_block(wanted: Wanted, block: Block) -> Part:
    values = size_values(*(block.values[name] for name in SIZES)) | caption_values(block.captions.strings())
    values |= {score.key: block.values[score.key] for score in SCORES}
    table = RowTable(block.uids, block.copies.astype(np.int32), block.sha256, block.hashes)
    return Part(
        block.read,
        {key: Distribution.of(key, each, block.copies) for key, each in values.items()},
        set(),
        _languages(wanted, block),
        table,
        _first(wanted, block, -1),
        _first(wanted, block, 1),
        0,
        [],
    )


def _first(wanted: Wanted, block: Block, sign: int) -> list[Ranked]:
    """The first rows of a block by score (times ``sign``), then by uid."""
    if wanted.score is None:
        return []
    scores = block.values[wanted.score]
    known = np.flatnonzero(np.isfinite(scores))
    order = known[np.lexsort((block.uids["f1"][known], block.uids["f0"][known], sign * scores[known]))]
    rows = order[: _REPEATS * wanted.ranked]
    pairs = zip(scores[rows].tolist(), uids_to_hex(block.uids[rows]), strict=True)
    return _ordered((Ranked(score, uid) for score, uid in pairs), sign, wanted.ranked)


def _ordered(rows: Iterable[Ranked], sign: int, count: int) -> list[Ranked]:
    """The first by score (times ``sign``), each uid once."""
    found = sorted(set(rows), key=lambda row: (sign * row.score, row.uid))
    first = {row.uid: row for row in reversed(found)}
    return sorted(first.values(), key=lambda row: (sign * row.score, row.uid))[:count]


def _languages(wanted: Wanted, block: Block) -> Counter[str]:
    """Captions of a sample of the rows, drawn by uid, by language; copies count."""
    labels: Counter[str] = Counter()
    if wanted.language_model is None or not len(block.uids):
        return labels
    from participant_kit.subsets.language import predictor

    drawn = lots(block.uids, wanted.seed, LANGUAGE_PURPOSE) < wanted.language_share * _LOTS
    rows = np.flatnonzero(drawn | (wanted.language_share >= 1))
    said = predictor(wanted.language_model).labels(block.captions.take(rows))
    for label, copies in zip(said, block.copies[rows].tolist(), strict=True):
        labels[label.removeprefix("__label__")] += copies
    return labels
