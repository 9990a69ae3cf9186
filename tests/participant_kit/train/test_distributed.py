"""Two processes train what one does: the same batches, the same loss curve, one set of files."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from competition.errors import UsageError
from participant_kit.train.distributed import place
from tests.forks import Forks
from tests.participant_kit.train.conftest import MakeShards, make_recipe, make_sample, train_on

TRAIN = """
import sys
from pathlib import Path
from participant_kit.train.launcher import FollowerError
from competition.errors import DataCupError
from tests.participant_kit.train.conftest import make_recipe, train_on
try:
    recipe = make_recipe(steps=int(sys.argv[3]), batch=int(sys.argv[4]))
    report = train_on(recipe, [Path(sys.argv[1])], Path(sys.argv[2]), "two")
    print(report.model_sha256, report.hardware.devices)
except FollowerError:
    sys.exit(41)
except DataCupError as error:
    print(error)
    sys.exit(40)
"""

BATCH_NORM = """
import torch
from torch import nn
from participant_kit.train.batch_norm import synchronise_batch_norm
from participant_kit.train.distributed import join

def main(group):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(8, 3, 4, 4, generator=generator)
    weights = torch.randn(8, 3, 4, 4, generator=generator)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU())
    synchronise_batch_norm(model, group)
    wrapped = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False) if group.world > 1 else model
    part = slice(group.rank * 8 // group.world, (group.rank + 1) * 8 // group.world)
    for _ in range(2):
        model.zero_grad()
        (wrapped(inputs[part]) * weights[part]).mean().backward()
    values = [*(parameter.grad for parameter in model.parameters()), *model.buffers()]
    if group.leader:
        print(" ".join(f"{float(value):.9e}" for tensor in values for value in tensor.flatten()))

with join("cpu") as group:
    main(group)  # a wrapped model that is alive when the interpreter ends makes torch abort, now and then
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def processes(forks: Forks, count: int, code: str, *words: object) -> list[subprocess.CompletedProcess[str]]:
    """Run the code in so many processes that find each other as torchrun's do."""
    job = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    places = [job | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    return forks.run_all(code, words, places)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "train_log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_follow_the_loss_curve_of_one(forks: Forks, shards: MakeShards, tmp_path: Path) -> None:
    """The contrastive loss is over the whole batch: with local negatives alone it would start at ln 4, not ln 8."""
    data, out, steps = shards([make_sample(n) for n in range(60)]), tmp_path / "out", 25
    one = train_on(make_recipe(steps=steps), [data], out, "one")
    first, second = processes(forks, 2, TRAIN, data, out, steps, 8)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout.split()[-1] == "2"
    assert first.stdout == second.stdout
    assert one.hardware.devices == 1
    assert torch.allclose(torch.tensor(losses(out / "one")), torch.tensor(losses(out / "two")), rtol=1e-4, atol=1e-4)
    alone, together = (load_file(out / name / "model.safetensors") for name in ("one", "two"))
    assert max(float((alone[name] - together[name]).abs().max()) for name in alone) < 2e-3


@pytest.mark.slow
def test_batch_normalisation_is_over_all_processes(forks: Forks) -> None:
    alone, *_ = processes(forks, 1, BATCH_NORM)
    first, second = processes(forks, 2, BATCH_NORM)
    assert alone.returncode == first.returncode == second.returncode == 0, alone.stderr + first.stderr
    expected, found = ([float(value) for value in run.stdout.split()] for run in (alone, first))
    assert len(expected) > 15
    assert torch.allclose(torch.tensor(found), torch.tensor(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "batch", "sentence"), [("nowhere", 8, "There is no folder"), ("shards", 9, "does not divide")]
)
def test_the_leader_says_what_is_wrong_and_nobody_waits(
    forks: Forks, shards: MakeShards, tmp_path: Path, data: str, batch: int, sentence: str
) -> None:
    shards()
    runs = processes(forks, 2, TRAIN, tmp_path / data, tmp_path / "out", 5, batch)
    assert sentence in runs[0].stdout
    assert runs[0].returncode == 40
    assert runs[1].returncode in {40, 41}


def test_a_process_finds_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("SLURM_PROCID", "3"), ("SLURM_NTASKS", "8"), ("SLURM_LOCALID", "1")):
        monkeypatch.setenv(name, value)
    assert place() == (0, 1, 0)
    monkeypatch.setenv("MASTER_ADDR", "node1")
    monkeypatch.setenv("MASTER_PORT", "12802")
    assert place() == (3, 8, 1)
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "16"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    assert place() == (5, 16, 0)
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(UsageError, match="not whole numbers"):
        place()
