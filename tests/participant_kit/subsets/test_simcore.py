"""The strategy simcore: the original's coresets from a pool of files, resumed, counted, drawn; and what it refuses."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from competition.data.metadata import list_metadata, read_uids, write_metadata
from competition.errors import DataFormatError, UsageError
from participant_kit.subsets import StrategyOptions, SubsetReport, build_subset
from participant_kit.subsets.record import picture_path
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.subsets.synthetic import unit, write_pool

DIMENSIONS = 64


def targets_of(folder: Path, rows: int = 40, seed: int = 9) -> Path:
    path = folder / "targets.npy"
    np.save(path, unit(np.random.default_rng(seed).standard_normal((rows, DIMENSIONS))).astype(np.float32))
    return path


def golden_pool(golden: Path, folder: Path) -> tuple[np.ndarray, Path]:
    """The original's open set as a pool of three files in float32, rows in order; uids by row. Its centroids are the
    targets: as there are no more of them than clusters, they stay what they are."""
    features = np.load(golden / "simcore" / "features.npz")
    cuts = (0, 2000, 2001, 5000)
    for number, (start, end) in enumerate(pairwise(cuts)):
        path = write_pool_file(folder / "metadata", number, features["Z_U"][start:end], start)
        np.savez(path.with_suffix(".npz"), l14_img=features["Z_U"][start:end])  # written ones are float16
    np.savez(folder / "targets.npz", l14_img=features["centroids"], l14_txt=features["X"])
    return np.concatenate([read_uids(path) for path in list_metadata(folder / "metadata")]), folder / "targets.npz"


def write_pool_file(folder: Path, number: int, features: np.ndarray, start: int) -> Path:
    rows = len(features)
    columns: dict[str, Any] = {
        "uid": [f"{(7919 * (start + row)) % 104729:032x}" for row in range(rows)],
        "url": [""] * rows,
        "text": ["a"] * rows,
        "original_width": [1] * rows,
        "original_height": [1] * rows,
        "clip_b32_similarity_score": [0.0] * rows,
        "clip_l14_similarity_score": [0.0] * rows,
        "face_bboxes": [[]] * rows,
        "sha256": [""] * rows,
    }
    return write_metadata(folder, f"{number:032x}", columns, {"l14_img": features})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("stop_patience20_tau0.95", {"stop": True}),
        ("stop_patience1_tau0.9", {"stop": True, "tau": 0.9, "reference_round": 1}),
        ("budget_exact_round_boundary", {"budget": 0.0271}),
        ("budget_5pct", {"budget": 0.05}),
    ],
)
def test_the_originals_coresets_come_from_a_pool_of_files(
    golden: Path, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    uids, targets = golden_pool(golden, tmp_path)
    given = StrategyOptions(target_features=targets, num_clusters=20, **options)
    report = build_subset("simcore", tmp_path / "metadata", tmp_path / "s.npy", given)
    chosen = np.load(tmp_path / "s.npy")
    rows = np.flatnonzero(np.isin(uids, chosen))
    expected = json.loads((golden / "simcore" / "expected.json").read_text())
    case = (expected.get("cases") or expected)[name]
    indices = np.load(golden / "simcore" / "expected_indices.npz")
    assert report.kept == len(chosen) == case["n_selected"]
    if f"{name}_certain" in indices:
        assert set(indices[f"{name}_certain"].tolist()) <= set(rows.tolist())
    else:
        assert rows.tolist() == indices[name].tolist()
    assert report.details["round_sizes"] == case["round_sizes"]
    assert report.details["ended_by"] == case["stop_reason"]
    if "F_trace" in case:
        assert report.details["F_trace"] == pytest.approx(case["F_trace"], abs=1e-5)
        assert report.details["training_epochs"] == case["epochs_rule"]


def run(folder: Path, **options: Any) -> SubsetReport:
    given = StrategyOptions(target_features=folder / "targets.npy", **options)
    return build_subset("simcore", folder / "metadata", folder / "s.npy", given)


def test_the_record_holds_the_trace_and_a_picture_lies_beside_it(tmp_path: Path) -> None:
    write_pool(tmp_path / "metadata")
    targets_of(tmp_path)
    report = run(tmp_path, budget=0.2, num_clusters=10, seed=3)
    assert report.kept == 120
    assert report.dropped == {"features_missing": 0, "not_selected": 480}
    assert report.options == {
        "features": "l14_img",
        "num_clusters": 10,
        "budget": 0.2,
        "seed": 3,
        "target_features": "targets.npy",
    }
    recorded = json.loads((tmp_path / "s.npy.json").read_text())
    assert recorded["details"] == report.details
    assert len(report.details["F_trace"]) == len(report.details["round_sizes"])
    drawn = picture_path(tmp_path / "s.npy").read_text()
    assert drawn.startswith("<svg")
    assert "120 rows" in drawn
    assert sorted(path.name for path in tmp_path.glob("s.npy*")) == ["s.npy", "s.npy.json", report.picture]
    build_subset("no_filter", tmp_path / "metadata", tmp_path / "s.npy")  # whose record has no picture
    assert sorted(path.name for path in tmp_path.glob("s.npy*")) == ["s.npy", "s.npy.json"]


def test_rows_without_features_are_counted_and_never_selected(tmp_path: Path) -> None:
    write_pool(tmp_path / "metadata")
    targets_of(tmp_path)
    path = list_metadata(tmp_path / "metadata")[1]
    features = dict(np.load(path.with_suffix(".npz")))
    features["l14_img"][[3, 100]] = np.nan
    np.savez(path.with_suffix(".npz"), **features)
    report = run(tmp_path, stop=True, tau=0.01)
    assert report.dropped == {"features_missing": 2, "not_selected": 0}
    assert report.details["ended_by"] == "pool_exhausted"
    assert not np.isin(read_uids(path)[[3, 100]], np.load(tmp_path / "s.npy")).any()
    with pytest.raises(UsageError, match="budget of 599 is more than the 598 rows of the pool that have features"):
        run(tmp_path, size=599)


def test_a_killed_selection_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    write_pool(tmp_path / "metadata")
    targets_of(tmp_path)
    run(tmp_path, budget=0.3)
    whole = (tmp_path / "s.npy").read_bytes()
    (tmp_path / "s.npy").unlink()
    path = list_metadata(tmp_path / "metadata")[1]
    content = path.with_suffix(".npz").read_bytes()
    features = dict(np.load(path.with_suffix(".npz")))
    features["l14_img"] = features["l14_img"] * 2
    np.savez(path.with_suffix(".npz"), **features)
    with pytest.raises(DataFormatError, match=r"Row 0 of .*:l14_img has length 2, not 1"):
        run(tmp_path, budget=0.3)
    path.with_suffix(".npz").write_bytes(content)
    run(tmp_path, budget=0.3)
    assert (tmp_path / "s.npy").read_bytes() == whole


def test_it_is_typed_as_any_strategy(tmp_path: Path) -> None:
    write_pool(tmp_path / "metadata")
    words = ["subset", "simcore", "--metadata-dir", tmp_path / "metadata", "--target-features", targets_of(tmp_path)]
    shown = typed(*words, "--save-path", tmp_path / "s.npy", "--stop", "--reference-round", 2, "--tau", 0.9)
    assert shown.code == 0, shown.err
    assert re.search(r"ended by +(threshold|budget)", shown.out)
    report = json.loads(typed(*words, "--save-path", tmp_path / "t.npy", "--size", 77, "--json").out)
    assert report["kept"] == len(np.load(tmp_path / "t.npy")) == 77


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--budget", "0.5", "--stop"], "needs exactly one of --budget, --size and --stop"),
        ([], "needs exactly one of --budget, --size and --stop"),
        (["--budget", "1.5"], "--budget 1.5 is not above 0 and at most 1"),
        (["--budget", "0.0001"], "--budget 0.0001 means 0 of the pool's 600 rows"),
        (["--size", "601"], "--size 601 means 601 of the pool's 600 rows"),
        (["--size", "6", "--tau", "0.9"], "--tau is for --stop only"),
        (["--stop", "--tau", "1.2"], "--tau 1.2 is not above 0"),
        (["--size", "6", "--num-clusters", "0"], "--num-clusters 0 is not above 0"),
        (["--size", "6", "--features", "b32_img"], "has no 'b32_img'; it has l14_img"),
        (["--size", "6", "--fraction", "0.3"], "Strategy simcore does not take --fraction"),
    ],
)
def test_what_it_cannot_do_is_answered_in_one_sentence(tmp_path: Path, words: list[str], sentence: str) -> None:
    write_pool(tmp_path / "metadata")
    options = ["--metadata-dir", tmp_path / "metadata", "--save-path", tmp_path / "s.npy"]
    result = refused("subset", "simcore", *options, "--target-features", targets_of(tmp_path), *words)
    assert sentence in result.err
    assert not (tmp_path / "s.npy").exists()


def test_targets_of_another_model_or_not_normalised_are_refused(tmp_path: Path) -> None:
    write_pool(tmp_path / "metadata")
    path = targets_of(tmp_path)
    good = np.load(path)
    spoilt = good.copy()
    spoilt[7, 3] = np.nan
    for content, message in (
        (good[:, :32], r"targets.npy has vectors of 32 dimensions, .*:l14_img of 64"),
        (3 * good, "Row 0 of targets.npy has length 3, not 1"),
        (spoilt, "Row 7 of targets.npy is not finite"),
        (good[:0], "The features targets.npy have no rows"),
    ):
        np.save(path, content)
        with pytest.raises(DataFormatError, match=message):
            run(tmp_path, size=5)
    np.save(path, good)
    models = [{"models": [{"role": "l14", "weights_sha256": digit * 64}]} for digit in "ab"]
    (tmp_path / "metadata" / "annotation.json").write_text(json.dumps(models[0]))
    run(tmp_path, size=5)
    (tmp_path / "targets.npy.json").write_text(json.dumps(models[1]))
    with pytest.raises(DataFormatError, match="made by the model bbbbbbbbbbbb"):
        run(tmp_path, size=5)
    with pytest.raises(UsageError, match="needs --target-features"):
        build_subset("simcore", tmp_path / "metadata", tmp_path / "s.npy", StrategyOptions(size=5))
