"""Deduplicating a pool: what each way drops, why, and which one it keeps; counts sum to the pool."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from competition.data.uids import load_subset, parse_uids, save_subset
from competition.errors import DataFormatError, UsageError
from competition.progress import Progress
from participant_kit.dedup import clusters, semantic
from participant_kit.dedup.contamination import decontaminate
from participant_kit.dedup.groups import Groups
from participant_kit.dedup.keep import Keep, KeepRule
from participant_kit.dedup.pool_run import Deduplicated
from participant_kit.dedup.same import Sources, deduplicate_exact, deduplicate_perceptual
from participant_kit.dedup.semantic import SemanticOptions, deduplicate_semantic
from participant_kit.dedup.unit import above
from tests.participant_kit.dedup.pools import SCORE, picture, png, unit, write_file, write_shards

ROWS, DIMENSIONS = 150, 16
NO_FEATURES: dict[str, np.ndarray] = {}


def kept(path: Path) -> list[int]:
    return load_subset(path)["f1"].tolist()


def check_sums(result: Deduplicated, save_path: Path) -> None:
    report = result.report
    assert report.kept + sum(report.dropped.values()) == report.total
    assert len(load_subset(save_path)) == report.kept
    assert json.loads(save_path.with_name(f"{save_path.name}.json").read_text()) == report.as_json()


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Rows 1 and 4 have one sha256, so have 2, 3 and 5; row 6 has none."""
    digests = ["a" * 64, "b" * 64, "b" * 64, "A".lower() * 64, "b" * 64, None]
    columns = {"sha256": digests, SCORE: [0.1, 0.3, None, 0.2, 0.3, 0.9]}
    sizes = {"original_width": [1, 2, 3, 4, 5, 6], "original_height": [9, 1, 1, 1, 1, 1]}
    for file, part in enumerate((slice(0, 3), slice(3, 6))):
        given = {name: values[part] for name, values in (columns | sizes).items()}
        write_file(tmp_path / "metadata", file, list(range(1, 7))[part], NO_FEATURES, **given)
    return tmp_path / "metadata"


@pytest.mark.parametrize(("keep", "left"), [(Keep.BEST, [2, 4]), (Keep.LARGEST, [1, 5]), (Keep.FIRST, [1, 2])])
def test_exact_keeps_the_one_that_the_rule_prefers(pool: Path, tmp_path: Path, keep: Keep, left: list[int]) -> None:
    save_path = tmp_path / "kept.npy"
    result = deduplicate_exact(Sources(pool), save_path, KeepRule(keep))
    assert kept(save_path) == left
    assert result.report.dropped == {"sha256_missing": 1, "exact_duplicate": 3}
    assert result.found == {"groups": 2, "members": 5, "largest": 3}
    check_sums(result, save_path)


def test_exact_by_the_bytes_in_the_shards(tmp_path: Path) -> None:
    images = {1: png(picture(1)), 2: png(picture(2)), 3: png(picture(1)), 4: None, 5: b"no picture"}
    write_shards(tmp_path / "shards", images)
    save_path = tmp_path / "kept.npy"
    result = deduplicate_exact(Sources(None, tmp_path / "shards"), save_path, KeepRule(Keep.FIRST))
    assert kept(save_path) == [1, 2, 5]
    assert result.report.dropped == {"sha256_missing": 1, "exact_duplicate": 1}
    check_sums(result, save_path)


def test_perceptual_finds_recoded_pictures_and_counts_what_has_no_hash(tmp_path: Path) -> None:
    """Metadata and shards together: hashes by uid, whatever file a row is in; row 9 is in no shard."""
    brighter = np.clip(picture(1).astype(int) + 6, 0, 255).astype(np.uint8)
    images = {1: png(picture(1)), 2: png(picture(2)), 3: png(brighter), 5: b"no picture"}
    write_shards(tmp_path / "shards", images)
    write_file(tmp_path / "metadata", 0, [3, 9], NO_FEATURES, **{SCORE: [0.1, 0.9]})
    write_file(tmp_path / "metadata", 1, [1, 2, 5], NO_FEATURES, **{SCORE: [0.3, 0.2, 0.9]})
    save_path = tmp_path / "kept.npy"
    result = deduplicate_perceptual(Sources(tmp_path / "metadata", tmp_path / "shards"), save_path, KeepRule(), 4)
    assert kept(save_path) == [1, 2]
    assert result.report.dropped == {"perceptual_hash_missing": 2, "perceptual_duplicate": 1}
    groups = Groups.read(result.groups)
    assert groups.roles == ["kept", "dropped"]
    assert (groups.measures <= 4).all()
    check_sums(result, save_path)


