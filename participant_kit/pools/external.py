"""External data: a pool of a participant's own urls and captions (DataComp's track of that name).

The participant's file becomes ``urls/NNNNNNNN.parquet`` with ``uid``, ``url``, ``text`` and perhaps ``sha256``; from
there on it is a pool like any other, of which the images are fetched. A sample's uid is 128 bits of BLAKE2b over its
url and caption, so the same pair has the same uid in everybody's pool. There are no scores: ``datacup pool annotate``
makes them from the shards.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from competition.data.atomic import atomic_writer, make_folder, storage_errors, write_bytes
from competition.data.digests import file_sha256
from competition.data.engine import Engine
from competition.data.merge import MEMORY_ROWS, merge_subsets
from competition.data.metadata import column_types, read_uids
from competition.data.uids import repeated_rows, save_subset, sort_uids
from competition.errors import DataFormatError, UsageError
from competition.progress import ProgressHook
from competition.records.base import Record
from participant_kit.pools.download import (
    RECORD_FILE,
    WORK_FOLDER,
    PoolRecord,
    expect_record,
    read_record,
    write_record,
)
from participant_kit.pools.images import ImageOptions, ImagesReport, fetch_images
from participant_kit.pools.lock import locked
from participant_kit.pools.places import SHARDS_FOLDER, refuse_foreign_shards

URLS_FOLDER = "urls"
FILE_ROWS = 500_000
_REPORT = "urls.json"
_REPEATS = "repeats"


@dataclass(frozen=True, slots=True)
class UrlFile:
    """A participant's parquet file.

    Args:
        path: the file.
        url_column: http and https addresses; a row without one is left out and counted.
        caption_column: captions; a missing one is an empty caption, and counted.
        sha256_column: lower-case hex digests of the images' bytes, if they are to be verified.
    """

    path: Path
    url_column: str = "url"
    caption_column: str = "text"
    sha256_column: str | None = None


class RowsReport(Record):
    """What the file's rows have become: ``samples`` and ``without_url`` sum to ``rows``."""

    source: str
    rows: int
    samples: int
    without_url: int
    without_caption: int
    repeated: int
    """Samples whose url and caption another has too, and so its uid; they are kept."""


class ExternalReport(Record):
    """What a download of external data came to."""

    urls: RowsReport
    images: ImagesReport | None


def download_urls(
    given: UrlFile,
    folder: Path,
    images: ImageOptions | None,
    *,
    engine: Engine | None = None,
    progress: ProgressHook | None = None,
) -> ExternalReport:
    """Make the pool of a file of urls in ``folder``, or go on with it; ``images`` None leaves the images.

    Raises:
        UsageError: the file does not exist, or the folder holds another pool or its shards.
        DataFormatError: it is not parquet, or lacks a column.
        StorageError, ServiceUnavailableError, EngineError: as ``fetch_images``.
    """
    if not given.path.is_file():
        raise UsageError(f"The file of urls {given.path} does not exist.")
    refuse_foreign_shards(folder / SHARDS_FOLDER, folder / RECORD_FILE)
    _check_columns(given)  # before the folder becomes this file's pool: a wrong name can be put right and tried again
    work = folder / WORK_FOLDER
    make_folder(work)
    with locked(work):
        columns = (given.url_column, given.caption_column, given.sha256_column)
        identity = hashlib.sha256(f"{file_sha256(given.path)} {columns}".encode()).hexdigest()
        _claim(folder, PoolRecord(pool="external", origin="urls", source=identity))
        report = _known(work / _REPORT) or _convert(given, folder, identity)
        sources = sorted((folder / URLS_FOLDER).glob("[0-9]*.parquet"))
        fetched = None
        if images is not None and sources:
            fetched = fetch_images(
                sources, folder / SHARDS_FOLDER, work / "images", images, engine=engine, progress=progress
            )
    return ExternalReport(urls=report, images=fetched)


