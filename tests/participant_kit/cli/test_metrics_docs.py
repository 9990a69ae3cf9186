"""docs/dataset-metrics.md: its commands run as they are written, and it has a word on every recogniser and metric."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from competition.evaluation.dataset_metrics.cler import Recogniser
from participant_kit.cli.metrics_distance import Metric
from tests.conftest import ROOT
from tests.participant_kit.cli.typed import typed

TEXT = (ROOT / "docs" / "dataset-metrics.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ datacup (.*)$", TEXT, flags=re.MULTILINE)


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    labels = np.arange(90) % 3
    means = generator.normal(size=(3, 8))
    for name, rows in {"train": 90, "val": 30, "test": 60}.items():
        features = means[labels[:rows]] + generator.normal(size=(rows, 8))
        np.savez(f"{name}.npz", features=features.astype(np.float32), labels=labels[:rows])
    for name, rows in {"text": 3, "good": 2, "bad": 2, "real": 80, "generated": 70, "answers": 90}.items():
        np.save(f"{name}.npy", generator.normal(size=(rows, 8)).astype(np.float32))
    assert len(COMMANDS) == 10
    for command in COMMANDS:
        result = typed(*shlex.split(command))
        assert result.code == 0, (command, result.err)
        assert result.out


def test_the_page_names_everything() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", TEXT, flags=re.MULTILINE)
    assert rows == [name.value for name in Recogniser]
    metrics = re.findall(r"^\*\*`([a-z-]+)`\*\*", TEXT, flags=re.MULTILINE)
    assert metrics[: len(Metric)] == [each.value for each in Metric]
