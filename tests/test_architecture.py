"""What import graphs and linters cannot see: fresh interpreters stay light, and code keeps its size norm."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("competition", "participant_kit", "scorer", "leaderboard", "migrations", "demo", "bench", "tests")
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 400
MAX_TEST_FILE_LINES = 600

HEAVY = {"torch", "torchvision", "open_clip", "ray", "webdataset", "polars", "pyarrow", "sklearn"}


@pytest.mark.parametrize(
    "module",
    [
        "leaderboard.app",
        "leaderboard.cli",
        "leaderboard.hub.app",
        "participant_kit.cli",
        "scorer.cli",
        "scorer.work",
        "competition.client",
    ],
)
def test_a_fresh_interpreter_imports_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys; print(' '.join(sorted({HEAVY!r} & set(sys.modules))))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == ""


def test_a_pipeline_without_models_loads_neither_torch_nor_open_clip() -> None:
    code = "import participant_kit.pipelines.run, sys; print({'torch', 'open_clip'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "set()"


def _python_files() -> Iterator[Path]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "versions" not in path.parts:
                yield path


def test_no_file_is_longer_than_the_norm() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in _python_files()}
    limits = {path: MAX_TEST_FILE_LINES if path.parts[0] == "tests" else MAX_FILE_LINES for path in lengths}
    assert {str(path): length for path, length in lengths.items() if length > limits[path]} == {}


def test_no_function_is_longer_than_the_norm() -> None:
    too_long = {}
    for path in _python_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    too_long[f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"] = length
    assert too_long == {}


def test_no_lock_or_setting_names_a_package_index() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "--index-url" not in lock
    assert "://" not in lock
    assert "sha256:" in lock
