"""Pools and outputs behind URLs (whatever fsspec reaches), by way of this machine's disk.

Of a remote pool only the selected samples are kept here: each shard becomes a sparse file that holds their bytes at
their places, beside an index that says where they are. With the pool's own ``index.parquet`` nothing else is fetched;
without it every shard is fetched once. A remote output is written here as a whole and then sent, ``meta.json`` last.
The scratch folder (in ``TMPDIR``) is named after the job, so a killed run goes on; it is removed at the end. On a
cluster of several nodes it must lie on storage that all of them share.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import atomic_writer, make_folder, storage_errors
from competition.data.digests import file_sha256
from competition.data.engine import Engine, Needs, Workers, engine_of
from competition.data.journal import Journal
from competition.data.lock import folder_lock
from competition.data.shards import Shard, ShardListing, list_shards
from competition.data.tar import open_tar
from competition.data.uids import load_subset
from competition.errors import DataFormatError, EngineError, StorageError, UsageError
from competition.progress import ProgressHook
from participant_kit.pools.index import (
    INDEX_NAME,
    IndexedShard,
    PoolIndex,
    file_state,
    load_index,
    save_rows,
    scan_shard,
    write_index,
)
from participant_kit.reshard.faults import refuse_faults
from participant_kit.reshard.finished import Finished, PoolState
from participant_kit.reshard.options import DEFAULTS, Options
from participant_kit.reshard.output import MANIFEST, META, SAMPLE_IDS, SIZES
from participant_kit.reshard.report import ReshardReport
from participant_kit.reshard.run import chosen_shards, reshard
from participant_kit.reshard.selection import count_copies

_GAP = 1 << 16
"""Bytes between two samples that are fetched along, since another request would take longer."""

_REQUEST = 64
_VERSIONS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "updated", "created")
"""What file systems say of a file that changes with its content."""


def reshard_anywhere(
    source: str,
    target: str,
    subset: str,
    workers: Workers = 1,
    shard_size: int = 10_000,
    progress: ProgressHook | None = None,
    options: Options = DEFAULTS,
) -> ReshardReport:
    """``reshard`` where pool and output may be URLs, for instance ``s3://bucket/pool/shards`` or ``memory://pool``.

    Raises:
        UsageError: a protocol is unknown or its package is missing, the output holds something else, or another process
            does the same.
        StorageError: something remote cannot be read or written.
        DataFormatError, EngineError: as ``reshard``.
    """
    input_dir, output_dir, subset_path = _local(source), _local(target), Path(subset)
    if input_dir is not None and output_dir is not None:
        return reshard(input_dir, output_dir, subset_path, workers, shard_size, progress, options)
    digest = options.digest(file_sha256(load_path(subset_path)), shard_size)
    job = json.dumps([source, target, digest])
    scratch = Path(tempfile.gettempdir()) / f"datacup-reshard-{hashlib.sha256(job.encode()).hexdigest()[:16]}"
    engine = engine_of(workers)
    pool = None if input_dir is not None else _RemotePool.open(source)
    remote_output = None if output_dir is not None else _open(target)
    replaced: list[str] = []
    if remote_output is not None:
        found, replaced = remote_output.find(scratch / "out", digest, _state(pool, input_dir or Path(source), options))
        if found is not None:
            refuse_faults(found, options.tolerate, subset_path)
            return found
    make_folder(scratch)
    with _scratch_named(scratch), folder_lock(scratch, "runs the same reshard", "TMPDIR"):
        if pool is not None:
            input_dir = scratch / "pool"
            _fetch(pool, input_dir, subset_path, engine, progress)
        shards, out = input_dir or Path(source), output_dir or scratch / "out"
        report = reshard(shards, out, subset_path, workers, shard_size, progress, options)
        if remote_output is not None:
            remote_output.remove(replaced)
            remote_output.send(out, engine, progress)
        shutil.rmtree(scratch, ignore_errors=True)
    return report


@contextmanager
def _scratch_named(scratch: Path) -> Iterator[None]:
    """Say of an error in the scratch folder, which nobody asked for, what it is and how it is put elsewhere."""
    try:
        yield
    except (StorageError, EngineError) as error:
        if str(scratch) not in error.message:
            raise
        advice = "That folder is scratch space on the way from or to the URL: TMPDIR says where it is made."
        raise type(error)(error.message, hint=f"{error.hint} {advice}".strip()) from error


def _state(pool: _RemotePool | None, input_dir: Path, options: Options) -> PoolState:
    """The state of the shards that are used, of a remote pool or of a folder."""
    listing = list_shards(input_dir) if pool is None else pool.listing()
    shards = chosen_shards(listing, options).shards
    return PoolState.of({each.name: pool.states[each.name] if pool else file_state(each.path) for each in shards})


def load_path(path: Path) -> Path:
    """The path of a file that must be there."""
    with storage_errors("reading", path):
        path.stat()
    return path


def _local(place: str) -> Path | None:
    """The folder that a path or a ``file://`` URL names; ``None`` for another URL."""
    protocol, separator, rest = place.partition("://")
    if not separator:
        return Path(place)
    return Path(rest) if protocol in {"file", "local"} else None


