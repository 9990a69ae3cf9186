"""Re-scorings: the evaluations of a competition's entries under another suite, and what they changed."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from competition.records.base import Identifier, Line, Record, Sha256, Timestamp
from competition.records.submission import Score, TaskScore
from competition.rules import Competition


class RescoringState(StrEnum):
    """``open``: being worked on; nothing of it is public."""

    OPEN = "open"
    PUBLISHED = "published"
    CANCELLED = "cancelled"


class EntryState(StrEnum):
    """Where the re-scoring of one entry stands. ``failed``: a person must look."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RescoringRequest(Record):
    """Evaluate scored entries under the suite of ``document``, which has the competition's next version number."""

    document: Competition
    track: Identifier | None = None
    scale: Identifier | None = None
    phase: Identifier | None = Field(default=None, description="entries that were received in this phase")
    fresh: bool = Field(default=False, description="take no result over: every task is evaluated again")


class PublishRequest(Record):
    """Make a re-scoring public."""

    allow_missing: bool = Field(default=False, description="although entries of the table have no new score")


class ChangedTasks(Record):
    """What becomes of the older suite's tasks in the newer one."""

    kept: tuple[Identifier, ...] = Field(description="the same is measured: results are taken over")
    changed: tuple[Identifier, ...]
    added: tuple[Identifier, ...]
    removed: tuple[Identifier, ...]


class Omission(Record):
    """An entry that is not among those re-scored, or has no new score, and why."""

    submission_id: Identifier
    method_name: str
    reason: str


class RescoringPlan(Record):
    """What a re-scoring would do. Nothing is stored."""

    competition: Identifier
    version_before: int
    version_after: int
    suite_before: str
    suite_after: str
    suite_digest: Sha256
    tasks: ChangedTasks
    entries: int = Field(ge=0, description="that are re-scored")
    evaluations: int = Field(ge=0, description="tasks to be evaluated, all entries together")
    taken_over: int = Field(ge=0, description="results to be taken over, all entries together")
    seconds: float = Field(ge=0, description="of the evaluations, one after the other, as far as they are estimated")
    seconds_by_analogy: float = Field(ge=0, description="how many of these rest on other tasks of the same entry")
    not_estimated: int = Field(ge=0, description="evaluations of entries without any recorded time")
    left_out: tuple[Omission, ...]


class RescoringProgress(Record):
    """How many entries are where."""

    total: int = Field(ge=0)
    waiting: int = Field(default=0, ge=0)
    running: int = Field(default=0, ge=0)
    done: int = Field(default=0, ge=0)
    failed: int = Field(default=0, ge=0)
    cancelled: int = Field(default=0, ge=0, description="their authors withdrew them")

    @property
    def unfinished(self) -> int:
        """Entries on which somebody works or will work."""
        return self.waiting + self.running


class RescoringView(Record):
    """A re-scoring as the API shows it."""

    id: int
    competition: Identifier
    version_before: int
    version_after: int
    suite_before: str
    suite_after: str
    suite_digest: Sha256
    state: RescoringState
    track: Identifier | None
    scale: Identifier | None
    phase: Identifier | None
    fresh: bool
    tasks: ChangedTasks
    progress: RescoringProgress
    created_at: Timestamp
    ended_at: Timestamp | None = Field(description="when it was published or cancelled")


class ChangedTask(Record):
    """A task of one entry under both suites; None: the suite has no such task, or there is no result (yet)."""

    task: Identifier
    title: str
    before: Score | None
    after: Score | None
    taken_over: bool


class ChangedEntry(Record):
    """One entry under both suites. Scores and ranks are None where there are none, or none that may be shown."""

    submission_id: Identifier
    method_name: str
    author: str
    track: Identifier
    scale: Identifier
    state: EntryState
    failure: str | None
    before: Score | None
    after: Score | None
    rank_before: int | None
    rank_after: int | None
    tasks: tuple[ChangedTask, ...]

    @property
    def moved(self) -> bool:
        """Whether its rank is another one."""
        return self.rank_before != self.rank_after


class RescoringReport(Record):
    """What a re-scoring changed, or would change if it were published now; each table's entries in the new order."""

    rescoring: RescoringView
    aggregate_before: str
    aggregate_after: str
    entries: tuple[ChangedEntry, ...]
    missing: tuple[Omission, ...] = Field(description="entries of the older table that have no new score")
    in_progress: int = Field(ge=0, description="entries on their way to a score under the older suite")


class EvaluationView(Record):
    """One evaluation of a submission: older and newer ones stand side by side."""

    suite: str
    suite_digest: Sha256
    competition_version: int
    competition_digest: Sha256
    published_at: Timestamp
    score: Score | None = Field(description="None: not shown, or made among all entries")
    results: tuple[TaskScore, ...]


class ReplayNote(Record):
    """An organiser evaluated an entry again, and says how its stored values held."""

    suite_digest: Sha256
    tasks: int = Field(ge=1, description="that were evaluated again")
    differing: tuple[Identifier, ...] = Field(description="tasks whose value lies outside of the tolerance")
    worker: Line
    code_version: Line
