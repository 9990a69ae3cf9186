"""Verification of an entry: the checks that anyone can run (``competition.verification``), and those only a scorer can.

These functions run in processes without credentials (``scorer.children``).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from competition.errors import EngineError
from competition.records.base import FileName, Identifier, Record, Sha256
from competition.records.manifest import FileRole, SubmissionManifest
from competition.records.scoring import JobGrant, NearCopy
from competition.rules import Competition, EntryKind
from competition.verification import Entry, run_checks
from competition.verification.likeness import weight_sample
from competition.verification.manifest import check_listing, check_rules, mismatch
from competition.verification.overlap import ComparedTask
from competition.verification.safetensors_file import read_header
from scorer.children import Send
from scorer.fetch import fetch
from scorer.likenesses import LIKENESSES, Likenesses
from scorer.messages import Checking, Mirrored, NearCopyFound, Overlap
from scorer.mirror import Mirror, Source
from scorer.overlaps import BEAT_S, OVERLAPS, every, load_compared, must_compare


class Registration(Record):
    """What the leaderboard knows about an entry; its manifest must say the same."""

    submission_id: Identifier
    nonce: Sha256
    competition: Identifier
    track: Identifier
    scale: Identifier

    @classmethod
    def of(cls, grant: JobGrant) -> Registration:
        """The registration behind a job."""
        return cls(**{name: getattr(grant, name) for name in cls.model_fields})


class FetchRequest(Record):
    """``fetch_entry``'s request."""

    source: Source
    registration: Registration
    competition: Competition
    mirror: Path
    hub_token: str | None


class VerifyRequest(Record):
    """``verify_entry``'s request."""

    manifest: SubmissionManifest
    registration: Registration
    competition: Competition
    mirror: Path
    pools: Path
    overlaps: FileName | None = Field(default=None, description="index of the test images to compare with, if any")


def fetch_entry(raw: str, send: Send) -> None:
    """Bring an entry into the mirror."""
    request = FetchRequest.model_validate_json(raw)

    def admit(manifest: SubmissionManifest) -> None:
        check_registration(manifest, request.registration)
        entry = Entry(manifest, request.competition, {file.path: Path() for file in manifest.files}, pool_uids=None)
        check_rules(entry)
        check_listing(entry)

    mirror = Mirror(request.mirror)
    manifest = fetch(request.registration.submission_id, request.source, mirror, admit, request.hub_token)
    send(Mirrored(manifest=manifest))


def verify_entry(raw: str, send: Send) -> None:
    """Check a mirrored entry. The mirror's files are made sure of first: its faults are not the entry's."""
    from scorer.pool_index import indexed_uids

    request = VerifyRequest.model_validate_json(raw)
    manifest, mirror = request.manifest, Mirror(request.mirror)
    check_registration(manifest, request.registration)
    paths = {file.path: mirror.verified(file.sha256) for file in manifest.files}
    entry = Entry(manifest, request.competition, paths, pool_uids=None)
    pool = None
    if entry.all(FileRole.SUBSET):
        pool = indexed_uids(entry.scale.given_pool, request.pools, request.mirror / "pool-index")
    entry = Entry(
        manifest,
        request.competition,
        paths,
        pool,
        compared=_compared(request),
        tell=lambda overlap: send(Overlap(overlap=overlap)),
        beat=every(BEAT_S, lambda: send(Checking(check="still"))),
    )
    run_checks(entry, lambda name: send(Checking(check=name)))
    if entry.kind is EntryKind.MODEL:
        _compare_with_others(entry, Likenesses(request.mirror / LIKENESSES), send)


def _compared(request: VerifyRequest) -> list[ComparedTask] | None:
    """The test images that this entry is compared with; None where it need not be and they are not at hand."""
    if request.overlaps is not None:
        return load_compared(request.mirror / OVERLAPS, request.overlaps, request.competition)
    if must_compare(request.competition, request.manifest.track):
        raise EngineError("An entry was to pass without a look for test images in its data.")
    return None


def _compare_with_others(entry: Entry, likenesses: Likenesses, send: Send) -> None:
    """Tell of the nearest other submission with nearly these weights. A sign and no proof: the entry goes on."""
    manifest = entry.manifest
    file, path = entry.only(FileRole.MODEL)
    sample = weight_sample(path, read_header(path, file.path), likenesses.salt())
    for other, distance in likenesses.near(manifest.recipe_digest, manifest.submission_id, sample)[:1]:
        send(NearCopyFound(copy_of=NearCopy(submission=other, distance=distance)))
    likenesses.keep(manifest.recipe_digest, manifest.submission_id, sample)


def check_registration(manifest: SubmissionManifest, registration: Registration) -> None:
    """The manifest belongs to this registration: its nonce shows that the registrant wrote the repository."""
    for field, expected in registration.model_dump().items():
        found = getattr(manifest, field)
        if found != expected:
            raise mismatch(field, "the registered one" if field == "nonce" else expected, found)
