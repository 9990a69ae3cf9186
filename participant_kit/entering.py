"""What entering is for every kind of entry: the registration, the manifest of its folder, the upload."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from competition import __version__
from competition.canonical import digest
from competition.client import LeaderboardClient
from competition.data.atomic import write_bytes
from competition.data.digests import file_sha256
from competition.errors import UsageError
from competition.records.lifecycle import Processing
from competition.records.manifest import MANIFEST_NAME, FileRole, ManifestFile, SubmissionManifest
from competition.records.submission import SubmissionRegistration, SubmissionRevision, SubmissionTicket, SubmissionView
from competition.rules import Competition, Scale, Track
from participant_kit.hub import HubTarget, upload

Notify = Callable[[str], None]


class Entered(Protocol):
    """Where something is entered, and how it is called."""

    @property
    def competition(self) -> Competition: ...
    @property
    def track(self) -> Track: ...
    @property
    def scale(self) -> Scale: ...
    @property
    def method_name(self) -> str: ...
    @property
    def author(self) -> str: ...
    @property
    def description(self) -> str: ...


@dataclass(frozen=True)
class DataCounts:
    """How much data an entry has, as its manifest says: uids of a subset with repeats and without, rows of external
    tables, samples of external shards; None of what it has not."""

    subset_samples: int | None = None
    subset_unique: int | None = None
    external_rows: int | None = None
    external_samples: int | None = None


def register(entry: Entered, hub: HubTarget, content: Mapping[str, str], client: LeaderboardClient) -> SubmissionTicket:
    """The ticket of this entry, or of its next attempt when the last one ended without a score."""
    for attempt in itertools.count():
        ticket = client.register(registration(entry, hub, content, attempt))
        if not ticket.processing.terminal or ticket.processing is Processing.SCORED:
            return ticket
    raise AssertionError


def registration(entry: Entered, hub: HubTarget, content: Mapping[str, str], attempt: int) -> SubmissionRegistration:
    """The announcement of an entry; its key is made from the content, so that repeating it yields the same ticket.

    Args:
        entry: what is entered.
        hub: where it will be.
        content: sha256 of what the entry holds, by what it is.
        attempt: how often the same was entered before.
    """
    fields: dict[str, str] = {
        "competition": entry.competition.id,
        "track": entry.track.id,
        "scale": entry.scale.id,
        "method_name": entry.method_name,
        "author": entry.author,
        "description": entry.description,
        "hub_endpoint": hub.endpoint,
        "repo": hub.repo,
    }
    key = digest({**fields, **content, "attempt": attempt})
    try:
        return SubmissionRegistration.model_validate({**fields, "idempotency_key": key})
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        if field == "repo":
            message = f"{hub.repo!r} is not the name of a repository."
            raise UsageError(message, hint="Give --hf-repo-name as NAME or USER/NAME.") from error
        raise UsageError(f"--{field.replace('_', '-')} cannot be used: {first['msg']}.") from error


def write_manifest(
    entry: Entered,
    ticket: SubmissionTicket,
    folder: Path,
    roles: Mapping[str, FileRole],
    counts: DataCounts = DataCounts(),
) -> SubmissionManifest:
    """Write ``submission.json`` for the files of ``roles`` in the folder; the same files yield the same bytes again."""
    manifest = SubmissionManifest(
        submission_id=ticket.submission_id,
        nonce=ticket.nonce,
        competition=entry.competition.id,
        competition_version=entry.competition.version,
        track=entry.track.id,
        scale=entry.scale.id,
        recipe_digest=entry.competition.training_digest(entry.scale),
        suite=entry.competition.suite.reference,
        suite_digest=entry.competition.suite.digest,
        method_name=entry.method_name,
        author=entry.author,
        description=entry.description,
        **vars(counts),
        files=tuple(_manifest_file(folder, name, role) for name, role in roles.items()),
        code_version=__version__,
        created_at=_first_made(folder, ticket.submission_id),
    )
    write_bytes(folder / MANIFEST_NAME, manifest.model_dump_json(indent=2).encode())
    return manifest


def deliver(
    manifest: SubmissionManifest, folder: Path, client: LeaderboardClient, hub: HubTarget, notify: Notify
) -> SubmissionView:
    """Upload a checked folder and announce its revision."""
    path = path_in_repo(manifest)
    sha = upload(hub, folder, path, f"Submission {manifest.submission_id}: {manifest.method_name}")
    notify(f"Uploaded to {hub.url} at {sha[:12]}")
    return client.set_revision(manifest.submission_id, SubmissionRevision(revision=sha, path=path))


def path_in_repo(manifest: SubmissionManifest) -> str:
    """The submission's own folder in its repository, so that nothing is ever overwritten."""
    return f"{manifest.competition}/{manifest.track}/{manifest.scale}/{manifest.submission_id}"


def place(source: Path, target: Path) -> None:
    """Put a file into the folder without copying its bytes where the file system allows it."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _manifest_file(folder: Path, name: str, role: FileRole) -> ManifestFile:
    path = folder / name
    return ManifestFile(path=name, role=role, size=path.stat().st_size, sha256=file_sha256(path))


def _first_made(folder: Path, submission_id: str) -> datetime:
    """When this submission's manifest was first written, so that a repeated assembly yields the same bytes."""
    path = folder / MANIFEST_NAME
    if path.is_file():
        try:
            earlier = SubmissionManifest.model_validate_json(path.read_bytes())
        except ValidationError:
            return datetime.now(UTC)
        if earlier.submission_id == submission_id:
            return earlier.created_at
    return datetime.now(UTC)
