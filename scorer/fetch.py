"""Bringing an entry from the Hub into the mirror: the manifest first, then only what it lists, sizes before bytes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from competition import __version__
from competition.data.atomic import storage_error, storage_errors
from competition.data.digests import file_sha256
from competition.errors import RejectionError, RejectionReason, ServiceUnavailableError
from competition.hub import OFFICIAL_ENDPOINT, hub_api
from competition.records.manifest import MANIFEST_NAME, ManifestFile, SubmissionManifest
from competition.verification.files import digest_mismatch, size_mismatch
from competition.verification.manifest import MAX_MANIFEST_BYTES, manifest_too_large, parse_manifest
from scorer.download import Downloader, Received, UnexpectedSizeError, UnexpectedStatusError
from scorer.mirror import Mirror, MirroredEntry, Source

_LOCAL_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO, errno.EMFILE}
_GONE = {401, 403, 404, 410, 451}
_PATHS_A_CALL = 100
_ANSWER_S = 30.0
_SHA1_DIGITS = 40
# Small files are waited for longer than they travel.
_FILES_AT_A_TIME = 8
# What huggingface.co sends by plain HTTP; for more it wants its own client.
_LARGEST_ANSWER = 50_000_000_000
# How a Hub tells a repository or a revision that is not there from a file that is not.
_NO_REPOSITORY = {"RepoNotFound", "RevisionNotFound"}

Admission = Callable[[SubmissionManifest], None]


@dataclass(frozen=True)
class RemoteFile:
    """What the Hub says about a file before it is fetched.

    ``sha256`` only of files in large-file storage; ``blob``, git's name of the content, only of the others.
    """

    size: int
    sha256: str | None
    blob: str | None


def fetch(
    submission_id: str, source: Source, mirror: Mirror, admit: Admission, token: str | None
) -> SubmissionManifest:
    """Mirror an entry and return its manifest. What is already in the mirror is not fetched again.

    Args:
        submission_id: under which the mirror remembers the entry.
        source: the folder at its pinned commit.
        mirror: where the files go.
        admit: raises ``RejectionError`` when the manifest alone shows that the entry need not be fetched.
        token: for the Hub; None reads as a stranger, whatever login this machine may have.

    Raises:
        RejectionError: repository, manifest or a file is not there, or is not what the manifest says.
        ServiceUnavailableError: the Hub does not answer, or answers something else than what it announced.
        StorageError: the mirror's disk is full or cannot be written.
    """
    if any(part.startswith(".") for part in source.path.split("/")):
        raise RejectionError(
            RejectionReason.PATH_NOT_ALLOWED,
            f"The submission's folder {source.path!r} is hidden: a part of its path begins with a dot.",
        )
    known = mirror.recall(submission_id, source)
    if known is not None:
        return known
    with Hub(source, token) as hub, mirror.scratch() as scratch:
        manifest = parse_manifest(_manifest_bytes(hub, scratch))
        admit(manifest)
        remote = hub.describe([file.path for file in manifest.files])
        for file in manifest.files:
            _check_announced(file, remote.get(file.path))
        # A digest in a manifest is a claim; only the Hub's own word shows that the repository holds the file.
        absent = [
            file
            for file in manifest.files
            if remote[file.path].sha256 is None or not mirror.keeps(file.sha256, file.size)
        ]
        _take_all(absent, remote, hub, mirror, scratch)
    mirror.remember(submission_id, MirroredEntry(source=source, manifest=manifest))
    return manifest


class Hub:
    """The calls that fetching needs; every failure in our own error types. Downloads may run in several threads."""

    def __init__(self, source: Source, token: str | None) -> None:
        self._source = source
        self._api = hub_api(source.endpoint, answer_seconds=_ANSWER_S, token=token or False)
        headers = {"User-Agent": f"datacup/{__version__}"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._downloader = Downloader(headers, _ANSWER_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._downloader.close()

    def describe(self, paths: list[str]) -> dict[str, RemoteFile]:
        """What the Hub announces about these files of the entry's folder; absent ones are left out."""
        found: dict[str, RemoteFile] = {}
        prefix = f"{self._source.path}/"
        with _hub_errors(self._source):
            for start in range(0, len(paths), _PATHS_A_CALL):
                wanted = [prefix + path for path in paths[start : start + _PATHS_A_CALL]]
                for info in self._api.get_paths_info(self._source.repo, wanted, revision=self._source.revision):
                    size = getattr(info, "size", None)
                    if size is not None:
                        lfs = getattr(info, "lfs", None)
                        digest = lfs.sha256 if lfs is not None else None
                        blob = getattr(info, "blob_id", None) if lfs is None else None
                        found[info.path.removeprefix(prefix)] = RemoteFile(size, digest, blob)
        return found

    def download(self, path: str, announced: RemoteFile, target: Path) -> Received:
        """Download one file of the entry's folder into the new file ``target``."""
        if announced.size > _LARGEST_ANSWER and self._source.endpoint.rstrip("/") == OFFICIAL_ENDPOINT:
            return self._download_chunked(path, target)
        remote = quote(f"{self._source.path}/{path}")
        url = f"{self._source.endpoint.rstrip('/')}/{self._source.repo}/resolve/{self._source.revision}/{remote}"
        with _download_errors(self._source, path, announced.size):
            return self._downloader.download(url, target, announced.size, blob=announced.sha256 is None)

    def _download_chunked(self, path: str, target: Path) -> Received:
        """Files that huggingface.co sends in chunks of its own kind alone: by its client, and read once more."""
        folder = target.with_name(f"{target.name}.parts")
        os.environ["HF_XET_CACHE"] = str(folder / ".xet")  # in the mirror's scratch: elsewhere there is little room
        with _hub_errors(self._source, path):
            found = self._api.hf_hub_download(
                self._source.repo,
                f"{self._source.path}/{path}",
                revision=self._source.revision,
                local_dir=folder,
                cache_dir=folder / ".cache",
            )
        with storage_errors("fetching into", target):
            Path(found).replace(target)
            return Received(target, target.stat().st_size, file_sha256(target), None)


