"""What ``datacup-scorer batch`` prints for people: plain text from records. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from competition.printable import printable
from competition.records.rescoring import (
    ChangedEntry,
    ChangedTask,
    ChangedTasks,
    EntryState,
    RescoringPlan,
    RescoringReport,
    RescoringView,
)
from competition.records.submission import Score, SubmissionView, value_text
from scorer.batch import Line, Replay

_LISTED = 10
_NAME = 32


def plan(found: RescoringPlan) -> Iterator[str]:
    """What a re-scoring would do."""
    yield (
        f"{found.competition}: suite {found.suite_before} (version {found.version_before}) -> "
        f"{found.suite_after} (version {found.version_after})"
    )
    yield from _tasks(found.tasks)
    yield (
        f"{_count(found.entries, 'entry', 'entries')} to re-score: {_count(found.taken_over, 'result')} taken over "
        f"without evaluating, {_count(found.evaluations, 'evaluation')} to do"
    )
    if found.evaluations:
        guess = f", {_seconds(found.seconds_by_analogy)} of it by other tasks" if found.seconds_by_analogy else ""
        unknown = f"; {_count(found.not_estimated, 'evaluation')} could not be estimated" if found.not_estimated else ""
        yield f"About {_seconds(found.seconds)} on one machine, from the recorded times{guess}{unknown}"
    if found.left_out:
        yield f"{_count(len(found.left_out), 'entry', 'entries')} left out:"
        yield from _listed(
            f"  {each.submission_id}  {_short(each.method_name)}: {each.reason}" for each in found.left_out
        )


def progress(view: RescoringView) -> str:
    """Where a re-scoring stands, in a line."""
    found = view.progress
    parts = [f"{found.done} of {found.total} done"]
    for number, what in (
        (found.running, "being evaluated"),
        (found.waiting, "waiting"),
        (found.failed, "failed"),
        (found.cancelled, "withdrawn"),
    ):
        if number:
            parts.append(f"{number} {what}")
    return f"Re-scoring {view.id} ({view.suite_after}): {', '.join(parts)}"


def report(found: RescoringReport) -> Iterator[str]:
    """The diff report: table by table, the moved and the changed."""
    view = found.rescoring
    when = f"{view.state.value} {view.ended_at:%Y-%m-%d %H:%M:%S} UTC" if view.ended_at else "not published yet"
    yield f"{view.competition}: {view.suite_before} -> {view.suite_after} (re-scoring {view.id}, {when})"
    yield from _tasks(view.tasks)
    for (track, scale), entries in groupby(found.entries, key=lambda each: (each.track, each.scale)):
        yield ""
        yield from _table(f"{track} / {scale}", list(entries), found)
    moved = [each for each in found.entries if each.state is EntryState.DONE and each.moved]
    yield ""
    yield f"{_count(len(moved), 'entry', 'entries')} moved, {len(found.entries) - len(moved)} did not."
    if found.missing:
        yield f"{_count(len(found.missing), 'entry', 'entries')} of the table without a new score:"
        yield from _listed(
            f"  {each.submission_id}  {_short(each.method_name)}: {each.reason}" for each in found.missing
        )
    if found.in_progress:
        yield (
            f"{_count(found.in_progress, 'entry', 'entries')} on the way to a score: those registered under the older "
            "suite need another run of this command."
        )


def _table(title: str, entries: Sequence[ChangedEntry], found: RescoringReport) -> Iterator[str]:
    view = found.rescoring
    rows = [
        (
            _rank(each),
            _short(f"{each.method_name} ({each.author})"),
            _score(each.before),
            _score(each.after) if each.state is EntryState.DONE else each.state.value,
            _difference(each.before, each.after),
            each.submission_id,
        )
        for each in entries
    ]
    yield f"{title}: {found.aggregate_before} -> {found.aggregate_after}"
    lines = list(_columns([("rank", "entry", view.suite_before, view.suite_after, "change", "id"), *rows]))
    yield lines[0]
    for line, each in zip(lines[1:], entries, strict=True):
        yield line
        if each.failure:
            yield f"    {printable(each.failure)}"
        for task in each.tasks:
            if each.state is EntryState.DONE and not task.taken_over:
                yield f"    {task.task}: {_task(task)}"


def tally(lines: Iterable[Line], left: Sequence[SubmissionView]) -> Iterator[str]:
    """What was done, entry by entry, and what is left."""
    rows = [
        (line.submission, line.kind, line.outcome, str(line.tasks), f"{line.seconds:.1f} s", printable(line.message))
        for line in lines
    ]
    if rows:
        yield from _columns([("entry", "job", "outcome", "tasks", "time", ""), *rows])
    else:
        yield "Nothing was waiting."
    if left:
        yield f"{_count(len(left), 'entry', 'entries')} left:"
        yield from _listed(f"  {view.id}  {_short(view.method_name)}: {view.processing.value}" for view in left)


def queue(found: Sequence[SubmissionView]) -> Iterator[str]:
    """What waits."""
    yield f"{_count(len(found), 'entry', 'entries')} waiting or being worked on"
    yield from _listed(f"  {view.id}  {_short(view.method_name)}: {view.processing.value}" for view in found)


def replay(found: Replay) -> Iterator[str]:
    """Stored values beside those that came now."""
    yield f"{found.submission} under {found.suite}, evaluated again:"
    rows = [
        (
            task.task,
            task.metric,
            "none" if task.stored is None else f"{task.stored:.6g}",
            f"{task.replayed:.6g}",
            "" if task.stored is None else f"{task.replayed - task.stored:+.2g}",
            f"{task.allowed:.2g}",
            "holds" if task.within else "DIFFERS",
        )
        for task in found.tasks
    ]
    yield from _columns([("task", "metric", "stored", "now", "difference", "allowed", ""), *rows])
    yield f"{len(found.tasks) - len(found.differing)} of {len(found.tasks)} stored values hold."


def _tasks(tasks: ChangedTasks) -> Iterator[str]:
    for what, ids in (
        ("as before", tasks.kept),
        ("changed", tasks.changed),
        ("new", tasks.added),
        ("removed", tasks.removed),
    ):
        if ids:
            yield f"  tasks {what}: {', '.join(ids)}"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _listed(lines: Iterable[str]) -> Iterator[str]:
    shown = list(lines)
    yield from shown[:_LISTED]
    if len(shown) > _LISTED:
        yield f"  and {len(shown) - _LISTED} more (--json has them all)"


def _rank(each: ChangedEntry) -> str:
    before, after = (str(number) if number is not None else "-" for number in (each.rank_before, each.rank_after))
    return before if before == after else f"{before} -> {after}"


def _score(score: Score | None) -> str:
    if score is None:
        return "-"
    interval = score.interval
    bounds = "" if interval is None else f" ({value_text(interval.low)} to {value_text(interval.high)})"
    return f"{value_text(score.value)}{bounds}"


def _difference(before: Score | None, after: Score | None) -> str:
    return "" if before is None or after is None else f"{after.value - before.value:+.3f}"


def _task(task: ChangedTask) -> str:
    before, after = (value_text(score.value) if score is not None else None for score in (task.before, task.after))
    if before is None:
        return f"{after or 'no result'} (new)"
    return f"{before} (removed)" if after is None else f"{before} -> {after}"


def _short(name: str) -> str:
    plain = printable(name)
    return plain if len(plain) <= _NAME else plain[: _NAME - 3] + "..."


def _seconds(value: float) -> str:
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
