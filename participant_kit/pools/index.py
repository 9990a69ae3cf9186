"""The shard index of a pool: ``uid -> shard, offset, length``, so that samples are found without reading the tars.

``index.parquet`` lies beside the shards, one row group a shard, rows in the order of the tar. Its metadata say for
which state of every shard (bytes, time of its last change) it holds; a shard that changed since is read again.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder, storage_errors
from competition.data.engine import Needs, Workers, engine_of
from competition.data.journal import Journal
from competition.data.sample_table import NO_TEXTS, SampleTable, Texts, scan_table
from competition.data.sample_uids import read_uids
from competition.data.shards import Shard, list_shards, scan_samples
from competition.data.tar import Buffer, open_tar
from competition.data.uids import UID_DTYPE, UidArray
from competition.errors import DataFormatError
from competition.progress import ProgressHook

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_NAME = "index.parquet"

_WORK_FOLDER = ".index"
_VERSION = 1
_KEY = b"datacup"
_ROW_DTYPE = np.dtype([("uid", UID_DTYPE), ("start", "<i8"), ("stop", "<i8")])


@dataclass(frozen=True, slots=True)
class IndexedShard:
    """Where the samples of a shard lie.

    Args:
        uids: of the samples that have one, in the order of the tar.
        starts: int64, their first header bytes.
        stops: int64, the bytes behind them.
        rows: int64, their positions among all samples of the tar.
        skipped: samples without a uid, by reason.
        unread: int64 [n, 2], first and last byte of those.
        damage: what is wrong with the tar; the samples before that are here.
    """

    uids: UidArray
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    rows: NDArray[np.int64]
    skipped: Mapping[str, int]
    unread: NDArray[np.int64]
    damage: str | None = None


@dataclass(frozen=True, slots=True)
class PoolIndex:
    """A pool's index as its file describes it: per shard its state, row group, and what has no uid."""

    path: Path
    shards: Mapping[str, Mapping[str, Any]]

    def fresh(self, shard: Shard) -> bool:
        """The index holds for the shard as it is now."""
        known = self.shards.get(shard.name)
        return known is not None and known["state"] == file_state(shard.path)

    def read(self, shard: str) -> IndexedShard:
        """The index of one shard, by its name; only its rows are read."""
        import pyarrow.parquet as pq

        known = self.shards[shard]
        footer = _footer(self.path, *file_state(self.path))
        with (
            storage_errors("reading", self.path),
            pq.ParquetFile(self.path, memory_map=True, metadata=footer) as parquet,
        ):
            table = parquet.read_row_group(known["row_group"], columns=["uid", "offset", "length"])
        uid, offset, length = (_values(table.column(name)) for name in ("uid", "offset", "length"))
        halves = np.frombuffer(uid, dtype=">u8").reshape(-1, 2)
        uids = np.empty(len(halves), dtype=UID_DTYPE)
        uids["f0"], uids["f1"] = halves[:, 0], halves[:, 1]
        starts, lengths = np.frombuffer(offset, dtype="<i8"), np.frombuffer(length, dtype="<i8")
        unread = np.array(known["unread"], dtype=np.int64).reshape(-1, 2)
        rows = np.arange(len(uids))
        return IndexedShard(uids, starts, starts + lengths, rows, known["skipped"], unread, known["damage"])


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What ``build_index`` did: shards and samples in the index, and samples that have no uid, by reason."""

    shards: int
    samples: int
    skipped: dict[str, int]
    gaps: list[list[int]]


def file_state(path: Path) -> list[int]:
    """Changes when a file does: bytes and time of its last change."""
    with storage_errors("reading", path):
        stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


@lru_cache(maxsize=1)
def _footer(path: Path, _bytes: int, _changed: int) -> Any:
    """It describes every shard: reading it again for each would be quadratic in their number."""
    import pyarrow.parquet as pq

    with storage_errors("reading", path):
        return pq.read_metadata(path)


def scan_shard(buffer: Buffer, source: Path) -> tuple[IndexedShard, SampleTable, Texts]:
    """Find all samples of an opened tar and their uids. A damaged tar gives what lies before the damage.

    Returns:
        The samples with their uids; table and texts as ``scan_table`` gives them.
    """
    damage: str | None = None
    try:
        table, texts = scan_table(buffer, source)
    except DataFormatError as error:
        damage = error.message
        table, texts = SampleTable.of(_until_damage(buffer, source)), NO_TEXTS
    found = read_uids(buffer, table, texts)
    unread = np.stack([table.starts[found.unread], table.stops[found.unread]], axis=1)
    indexed = IndexedShard(
        found.uids, table.starts[found.rows], table.stops[found.rows], found.rows, found.skipped, unread, damage
    )
    return indexed, table, texts


def _until_damage(buffer: Buffer, source: Path) -> Any:
    try:
        yield from scan_samples(buffer, source)
    except DataFormatError:
        return


def load_index(directory: Path) -> PoolIndex | None:
    """The index of a pool's shards folder; ``None`` where there is none that this version reads."""
    path = directory / INDEX_NAME
    if not path.exists():
        return None

    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as parquet:
            content = json.loads((parquet.schema_arrow.metadata or {})[_KEY])
    except (KeyError, ValueError, OSError, pa.ArrowException):
        return None
    return PoolIndex(path, content["shards"]) if content.get("version") == _VERSION else None


