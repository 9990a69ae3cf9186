"""English captions among the best-scored pairs: the intersection of two things that are known on the golden pool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from competition.data.uids import load_subset, parse_uids, sort_uids
from participant_kit.subsets import StrategyOptions, build_subset


@pytest.mark.parametrize(("arch", "fraction"), [("l14", 0.3), ("b32", 0.1)])
def test_it_keeps_the_english_rows_of_the_clip_score_filter(
    golden: Path, tmp_path: Path, arch: str, fraction: float
) -> None:
    filters = golden / "datacomp_filters"
    options = StrategyOptions(arch=arch, fraction=fraction)
    report = build_subset("clip_score_english", filters / "metadata", tmp_path / "subset.npy", options)

    # A uid may stand on several rows with other captions and scores: the answer is worked out row by row.
    rows = pl.concat([pl.read_parquet(path) for path in sorted((filters / "metadata").glob("*.parquet"))])
    labels = pl.read_parquet(filters / "diagnostics_lid_metadata.parquet")
    assert rows["uid"].equals(labels["uid"])
    uids = parse_uids(rows["uid"].to_list())
    scores = rows[f"clip_{arch}_similarity_score"].to_numpy()
    scored = np.zeros(len(uids), bool)
    scored[np.argsort(-scores, kind="stable")[: int(len(scores) * fraction)]] = True
    scored |= scores >= scores[scored].min()
    peer = load_subset(filters / "expected" / f"clip_score_{arch}_fraction{fraction}.npy")
    assert np.array_equal(sort_uids(uids[scored]), peer), "the rows taken here are those that DataComp's filter takes"

    english = labels["fasttext_label"].to_numpy() == "en"
    assert np.array_equal(load_subset(tmp_path / "subset.npy"), sort_uids(uids[scored & english]))
    assert report.kept + sum(report.dropped.values()) == report.total
