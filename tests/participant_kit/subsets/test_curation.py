"""score_fusion, k_center, cluster_quota and reference_distance: what they are by definition, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import rankdata

from competition.data.metadata import list_metadata, read_uids
from competition.data.vector_source import VectorSource
from competition.errors import DataCupError, DataFormatError, UsageError
from participant_kit.subsets import StrategyOptions, SubsetReport, build_subset, cluster_quota, k_center
from participant_kit.subsets.centroids import nearest_centroids
from participant_kit.subsets.quotas import even_quotas
from participant_kit.subsets.reference_distance import kth_similarities
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.subsets.synthetic import DIMENSIONS, unit, write_pool

ROWS = 600


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Three files of 200 rows, whose scores are missing in two rows and features in three; centroids and targets."""
    write_pool(tmp_path / "metadata")
    generator = np.random.default_rng(1)
    for number, path in enumerate(list_metadata(tmp_path / "metadata")):
        table = pq.ParquetFile(path).read()
        scores = table.column("clip_l14_similarity_score").to_numpy().copy()
        scores[7:9] = np.nan if number == 0 else 0.5
        columns = {"clip_l14_similarity_score": pa.array(scores), "likes": pa.array(generator.integers(0, 50, 200))}
        for name, values in columns.items():
            place = table.schema.get_field_index(name)
            table = table.append_column(name, values) if place < 0 else table.set_column(place, name, values)
        pq.write_table(table, path)
        if number == 1:
            features = dict(np.load(path.with_suffix(".npz")))
            features["l14_img"][[3, 10, 199]] = np.nan
            np.savez(path.with_suffix(".npz"), **features)
    np.save(tmp_path / "centroids.npy", generator.standard_normal((9, DIMENSIONS)).astype(np.float32))
    np.save(tmp_path / "targets.npy", unit(generator.standard_normal((40, DIMENSIONS))).astype(np.float32))
    return tmp_path


def run(pool: Path, strategy: str, workers: int = 1, **options: Any) -> SubsetReport:
    return build_subset(strategy, pool / "metadata", pool / "s.npy", StrategyOptions(**options), workers)


def column(pool: Path, name: str) -> np.ndarray:
    files = list_metadata(pool / "metadata")
    return np.concatenate([pq.ParquetFile(path).read([name])[name].to_numpy() for path in files]).astype(np.float64)


def features(pool: Path) -> np.ndarray:
    files = list_metadata(pool / "metadata")
    return np.concatenate([np.load(path.with_suffix(".npz"))["l14_img"] for path in files]).astype(np.float64)


def kept(pool: Path) -> np.ndarray:
    """Mask over the pool's rows, whose uids differ."""
    uids = np.concatenate([read_uids(path) for path in list_metadata(pool / "metadata")])
    return np.isin(uids, np.load(pool / "s.npy"))


def test_fusion_keeps_the_best_by_the_weighted_mean_of_normalised_ranks(pool: Path) -> None:
    report = run(pool, "score_fusion", columns=["clip_l14_similarity_score", "likes:-2"], fraction=0.3)
    score, likes = column(pool, "clip_l14_similarity_score"), column(pool, "likes")
    present = ~np.isnan(score)
    rows = present.sum()
    best_score, best_likes = ((rankdata(values[present]) - 0.5) / rows for values in (score, likes))
    fused = np.full(ROWS, -np.inf)
    fused[present] = (best_score + 2 * (1 - best_likes)) / 3
    assert report.kept == kept(pool).sum() == 180
    assert report.dropped == {"clip_l14_similarity_score_missing": 2, "likes_missing": 0, "score_too_low": 418}
    least = np.sort(fused)[-180]
    assert report.details["least_kept"] == pytest.approx(least, abs=1e-12)
    assert kept(pool)[fused > least + 1e-12].all()
    assert not kept(pool)[fused < least - 1e-12].any()
    assert report.options["columns"] == ["clip_l14_similarity_score", "likes:-2"]


def test_fusion_of_one_column_is_its_order_and_ties_are_drawn_to_the_exact_number(pool: Path) -> None:
    likes = column(pool, "likes")
    assert run(pool, "score_fusion", columns=["likes"], size=100).kept == 100
    least = likes[kept(pool)].min()
    assert kept(pool)[likes > least].all()
    assert 0 < kept(pool)[likes == least].sum() < (likes == least).sum()


