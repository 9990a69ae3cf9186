"""Getting a published pool: its files from the Hub at one revision, then its images from the web.

``pool.json`` in the pool's folder says which pool at which revision this is, from before the first file on. Everything
else that a resumed download needs lies in ``.download``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from competition import __version__
from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.data.engine import Engine
from competition.data.metadata import list_metadata
from competition.errors import UsageError
from competition.progress import ProgressHook
from competition.records.base import CommitSha, Record
from participant_kit.pools.catalogue import Content, KnownPool
from participant_kit.pools.hub_files import HubFile, Listing, list_files, repair
from participant_kit.pools.images import ImageOptions, ImagesReport, fetch_images
from participant_kit.pools.images.rounds import ROUNDS_FILE
from participant_kit.pools.images.shard import fetched_here
from participant_kit.pools.lock import locked
from participant_kit.pools.places import SHARDS_FOLDER, refuse_foreign_shards

RECORD_FILE = "pool.json"
WORK_FOLDER = ".download"
_LISTING = "listing.json"


class PoolRecord(Record):
    """Content of ``pool.json``: where a pool is from."""

    pool: str
    origin: Literal["hub", "urls", "import"]
    source: str
    """Repository of the Hub, or the sha256 of the participant's own file, or the folder that was imported."""
    revision: CommitSha | None = None
    code_version: str = __version__


@dataclass(frozen=True, slots=True)
class DownloadOptions:
    """What is wanted of a published pool.

    Args:
        endpoint: the Hub's.
        revision: a commit; by default the recorded one, or at first the Hub's present one.
        features: the npz files too.
        images: fetch images where the repository holds only metadata; None leaves them.
    """

    endpoint: str
    revision: str | None = None
    features: bool = False
    images: ImageOptions | None = None


class DownloadReport(Record):
    """What a download came to."""

    pool: str
    repo: str
    revision: CommitSha
    files: int
    files_fetched: int
    bytes: int
    images: ImagesReport | None


def download_pool(
    pool: KnownPool,
    folder: Path,
    options: DownloadOptions,
    *,
    engine: Engine | None = None,
    progress: ProgressHook | None = None,
) -> DownloadReport:
    """Get the pool, or go on where an earlier run stopped, or put right what has become wrong since.

    Args:
        pool: which.
        folder: made when absent; gets ``metadata`` (or ``shards``, or ``files``), ``shards`` and ``pool.json``.
        options: how.
        engine: fetches the images; see ``fetch_images``.
        progress: told after every file, and about images about once a second.

    Raises:
        UsageError: the folder holds another pool, another revision, or metadata or shards of something else; or another
            process works there.
        DataFormatError: the repository is not what a pool is.
        NotFoundError, AuthenticationError, PermissionDeniedError: the Hub does not give it.
        ServiceUnavailableError: Hub or network are not there.
        StorageError: the disk is full or the folder cannot be written.
    """
    if options.revision is not None and not _is_sha(options.revision):
        raise UsageError(
            f"The revision {options.revision!r} does not pin anything.", hint="Name a commit by its 40 hex digits."
        )
    if options.images is not None:  # sooner than after hours of metadata
        refuse_foreign_shards(folder / SHARDS_FOLDER, folder / WORK_FOLDER / "images" / ROUNDS_FILE, fetched_here)
    make_folder(folder / WORK_FOLDER)
    with locked(folder / WORK_FOLDER):
        listing = _pinned(pool, folder, options)
        files = _wanted(pool, listing, features=options.features)
        target = folder / pool.folder
        _refuse_strangers(target, listing, pool)
        receipts = folder / WORK_FOLDER / "receipts.jsonl"
        done = repair(options.endpoint, listing, files, target, receipts, progress=progress)
        images = None
        if pool.content is Content.METADATA and options.images is not None:
            images = fetch_images(
                list_metadata(target),
                folder / SHARDS_FOLDER,
                folder / WORK_FOLDER / "images",
                options.images,
                engine=engine,
                progress=progress,
            )
    return DownloadReport(
        pool=pool.name,
        repo=pool.repo,
        revision=listing.revision,
        files=len(files),
        files_fetched=done.fetched,
        bytes=sum(file.size for file in files),
        images=images,
    )


