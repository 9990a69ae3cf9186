"""``datacup label balance`` and ``prune``: distributions that are met exactly, and flipped labels that are found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from competition.data.metadata import list_metadata
from competition.data.uids import load_subset, parse_uids, sort_uids, uids_to_hex
from participant_kit.labelled.balance import BalanceOptions, balance_dataset
from participant_kit.labelled.candidates import Candidates
from participant_kit.labelled.classes import load_classes
from participant_kit.labelled.distribution import apportion, largest_size, tempered, uniform, zipf
from participant_kit.labelled.prune import PruneOptions, prune_dataset
from participant_kit.labelled.record import LabelledReport
from participant_kit.labelled.write import write_table
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.labelled.made import unit, write_classes, write_pool

COUNTS = (90, 40, 10, 3, 0)
Shares = st.lists(st.integers(0, 1000), min_size=1, max_size=8).filter(any)


def write_labelled(path: Path, labels: Sequence[int], uids: Sequence[str], scores: Any = None) -> Path:
    """A table as the commands write one, with sources "one" and "two"."""
    parsed = parse_uids(list(uids))
    order = np.lexsort((np.array(labels), parsed["f1"], parsed["f0"]))
    floats = np.zeros(len(labels)) if scores is None else np.asarray(scores, dtype=np.float64)
    sources = (np.arange(len(labels)) % 2).astype(np.int32)
    samples = Candidates(parsed, np.array(labels, np.int32), floats, sources).take(order)
    ids = [f"c{number}" for number in range(max(labels) + 1)]
    write_table(path, samples, ids, ["one", "two"], scored=scores is not None)
    return path


@pytest.fixture
def long_tail(tmp_path: Path) -> Path:
    """Classes of 90, 40, 10, 3 and 0 samples with scores, some of them null."""
    write_classes(tmp_path / "classes.json", [[f"name {number}"] for number in range(len(COUNTS))])
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.repeat(np.arange(5), COUNTS))
    scores = generator.random(len(labels)).astype(np.float32)
    scores[::10] = np.nan
    write_labelled(tmp_path / "labels.parquet", labels.tolist(), [generator.bytes(16).hex() for _ in labels], scores)
    return tmp_path


def balanced(folder: Path, **options: Any) -> tuple[LabelledReport, list[dict[str, Any]]]:
    """The report, and the rows of the table."""
    out = folder / "out.parquet"
    report = balance_dataset(folder / "labels.parquet", folder / "classes.json", out, BalanceOptions(**options))
    rows = pq.ParquetFile(out).read().to_pylist()
    assert report.as_json() == json.loads((folder / "out.parquet.json").read_text())
    assert report.kept == len(rows) == sum(report.per_class.values())
    assert report.kept - report.repeats + sum(report.dropped.values()) == report.total == sum(COUNTS)
    assert uids_to_hex(load_subset(folder / "out.npy")) == [row["uid"] for row in rows]
    source = {(row["uid"], row["label"]): row for row in pq.ParquetFile(folder / "labels.parquet").read().to_pylist()}
    assert all(source[row["uid"], row["label"]] == row for row in rows)
    return report, rows


def test_uniform_takes_the_best_and_says_what_is_not_there(long_tail: Path) -> None:
    report, rows = balanced(long_tail, size=100)
    assert list(report.per_class.values()) == [20, 20, 10, 3, 0]
    assert report.missing == 47
    assert report.notes["unfilled_classes"] == {"c2": 10, "c3": 17, "c4": 20}
    assert list(report.notes["per_class_before"].values()) == list(COUNTS)
    table = pq.ParquetFile(long_tail / "labels.parquet").read().to_pylist()
    scores = sorted((row["score"] for row in table if row["label"] == "c0" and row["score"] is not None), reverse=True)
    assert sorted((row["score"] for row in rows if row["label"] == "c0"), reverse=True) == scores[:20]


def test_repeats_only_when_asked_evenly_and_up_to_the_cap(long_tail: Path) -> None:
    report, rows = balanced(long_tail, size=125, max_repeats=4)
    assert list(report.per_class.values()) == [25, 25, 25, 12, 0]
    assert report.notes["unfilled_classes"] == {"c3": 13, "c4": 25}
    copies: dict[str, list[int]] = {}
    uids = [row["uid"] for row in rows]
    for row in {row["uid"]: row for row in rows}.values():
        copies.setdefault(row["label"], []).append(uids.count(row["uid"]))
    assert {label: sorted(set(numbers)) for label, numbers in copies.items()} == {
        "c0": [1],
        "c1": [1],
        "c2": [2, 3],
        "c3": [4],
    }
    assert report.repeats == 25 - 10 + 12 - 3


def test_draws_are_seeded_and_differ_from_the_best(long_tail: Path) -> None:
    def uids(**options: Any) -> set[str]:
        return {row["uid"] for row in balanced(long_tail, size=50, **options)[1]}

    assert uids(draw=True) == uids(draw=True)
    assert len({frozenset(uids(**options)) for options in ({}, {"draw": True}, {"draw": True, "seed": 1})}) == 3


def test_power_tempers_the_long_tail_or_makes_one(long_tail: Path) -> None:
    kept, _ = balanced(long_tail, distribution="power", exponent=1.0)
    assert list(kept.per_class.values()) == list(COUNTS)
    tempered_report, _ = balanced(long_tail, distribution="power", exponent=0.5)
    shares = np.sqrt(COUNTS) / np.sqrt(COUNTS).sum()
    found = np.array(list(tempered_report.per_class.values()))
    assert found.sum() == int(min(count / share for count, share in zip(COUNTS, shares, strict=True) if share))
    assert np.abs(found - shares * found.sum()).max() < 1
    tail, _ = balanced(long_tail, distribution="power", imbalance=10.0, size=45)
    numbers = list(tail.per_class.values())
    assert numbers[4] == 0
    assert numbers[0] / numbers[3] == pytest.approx(10, rel=0.25)
    assert numbers == sorted(numbers, reverse=True)


def test_a_file_says_shares_or_numbers(long_tail: Path) -> None:
    (long_tail / "d.tsv").write_text("c1\t7\nc2\t4\n# the others: none\n")
    report, _ = balanced(long_tail, distribution=str(long_tail / "d.tsv"))
    assert list(report.per_class.values()) == [0, 7, 4, 0, 0]
    assert report.dropped == {"class_not_wanted": 93, "over_quota": 39}
    assert report.assets["distribution"]["file"] == "d.tsv"
    (long_tail / "d.yaml").write_text("c0: 0.5\nc1: 0.5\n")
    report, _ = balanced(long_tail, distribution=str(long_tail / "d.yaml"), size=31)
    assert list(report.per_class.values()) == [16, 15, 0, 0, 0]


def test_the_order_of_rows_changes_nothing(long_tail: Path) -> None:
    balanced(long_tail, size=125, max_repeats=4, draw=True)
    first = (long_tail / "out.parquet").read_bytes()
    table = pq.ParquetFile(long_tail / "labels.parquet").read()
    order = np.random.default_rng(1).permutation(table.num_rows)
    pq.write_table(table.take(order), long_tail / "labels.parquet")
    balanced(long_tail, size=125, max_repeats=4, draw=True)
    assert (long_tail / "out.parquet").read_bytes() == first


@given(Shares, st.integers(0, 5000))
def test_apportioned_numbers_sum_and_are_off_by_less_than_one(weights: list[int], size: int) -> None:
    shares = np.array(weights) / sum(weights)
    numbers = apportion(shares, size)
    assert numbers.sum() == size
    assert (np.abs(numbers - shares * size) < 1).all()
    assert (numbers[shares == 0] == 0).all()


@given(Shares, st.data())
def test_every_class_can_fill_the_largest_size(weights: list[int], data: st.DataObject) -> None:
    shares = np.array(weights) / sum(weights)
    most = np.array([data.draw(st.integers(0, 300)) for _ in weights])
    size = largest_size(shares, most)
    assert (apportion(shares, size) <= most).all()
    assert ((size + 1) * shares > most - 1e-6).any()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=9).filter(any), st.floats(-50, 50), st.floats(1, 1e6))
def test_shares_are_distributions_in_the_order_of_the_counts(
    counts: list[int], exponent: float, imbalance: float
) -> None:
    have = np.array(counts)
    for shares in (tempered(have, exponent), zipf(have, imbalance), uniform(len(have))):
        assert shares.sum() == pytest.approx(1)
        assert (shares >= 0).all()
    assert not tempered(have, exponent)[have == 0].any()
    tail = zipf(have, imbalance)[have > 0]
    assert (np.diff(tail[np.argsort(-have[have > 0], kind="stable")]) <= 0).all()
    if len(tail) > 1:
        assert tail.max() / tail.min() == pytest.approx(imbalance)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "No size can have this distribution: the class 'c4' has no sample."),
        (["--size", 0], "--size 0 is not above 0"),
        (["--size", 144], "--size 144 is more than 1 times the dataset's 143 samples"),
        (["--size", 9, "--max-repeats", 0], "--max-repeats 0 is not between 1 and 100"),
        (["--distribution", "even"], "There is no distribution 'even'"),
        (["--distribution", "power"], "power needs exactly one of --exponent and --imbalance"),
        (["--exponent", 0.5], "power needs exactly one of --exponent and --imbalance"),
        (["--distribution", "power", "--imbalance", 0.5], "--imbalance 0.5 is not a number of at least 1"),
        (["--distribution", "power", "--exponent", "nan"], "--exponent nan is not a finite number"),
        (["--distribution", "d.tsv"], "Line 2 of d.tsv has the class 'c9', which is no class's id"),
        (["--distribution", "e.tsv"], "Line 1 of e.tsv gives '-1' to the class 'c0': no share or number"),
        (["--distribution", "f.json"], "The distribution f.json wants no class"),
        (["--distribution", "g.json"], "The distribution g.json has numbers that are not whole"),
        (["--distribution", "h.json", "--size", 5], "None of the 5 classes has a sample that is wanted"),
        (["--distribution", "i.tsv"], "Line 2 of i.tsv has the class 'c0' again"),
        (["--distribution", "j.json"], "j.json is not {class id: share or number}"),
        (["--save-path", "labels.parquet"], "is the dataset that is read"),
        (["--save-path", "out.npy"], "does not end in .parquet"),
        (["--labels", "empty.parquet"], "empty.parquet has no sample"),
        (["--labels", "other.parquet"], "has the label 'c5', which is no class's id"),
        (["--labels", "twice.parquet"], "twice with one label"),
        (["--labels", "plain.parquet"], "has no column 'score'"),
    ],
)
def test_what_cannot_be_balanced_is_answered_in_one_sentence(
    long_tail: Path, monkeypatch: pytest.MonkeyPatch, words: list[Any], sentence: str
) -> None:
    monkeypatch.chdir(long_tail)
    table = pq.ParquetFile("labels.parquet").read()
    pq.write_table(table.slice(0, 0), "empty.parquet")
    pq.write_table(table.drop_columns(["score"]), "plain.parquet")
    write_labelled(Path("other.parquet"), [0, 5], ["1", "2"])
    write_labelled(Path("twice.parquet"), [0, 1, 1], ["1", "2", "2"])
    files = {"d.tsv": "c0\t1\nc9\t1\n", "e.tsv": "c0\t-1\n", "i.tsv": "c0\t1\nc0\t2\n", "j.json": "[]"}
    files |= {"f.json": "{}", "g.json": '{"c0": 0.5}', "h.json": '{"c4": 1}'}
    for name, content in files.items():
        Path(name).write_text(content)
    given = ["--labels", "labels.parquet", "--classes", "classes.json", "--save-path", "out.parquet", *words]
    assert sentence in refused("label", "balance", *given).err
    assert not Path("out.parquet").exists()


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[str, str]]]:
    """Pixels of real digits as features, of whose labels 8 % are flipped; which, from what to what."""
    folder = tmp_path_factory.mktemp("digits")
    pixels, truth = load_digits(return_X_y=True)
    generator = np.random.default_rng(3)
    uids = [generator.bytes(16).hex() for _ in truth]
    flipped = generator.choice(len(truth), int(0.08 * len(truth)), replace=False)
    labels = truth.copy()
    labels[flipped] = (truth[flipped] + generator.integers(1, 10, len(flipped))) % 10
    features = unit(pixels).astype(np.float16)
    columns = {"uid": uids, "text": [""] * len(uids), "l14_img": features, "b32_txt": features}
    write_pool(folder / "m", columns, cuts=(700, 1100))
    write_classes(folder / "classes.json", [[f"digit {number}"] for number in range(10)])
    write_labelled(folder / "labels.parquet", labels.tolist(), uids, generator.random(len(labels)))
    return folder, {uids[row]: (f"c{truth[row]}", f"c{labels[row]}") for row in flipped}


def pruned(folder: Path, out: Path, **options: Any) -> LabelledReport:
    return prune_dataset(folder / "labels.parquet", folder / "classes.json", folder / "m", out, PruneOptions(**options))


def test_flipped_labels_are_found_and_few_others(
    noisy: tuple[Path, dict[str, tuple[str, str]]], tmp_path: Path
) -> None:
    folder, flipped = noisy
    report = pruned(folder, tmp_path / "out.parquet")
    removed = pq.ParquetFile(tmp_path / "out.removed.parquet").read().to_pylist()
    found = [row for row in removed if row["uid"] in flipped]
    assert len(found) > 0.75 * len(flipped)
    assert len(found) > 0.7 * len(removed)
    assert all(row["label"] == flipped[row["uid"]][1] for row in found)
    assert sum(row["suggested_label"] == flipped[row["uid"]][0] for row in found) > 0.9 * len(found)
    scores = [row["score"] for row in removed]
    assert scores == sorted(scores)
    assert report.dropped == {"label_issue": len(removed)}
    assert report.kept + len(removed) == report.total == 1797
    assert sum(report.notes["removed_per_class"].values()) == len(removed)
    before, gone = report.notes["per_class_before"], report.notes["removed_per_class"]
    assert report.per_class == {name: before[name] - gone[name] for name in before}
    table = pq.ParquetFile(folder / "labels.parquet").read().to_pylist()
    gone_uids = {row["uid"] for row in removed}
    kept = [row for row in table if row["uid"] not in gone_uids]
    assert pq.ParquetFile(tmp_path / "out.parquet").read().to_pylist() == kept
    assert "cleanlab" in report.tools["label_issues"]


def test_neither_files_nor_rows_in_another_order_change_what_is_removed(
    noisy: tuple[Path, dict[str, tuple[str, str]]], tmp_path: Path
) -> None:
    folder, _ = noisy
    pruned(folder, tmp_path / "a.parquet")
    table = pq.ParquetFile(folder / "labels.parquet").read()
    pq.write_table(table.take(np.random.default_rng(1).permutation(1797)), tmp_path / "labels.parquet")
    for number, path in enumerate(reversed(list_metadata(folder / "m"))):
        for suffix in (".parquet", ".npz"):
            target = tmp_path / "m" / f"{number:032x}{suffix}"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.with_suffix(suffix).read_bytes())
    (tmp_path / "classes.json").write_bytes((folder / "classes.json").read_bytes())
    pruned(tmp_path, tmp_path / "b.parquet")
    for suffix in (".parquet", ".removed.parquet", ".npy"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def small_pool(folder: Path, labels: Sequence[int], missing: Sequence[int] = ()) -> Path:
    """Two directions of features for even and odd labels, and a dataset of all rows."""
    generator = np.random.default_rng(0)
    kinds = np.eye(16)[np.array(labels) % 2]
    features = unit(kinds + 0.1 * generator.standard_normal((len(labels), 16)))
    features[list(missing)] = np.nan
    uids = [f"{row + 1:032x}" for row in range(len(labels))]
    write_pool(folder / "m", {"uid": uids, "text": [""] * len(uids), "l14_img": features, "b32_txt": features})
    write_classes(folder / "classes.json", [[f"name {number}"] for number in range(4)])
    write_labelled(folder / "labels.parquet", labels, uids)
    return folder


def test_samples_that_cannot_be_judged_stay_and_are_reported(tmp_path: Path) -> None:
    small_pool(tmp_path, [0] * 20 + [1] * 20 + [2] * 3, missing=[4, 41])
    words = ["--labels", tmp_path / "labels.parquet", "--classes", tmp_path / "classes.json"]
    result = typed("label", "prune", *words, "--metadata-dir", tmp_path / "m", "--save-path", tmp_path / "o.parquet")
    assert result.code == 0, result.err
    report = json.loads((tmp_path / "o.parquet.json").read_text())
    assert (report["kept"], report["notes"]["judged"], report["notes"]["without_features"]) == (43, 39, 2)
    assert report["notes"]["classes_not_judged"] == ["c2"]
    assert report["empty_classes"] == ["c3"]
    assert "Warning: 2 samples have no features, and were not judged." in result.err
    assert "Warning: classes too small to be judged (1): c2." in result.err
    assert str(tmp_path / "o.removed.parquet") in result.out
    assert len(sort_uids(load_subset(tmp_path / "o.npy"))) == 43


def test_what_cannot_be_pruned_is_answered_in_one_sentence(tmp_path: Path) -> None:
    small_pool(tmp_path, [0] * 8 + [1] * 3)
    words: list[Any] = ["--classes", tmp_path / "classes.json", "--metadata-dir", tmp_path / "m"]
    words += ["--save-path", tmp_path / "o.parquet", "--labels", tmp_path / "labels.parquet"]
    assert "1 of the 4 classes has at least 5 samples with features" in refused("label", "prune", *words).err
    assert "--folds 1 is not above 1" in refused("label", "prune", *words, "--folds", 1).err
    assert "--arch b16 is unknown" in refused("label", "prune", *words, "--arch", "b16").err
    assert "has no 'b32_img'" in refused("label", "prune", *words, "--arch", "b32").err
    write_labelled(tmp_path / "several.parquet", [0, 1, 1], ["1", "1", "2"])
    several = refused("label", "prune", *words[:-1], tmp_path / "several.parquet").err
    assert "1 rows of" in several
    assert "are further labels of samples that have one already" in several
    path = list_metadata(tmp_path / "m")[0].with_suffix(".npz")
    features = dict(np.load(path))
    np.savez(path, l14_img=features["l14_img"] * 3)
    assert "has length 3, not 1" in refused("label", "prune", *words, "--folds", 2).err
    made = {"uid": ["ff" * 16], "text": [""], "l14_img": np.eye(16)[:1], "b32_txt": np.eye(16)[:1]}
    write_pool(tmp_path / "m", made, order=[7])
    np.savez(tmp_path / "m" / f"{7:032x}.npz", l14_img=np.eye(8)[:1].astype(np.float16))
    np.savez(path, l14_img=features["l14_img"])
    assert "has vectors of 16 dimensions" in refused("label", "prune", *words, "--folds", 2).err


def test_classes_are_those_of_the_list(long_tail: Path) -> None:
    report, _ = balanced(long_tail, size=5)
    assert list(report.per_class) == load_classes(long_tail / "classes.json").ids
