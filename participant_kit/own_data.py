"""Data of a participant's own as they are entered: the tables and shards of some folders, and what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from competition.data.atomic import storage_errors
from competition.data.digests import file_sha256
from competition.errors import UsageError
from competition.records.manifest import FileRole
from competition.rules import EntryData, ExternalLimits, Track
from competition.verification.external_shards import check_shard
from competition.verification.external_table import check_table

FOLDER = "external"
"""Where they lie in an entry."""
_NAME = re.compile(r"[A-Za-z0-9][\w.@+=-]{0,200}", re.ASCII)


@dataclass(frozen=True)
class OwnData:
    """The files of some folders, by their paths in the entry: ``rows`` in all tables, ``samples`` in all shards."""

    tables: dict[str, Path]
    shards: dict[str, Path]
    rows: int
    samples: int

    @classmethod
    def of(cls, folders: Sequence[Path], track: Track, limits: ExternalLimits) -> OwnData:
        """The ``*.tar`` and ``*.parquet`` in some folders, checked as the scorer will, but for the pixels.

        What img2dataset and DataCup write beside a shard (statistics, and a parquet of its downloads) is left out.

        Raises:
            UsageError: the track takes no data of one's own; a folder has none, or a file's name cannot be listed.
            RejectionError: a file is malformed or too large, as the scorer would say.
            StorageError: a folder cannot be read.
        """
        if track.data is not EntryData.OWN:
            raise UsageError(
                f"Track {track.id!r} takes samples of the pool alone.",
                hint="Leave --external-data out, or enter a track for data of your own.",
            )
        tables: dict[str, Path] = {}
        shards: dict[str, Path] = {}
        for number, folder in enumerate(folders):
            inside = FOLDER if len(folders) == 1 else f"{FOLDER}/{number}"
            for path in _files(folder):
                (shards if path.suffix == ".tar" else tables)[f"{inside}/{path.name}"] = path
        rows = samples = 0
        for path in tables.values():
            rows += check_table(path, str(path), limits.samples - rows)
        for path in shards.values():
            samples += check_shard(path, str(path), limits, limits.samples - rows - samples)
        return cls(tables, shards, rows, samples)

    def files(self) -> Iterator[tuple[Path, str, FileRole]]:
        """Each file, its path in the entry, and what it is there."""
        for role, paths in ((FileRole.EXTERNAL_TABLE, self.tables), (FileRole.EXTERNAL_SHARD, self.shards)):
            for name, path in paths.items():
                yield path, name, role

    def content(self) -> dict[str, str]:
        """The sha256 of every file by its path in the entry."""
        return {name: file_sha256(path) for path, name, _ in self.files()}


def _files(folder: Path) -> list[Path]:
    """The shards and tables of one folder."""
    with storage_errors("listing", folder):
        files = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    logged = {path.stem for path in files if path.suffix == ".tar"}
    found = [path for path in files if path.suffix == ".tar" or (path.suffix == ".parquet" and path.stem not in logged)]
    if not found:
        raise UsageError(f"{folder} holds no shard (*.tar) and no table (*.parquet).")
    for path in found:
        if not _NAME.fullmatch(path.name):
            raise UsageError(f"The name of {path} cannot be listed.", hint="Use ASCII letters, digits, . _ and -.")
    return found
