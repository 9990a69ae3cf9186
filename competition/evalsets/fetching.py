"""The files of one evaluation set from the Hub at one commit: checked, and resumed within a file.

A file arrives as ``<file>.part``; a run that was cut off goes on at its end. Only what has the size and the digest that
the Hub (or the set's lock) gives loses that ending.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from competition.data.atomic import make_folder, storage_errors
from competition.data.digests import hub_digest
from competition.data.engine import LocalEngine, Needs
from competition.errors import DataFormatError
from competition.evalsets.layout import MAX_FILES, MAX_SET_BYTES, byte_limit
from competition.evalsets.lock import LockedFile, SetLock
from competition.hub import hub_api
from competition.hub_errors import hub_errors
from competition.progress import ProgressHook
from competition.records.base import CommitSha, Record

PART_SUFFIX = ".part"
_ANSWER_SECONDS = 120.0
_GONE = "The set's lock file, or the run that was cut off, is of the commit {}. Move both away to take today's."


class RemoteFile(Record):
    """A file as it is wanted: ``digest`` is its sha256, or git's blob id where the Hub says no more."""

    path: str
    size: int = Field(ge=0)
    digest: str


class RemoteSet(Record):
    """The files of a set in a repository at a commit."""

    repo: str
    revision: CommitSha
    files: tuple[RemoteFile, ...] = Field(min_length=1)


def look_up(endpoint: str, repo: str, revision: str) -> RemoteSet:
    """What the repository holds of an evaluation set at a revision, by the commit that this is now.

    Args:
        endpoint: the Hub's address.
        repo: ``OWNER/NAME`` of a dataset.
        revision: a branch, a tag or a commit.

    Raises:
        NotFoundError, AuthenticationError, PermissionDeniedError: the Hub does not give it.
        DataFormatError: it holds no evaluation set, or one that is larger than any may be.
        ServiceUnavailableError: the Hub does not answer.
    """
    asked = f"It was asked for {revision!r}, as the suite's task says; --only another task, or correct the suite."
    with hub_errors(endpoint, repo, asked):
        api = hub_api(endpoint, answer_seconds=_ANSWER_SECONDS)
        commit = str(api.repo_info(repo, repo_type="dataset", revision=revision).sha)
        listed = api.list_repo_tree(repo, recursive=True, revision=commit, repo_type="dataset")
        entries = [entry for entry in listed if getattr(entry, "size", None) is not None]
    files = tuple(_remote(entry) for entry in entries if byte_limit(entry.path) is not None)
    _check(repo, files)
    return RemoteSet(repo=repo, revision=commit, files=files)


def of_lock(lock: SetLock, repo: str, revision: str) -> RemoteSet:
    """What a lock says that the set's files are at its commit (raises ``DataFormatError`` for no such set)."""
    files = tuple(RemoteFile(path=file.path, size=file.size, digest=file.sha256) for file in lock.files)
    strange = [file.path for file in files if byte_limit(file.path) is None]
    if strange:
        raise DataFormatError(f"The lock of {lock.name} lists {strange[0]!r}, which is no file of a published set.")
    _check(repo, files)
    return RemoteSet(repo=repo, revision=revision, files=files)


def locked_files(remote: RemoteSet, digests: Mapping[str, str]) -> tuple[LockedFile, ...]:
    """The files as a lock has them, with the sha256 of each."""
    return tuple(LockedFile(path=file.path, size=file.size, sha256=digests[file.path]) for file in remote.files)


def wrong_files(folder: Path, remote: RemoteSet, workers: int, progress: ProgressHook | None) -> list[RemoteFile]:
    """Those files that are not below ``folder`` with the right size and digest (raises ``StorageError``)."""
    tasks = {file.path: (folder, file) for file in remote.files}
    stage = f"checking {folder.name}"
    right = LocalEngine(workers, retries=0).map(
        _is_right, tasks, stage=stage, needs=Needs(threads=True), progress=progress
    )
    return [file for file in remote.files if not right[file.path]]


