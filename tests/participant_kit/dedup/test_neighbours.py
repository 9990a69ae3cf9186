"""Neighbours are ImageNetV2's, exact at any block size, and what cannot be compared is counted or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

from competition.data import nearest as search
from competition.data.nearest import nearest
from competition.errors import DataFormatError, UsageError
from participant_kit.dedup.groups import Groups
from participant_kit.dedup.metrics import Dssim, FeatureL2, PixelL2
from participant_kit.dedup.neighbours import NeighbourOptions, find_neighbours
from tests.participant_kit.dedup.pools import picture, png, write_shards

TOLERANCE = {"l2": 0.5, "dssim_window35": 1e-9, "dssim_window11": 1e-9}


@pytest.mark.parametrize("size", ["size64", "size256"])
def test_golden_neighbours_and_distances(golden: Path, size: str) -> None:
    """The original program's lists, up to the order of equal distances."""
    folder = golden / "near_dup"
    expected = json.loads((folder / "expected.json").read_text())[size]

    def load(names: list[str]) -> np.ndarray:
        return np.stack([np.asarray(Image.open(folder / size / f"{name}.png").convert("RGB")) for name in names])

    queries, references = load(expected["candidates"]), load(expected["references"])
    metrics = {
        "l2": PixelL2([queries], [references]),
        "dssim_window35": Dssim([queries], [references], 35),
        "dssim_window11": Dssim([queries], [references], 11),
    }
    for name, tolerance in TOLERANCE.items():
        if name not in expected:
            continue
        positions, distances = nearest(metrics[name], expected["top_k"]).table(len(queries), expected["top_k"])
        for row, query in enumerate(expected["candidates"]):
            wanted = dict(expected[name][query])
            assert np.abs(distances[row] - list(wanted.values())).max() < tolerance
            for position, distance in zip(positions[row], distances[row], strict=True):
                reference = expected["references"][position]
                last = distance > max(wanted.values()) - tolerance  # of equal last ones any may be listed
                assert reference in wanted or last
                assert abs(wanted.get(reference, distance) - distance) < tolerance


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 4), st.booleans())
def test_features_neighbours_are_those_of_a_full_sort(seed: int, k: int, scale: int, ties: bool) -> None:
    """Whatever the blocks are, with many ties and with features far from the origin, where float32 is off."""
    generator = np.random.default_rng(seed)
    queries, references = generator.standard_normal((7, 5)), generator.standard_normal((40, 5))
    if ties:
        references = references[generator.integers(0, 3, 40)]
    queries, references = ((rows + 1000 * scale).astype(np.float32) for rows in (queries, references))
    exact = ((queries[:, None].astype(np.float64) - references[None]) ** 2).sum(axis=2)
    order = np.lexsort((np.broadcast_to(np.arange(40), exact.shape), exact), axis=1)[:, :k]
    metric = FeatureL2(queries, references)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureL2, "reference_rows", int(generator.integers(1, 50)))
        patch.setattr(search, "QUERY_ROWS", int(generator.integers(1, 9)))
        patch.setattr(search, "_MOST_TIES", 1)
        positions, distances = nearest(metric, k).table(7, k)
    assert np.array_equal(positions, order)
    assert np.allclose(distances, np.take_along_axis(exact, order, axis=1), rtol=1e-12)


def write_images(folder: Path, seeds: range, side: int = 48) -> Path:
    folder.mkdir()
    for seed in seeds:
        (folder / f"{seed}.png").write_bytes(png(picture(seed, side)))
    return folder


