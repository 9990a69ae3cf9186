"""Digests of large files, remembered so that a file which did not change is not read again to know which one it is."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from competition.data.atomic import write_bytes
from competition.data.digests import file_sha256
from competition.errors import StorageError

_INDEX_NAME = "digests.json"
_LISTS_NAME = "lists.json"
_MOST_LISTS = 4096
_SETTLED_NANOSECONDS = 2_000_000_000
_VERSION = 1


class KnownDigests:
    """sha256 of files, from an index of what they were like when they were last read.

    A digest is believed as long as the file's path, size, inode, and times of modification and of status change are
    those on record. As in git's index, a file that was changed within two seconds before it was read is not put on
    record: another change within the clock's resolution would leave no trace. A damaged or unwritable index costs
    time, nothing else.

    Args:
        folder: of the index; nothing is remembered when absent.
    """

    def __init__(self, folder: Path | None) -> None:
        self._index = folder / _INDEX_NAME if folder is not None else None

    def of(self, paths: list[Path], workers: int) -> list[str]:
        """Lower-case hex sha256 of each file; those that are not on record are read, ``workers`` at a time.

        Raises:
            OSError: a file cannot be read.
        """
        known = self._read()
        now = time.time_ns()
        states = [_state(path) for path in paths]
        names = [str(path.resolve()) for path in paths]
        unknown = [place for place, name in enumerate(names) if known.get(name, [None])[:-1] != states[place]]
        with ThreadPoolExecutor(max(1, min(workers, len(unknown)))) as pool:
            fresh = dict(zip(unknown, pool.map(file_sha256, [paths[place] for place in unknown]), strict=True))
        digests = [fresh[place] if place in fresh else known[name][-1] for place, name in enumerate(names)]
        settled = {
            names[place]: [*states[place], found]
            for place, found in fresh.items()
            if max(states[place][2:4]) + _SETTLED_NANOSECONDS < now and _state(paths[place]) == states[place]
        }
        if settled and self._index is not None:
            self._write(self._read() | settled)
        return digests

    def _read(self) -> dict[str, list[Any]]:
        """Entries by path: size, inode, two times in nanoseconds, digest."""
        entries = _entries(self._index, "files")
        return {name: entry for name, entry in entries.items() if isinstance(entry, list) and _is_entry(entry)}

    def _write(self, entries: dict[str, list[Any]]) -> None:
        assert self._index is not None
        present = {name: entry for name, entry in entries.items() if Path(name).exists()}
        try:
            write_bytes(self._index, json.dumps({"version": _VERSION, "files": present}).encode(), synced=False)
        except StorageError:
            return  # the next evaluation reads the files again


class KnownListDigests:
    """One digest of many small files, remembered as one entry however many they are; believed as ``KnownDigests`` does.

    Args:
        folder: of the index; nothing is remembered when absent.
    """

    def __init__(self, folder: Path | None) -> None:
        self._index = folder / _LISTS_NAME if folder is not None else None

    def of(self, folder: Path, paths: Sequence[Path], workers: int) -> str:
        """Digest of the files' names below ``folder`` and of their bytes, in the order of ``paths``.

        All are read, ``workers`` at a time, if one of them is not as it was when they were last read.

        Raises:
            OSError: a file cannot be read.
        """
        names = [path.relative_to(folder).as_posix() for path in paths]
        now = time.time_ns()
        states = [_state(path) for path in paths]
        seen = _sha256([str(folder.resolve()), names, states])
        known = self._read()
        if seen in known:
            return known[seen]
        with ThreadPoolExecutor(max(1, workers)) as pool:
            contents = list(pool.map(file_sha256, paths))
        found = _sha256([names, contents])
        newest = max((max(state[2:4]) for state in states), default=0)
        if (
            self._index is not None
            and newest + _SETTLED_NANOSECONDS < now
            and states == [_state(path) for path in paths]
        ):
            self._write({**self._read(), seen: found})
        return found

    def _read(self) -> dict[str, str]:
        """Digests of contents by digests of what the files were like."""
        entries = _entries(self._index, "lists")
        return {name: entry for name, entry in entries.items() if isinstance(entry, str)}

    def _write(self, entries: dict[str, str]) -> None:
        assert self._index is not None
        kept = dict(list(entries.items())[-_MOST_LISTS:])
        try:
            write_bytes(self._index, json.dumps({"version": _VERSION, "lists": kept}).encode(), synced=False)
        except StorageError:
            return  # the next evaluation reads the files again


def _sha256(content: list[Any]) -> str:
    """Of JSON; times in nanoseconds are beyond the integers that canonical JSON has."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _is_entry(entry: list[Any]) -> bool:
    return len(entry) == 5 and all(type(value) is int for value in entry[:4]) and isinstance(entry[4], str)


def _entries(index: Path | None, kind: str) -> dict[str, Any]:
    """What an index of this version holds under ``kind``; nothing where there is none, or it cannot be read."""
    if index is None:
        return {}
    try:
        content = json.loads(index.read_bytes())
    except (OSError, ValueError):
        return {}
    entries = content.get(kind) if isinstance(content, dict) and content.get("version") == _VERSION else None
    return entries if isinstance(entries, dict) else {}
