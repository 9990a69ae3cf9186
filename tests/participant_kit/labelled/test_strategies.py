"""Each strategy finds what its definition says, counts every row, and does not care about files, workers or kills."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from competition.data.uids import load_subset, uids_to_hex
from competition.errors import DataFormatError, UsageError
from competition.progress import Progress
from participant_kit.labelled import run
from participant_kit.labelled.candidates import Quota
from participant_kit.labelled.captions import ByCaptions
from participant_kit.labelled.classes import load_classes
from participant_kit.labelled.features import TextFeatures
from participant_kit.labelled.images import ByImages
from participant_kit.labelled.prompts import ByPrompts
from participant_kit.labelled.record import LabelledReport
from participant_kit.labelled.run import Strategy, Target
from participant_kit.labelled.schema_map import BySchema
from tests.participant_kit.labelled.made import NAMES, rows, write_classes, write_features, write_pool
from tests.participant_kit.labelled.test_lemmas import by_loop

COUNT = 60
MEMBERS = ["substring", "retrieve-captions", "retrieve-images", "no-copies", "retrieve-prompts", "several"]
ALL = Quota()


def label(strategy: str, folder: Path, metadata: Path, save_path: Path, quota: Quota = ALL, **how: Any) -> Any:
    """Run a strategy with small options; its inputs lie in ``folder``."""
    texts = TextFeatures(folder / "class.npy"), TextFeatures(folder / "prompt.npy")
    references = (folder / "reference.npy", folder / "labels.txt")
    strategies: dict[str, Strategy] = {
        "substring": ByCaptions(metadata),
        "retrieve-captions": ByCaptions(metadata, texts[0], threshold=0.0),
        "retrieve-images": ByImages(metadata, *references, neighbours=4),
        "no-copies": ByImages(metadata, *references, neighbours=4, duplicate_cosine=0.2),
        "retrieve-prompts": ByPrompts(metadata, texts[1], neighbours=5),
        "several": ByPrompts(metadata, texts[1], neighbours=5, several=True),
    }
    return run.label(Target(folder / "classes.json", save_path, quota), strategies[strategy], **how)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes, features and labels of references, and a pool in one file."""
    folder = tmp_path_factory.mktemp("inputs")
    write_classes(folder / "classes.json")
    write_features(folder / "class.npy", len(NAMES))
    write_features(folder / "prompt.npy", 2 * len(NAMES), seed=2)
    write_features(folder / "reference.npy", 9, seed=3)
    (folder / "labels.txt").write_text("".join(f"c{number % 3}\n" for number in range(9)))
    write_pool(folder / "metadata", rows(COUNT))
    return folder


def table(path: Path) -> dict[str, list[Any]]:
    return pq.ParquetFile(path).read().to_pydict()


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(MEMBERS),
    st.sets(st.integers(1, COUNT - 1), max_size=4),
    st.permutations(range(5)),
    st.sampled_from([Quota(), Quota(size=6), Quota(per_class=2)]),
)
def test_files_their_order_and_number_change_nothing(
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    strategy: str,
    cuts: set[int],
    order: list[int],
    quota: Quota,
) -> None:
    out = tmp_path_factory.mktemp("out")
    whole = label(strategy, folder, folder / "metadata", out / "whole.parquet", quota)
    write_pool(out / "metadata", rows(COUNT), sorted(cuts), order)
    cut = label(strategy, folder, out / "metadata", out / "cut.parquet", quota)
    for suffix in (".parquet", ".npy"):
        assert (out / f"whole{suffix}").read_bytes() == (out / f"cut{suffix}").read_bytes()
    assert (cut.total, cut.kept, cut.dropped, cut.per_class) == (COUNT, whole.kept, whole.dropped, whole.per_class)


