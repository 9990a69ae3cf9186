"""The website's routes: what the services say to the public, rendered. A page never shows more than the API does."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from competition.errors import NotFoundError
from competition.records.rescoring import RescoringView
from competition.records.standings import StandingsView
from competition.rules import Competition
from leaderboard.accounts.viewer import ANONYMOUS
from leaderboard.competitions import service as competitions
from leaderboard.dependencies import Chosen, Store
from leaderboard.events import service as events
from leaderboard.parameters import RescoringId
from leaderboard.references import service as reference_results
from leaderboard.rescoring import evaluations, report
from leaderboard.rescoring import service as rescorings
from leaderboard.standings import service as standings
from leaderboard.submissions import audits, views
from leaderboard.submissions import service as submissions
from leaderboard.web import rendering, repository
from leaderboard.web.references import ReferenceBoard
from leaderboard.web.rendering import Board, CompetitionCard, Entry
from leaderboard.web.requests import READ, place_of, rules_of
from leaderboard.web.responses import page

router = APIRouter()

_BESIDE = 20
_TITLES = {
    404: "Nothing here",
    405: "That cannot be done here",
    413: "Too large",
    422: "The address does not fit",
    500: "Something went wrong",
    503: "Busy, or away",
}


@router.api_route("/", methods=READ)
def home(request: Request, database: Store) -> Response:
    """The front page."""
    with database.reading() as session:
        cards = [_card(session, found.document) for found in competitions.list_(session)]
        return page(request, rendering.home(cards, place_of(request)))


@router.api_route("/competitions/{competition}", methods=READ)
def board(
    request: Request,
    database: Store,
    competition: str,
    track: str | None = None,
    scale: str | None = None,
    references: Literal["shown", "hidden"] = "shown",
) -> Response:
    """The standings of one track and scale; the competition's first ones unless the query says otherwise."""
    with database.reading() as session:
        rules = rules_of(session, competition)
        wanted_track, wanted_scale = track or rules.tracks[0].id, scale or rules.scales[0].id
        view = standings.view(session, rules.id, wanted_track, wanted_scale)
        beside = repository.beside_table(session, view, _BESIDE)
        shown = Board(
            competition=rules,
            track={each.id: each for each in rules.tracks}[view.track],
            scale={each.id: each for each in rules.scales}[view.scale],
            standings=view,
            counts=repository.counts(session, rules.id, view.track, view.scale),
            beside=views.show(session, beside, ANONYMOUS),
            rescoring=_brought_by(session, rules),
            references=[
                ReferenceBoard(head, tuple(rows))
                for head, rows in reference_results.on_board(session, rules.id, view.track, view.scale)
            ],
            show_references=references == "shown",
        )
        return page(request, rendering.standings(shown, place_of(request)))


@router.api_route("/competitions/{competition}/rescorings/{rescoring}", methods=READ)
def rescoring(request: Request, database: Store, competition: str, rescoring: RescoringId) -> Response:
    """What a re-scoring changed."""
    with database.reading() as session:
        rules = rules_of(session, competition)
        found = rescorings.find(session, rules.id, rescoring, ANONYMOUS)
        shown = report.build(session, found, ANONYMOUS)
        return page(request, rendering.rescoring(rules, shown, place_of(request)))


@router.api_route("/competitions/{competition}/take-part", methods=READ)
def take_part(request: Request, database: Store, settings: Chosen, competition: str) -> Response:
    """How to enter."""
    with database.reading() as session:
        return page(request, rendering.take_part(rules_of(session, competition), place_of(request), settings.main_hub))


@router.api_route("/submissions/{submission}", methods=READ)
def entry(request: Request, database: Store, submission: str) -> Response:
    """One submission."""
    with database.reading() as session:
        view = submissions.view(session, submission)
        shown = Entry(
            competition=rules_of(session, view.competition),
            submission=view,
            events=events.story(session, submission),
            standings=_standings(session, view.competition, view.track, view.scale),
            evaluations=evaluations.side_by_side(session, submission, ANONYMOUS),
            audits=audits.views(session, submission),
        )
        return page(request, rendering.entry(shown, place_of(request)))


@router.api_route("/references/{set_id}", methods=READ)
def reference_set(request: Request, database: Store, set_id: str) -> Response:
    """One version of a set of reference results."""
    with database.reading() as session:
        found = reference_results.get(session, set_id)
        versions = reference_results.versions(session, found.competition, found.name)
        return page(
            request, rendering.reference_set(rules_of(session, found.competition), found, versions, place_of(request))
        )


def error_page(request: Request, status: int, message: str, hint: str) -> Response:
    """An error outside of the API, for people."""
    title = _TITLES.get(status) or HTTPStatus(status).phrase
    if status == HTTPStatus.NOT_FOUND and "endpoint" not in request.scope:
        message, hint = "There is no page at this address.", "Check the address, or start from the competitions."
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        hint = "Try again in a moment. It was noted; tell the organisers if it stays."
    return page(request, rendering.error(status, title, message, hint, place_of(request)), status)


def _card(session: Session, rules: Competition) -> CompetitionCard:
    view = standings.view(session, rules.id, rules.tracks[0].id, rules.scales[0].id)
    return CompetitionCard(rules, view, repository.counts(session, rules.id))


def _brought_by(session: Session, rules: Competition) -> RescoringView | None:
    """The published re-scoring that brought the newest suite, if one did."""
    found = rescorings.last_published(session, rules.id)
    return found if found is not None and found.suite_digest == rules.suite.digest else None


def _standings(session: Session, competition: str, track: str, scale: str) -> StandingsView | None:
    """The board that the entry was made for; None when the newest rules no longer have it."""
    try:
        return standings.view(session, competition, track, scale)
    except NotFoundError:
        return None
