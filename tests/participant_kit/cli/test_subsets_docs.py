"""The commands of "Curate" in docs/subsets.md run as they are written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from competition.data.uids import load_subset
from tests.conftest import ROOT
from tests.participant_kit.cli.typed import typed
from tests.participant_kit.subsets.synthetic import DIMENSIONS, unit, write_pool

SECTION = (ROOT / "docs" / "subsets.md").read_text(encoding="utf-8").split("## Curate")[1].split("\n## ")[0]
COMMANDS = re.findall(r"^\$ datacup (.*)$", SECTION, flags=re.MULTILINE)


def test_the_commands_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pool(Path("pool/metadata"), files=2, rows=200)
    np.save("targets.npy", unit(np.random.default_rng(4).standard_normal((20, DIMENSIONS))).astype(np.float32))
    assert len(COMMANDS) == 5
    kept = {}
    for command in COMMANDS:
        words = shlex.split(command)
        result = typed(*words)
        assert result.code == 0, (command, result.err)
        if words[0] == "subset":
            kept[words[1]] = len(load_subset(Path(words[words.index("--save-path") + 1])))
    assert kept == {"score_fusion": 120, "k_center": 100, "cluster_quota": 120, "reference_distance": 120}