@pytest.mark.parametrize("strategy", MEMBERS)
def test_every_row_is_counted_and_table_subset_and_record_agree(folder: Path, tmp_path: Path, strategy: str) -> None:
    report = label(strategy, folder, folder / "metadata", tmp_path / "t.parquet", Quota(per_class=3), workers=2)
    assert report.kept - report.repeats + sum(report.dropped.values()) == report.total == COUNT
    samples = table(tmp_path / "t.parquet")
    assert samples["uid"] == sorted(samples["uid"]) == uids_to_hex(load_subset(tmp_path / "t.npy"))
    assert len(samples["uid"]) == report.kept == sum(report.per_class.values())
    assert len(set(zip(samples["uid"], samples["label"], strict=True))) == report.kept
    assert (len(set(samples["uid"])) == report.kept) == (not report.repeats)
    assert max(report.per_class.values()) <= 3
    assert {name: samples["label"].count(name) for name in report.per_class} == report.per_class
    assert json.loads((tmp_path / "t.parquet.json").read_text()) == report.as_json()
    record = json.loads((tmp_path / "t.npy.json").read_text())
    assert (record["kept"], record["dropped"]) == (report.kept, report.dropped)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.npy", "t.npy.json", "t.parquet", "t.parquet.json"]


def test_captions_give_the_class_that_the_originals_loop_gives(folder: Path, tmp_path: Path) -> None:
    pool, classes = rows(COUNT), load_classes(folder / "classes.json")
    report = label("substring", folder, folder / "metadata", tmp_path / "s.parquet")
    found = dict(zip(*(table(tmp_path / "s.parquet")[name] for name in ("uid", "label")), strict=True))
    expected: dict[str, int] = {}
    for uid, text in zip(pool["uid"], pool["text"], strict=True):
        owner = by_loop(text, classes)
        if owner >= 0:
            expected[uid] = min(owner, expected.get(uid, owner))
    assert found == {uid: f"c{owner}" for uid, owner in expected.items()}
    assert report.notes["shared_lemmas"] == ["crane"]
    assert set(table(tmp_path / "s.parquet")["score"]) == {None}
    alike = label("retrieve-captions", folder, folder / "metadata", tmp_path / "c.parquet")
    samples = table(tmp_path / "c.parquet")
    assert 0 < alike.kept < report.kept
    assert min(samples["score"]) > 0
    texts = np.load(folder / "class.npy").astype(np.float64)
    for uid, own, score in zip(samples["uid"], samples["label"], samples["score"], strict=True):
        at = [row for row, each in enumerate(pool["uid"]) if each == uid]
        cosines = [pool["b32_txt"][row].astype(np.float64) @ texts[int(own[1:])] for row in at]
        assert any(abs(cosine - score) < 1e-6 for cosine in cosines)


def _cosines(folder: Path, name: str, member: str) -> dict[str, np.ndarray]:
    """By uid, the cosine with every query: of rows that share a uid the best."""
    pool, queries = rows(COUNT), np.load(folder / name).astype(np.float64)
    best: dict[str, np.ndarray] = {}
    for uid, feature in zip(pool["uid"], pool[member].astype(np.float64), strict=True):
        if np.isfinite(feature).all():
            cosines = queries @ feature
            best[uid] = np.maximum(best.get(uid, cosines), cosines)
    return best


def _retrieved(cosines: dict[str, np.ndarray], query: int, count: int) -> list[str]:
    return sorted(cosines, key=lambda uid: (-round(float(cosines[uid][query]), 12), uid))[:count]


def test_images_inherit_the_label_of_the_nearest_reference_that_retrieves_them(folder: Path, tmp_path: Path) -> None:
    report = label("retrieve-images", folder, folder / "metadata", tmp_path / "i.parquet")
    cosines = _cosines(folder, "reference.npy", "l14_img")
    expected: dict[str, tuple[float, int]] = {}
    for query in range(9):
        for uid in _retrieved(cosines, query, 4):
            expected[uid] = max((float(cosines[uid][query]), -(query % 3)), expected.get(uid, (-2.0, 0)))
    samples = table(tmp_path / "i.parquet")
    assert samples["uid"] == sorted(expected)
    assert samples["label"] == [f"c{-expected[uid][1]}" for uid in samples["uid"]]
    assert samples["score"] == pytest.approx([expected[uid][0] for uid in samples["uid"]], abs=1e-6)
    assert report.notes["classes_without_reference"] == ["c3"]
    assert report.dropped["features_missing"] == COUNT // 7
    assert report.empty_classes == ["c3"]


