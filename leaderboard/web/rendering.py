"""Records in, HTML out. No database and no request: every page can be made from constructed records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from competition.errors import RejectionReason
from competition.records.audit import AuditView
from competition.records.lifecycle import Event, Processing, Visibility, chain_is_intact
from competition.records.references import ReferenceHead, ReferenceSet
from competition.records.rescoring import ChangedEntry, EvaluationView, RescoringReport, RescoringView
from competition.records.standings import StandingsView
from competition.records.submission import Score, SubmissionView
from competition.rules import EntryData, EntryKind, built_in
from competition.rules.models import Competition, Scale, Track
from leaderboard.web import charts, timeline
from leaderboard.web.references import KeptLines, Line, ReferenceBoard, comparable, score_of
from leaderboard.web.references import place as place_lines
from leaderboard.web.table import Table, build_table, neighbours
from leaderboard.web.templating import Place, environment, render


@dataclass(frozen=True)
class Counts:
    """How many public entries of a competition are where; they sum to all of them."""

    scored: int = 0
    in_progress: int = 0
    invalid: int = 0
    failed: int = 0
    withdrawn: int = 0

    @property
    def total(self) -> int:
        """All entries."""
        return self.scored + self.in_progress + self.invalid + self.failed + self.withdrawn

    @classmethod
    def of(cls, groups: Sequence[tuple[Processing, Visibility, int]]) -> Counts:
        """Sum up (processing, visibility, number of entries)."""
        kinds = [(_kind(processing, visibility), number) for processing, visibility, number in groups]
        return cls(**{kind: sum(number for other, number in kinds if other == kind) for kind, _ in kinds})


def _kind(processing: Processing, visibility: Visibility) -> str:
    """The count that an entry belongs to; a cancelled one was withdrawn before it was scored."""
    if visibility is Visibility.WITHDRAWN or processing is Processing.CANCELLED:
        return "withdrawn"
    return processing.value if processing.terminal else "in_progress"


@dataclass(frozen=True)
class CompetitionCard:
    """What the home page shows of one competition."""

    competition: Competition
    standings: StandingsView
    counts: Counts


@dataclass(frozen=True)
class Board:
    """What the standings page shows: one track and scale of a competition, and what is not in the table.

    ``rescoring`` is the one that brought the newest suite.
    """

    competition: Competition
    track: Track
    scale: Scale
    standings: StandingsView
    counts: Counts
    beside: Sequence[SubmissionView]
    rescoring: RescoringView | None = None
    references: Sequence[ReferenceBoard] = ()
    show_references: bool = True


@dataclass(frozen=True)
class Entry:
    """What an entry's page shows. ``standings`` is its track's and scale's; None when the newest rules lack them.

    ``audits`` are those of the entry, oldest first.
    """

    competition: Competition
    submission: SubmissionView
    events: Sequence[Event]
    standings: StandingsView | None
    evaluations: Sequence[EvaluationView] = ()
    audits: Sequence[AuditView] = ()


@dataclass(frozen=True)
class RescoredTable:
    """The entries of a re-scoring that are of one table, which is named by its titles."""

    track: str
    scale: str
    entries: Sequence[ChangedEntry]


def home(cards: Sequence[CompetitionCard], place: Place) -> str:
    """The front page: what this is, and the competitions with their best entries."""
    shown = [(card, build_table(card.standings)) for card in cards]
    return render("home.html", place, cards=shown)


def standings(board: Board, place: Place) -> str:
    """The standings of one track and scale, with reference results in place."""
    suite, table = board.competition.suite, build_table(board.standings)
    within = comparable(board.references, suite.reference) if board.show_references else []
    if not table.rows:
        found = [score_of(row, suite)[0] for each in within for _, row in each.rows]
        scores = [Score(value=each.value, interval=None) for each in found if each is not None]
        axis = charts.axis_for(scores, less_is_better=table.view.less_is_better)
        table = replace(table, axis=axis)
    lines = [line for each in within for line in _lines(board, each, table)]
    ranked = [row for group in table.groups for row in group.rows]
    return render(
        "standings.html",
        place,
        board=board,
        competition=board.competition,
        table=table,
        placed=place_lines(lines, ranked, less_is_better=table.view.less_is_better),
        reference_rows=sum(len(each.rows) for each in comparable(board.references, suite.reference)),
        apart=[each.head for each in board.references if each.head.suite != suite.reference],
    )


_lines_made = KeptLines()


def _lines(board: Board, references: ReferenceBoard, table: Table) -> tuple[Line, ...]:
    suite, model = board.competition.suite, board.track.entry == "model"
    tasks = tuple(task.id for task in table.view.tasks)
    key = (references.head.id, board.scale.id, suite.digest, tasks, table.axis, model)

    def make() -> tuple[Line, ...]:
        template = environment().get_template("reference_line.html")
        lines = []
        for number, row in references.rows:
            score, made = score_of(row, suite)
            html = template.render(
                head=references.head, row=row, number=number, score=score, made=made, tasks=table.view.tasks,
                axis=table.axis, model=model, aggregate=table.view.aggregate,
            )  # fmt: skip
            lines.append(Line(None if score is None else score.value, Markup(html)))  # noqa: S704 - escaped by jinja
        return tuple(lines)

    return _lines_made.get(key, make)


def reference_set(
    competition: Competition, found: ReferenceSet, versions: Sequence[ReferenceHead], place: Place
) -> str:
    """One version of a set of reference results: where it is from, and all its numbers."""
    titles = {"tasks": {task.id: task.title for task in competition.suite.tasks}}
    titles["aggregates"] = {each.id: each.title for each in competition.suite.aggregates}
    columns = [
        (kind, key, titles.get(kind, {}).get(key, key))
        for kind in ("tasks", "aggregates", "others")
        for key in dict.fromkeys(key for row in found.rows for key in getattr(row, kind))
    ]
    return render(
        "references.html", place, competition=competition, found=found, versions=versions, columns=columns,
        scales={scale.id: scale.title for scale in competition.scales},
    )  # fmt: skip


def entry(page: Entry, place: Place) -> str:
    """One submission: what it is, what it scored, everything that happened to it; or that it was withdrawn."""
    view, competition = page.submission, page.competition
    if view.visibility is Visibility.WITHDRAWN:
        return _tombstone(page, place)
    rows = page.standings.rows if page.standings else []
    around = neighbours(rows, view.id)
    less_is_better = page.standings is not None and page.standings.less_is_better
    titles = {task.id: task.title for task in competition.suite.tasks}
    return render(
        "entry.html",
        place,
        competition=competition,
        submission=view,
        evaluations=page.evaluations,
        row=next((row for row in rows if row.submission_id == view.id), None),
        around=around,
        ranked=sum(row.rank is not None for row in rows),
        axis=charts.axis_for((row.score for row in around if row.score), less_is_better=less_is_better),
        aggregate=competition.suite.primary_aggregate.title,
        less_is_better=less_is_better,
        suite=competition.suite,
        audits=list(reversed(page.audits)),
        titles=titles,
        steps=timeline.steps(view, page.events),
        moments=timeline.moments(page.events, titles),
        chain_intact=chain_is_intact(list(page.events)),
        track=next((track for track in competition.tracks if track.id == view.track), None),
        scale=next((scale for scale in competition.scales if scale.id == view.scale), None),
    )


def _tombstone(page: Entry, place: Place) -> str:
    view, events = page.submission, list(page.events)
    return render(
        "tombstone.html",
        place,
        competition=page.competition,
        submission=view,
        events=events,
        chain_intact=chain_is_intact(events),
        scale=next((scale for scale in page.competition.scales if scale.id == view.scale), None),
    )


def rescoring(competition: Competition, report: RescoringReport, place: Place) -> str:
    """What a published re-scoring changed, table by table."""
    tracks = {track.id: track.title for track in competition.tracks}
    scales = {scale.id: scale.title for scale in competition.scales}
    grouped: dict[tuple[str, str], list[ChangedEntry]] = {}
    for each in report.entries:
        grouped.setdefault((each.track, each.scale), []).append(each)
    tables = [
        RescoredTable(tracks.get(track, track), scales.get(scale, scale), entries)
        for (track, scale), entries in grouped.items()
    ]
    return render("rescoring.html", place, competition=competition, report=report, tables=tables)


def take_part(competition: Competition, place: Place, hub: str) -> str:
    """How to enter: the rules, the fixed recipe and the commands, which upload to the Hub at address ``hub``."""
    return render(
        "take_part.html",
        place,
        competition=competition,
        own=competition.id not in built_in(),
        reasons=_possible(competition),
        hub=hub,
    )


def _possible(competition: Competition) -> list[RejectionReason]:
    """What an entry of this competition can be refused for: not for parts that none of its entries has."""
    absent = {
        "external_": not any(track.data is EntryData.OWN for track in competition.tracks),
        "predictions_": not any(track.entry is EntryKind.PREDICTIONS for track in competition.tracks),
    }
    prefixes = tuple(prefix for prefix, lacking in absent.items() if lacking)
    return [reason for reason in RejectionReason if not (prefixes and reason.value.startswith(prefixes))]


def error(status: int, title: str, message: str, hint: str, place: Place) -> str:
    """An error page; it says what to do next, like every error."""
    return render("error.html", place, status=status, title=title, message=message, hint=hint)
