"""Parameters that several routes take."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from competition.records.base import Identifier

SubmissionId = Annotated[Identifier, Path(description="id of a submission, as the registration gave it")]
CompetitionId = Annotated[Identifier, Path(description="id of a competition")]
JobId = Annotated[int, Path(description="number of a job, as the claim gave it", ge=1, le=2**53)]
RescoringId = Annotated[int, Path(description="number of a re-scoring", ge=1, le=2**53)]
OptionalId = Annotated[Identifier | None, Query()]
