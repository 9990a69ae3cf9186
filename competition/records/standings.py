"""Standings as the API gives them: ranked rows with what the data cannot tell apart."""

from __future__ import annotations

from pydantic import Field

from competition.records.base import Identifier, Record, Sha256, Timestamp
from competition.records.lifecycle import Eligibility, Trust
from competition.records.submission import Score


class StandingsTask(Record):
    """A column of the table."""

    id: Identifier
    title: str
    metric: str
    samples: int | None = Field(description="test images; None: the suite does not say how many")
    chance: float | None
    hidden: bool = Field(description="a hidden test, shown because it was revealed")
    less_is_better: bool = Field(default=False, description="as with a distance")


class StandingsRow(Record):
    """One submission. Its true rank lies in [rank_low, rank_high] as far as the data can tell (95 %)."""

    rank: int | None = Field(description="None: not ranked (a baseline, or a score that is not available)")
    rank_low: int | None = Field(description="None: not ranked, or not known since the score has no interval")
    rank_high: int | None = Field(description="likewise")
    submission_id: Identifier
    method_name: str
    author: str
    account: str
    score: Score | None = Field(description="the primary aggregate; None while one of its tasks is unscored")
    tasks: dict[str, Score | None] = Field(description="by task id; None = unscored")
    subset_samples: int | None
    subset_unique: int | None
    eligibility: Eligibility
    trust: Trust
    submitted_at: Timestamp


class StandingsView(Record):
    """The standings of one track and scale under one version of the suite."""

    competition: Identifier
    competition_version: int
    track: Identifier
    scale: Identifier
    suite: str
    suite_digest: Sha256
    recipe_digest: Sha256
    aggregate: str = Field(description="title of the number by which entries are ranked")
    less_is_better: bool = Field(default=False, description="the least score is first, as with a distance or a rank")
    tasks: list[StandingsTask]
    rows: list[StandingsRow]
    generated_at: Timestamp
