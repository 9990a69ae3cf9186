"""What an evaluation set consists of on disk, in CLIP_benchmark's webdataset layout or as folders of images.

``<set>/classnames.txt``, ``zeroshot_classification_templates.txt`` or ``dataset_type.txt``, and parts ``test``,
``train`` and ``val`` with ``nshards.txt`` and ``{0..n-1}.tar`` each; or parts, or the set itself, with one folder of
images for each class.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError

PARTS = ("train", "val", "test")
SHARD_COUNT = "nshards.txt"
LABELS_FILE = "labels.txt"
"""All that a set needs on which predictions alone are scored."""
MAX_FILES = 100_000
MAX_TEXT_BYTES = 64 * 2**20
MAX_SHARD_BYTES = 40 * 10**9
MAX_SET_BYTES = 2 * 10**12

_PART = "(?:" + "|".join(PARTS) + ")"
_TEXT = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_-]{{0,100}}\.txt|{_PART}/nshards\.txt", re.ASCII)
_SHARD = re.compile(rf"{_PART}/(0|[1-9][0-9]{{0,5}})\.tar", re.ASCII)


def byte_limit(path: str) -> int | None:
    """How large a file of a published set may be; ``None`` for a path that is no part of the layout."""
    if _TEXT.fullmatch(path):
        return MAX_TEXT_BYTES
    return MAX_SHARD_BYTES if _SHARD.fullmatch(path) else None


def files_of(folder: Path) -> list[str]:
    """All files of a set below ``folder`` as relative paths, sorted; hidden ones belong to programs, not to the set.

    Raises:
        StorageError: the folder cannot be read.
        DataFormatError: there are more files than a set may have as webdataset or as folders of images.
    """
    found: list[str] = []
    with storage_errors("listing", folder):
        for path in folder.rglob("*"):
            inside = path.relative_to(folder)
            if not any(part.startswith(".") for part in inside.parts) and path.is_file():
                found.append(inside.as_posix())
    return sorted(found)


def check_complete(name: str, paths: Iterable[str], folder: Path) -> None:
    """Every part of a set has the shards that it says it has, and there is a test part.

    Args:
        name: the set's, for messages.
        paths: its files, relative.
        folder: where they lie.

    Raises:
        DataFormatError: a shard is missing, or there is no test part, or a number of shards is none.
        StorageError: a file cannot be read.
    """
    there = set(paths)
    if f"test/{SHARD_COUNT}" not in there:
        raise DataFormatError(
            f"The evaluation set {name} has no test/{SHARD_COUNT}, so it is none.", hint="Is this the right repository?"
        )
    for part in PARTS:
        if f"{part}/{SHARD_COUNT}" not in there:
            continue
        count = _count(folder / part / SHARD_COUNT)
        for number in range(count):
            if f"{part}/{number}.tar" not in there:
                raise DataFormatError(
                    f"The evaluation set {name} is not whole: {part}/{SHARD_COUNT} promises {count} shards, and "
                    f"{part}/{number}.tar is not there.",
                    hint="Download or prepare it again.",
                )


def _count(path: Path) -> int:
    with storage_errors("reading", path), path.open("rb") as stream:
        content = stream.read(20).strip()
    count = int(content) if content.isdigit() else 0
    if not 0 < count <= MAX_FILES:
        raise DataFormatError(f"{path} holds {content.decode('ascii', 'replace')!r}, not a number of shards.")
    return count
