"""Two processes train what one does: negatives, queue, assignments and centre are those of the whole batch."""

from __future__ import annotations

import pytest
import torch

from tests.forks import Forks
from tests.participant_kit.train.test_distributed import processes

METHODS = ("simclr", "moco", "byol", "simsiam", "swav", "dino")

LOSSES = """
import sys
from participant_kit.train.data.loader import Share
from participant_kit.train.distributed import join
from tests.participant_kit.train.test_selfsupervised import METHODS, make_ssl, trainer_of, views_of

with join("cpu") as group:
    for name in sys.argv[1:]:
        # Dropped paths are drawn by each process for itself; 30 samples: layers are frozen for the first four steps.
        further = {"drop_path": 0.0} if name == "dino" else {}
        optimizer = {"kind": "sgd", "learning_rate": 0.01, "weight_decay": 0.0}
        recipe = make_ssl(name, steps=8, method={"method": name, **METHODS[name], **further}, optimizer=optimizer)
        trainer, part = trainer_of(recipe, group=group), Share(group.rank, group.world).of(recipe.global_batch)
        for step in range(6):
            loss = group.mean(trainer.step(step, [view[part] for view in views_of(recipe, step)]))
            if group.leader:
                print(float(loss))
"""


@pytest.mark.slow
def test_two_processes_follow_the_loss_curve_of_one(forks: Forks) -> None:
    alone, *_ = processes(forks, 1, LOSSES, *METHODS)
    first, second = processes(forks, 2, LOSSES, *METHODS)
    assert alone.returncode == first.returncode == second.returncode == 0, alone.stderr + first.stderr
    expected, found = ([float(value) for value in run.stdout.split()] for run in (alone, first))
    assert len(expected) == 6 * len(METHODS)
    assert torch.allclose(torch.tensor(found), torch.tensor(expected), rtol=1e-3), (expected, found)
