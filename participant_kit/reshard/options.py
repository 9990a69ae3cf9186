"""What a reshard may do beside copying the subset in the order of the pool."""

from __future__ import annotations

from dataclasses import dataclass

import competition
from competition.errors import UsageError
from participant_kit.reshard.images import ImageChange
from participant_kit.reshard.passes import digest_of


@dataclass(frozen=True, slots=True)
class Options:
    """The rarer choices.

    Args:
        first_shard: number of the first pool shard that is used.
        num_shards: how many shard numbers from there on are used; ``None``: all.
        shuffle_seed: shuffle all samples with this seed; ``None``: keep the pool's order.
        tolerate: how many faults (damaged shards, entries whose sample has no readable json, uids that are foreign to
            the pool) are only reported.
        change: what happens to images; ``None``: nothing.
        digests: note every output shard's BLAKE3 in the manifest.
        overwrite: first remove what an earlier reshard left in the output folder.
    """

    first_shard: int = 0
    num_shards: int | None = None
    shuffle_seed: int | None = None
    tolerate: int = 0
    change: ImageChange | None = None
    digests: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.first_shard < 0 or (self.num_shards is not None and self.num_shards < 1):
            raise UsageError("The first shard must be at least 0 and the number of shards at least 1.")
        if self.tolerate < 0:
            raise UsageError(f"The number of tolerated faults is {self.tolerate}; it must be at least 0.")
        if self.change is not None and not 1 <= self.change.quality <= 100:
            raise UsageError(f"The quality of images is {self.change.quality}; it must be between 1 and 100.")

    def digest(self, subset_sha256: str, shard_size: int) -> str:
        """Names the job: equal digests on equal pools give equal shards."""
        change = None if self.change is None else [self.change.blur, self.change.quality]
        digests = "blake3" if self.digests else None
        chosen = [shard_size, self.first_shard, self.num_shards, self.shuffle_seed, digests, change]
        return digest_of([competition.__version__, subset_sha256, *chosen])


DEFAULTS = Options()
