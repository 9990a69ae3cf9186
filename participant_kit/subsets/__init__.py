"""Choosing subsets of a pool: one module a strategy, one registry, one way to run them."""

from participant_kit.subsets.build import STRATEGIES, build_subset, find_strategy
from participant_kit.subsets.record import SubsetReport
from participant_kit.subsets.result import SubsetResult
from participant_kit.subsets.strategy import Strategy, StrategyOptions

__all__ = ["STRATEGIES", "Strategy", "StrategyOptions", "SubsetReport", "SubsetResult", "build_subset", "find_strategy"]
