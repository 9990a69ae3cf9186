"""What entering is for every kind of entry: check -> register -> upload -> announce the revision.

An entry is assembled and checked before anybody hears of it; the same check is all that `datacup check` does. Every
step can be repeated: a registration is idempotent, the folder is made anew from the same files, the Hub takes only
what it lacks.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import ValidationError

from competition import __version__
from competition.canonical import digest
from competition.client import LeaderboardClient
from competition.data.atomic import make_folder, write_bytes
from competition.data.digests import file_sha256
from competition.errors import UsageError
from competition.records.lifecycle import Processing
from competition.records.manifest import MANIFEST_NAME, FileRole, ManifestFile, SubmissionManifest
from competition.records.submission import SubmissionRegistration, SubmissionRevision, SubmissionTicket, SubmissionView
from competition.rules import Competition, Scale, Track
from competition.verification.report import CheckReport, report_on
from participant_kit.hub import HubTarget, upload

if TYPE_CHECKING:
    from competition.data.uids import UidArray

Notify = Callable[[str], None]
_DRAFT = ".checked-"
_ABANDONED_S = 24 * 3600.0
STAND_IN = SubmissionTicket(submission_id="not-registered", nonce="0" * 64, processing=Processing.DRAFT)
"""In the manifest of an entry that is checked before it is registered. No check here looks at id and nonce."""


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
    @property
    def workplace(self) -> Path:
        """The folder that the entry's files lie in; its submission folders are made there."""
        ...

    def require(self) -> None:
        """Raise ``UsageError`` when there is nothing that could be entered."""
        ...

    def content(self) -> dict[str, str]:
        """sha256 of what the entry holds, by what it is."""
        ...

    def assemble(self, ticket: SubmissionTicket, folder: Path) -> SubmissionManifest:
        """Make the submission folder and its manifest; the same files yield the same bytes again."""
        ...

    def known_uids(self, folder: Path) -> UidArray | None:
        """Of the pool's uids, sorted, at least those that the assembled subset has; None without a pool at hand."""
        ...


@dataclass(frozen=True)
class DataCounts:
    """How much data an entry has, as its manifest says: uids of a subset with repeats and without, rows of external
    tables, samples of external shards; None of what it has not."""

    subset_samples: int | None = None
    subset_unique: int | None = None
    external_rows: int | None = None
    external_samples: int | None = None


def enter(entry: Entered, client: LeaderboardClient, hub: HubTarget, notify: Notify) -> SubmissionView:
    """Enter: check, register, upload, announce. Repeating an interrupted call goes on where it stopped; what was
    entered is not entered again.

    Raises:
        UsageError: a part of the entry is missing, or a name cannot be used.
        RejectionError: the entry breaks a rule; reason and message are those that the scorer would give. Nothing was
            registered.
    """
    with checked(entry, hub) as (report, draft):
        report.require_valid()
        notify(f"Checked: {', '.join(each.name for each in report.passed)}")
        notify(f"Not checked here: {'; '.join(report.unchecked)}.")
        ticket = register(entry, hub, entry.content(), client)
        if ticket.processing is not Processing.DRAFT:
            # Its revision stands, and is no longer the repository's newest where another entry followed.
            notify(f"Already entered as {ticket.submission_id}")
            return client.submission(ticket.submission_id)
        notify(f"Registered as {ticket.submission_id}")
        folder = entry.workplace / "submissions" / ticket.submission_id
        manifest = _adopt(draft, ticket, folder)
    return deliver(manifest, folder, client, hub, notify)


@contextmanager
def checked(entry: Entered, hub: HubTarget) -> Iterator[tuple[CheckReport, Path]]:
    """Assemble an entry and check it as the scorer will: the report, and the folder, which goes at the end.

    Raises ``UsageError`` where there is nothing to check: a part is missing, or a name cannot be used.
    """
    entry.require()
    registration(entry, hub, {}, 0)
    _remove_abandoned(entry.workplace)
    # Beside the entry's files, so that large ones are linked and not copied.
    with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=entry.workplace) as scratch:
        folder = Path(scratch) / "entry"
        entry.assemble(STAND_IN, folder)
        yield report_on(folder, entry.competition, entry.known_uids(folder)), folder


def _remove_abandoned(workplace: Path) -> None:
    """Remove what killed commands left here, a day later: a younger folder may be that of one that still runs."""
    for folder in workplace.glob(f"{_DRAFT}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(folder)


def _adopt(draft: Path, ticket: SubmissionTicket, folder: Path) -> SubmissionManifest:
    """Make a checked folder that of its submission: only the manifest's id, nonce and time change."""
    manifest = SubmissionManifest.model_validate_json((draft / MANIFEST_NAME).read_bytes()).model_copy(
        update={
            "submission_id": ticket.submission_id,
            "nonce": ticket.nonce,
            "created_at": _first_made(folder, ticket.submission_id),
        }
    )
    write_bytes(draft / MANIFEST_NAME, manifest.model_dump_json(indent=2).encode())
    if folder.exists():
        shutil.rmtree(folder)
    make_folder(folder.parent)
    draft.rename(folder)
    return manifest


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
    notify(f"Uploading {len(manifest.files)} files, {sum(file.size for file in manifest.files):,} bytes")
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
