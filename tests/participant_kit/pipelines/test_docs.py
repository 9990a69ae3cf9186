"""The example of docs/pipelines.md runs as it is written, on a smaller digits pool."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.participant_kit.cli.typed import typed
from tests.participant_kit.pools.tiny import build_tiny

TEXT = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
BUILDS = [shlex.split(line)[1:] for line in re.findall(r"^\$ (datacup build .*)$", TEXT, flags=re.MULTILINE)]
RESHARD = re.findall(r"^\$ datacup (reshard .*)$", TEXT, flags=re.MULTILINE)


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    build_tiny(Path("pools/digits-nano"), 480)
    (example,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    Path("pipeline.yaml").write_text(example)
    for words in [*BUILDS, *map(shlex.split, RESHARD)]:
        result = typed(*words)
        assert result.code == 0, result.err
    lineage = json.loads(Path("dataset/dataset.json").read_bytes())
    kept = {step["name"]: step["kept"] for step in lineage["steps"]}
    assert 480 > kept["good"] > kept["unique"] > kept["best"] > 0
    assert Path("shards/dataset/meta.json").exists()
