"""A run that is killed again and again ends with the weights of an unbroken one, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.forks import Forks
from tests.participant_kit.train.conftest import MakeShards, make_recipe, train_on
from tests.participant_kit.train.test_golden_losses import RECIPES, write_digits

# Forks a trainer for every kill: each one kills itself with SIGKILL after the given step.
KILLER = """
import os, signal, sys
from pathlib import Path
from tests.participant_kit.train.conftest import make_recipe, train_on

data, out, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
for kill in map(int, sys.argv[4:]):
    def progress(at):
        if at.stage == "training" and at.done == kill:
            os.kill(os.getpid(), signal.SIGKILL)
    child = os.fork()
    if not child:
        train_on(make_recipe(steps=steps), [data], out, "killed", threads=2, workers=1, progress=progress)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
"""


@pytest.mark.slow
def test_killed_at_any_step(forks: Forks, shards: MakeShards, tmp_path: Path) -> None:
    data, out, steps = shards(), tmp_path / "out", 11
    killed = forks.run(KILLER, data, out, steps, 1, 2, 3, 4, 7, 9, 10, 11)
    assert killed.returncode == 0, killed.stderr
    recipe = make_recipe(steps=steps)
    resumed = train_on(recipe, [data], out, "killed", threads=2)
    unbroken = train_on(recipe, [data], out, "unbroken", threads=2)
    assert resumed.model_sha256 == unbroken.model_sha256
    assert (resumed.steps, resumed.final_loss) == (unbroken.steps, unbroken.final_loss)
    lines = [json.loads(line) for line in (out / "killed/train_log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, steps + 1))
    assert sorted(path.name for path in (out / "killed/checkpoints").iterdir()) == ["step-00000006", "step-00000009"]


SHORT = """
import os, signal, sys
from pathlib import Path
from competition.rules import all_recipes
from participant_kit.train.data.choice import DataChoice
from participant_kit.train.launcher import Plan, train
from participant_kit.train.machine import Machine

data, out, name = sys.argv[1:]

def run(recipe, folder, kill=0):
    def progress(at):
        if at.stage == "training" and at.done == kill:
            os.kill(os.getpid(), signal.SIGKILL)
    plan = Plan(recipe, "digits", DataChoice((data,)), Path(out), folder)
    return train(plan, Machine("cpu", 1, 1), progress=progress)

competition, recipe = all_recipes()[name]
said = recipe.model_dump(mode="json")
said["budget"] = {"kind": "samples", "samples": 8 * recipe.global_batch}
recipe = type(recipe).model_validate(said)
child = os.fork()
if not child:
    run(recipe, "killed", kill=5)
    os._exit(0)
_, status = os.waitpid(child, 0)
assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
resumed, unbroken = run(recipe, "killed"), run(recipe, "unbroken")
assert resumed.steps == unbroken.steps == 8
print(resumed.model_sha256, unbroken.model_sha256, resumed.final_loss == unbroken.final_loss)
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RECIPES if not name.endswith("-clip")])
def test_every_kind_goes_on_from_a_kill(forks: Forks, name: str, digits: Path, tmp_path: Path) -> None:
    """Optimiser state, momentum teachers, queues, centres and mixing are all restored, memory layouts too.

    And the killed one's loader ends: as long as it lives, it holds the pipe that is read here.
    """
    done = forks.run(SHORT, digits, tmp_path, name)
    assert done.returncode == 0, done.stderr
    resumed, unbroken, same_loss = done.stdout.split()
    assert resumed == unbroken
    assert same_loss == "True"
