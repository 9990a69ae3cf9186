"""A stranger's JSON as a record, in memory that is a small multiple of its length.

A validator that reads bytes keeps, for every mistake, a copy of all that surrounds it: a megabyte of ``{},{},{}`` takes
gigabytes and half a minute. Here the document becomes Python's own values first, its objects and lists counted before
that; a mistake then refers to them, and of a list the first mistake ends the search (``records.base.Several``).
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from competition.errors import RejectionError, RejectionReason
from competition.records.base import Record
from competition.verification.entry import shown

MAX_CONTAINERS = 50_000
MAX_MEMBERS = 1024
_MAX_PROBLEM = 400

R = TypeVar("R", bound=Record)


class UnreadableJsonError(ValueError):
    """The bytes are no JSON, or too much of it; the message says why, without a full stop."""


def read_json(raw: bytes) -> Any:
    """The document: objects as dictionaries, of a name that occurs twice the last value.

    Raises:
        UnreadableJsonError: it is no JSON (NaN and half characters included), is nested deeply, has more than 50,000
            objects and lists, or an object of more than 1,024 members.
    """
    # Those within texts count too: no text of ours is full of brackets.
    containers = raw.count(b"{") + raw.count(b"[")
    if containers > MAX_CONTAINERS:
        raise UnreadableJsonError(f"it has {containers} objects and lists; at most {MAX_CONTAINERS} are read")
    try:
        document = from_json(raw, allow_inf_nan=False, cache_strings=False)
    except (ValueError, RecursionError) as error:
        raise UnreadableJsonError(f"Invalid JSON: {error}") from error
    _check_members(document)
    return document


def parse_record(model: type[R], raw: bytes, *, name: str, what: str, reason: RejectionReason) -> R:
    """The record in the bytes of a file that messages call ``name``; ``what`` it should be, with its article.

    Raises:
        RejectionError: with ``reason``; it is unreadable or has not the promised fields.
    """
    try:
        return model.model_validate(read_json(raw))
    except UnreadableJsonError as error:
        raise RejectionError(reason, f"{name} is not {what}: {error}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise RejectionError(reason, f"{name} is not {what}: {told(first)}.") from error


def told(problem: ErrorDetails) -> str:
    """A problem in words: the field, made safe to show, and what is wrong with it."""
    field = shown(".".join(map(str, problem["loc"]))).strip("'")
    words = problem["msg"].removeprefix("Value error, ").rstrip(".")[:_MAX_PROBLEM]
    return f"{field}: {words}" if field else words


def _check_members(document: Any) -> None:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if len(value) > MAX_MEMBERS:
                raise UnreadableJsonError(f"it has an object of {len(value)} members; at most {MAX_MEMBERS} are read")
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(part for part in value if isinstance(part, dict | list))
