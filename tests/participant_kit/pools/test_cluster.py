"""Clustering a pool: Faiss's k-means of the chosen images, whatever the order of files, with a record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from competition.data.digests import file_sha256
from competition.data.metadata import list_metadata
from competition.errors import DataFormatError, UsageError
from competition.progress import Progress
from participant_kit.cli import app
from participant_kit.pools.cluster import ClusterOptions, cluster_pool
from participant_kit.pools.kmeans import first_centres, kmeans, kmeans_on, split_for_empty
from participant_kit.subsets import StrategyOptions, build_subset
from tests.participant_kit.subsets.synthetic import unit, write_pool

OPTIONS = ClusterOptions(clusters=8)


def groups(rows: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = 4 * unit(generator.standard_normal((5, 16)))
    points = centres[generator.integers(0, 5, rows)] + 0.1 * generator.standard_normal((rows, 16))
    return points.astype(np.float32)


def test_kmeans_is_faiss_with_all_points_and_tells_every_iteration() -> None:
    faiss = pytest.importorskip("faiss")
    points, told = groups(3000), []
    found, program = kmeans(points, 20, 20, 0, told.append)
    reference = faiss.Clustering(16, 20)
    reference.niter, reference.seed, reference.max_points_per_centroid = 20, 0, 10_000_000
    reference.train(points, faiss.IndexFlatL2(16))
    expected = faiss.vector_float_to_array(reference.centroids).reshape(20, 16)
    assert np.allclose(found, expected, atol=1e-5)
    assert program == f"faiss {faiss.__version__}"
    assert told == list(range(1, 21))


def test_the_path_of_a_gpu_comes_to_the_same_centres() -> None:
    points = groups(2000)
    expected, _ = kmeans(points, 8, 20, 3)
    found = kmeans_on("cpu", points, first_centres(points, 8, 3), 20)
    # Clusters that share a group have borders on which points fall by the last digit.
    assert np.allclose(found, expected, atol=5e-3)


def test_an_empty_cluster_gets_half_of_a_large_one() -> None:
    centres = np.ones((3, 4), np.float32)
    members = np.array([10, 0, 1])
    split_for_empty(centres, members)
    assert members.tolist() == [5, 5, 1]
    assert not np.array_equal(centres[0], centres[1])
    assert np.allclose(centres, 1, atol=2e-3)


def test_centroids_have_a_record_and_serve_the_image_filter(tmp_path: Path) -> None:
    write_pool(tmp_path / "m")
    seen: list[Progress] = []
    report = cluster_pool(tmp_path / "m", tmp_path / "out" / "c.npy", OPTIONS, progress=seen.append)
    centres = np.load(tmp_path / "out" / "c.npy", allow_pickle=False)
    assert (centres.dtype, centres.shape) == (np.float32, (8, 64))
    assert json.loads((tmp_path / "out" / "c.npy.json").read_text()) == report.as_json()
    assert report.centroids_sha256 == file_sha256(tmp_path / "out" / "c.npy")
    assert report.points + sum(report.dropped.values()) == report.total == 600
    assert report.assets["language_model"]["file"] == "lid.176.ftz"
    assert {each.stage for each in seen} == {"choosing images", "clustering"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["c.npy", "c.npy.json"]
    np.savez(tmp_path / "t.npz", a=centres[:2])
    options = StrategyOptions(centroids=tmp_path / "out" / "c.npy", target_features=tmp_path / "t.npz")
    assert 0 < build_subset("image_based", tmp_path / "m", tmp_path / "s.npy", options).kept < 600


@pytest.mark.parametrize("ratio", [None, 0.5])
def test_names_and_order_of_files_and_workers_change_nothing(tmp_path: Path, ratio: float | None) -> None:
    write_pool(tmp_path / "a")
    (tmp_path / "b").mkdir()
    for number, path in enumerate(reversed(list_metadata(tmp_path / "a"))):
        for suffix in (".parquet", ".npz"):
            (tmp_path / "b" / f"{number:032x}{suffix}").symlink_to(path.with_suffix(suffix))
    options = ClusterOptions(clusters=8, sample_ratio=ratio)
    for folder, name, workers in (("a", "first", 1), ("b", "renamed", 1), ("a", "parallel", 2)):
        report = cluster_pool(tmp_path / folder, tmp_path / f"{name}.npy", options, workers)
        assert report.points == (600 if ratio is None else 300)
    expected = (tmp_path / "first.npy").read_bytes()
    assert (tmp_path / "renamed.npy").read_bytes() == expected
    assert (tmp_path / "parallel.npy").read_bytes() == expected


def test_a_run_that_stopped_goes_on_with_what_it_had_chosen(tmp_path: Path) -> None:
    write_pool(tmp_path / "m")
    with pytest.raises(UsageError, match="600 images for 1,000 clusters"):
        cluster_pool(tmp_path / "m", tmp_path / "c.npy", ClusterOptions(clusters=1000))
    seen: list[Progress] = []
    cluster_pool(tmp_path / "m", tmp_path / "c.npy", OPTIONS, progress=seen.append)
    assert seen[0].resumed == 3  # fewer clusters, the same images
    cluster_pool(tmp_path / "m", tmp_path / "d.npy", OPTIONS)
    assert (tmp_path / "c.npy").read_bytes() == (tmp_path / "d.npy").read_bytes()


def test_what_cannot_be_clustered_is_said(tmp_path: Path) -> None:
    write_pool(tmp_path / "m", files=2, rows=20)
    for options, message in (
        (ClusterOptions(features="dedup"), "--features dedup is unknown"),
        (ClusterOptions(sample_ratio=0.0), "--sample-ratio 0.0 is not above 0"),
        (ClusterOptions(clusters=0), "--num-clusters must be at least 1"),
    ):
        with pytest.raises(UsageError, match=message):
            cluster_pool(tmp_path / "m", tmp_path / "c.npy", options)
    with pytest.raises(UsageError, match=r"does not end in \.npy"):
        cluster_pool(tmp_path / "m", tmp_path / "c.pt", OPTIONS)
    archive = list_metadata(tmp_path / "m")[0].with_suffix(".npz")
    np.savez(archive, l14_img=np.ones((20, 8), np.float16))
    with pytest.raises(DataFormatError, match=r"have 8 dimensions, those of .* 64"):
        cluster_pool(tmp_path / "m", tmp_path / "c.npy", OPTIONS)
    rows = np.ones((20, 64), np.float16)
    rows[3] = np.inf
    np.savez(archive, l14_img=rows)
    assert cluster_pool(tmp_path / "m", tmp_path / "c.npy", ClusterOptions(clusters=2)).dropped["features_missing"] == 1


def test_the_command_clusters_without_a_caption_filter(golden: Path, tmp_path: Path) -> None:
    metadata = str(golden / "datacomp_filters" / "metadata_image")
    arguments = ["--metadata-dir", metadata, "--save-path", str(tmp_path / "c.npy"), "--num-clusters", "16"]
    result = CliRunner().invoke(app, ["pool", "cluster", *arguments, "--no-caption-filter", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["points"], report["assets"], report["dimensions"]) == (2400, {}, 768)
