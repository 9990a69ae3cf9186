"""An audit in a process that a test can kill: ``python -m tests.scorer.audit_process WORKPLACE TARGET.json SEEDS``."""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path
from typing import Any

from competition.records.audit import AuditBar, AuditTarget
from scorer.audit import Audit, Choices
from scorer.children import Children
from scorer.settings import ScorerSettings

BAR = AuditBar(confidence=0.95, tolerance=0.005, resolution=0.3)


def settings_of(root: Path) -> ScorerSettings:
    """Of a scorer whose folders are all below ``root``."""
    return ScorerSettings(
        cache=root, pools=root / "pools", evaluation=root / "evaluation", competitions=(str(root / "tiny.yaml"),),
        threads=1,
    )  # fmt: skip


def audit(root: Path, target: AuditTarget, seeds: int, notify: Any, *, scale: str | None = None) -> Audit:
    """An audit with seeds 11, 12, ..., whose order a test can rely on."""
    drawn = count(11)
    return Audit(target, Choices(scale, seeds, BAR), Children(), settings_of(root), notify, lambda: next(drawn))


def main() -> None:
    """Print every event as a line of JSON."""

    def notify(event: str, **detail: object) -> None:
        print(json.dumps({"event": event, **detail}), flush=True)  # noqa: T201 - read by the test

    target = AuditTarget.model_validate_json(Path(sys.argv[2]).read_bytes())
    audit(Path(sys.argv[1]), target, int(sys.argv[3]), notify).run()


if __name__ == "__main__":
    main()
