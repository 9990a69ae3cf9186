"""The pool of the digits competition, built on the participant's machine from scikit-learn's digits."""

from participant_kit.pools.digits.build import PoolReport, build_digits_pool

__all__ = ["PoolReport", "build_digits_pool"]
