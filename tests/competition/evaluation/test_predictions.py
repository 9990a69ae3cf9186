"""Prediction entries: ImageNetV2's published accuracies come out, and every trap of its files is named."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.errors import DataFormatError, EmptySetError, LabelRangeError, PredictionsError, StorageError
from competition.evaluation.predictions import TestSetShape, check_top5, read_predictions, score
from tests.conftest import ROOT

SETS = ("imagenet-validation-original", "imagenetv2-b-33", "imagenetv2-a-44", "imagenetv2-c-12")
SPECIFICATION = ROOT.parent / "shared" / "specs" / "imagenetv2_genbench.md"


@pytest.fixture(scope="module")
def stored(golden: Path) -> dict[str, dict[str, np.ndarray]]:
    folder = golden / "imagenetv2"
    found = {}
    for name in SETS:
        with np.load(folder / f"{name}.npz", allow_pickle=False) as archive:
            found[name] = {key: archive[key] for key in archive.files}
    return found


def expected_top1(golden: Path) -> dict[str, list[float]]:
    """The specification's vectors: ``model original/b/a/c``."""
    if not SPECIFICATION.is_file():
        pytest.skip("../shared/specs is absent")
    line = SPECIFICATION.read_text(encoding="utf-8").split("Golden top-1 vectors")[1].split("\n")[1]
    found = re.findall(r"(\w+) ([\d.]+/[\d.]+/[\d.]+/[\d.]+)", line)
    return {model: [float(value) for value in values.split("/")] for model, values in found}


def expected_top5(golden: Path) -> dict[str, list[float]]:
    text = (golden / "README.md").read_text(encoding="utf-8").split("## imagenetv2")[1]
    rows = re.findall(r"^\| (\w+) \| [\d. /]+ \| ([\d. /]+) \|$", text, flags=re.MULTILINE)
    return {model: [float(value) for value in values.split(" / ")] for model, values in rows}


def as_entry(stored: dict[str, dict[str, np.ndarray]], model: str, path: Path) -> Path:
    np.savez_compressed(path, **{name: arrays[model] for name, arrays in stored.items()})
    return path


