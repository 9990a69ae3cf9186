"""The tiny competition's second version: of its suite one task is as before, one is measured otherwise, one is new."""

from __future__ import annotations

from pathlib import Path

from competition.rules import Competition, load_competition
from tests.competition.verification.entries import COMPETITION_YAML, TASKS

NEWER_TASKS = (TASKS[0], TASKS[1], "tiny-d")
KEPT, CHANGED, NEW = NEWER_TASKS


def write_newer(path: Path) -> Competition:
    """Write its file; what it says."""
    text = COMPETITION_YAML.replace("version: 1\ntitle", "version: 2\ntitle")
    before, after = text.split("suite:\n  id: tiny\n  version: 1")
    first, second, third = after.split("    - id: ")[1:4]
    second = second.replace("metric: acc1", "metric: mean_per_class_recall")
    place = third.index("  aggregates:")
    added = third[:place].replace(f"{TASKS[2]}\n", f"{NEW}\n", 1)
    rest = third[place:].replace(TASKS[2], NEW)
    tasks = "".join(f"    - id: {task}" for task in (first, second, added))
    path.write_text(f"{before}suite:\n  id: tiny\n  version: 2\n  tasks:\n{tasks}{rest}")
    return load_competition(path)
