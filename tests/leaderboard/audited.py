"""Audits of the digits competition as a scorer reports them, for tests of the leaderboard and its pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from competition.audit_rule import Errors, find, score_of
from competition.records.audit import Arm, AuditBar, AuditReport, AuditRun, AuditTarget, KnownSpread
from competition.records.lifecycle import Eligibility, Trust
from competition.records.manifest import FileRole, ManifestFile, SubmissionManifest
from competition.rules import find_competition, find_scale

DIGITS = find_competition("digits")
START = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def target(value: float, scale: str = "nano") -> AuditTarget:
    """An entry that has ``value`` in every task."""
    files = [
        ManifestFile(path=f"{role.value}.bin", role=role, size=1, sha256=sha * 64)
        for role, sha in ((FileRole.SUBSET, "a"), (FileRole.MODEL, "b"))
    ]
    recipe = DIGITS.training_digest(find_scale(DIGITS, scale))
    same: dict[str, Any] = {"competition": DIGITS.id, "track": "filtering", "scale": scale, "recipe_digest": recipe}
    same |= {"submission_id": "s1", "suite": DIGITS.suite.reference, "suite_digest": DIGITS.suite.digest}
    manifest = SubmissionManifest(
        **same, nonce="0" * 64, competition_version=1, method_name="m", author="a", files=tuple(files),
        code_version="0.1.0", created_at=START,
    )  # fmt: skip
    return AuditTarget(
        **same, version=3, competition_digest=DIGITS.digest, hub_endpoint="https://hub.example", repo="a/b",
        revision="c" * 40, path="x", manifest=manifest, score=value,
        tasks={task.id: value for task in DIGITS.suite.tasks}, eligibility=Eligibility.ELIGIBLE,
        trust=Trust.RE_EVALUATED,
    )  # fmt: skip


def run(seed: int, values: Sequence[float], arm: Arm = Arm.SUBSET) -> AuditRun:
    """A training whose tasks have these values."""
    tasks = dict(zip([task.id for task in DIGITS.suite.tasks], values, strict=True))
    return AuditRun(
        arm=arm,
        seed=seed,
        score=score_of(DIGITS.suite, tasks),
        tasks=tasks,
        samples=1200,
        data_digest="d" * 64,
        model_sha256=f"{seed:064x}",
        final_loss=1.0,
        seconds=20.0,
        device="CPU",
        torch_version="2",
        code_version="0.1.0",
    )


def report(target: AuditTarget, runs: Sequence[AuditRun], scale: str = "nano", **changes: Any) -> AuditReport:
    """The report that a scorer makes of these runs; ``changes`` are made afterwards."""
    bar = AuditBar(confidence=0.99, tolerance=0.005, resolution=0.05)
    known = KnownSpread(sd=0.01, degrees=10)
    entry = target.tasks if scale == target.scale else None
    errors = Errors(0.005, dict.fromkeys(target.tasks, 0.01))
    found = find(DIGITS.suite, runs, entry, errors, bar, known)
    fields: dict[str, Any] = {
        "submission_id": target.submission_id,
        "version": target.version,
        "scale": scale,
        "recipe_digest": DIGITS.training_digest(find_scale(DIGITS, scale)),
        "suite_digest": target.suite_digest,
        "subset_sha256": target.manifest.only(FileRole.SUBSET).sha256,
        "model_sha256": target.manifest.only(FileRole.MODEL).sha256,
        "entry_seed": 0,
        "same_shards": True,
        "missing": 0,
        "runs": tuple(runs),
        "bar": bar,
        "known": known,
        "score": found.score,
        "tasks": found.tasks,
        "verdict": found.verdict,
        "seeds_needed": found.seeds_needed,
        "code_version": "0.1.0",
        "started_at": START,
        "finished_at": START,
    }
    return AuditReport.model_validate({**AuditReport(**fields).model_dump(), **changes})
