"""What can be wrong with a pool, counted by check, with the first examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

EXAMPLES = 5
"""Kept of each check; the count goes on."""


class Severity(StrEnum):
    """A pool with a fault is not sound. A note is worth knowing, and normal in pools that were downloaded."""

    FAULT = "fault"
    NOTE = "note"


CHECKS: dict[str, tuple[Severity, str]] = {
    "metadata_damaged": (Severity.FAULT, "metadata file that cannot be read"),
    "column_missing": (Severity.FAULT, "column that a metadata file lacks"),
    "column_damaged": (Severity.FAULT, "column of another type, or that cannot be read"),
    "uid_missing": (Severity.FAULT, "metadata row without a uid"),
    "uid_malformed": (Severity.FAULT, "metadata row whose uid is not 1 to 32 hex digits"),
    "uid_repeated": (Severity.FAULT, "uid on more than one metadata row"),
    "score_out_of_range": (Severity.FAULT, "CLIP score that is no cosine"),
    "score_missing": (Severity.NOTE, "missing CLIP score"),
    "caption_empty": (Severity.NOTE, "metadata row with an empty caption"),
    "size_missing": (Severity.NOTE, "missing width or height, or one that is not positive"),
    "sha256_malformed": (Severity.NOTE, "metadata row without a sha256 of 64 hex digits"),
    "features_damaged": (Severity.FAULT, "feature file or member that cannot be read"),
    "features_misaligned": (Severity.FAULT, "feature member without exactly one row for each metadata row"),
    "features_absent": (Severity.FAULT, "metadata file without features, where others have them"),
    "features_differ": (Severity.FAULT, "feature file with other members or dimensions than the first"),
    "features_alone": (Severity.FAULT, "feature file without its metadata file"),
    "features_deflated": (Severity.NOTE, "feature member stored compressed, so that it is always read whole"),
    "shard_damaged": (Severity.FAULT, "shard that is truncated or corrupt"),
    "shard_empty": (Severity.NOTE, "shard without any sample"),
    "numbers_missing": (Severity.FAULT, "shard number that is missing between others"),
    "index_stale": (Severity.NOTE, "shard that changed since the pool's index was built; it is read instead"),
    "stats_missing": (Severity.FAULT, "shard without a stats file, where others have one"),
    "stats_malformed": (Severity.FAULT, "stats file that says no count"),
    "stats_mismatch": (Severity.FAULT, "shard with another number of samples than its stats file says"),
    "stats_alone": (Severity.FAULT, "stats file without its shard"),
    "log_damaged": (Severity.FAULT, "download log that cannot be read"),
    "log_mismatch": (Severity.FAULT, "shard with another number of samples than its log has successes"),
    "sample_without_json": (Severity.FAULT, "sample without json, so without a uid"),
    "sample_json_malformed": (Severity.FAULT, "sample whose json cannot be read"),
    "sample_without_uid": (Severity.FAULT, "sample whose json has no uid, or a malformed one"),
    "sample_without_image": (Severity.FAULT, "sample without an image"),
    "sample_without_caption": (Severity.FAULT, "sample without a caption (txt)"),
    "sample_repeated": (Severity.FAULT, "uid on more samples than metadata rows"),
    "sample_copies": (Severity.NOTE, "uid on more than one sample, as a resharded subset may have on purpose"),
    "sample_without_row": (Severity.FAULT, "sample whose uid the metadata lack"),
    "sample_lost": (Severity.FAULT, "metadata row without a sample, though no download log says that it failed"),
    "download_failed": (Severity.NOTE, "metadata row without a sample, because its download failed"),
    "row_without_sample": (Severity.NOTE, "metadata row without a sample, in a pool without complete download logs"),
    "original_changed": (Severity.FAULT, "downloaded original with another sha256 than the metadata publish"),
    "image_changed": (Severity.FAULT, "stored image with another sha256 than its json records"),
    "record_mismatch": (Severity.FAULT, "entry of pool.json that the files contradict"),
}
"""Every check, whether it is grave, and what one case of it is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Cases of one check.

    Args:
        check: its name in ``CHECKS``.
        severity: ``fault`` or ``note``.
        meaning: what one case is.
        count: cases.
        examples: the first few: file, or file and row or key, or uid.
    """

    check: str
    severity: Severity
    meaning: str
    count: int
    examples: tuple[str, ...]


@dataclass(slots=True)
class Findings:
    """Cases collected so far, by check."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, check: str, *examples: str, count: int | None = None) -> None:
        """Count cases: as many as there are examples, or ``count`` of which the examples are the first."""
        number = len(examples) if count is None else count
        if number:
            self.counts[check] = self.counts.get(check, 0) + number
            known = self.examples.setdefault(check, [])
            known.extend(examples[: EXAMPLES - len(known)])

    def merge(self, other: Mapping[str, Any]) -> None:
        """Add what ``as_json`` of another one says, after what is here."""
        for check, (count, examples) in other.items():
            self.add(check, *examples, count=count)

    def as_json(self) -> dict[str, Any]:
        """By check: the count and the examples."""
        return {check: [count, self.examples[check]] for check, count in self.counts.items()}

    def as_list(self) -> tuple[Finding, ...]:
        """In the order of ``CHECKS``."""
        return tuple(
            Finding(check, severity, meaning, self.counts[check], tuple(self.examples[check]))
            for check, (severity, meaning) in CHECKS.items()
            if check in self.counts
        )