def test_hashes_without_a_source_and_bits_out_of_range_are_refused(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has a column 'perceptual_hash'") as caught:
        deduplicate_perceptual(Sources(pool), tmp_path / "kept.npy", KeepRule())
    assert "--shards-dir" in caught.value.hint
    for bits in (-1, 17):
        with pytest.raises(UsageError, match="is not between 0 and 16"):
            deduplicate_perceptual(Sources(pool), tmp_path / "kept.npy", KeepRule(), bits)
    with pytest.raises(UsageError, match="Give --metadata-dir"):
        deduplicate_exact(Sources(), tmp_path / "kept.npy", KeepRule())
    with pytest.raises(UsageError, match="needs scores, which shards do not have"):
        deduplicate_exact(Sources(None, tmp_path), tmp_path / "kept.npy", KeepRule())
    with pytest.raises(UsageError, match="needs clusters"):
        deduplicate_exact(Sources(pool), tmp_path / "kept.npy", KeepRule(Keep.OUTERMOST))
    with pytest.raises(UsageError, match="nothing to rank by"):
        deduplicate_exact(Sources(pool), tmp_path / "kept.npy", KeepRule(Keep.BEST, "text"))


def features(seed: int = 0) -> np.ndarray:
    """Unit rows around a few centres, so that many are alike; row 7 has NaN and row 8 no direction."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((12, DIMENSIONS))
    rows = unit(centres[generator.integers(0, 12, ROWS)] + 0.25 * generator.standard_normal((ROWS, DIMENSIONS)))
    rows[7], rows[8] = np.nan, 0
    return rows.astype(np.float16)


def write_features(folder: Path, rows: np.ndarray, order: np.ndarray, files: int = 3) -> Path:
    scores = np.random.default_rng(5).random(len(rows)).astype(np.float32)
    for file, part in enumerate(np.array_split(order, files)):
        write_file(folder, file, (part + 1).tolist(), {"l14_img": rows[part]}, **{SCORE: scores[part].tolist()})
    return folder


def double_units(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1 in float64; what has no direction is zero."""
    exact = np.nan_to_num(rows.astype(np.float64))
    return exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), 1e-9)


def semdedup(rows: np.ndarray, labels: np.ndarray, preference: np.ndarray, threshold: float) -> set[int]:
    """The paper's loop: per cluster, in order of preference, drop what is like one before it."""
    dropped = set()
    exact = double_units(rows)
    for cluster in set(labels.tolist()) - {-1}:
        members = sorted(np.flatnonzero(labels == cluster).tolist(), key=lambda row: preference[row])
        for place, row in enumerate(members):
            if place and (exact[members[:place]] @ exact[row]).max() > threshold:
                dropped.add(row)
    return dropped