def _manifest_bytes(hub: Hub, scratch: Path) -> bytes:
    announced = hub.describe([MANIFEST_NAME]).get(MANIFEST_NAME)
    if announced is None:
        raise RejectionError(
            RejectionReason.MANIFEST_MISSING, f"The submission's folder holds no {MANIFEST_NAME} at the given revision."
        )
    if announced.size > MAX_MANIFEST_BYTES:
        raise manifest_too_large(announced.size)
    received = hub.download(MANIFEST_NAME, announced, scratch / MANIFEST_NAME)
    if not _is_announced(received, announced):
        raise _other_bytes(MANIFEST_NAME)
    with storage_errors("reading", received.path):
        return received.path.read_bytes()


def _check_announced(file: ManifestFile, remote: RemoteFile | None) -> None:
    """What the Hub announces must already be what the manifest says: a wrong gigabyte need not travel."""
    if remote is None:
        raise RejectionError(
            RejectionReason.FILE_MISSING, f"{file.path} is listed in {MANIFEST_NAME} but is not in the repository."
        )
    if remote.size != file.size:
        raise size_mismatch(file, remote.size)
    if remote.sha256 is not None and remote.sha256 != file.sha256:
        raise digest_mismatch(file, remote.sha256)


def _take_all(
    files: Sequence[ManifestFile], remote: Mapping[str, RemoteFile], hub: Hub, mirror: Mirror, scratch: Path
) -> None:
    """Fetch files, several at a time; what has come whole is kept though another one fails."""

    def take(number: int) -> None:
        file = files[number]
        _take(file, remote[file.path], hub.download(file.path, remote[file.path], scratch / str(number)), mirror)

    with ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
        taking = [pool.submit(take, number) for number in range(len(files))]
        try:
            for each in as_completed(taking):
                each.result()
        finally:
            for each in taking:
                each.cancel()


def _take(file: ManifestFile, remote: RemoteFile, received: Received, mirror: Mirror) -> None:
    """Put a downloaded file into the mirror if it is what was promised.

    What is not has to be what the Hub holds before the entry is blamed: bytes change on their way, too.
    """
    if received.sha256 != file.sha256:
        raise digest_mismatch(file, received.sha256) if _is_announced(received, remote) else _other_bytes(file.path)
    mirror.adopt(received.path, file.sha256)


def _is_announced(received: Received, remote: RemoteFile) -> bool:
    """Whether these bytes are those that the Hub holds, as far as it says what they are."""
    if remote.sha256 is not None:
        return received.sha256 == remote.sha256
    return remote.blob is None or len(remote.blob) != _SHA1_DIGITS or received.blob == remote.blob


def _other_bytes(path: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        f"The Hub sent other bytes of {path} than those that it says it holds.", hint="It is tried again."
    )


@contextmanager
def _hub_errors(source: Source, path: str | None = None) -> Iterator[None]:
    """Turn the failures of the Hub's client into rejections (the entry's fault) or unavailability (not its fault)."""
    from huggingface_hub import errors

    # Transport errors are those of whichever HTTP library the client's version uses: its own error class says which.
    transport: Any = errors.HfHubHTTPError.__bases__[0]
    try:
        yield
    except errors.HFValidationError as error:
        raise _repository_not_found(source) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise _repository_not_found(source) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        if path is not None and status == 404:
            raise RejectionError(
                RejectionReason.FILE_MISSING, f"{path} is not in the repository at revision {source.revision}."
            ) from error
        if status in _GONE:
            raise _repository_not_found(source) from error
        raise _unavailable(source, f"HTTP {status}") from error
    except (OSError, transport) as error:
        if isinstance(error, OSError) and error.errno in _LOCAL_ERRORS:
            raise storage_error(error, "fetching into", Path(error.filename or "the mirror")) from error
        raise _unavailable(source, type(error).__name__) from error


@contextmanager
def _download_errors(source: Source, path: str, size: int) -> Iterator[None]:
    """The same of a download."""
    try:
        yield
    except UnexpectedStatusError as error:
        if error.status == httpx.codes.NOT_FOUND and error.reason not in _NO_REPOSITORY:
            raise RejectionError(
                RejectionReason.FILE_MISSING, f"{path} is not in the repository at revision {source.revision}."
            ) from error
        if error.status in _GONE:
            raise _repository_not_found(source) from error
        raise _unavailable(source, f"HTTP {error.status}") from error
    except UnexpectedSizeError as error:
        raise ServiceUnavailableError(
            f"The Hub sent other than the {size} bytes of {path} that it had announced.", hint="It is tried again."
        ) from error
    except httpx.HTTPError as error:
        raise _unavailable(source, type(error).__name__) from error
    except OSError as error:
        raise storage_error(error, "fetching into", Path(error.filename or "the mirror")) from error


def _repository_not_found(source: Source) -> RejectionError:
    return RejectionError(
        RejectionReason.REPOSITORY_NOT_FOUND,
        f"The Hub at {source.endpoint} shows no repository {source.repo} with revision {source.revision}.",
    )


def _unavailable(source: Source, what: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        f"The Hub at {source.endpoint} failed while {source.repo} was fetched ({what}).", hint="It is tried again."
    )
