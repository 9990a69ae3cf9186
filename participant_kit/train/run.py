"""What one run holds while it trains, and where its files are."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from competition.progress import ProgressHook
from competition.rules.recipes import Recipe
from participant_kit.train.checkpoint import RunState
from participant_kit.train.data.loader import Preparation
from participant_kit.train.data.samples import Samples
from participant_kit.train.data.source import TrainingSet
from participant_kit.train.distributed import Group
from participant_kit.train.machine import Machine
from participant_kit.train.trackers import Tracker
from participant_kit.train.trainer import Trainer

MODEL_FILE = "model.safetensors"
REPORT_FILE = "training_report.json"
LOG_FILE = "train_log.jsonl"
CURVE_FILE = "training_curve.svg"
CHECKPOINTS = "checkpoints"


@dataclass
class Run:
    """Everything that one run holds while it trains, in one process."""

    recipe: Recipe
    steps: int
    folder: Path
    data: TrainingSet
    samples: Samples
    preparation: Preparation
    apart: bool
    trainer: Trainer
    state: RunState
    group: Group
    machine: Machine
    threads: int
    progress: ProgressHook
    trackers: tuple[Tracker, ...] = ()
    corrupt: set[int] = field(default_factory=set)
    resumed_at: float = field(default_factory=time.monotonic)
    waited: float = 0.0

    @property
    def seconds(self) -> float:
        """Training time, summed over resumed parts."""
        return self.state.seconds + time.monotonic() - self.resumed_at
