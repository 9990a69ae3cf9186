"""docs/training.md: its commands run as they are written, under rules of a tiny recipe; its tables are right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from competition.data.shards import write_shard
from competition.errors import DataFormatError, DivergedError, StorageError, TrainingError, UsageError
from tests.competition.verification.entries import COMPETITION_YAML
from tests.conftest import ROOT
from tests.participant_kit.cli.typed import typed
from tests.participant_kit.train.conftest import make_sample

TEXT = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^\$ datacup (.*)$", TEXT, flags=re.MULTILINE)]


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    rules = tmp_path / "rules.yaml"
    rules.write_text(COMPETITION_YAML)
    for number, name in enumerate(("mine", "more")):
        Path("shards", name).mkdir(parents=True)
        write_shard(Path("shards", name), 0, [make_sample(100 * number + place) for place in range(16)])
    trainings = [words for words in COMMANDS if words[0] == "train"]
    assert len(trainings) == 4
    for words in trainings:
        done = typed(*words, "--competition", rules, "--device", "cpu", "--workers", "0")
        assert done.code == 0, (words, done.err)
        run = Path("runs", words[words.index("--exp-name") + 1])
        assert run.exists() != ("--check" in words)
    for name in re.findall(r"^`runs/first/` holds (.*?)\. A scorer", TEXT, flags=re.MULTILINE | re.DOTALL)[0].split(
        "`"
    )[1::2]:
        assert Path("runs/first", name).exists()
    assert list(Path("runs/followed/tensorboard").iterdir())


def test_the_options_and_scripts_that_the_page_names_are_there() -> None:
    names = set(re.findall(r"`(--[a-z-]+)`", TEXT))
    assert len(names) >= 6
    shown = typed("train", "--help").out
    assert [name for name in names if name not in shown] == []
    scripts = {path.name for path in (ROOT / "participant_kit" / "train" / "slurm").iterdir()}
    assert set(re.findall(r"`(train\w*\.sbatch)`", TEXT)) == scripts


def test_the_exit_codes_are_those_of_the_errors() -> None:
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, flags=re.MULTILINE)]
    errors = (UsageError, DataFormatError, StorageError, TrainingError, DivergedError)
    assert codes == [0, 1, *(error.exit_code for error in errors)]
