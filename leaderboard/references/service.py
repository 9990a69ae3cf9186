"""Importing, finding and removing reference results. A version never changes; removing deletes its numbers."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from competition.canonical import digest
from competition.errors import ConflictError, NotFoundError
from competition.records.references import ReferenceHead, ReferenceReceipt, ReferenceRow, ReferenceSet, ReferenceUpload
from leaderboard.accounts.viewer import Act
from leaderboard.competitions import service as competitions
from leaderboard.models import ReferenceLine, ReferenceSetRow
from leaderboard.references import checks, repository
from leaderboard.references.kept_rows import KeptRows

_kept = KeptRows()


def add(session: Session, upload: ReferenceUpload, act: Act) -> ReferenceReceipt:
    """Import a set, all of it or nothing; exactly the one that is shown already changes nothing.

    Raises ``NotFoundError`` for an unknown competition, ``ValidationFailedError`` as ``checks.check`` does, and
    ``ConflictError`` when the same set is imported at the same moment.
    """
    checks.check(upload, competitions.get(session, upload.competition).document)
    content = digest_of(upload)
    last = repository.newest(session, upload.competition, upload.name)
    if last is not None and last.digest == content and last.removed_at is None:
        return ReferenceReceipt(id=last.id, version=last.version, changed=False)
    row = ReferenceSetRow(
        id=f"ref-{secrets.token_hex(10)}",
        competition=upload.competition,
        name=upload.name,
        version=1 if last is None else last.version + 1,
        track=upload.track,
        suite=upload.suite,
        about=_about(upload),
        digest=content,
        row_count=len(upload.rows),
        importer=act.actor,
        imported_at=act.at,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise ConflictError(
            f"Another version of {upload.name!r} was imported at this moment.", hint="Run the same command again."
        ) from error
    if last is not None:
        last.replaced_at = last.replaced_at or act.at
    session.add_all(
        ReferenceLine(set_id=row.id, place=place, scale=each.scale, content=_content(each))
        for place, each in enumerate(upload.rows, start=1)
    )
    session.flush()
    return ReferenceReceipt(id=row.id, version=row.version, changed=True)


def digest_of(upload: ReferenceUpload) -> str:
    """Identity of what is imported: content, source and map."""
    return digest(upload.model_dump(mode="json", exclude_defaults=True))


def listing(session: Session, competition: str) -> list[ReferenceHead]:
    """The sets that are shown with a competition, by name (raises ``NotFoundError``)."""
    competitions.get(session, competition)
    return [head(row) for row in repository.shown(session, competition)]


def get(session: Session, set_id: str) -> ReferenceSet:
    """One version of a set; a removed one has no rows any more (raises ``NotFoundError``)."""
    row = _found(session, set_id)
    rows = [] if row.removed_at else _rows(session, [row.id])[row.id]
    return ReferenceSet(**head(row).model_dump(), rows=list(rows))


def versions(session: Session, competition: str, name: str) -> list[ReferenceHead]:
    """All versions of a set, newest first."""
    return [head(row) for row in repository.versions(session, competition, name)]


def on_board(
    session: Session, competition: str, track: str, scale: str
) -> list[tuple[ReferenceHead, list[tuple[int, ReferenceRow]]]]:
    """The sets of a track with their rows at a scale, numbered from 1 as in the file. One query, two when not kept."""
    heads = [head(row) for row in repository.shown(session, competition, track)]
    rows = _rows(session, [each.id for each in heads])
    found = [(each, [(n, row) for n, row in enumerate(rows[each.id], 1) if row.scale == scale]) for each in heads]
    return [(each, own) for each, own in found if own]


def remove(session: Session, set_id: str, act: Act) -> ReferenceHead:
    """Take a set out: the numbers of all its versions are deleted, their provenance stays. Repeating changes nothing.

    Raises ``NotFoundError``.
    """
    row = _found(session, set_id)
    every = repository.versions(session, row.competition, row.name)
    for each in every:
        each.removed_at = each.removed_at or act.at
    repository.delete_lines(session, [each.id for each in every])
    session.flush()
    return head(row)


def head(row: ReferenceSetRow) -> ReferenceHead:
    """What a version is, without its numbers."""
    return ReferenceHead(
        id=row.id, name=row.name, version=row.version, competition=row.competition, track=row.track, suite=row.suite,
        digest=row.digest, row_count=row.row_count, importer=row.importer, imported_at=row.imported_at,
        replaced_at=row.replaced_at, removed_at=row.removed_at, **row.about,
    )  # fmt: skip


def _found(session: Session, set_id: str) -> ReferenceSetRow:
    row = repository.by_id(session, set_id)
    if row is None:
        raise NotFoundError(
            f"There are no reference results {set_id!r}.",
            hint="GET /api/v1/competitions/{competition}/references lists those there are.",
        )
    return row


def _about(upload: ReferenceUpload) -> dict[str, Any]:
    fields = {"source", "note", "file_name", "file_sha256", "mapping", "metrics"}
    about: dict[str, Any] = upload.model_dump(mode="json", include=fields)
    return about


def _content(row: ReferenceRow) -> str:
    return row.model_dump_json(exclude_defaults=True)


def _rows(session: Session, set_ids: Sequence[str]) -> dict[str, tuple[ReferenceRow, ...]]:
    """The rows of sets that were not removed. A version never changes, so what was read once is kept."""
    found = {set_id: rows for set_id in set_ids if (rows := _kept.get(set_id)) is not None}
    missing = [set_id for set_id in set_ids if set_id not in found]
    if missing:
        read: dict[str, list[ReferenceRow]] = {set_id: [] for set_id in missing}
        for line in repository.lines(session, missing):
            read[line.set_id].append(ReferenceRow.model_validate_json(line.content))
        for set_id, lines in read.items():
            found[set_id] = tuple(lines)
            _kept.put(set_id, found[set_id])
    return found
