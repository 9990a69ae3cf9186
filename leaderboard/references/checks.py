"""Whether a set of reference results fits a competition. The same checks at the command line and at the API; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

from competition.errors import ValidationFailedError
from competition.records.references import ReferenceRow, ReferenceUpload, ReferenceValue
from competition.rules import Competition, Suite
from competition.rules.protocols import UNBOUNDED
from competition.rules.suites import Aggregate, AverageRank, ChanceCentred, RelativeToBaseline

_NEAREST = 3


def check(upload: ReferenceUpload, rules: Competition) -> None:
    """Raises ``ValidationFailedError`` naming the first thing, with its row and field, that does not fit the rules."""
    suite = rules.suite
    if upload.suite is not None and upload.suite != suite.reference:
        raise ValidationFailedError(
            f"suite: competition {rules.id!r} is evaluated by {suite.reference}, not by {upload.suite}.",
            hint="Results that are not comparable with that suite's are imported without a suite.",
        )
    if upload.track is not None:
        known_id("track", upload.track, [track.id for track in rules.tracks])
    for task, metric in upload.metrics.items():
        check_metric(suite, task, metric)
    seen: dict[tuple[str, str], int] = {}
    for number, row in enumerate(upload.rows, start=1):
        _check_row(row, f"row {number} ({row.name!r})", rules, upload.metrics)
        first = seen.setdefault((row.scale, row.name), number)
        if first != number:
            raise ValidationFailedError(
                f"Rows {first} and {number} are both called {row.name!r} at scale {row.scale}.",
                hint="Give each row of a scale its own name, for example with the model beside the method.",
            )


def check_metric(suite: Suite, task: str, metric: str) -> None:
    """Raises ``ValidationFailedError`` unless the suite has the task and measures it by that metric."""
    known_id(f"tasks of {suite.reference}", task, [each.id for each in suite.tasks])
    own = suite.task(task).metric
    if metric != own:
        direction = ", of which less is better" if suite.task(task).less_is_better else ""
        raise ValidationFailedError(
            f"{suite.reference} measures {task} by {own}{direction}, and not by {metric}.",
            hint=f"Map the column that holds {own}, or keep this one as a number of its own with `other:TITLE`.",
        )


def known_id(what: str, given: str, known: Iterable[str]) -> None:
    """Raises ``ValidationFailedError`` with the nearest ids unless ``given`` is one of the known."""
    ids = list(known)
    if given in ids:
        return
    near = get_close_matches(given, ids, n=_NEAREST, cutoff=0.4) or ids[:_NEAREST]
    raise ValidationFailedError(f"{what}: there is no {given!r}.", hint=f"Nearest are: {', '.join(near)}.")


def is_share(suite: Suite, aggregate: Aggregate) -> bool:
    """Whether an aggregate lies in [0, 1]: made of shares by a mean."""
    bounded = all(suite.task(task).metric not in UNBOUNDED for task in aggregate.tasks)
    return bounded and not isinstance(aggregate.rule, AverageRank | ChanceCentred | RelativeToBaseline)


def shares(suite: Suite) -> tuple[set[str], set[str]]:
    """The ids of the tasks, and those of the aggregates, whose values lie in [0, 1]."""
    tasks = {task.id for task in suite.tasks if task.metric not in UNBOUNDED}
    return tasks, {each.id for each in suite.aggregates if is_share(suite, each)}


def _check_row(row: ReferenceRow, where: str, rules: Competition, metrics: Mapping[str, str]) -> None:
    known_id(f"{where}: scale", row.scale, [scale.id for scale in rules.scales])
    if not (row.tasks or row.aggregates or row.others):
        raise ValidationFailedError(f"{where} has no number at all.", hint="Leave the row out, or map its columns.")
    for task in row.tasks:
        if task not in metrics:
            raise ValidationFailedError(f"{where}: the metric of {task} is not said.", hint="`metrics` names it.")
    aggregates = [each.id for each in rules.suite.aggregates]
    for aggregate in row.aggregates:
        known_id(f"{where}: aggregates of {rules.suite.reference}", aggregate, aggregates)
    for field, value, share in _values(row, rules.suite):
        check_value(value, f"{where}, {field}", share=share)


def _values(row: ReferenceRow, suite: Suite) -> Iterator[tuple[str, ReferenceValue, bool]]:
    tasks, aggregates = shares(suite)
    yield from ((task, value, task in tasks) for task, value in row.tasks.items())
    yield from ((aggregate, value, aggregate in aggregates) for aggregate, value in row.aggregates.items())
    yield from ((title, value, False) for title, value in row.others.items())


def check_value(value: ReferenceValue, where: str, *, share: bool) -> None:
    """Raises ``ValidationFailedError`` for a number that is not finite, or for a share outside of [0, 1]."""
    numbers = [number for number in (value.value, value.low, value.high) if number is not None]
    for number in numbers:
        if not math.isfinite(number):
            raise ValidationFailedError(f"{where}: {number} is not a number.")
        if share and not 0 <= number <= 1:
            percent = "If the file has percentages, say --percent." if 1 < number <= 100 else ""
            raise ValidationFailedError(f"{where}: {number:g} is no share between 0 and 1.", hint=percent)
