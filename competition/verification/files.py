"""Whether the files are the ones that the manifest promises."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from competition.errors import RejectionError, RejectionReason
from competition.records.manifest import ManifestFile, SubmissionManifest
from competition.verification.entry import Entry, Findings


def locate(folder: Path, manifest: SubmissionManifest) -> dict[str, Path]:
    """Where the files of a manifest lie in a submission folder; no part of a path may be a link."""
    paths: dict[str, Path] = {}
    for file in manifest.files:
        place = folder
        for part in file.path.split("/"):
            place /= part
            if place.is_symlink():
                raise RejectionError(
                    RejectionReason.PATH_NOT_ALLOWED,
                    f"{file.path} is or goes through a symbolic link; list real files.",
                )
        paths[file.path] = place
    return paths


def check_digests(entry: Entry) -> Findings:
    """Every listed file is there, is a plain file, and has the size and sha256 that the manifest says."""
    for file in entry.manifest.files:
        check_file(file, entry.paths[file.path])
    return {file.path: file.sha256 for file in entry.manifest.files}


def check_file(file: ManifestFile, path: Path) -> None:
    """One file against its line in the manifest; sizes are compared before a byte is read."""
    try:
        # Asked before it is opened, too: where devices cannot be opened, that would be all there is to say of one.
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _not_plain(file)
        # O_NONBLOCK: opening a named pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise RejectionError(
            RejectionReason.FILE_MISSING, f"{file.path} is listed but cannot be read ({error.strerror})."
        ) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):  # asked before it becomes a stream, which a folder cannot
        os.close(descriptor)
        raise _not_plain(file)
    with os.fdopen(descriptor, "rb") as stream:
        if status.st_size != file.size:
            raise size_mismatch(file, status.st_size)
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.sha256:
        raise digest_mismatch(file, found)


def _not_plain(file: ManifestFile) -> RejectionError:
    return RejectionError(RejectionReason.PATH_NOT_ALLOWED, f"{file.path} is not a plain file.")


def size_mismatch(file: ManifestFile, found: int) -> RejectionError:
    """The rejection of a file that has ``found`` bytes."""
    return RejectionError(
        RejectionReason.SIZE_MISMATCH, f"{file.path} has {found} bytes; the manifest says {file.size}."
    )


def digest_mismatch(file: ManifestFile, found: str) -> RejectionError:
    """The rejection of a file whose sha256 is ``found``."""
    return RejectionError(
        RejectionReason.DIGEST_MISMATCH, f"{file.path} has sha256 {found}; the manifest says {file.sha256}."
    )
