"""Documents of competitions, parsed. A published one never changes, and most requests need one."""

from __future__ import annotations

from functools import lru_cache

from competition.rules import Competition


@lru_cache(maxsize=64)
def parse(document: str) -> Competition:
    """The competition of a stored document (JSON). Equal documents give the same, frozen, object."""
    return Competition.model_validate_json(document)
