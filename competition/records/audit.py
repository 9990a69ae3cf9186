"""Audits: what a scorer is told, what it reports after training again, and what everybody may see of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from competition.records.base import (
    CommitSha,
    HttpUrl,
    Identifier,
    Line,
    Record,
    RelativePath,
    RepoId,
    Several,
    Sha256,
    Timestamp,
)
from competition.records.lifecycle import Eligibility, Trust
from competition.records.manifest import SubmissionManifest

MAX_RUNS = 128
_MAX_TASKS = 1000
_LARGEST = 1e12
_Value = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)]
_Size = Annotated[float, Field(ge=0, le=_LARGEST)]
_Count = Annotated[int, Field(ge=0, le=2**53 - 1)]


class AuditVerdict(StrEnum):
    """What an audit came to. The first two are of the entry's own scale, the next two of a smaller one."""

    CONFIRMED = "confirmed"
    """The entry's score is one that training on its subset gives."""
    EXCEEDS = "exceeds"
    """The entry scores more than training on its subset gives."""
    ABOVE_RANDOM = "above_random"
    """Trained at a smaller scale, the subset beats random ones of the same size."""
    NOT_ABOVE_RANDOM = "not_above_random"
    """It does not, and would have been seen to."""
    UNDECIDED = "undecided"
    """The noise is too large to say."""


class Arm(StrEnum):
    """What a run was trained on."""

    SUBSET = "subset"
    RANDOM = "random"


class AuditTarget(Record):
    """A scored entry as its audit must know it. Hidden tasks are among ``tasks``: for organisers only."""

    submission_id: Identifier
    version: int = Field(ge=1, description="of the entry on the leaderboard; the report must name it")
    competition: Identifier
    competition_digest: Sha256
    track: Identifier
    scale: Identifier
    recipe_digest: Sha256
    suite: str
    suite_digest: Sha256
    hub_endpoint: HttpUrl
    repo: RepoId
    revision: CommitSha
    path: RelativePath
    manifest: SubmissionManifest
    score: float | None = Field(description="the published primary aggregate; None: no entry has one by itself")
    tasks: dict[Identifier, float] = Field(description="the published values")
    eligibility: Eligibility
    trust: Trust


class AuditRun(Record):
    """One training of an audit, and what it scored."""

    arm: Arm
    seed: _Count
    score: _Value | None = Field(description="the primary aggregate; None: not shown, as it holds hidden tasks")
    tasks: dict[Identifier, _Value] = Field(max_length=_MAX_TASKS, description="values by task")
    samples: _Count = Field(description="that were trained on, copies counted")
    data_digest: Sha256 = Field(description="of the shards, as training reports have it")
    model_sha256: Sha256
    final_loss: float
    seconds: _Size = Field(description="of training")
    device: Line
    torch_version: Line
    code_version: Line


class AuditComparison(Record):
    """``competition.seed_noise.Comparison`` of the score, or of a task's value."""

    value: _Value = Field(description="the entry's, or the mean of the runs on its subset")
    mean: _Value = Field(description="of the runs that it is compared with")
    gain: float = Field(description="by how much the first is better")
    margin: float = Field(ge=0, description="how much better it may be by chance")
    seed_sd: _Size
    evaluation_error: _Size = Field(description="standard error of the gain from the choice of test samples")
    degrees: _Count = Field(description="of freedom of `seed_sd`")


class AuditBar(Record):
    """``competition.seed_noise.Bar``: how sure the verdict had to be."""

    confidence: float = Field(gt=0.5, lt=1)
    tolerance: _Size
    resolution: _Size


class KnownSpread(Record):
    """``competition.seed_noise.SeedSpread``: what audits of other entries said of the recipe before."""

    sd: _Size
    degrees: int = Field(ge=0, le=2**40)


class AuditReport(Record):
    """What an audit found. ``tasks`` are pointers for organisers: the verdict is about ``score`` alone."""

    schema_version: Literal[1] = 1
    submission_id: Identifier
    version: int = Field(ge=1, description="of the entry, as its target said")
    scale: Identifier = Field(description="whose recipe was trained")
    recipe_digest: Sha256
    suite_digest: Sha256
    subset_sha256: Sha256
    model_sha256: Sha256 = Field(description="of the entry's model")
    entry_seed: int | None = Field(description="as the entry's own report says; no run has it")
    same_shards: bool = Field(description="the entry's report names the very shards that the audit trained on")
    missing: _Count = Field(description="samples of the subset that the scorer's pool lacks")
    runs: Several[AuditRun] = Field(min_length=1, max_length=MAX_RUNS)
    bar: AuditBar
    known: KnownSpread
    score: AuditComparison
    tasks: dict[Identifier, AuditComparison] = Field(max_length=_MAX_TASKS)
    verdict: AuditVerdict
    seeds_needed: int | None = Field(ge=2, description="runs that would decide if the noise stays as it is; if any")
    code_version: Line
    started_at: Timestamp
    finished_at: Timestamp

    @model_validator(mode="after")
    def _distinct_runs(self) -> Self:
        if len({(run.arm, run.seed) for run in self.runs}) != len(self.runs):
            raise ValueError("runs: two of them have the same seed")
        if any(run.seed == self.entry_seed for run in self.runs):
            raise ValueError("runs: one has the entry's own seed")
        return self

    def scores(self, arm: Arm) -> list[float]:
        """The scores of the runs of one arm that have one, in order."""
        return [run.score for run in self.runs if run.arm is arm and run.score is not None]


class AuditView(Record):
    """An audit as everybody sees it: without the numbers that hidden tasks are part of."""

    report_sha256: Sha256 = Field(description="of the whole report but for its `version`; the event log has it")
    recorded_at: Timestamp
    scale: Identifier
    own_scale: bool
    verdict: AuditVerdict
    sentence: str
    bar: AuditBar
    score: AuditComparison | None
    tasks: dict[Identifier, AuditComparison]
    runs: list[AuditRun]
    missing: int
    seeds_needed: int | None


def numbers(comparison: AuditComparison) -> str:
    """A comparison in words."""
    return (
        f"{comparison.value:.4f} against a mean of {comparison.mean:.4f}, a gain of {comparison.gain:+.4f} where "
        f"{comparison.margin:.4f} can be chance"
    )


def sentence(report: AuditReport, *, shown: bool) -> str:
    """The verdict in words; the numbers only where they may be ``shown``."""
    runs = sum(run.arm is Arm.SUBSET for run in report.runs)
    trained = f"{runs} trainings on the mirrored subset at scale {report.scale!r}"
    what = {
        AuditVerdict.CONFIRMED: f"The score is within seed noise of {trained}",
        AuditVerdict.EXCEEDS: f"The score exceeds what {trained} give",
        AuditVerdict.ABOVE_RANDOM: f"{trained} score more than as many on random subsets of the same size",
        AuditVerdict.NOT_ABOVE_RANDOM: f"{trained} score no more than as many on random subsets of the same size",
        AuditVerdict.UNDECIDED: f"The noise of {trained} is too large for a verdict",
    }[report.verdict]
    detail = f": {numbers(report.score)} ({report.bar.confidence * 100:g} % confidence)" if shown else ""
    needed = ""
    if report.verdict is AuditVerdict.UNDECIDED:
        needed = (
            f" {report.seeds_needed} seeds would decide, if the noise stays as it is."
            if report.seeds_needed
            else " No number of seeds would decide at this resolution."
        )
    return f"{what}{detail}.{needed}"
