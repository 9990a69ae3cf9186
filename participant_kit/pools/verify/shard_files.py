"""One shard looked at as a whole: the tar, its stats, its log, and every sample's json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.sample_table import ABSENT, SampleTable
from competition.data.shards import Shard, expected_samples, scan_samples
from competition.data.tar import Buffer, open_tar
from competition.data.uids import UID_DTYPE, parse_uid
from competition.errors import DataFormatError, StorageError
from participant_kit.pools.index import file_state, scan_shard
from participant_kit.pools.verify.findings import EXAMPLES, Findings
from participant_kit.pools.verify.identities import save_identities

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
LOG_COLUMNS = ("uid", "status")

_PROBED = 32
"""Stored images compared with their digest before it is concluded that a shard's were encoded again."""

_NO_UIDS = np.zeros(0, dtype=UID_DTYPE)


def states(shard: Shard) -> list[list[int]]:
    """Change when the tar, its stats or its log do."""
    paths = (shard.path, shard.stats_path, log_path(shard))
    return [file_state(path) for path in paths if path.exists()]


def log_path(shard: Shard) -> Path:
    """Where img2dataset puts the log of a shard's downloads."""
    return shard.path.with_suffix(".parquet")


@dataclass(slots=True)
class _Samples:
    """What the samples of a shard say.

    Args:
        uids: pairs of those that have one.
        sha: first 64 bits of the sha256 in their json, 0 where it has none.
        equal: stored images with the sha256 of their json.
        unequal: how many have another one though they were not resized.
        unequal_examples: the first of these.
        compared: images hashed.
        published: images with a sha256 in the json.
    """

    uids: list[tuple[int, int]] = field(default_factory=list)
    sha: list[int] = field(default_factory=list)
    equal: int = 0
    unequal: int = 0
    unequal_examples: list[str] = field(default_factory=list)
    compared: int = 0
    published: int = 0


def check_shard(identities: Path, failed: Path, deep: bool, shard: Shard) -> dict[str, Any]:
    """Look at every sample of a shard; a damaged tar up to the damage.

    A json's ``sha256`` is of the original as downloaded. Where img2dataset kept the original's bytes, the stored image
    must have it; where it encoded the image again, nothing can be compared. Which of them holds is found by trying:
    when none of the first images that were not resized matches, the others are left (unless ``deep``).

    Args:
        identities: file for the uids and digests that it has.
        failed: file for the uids that its log says could not be downloaded.
        deep: hash all images.
        shard: the shard.

    Returns:
        ``state``, ``samples``, ``findings``, whether it has ``stats`` and a ``log``, and ``images``: published,
        compared, equal, unequal and ``examples`` of these (no finding yet: see ``run``).

    Raises:
        StorageError: an output file cannot be written. (What cannot be read is a finding.)
    """
    findings = Findings()
    state = states(shard)
    samples = _Samples()
    count, damaged = 0, False
    try:
        with open_tar(shard.path) as buffer:
            indexed, table, _ = scan_shard(buffer, shard.path)
            count, damaged = len(table), indexed.damage is not None
            if indexed.damage is not None:
                findings.add("shard_damaged", indexed.damage)
            _Reader(shard, buffer, table, findings, samples, deep).read()
    except (DataFormatError, StorageError) as error:
        damaged = True
        findings.add("shard_damaged", error.message)
    if not count and not damaged:
        findings.add("shard_empty", shard.name)
    stats = _check_stats(shard, None if damaged else count, findings)
    uids, log = _check_log(shard, None if damaged else count, findings)
    save_identities(identities, np.array(samples.uids, dtype=UID_DTYPE), np.array(samples.sha, dtype=np.uint64))
    save_identities(failed, uids, np.zeros(len(uids), dtype=np.uint64))
    images = {
        "published": samples.published,
        "compared": samples.compared,
        "equal": samples.equal,
        "unequal": samples.unequal,
        "examples": samples.unequal_examples,
    }
    return {
        "state": state, "samples": count, "findings": findings.as_json(), "stats": stats, "log": log, "images": images
    }  # fmt: skip


