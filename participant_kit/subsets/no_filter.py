"""The whole pool: the baseline that every curation has to beat."""

from __future__ import annotations

from pathlib import Path

from competition.data.metadata import read_uids
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import SubsetResult
from participant_kit.subsets.strategy import Strategy, StrategyOptions


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:  # noqa: ARG001 - a strategy's signature
    return pool.select(_select_file, "reading uids", quick=True)


def _select_file(path: Path) -> SubsetResult:
    uids = read_uids(path)
    return SubsetResult(uids, len(uids), {})


NO_FILTER = Strategy("no_filter", "Every sample of the pool.", _select)
