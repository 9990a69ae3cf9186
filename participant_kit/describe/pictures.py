"""Grids of a dataset's pictures, found in its shards; few shards are read, and all thumbnails together are small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from competition.data.shards import Shard
from competition.data.tar import open_tar
from competition.data.uids import UidArray, load_subset, uids_to_hex
from competition.progress import Progress, ProgressHook
from participant_kit.subsets.draw import lots
from participant_kit.subsets.gallery import Example, example, readable_samples
from participant_kit.subsets.stream import count_in_file

PURPOSE = 8
RANDOM = 24
MOST_BYTES = 3 * 2**20
"""Of all thumbnails of a page together."""

SIDE = 144
_SHARDS_TO_SEE = 4


class Cell(NamedTuple):
    """A picture of a grid: which sample, and what is said of it."""

    uid: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """Pictures that belong together."""

    key: str
    title: str
    cells: list[Cell]


@dataclass(slots=True)
class Pictures:
    """What was found.

    Args:
        shards: that there are.
        read: shards that were read, in an order drawn from the seed.
        damaged: of these, those that end in damage.
        random: samples drawn by lot from the first shards.
        found: examples by uid.
        left_out: thumbnails that would have been too many bytes.
    """

    shards: int
    read: int = 0
    damaged: int = 0
    random: list[str] = field(default_factory=list)
    found: dict[str, Example] = field(default_factory=dict)
    left_out: int = 0

    @property
    def undecodable(self) -> int:
        """Samples whose picture cannot be shown: they have none, or a damaged one."""
        return sum(sample.thumbnail is None for sample in self.found.values()) - self.left_out

    def as_json(self, grids: Sequence[Grid]) -> dict[str, Any]:
        """For machines: no pictures, but which they are."""
        cells = {cell.uid for grid in grids for cell in grid.cells}
        return {
            "shards": self.shards,
            "shards_read": self.read,
            "shards_damaged": self.damaged,
            "samples_wanted": len(cells),
            "samples_not_found": len(cells - set(self.found)),
            "undecodable": self.undecodable,
            "left_out": self.left_out,
            "grids": {grid.key: [cell._asdict() for cell in grid.cells] for grid in grids},
        }


def find_pictures(
    shards: Sequence[Shard],
    selection: Path | None,
    wanted: Sequence[str],
    most_shards: int,
    seed: int,
    progress: ProgressHook | None = None,
) -> Pictures:
    """Draw some samples, and look for others.

    Args:
        shards: to look in, in an order drawn from the seed.
        selection: sorted uids that samples are drawn from; any sample when absent.
        wanted: uids to look for, in the order in which thumbnails are kept when they are too many bytes.
        most_shards: how many shards are read at most.
        seed: not negative.
        progress: told after every shard.

    Raises:
        StorageError: a file cannot be read.
    """
    pictures = Pictures(len(shards))
    chosen = None if selection is None else load_subset(selection, require_sorted=False)
    share = -(-RANDOM // min(_SHARDS_TO_SEE, len(shards)))
    order = np.random.default_rng(seed).permutation(len(shards))[:most_shards]
    missing = set(wanted)
    for position in order.tolist():
        room = min(share, RANDOM - len(pictures.random))
        if not missing and room <= 0:
            break
        _look(shards[position], chosen, missing, pictures, room, seed)
        pictures.read += 1
        if progress is not None:
            progress(Progress("finding pictures", pictures.read, len(order), 0, shards[position].name))
    _cut(pictures, wanted)
    return pictures


def _look(
    shard: Shard, selection: UidArray | None, missing: set[str], pictures: Pictures, room: int, seed: int
) -> None:
    """Examples of a shard: of ``room`` samples by lot, and of those that are missing, which are then found."""
    with open_tar(shard.path) as buffer:
        spans, uids, _, damaged = readable_samples(buffer, shard)
        pictures.damaged += damaged
        names = uids_to_hex(uids)
        inside = np.ones(len(uids), bool) if selection is None else count_in_file(uids, selection) > 0
        drawn = np.argsort(lots(uids, seed, PURPOSE), kind="stable") if len(uids) else np.zeros(0, np.int64)
        picked = [names[row] for row in drawn[inside[drawn]].tolist() if names[row] not in pictures.random]
        picked = list(dict.fromkeys(picked))[: max(0, room)]
        pictures.random += picked
        now = missing.union(picked) - set(pictures.found)
        for row, name in enumerate(names):
            if name in now and name not in pictures.found:
                pictures.found[name] = example(uids[row : row + 1], buffer, spans[row], SIDE)
        missing.difference_update(pictures.found)


def _cut(pictures: Pictures, wanted: Sequence[str]) -> None:
    """Keep thumbnails up to ``MOST_BYTES`` together, each counted as often as it is shown."""
    used = 0
    for name, shown in Counter([*pictures.random, *wanted]).items():  # in the order in which they come first
        sample = pictures.found.get(name)
        if sample is None or sample.thumbnail is None:
            continue
        size = shown * len(sample.thumbnail)
        if used + size <= MOST_BYTES:
            used += size
        else:
            pictures.found[name] = Example(sample.uid, sample.caption, None)
            pictures.left_out += 1
