"""DataComp's filters that need more than a score: uid for uid the originals', and every drop counted."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from competition.data.digests import file_sha256
from competition.data.metadata import list_metadata
from competition.errors import DataFormatError, UsageError
from competition.progress import Progress
from participant_kit.assets import WORDNET
from participant_kit.cli import app
from participant_kit.subsets import StrategyOptions, SubsetResult, build_subset, find_strategy
from participant_kit.subsets.caption_filter import have_two_tokens
from participant_kit.subsets.captions import Captions
from participant_kit.subsets.centroids import nearest_centroids
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.targets import target_clusters
from participant_kit.subsets.text_based import read_synset_ids

# What DATACUP_REQUIRE names is never skipped: its tests fail.
REQUIRED = os.environ.get("DATACUP_REQUIRE", "")
needs_wordnet = pytest.mark.skipif(
    not (WORDNET.system_path or Path()).is_dir() and "wordnet" not in REQUIRED,
    reason="WordNet 3.0 is absent (Debian: wordnet-base)",
)
needs_gcld3 = pytest.mark.skipif(
    importlib.util.find_spec("gcld3") is None and "gcld3" not in REQUIRED,
    reason="gcld3 is not installed (needs protobuf-compiler, libprotobuf-dev, g++; then `pip install gcld3`)",
)

GOLDEN = [
    pytest.param("laion2b", "laion2b", {}, marks=needs_gcld3),
    pytest.param("text_based", "text_based", {}, marks=needs_wordnet),
    ("image_based", "image_based", {}),
    (
        "image_based_intersect_clip_score_l14_fraction0.3",
        "image_based_intersect_clip_score",
        {"arch": "l14", "fraction": 0.3},
    ),
    (
        "image_based_intersect_clip_score_b32_threshold0.25",
        "image_based_intersect_clip_score",
        {"arch": "b32", "threshold": 0.25},
    ),
]


def inputs(golden: Path, strategy: str) -> tuple[Path, dict[str, Any]]:
    """The metadata folder and the assets of a golden case."""
    folder = golden / "datacomp_filters"
    if strategy.startswith("image"):
        assets = {"centroids": "centroids_float32.npy", "target_features": "target_features_float16.npz"}
        return folder / "metadata_image", {name: folder / file for name, file in assets.items()}
    return folder / "metadata", {"synset_ids": folder / "synset_ids.txt"} if strategy.startswith("text") else {}


def run(strategy: str, folder: Path, options: StrategyOptions, workers: int = 1) -> SubsetResult:
    chosen = find_strategy(strategy)
    options.check(chosen)
    return chosen.select(MetadataPool.open(folder, workers), options)


@pytest.mark.parametrize(("file", "strategy", "choice"), GOLDEN)
def test_files_equal_the_originals_byte_for_byte_and_record_their_assets(
    golden: Path, tmp_path: Path, file: str, strategy: str, choice: dict[str, Any]
) -> None:
    folder, assets = inputs(golden, strategy)
    save_path = tmp_path / "subset.npy"
    report = build_subset(strategy, folder, save_path, StrategyOptions(**assets, **choice), workers=2)
    assert save_path.read_bytes() == (golden / "datacomp_filters" / "expected" / f"{file}.npy").read_bytes()
    assert report.kept + sum(report.dropped.values()) == report.total
    for role, path in assets.items():
        assert report.assets[role] == {"file": path.name, "sha256": file_sha256(path)}


@pytest.mark.parametrize(("file", "strategy", "choice"), GOLDEN)
def test_the_commands_write_the_same_files(
    golden: Path, tmp_path: Path, file: str, strategy: str, choice: dict[str, Any]
) -> None:
    folder, assets = inputs(golden, strategy)
    given = {"metadata_dir": folder, "save_path": tmp_path / "s.npy", **assets, **choice}
    arguments = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    result = CliRunner().invoke(app, ["subset", strategy, *arguments, "--json"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "s.npy").read_bytes() == (golden / "datacomp_filters" / "expected" / f"{file}.npy").read_bytes()
    assert set(assets) <= set(json.loads(result.stdout)["assets"])


@pytest.mark.parametrize("strategy", ["image_based", pytest.param("text_based", marks=needs_wordnet)])
def test_names_and_order_of_files_and_workers_change_nothing(golden: Path, tmp_path: Path, strategy: str) -> None:
    folder, assets = inputs(golden, strategy)
    options = StrategyOptions(**assets)
    for number, path in enumerate(reversed(list_metadata(folder))):
        for source in (path, path.with_suffix(".npz")):
            if source.exists():
                (tmp_path / f"{number:032x}{source.suffix}").symlink_to(source)
    expected = run(strategy, folder, options)
    found = run(strategy, tmp_path, options, workers=2)
    assert np.array_equal(found.uids, expected.uids)
    assert found.dropped == expected.dropped


def test_missing_captions_and_features_are_counted_not_refused(golden: Path, tmp_path: Path) -> None:
    folder, assets = inputs(golden, "image_based")
    source = list_metadata(folder)[0]
    before = run("image_based", folder, StrategyOptions(**assets))
    table = pq.ParquetFile(source).read().to_pydict()
    features = dict(np.load(source.with_suffix(".npz")))
    english = next(row for row, text in enumerate(table["text"]) if text.startswith("A "))
    features["l14_img"][english] = np.nan
    table["text"][(english + 1) % len(table["text"])] = None
    path = tmp_path / source.name
    pq.write_table(pq.ParquetFile(source).schema_arrow.empty_table().from_pydict(table), path)
    np.savez(path.with_suffix(".npz"), **features)
    result = run("image_based", tmp_path, StrategyOptions(**assets))
    assert result.dropped["features_missing"] == 1
    assert result.dropped["caption_too_short"] > 0
    assert before.total == 2 * result.total


def reference_tokens(text: str) -> int:
    """fastText's Dictionary::readWord, character by character."""
    tokens, inside = 0, False
    for character in text:
        if character in " \n\r\t\v\f\0":
            tokens += inside + (character == "\n")
            inside = False
        else:
            inside = True
    return tokens + inside


