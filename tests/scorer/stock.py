"""An entry in a mirror, evaluation sets, and what is heard of their evaluation: all that an engine needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from competition.data.digests import file_sha256
from competition.records.evaluation import TaskResult
from scorer.engine import task_work
from scorer.evaluation import EvaluateRequest
from scorer.mirror import Mirror
from scorer.settings import ScorerSettings
from scorer.task_process import TaskWork
from tests.competition.verification.entries import (
    TASKS,
    TinyEntry,
    tiny_competition,
    tiny_weights,
    write_evaluation_sets,
)


@dataclass
class Heard:
    """A listener that keeps what it hears; ``on_start`` is called with the first task that is handed out."""

    on_start: Callable[[], None] = lambda: None
    story: list[str] = field(default_factory=list)
    results: dict[str, TaskResult] = field(default_factory=dict)
    gaps: list[float | None] = field(default_factory=list)

    def started(self, task: str) -> None:
        self.story.append(f"started {task}")
        if len(self.story) == 1:
            self.on_start()

    def finished(self, result: TaskResult, reported_gap: float | None) -> None:
        assert result.task not in self.results, "no task has two results"
        self.story.append(f"finished {result.task}")
        self.results[result.task] = result
        self.gaps.append(reported_gap)


@dataclass(frozen=True)
class Stock:
    """Folders that both nodes see, with one entry in the mirror."""

    root: Path
    sha256: str

    def settings(self, **changes: Any) -> ScorerSettings:
        return ScorerSettings(mirror=self.root / "mirror", evaluation=self.root / "evaluation", task_gpus=0, **changes)

    def work(self, sha256: str = "", mirror: Path | None = None, **changes: Any) -> TaskWork:
        settings = self.settings(**changes)
        request = EvaluateRequest(
            competition=tiny_competition(),
            track="filtering",
            scale="nano",
            tasks=TASKS,
            judged_sha256=sha256 or self.sha256,
            mirror=mirror or settings.mirror_root,
            evaluation=settings.evaluation_root,
            threads=7,
        )
        return task_work(request, settings)

    def adopt(self, weights: dict[str, np.ndarray]) -> str:
        """Lay a model into the mirror; its digest."""
        entry = TinyEntry(self.root / "entry").build()
        entry.save_weights(weights)
        model = entry.folder / "model.safetensors"
        sha256 = file_sha256(model)
        Mirror(self.root / "mirror").adopt(model, sha256)
        return sha256

    @classmethod
    def made(cls, root: Path) -> Stock:
        """Fill a folder."""
        write_evaluation_sets(root / "evaluation")
        return cls(root, cls(root, "").adopt(tiny_weights()))
