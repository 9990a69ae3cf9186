"""Every command of docs/coresets.md runs as it is written."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.participant_kit.cli.typed import typed
from tests.participant_kit.subsets.synthetic import unit, write_pool

TEXT = (ROOT / "docs" / "coresets.md").read_text(encoding="utf-8")
COMMANDS = [line.removeprefix("$ datacup ") for line in TEXT.splitlines() if line.startswith("$ datacup ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pool(Path("pool/metadata"), files=1, rows=400)
    for name in ("queries", "targets"):
        vectors = unit(np.random.default_rng(4).standard_normal((120, 64))).astype(np.float32)
        np.save(f"{name}.npy", vectors)
    words = shlex.split(command)
    result = typed(*words)
    assert result.code == 0, result.err
    assert Path(words[words.index("--save-path") + 1]).exists()
