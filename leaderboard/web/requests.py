"""What the routes of pages have in common: methods, the page's place, the rules of its competition."""

from __future__ import annotations

from fastapi import Request
from sqlalchemy.orm import Session

from competition.errors import NotFoundError
from competition.rules import Competition
from leaderboard.competitions import service as competitions
from leaderboard.web.templating import Place

#: The methods that read a page.
READ = ["GET", "HEAD"]


def place_of(request: Request) -> Place:
    """Where the page that is asked for lives."""
    return Place(site=str(request.base_url).rstrip("/"), path=request.url.path)


def rules_of(session: Session, competition: str) -> Competition:
    """The newest rules (raises ``NotFoundError`` with a hint for readers of the site)."""
    try:
        return competitions.get(session, competition).document
    except NotFoundError as error:
        raise NotFoundError(error.message, hint="Start from the list of competitions.") from error