def test_copies_in_another_set_are_grouped_and_bad_images_counted(tmp_path: Path) -> None:
    queries = write_images(tmp_path / "queries", range(4))
    (queries / "broken.jpg").write_bytes(b"no picture")
    pictures = {seed: png(picture(seed)) for seed in range(3, 9)}
    write_shards(tmp_path / "references", {**pictures, 20: b"no picture", 21: None})
    save_path = tmp_path / "near.parquet"
    options = NeighbourOptions("l2", neighbours=3, threshold=1000, side=48)
    report = find_neighbours(queries, tmp_path / "references", save_path, options)
    assert (report.queries, report.references) == (4, 6)
    assert report.undecodable == {"queries": 1, "references": 2}
    rows = pq.read_table(save_path).to_pylist()
    assert len(rows) == 12
    assert [row["rank"] for row in rows[:3]] == [1, 2, 3]
    assert next(row["distance"] for row in rows if row["query"] == "3.png") == 0
    groups = Groups.read(tmp_path / "near.parquet.groups.parquet")
    assert (groups.ids, groups.roles) == (["3.png", f"{3:032x}"], ["query", "reference"])
    assert json.loads((tmp_path / "near.parquet.json").read_text()) == report.as_json()
    assert not list(tmp_path.glob(".*"))


def test_a_set_compared_with_itself_groups_no_image_with_itself(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", range(3))
    (images / "copy.png").write_bytes((images / "1.png").read_bytes())
    options = NeighbourOptions("dssim", neighbours=2, window=11, side=48)
    report = find_neighbours(images, images, tmp_path / "near.parquet", options)
    assert report.found == {"groups": 1, "members": 2, "largest": 2}
    assert Groups.read(tmp_path / "near.parquet.groups.parquet").ids == ["1.png", "copy.png"]


def test_images_of_another_size_are_brought_to_one(tmp_path: Path) -> None:
    small, large = write_images(tmp_path / "a", range(4), 48), write_images(tmp_path / "b", range(4), 96)
    find_neighbours(small, large, tmp_path / "near.parquet", NeighbourOptions("l2", 1, side=32))
    rows = pq.read_table(tmp_path / "near.parquet").to_pylist()
    assert [row["reference"] for row in rows] == [row["query"] for row in rows]


BAD_OPTIONS = {
    "metric": (NeighbourOptions("cosine"), "--metric cosine is unknown"),
    "threshold": (NeighbourOptions(threshold=-1.0), "--threshold -1.0 is negative"),
    "nan": (NeighbourOptions(threshold=float("nan")), "--threshold nan is negative"),
    "side": (NeighbourOptions(side=0), "--side 0 is not between"),
    "none": (NeighbourOptions(neighbours=0, side=8), "--neighbours 0 is below 1"),
    "k": (NeighbourOptions(neighbours=5, side=8), "--neighbours 5 is more than the 2 references"),
    "window": (NeighbourOptions("dssim", 1, side=8), "--window 35 is not an odd number from 3 to 8"),
    "weights": (NeighbourOptions("features"), "need VGG-16's --weights"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_options_out_of_range_are_refused(name: str, tmp_path: Path) -> None:
    options, sentence = BAD_OPTIONS[name]
    images = write_images(tmp_path / "images", range(2))
    with pytest.raises(UsageError, match=sentence):
        find_neighbours(images, images, tmp_path / "near.parquet", options)


def test_images_that_all_cannot_be_decoded_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="None of the 1 images"):
        find_neighbours(tmp_path / "images", tmp_path / "images", tmp_path / "near.parquet", NeighbourOptions())


def test_features_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    for name, array in {"a": rows, "wide": rows[:, :2], "nan": np.where(rows == rows[1, 1], np.nan, rows)}.items():
        np.save(tmp_path / f"{name}.npy", array)

    def compare(name: str) -> None:
        options = NeighbourOptions("features", 2)
        find_neighbours(tmp_path / "a.npy", tmp_path / f"{name}.npy", tmp_path / "near.parquet", options)

    compare("a")
    with pytest.raises(DataFormatError, match="of the references have 2 dimensions"):
        compare("wide")
    with pytest.raises(DataFormatError, match="references have 1 rows that are not finite"):
        compare("nan")


def test_weights_that_are_not_vgg16s_are_refused(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", range(2))
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    save_file({"a": np.zeros(1)}, tmp_path / "other.safetensors")
    for name, sentence in {"broken": "are not those of", "other": "are not those of", "absent": "There are no"}.items():
        options = NeighbourOptions("features", 1, weights=tmp_path / f"{name}.safetensors")
        with pytest.raises(UsageError, match=sentence):
            find_neighbours(images, images, tmp_path / "near.parquet", options)