def test_semantic_is_semdedups_loop_over_its_own_clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = features()
    metadata = write_features(tmp_path / "metadata", rows, np.arange(ROWS))
    found: dict[str, np.ndarray] = {}

    def spy(options: SemanticOptions, pool: object, work: Path) -> list[dict[str, object]]:
        result = assign(options, pool, work)  # type: ignore[arg-type]
        for name in ("labels", "near"):
            files = sorted(metadata.glob("*.parquet"))
            found[name] = np.concatenate([np.load(work / f"{path.stem}.{name}.npy") for path in files])
        return result

    assign = semantic._assign
    monkeypatch.setattr(semantic, "_assign", spy)
    monkeypatch.setattr(clusters, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(clusters, "_BATCH_ROWS", 40)
    save_path = tmp_path / "kept.npy"
    options = SemanticOptions(0.9, clusters=6, by_pair=True)
    result = deduplicate_semantic(metadata, save_path, KeepRule(Keep.OUTERMOST), options)
    expected = semdedup(rows, found["labels"], found["near"], 0.9)
    assert 10 < len(expected) < ROWS - 10
    assert set(range(ROWS)) - {number - 1 for number in kept(save_path)} == expected | {7}
    assert result.report.dropped == {"features_missing": 1, "semantic_duplicate": len(expected)}
    check_sums(result, save_path)


def test_semantic_with_one_cluster_keeps_the_best_of_every_connected_group(tmp_path: Path) -> None:
    rows = features()
    metadata = write_features(tmp_path / "metadata", rows, np.arange(ROWS))
    save_path = tmp_path / "kept.npy"
    result = deduplicate_semantic(metadata, save_path, KeepRule(), SemanticOptions(0.95, clusters=1))
    from scipy.sparse.csgraph import connected_components

    exact = double_units(rows)
    groups, _ = connected_components(exact @ exact.T > 0.95)
    assert result.report.kept == groups - 1
    read = Groups.read(result.groups)
    assert (read.measures > 0.95).all()
    assert read.roles.count("kept") == read.count


def test_semantic_is_the_same_for_any_order_of_files_and_workers(tmp_path: Path) -> None:
    rows, save_path = features(), tmp_path / "kept.npy"
    contents = []
    for number, order in enumerate((np.arange(ROWS), np.random.default_rng(1).permutation(ROWS))):
        metadata = write_features(tmp_path / f"metadata{number}", rows, order, files=3 - number)
        deduplicate_semantic(metadata, save_path, KeepRule(), SemanticOptions(0.9, clusters=5), workers=1 + number)
        contents.append(save_path.read_bytes())
    assert contents[0] == contents[1]


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("stage", ["finding clusters", "comparing images"])
def test_semantic_goes_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    rows, save_path = features(), tmp_path / "kept.npy"
    metadata = write_features(tmp_path / "metadata", rows, np.arange(ROWS))
    monkeypatch.setattr(clusters, "_BATCH_ROWS", 40)
    options = SemanticOptions(0.9, clusters=6)
    deduplicate_semantic(metadata, tmp_path / "whole.npy", KeepRule(), options)
    stages: list[str] = []

    def kill(progress: Progress) -> None:
        if progress.stage == stage and progress.done == 1:
            raise KilledError

    with pytest.raises(KilledError):
        deduplicate_semantic(metadata, save_path, KeepRule(), options, progress=kill)
    assert not save_path.exists()
    deduplicate_semantic(
        metadata, save_path, KeepRule(), options, progress=lambda progress: stages.append(progress.stage)
    )
    assert "grouping images" not in stages
    assert save_path.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_a_cosine_near_the_threshold_is_decided_in_double_precision() -> None:
    generator = np.random.default_rng(0)
    first, second = unit(generator.standard_normal((40, 64))), unit(generator.standard_normal((50, 64)))
    exact = first.astype(np.float64) @ second.T.astype(np.float64)
    threshold = float(exact[3, 4])
    found = above(first, second, threshold)
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == {
        (a, b) for a, b in np.argwhere(np.einsum("id,jd->ij", first.astype(np.float64), second) > threshold).tolist()
        if (a, b) != (3, 4)
    }  # fmt: skip


BAD_OPTIONS = {
    "threshold": (SemanticOptions(1.0), "--threshold 1.0 is not at least 0 and below 1"),
    "negative": (SemanticOptions(-0.1), "--threshold -0.1 is not"),
    "nan": (SemanticOptions(float("nan")), "--threshold nan is not"),
    "clusters": (SemanticOptions(clusters=0), "--num-clusters must be at least 1"),
    "k": (SemanticOptions(clusters=ROWS + 1), f"There are {ROWS} images for {ROWS + 1} clusters"),
    "finite": (SemanticOptions(clusters=ROWS), f"There are {ROWS - 1} images with features for {ROWS} clusters"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_semantic_options_out_of_range_are_refused(name: str, tmp_path: Path) -> None:
    options, sentence = BAD_OPTIONS[name]
    metadata = write_features(tmp_path / "metadata", features(), np.arange(ROWS))
    with pytest.raises(UsageError, match=sentence):
        deduplicate_semantic(metadata, tmp_path / "kept.npy", KeepRule(), options)


def test_features_of_two_models_or_not_normalised_are_refused(tmp_path: Path) -> None:
    rows = features()
    write_file(tmp_path / "two", 0, [1, 2], {"l14_img": rows[:2]})
    write_file(tmp_path / "two", 1, [3, 4], {"l14_img": unit(rows[2:4, :8])})
    write_file(tmp_path / "long", 0, [1, 2, 3], {"l14_img": 2 * rows[:3]})
    for name, sentence in {"two": "have 8 dimensions, those of", "long": "are not L2-normalised: a row has"}.items():
        with pytest.raises(DataFormatError, match=sentence):
            deduplicate_semantic(tmp_path / name, tmp_path / "kept.npy", KeepRule(), SemanticOptions(clusters=1))
        np.save(tmp_path / "references.npy", rows[:3])
        with pytest.raises(DataFormatError, match=sentence):
            decontaminate(tmp_path / name, tmp_path / "references.npy", tmp_path / "kept.npy", "l14_img", 0.9)


def test_decontamination_drops_what_is_like_a_reference_and_names_it(tmp_path: Path) -> None:
    rows = features()
    metadata = write_features(tmp_path / "metadata", rows, np.arange(ROWS))
    references = unit(rows[[20, 60]] + 0.01)
    np.savez(tmp_path / "references.npz", l14_img=references, ids=np.array(["test/a", "test/b"]))
    save_path = tmp_path / "kept.npy"
    result = decontaminate(metadata, tmp_path / "references.npz", save_path, "l14_img", 0.97)
    exact = double_units(rows)
    over = np.flatnonzero((exact @ references.T.astype(np.float64)).max(axis=1) > 0.97)
    assert {20, 60} <= set(over.tolist())
    assert set(range(1, ROWS + 1)) - set(kept(save_path)) == {*(over + 1).tolist(), 8}
    assert result.report.dropped == {"features_missing": 1, "like_a_reference": len(over)}
    groups = Groups.read(result.groups)
    assert {name for name, role in zip(groups.ids, groups.roles, strict=True) if role == "reference"} == {
        "test/a", "test/b",
    }  # fmt: skip
    assert groups.roles[0] == "reference"
    check_sums(result, save_path)


def test_references_that_are_not_finite_or_empty_are_refused(tmp_path: Path) -> None:
    metadata = write_features(tmp_path / "metadata", features(), np.arange(ROWS))
    np.save(tmp_path / "nan.npy", features()[6:9])
    np.save(tmp_path / "empty.npy", features()[:0])
    for name, sentence in {"nan": "1 are not finite", "empty": "No reference features"}.items():
        with pytest.raises(DataFormatError, match=sentence):
            decontaminate(metadata, tmp_path / f"{name}.npy", tmp_path / "kept.npy", "l14_img", 0.9)
    with pytest.raises(UsageError, match="--threshold 1\\.5 is not"):
        decontaminate(metadata, tmp_path / "nan.npy", tmp_path / "kept.npy", "l14_img", 1.5)


def test_within_a_subset_no_row_gives_way_to_one_outside(pool: Path, tmp_path: Path) -> None:
    """Row 4, kept of the whole pool, is not in the subset, so row 1 stays; of 2, 3 and 5 only 3 and 5 are compared."""
    save_subset(tmp_path / "in.npy", parse_uids(["1", "3", "5", "5", "6"]))
    save_path = tmp_path / "kept.npy"
    result = deduplicate_exact(Sources(pool, within=tmp_path / "in.npy"), save_path, KeepRule())
    assert kept(save_path) == [1, 5]
    assert result.report.dropped == {"not_in_subset": 2, "sha256_missing": 1, "exact_duplicate": 1}
    assert set(result.report.assets) == {"within"}
    check_sums(result, save_path)


def test_content_is_compared_within_a_subset_as_in_a_pool_of_it_alone(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    rows = unit(random.standard_normal((ROWS, DIMENSIONS)))
    rows[::5] = unit(rows[1::5] + 0.01 * random.standard_normal((ROWS // 5, DIMENSIONS)))
    numbers = np.arange(1, ROWS + 1)
    chosen = random.random(ROWS) < 0.6
    for folder, part in (("all", np.ones(ROWS, bool)), ("part", chosen)):
        write_file(tmp_path / folder, 0, numbers[part].tolist(), {"l14_img": rows[part]})
    save_subset(tmp_path / "in.npy", parse_uids([f"{number:x}" for number in numbers[chosen]]))
    options = SemanticOptions(clusters=4)
    inside = SemanticOptions(clusters=4, within=tmp_path / "in.npy")
    alone = deduplicate_semantic(tmp_path / "part", tmp_path / "a.npy", KeepRule(Keep.FIRST), options)
    within = deduplicate_semantic(tmp_path / "all", tmp_path / "w.npy", KeepRule(Keep.FIRST), inside)
    assert kept(tmp_path / "w.npy") == kept(tmp_path / "a.npy")
    assert alone.report.dropped["semantic_duplicate"] > 0
    assert within.report.dropped == {"not_in_subset": int((~chosen).sum())} | alone.report.dropped
    check_sums(within, tmp_path / "w.npy")
