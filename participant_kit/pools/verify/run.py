"""Verifying a pool as a whole: every file by itself, then the sides against each other."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from competition.data.atomic import make_folder, storage_errors
from competition.data.engine import Engine, Needs, Workers, engine_of
from competition.data.journal import Journal
from competition.data.metadata import features_path, list_metadata, pool_uids
from competition.data.shards import Shard, ShardListing, list_shards
from competition.errors import DataFormatError, UsageError
from competition.progress import ProgressHook
from participant_kit.pools.index import load_index
from participant_kit.pools.places import PoolPlaces
from participant_kit.pools.verify import metadata_files, shard_files
from participant_kit.pools.verify.findings import Finding, Findings, Severity
from participant_kit.pools.verify.identities import Sides, compare_range, uid_ranges

T = TypeVar("T")
Entries = Mapping[str, Mapping[str, Any]]
"""What is known of every file, by name."""

_VERSION = 1
_WORK_FOLDER = ".verify"
RECORD_NAME = "pool.json"
_THREADS_BELOW = 1 << 30
"""Bytes up to which threads do the work: a process costs more start-up than it would save."""


@dataclass(frozen=True, slots=True)
class ImageDigests:
    """Stored images held against the sha256 in their json.

    Args:
        published: images with a sha256 in their json; it is of the original as downloaded.
        compared: of these, images that were hashed because they may be the original's bytes.
        equal: of these, images that are.
        encoded_again: no image is: they were all encoded again, so that their digests say nothing about them.
    """

    published: int
    compared: int
    equal: int
    encoded_again: bool


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a pool holds and what is wrong with it.

    Args:
        metadata_files: looked at.
        rows: theirs.
        feature_files: npz files looked at.
        shards: looked at.
        samples: theirs; of a damaged shard those before the damage.
        images: stored images held against published digests.
        findings: what was found, by check; see ``findings.CHECKS``.
        deep: whether features were read through and all images hashed.
    """

    metadata_files: int
    rows: int
    feature_files: int
    shards: int
    samples: int
    images: ImageDigests
    findings: tuple[Finding, ...] = field(default=())
    deep: bool = False

    @property
    def sound(self) -> bool:
        """There is no fault; there may be notes."""
        return all(finding.severity is not Severity.FAULT for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"sound": self.sound, **asdict(self)}


def verify_pool(
    places: PoolPlaces,
    workers: Workers = 1,
    *,
    deep: bool = False,
    work_dir: Path | None = None,
    progress: ProgressHook | None = None,
) -> VerifyReport:
    """Look at every file of a pool, and at whether they are about the same samples. Nothing of the pool is changed.

    A killed run goes on where it stopped: what is known of each file waits in ``work_dir``, and holds as long as the
    file is not changed. Memory is bounded by the largest column of a metadata file, the json of a shard, and one range
    of uids (see ``identities``).

    Args:
        places: folders of metadata, of shards, or both.
        workers: how many tasks at a time on this machine, or an engine.
        deep: also read all features and compare their checksums, and hash all images that were not resized.
        work_dir: removed at the end; ``.verify`` in the pool when absent.
        progress: told after every file.

    Raises:
        UsageError: neither folder is given.
        DataFormatError: a folder holds no file of its kind.
        StorageError: a folder cannot be listed, or ``work_dir`` not written.
        EngineError: a worker died on every attempt.
    """
    if places.metadata is None and places.shards is None:
        raise UsageError("There is nothing to verify: neither a metadata nor a shard folder is given.")
    work = work_dir or places.root / _WORK_FOLDER
    make_folder(work)
    run = _Run(places, work, deep, engine_of(workers), progress)
    findings = Findings()
    metadata = run.metadata(findings)
    shards = run.shards(findings)
    run.compare(metadata, shards, findings)
    images = _images(shards, findings)
    _check_record(places, shards, findings)
    with storage_errors("removing", work):
        shutil.rmtree(work)
    return VerifyReport(
        metadata_files=len(metadata),
        rows=sum(entry["rows"] for entry in metadata.values()),
        feature_files=sum(entry["features"] is not None for entry in metadata.values()),
        shards=len(shards),
        samples=sum(entry["samples"] for entry in shards.values()),
        images=images,
        findings=findings.as_list(),
        deep=deep,
    )