def test_of_near_copies_in_a_class_the_best_stays(folder: Path, tmp_path: Path) -> None:
    pool = rows(COUNT) | {"uid": [f"{row * 7919 % 1000:032x}" for row in range(COUNT)]}
    write_pool(tmp_path / "m", pool, [20])
    label("retrieve-images", folder, tmp_path / "m", tmp_path / "all.parquet")
    report = label("no-copies", folder, tmp_path / "m", tmp_path / "few.parquet")
    samples, kept = table(tmp_path / "all.parquet"), set(table(tmp_path / "few.parquet")["uid"])
    assert report.dropped["near_copy"] == len(samples["uid"]) - len(kept) > 0
    features = dict(zip(pool["uid"], pool["l14_img"].astype(np.float64), strict=True))
    ranked = sorted(zip(samples["score"], samples["uid"], samples["label"], strict=True), key=lambda s: (-s[0], s[1]))
    stayed: list[tuple[str, str]] = []
    for _, uid, own in ranked:
        alike = [other for other, theirs in stayed if theirs == own and features[other] @ features[uid] >= 0.2]
        assert (uid in kept) == (not alike)
        if not alike:
            stayed.append((uid, own))


@pytest.mark.parametrize("top", [1, 2, 50])
def test_prompts_rank_by_the_mean_over_those_that_retrieved_an_image_as_genbench_does(
    folder: Path, tmp_path: Path, top: int
) -> None:
    report = label("several", folder, folder / "metadata", tmp_path / "p.parquet", Quota(per_class=top))
    cosines = _cosines(folder, "prompt.npy", "b32_txt")
    expected = set()
    for number in range(len(NAMES)):
        found: dict[str, list[float]] = {}
        for query in (2 * number, 2 * number + 1):
            for uid in _retrieved(cosines, query, 5):
                found.setdefault(uid, []).append(float(cosines[uid][query]))
        means = {uid: float(np.mean(scores)) for uid, scores in found.items()}
        best = sorted(means, key=lambda uid: (-round(means[uid], 12), uid))[:top]
        expected |= {(uid, f"c{number}", round(means[uid], 5)) for uid in best}
    samples = table(tmp_path / "p.parquet")
    scores = [round(score, 5) for score in samples["score"]]
    found_triples = list(zip(samples["uid"], samples["label"], scores, strict=True))
    assert {triple[:2] for triple in found_triples} == {triple[:2] for triple in expected}
    assert report.repeats == len(expected) - len({uid for uid, _, _ in expected})
    by_pair = {triple[:2]: triple[2] for triple in expected}
    assert all(abs(by_pair[uid, own] - score) < 1e-4 for uid, own, score in found_triples)


def test_a_second_search_to_the_same_path_uses_its_own_queries(folder: Path, tmp_path: Path) -> None:
    write_features(tmp_path / "prompt.npy", 2 * len(NAMES), seed=9)
    (tmp_path / "classes.json").write_bytes((folder / "classes.json").read_bytes())
    label("retrieve-prompts", folder, folder / "metadata", tmp_path / "t.parquet")
    first = table(tmp_path / "t.parquet")
    label("retrieve-prompts", tmp_path, folder / "metadata", tmp_path / "t.parquet")
    assert table(tmp_path / "t.parquet") != first


