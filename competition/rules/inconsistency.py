"""Errors between fields that are valid one by one; ``where`` leads the loader to the line."""

from __future__ import annotations

from pydantic_core import PydanticCustomError


def unique(field: str, names: list[str], *where: str | int) -> set[str]:
    """The names as a set; refuses one that is listed twice."""
    for place, name in enumerate(names):
        if name in names[:place]:
            raise wrong(f"{name!r} is listed twice", *where, field, place)
    return set(names)


def known(name: str, allowed: set[str], *where: str | int) -> None:
    """Refuses a name that is not defined elsewhere."""
    if name not in allowed:
        raise wrong(f"{name!r} is not defined; defined are {', '.join(sorted(allowed))}", *where)


def wrong(problem: str, *where: str | int) -> PydanticCustomError:
    """An error inside a model that was valid field by field; ``where`` leads the loader to the line."""
    return PydanticCustomError("inconsistent", "{problem}", {"problem": problem, "where": where})
