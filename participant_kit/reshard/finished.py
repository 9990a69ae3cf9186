"""When a finished reshard is what a new run of the same command would make."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from participant_kit.reshard.passes import digest_of
from participant_kit.reshard.report import ReshardReport

_STATE = "input_state"


@dataclass(frozen=True, slots=True)
class PoolState:
    """What the shards of a pool are at present.

    Args:
        digest: of their names and sizes: the same wherever the pool lies.
        exact: of the times of their last change as well.
    """

    digest: str
    exact: str

    @classmethod
    def of(cls, states: Mapping[str, Sequence[int]]) -> PoolState:
        """From the ``file_state`` of every shard, by name."""
        sizes = [[name, state[0]] for name, state in states.items()]
        return cls(digest_of(sizes), digest_of([[name, *state] for name, state in states.items()]))


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished run as its ``meta.json`` and ``manifest.json`` describe it.

    Args:
        report: of the run.
        sizes: bytes of every shard, by name.
        seen: ``PoolState.exact`` when the run was made; only of a faulty one.
    """

    report: ReshardReport
    sizes: Mapping[str, int]
    seen: str | None

    @classmethod
    def read(cls, meta: bytes, manifest: bytes, digest: str) -> Finished | None:
        """``None`` when they are not of the job of this digest."""
        try:
            said, listed = json.loads(meta), json.loads(manifest)
            report = ReshardReport(**{field.name: said[field.name] for field in fields(ReshardReport)})
            sizes = {shard["name"]: shard["bytes"] for shard in listed["shards"]}
            seen = listed.get(_STATE)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return cls(report, sizes, seen) if report.job_digest == digest else None

    @property
    def faulty(self) -> bool:
        """Repairing the pool could give more samples."""
        return _faulty(self.report)

    def of(self, pool: PoolState) -> bool:
        """The run saw the pool as it is now."""
        return self.seen == pool.exact if self.faulty else self.report.input_digest == pool.digest


def manifest_of(report: ReshardReport, pool: PoolState, shards: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of ``manifest.json``. When the pool's files were changed matters only where a repair may be due."""
    state = {_STATE: pool.exact} if _faulty(report) else {}
    return {"job_digest": report.job_digest, **state, "shards": shards}


def _faulty(report: ReshardReport) -> bool:
    return bool(report.damaged_shards or report.lost)
