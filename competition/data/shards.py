"""Tar shards in img2dataset's webdataset layout: reading, writing and listing samples.

A sample is a run of members ``<key>.<extension>`` with one key: the name up to the first dot of its last component.
Extensions are lower-cased, as the webdataset library does; a repeated extension starts the next sample, because a
resharded pool may hold two samples of one key side by side. ``00000000.tar`` comes with ``00000000_stats.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from competition.data.atomic import atomic_writer, storage_errors, write_bytes
from competition.data.tar import Buffer, Member, TarWriter, open_tar, scan_members
from competition.errors import DataFormatError

SHARD_FORMAT = "{:08d}.tar"
STATS_FORMAT = "{:08d}_stats.json"

_KEY_AND_EXTENSION = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: its key and its members by extension, in the order of the tar."""

    key: str
    members: dict[str, bytes]


class SampleSpan(NamedTuple):
    """Where a sample lies in its tar: bytes ``start : stop``, headers included."""

    key: str
    start: int
    stop: int
    members: dict[str, Member]


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar of a shard folder; ``number`` is ``None`` when its name is not a number."""

    path: Path
    number: int | None

    @property
    def name(self) -> str:
        """File name, for instance ``00000012.tar``."""
        return self.path.name

    @property
    def stats_path(self) -> Path:
        """Where img2dataset puts the shard's statistics."""
        return self.path.with_name(f"{self.path.stem}_stats.json")


@dataclass(frozen=True, slots=True)
class ShardListing:
    """The shards of a folder in order; ``gaps`` are the (first, last) runs of numbers that are missing in between."""

    directory: Path
    shards: tuple[Shard, ...]
    gaps: tuple[tuple[int, int], ...]


def list_shards(directory: Path) -> ShardListing:
    """All ``*.tar`` of a folder, sorted by name. A gap in the numbering is reported and hides nothing after it.

    Raises:
        DataFormatError: the folder holds no tar.
        StorageError: there is no such folder.
    """
    with storage_errors("listing the shard folder", directory):
        paths = sorted(path for path in directory.iterdir() if path.suffix == ".tar" and not path.name.startswith("."))
    if not paths:
        raise DataFormatError(
            f"The folder {directory} holds no shard (*.tar).", hint="Point to the `shards` folder of a pool."
        )
    shards = tuple(
        Shard(path, int(path.stem) if path.stem.isascii() and path.stem.isdigit() else None) for path in paths
    )
    numbers = sorted(shard.number for shard in shards if shard.number is not None)
    gaps = tuple((a + 1, b - 1) for a, b in pairwise(numbers) if b - a > 1)
    return ShardListing(directory, shards, gaps)


def expected_samples(shard: Shard) -> int | None:
    """The number of samples that the shard's stats file promises (``successes``); ``None`` without stats.

    Raises:
        DataFormatError: the stats file is not JSON with a whole number ``successes``.
    """
    path = shard.stats_path
    if not path.exists():
        return None
    with storage_errors("reading", path):
        content = path.read_bytes()
    try:
        successes = json.loads(content)["successes"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataFormatError(f"Stats file {path} is not JSON with a number `successes`.") from error
    if not isinstance(successes, int) or successes < 0:
        raise DataFormatError(f"Stats file {path} has `successes` {successes!r}, which is not a count.")
    return successes


def scan_samples(buffer: Buffer, source: Path, start: int = 0, stop: int | None = None) -> Iterator[SampleSpan]:
    """Where the samples of an opened tar lie, from byte ``start`` (a sample's first) to ``stop`` (or the end).

    Members without an extension, and hidden ones, belong to no sample and are passed over, as webdataset does.

    Raises:
        DataFormatError: the tar is damaged; names file and byte offset.
    """
    return group_samples(scan_members(buffer, source, start, stop))


def group_samples(members_in_order: Iterable[Member]) -> Iterator[SampleSpan]:
    """The samples that members of a tar form; see ``scan_samples``."""
    key, first, last = "", 0, 0
    members: dict[str, Member] = {}
    for member in members_in_order:
        match = _KEY_AND_EXTENSION.fullmatch(member.name)
        if match is None:
            continue
        member_key, extension = match[1], match[2].lower()
        if members and (member_key != key or extension in members):
            yield SampleSpan(key, first, last, members)
            members = {}
        if not members:
            key, first = member_key, member.start
        members[extension] = member
        last = member.end
    if members:
        yield SampleSpan(key, first, last, members)


def extension_of(name: str) -> str | None:
    """The extension of a member, in lower case; None for one that belongs to no sample."""
    match = _KEY_AND_EXTENSION.fullmatch(name)
    return None if match is None else match[2].lower()


def read_payload(buffer: Buffer, member: Member) -> bytes:
    """The bytes of one member."""
    return buffer[member.offset : member.offset + member.size]


def read_sample(buffer: Buffer, span: SampleSpan, extensions: Collection[str] | None = None) -> Sample:
    """The sample's members, or those of the given extensions."""
    wanted = span.members.items()
    return Sample(
        span.key,
        {name: read_payload(buffer, member) for name, member in wanted if extensions is None or name in extensions},
    )


def read_samples(path: Path, extensions: Collection[str] | None = None) -> Iterator[Sample]:
    """Stream the samples of a shard in order, one in memory at a time.

    Args:
        path: the tar.
        extensions: read only these members (lower case, without dot); all when absent.

    Raises:
        DataFormatError: the tar is damaged; names file and byte offset. Samples before the damage were yielded.
        StorageError: it cannot be opened.
    """
    with open_tar(path) as buffer:
        for span in scan_samples(buffer, path):
            yield read_sample(buffer, span, extensions)


def write_shard(
    directory: Path, number: int, samples: Iterable[Sample], stats: Mapping[str, Any] | None = None
) -> tuple[int, int]:
    """Write ``<number>.tar`` and ``<number>_stats.json`` atomically; returns (samples, bytes of the tar).

    The same samples always give the same bytes. The stats follow the tar, so a shard with stats is complete.

    Args:
        directory: an existing folder.
        number: the shard's number, zero-padded to 8 digits in the names.
        samples: written in order, members in the order of their dict.
        stats: further entries of the stats file beside ``successes``.

    Raises:
        StorageError: the disk is full or the folder cannot be written; nothing is left under a final name.
    """
    count, size = write_samples(directory / SHARD_FORMAT.format(number), samples)
    content = {"successes": count, **(stats or {})}
    write_bytes(directory / STATS_FORMAT.format(number), (json.dumps(content, sort_keys=True) + "\n").encode())
    return count, size


def write_samples(path: Path, samples: Iterable[Sample]) -> tuple[int, int]:
    """Write a tar of samples atomically, without statistics; returns (samples, bytes). Errors as of ``write_shard``."""
    count = 0
    with atomic_writer(path) as stream:
        tar = TarWriter(stream)
        for sample in samples:
            for extension, data in sample.members.items():
                tar.add(f"{sample.key}.{extension}", data)
            count += 1
        tar.finish()
        return count, stream.tell()