@contextmanager
def _remote_errors(action: str, place: str) -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise StorageError(
            f"{str(error) or type(error).__name__} while {action} {place}.",
            hint="Run the same command again: it goes on.",
        ) from error


def _open(url: str) -> _Remote:
    import fsspec  # type: ignore[import-untyped]

    try:
        system, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UsageError(f"The URL {url} cannot be opened: {error}.") from error
    return _Remote(system, root.rstrip("/"), url)


@dataclass(frozen=True, slots=True)
class _Remote:
    """A folder behind a URL."""

    system: Any
    root: str
    url: str

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def states(self) -> dict[str, list[int]]:
        """Bytes and version of every file, by name; empty where there is no such folder."""
        with _remote_errors("listing", self.url):
            try:
                self.system.invalidate_cache()
                entries = self.system.ls(self.root, detail=True)
            except FileNotFoundError:
                return {}
        files = [entry for entry in entries if entry["type"] == "file"]
        return {entry["name"].rpartition("/")[2]: [entry["size"], _version(entry)] for entry in files}

    def read(self, name: str) -> bytes:
        """A small file's content; empty where it is absent."""
        with _remote_errors("reading", f"{self.url}/{name}"):
            try:
                content: bytes = self.system.cat_file(self.path(name))
            except FileNotFoundError:
                return b""
        return content

    def get(self, name: str, path: Path) -> None:
        """Fetch a file; it appears whole."""
        with atomic_writer(path, synced=False) as stream, _remote_errors("reading", f"{self.url}/{name}"):
            self.system.get_file(self.path(name), stream.name)

    def find(self, folder: Path, digest: str, pool: PoolState) -> tuple[ReshardReport | None, list[str]]:
        """The report of a finished run of the job for the pool as it is; else the files there that a new one replaces.

        Raises:
            UsageError: something else lies there than such a run, or an unfinished one, whose files are in ``folder``.
        """
        present = {name: state[0] for name, state in self.states().items()}
        ours = {path.name for path in folder.glob("*")} if (folder / META).exists() else set()
        replaced: list[str] = []
        finished = Finished.read(self.read(META), self.read(MANIFEST), digest) if META in present else None
        if finished is not None:
            whole = all(present.get(name) == size for name, size in finished.sizes.items())
            if whole and finished.of(pool):
                return finished.report, []
            if finished.faulty or finished.of(pool):
                stats = [f"{name.removesuffix('.tar')}_stats.json" for name in finished.sizes]
                replaced = [
                    name for name in (*finished.sizes, *stats, SIZES, SAMPLE_IDS, MANIFEST, META) if name in present
                ]
        if not set(present) <= ours | set(replaced):
            raise UsageError(
                f"The output {self.url} is not empty.",
                hint="Choose another place. A finished reshard of a pool that has changed since must be removed first.",
            )
        return None, replaced

    def remove(self, names: list[str]) -> None:
        """Remove files one by one, in order."""
        for name in names:
            with _remote_errors("removing", f"{self.url}/{name}"):
                self.system.rm_file(self.path(name))

    def send(self, folder: Path, engine: Engine, progress: ProgressHook | None) -> None:
        """Copy the files of a finished output there, ``meta.json`` last."""
        files = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
        paths = {path.name: path for path in files if path.name != META}
        with _remote_errors("writing", self.url):
            self.system.makedirs(self.root, exist_ok=True)
        present = self.states()
        left = {name: path for name, path in paths.items() if present.get(name, [-1])[0] != path.stat().st_size}
        engine.map(self._put, left, stage="sending shards", needs=Needs(threads=True), progress=progress)
        self._put(folder / META)

    def _put(self, path: Path) -> int:
        with _remote_errors("writing", f"{self.url}/{path.name}"):
            self.system.put_file(str(path), self.path(path.name))
            sent: int = self.system.info(self.path(path.name))["size"]
        if sent != path.stat().st_size:
            raise StorageError(f"Only {sent} bytes of {self.url}/{path.name} arrived.", hint="Run the command again.")
        return sent


def _version(entry: Mapping[str, Any]) -> int:
    """Stands for a remote file's version as the time of the last change of its copy: whole seconds, in nanoseconds."""
    said = json.dumps([str(entry.get(key)) for key in _VERSIONS])
    return int(hashlib.sha256(said.encode()).hexdigest()[:7], 16) * 10**9


