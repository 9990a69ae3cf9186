"""The numbers of a description are those that one gets by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.data.metadata import list_metadata
from competition.data.uids import UID_DTYPE
from participant_kit.describe.embedding import CLOSER, Features, Probe, ball_radii, nearest_rows
from participant_kit.describe.likeness import coverage_of
from participant_kit.describe.quantities import QUANTITIES, Distribution
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.dedup.pools import unit, write_file
from tests.participant_kit.describe.made import sample, uid, write_pool, write_subset, write_vectors


def described(*words: str | Path | int) -> dict[str, Any]:
    result = typed("describe", *words, "--json", "-j", "1")
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 4)), min_size=1), st.sampled_from([0.01, 0.5, 0.95]))
def test_quantiles_of_whole_numbers_are_exact_and_parts_add_up(rows: list[tuple[int, int]], share: float) -> None:
    values, copies = [float(value) for value, _ in rows], [count for _, count in rows]
    whole = Distribution.of("width", values, copies)
    every = sorted(value for value, count in rows for _ in range(count))
    assert whole.quantile(share) == every[max(1, int(np.ceil(share * len(every)))) - 1]
    halves = [
        Distribution.of("width", part, count)
        for part, count in ((values[::2], copies[::2]), (values[1::2], copies[1::2]))
    ]
    both = Distribution.total(halves)
    assert both is not None
    assert np.array_equal(both.counts, whole.counts)
    assert int(whole.shown().sum()) == len(every)


@pytest.mark.parametrize("key", QUANTITIES)
def test_what_is_shown_is_made_of_what_is_counted(key: str) -> None:
    quantity = QUANTITIES[key]
    assert np.isin(quantity.shown, quantity.edges).all()
    assert (np.diff(quantity.edges) > 0).all()


def test_a_pool_is_counted(tmp_path: Path) -> None:
    found = described(write_pool(tmp_path / "pool"), "--save-path", tmp_path / "p.html")
    assert found["kind"] == "pool"
    assert found["rows"]["rows"] == found["rows"]["distinct"] == 6
    width = found["distributions"]["width"]
    assert (width["rows"], width["missing"]) == (5, 1)
    assert width["quantiles"]["0.5"] == 200
    assert found["distributions"]["shorter_side"]["quantiles"]["0.99"] == 500
    assert found["distributions"]["aspect"]["quantiles"]["0.99"] == 3
    assert found["distributions"]["megapixels"]["quantiles"]["0.99"] == 0.5
    words = found["distributions"]["caption_words"]
    assert words["quantiles"]["0.01"] == 0
    assert words["counts"][words["edges"].index(3) + 1] == 1
    assert found["distributions"]["caption_characters"]["quantiles"]["0.99"] > 5000
    scores = found["distributions"]["clip_l14_similarity_score"]
    assert (scores["rows"], scores["missing"]) == (4, 2)
    assert found["exact_duplicates"] == {
        "available": True, "compared": 5, "missing": 1, "groups": 1, "members": 3, "redundant": 2, "largest": 3,
        "examples": [uid(0), uid(1), uid(4)],
    }  # fmt: skip
    assert found["languages"]["captions"] == 6
    assert found["languages"]["counts"]["de"] == found["languages"]["counts"]["fr"] == 1
    grids = found["pictures"]["grids"]
    assert [cell["uid"] for cell in grids["best"]] == [uid(2), uid(4), uid(1), uid(0)]
    assert [cell["uid"] for cell in grids["worst"]] == [uid(0), uid(1), uid(4), uid(2)]
    assert found["pictures"]["undecodable"] == 1
    assert sorted(cell["uid"] for cell in grids["random"]) == [uid(row) for row in range(6)]


def test_copies_of_a_subset_count_and_what_the_pool_lacks_is_said(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    subset = write_subset(tmp_path / "a.npy", [0, 1, 1, 1, 4, 99])
    found = described(pool, "--subset", subset, "--save-path", tmp_path / "p.html")
    rows = found["rows"]
    assert (rows["rows"], rows["distinct"], rows["copies"], rows["most_copies"]) == (5, 3, 2, 3)
    assert (rows["read"], rows["not_found"]) == (6, 1)
    assert found["distributions"]["width"]["quantiles"]["0.5"] == 300
    assert found["exact_duplicates"]["redundant"] == 2
    drawn = {cell["uid"] for cell in found["pictures"]["grids"]["random"]}
    assert drawn == {uid(0), uid(1), uid(4)}


def test_look_alikes_leaks_and_coverage_are_those_of_the_vectors(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    reference = write_vectors(tmp_path / "r.npy", [[1, 0, 0], [0, 0.6, 0.8], [-1, 0, 0]])
    leak = write_vectors(tmp_path / "e.npy", [[0, 0, 1]])
    words = ["--reference", reference, "--coverage-cosine", 0.79, "--evaluation", leak, "--evaluation-cosine", 0.9]
    found = described(pool, *map(str, words), "--duplicate-cosine", "0.9", "--save-path", tmp_path / "p.html")
    alike = found["look_alikes"]
    assert (alike["sampled"], alike["missing"], alike["alike"]) == (5, 1, 2)
    assert alike["pairs"] == [{"first": uid(0), "second": uid(4), "cosine": 1.0}]
    leaks = found["contamination"]
    assert (leaks["leaked"], leaks["rows"], leaks["missing"], leaks["found"]) == (1, 5, 1, 1)
    assert leaks["examples"] == [{"first": uid(3), "second": "0", "cosine": 1.0}]
    coverage = found["coverage"]
    assert (coverage["references"], coverage["covered"]) == (3, 2)
    assert coverage["least"][0]["first"] == "2"
    assert coverage["least"][1] == {"first": "1", "second": uid(3), "cosine": 0.8}
    assert coverage["density"] is None


def test_density_and_coverage_are_the_published_ones(tmp_path: Path) -> None:
    """Against the authors' formula (prdc), with distances of unit vectors, of all pairs at once."""
    generator = np.random.default_rng(3)
    rows, references = (unit(generator.normal(size=(count, 4))) for count in (70, 40))
    rows[:5] = references[:5]
    write_file(tmp_path, 0, range(70), {"l14_img": rows})
    path = list_metadata(tmp_path)[0]
    stored = np.load(path.with_suffix(".npz"))["l14_img"].astype(np.float64)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    distances = np.linalg.norm(references[:, None].astype(np.float64) - stored[None], axis=2)
    among = np.linalg.norm(references[:, None].astype(np.float64) - references[None], axis=2)
    radii = np.sort(among, axis=1)[:, 5]
    inside = distances < radii[:, None]
    probe = Probe(references, ball_radii(references), np.zeros(0, UID_DTYPE))
    probe.save(tmp_path / "probe.npz")
    found = nearest_rows(Features("l14_img", None), tmp_path / "probe.npz", path)
    summed = coverage_of(found, [str(number) for number in range(40)], 0.9, balls=True)
    assert summed.density == pytest.approx(inside.sum() / (5 * 70))
    assert summed.ball_coverage == pytest.approx(inside.any(axis=1).mean())


