"""``datacup subset`` as people type it: strategies, made from what they say of themselves, and subset algebra."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import typer.main
from typer.testing import CliRunner

from competition.data.uids import UID_DTYPE, load_subset, parse_uids, save_subset, sort_uids
from competition.errors import UsageError
from participant_kit.cli import app
from participant_kit.subsets import STRATEGIES
from participant_kit.subsets.strategy import declared_options
from tests.participant_kit.cli.test_commands import run
from tests.participant_kit.subsets.synthetic import write_pool

GROUP = typer.main.get_command(app).commands["subset"]  # type: ignore[attr-defined]
ALGEBRA = {"and", "or", "minus", "weights", "sample", "top", "info", "diff"}
OWN = {"where", "function"}
SPREAD = {"--num-workers", "-j", "--engine", "--ray-address", "--task-log"}
SHARED = SPREAD | {"--metadata-dir", "--save-path", "--json"}


def datacup(*words: str | Path) -> str:
    """Run a command in this process; its standard output."""
    result = CliRunner().invoke(app, ["subset", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*words: str | Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(app, ["subset", *map(str, words)], catch_exceptions=False, standalone_mode=False)
    return caught.value


def save(path: Path, uids: str) -> Path:
    """Uids of one hexadecimal digit, with repeats."""
    save_subset(path, sort_uids(parse_uids(list(uids))) if uids else np.zeros(0, UID_DTYPE))
    return path


def digits(path: Path) -> str:
    return "".join(f"{uid:x}" for uid in load_subset(path)["f1"])


def test_strategies_and_algebra_share_no_name_and_are_all_there() -> None:
    assert set(GROUP.commands) == set(STRATEGIES) | ALGEBRA | OWN
    assert not set(STRATEGIES) & (ALGEBRA | OWN)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategys_help_shows_the_options_that_it_takes_and_no_others(name: str) -> None:
    shown = {option for each in GROUP.commands[name].params if not each.hidden for option in each.opts}
    assert shown == SHARED | {declared_options()[option].flag for option in STRATEGIES[name].accepts}
    text = datacup(name, "--help")
    assert all(declared_options()[option].help.split()[0] in text for option in STRATEGIES[name].accepts)


def test_help_has_two_lists() -> None:
    strategies, algebra = datacup("--help").split("Subset algebra")
    first, second = (set(re.findall(r"^  (\S+)", part, flags=re.MULTILINE)) for part in (strategies, algebra))
    assert {*STRATEGIES, *OWN} <= first
    assert second == ALGEBRA


def test_an_unknown_command_is_answered_in_one_sentence_with_all_names() -> None:
    result = run("subset", "best_filter", "--metadata-dir", ".", "--save-path", "s.npy")
    assert result.returncode == UsageError.exit_code
    assert result.stderr.startswith("Error: There is no strategy 'best_filter'.\n")
    assert all(name in result.stderr for name in GROUP.commands)
    assert result.stdout == ""


def test_an_option_of_another_strategy_is_said_to_be_foreign(tmp_path: Path) -> None:
    write_pool(tmp_path / "m", files=1, rows=5)
    error = refusal(
        "no_filter", "--metadata-dir", tmp_path / "m", "--save-path", tmp_path / "s.npy", "--fraction", "0.3"
    )
    assert str(error) == "Strategy no_filter does not take --fraction. It takes no options."


def test_subsets_are_chosen_combined_and_looked_at_in_processes_of_their_own(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool" / "metadata")
    metadata = ("--metadata-dir", str(tmp_path / "pool" / "metadata"))

    def made(name: str, *words: str) -> dict[str, object]:
        result = run("subset", *words, "--save-path", str(tmp_path / name), "--json")
        assert result.returncode == 0, result.stderr
        report = json.loads(result.stdout)
        assert report == json.loads((tmp_path / f"{name}.json").read_text())
        return report

    a, b = str(tmp_path / "a.npy"), str(tmp_path / "b.npy")
    made("a.npy", "clip_score", *metadata, "--arch", "l14", "--fraction", "0.3")
    made("b.npy", "where", "clip_l14_similarity_score >= 0.5 and original_width >= 200", *metadata, "-j", "2")
    union = made("union.npy", "or", a, b)
    common = made("common.npy", "and", a, b)
    assert union["kept"] == len(load_subset(tmp_path / "a.npy")) + len(load_subset(tmp_path / "b.npy")) - common["kept"]
    assert made("top.npy", "top", b, "--by", "clip_l14_similarity_score", *metadata, "-n", "50")["kept"] == 50
    assert made("sample.npy", "sample", b, "--fraction", "0.5", "--seed", "7")["options"] == {
        "fraction": 0.5,
        "seed": 7,
    }
    shown = run("subset", "info", str(tmp_path / "sample.npy")).stdout
    assert "made by" in shown
    assert '"seed": 7' in shown


def test_operations_on_copies(tmp_path: Path) -> None:
    a, b = save(tmp_path / "a.npy", "1122234"), save(tmp_path / "b=1.npy", "12245")
    out = tmp_path / "out.npy"
    for command, expected in {"and": "1224", "or": "11222345", "minus": "123"}.items():
        text = datacup(command, a, b, "--save-path", out)
        assert digits(out) == expected
        assert "kept" in text
    datacup("weights", f"{a}=2", f"{b}=1", "--save-path", out)
    assert digits(out) == "1111122222222334445"
    datacup("weights", a, "--save-path", out)
    assert digits(out) == "1122234"
    datacup("sample", a, "--count", "7", "--save-path", out)
    assert digits(out) == "1122234"
    info = json.loads(datacup("info", a, "--json"))
    assert (info["rows"], info["distinct"], info["max_multiplicity"], info["record"]) == (7, 4, 3, None)
    diff = json.loads(datacup("diff", a, b, "--json"))
    assert diff["only_rows"] == [3, 1]
    assert diff["only_distinct"] == [1, 1]
    assert diff["jaccard_rows"] == 4 / 8
    assert diff["jaccard_distinct"] == 3 / 5


def test_no_uids_at_all_are_a_subset_too(tmp_path: Path) -> None:
    empty, a = save(tmp_path / "empty.npy", ""), save(tmp_path / "a.npy", "12")
    for command, expected in {"and": "", "or": "12", "minus": ""}.items():
        datacup(command, empty, a, "--save-path", tmp_path / "out.npy")
        assert digits(tmp_path / "out.npy") == expected
    assert json.loads(datacup("diff", empty, empty, "--json"))["jaccard_rows"] == 1.0
    assert json.loads(datacup("info", empty, "--json"))["max_multiplicity"] == 0
    datacup("sample", empty, "--fraction", "0.5", "--save-path", tmp_path / "out.npy")


def test_a_function_of_ones_own_is_called(tmp_path: Path) -> None:
    write_pool(tmp_path / "m", files=2, rows=20)
    (tmp_path / "mine.py").write_text("def wide(frame):\n    return frame['original_width'] > 0\n")
    arguments = ("--metadata-dir", str(tmp_path / "m"), "--save-path", str(tmp_path / "s.npy"))
    result = run("subset", "function", f"{tmp_path / 'mine.py'}:wide", *arguments, "--json")
    report = json.loads(result.stdout)
    assert report["kept"] + sum(report["dropped"].values()) == 40
    assert report["assets"]["function"]["file"] == "mine.py"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["and", "a.npy", "--save-path", "o.npy"], "needs at least two subsets"),
        (["or", "a.npy", "b.npy", "--save-path", "a.npy"], "is one of the inputs"),
        (["minus", "a.npy", "b.npy", "--save-path", "o.bin"], "does not end in .npy"),
        (["weights", "a.npy=two", "--save-path", "o.npy"], "'a.npy=two' is not a subset with a whole number"),
        (["weights", "=2", "--save-path", "o.npy"], "'=2' is not a subset"),
        (["weights", "a.npy=0", "--save-path", "o.npy"], "The weight 0 of a.npy is not between"),
        (["sample", "a.npy", "--save-path", "o.npy"], "Exactly one of --count and --fraction"),
        (["sample", "a.npy", "-n", "3", "--save-path", "o.npy"], "--count 3 is not between 1 and the subset's 2 rows"),
        (["sample", "a.npy", "--fraction", "1.5", "--save-path", "o.npy"], "--fraction 1.5 is not above 0"),
        (["diff", "a.npy", "b.npy", "--shards-dir", "."], "needs both --shards-dir and --save-path"),
        (["diff", "a.npy", "b.npy", "--shards-dir", ".", "--save-path", "o.npy"], "does not end in .html"),
        (["function", "mine", "--metadata-dir", ".", "--save-path", "o.npy"], "not of the form FILE.py:NAME"),
    ],
)
def test_wrong_words_are_answered_in_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("a.npy"), "12")
    save(Path("b.npy"), "23")
    assert sentence in refusal(*words).message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "b.npy"]


def test_files_that_are_no_subsets_end_with_an_exit_code_and_a_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "floats.npy", np.zeros(3))
    for words, code, sentence in (
        (("info", "floats.npy"), 3, "holds dtype float64"),
        (("info", "absent.npy"), 4, "No such file"),
        (("diff", "floats.npy", "floats.npy"), 3, "holds dtype float64"),
    ):
        result = run("subset", words[0], *(str(tmp_path / name) for name in words[1:]))
        assert result.returncode == code
        assert sentence in result.stderr
        assert "Traceback" not in result.stderr


def test_the_output_names_the_language_model_and_its_digest(tmp_path: Path) -> None:
    write_pool(tmp_path / "m")
    shown = datacup("basic_filter", "--metadata-dir", tmp_path / "m", "--save-path", tmp_path / "s.npy")
    asset = json.loads((tmp_path / "s.npy.json").read_text())["assets"]["language_model"]
    assert re.search(rf"language model +{re.escape(asset['file'])} \(sha256 {asset['sha256'][:12]}\)", shown)
