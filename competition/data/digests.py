"""Digests of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOB_ID_DIGITS = 40


def file_sha256(path: Path) -> str:
    """Lower-case hex sha256 of a file's bytes, read in chunks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hub_digest(path: Path, given: str) -> str:
    """The digest of the kind that the Hub gives for a file: git's blob id has 40 digits, a large file's sha256 64."""
    if len(given) != _BLOB_ID_DIGITS:
        return file_sha256(path)
    blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            blob.update(chunk)
    return blob.hexdigest()