def test_a_row_that_is_the_neighbour_itself_is_not_inside_the_ball() -> None:
    references = unit(np.random.default_rng(0).normal(size=(12, 8)))
    radii = ball_radii(references, 1)
    cosines = references @ references.T
    np.fill_diagonal(cosines, -2)
    assert (cosines.max(axis=1) < radii).all()
    assert (cosines.max(axis=1) + 2 * CLOSER > radii).all()


def test_shards_say_of_themselves_what_their_json_says(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    found = described(pool / "shards", "--save-path", tmp_path / "p.html")
    assert found["kind"] == "shards"
    assert found["rows"]["rows"] == 6
    assert found["distributions"]["width"]["missing"] == 1
    assert found["exact_duplicates"]["redundant"] == 2
    assert found["coverage"] == {
        "available": False, "why": "it has no features", "do": "Give the pool that it is of with --pool.",
    }  # fmt: skip
    both = described(pool / "shards", "--pool", pool, "--save-path", tmp_path / "p.html")
    assert both["look_alikes"]["rows"] == 5
    assert both["distributions"]["clip_b32_similarity_score"]["rows"] == 4


def test_damaged_shards_and_samples_without_uid_are_counted(tmp_path: Path) -> None:
    from competition.data.shards import Sample, write_shard

    write_shard(tmp_path, 0, [sample(0), Sample("x", {"json": b"{", "txt": b""}), sample(1, original_width=True)])
    write_shard(tmp_path, 1, [sample(2), sample(4)])
    whole = (tmp_path / "00000001.tar").read_bytes()
    (tmp_path / "00000001.tar").write_bytes(whole[:1024])
    found = described(tmp_path, "--save-path", tmp_path / "p.html")
    assert found["rows"]["rows"] == 2
    assert found["rows"]["without_uid"] == 1
    assert found["rows"]["damaged_shards"] == ["00000001.tar"]
    assert found["distributions"]["width"]["missing"] == 1


def test_classes_have_selects_figures_and_correlations(tmp_path: Path) -> None:
    table = labelled(tmp_path)
    scores = tmp_path / "scores.csv"
    scores.write_text("label,accuracy,precision\na,0.9,0.5\nb,0.3,0.6\n")
    words: list[str | Path] = [
        table,
        "--pool",
        tmp_path / "pool",
        "--per-class-accuracy",
        scores,
        "--save-path",
        tmp_path / "p.html",
    ]
    classes = described(*words)["classes"]
    assert classes["counts"] == {"a": 2, "b": 1, "c": 0}
    assert classes["balance"]["coverage"] == 2
    assert classes["balance"]["imbalance"] == 2
    assert classes["empty"] == ["c"]
    assert classes["correlations"]["R_A_CC"] == pytest.approx(1)
    assert classes["correlations"]["R_P_CC"] == pytest.approx(-1)
    assert classes["correlations"]["R_INA_A"] is None
    alone = described(table, "--save-path", tmp_path / "alone.html")
    assert alone["rows"]["rows"] == 3
    assert alone["distributions"]["width"]["available"] is False
    assert alone["classes"]["correlations"]["available"] is False
    scores.write_text("label,accuracy\nz,0.9\n")
    assert "'z'" in refused("describe", *words).err
    scores.write_text("label,accuracy\na,much\n")
    assert "no number" in refused("describe", *words).err


def labelled(folder: Path) -> Path:
    """A labelled dataset of the pool: rows 0 and 1 are of class a, row 4 is of class b, c is empty."""
    pool = write_pool(folder / "pool")
    names = [{"id": "a", "names": ["dog", "dogs"]}, {"id": "b", "names": ["Hund"]}, {"id": "c", "names": ["cat"]}]
    (folder / "classes.json").write_text(json.dumps(names))
    words = ["--classes", folder / "classes.json", "--metadata-dir", pool / "metadata"]
    result = typed("label", "substring", *words, "--save-path", folder / "labels.parquet")
    assert result.code == 0, result.err
    return folder / "labels.parquet"


def test_perceptual_hashes_that_annotating_left_are_compared(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    hashes = ["0" * 16, "0" * 15 + "3", "f" * 16, None, "0" * 15 + "f", "f" * 16]
    (pool / "metadata" / "extras").mkdir()
    for number, rows in enumerate((range(4), range(4, 6))):
        table = pa.table({"uid": [uid(row) for row in rows], "perceptual_hash": [hashes[row] for row in rows]})
        pq.write_table(table, pool / "metadata" / "extras" / f"{number:032x}.parquet")
    found = described(pool, "--save-path", tmp_path / "p.html")["perceptual_duplicates"]
    assert (found["compared"], found["missing"]) == (5, 1)
    assert (found["groups"], found["members"], found["largest"]) == (2, 5, 3)
    assert found["examples"] == [uid(0), uid(1), uid(4)]
