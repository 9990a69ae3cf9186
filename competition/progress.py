"""How long work says where it stands: a hook that is called with a ``Progress``, by pools, training and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` tasks of a stage, ``resumed`` of them by an earlier run; ``task`` is the latest, which took
    ``seconds`` on the machine ``host`` where these are known."""

    stage: str
    done: int
    total: int
    resumed: int = 0
    task: str = ""
    seconds: float = 0.0
    host: str = ""


ProgressHook = Callable[[Progress], None]