def pair_uid(url: str, caption: str) -> str:
    """The uid of a pair: 32 lowercase hex digits."""
    return hashlib.blake2b(f"{url}\0{caption}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _claim(folder: Path, record: PoolRecord) -> None:
    known = read_record(folder)
    if known is not None:
        expect_record(known, folder, record)
    else:
        write_record(folder, record)


def _known(path: Path) -> RowsReport | None:
    if not path.exists():
        return None
    with storage_errors("reading", path):
        content = path.read_bytes()
    try:
        return RowsReport.model_validate_json(content)
    except ValidationError:
        return None


def _convert(given: UrlFile, folder: Path, identity: str) -> RowsReport:
    """Write the pool's own files; the report comes last, so an interrupted conversion starts again."""
    target = folder / URLS_FOLDER
    make_folder(target)
    rows = samples = without_url = without_caption = 0
    paths: list[Path] = []
    for number, table in enumerate(_tables(given)):
        rows += table.num_rows
        converted, missing = _pairs(table, given)
        without_url += table.num_rows - converted.num_rows
        without_caption += missing
        samples += converted.num_rows
        if converted.num_rows:
            paths.append(target / f"{number:08d}.parquet")
            with atomic_writer(paths[-1]) as stream:
                pq.write_table(converted, stream)
    report = RowsReport(
        source=identity,
        rows=rows,
        samples=samples,
        without_url=without_url,
        without_caption=without_caption,
        repeated=_repeated(paths, folder / WORK_FOLDER / _REPEATS),
    )
    write_bytes(folder / WORK_FOLDER / _REPORT, (report.model_dump_json() + "\n").encode())
    return report


def _check_columns(given: UrlFile) -> None:
    schema = column_types(given.path)
    for column in (given.url_column, given.caption_column, given.sha256_column):
        if column is None:
            continue
        if column not in schema.names:
            raise DataFormatError(
                f"The file {given.path} has no column {column!r}.",
                hint=f"It has: {', '.join(schema.names)}. Name others with --url-col, --caption-col, --sha256-col.",
            )
        kind = schema.field(column).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise DataFormatError(f"The file {given.path} has column {column!r} of type {kind} instead of string.")


def _tables(given: UrlFile) -> Iterator[Any]:
    """The file in tables of ``FILE_ROWS`` rows, one in memory at a time."""
    columns = [given.url_column, given.caption_column]
    columns += [given.sha256_column] if given.sha256_column else []
    with _parquet_errors(given.path), pq.ParquetFile(given.path) as parquet:
        waiting: list[Any] = []
        count = 0
        for batch in parquet.iter_batches(batch_size=min(50_000, FILE_ROWS), columns=list(dict.fromkeys(columns))):
            waiting.append(batch)
            count += batch.num_rows
            if count >= FILE_ROWS:
                yield pa.Table.from_batches(waiting)
                waiting, count = [], 0
        if waiting:
            yield pa.Table.from_batches(waiting)


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except pa.ArrowException as error:
        raise DataFormatError(f"The file {path} is damaged: {str(error).splitlines()[0].rstrip('.')}.") from error


def _pairs(table: Any, given: UrlFile) -> tuple[Any, int]:
    """The rows with a url as ``uid``, ``url``, ``text`` and perhaps ``sha256``; and how many have no caption."""
    urls, captions = (table.column(name).to_pylist() for name in (given.url_column, given.caption_column))
    kept = [row for row, url in enumerate(urls) if url and url.strip()]
    pairs = [(urls[row].strip(), captions[row] or "") for row in kept]
    columns = {
        "uid": [pair_uid(url, caption) for url, caption in pairs],
        "url": [url for url, _ in pairs],
        "text": [caption for _, caption in pairs],
    }
    if given.sha256_column:
        digests = table.column(given.sha256_column).to_pylist()
        columns["sha256"] = [digests[row] or "" for row in kept]
    return pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns])), sum(not c for _, c in pairs)


def _repeated(paths: list[Path], scratch: Path) -> int:
    """Rows whose uid another one before them has; uids are sorted file by file and merged in the folder ``scratch``."""
    make_folder(scratch)
    parts = [scratch / f"{path.stem}.npy" for path in paths]
    for path, part in zip(paths, parts, strict=True):
        save_subset(part, sort_uids(read_uids(path)))
    count = repeated_rows(merge_subsets(parts, scratch / "merged.npy", MEMORY_ROWS))
    with storage_errors("removing", scratch):
        shutil.rmtree(scratch)
    return count
