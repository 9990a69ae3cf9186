"""Option values that need no validator: text, numbers, paths and choices, as nearly all of ours are.

Typer puts every value through a pydantic adapter of its own, even one that was not given. Importing pydantic and making
the adapters takes longer than choosing a subset of a million rows. Here a value whose meaning is beyond doubt is taken
as Typer would take it; anything else, and so every value that is refused, is left to Typer, with its messages.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

from typer.core import TyperArgument, TyperOption

_WHOLE = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_FURTHER_WISHES = ("exists", "writable", "resolve_path", "allow_dash", "path_type")
"""Of a path; ours have none, nor a wish for a file or a folder."""
_IN_DOUBT = object()


def take_plain_values() -> None:
    """From now on, commands of this process take plain values so; a Typer that asks in another way is left as it is."""
    for kind in (TyperOption, TyperArgument):
        own = getattr(kind, "get_runtime_param", None)
        if own is not None:
            kind.get_runtime_param = _plain_first(own)  # type: ignore[method-assign, assignment]


def _plain_first(own: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda parameter: _Plain(parameter, own)


class _Plain:
    """Stands before a parameter's own adapter, which ``own`` makes."""

    def __init__(self, parameter: Any, own: Callable[[Any], Any]) -> None:
        self._own = own
        self._described = parameter.type_descriptor

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """What Typer asks an adapter."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        several = param.multiple or param.nargs != 1
        taken = _IN_DOUBT if several or self._described.parameter_info.parser else self._taken(value)
        return self._own(param).coerce(value, param=param, ctx=ctx) if taken is _IN_DOUBT else taken

    def _taken(self, value: Any) -> Any:
        kind, declared = self._described.annotation, self._described.parameter_info
        taken = _IN_DOUBT
        if kind is str and type(value) is str:
            taken = value
        elif kind is Path and not any(getattr(declared, name) for name in _FURTHER_WISHES):
            taken = _path(value)
        elif kind in {int, float}:
            number = _number(value, kind)
            taken = number if number is not None and _inside(number, declared) else _IN_DOUBT
        elif isinstance(kind, type) and issubclass(kind, Enum) and isinstance(value, kind):
            taken = value
        return taken


def _number(value: Any, kind: type) -> Any:
    """A number as people type it; ``None`` for what needs a closer look."""
    if type(value) is kind:
        return value
    plain = isinstance(value, str) and (_WHOLE if kind is int else _DECIMAL).fullmatch(value)
    return kind(value) if plain else None


def _inside(number: float, declared: Any) -> bool:
    low, high = declared.min, declared.max
    return (low is None or number >= low) and (high is None or number <= high)


def _path(value: Any) -> Any:
    """A path that is not there, or may be read, which is all that Typer asks."""
    if not isinstance(value, str | Path) or "\0" in str(value):
        return _IN_DOUBT
    return Path(value) if os.access(value, os.R_OK) or not os.path.lexists(value) else _IN_DOUBT
