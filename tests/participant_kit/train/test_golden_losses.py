"""The first 20 losses of every nano recipe are on record: a refactoring keeps them, bit for bit, or says why not.

``python -m tests.participant_kit.train.test_golden_losses`` records them anew.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from competition.data.shards import Sample, write_shard
from competition.progress import Progress
from competition.rules import all_recipes
from participant_kit.train.data.choice import DataChoice, open_data
from participant_kit.train.distributed import Group
from participant_kit.train.launcher import Plan, prepare
from participant_kit.train.loop import batches_from
from participant_kit.train.machine import Machine

RECORD = Path(__file__).resolve().parents[2] / "data" / "golden_losses.json"
STEPS, THREADS = 20, 1
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RECIPES = sorted(name for name in all_recipes() if name.startswith("digits-nano-"))


def quiet(_: Progress) -> None:
    """Say nothing."""


def write_digits(folder: Path) -> None:
    """All of scikit-learn's digits, each four times its size, as PNGs (whose pixels no decoder rounds)."""
    digits = load_digits()
    samples = []
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        stream = io.BytesIO()
        Image.fromarray((pixels * 15).astype("uint8").repeat(4, axis=0).repeat(4, axis=1)).save(stream, "PNG")
        members = {"png": stream.getvalue(), "txt": f"the digit {NAMES[label]}".encode(), "cls": str(label).encode()}
        samples.append(Sample(f"{number:05d}", members))
    write_shard(folder, 0, samples)


def first_losses(recipe_id: str, shards: Path, out: Path) -> list[float]:
    """Losses of the first steps, on one thread."""
    competition, recipe = all_recipes()[recipe_id]
    plan = Plan(recipe, competition, DataChoice((str(shards),)), out, recipe_id)
    machine = Machine("cpu", THREADS, 0)
    with torch.random.fork_rng(devices=[]), machine.thread_count() as threads:
        data = open_data(plan.data, plan.folder, threads, quiet)
        run = prepare(plan, data, machine, threads, Group(0, 1, torch.device("cpu")), quiet)
        return [float(run.trainer.step(batch.step, batch.inputs)) for batch in batches_from(run, 0, STEPS)]


def here() -> dict[str, Any]:
    """What decides over the last bits."""
    return {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch_version": str(torch.__version__),
        "threads": THREADS,
    }


@pytest.fixture(scope="module")
def digit_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder)
    return folder


def test_every_nano_recipe_is_on_record() -> None:
    assert sorted(json.loads(RECORD.read_text())["losses"]) == RECIPES


@pytest.mark.parametrize("recipe_id", RECIPES)
def test_first_losses(recipe_id: str, digit_shards: Path, tmp_path: Path) -> None:
    record = json.loads(RECORD.read_text())
    expected, found = record["losses"][recipe_id], first_losses(recipe_id, digit_shards, tmp_path)
    assert len(found) == STEPS
    if record["on"] == here():
        assert found == expected
    else:
        assert found == pytest.approx(expected, rel=1e-4)


def record() -> None:
    """Write the losses of this machine."""
    with tempfile.TemporaryDirectory() as name:
        shards = Path(name) / "shards"
        shards.mkdir()
        write_digits(shards)
        losses = {recipe_id: first_losses(recipe_id, shards, Path(name)) for recipe_id in RECIPES}
    RECORD.write_text(json.dumps({"on": here(), "losses": losses}, indent=1) + "\n")


if __name__ == "__main__":
    record()
