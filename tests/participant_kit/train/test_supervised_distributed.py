"""Two processes train a supervised recipe as one does, batch normalisation included; only mixing pairs differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.forks import Forks
from tests.participant_kit.train.conftest import MakeShards, train_on
from tests.participant_kit.train.test_distributed import losses, processes
from tests.participant_kit.train.test_supervised import STEPS, labelled_samples, make_supervised

TRAIN = """
import sys
from pathlib import Path
from tests.participant_kit.train.conftest import train_on
from tests.participant_kit.train.test_supervised import make_supervised
changes = {"mixing": None} if sys.argv[3] == "plain" else {}
train_on(make_supervised(**changes), [Path(sys.argv[1])], Path(sys.argv[2]), sys.argv[3] + "-two")
"""


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(forks: Forks, shards: MakeShards, tmp_path: Path) -> None:
    data = shards(labelled_samples())
    for finished in processes(forks, 2, TRAIN, data, tmp_path, "plain"):
        assert finished.returncode == 0, finished.stderr
    train_on(make_supervised(mixing=None), [data], tmp_path, "one")
    expected = losses(tmp_path / "one")
    assert len(expected) == STEPS
    assert losses(tmp_path / "plain-two") == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_two_processes_mix_within_their_shares(forks: Forks, shards: MakeShards, tmp_path: Path) -> None:
    data = shards(labelled_samples())
    for finished in processes(forks, 2, TRAIN, data, tmp_path, "mixed"):
        assert finished.returncode == 0, finished.stderr
    train_on(make_supervised(), [data], tmp_path, "one")
    found, expected = losses(tmp_path / "mixed-two"), losses(tmp_path / "one")
    # The same samples, weights and boxes, mixed in other pairs: near, and not equal.
    assert found != pytest.approx(expected, rel=1e-6)
    assert found == pytest.approx(expected, rel=0.5)
