"""``python -m bench [NAME ...]``: run all benchmarks, or the named ones."""

from __future__ import annotations

import sys
from collections.abc import Callable

from bench import (
    captions_matching,
    evaluation,
    knn,
    linear_probe,
    mirroring,
    near_duplicates,
    overhead,
    pool,
    references,
    reshard,
    scoring_api,
    selfsupervised,
    simcore,
    strategies,
    training,
    vectors,
    verification,
)

BENCHES: dict[str, Callable[[], None]] = {
    "captions_matching": captions_matching.main,
    "knn": knn.main,
    "linear_probe": linear_probe.main,
    "evaluation": evaluation.main,
    "mirroring": mirroring.main,
    "near_duplicates": near_duplicates.main,
    "overhead": overhead.main,
    "pool": pool.main,
    "references": references.main,
    "reshard": reshard.main,
    "scoring_api": scoring_api.main,
    "selfsupervised": selfsupervised.main,
    "simcore": simcore.main,
    "strategies": strategies.main,
    "training": training.main,
    "vectors": vectors.main,
    "verification": verification.main,
}


def main(names: list[str]) -> int:
    """Run the benchmarks of these names, all when there are none. Returns the exit code."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"There is no benchmark {unknown[0]!r}; there are: {', '.join(BENCHES)}.", file=sys.stderr)
        return 2
    for name in names or BENCHES:
        print(f"## {name}\n")
        BENCHES[name]()
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
