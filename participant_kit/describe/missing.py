"""What cannot be said of a dataset, and what to do about it: never silently left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Missing:
    """A part of a description that is not there.

    Args:
        why: half a sentence.
        todo: a sentence.
    """

    why: str
    todo: str

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"available": False, "why": self.why, "do": self.todo}
