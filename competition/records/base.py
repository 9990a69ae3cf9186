"""What all records share: frozen, strict about unknown fields, and versioned for ever."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, FailFast, Field, StringConstraints


def _without_dot_parts(path: str) -> str:
    if any(set(part) == {"."} for part in path.split("/")):
        raise ValueError("a path may not have . or .. as a part")
    return path


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time at the edge of the calendar has no UTC") from error


class Record(BaseModel):
    """Base of everything that packages exchange."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _FirstMistake(FailFast):
    """pydantic's own mark cannot be hashed, which a part of a union must be."""

    def __hash__(self) -> int:
        return hash(self.fail_fast)


_T = TypeVar("_T")
# Each mistake is kept in a kilobyte: of a stranger's list of a million mistakes the first one is enough.
Several = Annotated[tuple[_T, ...], _FirstMistake()]

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
CommitSha = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$", max_length=64)]
# Control characters, and those that change the direction of the text after them: a stranger's words are safe in logs,
# tables and terminals only without them. (A database cannot store the zero character either.)
_UNSAFE = r"\x7f-\x9f\u2028-\u202e\u2066-\u2069"
Line = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=rf"^[^\x00-\x1f{_UNSAFE}]*$")]
Prose = Annotated[str, StringConstraints(max_length=4000, pattern=rf"^[^\x00-\x08\x0b\x0c\x0e-\x1f{_UNSAFE}]*$")]
FileName = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=rf"^[^/\x00-\x1f{_UNSAFE}]*$")
]  # of a file that is named, never opened
RepoId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$")]
RelativePath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512, pattern=r"^[\w.@+=-]+(/[\w.@+=-]+)*$"),
    AfterValidator(_without_dot_parts),
]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[!#-&(-;=?-~]+$", max_length=500)]  # no " ' < >
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Timestamp = AwareDatetime
Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]  # a time that is compared with others