@dataclass(frozen=True, slots=True)
class _RemotePool:
    """The shards of a pool behind a URL, and the other files beside them, with their states."""

    folder: _Remote
    states: Mapping[str, list[int]]

    @classmethod
    def open(cls, url: str) -> _RemotePool:
        """Raises ``DataFormatError`` when no shard is there."""
        folder = _open(url)
        pool = cls(folder, folder.states())
        if not pool.names:
            raise DataFormatError(f"{url} holds no shard (*.tar).", hint="Point to the `shards` folder of a pool.")
        return pool

    @property
    def names(self) -> list[str]:
        """Of the shards, in order."""
        return sorted(name for name in self.states if name.endswith(".tar") and not name.startswith("."))

    def listing(self) -> ShardListing:
        """The shards as ``list_shards`` lists those of a folder; gaps are not looked for."""
        stems = [name.removesuffix(".tar") for name in self.names]
        numbers = [int(stem) if stem.isascii() and stem.isdigit() else None for stem in stems]
        shards = (Shard(Path(name), number) for name, number in zip(self.names, numbers, strict=True))
        return ShardListing(Path(self.folder.url), tuple(shards), ())


def _fetch(pool: _RemotePool, folder: Path, subset: Path, engine: Engine, progress: ProgressHook | None) -> None:
    """Make ``folder`` a pool that has the selected samples of a remote one, each at its place, and their index."""
    states = pool.states
    make_folder(folder / "rows")
    work = folder / "rows"
    journal = Journal(work / "fetched.jsonl", file_sha256(subset), synced=False)
    for name in journal.completed:
        path = folder / name
        if not path.exists() or states.get(name) != file_state(path):
            journal.forget(name)
    if len(journal.completed) < len(pool.names) and INDEX_NAME in states:
        make_folder(folder / "given")
        pool.folder.get(INDEX_NAME, folder / "given" / INDEX_NAME)
    index = load_index(folder / "given")
    tasks = {name: (name, states[name]) for name in pool.names}
    fetch = partial(_fetch_shard, pool.folder, folder, subset, index, frozenset(states))
    done = engine.map(
        fetch, tasks, stage="fetching shards", needs=Needs(threads=True), journal=journal, progress=progress
    )
    for path in folder.glob("*.tar"):
        if path.name not in done:  # of an earlier state of the pool
            path.unlink()
    write_index(folder / INDEX_NAME, work, done)


def _fetch_shard(
    remote: _Remote,
    folder: Path,
    subset: Path,
    index: PoolIndex | None,
    present: frozenset[str],
    task: tuple[str, list[int]],
) -> dict[str, Any]:
    name, (size, version) = task
    path, stem = folder / name, name.removesuffix(".tar")
    if f"{stem}_stats.json" in present:
        remote.get(f"{stem}_stats.json", folder / f"{stem}_stats.json")
    uids = load_subset(subset, require_sorted=False)
    known = index is not None and name in index.shards and index.shards[name]["state"][0] == size
    if index is not None and known:
        found = index.read(name)
        spans = _spans(found, count_copies(found.uids, uids) > 0)
        with atomic_writer(path, synced=False) as stream:
            for position, content in _requested(remote, name, spans):
                stream.seek(position)
                stream.write(content)
            stream.truncate(size)
    else:
        found = _fetch_whole(remote, name, path, uids)
    if len(found.unread) and f"{stem}.parquet" in present:
        remote.get(f"{stem}.parquet", folder / f"{stem}.parquet")
    with storage_errors("writing", path):
        os.utime(path, ns=(version, version))
    return {"state": file_state(path), **save_rows(folder / "rows" / f"{name}.npy", found)}


def _fetch_whole(remote: _Remote, name: str, path: Path, uids: NDArray[np.void]) -> IndexedShard:
    """Fetch a shard, keep what is selected."""
    whole = path.with_suffix(".whole")
    remote.get(name, whole)
    with open_tar(whole) as buffer, atomic_writer(path, synced=False) as stream:
        found, _, _ = scan_shard(buffer, whole)
        for start, stop in _spans(found, count_copies(found.uids, uids) > 0):
            stream.seek(start)
            stream.write(buffer[start:stop])
        stream.truncate(len(buffer))
    whole.unlink()
    damage = None if found.damage is None else found.damage.replace(str(whole), f"{remote.url}/{name}")
    return replace(found, damage=damage)


def _spans(found: IndexedShard, wanted: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Byte ranges of the wanted samples and of those without uid, in order; near ones are one range."""
    pairs = np.concatenate([np.stack([found.starts[wanted], found.stops[wanted]], axis=1), found.unread])
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(pairs.tolist()):
        if merged and start - merged[-1][1] <= _GAP:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _requested(remote: _Remote, name: str, spans: list[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """The content of byte ranges, some requests at a time."""
    for first in range(0, len(spans), _REQUEST):
        starts, stops = map(list, zip(*spans[first : first + _REQUEST], strict=True))
        with _remote_errors("reading", f"{remote.url}/{name}"):
            contents = remote.system.cat_ranges([remote.path(name)] * len(starts), starts, stops, on_error="raise")
        yield from zip(starts, contents, strict=True)
