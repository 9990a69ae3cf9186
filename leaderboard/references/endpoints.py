"""Routes about reference results."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from competition.records.base import Identifier
from competition.records.references import ReferenceHead, ReferenceReceipt, ReferenceSet, ReferenceUpload
from leaderboard.accounts.viewer import Act
from leaderboard.answers import documented
from leaderboard.dependencies import Now, Organiser, OrganiserRoute, Store
from leaderboard.parameters import CompetitionId
from leaderboard.references import service

router = APIRouter(prefix="/references", tags=["references"], route_class=OrganiserRoute)
reading_router = APIRouter(tags=["references"])

SetId = Annotated[Identifier, Path(description="id of one version of a set")]


@reading_router.get(
    "/competitions/{competition}/references", summary="Reference results of a competition", responses=documented(404)
)
def references(competition: CompetitionId, database: Store) -> list[ReferenceHead]:
    """What papers and other programs report: the sets that are shown, each with its source, without their numbers.

    They are never ranked, and nobody verified them here.
    """
    with database.reading() as session:
        return service.listing(session, competition)


@reading_router.get("/references/{set_id}", summary="One set of reference results", responses=documented(404))
def reference_set(set_id: SetId, database: Store) -> ReferenceSet:
    """One version of a set with its numbers, also when a newer one replaced it. A removed one has no rows any more."""
    with database.reading() as session:
        return service.get(session, set_id)


@router.post("", summary="Import reference results", responses=documented(400, 401, 403, 404, 409, 413))
def add(upload: ReferenceUpload, database: Store, viewer: Organiser, clock: Now) -> ReferenceReceipt:
    """Import a set, all or nothing (scope `admin`). The same set again changes nothing; a changed one becomes the next
    version, and the older stays readable by its id.
    """
    with database.writing() as session:
        return service.add(session, upload, Act(str(viewer.account), clock()))


@router.delete("/{set_id}", summary="Remove reference results", responses=documented(401, 403, 404))
def remove(set_id: SetId, database: Store, viewer: Organiser, clock: Now) -> ReferenceHead:
    """Take a set out (scope `admin`): the numbers of all its versions are deleted; what it was stays on record."""
    with database.writing() as session:
        return service.remove(session, set_id, Act(str(viewer.account), clock()))
