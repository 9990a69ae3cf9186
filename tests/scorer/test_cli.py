"""The command line: what it says about wrong settings and about a folder, and with which status it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scorer.settings import ScorerSettings
from tests.competition.verification.entries import TinyEntry
from tests.scorer.conftest import Workplace

COMMAND = [sys.executable, "-c", "from scorer.cli import main; main()"]


def scorer(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DATACUP_")}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env={**clean, **environment}, timeout=120, check=False
    )


def test_a_malformed_competition_file_stops_the_scorer_before_it_claims_anything(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("schema_version: 1\nid: BAD ID\n")
    ended = scorer(
        "run", "--once", DATACUP_COMPETITIONS=str(path), DATACUP_ENDPOINT="http://127.0.0.1:1", DATACUP_TOKEN="t"
    )
    assert ended.returncode == 2
    assert f"{path}, line 2" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "words"),
    [
        (["run"], {}, 2, "No leaderboard is set"),
        (["run"], {"DATACUP_ENDPOINT": "http://127.0.0.1:9"}, 2, "No token is set"),
        (["run", "--once", "--drain"], {}, 2, "exclude each other"),
        (["run"], {"DATACUP_POLL_SECONDS": "soon"}, 2, "DATACUP_POLL_SECONDS cannot be used"),
        (
            ["run", "--kinds", "cooking"],
            {"DATACUP_ENDPOINT": "http://127.0.0.1:9", "DATACUP_TOKEN": "a-secret"},
            2,
            "--kinds 'cooking' is not known",
        ),
        (["audit", "sub-1"], {}, 2, "No leaderboard is set"),
        (["audit", "sub-1", "--resolution", "0.001"], {}, 2, "--resolution at least --tolerance"),
        (["audit", "sub-1", "--confidence", "nan"], {}, 2, "--confidence must be above 0.5"),
    ],
)
def test_wrong_settings_end_in_one_sentence(
    arguments: list[str], environment: dict[str, str], status: int, words: str, tmp_path: Path
) -> None:
    result = scorer(*arguments, DATACUP_CACHE=str(tmp_path), **environment)
    assert result.returncode == status, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert "a-secret" not in result.stderr + result.stdout


def test_a_leaderboard_that_is_not_there_ends_a_drain(tmp_path: Path) -> None:
    environment = {"DATACUP_ENDPOINT": "http://127.0.0.1:9", "DATACUP_TOKEN": "t", "DATACUP_CACHE": str(tmp_path)}
    result = scorer("run", "--drain", **environment)
    assert result.returncode == 8, result.stderr
    assert "does not answer" in result.stderr
    assert "Traceback" not in result.stderr


def test_verify_passes_a_valid_folder_and_names_what_is_wrong_with_another(
    tmp_path: Path, workplace: Workplace
) -> None:
    entry = TinyEntry(tmp_path / "entry").build().seal()
    rules = str(workplace.root / "tiny.yaml")
    valid = scorer("verify", str(entry.folder), "--competition", rules, "--json", **workplace.environment)
    assert valid.returncode == 0, valid.stderr
    assert json.loads(valid.stdout)["valid"] is True
    (entry.folder / "README.md").write_text("# Tony\n")
    invalid = scorer("verify", str(entry.folder), "--competition", rules, **workplace.environment)
    assert invalid.returncode == 10
    assert invalid.stderr.startswith("Error: README.md has sha256")
    assert "datacup submit" in invalid.stderr


def test_the_hub_token_is_shown_to_one_hub_only() -> None:
    settings = ScorerSettings(hub_token="secret", hub_token_endpoint="https://huggingface.co")
    assert settings.hub_token_for("https://huggingface.co/") == "secret"
    assert settings.hub_token_for("https://huggingface.co.example.org") is None
    assert settings.hub_token_for("http://127.0.0.1:8000") is None
    assert "secret" not in repr(settings)


def test_the_main_process_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'open_clip', 'pyarrow', 'polars', 'sklearn', 'huggingface_hub'}"
    code = f"import sys, scorer.cli, scorer.cli.run, scorer.work; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
