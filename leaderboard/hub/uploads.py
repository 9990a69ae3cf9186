"""What an upload becomes: the mode of each file, and the operations in a commit's body."""

from __future__ import annotations

import base64
import binascii
import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from leaderboard.hub.bodies import malformed
from leaderboard.hub.commits import AddFile, DeleteFile, DeleteFolder, FileEntry, Operation
from leaderboard.hub.errors import BadRequestError, RevisionNotFoundError, TooLargeError
from leaderboard.hub.files import write_whole
from leaderboard.hub.names import BRANCH, check_path
from leaderboard.hub.repositories import Repository
from leaderboard.hub.schemas import (
    COMMIT_LINE,
    CommitHeader,
    CommitLine,
    DeletionLine,
    FileLine,
    HeaderLine,
    LfsFile,
    PreuploadFile,
    RegularFile,
)
from leaderboard.hub.settings import HubSettings

# Room for everything in a line of a commit but the content.
_LINE_OVERHEAD = 1024**2


def require_branch(repository: Repository, revision: str) -> None:
    """Raises RevisionNotFoundError unless the revision is the one branch that can be written."""
    if revision not in {BRANCH, f"refs/heads/{BRANCH}"}:
        raise RevisionNotFoundError(
            f"{repository.id} has no branch {revision[:80]}.", hint=f"This Hub keeps one branch, {BRANCH}."
        )


def is_large(file: PreuploadFile, max_regular_bytes: int) -> bool:
    """Whether a file goes through LFS: because of its size, or because its first bytes are not text.

    Empty files never do: clients refuse that.
    """
    if file.size == 0:
        return False
    return file.size > max_regular_bytes or not _is_text(_decode(file.sample, f"the sample of {file.path}"))


def _is_text(sample: bytes) -> bool:
    try:
        # Not final: the sample may end in the middle of a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(sample, final=False)
    except UnicodeDecodeError:
        return False
    return "\0" not in text


def _decode(content: str, what: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequestError(f"The base64 of {what} is malformed.") from None


@dataclass(frozen=True)
class CommitRequest:
    """A commit's body, with the contents of its regular files already stored."""

    header: CommitHeader
    operations: list[Operation]


def read_commit(body: Path, repository: Repository, settings: HubSettings) -> CommitRequest:
    """Parse an ndjson body line by line; raises BadRequestError, TooLargeError or DiskFullError."""
    header: CommitHeader | None = None
    operations: list[Operation] = []
    for line in _lines(body, settings.max_regular_bytes * 4 // 3 + _LINE_OVERHEAD):
        if len(operations) == settings.max_files_per_repository:
            raise TooLargeError(f"The commit has more than {len(operations)} changes.", hint="Make several commits.")
        if isinstance(line, HeaderLine):
            if header is not None:
                raise BadRequestError("The commit has two header lines.")
            header = line.value
        elif isinstance(line, FileLine):
            operations.append(_regular_file(line.value, repository, settings.max_regular_bytes))
        elif isinstance(line, DeletionLine):
            deletion = DeleteFile if line.key == "deletedFile" else DeleteFolder
            operations.append(deletion(check_path(line.value.path.rstrip("/"))))
        else:
            operations.append(_lfs_file(line.value, repository))
    if header is None:
        raise BadRequestError("The commit has no header line.")
    return CommitRequest(header, operations)


def _lines(body: Path, max_line: int) -> Iterator[CommitLine]:
    with body.open("rb") as file:
        number = 0
        while line := file.readline(max_line + 1):
            number += 1
            if len(line) > max_line:
                raise TooLargeError(
                    f"Line {number} of the commit is larger than the {max_line} bytes that are allowed."
                )
            if not line.strip():
                continue
            try:
                yield COMMIT_LINE.validate_json(line)
            except ValidationError as error:
                raise malformed(f"Line {number} of the commit", error) from None


def _regular_file(file: RegularFile, repository: Repository, max_bytes: int) -> AddFile:
    path = check_path(file.path)
    content = _decode(file.content, path) if file.encoding == "base64" else file.content.encode(errors="replace")
    if len(content) > max_bytes:
        raise TooLargeError(
            f"{path} has {len(content)} bytes; a regular file has at most {max_bytes}.", hint="Upload it through LFS."
        )
    entry = FileEntry.regular(content)
    if repository.blob_size(entry.content_id) is None:
        write_whole(repository.blob_path(entry.content_id), content, repository.scratch)
    return AddFile(path, entry)


def _lfs_file(file: LfsFile, repository: Repository) -> AddFile:
    path = check_path(file.path)
    stored = repository.blob_size(file.oid)
    if stored is None or file.size not in {None, stored}:
        raise BadRequestError(
            f"The content of {path} (sha256 {file.oid}, {file.size} bytes) has not been uploaded to {repository.id}.",
            hint="Upload the LFS object first, then commit.",
        )
    return AddFile(path, FileEntry.lfs(file.oid, stored))