def _wanted(pool: KnownPool, listing: Listing, *, features: bool) -> list[HubFile]:
    files = [file for file in listing.files if pool.wants(file.path, features=features)]
    if not files:
        raise UsageError(
            f"{pool.repo} holds no file of {pool.title} at revision {listing.revision}.",
            hint="Was the repository rearranged? An earlier commit can be named with --revision.",
        )
    return files


def _pinned(pool: KnownPool, folder: Path, options: DownloadOptions) -> Listing:
    """The listing of the recorded revision; at first, of the wanted or the present one, which is then recorded."""
    record = read_record(folder)
    if record is not None:
        expect_record(record, folder, PoolRecord(pool=pool.name, origin="hub", source=pool.repo))
        if options.revision not in {None, record.revision}:
            raise UsageError(
                f"{folder} was begun at revision {record.revision} of {pool.repo}, not {options.revision}.",
                hint="Leave --revision out, or download the other revision into another folder.",
            )
    revision = record.revision if record is not None else options.revision
    path = folder / WORK_FOLDER / _LISTING
    known = _known_listing(path)
    if known is not None and (known.repo, known.revision) == (pool.repo, revision):
        return known
    listing = list_files(options.endpoint, pool.repo, revision)
    write_bytes(path, (listing.model_dump_json() + "\n").encode())
    if record is None:
        write_record(folder, PoolRecord(pool=pool.name, origin="hub", source=pool.repo, revision=listing.revision))
    return listing


def _known_listing(path: Path) -> Listing | None:
    """What the Hub listed in an earlier run: a commit's files never change."""
    if not path.exists():
        return None
    with storage_errors("reading", path):
        content = path.read_bytes()
    try:
        return Listing.model_validate_json(content)
    except ValidationError:
        return None


def _refuse_strangers(target: Path, listing: Listing, pool: KnownPool) -> None:
    """Files of something else in the folder of metadata would become part of the pool."""
    if pool.content is not Content.METADATA or not target.is_dir():
        return
    own = {file.name for file in listing.files}
    strangers = sorted(path.name for path in target.glob("*.parquet") if path.name not in own and path.name[0] != ".")
    if strangers:
        shown = ", ".join(strangers[:3]) + (" ..." if len(strangers) > 3 else "")
        raise UsageError(
            f"{target} holds {len(strangers)} parquet files that {pool.repo} does not have: {shown}.",
            hint="Move them away, or choose another --output-dir.",
        )


def read_record(folder: Path) -> PoolRecord | None:
    """What ``pool.json`` says; ``None`` without one.

    Raises:
        UsageError: the file is of another kind of pool.
    """
    path = folder / RECORD_FILE
    if not path.exists():
        return None
    with storage_errors("reading", path):
        content = path.read_bytes()
    try:
        return PoolRecord.model_validate_json(content)
    except ValidationError as error:
        raise UsageError(f"{folder} holds a pool that was not downloaded.", hint="Choose another folder.") from error


def expect_record(record: PoolRecord, folder: Path, expected: PoolRecord) -> None:
    """Raise ``UsageError`` if the folder's pool is another one than is asked for."""
    if (record.pool, record.origin, record.source) != (expected.pool, expected.origin, expected.source):
        raise UsageError(
            f"{folder} holds another pool: {record.pool} of {record.source}.", hint="Choose another --output-dir."
        )


def write_record(folder: Path, record: PoolRecord) -> None:
    """Write ``pool.json``."""
    content = json.dumps(record.model_dump(mode="json"), indent=2)
    write_bytes(folder / RECORD_FILE, (content + "\n").encode())


def _is_sha(text: str) -> bool:
    return len(text) == 40 and set(text) <= set("0123456789abcdef")
