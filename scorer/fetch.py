"""Bringing an entry from the Hub into the mirror: the manifest first, then only what it lists, sizes before bytes."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from competition.data.atomic import storage_error
from competition.data.digests import file_sha256
from competition.errors import RejectionError, RejectionReason, ServiceUnavailableError
from competition.hub import hub_api
from competition.records.manifest import MANIFEST_NAME, ManifestFile, SubmissionManifest
from competition.verification.files import digest_mismatch, size_mismatch
from competition.verification.manifest import MAX_MANIFEST_BYTES, manifest_too_large, parse_manifest
from scorer.mirror import Mirror, MirroredEntry, Source

_LOCAL_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO, errno.EMFILE}
_GONE = {401, 403, 404, 410, 451}
_PATHS_A_CALL = 100
_ANSWER_S = 30.0
_SHA1_DIGITS = 40
_BLOCK_BYTES = 2**20

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
    hub = Hub(source, token)
    with mirror.scratch() as scratch:
        manifest = parse_manifest(_manifest_bytes(hub, scratch))
        admit(manifest)
        remote = hub.describe([file.path for file in manifest.files])
        for file in manifest.files:
            _check_announced(file, remote.get(file.path))
        for file in manifest.files:
            # A digest in a manifest is a claim; only the Hub's own word shows that the repository holds the file.
            if remote[file.path].sha256 is None or not mirror.holds(file.sha256, file.size):
                _take(file, remote[file.path], hub.download(file.path, scratch), mirror)
    mirror.remember(submission_id, MirroredEntry(source=source, manifest=manifest))
    return manifest


class Hub:
    """The calls that fetching needs, over the official client; every failure in our own error types."""

    def __init__(self, source: Source, token: str | None) -> None:
        self._source = source
        self._api = hub_api(source.endpoint, answer_seconds=_ANSWER_S, token=token or False)

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

    def download(self, path: str, folder: Path) -> Path:
        """Download one file of the entry's folder into ``folder`` (which is not a cache: nothing is linked)."""
        with _hub_errors(self._source, path):
            return Path(
                self._api.hf_hub_download(
                    self._source.repo,
                    f"{self._source.path}/{path}",
                    revision=self._source.revision,
                    local_dir=folder,
                    cache_dir=folder / ".cache",
                )
            )


def _manifest_bytes(hub: Hub, scratch: Path) -> bytes:
    announced = hub.describe([MANIFEST_NAME]).get(MANIFEST_NAME)
    if announced is None:
        raise RejectionError(
            RejectionReason.MANIFEST_MISSING, f"The submission's folder holds no {MANIFEST_NAME} at the given revision."
        )
    if announced.size > MAX_MANIFEST_BYTES:
        raise manifest_too_large(announced.size)
    downloaded = hub.download(MANIFEST_NAME, scratch)
    if not _is_announced(downloaded, announced):
        raise _other_bytes(MANIFEST_NAME)
    with downloaded.open("rb") as stream:
        return stream.read(MAX_MANIFEST_BYTES + 1)


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


def _take(file: ManifestFile, remote: RemoteFile, downloaded: Path, mirror: Mirror) -> None:
    """Put a downloaded file into the mirror if it is what was promised.

    What is not has to be what the Hub holds before the entry is blamed: bytes change on their way, too.
    """
    size = downloaded.stat().st_size
    if size != file.size:
        raise ServiceUnavailableError(
            f"The Hub sent {size} bytes of {file.path} where it had announced {file.size}.", hint="It is tried again."
        )
    found = file_sha256(downloaded)
    if found != file.sha256:
        raise digest_mismatch(file, found) if _is_announced(downloaded, remote) else _other_bytes(file.path)
    mirror.adopt(downloaded, file.sha256)


def _is_announced(downloaded: Path, remote: RemoteFile) -> bool:
    """Whether these bytes are those that the Hub holds, as far as it says what they are."""
    if remote.sha256 is not None:
        return file_sha256(downloaded) == remote.sha256
    return remote.blob is None or len(remote.blob) != _SHA1_DIGITS or _git_blob(downloaded) == remote.blob


def _git_blob(path: Path) -> str:
    """Git's name of a file's content: the sha1 of ``blob``, its size and its bytes (Pro Git, "Git Objects")."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


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


def _repository_not_found(source: Source) -> RejectionError:
    return RejectionError(
        RejectionReason.REPOSITORY_NOT_FOUND,
        f"The Hub at {source.endpoint} shows no repository {source.repo} with revision {source.revision}.",
    )


def _unavailable(source: Source, what: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        f"The Hub at {source.endpoint} failed while {source.repo} was fetched ({what}).", hint="It is tried again."
    )