@given(st.text(alphabet=st.sampled_from("ab \n\r\t\v\f\0\x1c\u00a0\u2028\u3000\u200b"), max_size=30))
def test_tokens_are_counted_as_fasttext_counts_them(text: str) -> None:
    assert have_two_tokens(Captions.of_strings(["", text, "a b"])).tolist() == [
        False,
        reference_tokens(text) >= 2,
        True,
    ]


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 40), st.lists(st.integers(1, 59), max_size=4))
def test_clusters_do_not_depend_on_how_points_are_cut(seed: int, rows: int, clusters: int, cuts: list[int]) -> None:
    generator = np.random.default_rng(seed)
    points = generator.standard_normal((rows, 24)).astype(np.float16)
    centroids = generator.standard_normal((clusters, 24)).astype(np.float32)
    centroids[1] = centroids[0]  # a tie: the first one wins
    labels = nearest_centroids(points, centroids)
    exact = (points.astype(np.float64) @ centroids.astype(np.float64).T).argmax(axis=1)
    assert np.array_equal(labels, exact)
    bounds = [0, *sorted(cut for cut in set(cuts) if cut < rows), rows]
    parts = [nearest_centroids(points[start:stop], centroids) for start, stop in itertools.pairwise(bounds)]
    assert np.array_equal(np.concatenate(parts), labels)


def test_the_golden_clusters_are_the_same_by_torch(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, assets = inputs(golden, "image_based")
    centroids = np.load(assets["centroids"])
    points = np.load(list_metadata(folder)[0].with_suffix(".npz"))["l14_img"]
    expected = nearest_centroids(points, centroids)
    monkeypatch.setattr("participant_kit.subsets.centroids.gpu_device", lambda: "cpu")
    assert np.array_equal(nearest_centroids(points, centroids), expected)
    equal = np.repeat(centroids[:1], 12, axis=0)  # more rivals than PyTorch is asked for
    assert not nearest_centroids(points[:5], equal).any()


def test_the_clusters_of_many_targets_are_found_once(
    golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, assets = inputs(golden, "image_based")
    expected = target_clusters(assets["target_features"], assets["centroids"])
    assert 0 < expected.sum() < len(expected)
    monkeypatch.setenv("DATACUP_CACHE", str(tmp_path))
    monkeypatch.setattr("participant_kit.subsets.targets._WORTH_KEEPING", 1)
    told: list[Progress] = []
    for _ in range(2):
        assert np.array_equal(target_clusters(assets["target_features"], assets["centroids"], told.append), expected)
    assert [(each.done, each.total) for each in told] == [(count, 300) for count in range(60, 301, 60)]


def test_what_does_not_fit_is_named(golden: Path, tmp_path: Path) -> None:
    folder, assets = inputs(golden, "image_based")
    narrow, plain, broken = (tmp_path / name for name in ("narrow.npy", "plain.npy", "broken.npy"))
    np.save(narrow, np.ones((4, 8), np.float32))
    np.save(plain, np.ones(4))
    broken.write_bytes(b"nothing")
    nan = tmp_path / "nan.npz"
    np.savez(nan, a=np.full((2, 768), np.nan, np.float32))
    cases = [
        (UsageError, "exactly one of --centroids", {"target_features": assets["target_features"]}),
        (UsageError, "exactly one of --centroids", assets | {"image_based_scale": "small"}),
        (
            DataFormatError,
            r"target features target_features_float16\.npz:\S+ have shape",
            assets | {"centroids": narrow},
        ),
        (DataFormatError, "not a .npy of one two-dimensional", assets | {"centroids": plain}),
        (DataFormatError, "not a plain .npy", assets | {"centroids": broken}),
        (DataFormatError, "nan.npz:a are not all finite", assets | {"target_features": nan}),
        (UsageError, "--image-based-scale tiny is unknown", {"image_based_scale": "tiny"}),
    ]
    for kind, message, given_options in cases:
        with pytest.raises(kind, match=message):
            run("image_based", folder, StrategyOptions(**given_options))


def test_laion2b_without_gcld3_says_how_to_get_it(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("participant_kit.subsets.laion2b.version", absent)
    with pytest.raises(UsageError, match="needs the package gcld3") as caught:
        run("laion2b", golden / "datacomp_filters" / "metadata", StrategyOptions())
    assert "protobuf-compiler" in caught.value.hint


def test_a_list_that_is_not_of_synset_ids_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("n02084071\r\n\nn00001740\n")
    assert read_synset_ids(path) == {2084071, 1740}
    path.write_text("n02084071\ndog\n")
    with pytest.raises(DataFormatError, match=r"Line 2 of .*ids\.txt is 'dog'"):
        read_synset_ids(path)
