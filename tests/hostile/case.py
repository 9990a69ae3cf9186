"""What a hostile entry is: how it is made from a sound one, and how it must end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from competition.errors import RejectionReason
from tests.competition.verification.entries import TinyEntry

E = TypeVar("E")


@dataclass(frozen=True)
class Hostile(Generic[E]):
    """``make`` spoils a sound entry's folder and seals it; it must end ``invalid`` for ``reason``, and its message has
    ``words``."""

    reason: RejectionReason
    words: str
    make: Callable[[E], object]


def write(entry: TinyEntry, name: str, content: bytes) -> None:
    """Put these bytes where a file of the entry lies, and seal it: every size and digest fits."""
    (entry.folder / name).write_bytes(content)
    if name == "model.safetensors":
        entry.report()
    entry.seal()


def seal_raw(entry: TinyEntry, content: bytes) -> None:
    """These bytes are the manifest."""
    (entry.folder / "submission.json").write_bytes(content)


def seal_with(entry: TinyEntry, **changes: Any) -> None:
    """A manifest with values that JSON has and the type of a manifest has not."""
    seal_raw(entry, json.dumps(entry.manifest(**changes)).encode())


def listed(entry: TinyEntry, **changes: object) -> list[dict[str, object]]:
    """The manifest's list of files with the model's line changed."""
    files = entry.manifest()["files"]
    return [{**file, **changes} if file["role"] == "model" else file for file in files]