@dataclass(slots=True)
class _Reader:
    """Goes through the samples of one opened shard."""

    shard: Shard
    buffer: Buffer
    table: SampleTable
    findings: Findings
    samples: _Samples
    deep: bool

    def read(self) -> None:
        members = {name: self.table.member(name) for name in ("json", "txt")}
        images = np.full(len(self.table), ABSENT, dtype=np.int64)
        for extension in reversed(IMAGE_EXTENSIONS):
            found = self.table.member(extension)
            images = np.where(found == ABSENT, images, found)
        self._absent("sample_without_json", members["json"])
        self._absent("sample_without_caption", members["txt"])
        self._absent("sample_without_image", images)
        for row in np.flatnonzero(members["json"] != ABSENT).tolist():
            self._read_json(row, int(members["json"][row]), int(images[row]))

    def _read_json(self, row: int, member: int, image: int) -> None:
        try:
            facts = json.loads(self._payload(member))
        except (ValueError, RecursionError):
            facts = None
        if not isinstance(facts, dict):
            self.findings.add("sample_json_malformed", self._name(row))
            return
        uid = facts.get("uid")
        try:
            pair = parse_uid(uid) if isinstance(uid, str) else None
        except DataFormatError:
            pair = None
        if pair is None:
            self.findings.add("sample_without_uid", self._name(row))
            return
        sha256 = facts.get("sha256")
        digest = _digest(sha256)
        self.samples.uids.append(pair)
        self.samples.sha.append(int.from_bytes(digest[:8], "big"))
        if digest and image != ABSENT:
            self.samples.published += 1
            self._compare(row, image, digest, facts)

    def _compare(self, row: int, image: int, digest: bytes, facts: dict[str, Any]) -> None:
        """Hash the image where its bytes may be the original's."""
        samples = self.samples
        resized = any(facts.get(side) != facts.get(f"original_{side}") for side in ("width", "height"))
        if resized or not (self.deep or samples.equal or samples.compared < _PROBED):
            return
        samples.compared += 1
        if hashlib.sha256(self._payload(image)).digest() == digest:
            samples.equal += 1
        else:
            samples.unequal += 1
            if len(samples.unequal_examples) < EXAMPLES:
                samples.unequal_examples.append(self._name(row))

    def _absent(self, check: str, members: NDArray[np.int64]) -> None:
        rows = np.flatnonzero(members == ABSENT)
        self.findings.add(check, *map(self._name, rows[:EXAMPLES].tolist()), count=len(rows))

    def _payload(self, member: int) -> bytes:
        offset = int(self.table.offsets[member])
        return self.buffer[offset : offset + int(self.table.sizes[member])]

    def _name(self, row: int) -> str:
        start, stop = int(self.table.starts[row]), int(self.table.stops[row])
        return f"{self.shard.name}: {next(scan_samples(self.buffer, self.shard.path, start, stop)).key}"


def _digest(sha256: object) -> bytes:
    if not isinstance(sha256, str) or len(sha256) != 64:
        return b""
    try:
        return bytes.fromhex(sha256)
    except ValueError:
        return b""


def _check_stats(shard: Shard, count: int | None, findings: Findings) -> bool:
    """Whether there are statistics, and that they say the number of samples."""
    try:
        expected = expected_samples(shard)
    except (DataFormatError, StorageError) as error:
        findings.add("stats_malformed", error.message)
        return True
    if count is not None and expected not in {None, count}:
        findings.add("stats_mismatch", f"{shard.name}: {count} samples, its stats say {expected}")
    return expected is not None


def _check_log(shard: Shard, count: int | None, findings: Findings) -> tuple[Any, bool]:
    """The uids whose download failed, and whether there is a log that says so for all."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = log_path(shard)
    if not path.exists():
        return _NO_UIDS, False
    try:
        with pq.ParquetFile(path) as parquet:
            if not set(LOG_COLUMNS) <= set(parquet.schema_arrow.names):
                return _NO_UIDS, False
            table = parquet.read(columns=list(LOG_COLUMNS))
        success = pc.equal(pc.fill_null(table.column("status"), ""), "success")
        uids = table.filter(pc.invert(success)).column("uid").to_pylist()
        failed = np.array([parse_uid(uid) for uid in uids if uid is not None], dtype=UID_DTYPE)
    except (OSError, pa.ArrowException, DataFormatError) as error:
        findings.add("log_damaged", f"{path.name}: {str(error).splitlines()[0]}")
        return _NO_UIDS, False
    successes = int(pc.sum(success).as_py() or 0)
    if count is not None and successes != count:
        findings.add("log_mismatch", f"{shard.name}: {count} samples, its log has {successes} successes")
    return failed, True