def build_index(directory: Path, workers: Workers = 1, progress: ProgressHook | None = None) -> IndexReport:
    """Read every shard of a pool once and write ``index.parquet`` beside them. A killed build goes on.

    Raises:
        DataFormatError: there is no shard, or a shard is damaged (named; the work on the others is kept).
        StorageError: the disk is full, or a path cannot be read or written.
    """
    listing = list_shards(directory)
    work = directory / _WORK_FOLDER
    make_folder(work)
    journal = Journal(work / "shards.jsonl", f"index {_VERSION}", synced=False)
    for shard in listing.shards:
        known = journal.completed.get(shard.name)
        if known and (known["state"] != file_state(shard.path) or not (work / f"{shard.name}.npy").exists()):
            journal.forget(shard.name)
    tasks = {shard.name: shard for shard in listing.shards}
    done = engine_of(workers).map(
        partial(_index_shard, work),
        tasks,
        stage="indexing shards",
        needs=Needs(threads=True),
        journal=journal,
        progress=progress,
    )
    write_index(directory / INDEX_NAME, work, done)
    with storage_errors("removing", work):
        shutil.rmtree(work)
    skipped: Counter[str] = Counter()
    for entry in done.values():
        skipped.update(entry["skipped"])
    samples = sum(entry["samples"] for entry in done.values())
    return IndexReport(len(done), samples, dict(sorted(skipped.items())), [list(gap) for gap in listing.gaps])


def _index_shard(work: Path, shard: Shard) -> dict[str, Any]:
    state = file_state(shard.path)
    with open_tar(shard.path) as buffer:
        found, _, _ = scan_shard(buffer, shard.path)
    if found.damage is not None:
        raise DataFormatError(found.damage, hint="Get this shard again; then run the same command.")
    return {"state": state, **save_rows(work / f"{shard.name}.npy", found)}


def save_rows(path: Path, found: IndexedShard) -> dict[str, Any]:
    """Note the samples of a shard in a file of its own; returns the rest of what the index says about it."""
    rows = np.empty(len(found.uids), dtype=_ROW_DTYPE)
    rows["uid"], rows["start"], rows["stop"] = found.uids, found.starts, found.stops
    with atomic_writer(path, synced=False) as stream:
        write_npy(stream, rows)
    unread = found.unread.tolist()
    return {"samples": len(rows), "skipped": dict(found.skipped), "unread": unread, "damage": found.damage}


def write_index(path: Path, work: Path, done: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the index of shards, each with its state and what ``save_rows`` made of it in ``work``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    described = {name: {**entry, "row_group": number} for number, (name, entry) in enumerate(done.items())}
    content = json.dumps({"version": _VERSION, "shards": described}).encode()
    schema = pa.schema(
        {
            "uid": pa.binary(16),
            "shard": pa.string(),
            "offset": pa.int64(),
            "length": pa.int64(),
        },
        metadata={_KEY: content},
    )
    with atomic_writer(path) as stream, pq.ParquetWriter(stream, schema, compression="none") as writer:
        for name in done:
            rows = np.load(work / f"{name}.npy", allow_pickle=False)
            writer.write_table(_table(rows, name, schema), row_group_size=max(1, len(rows)))


def _table(rows: NDArray[np.void], name: str, schema: pa.Schema) -> pa.Table:
    """One shard's rows; an empty shard keeps an empty row group, so that numbers of shards and groups agree.

    Parquet notes the one name of a row group once.
    """
    import pyarrow as pa

    halves = np.empty((len(rows), 2), dtype=">u8")
    halves[:, 0], halves[:, 1] = rows["uid"]["f0"], rows["uid"]["f1"]
    columns = [
        pa.Array.from_buffers(pa.binary(16), len(rows), [None, pa.py_buffer(halves.tobytes())]),
        pa.repeat(name, len(rows)),
        pa.array(rows["start"]),
        pa.array(rows["stop"] - rows["start"]),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _values(column: Any) -> Any:
    """The bytes of a column without nulls, without a detour through pandas."""
    chunk = column.combine_chunks()
    if hasattr(chunk, "chunks"):
        chunk = chunk.chunk(0) if chunk.num_chunks else None
    if chunk is None or not len(chunk):
        return b""
    width = 16 if str(chunk.type).startswith("fixed") else 8
    return memoryview(chunk.buffers()[1])[chunk.offset * width : (chunk.offset + len(chunk)) * width]
