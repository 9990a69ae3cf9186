"""What an entry's data have of a task's test images."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from competition.records.base import Identifier, Record

MAX_TASKS = 1024


class TaskOverlap(Record):
    """Copies of one task's test images in the data of an entry, those of the pool and external ones together."""

    task: Identifier
    images: int = Field(ge=1, description="test images that were compared")
    exact: int = Field(ge=0, description="of them: those of which the data have a copy, bytes or pixels")
    copied: int = Field(ge=0, description="of them: those of which the data have an exact or a near copy")
    samples: int = Field(ge=0, description="samples of the data that are such copies, repeats counted")

    @model_validator(mode="after")
    def _nested(self) -> Self:
        if not self.exact <= self.copied <= self.images:
            raise ValueError("exact copies are copies, and there are no more copied images than images")
        return self

    @property
    def share(self) -> float:
        """Of the task's test images that the data have a copy of."""
        return self.copied / self.images
