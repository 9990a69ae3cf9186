"""Images that are the same: byte for byte (equal sha256), or to the eye (perceptual hashes that differ in few bits)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.engine import Workers
from competition.errors import UsageError
from competition.progress import Progress, ProgressHook
from participant_kit.dedup.fingerprints import fingerprint_shards
from participant_kit.dedup.groups import Linkage, Rows
from participant_kit.dedup.hamming import MOST_BITS, bit_distances, near_hashes
from participant_kit.dedup.keep import Keep, KeepRule, read_rows, rows_within
from participant_kit.dedup.marks import PERCEPTUAL_HASH, SHA256, Mark, MarkTable, Words, file_marks
from participant_kit.dedup.pool_run import (
    Deduplicated,
    Found,
    Way,
    deduplicate,
    described,
    outside,
    refuse_outermost,
    resolved,
    subset_asset,
)
from participant_kit.subsets.pool import MetadataPool

DEFAULT_BITS = 2


@dataclass(frozen=True, slots=True)
class Sources:
    """Where marks come from.

    Args:
        metadata_dir: of a pool; when absent, the shards stand for it, with all that is known of them.
        shards_dir: of a pool, whose images are read for the marks; when absent, the metadata's or their extras' count.
        within: a subset; the pool's other rows are dropped and counted, and stay in nobody's place.
    """

    metadata_dir: Path | None = None
    shards_dir: Path | None = None
    within: Path | None = None


def deduplicate_exact(
    sources: Sources, save_path: Path, rule: KeepRule, workers: Workers = 1, progress: ProgressHook | None = None
) -> Deduplicated:
    """Keep one of all images with the same sha256: the metadata's, which is of the image as it was downloaded, or that
    of the bytes in the shards.

    Rows without a sha256 are dropped and counted. Errors as of ``deduplicate``.
    """
    return _deduplicate(sources, save_path, _Marked(rule, SHA256, 0), workers, progress)


def deduplicate_perceptual(
    sources: Sources,
    save_path: Path,
    rule: KeepRule,
    bits: int = DEFAULT_BITS,
    *,
    by_pair: bool = False,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> Deduplicated:
    """Keep one of all images whose perceptual hashes differ in at most ``bits`` of 64 bits.

    Rows without a hash (no image, or one that cannot be decoded) are dropped and counted. Errors as of ``deduplicate``.

    Raises:
        UsageError: ``bits`` is out of range.
    """
    if not 0 <= bits <= MOST_BITS:
        raise UsageError(f"--max-bits {bits} is not between 0 and {MOST_BITS}.")
    return _deduplicate(sources, save_path, _Marked(rule, PERCEPTUAL_HASH, bits, by_pair), workers, progress)


@dataclass(frozen=True, slots=True)
class _Marked:
    """What to compare, and how far apart marks may be."""

    rule: KeepRule
    mark: Mark
    bits: int
    by_pair: bool = False

    @property
    def name(self) -> str:
        return "exact" if self.mark is SHA256 else "perceptual"

    def options(self, source: str) -> Mapping[str, Any]:
        said = described(self.rule, by_pair=self.by_pair) | {"marks_from": source}
        return said if self.mark is SHA256 else {**said, "max_bits": self.bits}


def _deduplicate(
    sources: Sources, save_path: Path, marked: _Marked, workers: Workers, progress: ProgressHook | None
) -> Deduplicated:
    refuse_outermost(marked.rule)
    if sources.metadata_dir is None and sources.shards_dir is None:
        raise UsageError("Give --metadata-dir, --shards-dir, or both.")
    if sources.metadata_dir is None and marked.rule.keep is Keep.BEST:
        raise UsageError(
            "--keep best needs scores, which shards do not have.",
            hint="Give the pool's --metadata-dir too, or choose --keep largest or first.",
        )
    prints = None
    if sources.shards_dir is not None:
        folder = save_path.with_name(f"{save_path.name}.fingerprints")
        prints = fingerprint_shards(sources.shards_dir, folder, workers, progress).folder
    metadata_dir = prints if sources.metadata_dir is None else sources.metadata_dir
    assert metadata_dir is not None
    elsewhere = None if metadata_dir == prints else prints
    find = partial(_find, marked, elsewhere, sources.within)
    options = marked.options("metadata" if prints is None else "shards")
    way = Way(f"dedup_{marked.name}", options, find, subset_asset(sources.within))
    return deduplicate(way, metadata_dir, save_path, workers, progress)


def _find(marked: _Marked, prints: Path | None, within: Path | None, pool: MetadataPool) -> Found:
    rows = read_rows(pool, marked.rule)
    if prints is None:
        parts = pool.map(partial(file_marks, marked.mark), f"reading {marked.mark.column}", quick=True)
        words = np.concatenate([part for part, _ in parts])
        present = np.concatenate([part for _, part in parts])
    else:
        words, present = MarkTable.of(prints, marked.mark).of_uids(rows.uids)
    inside = rows_within(within, rows.uids)
    comparable = np.flatnonzero(inside & present)
    missing = outside(within, inside) | {f"{marked.mark.column}_missing": int(np.count_nonzero(inside & ~present))}
    ranks = rows.ranks()[comparable]
    labels, least, measures = _linked(marked, words[comparable], ranks, pool.progress)
    return resolved(rows, comparable, missing, f"{marked.name}_duplicate", (ranks, labels, least), measures)


def _linked(
    marked: _Marked, words: Words, ranks: Rows, progress: ProgressHook | None
) -> tuple[Rows, Rows, NDArray[np.float32] | None]:
    """Of each row: a row of its group, the rank that stays in its place, and bits to the nearest other hash."""
    distinct, first, places, counts = _distinct(words)
    best = np.full(len(distinct), np.iinfo(np.int64).max)
    np.minimum.at(best, places, ranks)
    linkage = Linkage(best, by_pair=marked.by_pair)
    nearest = np.where(counts > 1, 0, np.inf).astype(np.float32)
    if marked.bits:
        hashes = np.ascontiguousarray(distinct[:, 0])
        for done, (one, other) in enumerate(near_hashes(hashes, marked.bits), 1):
            linkage.add(one, other)
            apart = bit_distances(hashes[one], hashes[other]).astype(np.float32)
            np.minimum.at(nearest, one, apart)
            np.minimum.at(nearest, other, apart)
            if progress is not None and done % 1000 == 0:
                progress(Progress("comparing hashes", done, done))
    labels, least = linkage.result()
    if marked.mark is SHA256:
        return first[labels[places]], least[places], None
    return first[labels[places]], least[places], np.where(np.isinf(nearest), np.nan, nearest)[places]


def _distinct(words: Words) -> tuple[Words, Rows, Rows, Rows]:
    """Different marks, sorted; the first row of each; the place of every row's; and how many rows have each."""
    order = np.lexsort(tuple(words.T[::-1]))
    ordered = words[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.cumsum(new) - 1
    return ordered[new], order[new], places, np.bincount(places, minlength=int(new.sum()))
