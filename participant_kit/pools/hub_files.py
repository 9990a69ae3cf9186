"""Files of a dataset repository on the Hub at one revision, made to be here: what differs is fetched, nothing else."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from competition.data.atomic import make_folder, storage_errors
from competition.data.digests import hub_digest
from competition.data.engine import LocalEngine, Needs
from competition.data.journal import Journal
from competition.errors import DataFormatError
from competition.hub import hub_api
from competition.hub_errors import hub_errors
from competition.progress import ProgressHook
from competition.records.base import CommitSha, Record

_STAGING = ".fetching"
_ANSWER_SECONDS = 120.0
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=+@-]{0,199}")


class HubFile(Record):
    """A file as the Hub lists it: ``digest`` is the sha256 of one in large-file storage, else git's blob id."""

    path: str
    size: int
    digest: str

    @property
    def name(self) -> str:
        """Of the file here: folders of the repository are flattened."""
        return self.path.rpartition("/")[2]


class Listing(Record):
    """All files of a repository at a commit."""

    repo: str
    revision: CommitSha
    files: tuple[HubFile, ...]


class Repair(NamedTuple):
    """What making a folder equal to a listing came to, in files."""

    fetched: int
    kept: int


@dataclass(frozen=True, slots=True)
class _Fetch:
    """One file to fetch."""

    endpoint: str
    repo: str
    revision: str
    file: HubFile
    folder: Path


def list_files(endpoint: str, repo: str, revision: str | None) -> Listing:
    """What the repository holds at a revision, or now, by the sha that it stands at.

    Raises:
        NotFoundError: there is no such repository or revision, or the account may not see it.
        AuthenticationError, PermissionDeniedError: the repository asks for a login, or for its terms to be accepted.
        ServiceUnavailableError: the Hub does not answer.
    """
    with hub_errors(endpoint, repo):
        api = hub_api(endpoint, answer_seconds=_ANSWER_SECONDS)
        sha = revision or api.repo_info(repo, repo_type="dataset").sha
        entries = api.list_repo_tree(repo, recursive=True, revision=sha, repo_type="dataset")
        files = tuple(_file(entry) for entry in entries if getattr(entry, "size", None) is not None)
    return Listing(repo=repo, revision=sha or "", files=files)


def repair(
    endpoint: str,
    listing: Listing,
    files: Sequence[HubFile],
    folder: Path,
    receipts: Path,
    *,
    workers: int = 4,
    progress: ProgressHook | None = None,
) -> Repair:
    """Make every file be in ``folder`` with the size and digest that the Hub lists; what is right is left alone.

    A file that was found right is hashed again only if its size or time of change differ since. A connection that
    breaks is taken up again within the file; a run that ends in the middle of a file fetches that file anew (the Hub's
    client keeps no parts).

    Args:
        endpoint: the Hub's.
        listing: where the files are from.
        files: those that are wanted.
        folder: where they go, without the folders of the repository.
        receipts: the file that remembers what was found right.
        workers: files at a time.
        progress: told after every file.

    Raises:
        DataFormatError: two files have one name, a name is none for a file, or the Hub sends other bytes than listed.
        StorageError: the disk is full or the folder cannot be written.
        ServiceUnavailableError: the Hub does not answer; complete files are kept.
    """
    _check_names(listing, files)
    make_folder(folder)
    shutil.rmtree(folder / _STAGING, ignore_errors=True)
    journal = Journal(receipts, listing.revision)
    wrong = [file for file in files if not _is_right(folder / file.name, file, journal)]
    tasks = {file.name: _Fetch(endpoint, listing.repo, listing.revision, file, folder) for file in wrong}
    LocalEngine(workers, retries=0).map(
        _fetch, tasks, stage="fetching files", needs=Needs(threads=True), progress=progress
    )
    for file in wrong:
        _note(folder / file.name, file, journal)
    shutil.rmtree(folder / _STAGING, ignore_errors=True)
    return Repair(len(wrong), len(files) - len(wrong))


def _is_right(path: Path, file: HubFile, journal: Journal) -> bool:
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    if status.st_size != file.size:
        return False
    if journal.completed.get(file.name) == [status.st_size, status.st_mtime_ns, file.digest]:
        return True
    with storage_errors("reading", path):
        right = hub_digest(path, file.digest) == file.digest
    if right:
        _note(path, file, journal)
    return right


def _note(path: Path, file: HubFile, journal: Journal) -> None:
    status = path.stat()
    journal.record(file.name, [status.st_size, status.st_mtime_ns, file.digest])


def _fetch(task: _Fetch) -> None:
    """Fetch into a hidden folder beside the place, check, and put in place."""
    staging = task.folder / _STAGING
    with hub_errors(task.endpoint, task.repo):
        fetched = Path(
            hub_api(task.endpoint, answer_seconds=_ANSWER_SECONDS).hf_hub_download(
                task.repo,
                task.file.path,
                repo_type="dataset",
                revision=task.revision,
                local_dir=staging,
                cache_dir=staging / ".cache",
            )
        )
    with storage_errors("writing", task.folder / task.file.name):
        if fetched.stat().st_size != task.file.size or hub_digest(fetched, task.file.digest) != task.file.digest:
            fetched.unlink()
            raise DataFormatError(
                f"The Hub sent other bytes for {task.file.path} of {task.repo} than it lists.",
                hint="It was not kept. Run the same command again: complete files are kept.",
            )
        fetched.replace(task.folder / task.file.name)


def _check_names(listing: Listing, files: Sequence[HubFile]) -> None:
    seen: dict[str, str] = {}
    for file in files:
        if not _SAFE_NAME.fullmatch(file.name):
            raise DataFormatError(f"{listing.repo} holds a file with the odd name {file.path!r}; nothing was fetched.")
        other = seen.setdefault(file.name, file.path)
        if other != file.path:
            raise DataFormatError(f"{listing.repo} holds {other} and {file.path}, which would be one file here.")


def _file(entry: Any) -> HubFile:
    return HubFile(path=entry.path, size=entry.size, digest=entry.lfs.sha256 if entry.lfs else entry.blob_id)
