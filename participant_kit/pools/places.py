"""Where the parts of a pool lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from competition.errors import UsageError

METADATA_FOLDER = "metadata"
SHARDS_FOLDER = "shards"


def refuse_foreign_shards(shards: Path, begun: Path, ours: Callable[[Path], bool] = lambda _: False) -> None:
    """Keep the shards of something else: those that would be made here have the same names, and replace them.

    Args:
        shards: the folder of shards; it may be absent.
        begun: a file that is there before the first shard of one's own.
        ours: tells a tar that was made here although that file is gone.

    Raises:
        UsageError: there are other shards already.
    """
    if not begun.exists() and not all(map(ours, shards.glob("[!.]*.tar"))):
        raise UsageError(
            f"{shards} holds shards that this command did not make, and would overwrite.",
            hint="Choose another --output-dir.",
        )


@dataclass(frozen=True, slots=True)
class PoolPlaces:
    """Folders of a pool.

    Args:
        root: what is about the pool as a whole lies here.
        metadata: ``None`` for a pool without metadata.
        shards: ``None`` for a pool of which only the metadata are here.
    """

    root: Path
    metadata: Path | None
    shards: Path | None

    @classmethod
    def find(cls, pool: Path | None, metadata_dir: Path | None = None, shards_dir: Path | None = None) -> PoolPlaces:
        """The folders of a pool in DataComp's layout, or those that are named.

        Raises:
            UsageError: both or neither are given, or the pool has neither folder.
        """
        given = metadata_dir or shards_dir
        if (pool is None) == (given is None):
            raise UsageError(
                "Name the pool's folder, or its parts with --metadata-dir and --shards-dir.",
                hint="A pool's folder holds `metadata`, `shards` or both.",
            )
        if pool is None and given is not None:
            return cls(given, metadata_dir, shards_dir)
        root = pool or Path()
        metadata, shards = root / METADATA_FOLDER, root / SHARDS_FOLDER
        if not metadata.is_dir() and not shards.is_dir():
            raise UsageError(
                f"{root} holds neither a `metadata` nor a `shards` folder.",
                hint="Name its parts with --metadata-dir and --shards-dir.",
            )
        return cls(root, metadata if metadata.is_dir() else None, shards if shards.is_dir() else None)
