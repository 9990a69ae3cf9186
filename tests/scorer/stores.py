"""Mirrors and archives with something in them."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from pathlib import Path

from fsspec.implementations.memory import MemoryFileSystem

from competition.records.manifest import FileRole, ManifestFile, SubmissionManifest
from scorer.archive import Archive
from scorer.archiving import Archiving, Patience
from scorer.mirror import Mirror, MirroredEntry, Source

PATIENCE = Patience(guard=lambda: None, seconds=60, free_bytes=0)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry_of(submission_id: str, *contents: bytes) -> MirroredEntry:
    """An entry of files with these contents."""
    files = tuple(
        ManifestFile(path=f"{number}.jsonl", role=FileRole.RESULTS, size=len(content), sha256=sha256(content))
        for number, content in enumerate(contents)
    )
    manifest = SubmissionManifest(
        submission_id=submission_id,
        nonce="0" * 64,
        competition="tiny",
        competition_version=1,
        track="filtering",
        scale="nano",
        recipe_digest="0" * 64,
        suite="tiny@1",
        suite_digest="0" * 64,
        method_name="m",
        author="a",
        files=files,
        code_version="0.1.0",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    source = Source(
        endpoint="http://127.0.0.1:1", repo="alice/entry", revision="c" * 40, path=f"entries/{submission_id}"
    )
    return MirroredEntry(source=source, manifest=manifest)


def mirrored(mirror: Mirror, submission_id: str, *contents: bytes) -> MirroredEntry:
    """Put an entry into a mirror as fetching does."""
    for content in contents:
        with mirror.scratch() as scratch:
            (scratch / "file").write_bytes(content)
            mirror.adopt(scratch / "file", sha256(content))
    entry = entry_of(submission_id, *contents)
    mirror.remember(submission_id, entry)
    return entry


def folder_archive(folder: Path) -> Archive:
    """An archive in a folder, by its URL."""
    return Archive.open(folder.as_uri())


def bucket_archive() -> Archive:
    """An archive in a store like S3: no folders, no renaming, a file appears when it is closed."""
    return Archive(MemoryFileSystem(), f"/bucket-{uuid.uuid4().hex}/archive")


def archiving(mirror: Mirror, archive: Archive, patience: Patience = PATIENCE) -> Archiving:
    return Archiving(mirror, archive, patience)
