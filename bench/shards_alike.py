"""Do two shard folders hold the same samples, wherever each of them lies?"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from competition.data.shards import list_shards, read_samples


def shards_alike(first: Path, second: Path) -> bool:
    """Equal multisets of samples: each sample by its uid (the key up to its last dash) and the bytes of its members."""
    return _samples(first) == _samples(second)


def _samples(folder: Path) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for shard in list_shards(folder).shards:
        for sample in read_samples(shard.path):
            digest = hashlib.sha256()
            for extension, payload in sorted(sample.members.items()):
                digest.update(f"{extension} {len(payload)} ".encode() + payload)
            found[sample.key.rpartition("-")[0], digest.hexdigest()] += 1
    return found