@pytest.mark.parametrize("by", [None, "likes", "clip_l14_similarity_score"])
def test_every_cluster_gives_its_best_up_to_one_quota(pool: Path, by: str | None) -> None:
    report = run(pool, "cluster_quota", centroids=pool / "centroids.npy", by=by, size=250)
    vectors = features(pool)
    values = np.zeros(ROWS) if by is None else column(pool, by)
    usable = np.isfinite(vectors).all(axis=1) & ~np.isnan(values)
    clusters = np.full(ROWS, -1)
    clusters[usable] = nearest_centroids(vectors[usable], np.load(pool / "centroids.npy"))
    sizes = np.bincount(clusters[usable], minlength=9)
    quotas = even_quotas(sizes, 250)
    chosen = kept(pool)
    assert np.array_equal(np.bincount(clusters[chosen], minlength=9), quotas)
    for cluster in range(9):
        inside = clusters == cluster
        if 0 < quotas[cluster] < sizes[cluster]:
            assert values[inside & chosen].min() >= values[inside & ~chosen].max()
    assert report.dropped["features_missing"] == 3
    assert report.dropped["over_quota"] == usable.sum() - 250
    assert report.details["clusters_below_quota"] == (sizes < quotas.max()).sum() > 0
    assert report.details["quota"] == quotas.max()


def test_another_seed_draws_others_of_a_cluster_and_few_rows_in_memory_change_nothing(
    pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = []
    for seed in (0, 1):
        run(pool, "cluster_quota", centroids=pool / "centroids.npy", fraction=0.3, seed=seed)
        draws.append(kept(pool))
    assert (draws[0] != draws[1]).sum() > 50
    whole = cluster_quota.find_cuts
    monkeypatch.setattr(cluster_quota, "find_cuts", lambda *given: whole(*given, rows_in_memory=40))
    run(pool, "cluster_quota", centroids=pool / "centroids.npy", fraction=0.3, seed=1)
    assert np.array_equal(kept(pool), draws[1])


@pytest.mark.parametrize("k", [1, 3])
def test_the_images_nearest_to_the_references_are_kept(pool: Path, k: int) -> None:
    report = run(pool, "reference_distance", target_features=pool / "targets.npy", neighbours=k, fraction=0.25)
    vectors = features(pool)
    similarities = np.sort(vectors @ np.load(pool / "targets.npy").astype(np.float64).T, axis=1)[:, -k]
    similarities[np.isnan(vectors).any(axis=1)] = -np.inf
    expected = similarities >= np.sort(similarities)[-150]
    assert np.array_equal(kept(pool), expected)
    assert report.details["least_kept"] == pytest.approx(similarities[expected].min(), abs=1e-12)
    assert report.dropped == {"features_missing": 3, "score_too_low": 447}


def test_references_of_several_arrays_all_count(pool: Path) -> None:
    targets = np.load(pool / "targets.npy")
    run(pool, "reference_distance", target_features=pool / "targets.npy", size=100)
    whole = kept(pool)
    np.savez(pool / "parts.npz", arr_0=targets[:25], arr_1=targets[25:])
    assert run(pool, "reference_distance", target_features=pool / "parts.npz", size=100).details["targets"] == 40
    assert np.array_equal(kept(pool), whole)
    np.savez(pool / "named.npz", l14_img=targets, l14_txt=-targets)
    assert run(pool, "reference_distance", target_features=pool / "named.npz", size=100).details["targets"] == 40
    assert np.array_equal(kept(pool), whole)


def test_many_references_that_float32_cannot_tell_apart_are_told_apart(tmp_path: Path) -> None:
    """More rivals than are looked at first, each nearer than the last by less than float32 shows."""
    generator = np.random.default_rng(2)
    query = unit(generator.standard_normal((1, 32))).astype(np.float32)
    near = unit(query.astype(np.float64) + 1e-4 * generator.standard_normal((300, 32))).astype(np.float32)
    np.save(tmp_path / "r.npy", near)
    source = VectorSource.open([tmp_path / "r.npy"])
    exact = np.sort((near.astype(np.float64) * query).sum(axis=1))
    for k in (1, 7, 300):
        assert kth_similarities(query, source, k)[0] == pytest.approx(exact[-k], abs=1e-15)


def test_k_center_is_diverse_seeded_and_says_where_it_began(pool: Path) -> None:
    report = run(pool, "k_center", size=40, seed=5)
    vectors = features(pool)
    usable = np.isfinite(vectors).all(axis=1)

    def radius(chosen: np.ndarray) -> float:
        return float(np.sqrt(np.maximum(0, 2 - 2 * (vectors[usable] @ vectors[chosen].T).max(axis=1))).max())

    assert report.kept == 40
    assert report.dropped == {"features_missing": 3, "not_selected": 557}
    assert report.details["radius"] == pytest.approx(radius(kept(pool)), abs=2e-3)
    drawn = np.zeros(ROWS, dtype=bool)
    drawn[np.random.default_rng(0).choice(np.flatnonzero(usable), 40, replace=False)] = True
    assert report.details["radius"] < 0.95 * radius(drawn)
    first = int(report.details["first_centre"], 16)
    assert first in [(int(high) << 64) | int(low) for high, low in np.load(pool / "s.npy").tolist()]
    assert run(pool, "k_center", size=40, seed=6).details["first_centre"] != report.details["first_centre"]


CASES: dict[str, dict[str, Any]] = {
    "score_fusion": {"columns": ["clip_l14_similarity_score", "likes:0.5"]},
    "k_center": {},
    "cluster_quota": {"centroids": "centroids.npy"},
    "reference_distance": {"target_features": "targets.npy"},
}


def options_of(pool: Path, strategy: str) -> dict[str, Any]:
    files = {"centroids", "target_features"}
    return {name: pool / value if name in files else value for name, value in CASES[strategy].items()}


@pytest.mark.parametrize("strategy", CASES)
def test_workers_and_a_kill_change_nothing(pool: Path, strategy: str) -> None:
    expected = run(pool, strategy, **options_of(pool, strategy), fraction=0.2)
    whole = (pool / "s.npy").read_bytes()
    assert run(pool, strategy, 2, **options_of(pool, strategy), fraction=0.2) == expected
    assert (pool / "s.npy").read_bytes() == whole
    path = list_metadata(pool / "metadata")[2]
    broken = path if strategy == "score_fusion" else path.with_suffix(".npz")
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataFormatError):
        run(pool, strategy, **options_of(pool, strategy), fraction=0.2)
    broken.write_bytes(content)
    run(pool, strategy, **options_of(pool, strategy), fraction=0.2)
    assert (pool / "s.npy").read_bytes() == whole
    assert not (pool / ".s.npy.parts").exists()


