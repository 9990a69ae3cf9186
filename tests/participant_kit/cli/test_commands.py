"""Every command explains itself; what the README tells people to type is understood; wrong input is one sentence."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from competition.rules import find_competition
from participant_kit.cli import app, pool, reshard, submit
from participant_kit.subsets import STRATEGIES
from tests.participant_kit.cli.typed import typed
from tests.participant_kit.subsets.synthetic import write_pool

ROOT = Path(__file__).resolve().parents[3]
COMMAND = typer.main.get_command(app)


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for child, sub in getattr(command, "commands", {}).items():
        yield from _commands(sub, f"{name} {child}")


ALL = dict(_commands(COMMAND, "datacup"))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATACUP_", "HF_"))}
    return subprocess.run(
        [sys.executable, "-c", "from participant_kit.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        env={**kept, **environment},
        check=False,
    )


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_says_what_it_is_for(name: str) -> None:
    command = ALL[name]
    assert command.help
    assert command.help.strip().endswith(".")
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{name} {parameter.opts[0]}"
        assert all("_" not in option for option in parameter.opts if option.startswith("--"))


@pytest.mark.parametrize("name", [name for name in ALL if " " in name])
def test_help_names_values_in_words_and_not_in_pythons_types(name: str) -> None:
    shown = typed(*name.split()[1:], "--help")
    assert shown.code == 0
    assert not re.search(r" range>|list\[|<Path>", shown.out)
    usage = shown.out[: shown.out.index("\n\n")]
    assert not re.search(r"\{[a-z_]+\}", usage), "an argument's Python name"


@pytest.mark.parametrize("name", [name for name in ALL if " " in name])
def test_the_first_sentence_of_a_command_fits_into_the_list_of_commands(name: str) -> None:
    limit = 200 if name.startswith("datacup subset") else 64  # the list of subset's commands has whole sentences
    assert not ALL[name].get_short_help_str(limit=limit).endswith("...")


def test_the_help_of_subset_names_every_strategy() -> None:
    shown = run("subset", "--help").stdout
    assert all(re.search(rf"\n  {strategy}\s", shown) for strategy in STRATEGIES)


def test_what_a_built_pool_suggests_works(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pool(tmp_path / "my" / "metadata")
    done = run(*shlex.split(pool.suggestion(Path("my")))[1:])
    assert done.returncode == 0, done.stderr
    assert "Next: datacup reshard -i my/shards -o shards/subset -s subset.npy" in done.stderr


def test_what_an_evaluation_suggests_is_of_the_scale_that_was_trained() -> None:
    words = shlex.split(submit.suggestion(find_competition("digits"), "digits-micro-clip", Path("runs/a")))
    COMMAND.commands["submit"].make_context("submit", words[2:])  # type: ignore[attr-defined]
    assert words[words.index("--scale") + 1] == "micro"


def test_what_a_reshard_suggests_is_of_the_pools_scale(tmp_path: Path) -> None:
    assert reshard.scale_of(tmp_path / "shards") == "SCALE"
    (tmp_path / "pool.json").write_text('{"scale": "micro"}')
    assert reshard.scale_of(tmp_path / "shards") == "micro"


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if not getattr(command, "commands", None)])
def test_every_working_command_takes_json(name: str) -> None:
    assert any("--json" in parameter.opts for parameter in ALL[name].params)


def _written_commands() -> list[str]:
    found = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        found += re.findall(r"^\$ (?:[A-Z_]+=\S+ )*(datacup .*?)(?:\s+#.*)?$", text, flags=re.MULTILINE)
    return found


@pytest.mark.parametrize("line", _written_commands())
def test_commands_of_the_readme_are_understood(line: str) -> None:
    words = shlex.split(line)[1:]
    command, name = COMMAND, "datacup"
    while getattr(command, "commands", None):
        name = words.pop(0)
        command = command.commands[name]
    command.make_context(name, words)


def test_the_readme_shows_the_whole_chain() -> None:
    shown = {shlex.split(line)[1] for line in _written_commands()}
    assert {"pool", "subset", "reshard", "train", "evaluate", "submit", "status", "quickstart"} <= shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["subset", "best_filter", "--metadata-dir", ".", "--save-path", "s.npy"], "best_filter"),
        (["pool", "build", "letters"], "cannot be built here"),
        (["pool", "build", "digits", "--scale", "giga"], "has no scale 'giga'"),
        (
            ["train", "--scale", "giga", "--data-dir", "x", "--output-dir", "y", "--exp-name", "z"],
            "has no scale 'giga'",
        ),
        (["train", "--recipe", "gigantic", "--data-dir", "x", "--output-dir", "y", "--exp-name", "z"], "no recipe"),
        (["train", "--data-dir", "x", "--output-dir", "y", "--exp-name", "z"], "either --scale or --recipe"),
        (["train", "--scale", "nano", "--data-dir", "x", "--output-dir", "y", "--exp-name", "z"], "x"),
        (["evaluate"], "either --train-output-dir or --model"),
        (["evaluate", "--model", "nowhere"], "no run in nowhere"),
        (["status", "s-1"], "DATACUP_ENDPOINT"),
        (["standings"], "DATACUP_ENDPOINT"),
        (["reshard", "-i", "in", "-o", "out", "-s", "none.npy"], "none.npy"),
        (["quickstart", "--strategy", "magic"], "no strategy 'magic'"),
        (["quickstart", "--strategy", "clip_score", "--all"], "Both --all and --strategy"),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) else "",
)
def test_wrong_input_ends_in_one_sentence(arguments: list[str], sentence: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.returncode not in {0, 1}
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_an_error_is_json_where_json_is_asked_for() -> None:
    result = run("standings", "--json")
    assert json.loads(result.stdout)["error"]["code"] == "usage"


def test_a_leaderboard_that_is_down_is_said_so(monkeypatch) -> None:
    result = run("standings", DATACUP_ENDPOINT="http://127.0.0.1:9")
    assert result.returncode == 8
    assert "does not answer" in result.stderr
