"""WinoGAViL prepared from each form in which it is had: the same instances, every picture once, with its own bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from competition.data.shards import read_samples
from competition.errors import DataCupError, DataFormatError, NotFoundError, UsageError
from competition.evalsets.preparing.prepare import PrepareOptions, PrepareReport, prepare_set
from competition.evalsets.preparing.recipes import Format
from competition.evalsets.sources import EvaluationSet, Origin
from competition.evalsets.verify import Finding, verify_sets
from competition.evaluation.images import Preparation
from competition.evaluation.winogavil_set import load_winogavil

NAMES = ("wolf", "full moon", "st. bernard", "été", "ash", "plane")
INSTANCES = [
    {"cue": "Werewolf", "candidates": ["wolf", "plane", "full moon"], "associations": ["full moon", "wolf"]},
    {"cue": "grey, light", "candidates": ["ash", "été", "wolf", "st. bernard"], "associations": ["ash"]},
    {"cue": "dog", "candidates": ["st. bernard", "wolf"], "associations": ["wolf"]},
]
USED = sorted({str(name) for fields in INSTANCES for name in fields["candidates"]})


def jpg(name: str) -> bytes:
    random = np.random.default_rng(NAMES.index(name))
    stream = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def as_table(folder: Path) -> Path:
    """What the authors publish, with columns that nobody needs and a picture that no instance has."""
    (folder / "images").mkdir(parents=True)
    for name in NAMES:
        (folder / "images" / f"{name}.jpg").write_bytes(jpg(name))
    with (folder / "winogavil_dataset.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["candidates", "cue", "associations", "ID"])
        writer.writeheader()
        for number, fields in enumerate(INSTANCES):
            lists = {name: json.dumps(fields[name]) for name in ("candidates", "associations")}
            writer.writerow({"cue": fields["cue"], "ID": number, **lists})
    return folder


def dataset() -> datasets.Dataset:
    rows = [
        {**fields, "candidate_images": [{"bytes": jpg(name), "path": None} for name in fields["candidates"]]}
        for fields in INSTANCES
    ]
    texts = datasets.Sequence(datasets.Value("string"))
    features = datasets.Features(
        {
            "cue": datasets.Value("string"),
            "candidates": texts,
            "associations": texts,
            "candidate_images": datasets.Sequence(datasets.Image()),
        }
    )
    return datasets.Dataset.from_list(rows, features=features)


def as_parquet(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    dataset().to_parquet(folder / "data" / "test-00000-of-00001.parquet")
    return folder


def as_saved(folder: Path) -> Path:
    dataset().save_to_disk(str(folder))
    return folder


def as_saved_splits(folder: Path) -> Path:
    datasets.DatasetDict({"test": dataset()}).save_to_disk(str(folder))
    return folder


def prepare(source: Path, root: Path, **options: object) -> PrepareReport:
    return prepare_set("winogavil", root, PrepareOptions(source, any_size=True, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("publish", [as_table, as_parquet, as_saved, as_saved_splits])
def test_every_form_gives_the_same_set(publish: Callable[[Path], Path], tmp_path: Path) -> None:
    report = prepare(publish(tmp_path / "source"), tmp_path / "sets")
    folder = tmp_path / "sets" / "winogavil"
    stored = {
        sample.members["txt"].decode(): sample.members["jpg"] for sample in read_samples(folder / "test" / "0.tar")
    }
    assert stored == {name: jpg(name) for name in USED}
    assert list(stored) == USED
    assert report.images == {"test": len(USED)}
    found = load_winogavil(folder, Preparation(8))
    assert [
        (instance.cue, [USED[place] for place in instance.candidates], instance.associated.tolist())
        for instance in found.instances
    ] == [
        (fields["cue"], fields["candidates"], [name in fields["associations"] for name in fields["candidates"]])
        for fields in INSTANCES
    ]
    item = EvaluationSet("winogavil", Origin.ELSEWHERE, tasks=("winogavil",))
    assert [seen.finding for seen in verify_sets([item], tmp_path / "sets")] == [Finding.SOUND]


def test_the_same_instances_give_the_same_bytes(tmp_path: Path) -> None:
    digests = {
        prepare(publish(tmp_path / publish.__name__), tmp_path / f"{publish.__name__}-sets").lock.digest
        for publish in (as_table, as_parquet)
    }
    assert len(digests) == 1


def test_its_size_is_of_instances(tmp_path: Path) -> None:
    source = as_table(tmp_path / "source")
    with pytest.raises(DataFormatError, match="has 3 instances instead of 3,563"):
        prepare_set("winogavil", tmp_path / "sets", PrepareOptions(source))
    assert not list((tmp_path / "sets").glob("*"))


def no_row(folder: Path) -> None:
    (folder / "winogavil_dataset.csv").write_text("candidates,cue,associations\n")


def row(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "winogavil_dataset.csv").write_text("candidates,cue,associations\n" + text + "\n")


DAMAGE: dict[str, tuple[Callable[[Path], object], type[DataCupError], str]] = {
    "no image": (lambda folder: (folder / "images" / "wolf.jpg").unlink(), NotFoundError, "1 images .* 'wolf'"),
    "two images": (lambda folder: (folder / "wolf.png").write_bytes(b""), DataFormatError, "both called 'wolf'"),
    "broken image": (
        lambda folder: (folder / "images" / "wolf.jpg").write_bytes(b"nothing"),
        DataFormatError,
        r"wolf\.jpg is no image",
    ),
    "no row": (no_row, DataFormatError, "holds no instance"),
    "no table": (lambda folder: (folder / "winogavil_dataset.csv").unlink(), NotFoundError, "holds neither"),
    "no list": (row("wolf,cue,wolf"), DataFormatError, "Row 1 of .* has no list of candidates"),
    "numbers": (row("[1],cue,[1]"), DataFormatError, "has no list of candidates"),
    "no cue": (row('"[""wolf""]",,"[""wolf""]"'), DataFormatError, "has no cue"),
    "twice": (row('"[""wolf"",""wolf""]",x,"[""wolf""]"'), DataFormatError, "one of its candidates twice"),
    "strange": (row('"[""wolf""]",x,"[""ash""]"'), DataFormatError, "association 'ash', which is no candidate"),
    "no association": (row('"[""wolf""]",x,[]'), DataFormatError, "has no list of associations"),
    "long cell": (row("[" * 200_000), DataFormatError, "is no table"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_said_and_leaves_no_set(damage: str, tmp_path: Path) -> None:
    source = as_table(tmp_path / "source")
    harm, kind, says = DAMAGE[damage]
    harm(source)
    with pytest.raises(kind, match=says):
        prepare(source, tmp_path / "sets")
    assert not (tmp_path / "sets" / "winogavil").exists()
    assert not list((tmp_path / "sets").glob("*.lock.json"))


def test_datasets_that_are_none(tmp_path: Path) -> None:
    folder = as_parquet(tmp_path / "a")
    (file,) = (folder / "data").glob("*.parquet")
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(DataFormatError, match="cannot be read"):
        prepare(folder, tmp_path / "sets")
    dataset().remove_columns("candidate_images").save_to_disk(str(tmp_path / "b"))
    with pytest.raises(DataFormatError, match="no column 'candidate_images'"):
        prepare(tmp_path / "b", tmp_path / "sets")
    datasets.DatasetDict({"train": dataset()}).save_to_disk(str(tmp_path / "c"))
    with pytest.raises(NotFoundError, match="no split 'test'; it has train"):
        prepare(tmp_path / "c", tmp_path / "sets")
    fewer = dataset().map(lambda fields: {"candidates": [*fields["candidates"], "one more"]})
    fewer.save_to_disk(str(tmp_path / "d"))
    with pytest.raises(DataFormatError, match=r"Instance \d of .* has \d images"):
        prepare(tmp_path / "d", tmp_path / "sets")
    with pytest.raises(NotFoundError, match="is no folder"):
        prepare(tmp_path / "e", tmp_path / "sets")


def test_options_that_are_of_other_sets(tmp_path: Path) -> None:
    source = as_table(tmp_path / "source")
    for options in ({"format": Format.ELEVATER}, {"download": True}, {"templates": source}):
        with pytest.raises(UsageError):
            prepare(source, tmp_path / "sets", **options)
