"""Competitions as the API gives them."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from competition.records.base import Identifier, Record, Sha256
from competition.rules import Competition


class CompetitionView(Record):
    """The newest version of a competition, whole."""

    id: Identifier
    version: int
    digest: Sha256 = Field(description="sha256 of the document's canonical JSON")
    published_at: AwareDatetime
    open: bool = Field(description="whether entries are taken at this moment")
    document: Competition
