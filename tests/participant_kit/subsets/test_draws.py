"""Random and clustered draws: they belong to uid and seed alone, and come out as often as they should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from competition.data.metadata import list_metadata, pool_uids
from competition.data.uids import UID_DTYPE, multiplicities
from competition.errors import UsageError
from participant_kit.subsets import StrategyOptions, SubsetResult, build_subset, find_strategy
from participant_kit.subsets.cluster_sampling import group_weights
from participant_kit.subsets.draw import MOST_COPIES, lots, poisson_copies
from participant_kit.subsets.pool import MetadataPool
from tests.participant_kit.subsets.synthetic import unit, write_pool


def run(strategy: str, folder: Path, options: StrategyOptions, workers: int = 1) -> SubsetResult:
    chosen = find_strategy(strategy)
    options.check(chosen)
    return chosen.select(MetadataPool.open(folder, workers), options)


def uids(count: int) -> np.ndarray:
    made = np.empty(count, dtype=UID_DTYPE)
    made["f0"], made["f1"] = 0, np.arange(count)  # as far from random as uids can be
    return made


def write_image_pool(folder: Path) -> dict[str, Path]:
    """A pool whose captions pass the caption filter, with wanted centroids of very different popularity."""
    write_pool(folder / "metadata", files=3, rows=400)
    generator = np.random.default_rng(5)
    np.save(folder / "centroids.npy", unit(generator.standard_normal((6, 64))).astype(np.float32))
    np.savez(folder / "targets.npz", a=generator.standard_normal((200, 64)).astype(np.float16))
    return {"centroids": folder / "centroids.npy", "target_features": folder / "targets.npz"}


def test_lots_are_uniform_and_differ_by_seed_and_purpose() -> None:
    drawn = [lots(uids(20_000), seed, purpose) for seed, purpose in ((0, 1), (1, 1), (0, 2))]
    for each in drawn:
        assert stats.kstest(each / 2.0**64, "uniform").pvalue > 1e-4
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(drawn[first].astype(float), drawn[second].astype(float))[0, 1]) < 0.03
    assert np.array_equal(lots(uids(20_000)[::-1], 0, 1), drawn[0][::-1])
    assert drawn[0][:2].tolist() == [6448373334803415779, 8524709256471747552]  # the same for ever


@pytest.mark.parametrize("expected", [0.01, 0.7, 3.0, 60.0])
def test_copies_are_poisson(expected: float) -> None:
    copies = poisson_copies(uids(50_000), np.full(50_000, expected), 0, 1)
    assert abs(copies.mean() - expected) < 5 * np.sqrt(expected / 50_000)
    assert copies.var() == pytest.approx(expected, rel=0.06)


def test_far_too_many_copies_are_marked() -> None:
    expected = np.array([0.0, 1e-300, 150.0, 1e5])
    copies = poisson_copies(uids(4), expected, 0, 1)
    assert copies.tolist() == [0, 0, MOST_COPIES + 1, MOST_COPIES + 1]


@given(st.integers(1, 12), st.integers(1, 1000), st.floats(0, 2), st.integers(0, 2**32 - 1))
def test_a_groups_share_is_its_size_to_the_power_of_alpha(groups: int, size: int, alpha: float, seed: int) -> None:
    sizes = np.random.default_rng(seed).integers(1, 50, groups)
    weights = group_weights(np.arange(groups), sizes, alpha, size)
    shares = weights.expected * sizes
    assert shares.sum() == pytest.approx(size)
    assert shares == pytest.approx(size * sizes.astype(float) ** alpha / (sizes.astype(float) ** alpha).sum())


@pytest.mark.parametrize("options", [{"fraction": 0.3}, {"size": 123}, {"size": 600}, {"fraction": 0.001}])
def test_a_random_subset_has_exactly_its_size(tmp_path: Path, options: dict[str, Any]) -> None:
    write_pool(tmp_path)
    result = run("random", tmp_path, StrategyOptions(**options, seed=7))
    assert len(result.uids) == options.get("size", int(600 * options.get("fraction", 0)))
    assert result.dropped == {"not_drawn": 600 - len(result.uids)}


def test_random_subsets_nest_and_differ_by_seed(tmp_path: Path) -> None:
    write_pool(tmp_path)
    small, large, other = (
        set(run("random", tmp_path, StrategyOptions(size=size, seed=seed)).uids.tolist())
        for size, seed in ((100, 0), (300, 0), (300, 1))
    )
    assert small < large
    assert 100 < len(large & other) < 200
    drawn = run("random", tmp_path, StrategyOptions(size=300))  # seed 0
    assert set(drawn.uids.tolist()) == large


def test_the_seed_is_recorded_also_when_it_is_the_default(tmp_path: Path) -> None:
    write_pool(tmp_path / "m", files=1)
    report = build_subset("random", tmp_path / "m", tmp_path / "s.npy", StrategyOptions(size=5))
    assert report.options == {"size": 5, "seed": 0}


def test_random_subset_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    write_pool(tmp_path, files=1, rows=10)
    for options, message in (
        (StrategyOptions(), "exactly one of --fraction and --size"),
        (StrategyOptions(size=11), "--size 11 is more than the pool's 10 rows"),
        (StrategyOptions(size=0), "--size 0 is not above 0"),
        (StrategyOptions(size=1, seed=-1), "--seed -1 is negative"),
    ):
        with pytest.raises(UsageError, match=message):
            run("random", tmp_path, options)


@pytest.mark.parametrize("strategy", ["random", "image_sampling"])
def test_draws_do_not_depend_on_names_or_order_of_files_or_on_workers(tmp_path: Path, strategy: str) -> None:
    assets = write_image_pool(tmp_path)
    options = StrategyOptions(fraction=0.4) if strategy == "random" else StrategyOptions(**assets)
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for number, path in enumerate(reversed(list_metadata(tmp_path / "metadata"))):
        for suffix in (".parquet", ".npz"):
            (renamed / f"{number:032x}{suffix}").symlink_to(path.with_suffix(suffix))
    expected = run(strategy, tmp_path / "metadata", options)
    for folder, workers in ((renamed, 1), (tmp_path / "metadata", 2)):
        found = run(strategy, folder, options, workers)
        assert np.array_equal(found.uids, expected.uids)
        assert (found.dropped, found.repeats) == (expected.dropped, expected.repeats)


def test_image_sampling_evens_groups_out_and_counts_copies(tmp_path: Path) -> None:
    assets = write_image_pool(tmp_path)
    metadata = tmp_path / "metadata"
    candidates = run("image_based", metadata, StrategyOptions(**assets))
    as_it_is = run("image_sampling", metadata, StrategyOptions(alpha=1.0, size=20_000, **assets))
    assert as_it_is.repeats > 15_000
    distinct, copies = multiplicities(as_it_is.uids)
    assert len(distinct) == len(candidates.uids)
    assert copies.mean() == pytest.approx(20_000 / len(candidates.uids), rel=0.03)
    even = run("image_sampling", metadata, StrategyOptions(alpha=0.0, size=60_000, **assets))
    assert even.dropped["drawn_too_often"] > 0  # members of the rarest groups
    assert multiplicities(even.uids)[1].max() <= MOST_COPIES


def test_a_killed_sampling_goes_on_and_its_record_counts_repeats(tmp_path: Path) -> None:
    assets = write_image_pool(tmp_path)
    options = StrategyOptions(size=3000, seed=4, **assets)
    whole = build_subset("image_sampling", tmp_path / "metadata", tmp_path / "whole.npy", options)
    damaged = list_metadata(tmp_path / "metadata")[1].with_suffix(".npz")
    content = damaged.read_bytes()
    damaged.write_bytes(content[:100])
    with pytest.raises(Exception, match="damaged"):
        build_subset("image_sampling", tmp_path / "metadata", tmp_path / "again.npy", options)
    damaged.write_bytes(content)
    again = build_subset("image_sampling", tmp_path / "metadata", tmp_path / "again.npy", options)
    assert (tmp_path / "again.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert whole.kept - whole.repeats + sum(whole.dropped.values()) == whole.total
    assert again.options == {
        "size": 3000,
        "seed": 4,
        "alpha": 0.2,
        **{role: path.name for role, path in assets.items()},
    }
    assert sorted(path.name for path in tmp_path.glob("*.npy*")) == [
        "again.npy",
        "again.npy.json",
        "centroids.npy",
        "whole.npy",
        "whole.npy.json",
    ]


def test_sampling_a_pool_with_no_candidate_gives_nothing(tmp_path: Path) -> None:
    assets = write_image_pool(tmp_path)
    np.savez(assets["target_features"], a=np.zeros((0, 64), np.float16))
    result = run("image_sampling", tmp_path / "metadata", StrategyOptions(**assets))
    assert len(result.uids) == 0
    assert sum(result.dropped.values()) == len(pool_uids(tmp_path / "metadata"))


def test_text_sampling_draws_only_what_text_based_keeps(golden: Path) -> None:
    if not Path("/usr/share/wordnet").is_dir():
        pytest.skip("WordNet 3.0 is absent (Debian: wordnet-base)")
    folder = golden / "datacomp_filters"
    options = StrategyOptions(synset_ids=folder / "synset_ids.txt", size=8000, alpha=0.5)
    result = run("text_sampling", folder / "metadata", options)
    kept = np.load(folder / "expected" / "text_based.npy")
    assert set(result.uids.tolist()) <= set(kept.tolist())
    assert len(result.uids) == pytest.approx(8000, rel=0.05)