def test_references_can_be_a_labelled_table_of_a_pool(folder: Path, tmp_path: Path) -> None:
    pool = rows(COUNT)
    chosen = sorted({uid: row for row, uid in enumerate(pool["uid"]) if row % 7 not in {3, 6}}.items())[:6]
    unique = [(uid, row) for uid, row in chosen if pool["uid"].count(uid) == 1]
    labels = [f"c{number % 2}" for number in range(len(unique))]
    pq.write_table(pa.table({"uid": [uid for uid, _ in unique], "label": labels}), tmp_path / "r.parquet")
    target = Target(folder / "classes.json", tmp_path / "t.parquet")
    by_table = run.label(target, ByImages(folder / "metadata", table=tmp_path / "r.parquet", neighbours=3))
    np.save(tmp_path / "r.npy", pool["l14_img"][[row for _, row in unique]])
    (tmp_path / "r.txt").write_text("\n".join(labels))
    target = Target(folder / "classes.json", tmp_path / "f.parquet")
    by_files = ByImages(folder / "metadata", tmp_path / "r.npy", tmp_path / "r.txt", neighbours=3)
    assert run.label(target, by_files).per_class == by_table.per_class
    first, second = table(tmp_path / "t.parquet"), table(tmp_path / "f.parquet")
    assert all(first[name] == second[name] for name in ("uid", "label", "score"))
    assert set(first["source"]) <= {f"reference: {uid}" for uid, _ in unique}


def test_labels_are_mapped_many_to_one_and_the_unmapped_reported(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "map.tsv").write_text("label\tid\nDog\tc0\nPuppy\tc0\nnull\tc1\nNever\tc3\n")
    lines = ["uid,label,sure", "1,Dog,0.9", "1,Puppy,0.8", "2,Puppy,0.4", "2,null,0.6", "3,Cat,1", "4,,1", "5,Dog,"]
    (tmp_path / "a.csv").write_text("\n".join(lines[:5]))
    (tmp_path / "b.csv").write_text("\n".join([lines[0], *lines[5:], "6,Dog,0.1", "7,Cat,1", "7,Bird,1"]))
    tables = [tmp_path / "a.csv", tmp_path / "b.csv"]

    def made(name: str, **options: Any) -> LabelledReport:
        target = Target(folder / "classes.json", tmp_path / "out" / name)
        return run.label(target, BySchema(tables, tmp_path / "map.tsv", **options))

    plain = made("plain.parquet")
    assert {name: count for name, count in plain.dropped.items() if count} == {
        "label_missing": 1,
        "label_unmapped": 3,
        "class_repeated": 1,
        "several_classes": 2,
    }
    assert (plain.total, plain.kept, plain.per_class["c0"]) == (10, 3, 3)
    assert plain.notes["most_frequent_unmapped"] == [["Cat", 2], ["Bird", 1]]
    assert plain.notes["mapped_labels_without_sample"] == ["Never"]
    sure = made("sure.parquet", confidence="sure", least=0.3, best=True)
    assert sure.dropped["confidence_missing"] == sure.dropped["confidence_too_low"] == 1
    samples = table(tmp_path / "out" / "sure.parquet")
    assert [uid.lstrip("0") for uid in samples["uid"]] == ["1", "2"]
    assert samples["label"] == ["c0", "c1"]
    assert samples["source"] == ["label: Dog", "label: null"]
    with pytest.raises(UsageError, match=r"finds none .*not in pool"):
        made("inside.parquet", metadata_dir=folder / "metadata")


@pytest.mark.parametrize("strategy", ["substring", "retrieve-images"])
def test_a_run_that_stopped_goes_on_and_gives_the_same(folder: Path, tmp_path: Path, strategy: str) -> None:
    write_pool(tmp_path / "m", rows(COUNT), [20, 40])
    label(strategy, folder, tmp_path / "m", tmp_path / "reference.parquet", workers=2)
    damaged = tmp_path / "m" / f"{2:032x}.parquet"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:4] + bytes(200) + content[204:])
    with pytest.raises(DataFormatError, match="damaged"):
        label(strategy, folder, tmp_path / "m", tmp_path / "t.parquet")
    assert not (tmp_path / "t.parquet").exists()
    state = damaged.stat()
    damaged.write_bytes(content)
    os.utime(damaged, ns=(state.st_atime_ns, state.st_mtime_ns))
    seen: list[Progress] = []
    label(strategy, folder, tmp_path / "m", tmp_path / "t.parquet", progress=seen.append)
    assert seen[0].resumed == 2, "only the damaged file is read"
    assert (tmp_path / "t.parquet").read_bytes() == (tmp_path / "reference.parquet").read_bytes()
    assert not (tmp_path / ".t.parquet.parts").exists()
