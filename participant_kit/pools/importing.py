"""A local folder of images, or any webdataset, as a pool: shards in img2dataset's layout, every sample with a uid.

Images are copied as they are, not encoded anew. A caption is the ``.txt`` beside an image, or ``caption`` or ``text``
of the ``.json`` beside it, or comes from a table of file names and captions. A sample's uid is 128 bits of BLAKE2b over
the image's bytes and the caption; a webdataset's sample that has a uid keeps it. Every 10,000 images of a folder, in
the order of their paths, or every tar of a webdataset, become one shard. There are no scores: ``datacup pool annotate``
makes them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from competition.canonical import digest
from competition.data.atomic import make_folder, remove_partials, storage_errors
from competition.data.engine import Workers, engine_of
from competition.data.journal import Journal
from competition.data.shards import SHARD_FORMAT
from competition.errors import DataFormatError, UsageError
from competition.progress import ProgressHook
from competition.records.base import Record
from participant_kit.pools.captions_table import CaptionTable
from participant_kit.pools.download import (
    RECORD_FILE,
    WORK_FOLDER,
    PoolRecord,
    expect_record,
    read_record,
    write_record,
)
from participant_kit.pools.import_shard import IMAGE_SUFFIXES, FileTask, TarTask, make_shard, storable
from participant_kit.pools.lock import locked
from participant_kit.pools.places import SHARDS_FOLDER, refuse_foreign_shards

SHARD_SAMPLES = 10_000


class ImportReport(Record):
    """What an import came to: ``samples`` and the counts of ``dropped`` (by reason) sum to ``found``."""

    found: int
    samples: int
    shards: int
    dropped: dict[str, int]
    without_caption: int
    kept_uids: int
    """Samples that came with a uid of their own."""


def import_pool(
    source: Path,
    folder: Path,
    *,
    captions: CaptionTable | None = None,
    workers: Workers = 2,
    progress: ProgressHook | None = None,
) -> ImportReport:
    """Make a pool of what lies in ``source``, or go on where an earlier run stopped.

    Args:
        source: a folder with ``*.tar`` directly in it is a webdataset; otherwise all images below it are taken.
        folder: made when absent; gets ``shards`` and ``pool.json``.
        captions: where captions are, if not beside the images.
        workers: processes on this machine, or the engine that makes the shards.
        progress: told after every shard.

    Raises:
        UsageError: there is no such folder, it changed since the import began, or ``folder`` holds another pool
            or its shards.
        DataFormatError: nothing to import, or a tar or the table of captions is damaged.
        StorageError: the disk is full or the folder cannot be written.
    """
    if not source.is_dir():
        raise UsageError(f"There is no folder {source} to import.")
    if folder.resolve() == source.resolve():
        raise UsageError(f"{folder} cannot be imported into itself.", hint="Choose another --output-dir.")
    shards = folder / SHARDS_FOLDER
    refuse_foreign_shards(shards, folder / RECORD_FILE)
    make_folder(shards)
    make_folder(folder / WORK_FOLDER)
    with locked(folder / WORK_FOLDER):
        tasks, identity = _tasks(source, shards, captions)
        record = PoolRecord(pool=source.resolve().name, origin="import", source=identity)
        known = read_record(folder)
        if known is None:
            write_record(folder, record)
        elif known.origin == "import" and known.pool == record.pool and known.source != record.source:
            raise UsageError(
                f"{source} changed since its import into {folder} began.", hint="Import into another --output-dir."
            )
        else:
            expect_record(known, folder, record)
        journal = Journal(folder / WORK_FOLDER / "imported.jsonl", identity)
        for name in journal.completed:
            if not (shards / name).exists():
                journal.forget(name)
        made = engine_of(workers).map(make_shard, tasks, stage="importing samples", journal=journal, progress=progress)
        remove_partials(shards)
    return _report(made)


def _tasks(source: Path, shards: Path, captions: CaptionTable | None) -> tuple[dict[str, FileTask | TarTask], str]:
    """The shards to be made by name, and a digest of what they are made of."""
    tars = sorted(path for path in source.iterdir() if path.suffix == ".tar" and not path.name.startswith("."))
    if tars and captions is not None:
        raise UsageError("Captions of a webdataset are in its tars; a table of captions goes with a folder of images.")
    if tars:
        tasks: dict[str, FileTask | TarTask] = {
            SHARD_FORMAT.format(number): TarTask(number, shards, path) for number, path in enumerate(tars)
        }
        return tasks, digest([_state(path, path.name) for path in tars])
    names = list(_image_names(source))
    if not names:
        raise DataFormatError(
            f"{source} holds neither tars nor images ({', '.join(IMAGE_SUFFIXES)}).",
            hint="Point to a folder that does.",
        )
    told = captions.read() if captions is not None else None
    tasks = {}
    for number, start in enumerate(range(0, len(names), SHARD_SAMPLES)):
        part = tuple(names[start : start + SHARD_SAMPLES])
        given = None if told is None else tuple(_told(told, name) for name in part)
        tasks[SHARD_FORMAT.format(number)] = FileTask(number, shards, source, part, given)
    beside = [_state(source / name, name) for name in names]
    return tasks, digest(
        [beside, None if told is None else digest([[storable(text) for text in pair] for pair in sorted(told.items())])]
    )


def _image_names(source: Path) -> Iterator[str]:
    """Paths of the images below a folder, relative to it and sorted; hidden files and folders are passed over."""
    names = []
    with storage_errors("listing", source):
        for place, folders, files in os.walk(source):
            folders[:] = [name for name in folders if not name.startswith(".")]
            names += [
                Path(place, name).relative_to(source).as_posix()
                for name in files
                if not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)
            ]
    yield from sorted(names)


def _told(told: Mapping[str, str], name: str) -> str | None:
    """The table's caption of an image: by its path, else by its name alone."""
    return told.get(name, told.get(name.rpartition("/")[2]))


def _state(path: Path, name: str) -> list[Any]:
    with storage_errors("reading", path):
        status = path.stat()
    return [storable(name), status.st_size, str(status.st_mtime_ns)]


def _report(made: Mapping[str, dict[str, Any]]) -> ImportReport:
    dropped: Counter[str] = Counter()
    for result in made.values():
        dropped.update(result["dropped"])
    samples = sum(result["samples"] for result in made.values())
    return ImportReport(
        found=samples + dropped.total(),
        samples=samples,
        shards=len(made),
        dropped=dict(dropped.most_common()),
        without_caption=sum(result["without_caption"] for result in made.values()),
        kept_uids=sum(result["kept_uids"] for result in made.values()),
    )
