"""Filters: uid for uid those of the original programs, every dropped row counted, input order irrelevant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from competition.data.metadata import list_metadata
from competition.data.uids import uids_to_hex
from competition.errors import DataFormatError, UsageError
from participant_kit.subsets import STRATEGIES, StrategyOptions, SubsetResult, find_strategy
from participant_kit.subsets.clip_score_diverse import contrastive_scores, near_duplicates, spherical_kmeans
from participant_kit.subsets.language import is_english, language_model
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.strategy import NO_OPTIONS
from participant_kit.subsets.threshold import fraction_threshold
from tests.participant_kit.subsets.synthetic import unit, write_pool

GOLDEN = [
    ("no_filter", "no_filter", StrategyOptions()),
    ("basic_filter", "basic_filter", StrategyOptions()),
    ("clip_score_l14_fraction0.3", "clip_score", StrategyOptions(arch="l14", fraction=0.3)),
    ("clip_score_b32_fraction0.3", "clip_score", StrategyOptions(arch="b32", fraction=0.3)),
    ("clip_score_b32_fraction0.1", "clip_score", StrategyOptions(arch="b32", fraction=0.1)),
    ("clip_score_b32_threshold0.25", "clip_score", StrategyOptions(arch="b32", threshold=0.25)),
    ("clip_score_b32_threshold0.281", "clip_score", StrategyOptions(arch="b32", threshold=0.281)),
    ("clip_score_l14_threshold0.243", "clip_score", StrategyOptions(arch="l14", threshold=0.243)),
]


def run(strategy: str, folder: Path, options: StrategyOptions = NO_OPTIONS) -> SubsetResult:
    chosen = find_strategy(strategy)
    options.check(chosen)
    return chosen.select(MetadataPool.open(folder), options)


@pytest.mark.parametrize(("file", "strategy", "options"), GOLDEN, ids=[case[0] for case in GOLDEN])
def test_uids_equal_those_of_the_original(golden: Path, file: str, strategy: str, options: StrategyOptions) -> None:
    folder = golden / "datacomp_filters"
    result = run(strategy, folder / "metadata", options)
    assert np.array_equal(result.uids, np.load(folder / "expected" / f"{file}.npy"))
    assert result.total == 10500


def test_language_labels_equal_the_originals(golden: Path) -> None:
    for path in sorted((golden / "datacomp_filters").glob("diagnostics_lid_*.parquet")):
        table = pq.ParquetFile(path).read()
        expected = [label.removeprefix("__label__") == "en" for label in table.column("fasttext_label").to_pylist()]
        assert is_english(table.column("text").to_pylist(), language_model(None)).tolist() == expected


def test_basic_filter_counts_each_row_under_its_first_reason(golden: Path) -> None:
    result = run("basic_filter", golden / "datacomp_filters" / "metadata")
    assert list(result.dropped) == [
        "image_too_small",
        "image_too_narrow",
        "caption_too_short",
        "caption_has_few_words",
        "caption_not_english",
    ]
    assert sum(result.dropped.values()) == 10500 - 3205


SCORES = hnp.arrays(
    np.float32, st.integers(1, 60), elements=st.one_of(st.sampled_from([0.25, 0.5, np.nan]), st.floats(-1, 1, width=32))
)


@given(SCORES, st.floats(0.01, 1))
def test_the_fraction_threshold_is_datacomps(scores: np.ndarray, fraction: float) -> None:
    threshold = fraction_threshold(scores, fraction)
    rank, valid = int(len(scores) * fraction), int((~np.isnan(scores)).sum())
    kept = int((scores >= threshold).sum())
    if rank < valid:
        assert threshold == -np.sort(-scores)[rank]  # descending, NaN last: the (n+1)-th largest
        assert kept >= rank + 1
    else:
        assert kept == valid


def test_strategies_refuse_options_that_are_not_theirs_or_out_of_range(tmp_path: Path) -> None:
    write_pool(tmp_path, files=1, rows=10)
    cases = {
        "no_filter does not take --arch": ("no_filter", StrategyOptions(arch="b32")),
        "--arch b16 is unknown": ("clip_score", StrategyOptions(arch="b16", fraction=0.3)),
        "needs --arch": ("clip_score", StrategyOptions(fraction=0.3)),
        "exactly one of": ("clip_score", StrategyOptions(arch="b32")),
        "exactly one .*threshold": ("clip_score", StrategyOptions(arch="b32", fraction=0.3, threshold=0.2)),
        "--fraction 0.0 is not above 0": ("clip_score", StrategyOptions(arch="b32", fraction=0.0)),
        "--fraction 1.5 is not above 0": ("clip_score", StrategyOptions(arch="b32", fraction=1.5)),
        "--threshold nan is not": ("clip_score", StrategyOptions(arch="b32", threshold=float("nan"))),
        "no language model .*absent": ("basic_filter", StrategyOptions(language_model=tmp_path / "absent")),
        "no strategy 'best'": ("best", StrategyOptions()),
    }
    for message, (strategy, options) in cases.items():
        with pytest.raises(UsageError, match=message):
            run(strategy, tmp_path, options)
    with pytest.raises(UsageError) as caught:
        find_strategy("best")
    assert all(name in caught.value.hint for name in STRATEGIES)


def test_a_file_that_is_no_language_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"nothing")
    with pytest.raises(DataFormatError, match="not a fastText model"):
        is_english(["x"], tmp_path / "model")


def test_missing_captions_and_sizes_are_counted_not_refused(tmp_path: Path) -> None:
    write_pool(tmp_path, files=1, rows=4)
    path = list_metadata(tmp_path)[0]
    table = pq.ParquetFile(path).read().to_pydict()
    table["text"][0] = None
    table["original_width"][1] = None
    pq.write_table(pq.ParquetFile(path).schema_arrow.empty_table().from_pydict(table), path)
    dropped = run("basic_filter", tmp_path).dropped
    assert (dropped["caption_too_short"], dropped["image_too_small"]) == (1, 1)


def test_diverse_keeps_matched_pairs_and_drops_dirt(tmp_path: Path) -> None:
    sorts = write_pool(tmp_path)
    result = run("clip_score_diverse", tmp_path, StrategyOptions(fraction=0.35))
    kept = set(uids_to_hex(result.uids))
    assert len(kept & {*sorts["mismatched"], *sorts["junk"]}) <= 0.01 * len(kept)
    assert len(kept & set(sorts["matched"])) > 0.6 * len(sorts["matched"])
    assert result.dropped["near_duplicate"] > 0.3 * len(sorts["copy"])
    assert result.dropped["group_too_large"] > 0


def test_diverse_does_not_depend_on_the_names_or_order_of_files_or_on_workers(tmp_path: Path) -> None:
    write_pool(tmp_path / "a")
    (tmp_path / "b").mkdir()
    for number, path in enumerate(reversed(list_metadata(tmp_path / "a"))):
        for suffix in (".parquet", ".npz"):
            (tmp_path / "b" / f"{number:032x}{suffix}").write_bytes(path.with_suffix(suffix).read_bytes())
    strategy = STRATEGIES["clip_score_diverse"]
    results = [
        strategy.select(MetadataPool.open(tmp_path / folder, workers), StrategyOptions())
        for folder, workers in (("a", 1), ("b", 1), ("a", 2))
    ]
    for other in results[1:]:
        assert np.array_equal(other.uids, results[0].uids)
        assert other.dropped == results[0].dropped


def test_rows_without_features_are_counted(tmp_path: Path) -> None:
    write_pool(tmp_path, files=1, rows=50)
    archive = list_metadata(tmp_path)[0].with_suffix(".npz")
    arrays = dict(np.load(archive))
    arrays["l14_txt"][3] = np.nan
    np.savez(archive, allow_pickle=False, **arrays)
    assert run("clip_score_diverse", tmp_path, StrategyOptions(fraction=1.0)).dropped["features_missing"] == 1


def test_contrastive_scores_put_a_fitting_caption_before_one_that_fits_everything() -> None:
    images = np.eye(4, dtype=np.float32)
    texts = unit(np.array([[1, 0.2, 0.2, 0.2], [0, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1]])).astype(np.float32)
    scores = contrastive_scores(images, texts, np.arange(4))
    assert scores[2] < min(scores[[0, 1, 3]])


@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_near_duplicates_leave_one_of_each_and_no_close_pair(count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    points = unit(generator.standard_normal((count, 3))).astype(np.float32)
    points = points[generator.integers(0, count, 2 * count)]
    marked = near_duplicates(points, 0.9)
    kept = points[~marked]
    close = np.tril(kept @ kept.T > 0.9, -1)
    assert not marked[0]
    assert not close.any()
    assert ((points[marked] @ kept.T) > 0.9 - 1e-6).any(axis=1).all()


def test_kmeans_finds_separate_groups() -> None:
    generator = np.random.default_rng(0)
    centres = np.eye(16, dtype=np.float32)[:4]
    truth = generator.integers(0, 4, 200)
    points = unit(centres[truth] + 0.02 * generator.standard_normal((200, 16))).astype(np.float32)
    labels = spherical_kmeans(points, 12, seed=0, rounds=10)
    for label in np.unique(labels):
        assert len(set(truth[labels == label].tolist())) == 1
