"""Every command of docs/describe.md runs as it is written, in its order, on a small digits pool."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from competition.catalog.digits.split import Part
from competition.catalog.digits.testsets import test_photograph as photograph
from tests.conftest import ROOT
from tests.participant_kit.cli.typed import typed
from tests.participant_kit.pools import tiny

TEXT = (ROOT / "docs" / "describe.md").read_text(encoding="utf-8")
COMMANDS = [line.removeprefix("$ datacup ") for line in TEXT.splitlines() if line.startswith("$ datacup ")]
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.build_tiny(Path("pool"), 240)
    classes = [{"id": str(digit), "names": [name]} for digit, name in enumerate(NAMES)]
    Path("classes.json").write_text(json.dumps(classes))
    lines = [f"{digit},0.{digit + 1}" for digit in range(9)]
    Path("accuracy.csv").write_text("\n".join(["label,accuracy", *lines]))
    Path("test-images").mkdir()
    for index in range(20):
        photograph(Part.TEST, index).save(f"test-images/{index}.png")
    target = np.concatenate([np.load(path)["l14_img"] for path in sorted(Path("pool/metadata").glob("*.npz"))])[:40]
    np.savez("target.npz", l14_img=target)
    assert len(COMMANDS) == 9
    for command in COMMANDS:
        words = shlex.split(command)
        result = typed(*words)
        assert result.code == 0, (command, result.err)
        if words[0] == "describe":
            page = Path(words[words.index("--save-path") + 1])
            found = json.loads(page.with_name(f"{page.name}.json").read_text())
            assert found["rows"]["rows"] > 0
            assert found["pictures"]["samples_not_found"] == 0