def fetch(
    endpoint: str,
    remote: RemoteSet,
    files: Sequence[RemoteFile],
    folder: Path,
    workers: int,
    progress: ProgressHook | None,
) -> None:
    """Bring files into ``folder``, several at a time.

    Raises:
        DataFormatError: the Hub sends other bytes than it lists (or than the set's lock demands); they are not kept.
        StorageError: the disk is full or the folder cannot be written.
        ServiceUnavailableError: the Hub does not answer, or the connection breaks again and again; what has arrived
            stays in ``.part`` files, and the next run goes on there.
    """
    for parent in sorted({(folder / file.path).parent for file in files}):
        make_folder(parent)
    tasks = {file.path: file for file in files}
    LocalEngine(workers, retries=0).map(
        partial(_fetch, endpoint, remote, folder),
        tasks,
        stage=f"fetching {folder.name}",
        needs=Needs(threads=True),
        progress=progress,
    )


class _Bounded(io.FileIO):
    """A file that takes no more bytes than were announced: a stranger's server decides what it sends."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(path, "a+b")
        self._limit = limit

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._limit:
            raise _TooLongError
        view, written = memoryview(data), 0
        while written < len(view):  # a raw file may take a part
            written += super().write(view[written:])
        return written


class _TooLongError(Exception):
    """More bytes came than were announced."""


def _fetch(endpoint: str, remote: RemoteSet, folder: Path, file: RemoteFile) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    target = folder / file.path
    part = target.with_name(target.name + PART_SUFFIX)
    hub_api(endpoint, answer_seconds=_ANSWER_SECONDS)  # sets the client up for this endpoint
    url = hf_hub_url(remote.repo, file.path, repo_type="dataset", revision=remote.revision, endpoint=endpoint)
    try:
        with storage_errors("writing", part):
            begun = part.stat().st_size if part.exists() else 0
        if begun > file.size:
            raise _TooLongError
        with hub_errors(endpoint, remote.repo, _GONE.format(remote.revision[:12])), _Bounded(part, file.size) as stream:
            http_get(url, stream, resume_size=begun, headers=build_hf_headers(), expected_size=file.size)
    except _TooLongError:
        raise _other_bytes(part, remote, file) from None
    with storage_errors("reading", part):
        right = part.stat().st_size == file.size and hub_digest(part, file.digest) == file.digest
    if not right:
        raise _other_bytes(part, remote, file)
    with storage_errors("writing", target):
        part.replace(target)


def _other_bytes(part: Path, remote: RemoteSet, file: RemoteFile) -> DataFormatError:
    with storage_errors("removing", part):
        part.unlink(missing_ok=True)
    return DataFormatError(
        f"The Hub sent other bytes for {file.path} of {remote.repo} than it should have at {remote.revision[:12]}.",
        hint="They were not kept. Run the same command again: complete files are kept.",
    )


def _is_right(task: tuple[Path, RemoteFile]) -> bool:
    folder, file = task
    path = folder / file.path
    with storage_errors("reading", path):
        return path.is_file() and path.stat().st_size == file.size and hub_digest(path, file.digest) == file.digest


def _remote(entry: Any) -> RemoteFile:
    return RemoteFile(path=entry.path, size=entry.size, digest=entry.lfs.sha256 if entry.lfs else entry.blob_id)


def _check(repo: str, files: Sequence[RemoteFile]) -> None:
    if not files:
        raise DataFormatError(
            f"{repo} holds no evaluation set in the webdataset layout.", hint="Is this the right repository?"
        )
    total = sum(file.size for file in files)
    large = [file.path for file in files if file.size > (byte_limit(file.path) or 0)]
    if large or len(files) > MAX_FILES or total > MAX_SET_BYTES:
        what = f"{large[0]} is too large" if large else f"{len(files):,} files of {total:,} bytes are too many"
        raise DataFormatError(f"{repo} is no evaluation set: {what}. Nothing was fetched.")