def test_every_models_top1_and_top5_on_the_four_sets(
    golden: Path, stored: dict[str, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    """Read from an entry as a participant sends it. Top-5 of models that no table lists is recomputed as the golden
    file's README says: the label among the five."""
    top1, top5 = expected_top1(golden), expected_top5(golden)
    models = sorted(set(stored[SETS[0]]) - {"labels"})
    assert len(models) == 24
    assert sorted(top1) == models
    assert len(top5) == 5
    shapes = {name: TestSetShape(len(arrays["labels"]), 1000) for name, arrays in stored.items()}
    for model in models:
        entry = read_predictions(as_entry(stored, model, tmp_path / "entry.npz"), shapes)
        outcomes = [score(entry[name], stored[name]["labels"], 1000, name) for name in SETS]
        assert [round(100 * outcome.metrics["acc1"], 2) for outcome in outcomes] == top1[model], model
        among = [round(100 * outcome.metrics["acc5"], 2) for outcome in outcomes]
        plain = [
            100 * np.mean([y in row for y, row in zip(s["labels"], s[model], strict=True)]) for s in stored.values()
        ]
        assert among == [round(value, 2) for value in plain], model
        assert among == top5.get(model, among), model


def test_the_traps_are_named_on_real_predictions(stored: dict[str, dict[str, np.ndarray]]) -> None:
    for name, arrays in stored.items():
        top5, labels = arrays["alexnet"], arrays["labels"]
        with pytest.raises(PredictionsError, match=r"in reverse"):
            score(top5[:, ::-1], labels, 1000, name)
        with pytest.raises(PredictionsError, match=r"not in order: column 2 "):
            score(top5[:, [1, 2, 0, 3, 4]], labels, 1000, name)
        with pytest.raises(PredictionsError, match=r"transposed: their shape is \(5, "):
            score(top5.T, labels, 1000, name)
        with pytest.raises(PredictionsError, match=r"transposed: they were reshaped"):
            score(np.ascontiguousarray(top5.T).reshape(-1, 5), labels, 1000, name)


def test_messages_on_order_say_nothing_about_hidden_labels(stored: dict[str, dict[str, np.ndarray]]) -> None:
    arrays = stored["imagenetv2-b-33"]
    with pytest.raises(PredictionsError) as refused:
        score(arrays["vgg16"][:, ::-1], arrays["labels"], 1000, "x")
    assert not re.search(r"\d\.\d|%|\d\d", str(refused.value).replace("array[:, ::-1]", ""))


def ranked(seed: int, samples: int, classes: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Rows of five distinct ids, and labels."""
    generator = np.random.default_rng(seed)
    rows = np.argsort(generator.random((samples, classes)), axis=1)[:, :5]
    return rows, generator.integers(0, classes, samples)


@given(st.integers(0, 10**6), st.integers(1, 60))
def test_accuracies_are_those_of_a_count_by_hand(seed: int, samples: int) -> None:
    top5, labels = ranked(seed, samples)
    outcome = score(top5, labels, 20)
    first = [row[0] == label for row, label in zip(top5.tolist(), labels.tolist(), strict=True)]
    assert outcome.metrics["acc1"] == pytest.approx(sum(first) / samples)
    among = sum(label in row for row, label in zip(top5.tolist(), labels.tolist(), strict=True))
    assert outcome.metrics["acc5"] == pytest.approx(among / samples)
    recalls = [np.mean([f for f, y in zip(first, labels, strict=True) if y == c]) for c in set(labels.tolist())]
    assert outcome.metrics["mean_per_class_recall"] == pytest.approx(np.mean(recalls))


def test_a_bad_model_is_no_disordered_one() -> None:
    """A model that guesses has its columns in no order; neither it nor five samples may be refused."""
    for seed in range(200):
        score(*ranked(seed, 500), 20)
    top5, _ = ranked(0, 5)
    score(top5, top5[:, 4], 20)


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<u2", "<i8", ">i8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_types_and_orders_do_not_matter(tmp_path: Path, dtype: str, order: str, save: object) -> None:
    top5, _ = ranked(1, 33)
    save(tmp_path / "e.npz", one=np.asarray(top5.astype(dtype), order=order))  # type: ignore[operator]
    found = read_predictions(tmp_path / "e.npz", {"one": TestSetShape(33, 20), "two": TestSetShape(4, 20)})
    assert list(found) == ["one"]
    assert found["one"].dtype == np.int64
    assert np.array_equal(found["one"], top5)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (ranked(2, 33)[0].T, "transposed"),
        (ranked(2, 34)[0], r"shape \(34, 5\) instead of \(33, 5\)"),
        (ranked(2, 10**5)[0], r"shape \(100000, 5\)"),
        (ranked(2, 33)[0].astype(float), "float64"),
        (ranked(2, 33)[0].astype("U3"), "<U3"),
        (ranked(2, 33)[0] - 1, "class -1 in row"),
        (ranked(2, 33)[0] + 1, "class 20 in row"),
        (np.zeros((33, 5), dtype=int), "twice in row 0"),
    ],
)
def test_wrong_arrays_are_refused_by_name(tmp_path: Path, array: np.ndarray, says: str) -> None:
    np.savez_compressed(tmp_path / "e.npz", one=array)
    with pytest.raises(PredictionsError, match=says):
        read_predictions(tmp_path / "e.npz", {"one": TestSetShape(33, 20), "other": TestSetShape(10**6, 20)})


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


def zipped(path: Path, *members: tuple[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def test_hostile_archives_are_refused(tmp_path: Path) -> None:
    good = npy(ranked(2, 33)[0])
    shape = {"one": TestSetShape(33, 20)}
    path = tmp_path / "e.npz"

    def refused(error: type[Exception], says: str) -> None:
        with pytest.raises(error, match=says):
            read_predictions(path, shape)

    objects = np.empty((33, 5), dtype=object)
    zipped(path, ("one.npy", npy(objects)))
    refused(PredictionsError, "pickled objects")
    zipped(path, ("one.npy", good + bytes(10**8)))
    refused(PredictionsError, "more than fit")
    zipped(path, ("one.npy", good[:-1]))
    refused(DataFormatError, "not as long as their header says")
    zipped(path, ("one.npy", good + b"x"))
    refused(DataFormatError, "not as long as their header says")
    zipped(path, ("one.npy", good[:6] + b"\x02\x00" + good[8:]))
    refused(DataFormatError, "more than 4096")
    zipped(path, ("../one.npy", good))
    refused(PredictionsError, "no test set '../one'")
    zipped(path, ("one.npy", good), kind=zipfile.ZIP_LZMA)
    refused(DataFormatError, "compressed in another way")
    zipped(path)
    refused(PredictionsError, "no test set")
    with pytest.warns(UserWarning, match="Duplicate name"):
        zipped(path, ("one.npy", good), ("one.npy", good))
    refused(PredictionsError, "twice")
    path.write_bytes(bytes(3 * 2**20))
    refused(DataFormatError, "more than")
    whole = zipped(path, ("one.npy", good)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(DataFormatError, "not an npz")
    path.unlink()
    refused(StorageError, "e.npz")


@given(st.binary(max_size=400), st.integers(0, 600), st.integers(0, 255))
def test_damage_never_ends_in_another_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, to: int
) -> None:
    path = tmp_path_factory.mktemp("damage") / "e.npz"
    whole = bytearray(zipped(path, ("one.npy", npy(ranked(2, 33)[0]))).read_bytes())
    whole[at % len(whole)] = to
    for content in (noise, bytes(whole), bytes(whole[:at])):
        path.write_bytes(content)
        try:
            found = read_predictions(path, {"one": TestSetShape(33, 20)})
        except (DataFormatError, PredictionsError):
            continue
        assert np.array_equal(found["one"], ranked(2, 33)[0])


def test_labels_are_checked_too() -> None:
    top5, labels = ranked(3, 6)
    with pytest.raises(LabelRangeError, match="sample 2 is 20"):
        score(top5, [0, 1, 20, 3, 4, 5], 20)
    with pytest.raises(LabelRangeError, match="sample 0 is -1"):
        score(top5, [-1, 1, 2, 3, 4, 5], 20)
    with pytest.raises(LabelRangeError, match="whole number"):
        score(top5, labels.astype(float), 20)
    with pytest.raises(EmptySetError):
        score(np.zeros((0, 5), dtype=int), np.zeros(0, dtype=int), 20)
    with pytest.raises(EmptySetError):
        check_top5(np.zeros((0, 5), dtype=int), TestSetShape(0, 20), "x")
