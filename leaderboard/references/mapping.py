"""Which column of a file is what: ``FIELD=COLUMN``, checked against the suite before a row is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from competition.errors import UsageError, ValidationFailedError
from competition.rules import Suite
from leaderboard.references.checks import check_metric, known_id

PLAIN = ("name", "method", "scale", "samples", "note")
_PARTS = ("low", "high", "note")
_FORMS = (
    f"Fields are: {', '.join(PLAIN)}, METRIC:TASK (as in acc1:imagenet-1k), aggregate:ID, other:TITLE, and of each of "
    "the last three low:…, high:… and note:… (as in note:acc1:imagenet-1k)."
)


class Kind(StrEnum):
    """What a number is."""

    TASK = "task"
    AGGREGATE = "aggregate"
    OTHER = "other"


@dataclass(frozen=True)
class Number:
    """Where one kind of number and what belongs to it stand. ``columns`` are by part: value, low, high, note."""

    kind: Kind
    key: str
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Mapped:
    """All of a map: the plain fields' columns, the numbers in the order given, and the metric of each task."""

    plain: Mapping[str, str]
    numbers: Sequence[Number]
    metrics: Mapping[str, str]

    @property
    def columns(self) -> set[str]:
        """Every column that is read."""
        return set(self.plain.values()) | {column for number in self.numbers for column in number.columns.values()}


def parse_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """``FIELD=COLUMN`` of a command line, in order (raises ``UsageError``)."""
    fields: dict[str, str] = {}
    for pair in pairs:
        field, sign, column = pair.partition("=")
        if not (sign and field.strip() and column):
            raise UsageError(f"--map {pair!r} is not FIELD=COLUMN.", hint=_FORMS)
        if field.strip() in fields:
            raise UsageError(f"--map gives {field.strip()!r} twice.", hint="A field is read from one column.")
        fields[field.strip()] = column
    return fields


def understand(fields: Mapping[str, str], suite: Suite) -> Mapped:
    """What a map says.

    Raises ``UsageError`` for a field that is none, ``ValidationFailedError`` for a task or metric the suite has not.
    """
    plain = {field: column for field, column in fields.items() if field in PLAIN}
    numbers: dict[tuple[Kind, str], dict[str, str]] = {}
    metrics: dict[str, str] = {}
    for field, column in fields.items():
        if field in PLAIN:
            continue
        part, rest = "value", field
        head, _, tail = field.partition(":")
        if head in _PARTS and tail:
            part, rest = head, tail
        kind, key, metric = _key(rest, suite)
        if metric:
            metrics[key] = metric
        numbers.setdefault((kind, key), {})[part] = column
    for (_, key), columns in numbers.items():
        if "value" not in columns:
            raise UsageError(f"{key!r} has a note or a bound and no value.", hint=f"Map its value too. {_FORMS}")
        if ("low" in columns) != ("high" in columns):
            raise UsageError(f"The interval of {key!r} has one bound.", hint=f"Map both low:… and high:…. {_FORMS}")
    if "name" not in plain:
        raise UsageError("No column is mapped to `name`.", hint="For example --map name=Model")
    if not numbers:
        raise UsageError("No column of numbers is mapped.", hint=_FORMS)
    return Mapped(plain, [Number(kind, key, columns) for (kind, key), columns in numbers.items()], metrics)


def by_name(header: Sequence[str], suite: Suite) -> dict[str, str]:
    """The fields of the columns that are called as a task of the suite, by id or title, in any case."""
    called = {name.casefold(): task for task in suite.tasks for name in (task.title, task.id)}
    found: dict[str, str] = {}
    for column in header:
        task = called.get(column.strip().casefold())
        if task is None:
            continue
        field = f"{task.metric}:{task.id}"
        if field in found:
            raise UsageError(
                f"Columns {found[field]!r} and {column!r} are both called as {task.id}.",
                hint=f"Map one: {field}=COLUMN",
            )
        found[field] = column
    return found


def _key(field: str, suite: Suite) -> tuple[Kind, str, str]:
    """Kind, key and, of a task, metric."""
    head, sign, key = field.partition(":")
    if not (sign and key.strip()):
        raise UsageError(f"{field!r} is no field of a map.", hint=_FORMS)
    if head == Kind.OTHER:
        return Kind.OTHER, key.strip(), ""
    if head == Kind.AGGREGATE:
        known_id(f"aggregates of {suite.reference}", key, [each.id for each in suite.aggregates])
        return Kind.AGGREGATE, key, ""
    try:
        check_metric(suite, key, head)
    except ValidationFailedError as error:
        raise ValidationFailedError(f"{field}: {error.message}", hint=error.hint) from error
    return Kind.TASK, key, head