@dataclass(frozen=True, slots=True)
class _Run:
    places: PoolPlaces
    work: Path
    deep: bool
    engine: Engine
    progress: ProgressHook | None

    def metadata(self, findings: Findings) -> Entries:
        """What is known of every metadata file, by name."""
        folder = self.places.metadata
        if folder is None:
            return {}
        files = {path.name: path for path in list_metadata(folder)}
        done = self._map(
            "metadata",
            partial(_metadata_task, self.work, self.deep),
            files,
            {name: metadata_files.states(path) for name, path in files.items()},
        )
        for entry in done.values():
            findings.merge(entry["findings"])
        _check_feature_files(files, done, findings)
        return done

    def shards(self, findings: Findings) -> Entries:
        """What is known of every shard, by name."""
        folder = self.places.shards
        if folder is None:
            return {}
        listing = list_shards(folder)
        shards = {shard.name: shard for shard in listing.shards}
        done = self._map(
            "shards",
            partial(_shard_task, self.work, self.deep),
            shards,
            {name: shard_files.states(shard) for name, shard in shards.items()},
        )
        for entry in done.values():
            findings.merge(entry["findings"])
        _check_listing(listing, done, findings)
        return done

    def compare(self, metadata: Entries, shards: Entries, findings: Findings) -> None:
        """Hold the uids of both sides against each other, range by range."""
        logged = all(entry["log"] for entry in shards.values())
        sides = Sides(
            [_identities(self.work, name) for name in metadata],
            [_identities(self.work, name) for name in shards],
            [_failed(self.work, name) for name in shards] if logged else None,
            both=bool(metadata) and bool(shards),
        )
        total = sum(entry["rows"] for entry in metadata.values()) + sum(entry["samples"] for entry in shards.values())
        found = self.engine.map(
            partial(compare_range, sides),
            {f"uids {part.index + 1} of {part.count}": part for part in uid_ranges(total)},
            stage="comparing uids",
            needs=Needs(threads=True),
            progress=self.progress,
        )
        for result in found.values():
            findings.merge(result)

    def _map(
        self, what: str, function: Callable[[T], dict[str, Any]], tasks: Mapping[str, T], states: Mapping[str, Any]
    ) -> Entries:
        journal = Journal(self.work / f"{what}.jsonl", f"verify {_VERSION} deep {self.deep}", synced=False)
        for name, entry in journal.completed.items():
            if name in tasks and (entry["state"] != states[name] or not _identities(self.work, name).exists()):
                journal.forget(name)
        small = sum(state[0] for each in states.values() for state in each) < _THREADS_BELOW
        return self.engine.map(
            function,
            tasks,
            stage=f"checking {what}",
            needs=Needs(threads=small),
            journal=journal,
            progress=self.progress,
        )


def _metadata_task(work: Path, deep: bool, path: Path) -> dict[str, Any]:
    return metadata_files.check_metadata(_identities(work, path.name), deep, path)


def _shard_task(work: Path, deep: bool, shard: Shard) -> dict[str, Any]:
    return shard_files.check_shard(_identities(work, shard.name), _failed(work, shard.name), deep, shard)


def _identities(work: Path, name: str) -> Path:
    return work / f"{name}.npy"


def _failed(work: Path, name: str) -> Path:
    return work / f"{name}.failed.npy"


def _check_feature_files(files: Mapping[str, Path], done: Entries, findings: Findings) -> None:
    """All metadata files have features or none has; all have the same members."""
    with_features = {name: entry["features"] for name, entry in done.items() if entry["features"] is not None}
    if with_features:
        findings.add("features_absent", *(name for name in files if name not in with_features))
        first, expected = next(iter(with_features.items()))
        differing = [name for name, features in with_features.items() if features != expected]
        findings.add("features_differ", *(f"{features_path(files[n]).name} (first: {first})" for n in differing))
    folder = next(iter(files.values())).parent
    stems = {path.stem for path in files.values()}
    alone = sorted(path.name for path in folder.glob("*.npz") if path.stem not in stems)
    findings.add("features_alone", *alone)


def _check_listing(listing: ShardListing, done: Entries, findings: Findings) -> None:
    """Numbers that are missing, and stats without a shard or the reverse."""
    for first, last in listing.gaps:
        shown = f"{first:08d}" if first == last else f"{first:08d} to {last:08d}"
        findings.add("numbers_missing", shown, count=last - first + 1)
    index = load_index(listing.directory)
    if index is not None:
        findings.add("index_stale", *(shard.name for shard in listing.shards if not index.fresh(shard)))
    if any(entry["stats"] for entry in done.values()):
        findings.add("stats_missing", *(name for name, entry in done.items() if not entry["stats"]))
    stems = {shard.stats_path.name for shard in listing.shards}
    alone = sorted(path.name for path in listing.directory.glob("*_stats.json") if path.name not in stems)
    findings.add("stats_alone", *alone)


def _images(shards: Entries, findings: Findings) -> ImageDigests:
    """Where some stored images are the originals, those that were not resized and differ were changed."""
    published, compared, equal = (
        sum(entry["images"][key] for entry in shards.values()) for key in ("published", "compared", "equal")
    )
    if equal:
        for entry in shards.values():
            findings.add("image_changed", *entry["images"]["examples"], count=entry["images"]["unequal"])
    return ImageDigests(published, compared, equal, encoded_again=bool(compared) and not equal)


def _check_record(places: PoolPlaces, shards: Entries, findings: Findings) -> None:
    """What ``pool.json``, which `datacup pool build` writes, says about the whole."""
    path = places.root / RECORD_NAME
    if not path.exists() or places.metadata is None or places.shards is None:
        return
    try:
        with storage_errors("reading", path):
            record = json.loads(path.read_bytes())
    except ValueError:
        findings.add("record_mismatch", f"{path.name} is not JSON")
        return
    found: dict[str, Any] = {
        "samples": sum(entry["samples"] for entry in shards.values()),
        "shards": len(shards),
    }
    if not isinstance(record, dict):
        findings.add("record_mismatch", f"{path.name} is no JSON object")
        return
    try:
        if "uids_sha256" in record:  # of a pool that `pool build` made, which is small; others are not held in memory
            found["uids_sha256"] = hashlib.sha256(pool_uids(places.metadata).tobytes()).hexdigest()
    except DataFormatError:
        findings.add("record_mismatch", "uids_sha256 (the uids cannot be read)")
    for key, value in found.items():
        if key in record and record[key] != value:
            findings.add("record_mismatch", f"{key}: {record[key]} recorded, {value} found")
