"""What it is that is described: a pool, a subset of one, a folder of shards, or a labelled dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from competition.data.atomic import storage_errors
from competition.data.digests import file_sha256
from competition.data.metadata import list_metadata
from competition.data.shards import Shard, list_shards
from competition.data.uids import load_subset
from competition.errors import DataFormatError, UsageError
from participant_kit.pools.places import METADATA_FOLDER, SHARDS_FOLDER

_MOST_RECORD_BYTES = 256 * 2**20
_HINT = (
    "Name a pool's folder, a pool's folder with --subset, a folder of shards as `datacup reshard` makes it, "
    "or a table that `datacup label` made."
)


class Kind(StrEnum):
    """Of a dataset."""

    POOL = "pool"
    SUBSET = "subset"
    SHARDS = "shards"
    LABELLED = "labelled"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Where the parts of a dataset are.

    Args:
        kind: what it is.
        name: for people.
        said: the same as a sentence.
        metadata: parquet files of the pool that it is of; none where there is no pool.
        shards: tars in which its pictures are.
        subset: sorted uids that it has.
        table: of labels.
        record: of the table.
        words: that name it on a command line, with names of files alone.
    """

    kind: Kind
    name: str
    said: str
    metadata: tuple[Path, ...] = ()
    shards: tuple[Shard, ...] = ()
    subset: Path | None = None
    table: Path | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Places:
    """What a person names beside the dataset itself."""

    subset: Path | None = None
    pool: Path | None = None
    shards: Path | None = None


def find_dataset(path: Path, places: Places) -> Dataset:
    """Say what a path is.

    Args:
        path: a pool's folder, a folder of shards, or a labelled table.
        places: a subset of the pool; the pool that shards or a table are of; a folder of shards in place of the pool's.

    Raises:
        UsageError: it is none of these, or something beside it does not fit it.
        DataFormatError: a subset or a record is damaged, or is of another file.
        StorageError: it cannot be read.
    """
    found = _found(path, places)
    words = [_name(path)]
    for flag, given in (("--subset", places.subset), ("--pool", places.pool), ("--shards", places.shards)):
        words += [flag, _name(given)] if given is not None else []
    return replace(found, words=tuple(words))


def _found(path: Path, places: Places) -> Dataset:
    if path.suffix == ".npy" and path.is_file():
        raise UsageError(f"{path} is a subset.", hint=f"Name its pool, and the subset with --subset {path}.")
    if path.suffix == ".parquet" and path.is_file():
        return _labelled(path, places)
    if not path.is_dir():
        raise UsageError(f"There is no dataset {path}.", hint=_HINT)
    if (path / METADATA_FOLDER).is_dir():
        return _pool(path, places)
    folder = path / SHARDS_FOLDER if (path / SHARDS_FOLDER).is_dir() else path
    if not any(folder.glob("[!.]*.tar")):
        pool = (
            f"It looks like the metadata folder of {path.parent}: name that." if any(path.glob("*.parquet")) else _HINT
        )
        raise UsageError(f"{path} is neither a pool, nor a folder of shards, nor a labelled dataset.", hint=pool)
    return _shards(folder, places)


def _pool(path: Path, places: Places) -> Dataset:
    if places.pool is not None:
        raise UsageError(f"{path} is a pool itself.", hint="Leave --pool out.")
    files, shards = tuple(list_metadata(path / METADATA_FOLDER)), _tars(places.shards or path / SHARDS_FOLDER, places)
    name = _name(path)
    if places.subset is None:
        return Dataset(Kind.POOL, name, f"All rows of the pool {name}.", files, shards)
    load_subset(places.subset)
    subset = places.subset.name
    said = f"The subset {subset} of the pool {name}."
    return Dataset(Kind.SUBSET, f"{subset} of {name}", said, files, shards, places.subset)


def _shards(folder: Path, places: Places) -> Dataset:
    _refuse_subset(folder, "a folder of shards", places)
    if places.shards is not None:
        raise UsageError(f"{folder} is a folder of shards itself.", hint="Leave --shards out.")
    name = _name(folder)
    shards = list_shards(folder).shards
    if places.pool is None:
        said = f"All samples of the shards of {name}, as their json says."
        return Dataset(Kind.SHARDS, name, said, (), shards)
    said = f"The samples of the shards of {name}, as the metadata of the pool {_name(places.pool)} describe them."
    return Dataset(Kind.SHARDS, name, said, _metadata(places.pool), shards)


def _labelled(table: Path, places: Places) -> Dataset:
    _refuse_subset(table, "a labelled dataset", places)
    record = _record(table)
    files = () if places.pool is None else _metadata(places.pool)
    folder = places.shards or (places.pool / SHARDS_FOLDER if places.pool else None)
    said = f"The labelled dataset {table.name}, made by {record.get('strategy', 'an unknown strategy')}."
    return Dataset(Kind.LABELLED, table.name, said, files, _tars(folder, places), None, table, record)


def _record(table: Path) -> dict[str, Any]:
    """What `datacup label` wrote beside the table."""
    path = table.with_name(f"{table.name}.json")
    if not path.is_file():
        raise UsageError(
            f"{table} is no labelled dataset: the record {path.name} is not beside it.",
            hint="`datacup label` writes it; of a pool, name the folder.",
        )
    with storage_errors("reading", path):
        content = path.read_bytes() if path.stat().st_size <= _MOST_RECORD_BYTES else b""
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        record = None
    counts = record.get("per_class") if isinstance(record, dict) else None
    if (
        not isinstance(counts, dict)
        or not counts
        or not all(isinstance(count, int) and count >= 0 for count in counts.values())
    ):
        raise DataFormatError(f"{path} is not the record of a labelled dataset.", hint="Label again.")
    with storage_errors("reading", table):
        if record.get("table_sha256") != file_sha256(table):
            raise DataFormatError(f"{path} is the record of another table than {table.name}.", hint="Label again.")
    found: dict[str, Any] = record
    return found


def _metadata(pool: Path) -> tuple[Path, ...]:
    if not (pool / METADATA_FOLDER).is_dir():
        raise UsageError(f"--pool {pool} has no folder `{METADATA_FOLDER}`.", hint="Name the pool's own folder.")
    return tuple(list_metadata(pool / METADATA_FOLDER))


def _tars(folder: Path | None, places: Places) -> tuple[Shard, ...]:
    """The shards of a folder that was named, or of the one that a pool may have."""
    if folder is None or (places.shards is None and not any(folder.glob("[!.]*.tar"))):
        return ()
    return list_shards(folder).shards


def _refuse_subset(path: Path, what: str, places: Places) -> None:
    if places.subset is not None:
        raise UsageError(f"{path} is {what}, of which there is no --subset.", hint="Name the subset's pool instead.")


def _name(path: Path) -> str:
    return path.resolve().name
