"""Pools and pipelines for tests."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from competition.progress import ProgressHook
from participant_kit.pipelines.run import Terminal
from tests.participant_kit.subsets.synthetic import write_pool

FILES, ROWS = 3, 40

STEPS: list[dict[str, Any]] = [
    {"name": "all", "run": "subset no_filter"},
    {"name": "scored", "run": "subset clip_score", "options": {"arch": "l14", "fraction": 0.6}},
    {"name": "mine", "run": "subset function", "options": {"function": "filters.py:keep"}},
    {"name": "good", "run": "subset and", "from": ["scored", "mine"]},
    {"name": "rest", "run": "subset minus", "from": ["all", "good"]},
    {"name": "some", "run": "subset sample", "from": ["rest"], "options": {"count": 5, "seed": 3}},
    {"name": "mixed", "run": "subset weights", "from": ["good", "some"], "options": {"weights": [2, 1]}},
]

FUNCTION = """
import os, signal
from pathlib import Path

HERE = Path(__file__).parent


def keep(frame):
    with (HERE / "calls").open("a") as calls:
        calls.write(frame["uid"][0] + "\\n")
    done = len((HERE / "calls").read_text().split())
    if (HERE / "kill").exists() and done == int((HERE / "kill").read_text()):
        os.kill(os.getpid(), signal.SIGKILL)
    return frame["clip_l14_similarity_score"] > 0.2
"""


def write_pipeline(folder: Path, steps: list[dict[str, Any]] | None = None, **changes: Any) -> Path:
    """A pool, a file of functions, and the pipeline's file over both."""
    if not (folder / "pool").exists():
        write_pool(folder / "pool" / "metadata", FILES, ROWS)
        (folder / "filters.py").write_text(FUNCTION)
    path = folder / "pipeline.yaml"
    content = {"version": 1, "pool": "pool", "steps": STEPS if steps is None else steps} | changes
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def changed(name: str, **options: Any) -> list[dict[str, Any]]:
    """The steps with other options of one."""
    return [step if step["name"] != name else step | {"options": step["options"] | options} for step in STEPS]


def quiet(notes: list[str] | None = None) -> Terminal:
    """Shows nothing; notes go to the list."""

    def show(title: str) -> nullcontext[ProgressHook]:
        return nullcontext(lambda _progress: None)

    return Terminal(show, (notes if notes is not None else []).append)


def content(folder: Path) -> dict[str, Any]:
    """What a build left, but for the time."""
    lineage = json.loads((folder / "dataset.json").read_bytes())
    assert lineage.pop("created_at")
    return {"lineage": lineage, "uids": np.load(folder / "dataset.npy").tolist()}
