"""What a reshard did, as a record."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import competition
from competition.data.shards import SHARD_FORMAT, STATS_FORMAT


@dataclass(frozen=True, slots=True)
class ReshardReport:
    """What a reshard did; also the content of ``meta.json``. The same inputs always give the same report.

    ``output_count + not_found == subset_size + repeated_count``.

    Args:
        processed_count: pool samples that have a uid.
        output_count: samples written, copies included.
        output_shard_count: shards written.
        output_shard_format: their names, from their number.
        output_shard_stats_format: names of their stats files.
        shard_size: samples in every shard but the last.
        subset_size: entries of the subset, copies included.
        subset_sha256: digest of the subset's file.
        not_found: entries of the subset (copies included) whose uid no pool sample has.
        not_found_examples: the first five such uids.
        repeated_count: samples written beyond the subset's entries, because several pool samples share a uid.
        skipped: pool samples that could not be looked up, by reason.
        gaps: (first, last) runs of shard numbers that the pool lacks.
        miscounted_shards: pool shards whose stats file promises another number of samples than the tar has.
        input_digest: sha256 over names and sizes of the pool's shards.
        code_version: of DataCup.
        job_digest: sha256 over version, subset and options: equal jobs on equal pools give equal shards.
        shuffle_seed: of the shuffle, if there was one.
        lost: entries of the subset whose sample is in the pool but has no readable json, as far as that is known.
        unknown: pool samples without uid of which no log of img2dataset beside the shard tells it: they may be among
            those not found, and do not count as lost.
        damaged_shards: what is wrong with pool shards that were used up to their damage.
        damaged_logs: what is wrong with logs of img2dataset that would have told the uids of samples without json.
        foreign: distinct uids of the subset that not even the pool's metadata know, where these lie beside the shards.
        foreign_examples: the first five of them.
        changed_images: images (copies included) that were blurred or encoded anew.
        unchangeable_images: those that were to be, but cannot be decoded or are too large for WebP: copied as they are.
    """

    processed_count: int
    output_count: int
    output_shard_count: int
    shard_size: int
    subset_size: int
    subset_sha256: str
    not_found: int
    not_found_examples: list[str]
    repeated_count: int
    skipped: dict[str, int]
    gaps: list[list[int]]
    miscounted_shards: list[str]
    input_digest: str
    output_shard_format: str = SHARD_FORMAT
    output_shard_stats_format: str = STATS_FORMAT
    code_version: str = competition.__version__
    job_digest: str = ""
    shuffle_seed: int | None = None
    lost: int = 0
    unknown: int = 0
    damaged_shards: list[str] = field(default_factory=list)
    damaged_logs: list[str] = field(default_factory=list)
    foreign: int = 0
    foreign_examples: list[str] = field(default_factory=list)
    changed_images: int = 0
    unchangeable_images: int = 0

    @property
    def faults(self) -> int:
        """What counts against ``tolerate``: damaged shards, entries that are known to be lost, and foreign uids."""
        return len(self.damaged_shards) + self.lost + self.foreign

    def as_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return asdict(self)

    @property
    def warnings(self) -> list[str]:
        """One sentence for everything that a participant should look at; empty when all is as expected."""
        notes: list[str] = []
        if self.not_found:
            examples = ", ".join(self.not_found_examples)
            notes.append(
                f"{self.not_found} of {self.subset_size} uids are not in the pool's shards (first: {examples})."
            )
        if self.foreign:
            examples = ", ".join(self.foreign_examples)
            notes.append(f"{self.foreign} of them are not in the pool's metadata either (first: {examples}).")
        if self.repeated_count:
            notes.append(f"{self.repeated_count} more samples than uids were written: some pool samples share a uid.")
        notes += [f"{count} samples of the pool were skipped: {reason}." for reason, count in self.skipped.items()]
        if self.unknown and self.not_found:
            notes.append(
                f"{self.unknown} of the skipped samples, whose uids no log tells, may be among those not found."
            )
        if self.lost:
            notes.append(f"{self.lost} entries of the subset are lost: their samples have no readable json.")
        notes += _first_of(self.damaged_shards, "shards") + _first_of(self.damaged_logs, "logs")
        if self.unchangeable_images:
            notes.append(
                f"{self.unchangeable_images} images cannot be decoded, or are too large for WebP: copied as they are."
            )
        if self.gaps:
            runs = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in self.gaps[:5])
            notes.append(f"Shard numbers are missing in the pool: {runs}{', ...' if len(self.gaps) > 5 else ''}.")
        if self.miscounted_shards:
            names = ", ".join(self.miscounted_shards[:5])
            notes.append(
                f"{len(self.miscounted_shards)} shards hold another number of samples than their stats: {names}."
            )
        return notes


def _first_of(damage: list[str], what: str) -> list[str]:
    return damage[:5] + [f"{len(damage) - 5} more {what} are damaged."] * (len(damage) > 5)