def test_k_center_goes_on_where_a_killed_run_stopped(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pass measures three files; the third one dies."""
    monkeypatch.setattr(k_center, "greedy_centres", partial(k_center.greedy_centres, candidates=20))
    expected = run(pool, "k_center", size=60)
    whole = (pool / "s.npy").read_bytes()
    measure, passes, allowed = k_center._measure_file, [], 6

    def counted(shards: Any, centres: Path, path: Path) -> Any:
        passes.append(len(np.load(centres)))
        if len(passes) > allowed:
            raise KeyboardInterrupt
        return measure(shards, centres, path)

    monkeypatch.setattr(k_center, "_measure_file", counted)
    with pytest.raises(KeyboardInterrupt):
        run(pool, "k_center", size=60)
    done = passes[0] + passes[3]
    allowed, passes = 1000, []
    assert run(pool, "k_center", size=60) == expected
    assert (pool / "s.npy").read_bytes() == whole
    assert passes[0] == done


@pytest.mark.parametrize("strategy", CASES)
@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ([], "needs exactly one of --fraction and --size"),
        (["--size", 5, "--fraction", 0.5], "needs exactly one of --fraction and --size"),
        (["--size", 601], "--size 601 means 601 of the pool's 600 rows"),
        (["--size", 600], "--size 600 means 600 rows, and 59"),
        (["--fraction", 1], "means 600 rows, and 59"),
        (["--fraction", 0.001], "--fraction 0.001 means 0 of the pool's 600 rows"),
        (["--size", 0], "--size 0 is not above 0"),
        (["--size", 5, "--cap", 3], "does not take --cap"),
    ],
)
def test_budgets_that_cannot_be_met_are_answered_in_one_sentence(
    pool: Path, strategy: str, budget: list[Any], sentence: str
) -> None:
    given: list[Any] = ["--metadata-dir", pool / "metadata", "--save-path", pool / "s.npy"]
    for name, value in options_of(pool, strategy).items():
        for each in value if isinstance(value, list) else [value]:
            given += [f"--{name.replace('_', '-')}", each]
    assert sentence in refused("subset", strategy, *given, *budget).err
    assert not (pool / "s.npy").exists()


@pytest.mark.parametrize(
    ("columns", "error", "sentence"),
    [
        ([], UsageError, "needs --columns"),
        (["likes", "likes:2"], UsageError, "The column 'likes' is named twice"),
        (["likes:0"], UsageError, "has the weight 0"),
        (["likes:nan"], UsageError, "has the weight nan"),
        (["likes:much"], DataFormatError, "has no column 'likes:much'"),
        (["aesthetics"], DataFormatError, "has no column 'aesthetics'"),
        (["text"], DataFormatError, "has column 'text' of type string, which is no number"),
    ],
)
def test_columns_that_cannot_be_ranked_are_answered_in_one_sentence(
    pool: Path, columns: Sequence[str], error: type[DataCupError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        run(pool, "score_fusion", columns=list(columns), size=5)


def test_other_files_that_do_not_fit_are_answered_in_one_sentence(pool: Path) -> None:
    centroids, targets = np.load(pool / "centroids.npy"), np.load(pool / "targets.npy")
    np.save(pool / "narrow.npy", centroids[:, :32])
    np.save(pool / "long.npy", 3 * targets)
    spoilt = targets.copy()
    spoilt[7, 3] = np.nan
    np.save(pool / "spoilt.npy", spoilt)
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("cluster_quota", {}, "needs --centroids"),
        ("cluster_quota", {"centroids": pool / "narrow.npy"}, r"narrow.npy has vectors of 32 dimensions"),
        ("cluster_quota", {"centroids": pool / "centroids.npy", "by": "stars"}, "has no column 'stars'"),
        ("reference_distance", {"target_features": pool / "narrow.npy"}, "narrow.npy has vectors of 32 dimensions"),
        ("reference_distance", {"target_features": pool / "long.npy"}, "Row 0 of long.npy has length 3, not 1"),
        ("reference_distance", {"target_features": pool / "spoilt.npy"}, "Row 7 of spoilt.npy is not finite"),
        ("reference_distance", {"target_features": pool / "targets.npy", "neighbours": 41}, "--neighbours 41 is more"),
        ("k_center", {"features": "b32_img"}, "has no 'b32_img'"),
    ]
    for strategy, options, sentence in cases:
        with pytest.raises(DataCupError, match=sentence):
            run(pool, strategy, **options, size=5)
    records = [{"models": [{"role": "l14", "weights_sha256": digit * 64}]} for digit in "ab"]
    (pool / "metadata" / "annotation.json").write_text(json.dumps(records[0]))
    for name, strategy in (("targets", "reference_distance"), ("centroids", "cluster_quota")):
        (pool / f"{name}.npy.json").write_text(json.dumps(records[1]))
        with pytest.raises(DataFormatError, match="made by the model bbbbbbbbbbbb"):
            run(pool, strategy, **options_of(pool, strategy), size=5)


@pytest.mark.parametrize("strategy", ["k_center", "cluster_quota", "reference_distance"])
def test_features_of_two_models_or_not_normalised_are_refused(pool: Path, strategy: str) -> None:
    archive = list_metadata(pool / "metadata")[2].with_suffix(".npz")
    content = dict(np.load(archive))
    np.savez(archive, l14_img=content["l14_img"][:, :48])
    with pytest.raises(DataFormatError, match=r"has vectors of 64 dimensions, .* of 48"):
        run(pool, strategy, **options_of(pool, strategy), size=5)
    np.savez(archive, l14_img=content["l14_img"] * 2)
    with pytest.raises(DataFormatError, match=r"Row 0 of .*:l14_img has length 2, not 1"):
        run(pool, strategy, **options_of(pool, strategy), size=5)


def test_they_are_typed_as_any_strategy(pool: Path) -> None:
    shown = typed(
        "subset", "score_fusion", "--metadata-dir", pool / "metadata", "--save-path", pool / "s.npy",
        "--columns", "likes", "--columns", "original_width:-0.5", "--fraction", 0.5,
    )  # fmt: skip
    assert shown.code == 0, shown.err
    assert "300" in shown.out
