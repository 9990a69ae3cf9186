"""Sets of captions and of several classes an image, from tiny files of the kinds that are published."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from competition.data.shards import Sample, read_samples
from competition.errors import DataCupError, DataFormatError, NotFoundError
from competition.evalsets.preparing.prepare import PrepareOptions, PrepareReport, prepare_set
from competition.evalsets.preparing.recipes import Format
from competition.evaluation.images import Preparation
from competition.evaluation.sets import load_retrieval
from tests.competition.evalsets.digits_folders import Pen

FLICKR = "flickr_1k_test_image_text_retrieval"
COCO = "mscoco_2014_5k_test_image_text_retrieval"
VOC = "genbench-voc-2007-classification"
CAPTIONS = [("b.jpg", ["A cat, asleep.", "Two\ncats."]), ("a.jpg", ["A dög."]), ("c.jpg", ["x", "y", "z"])]


def prepare(name: str, source: Path, root: Path, kind: Format | None = None) -> PrepareReport:
    return prepare_set(name, root, PrepareOptions(source, kind, any_size=True))


def samples(folder: Path, part: str = "test") -> list[Sample]:
    return list(read_samples(folder / part / "0.tar"))


def zipped(source: Path, archive: str, below: str, names: list[str], pen: Pen) -> dict[str, bytes]:
    """Images in a zip file, and their bytes."""
    found = {}
    with zipfile.ZipFile(source / archive, "w") as stream:
        for name in names:
            path = pen.write(source.parent / "made" / name)
            found[name] = path.read_bytes()
            stream.write(path, f"{below}/{name}")
            stream.writestr(f"__MACOSX/{below}/._{name}", b"resource")
    return found


def table(source: Path, rows: list[tuple[str, list[str]]], *, python: bool = False) -> Path:
    """As the Hub's repositories of nlphuji have it."""
    path = source / "test_1k_flickr.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["raw", "sentids", "split", "filename", "img_id"])
        for number, (name, captions) in enumerate(rows):
            writer.writerow([repr(captions) if python else json.dumps(captions), "[1]", "test", name, number])
    return path


def karpathy(source: Path, rows: list[tuple[str, list[str]]]) -> Path:
    path = source / "dataset_coco.json"
    images = [
        {"filename": name, "filepath": "val2014", "split": split, "sentences": [{"raw": text} for text in captions]}
        for split in ("test", "train")
        for name, captions in (rows if split == "test" else [("absent.jpg", ["Not read."])])
    ]
    path.write_text(json.dumps({"dataset": "coco", "images": images}))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.mark.parametrize("python", [False, True], ids=["json", "python"])
def test_captions_of_a_table_with_images_in_a_zip_file(source: Path, tmp_path: Path, python: bool) -> None:
    images = zipped(source, "images_flickr_1k_test.zip", "images_flickr_1k_test", ["a.jpg", "b.jpg", "c.jpg"], Pen())
    table(source, CAPTIONS, python=python)
    report = prepare(FLICKR, source, tmp_path / "sets")
    assert dict(report.images) == {"test": 3}
    found = samples(tmp_path / "sets" / FLICKR)
    assert [sample.members["jpg"] for sample in found] == [images[name] for name, _ in CAPTIONS]
    loaded = load_retrieval(tmp_path / "sets" / FLICKR, Preparation(8))
    assert loaded.captions == (("A cat, asleep.", "Two cats."), ("A dög.",), ("x", "y", "z"))


@pytest.mark.parametrize("unpacked", ["", ".", "images"], ids=["zip", "folder", "folder below"])
def test_captions_of_karpathys_test_split_alone(source: Path, tmp_path: Path, unpacked: str) -> None:
    images = zipped(source, "val2014.zip", "val2014", ["a.jpg", "b.jpg", "c.jpg"], Pen())
    if unpacked:
        with zipfile.ZipFile(source / "val2014.zip") as archive:
            archive.extractall(source / unpacked)
        (source / "val2014.zip").unlink()
    karpathy(source, CAPTIONS)
    prepare(COCO, source, tmp_path / "sets", Format.KARPATHY)
    found = samples(tmp_path / "sets" / COCO)
    assert [sample.members["jpg"] for sample in found] == [images[name] for name, _ in CAPTIONS]
    assert [sample.members["txt"].decode() for sample in found] == ["A cat, asleep.\nTwo cats.", "A dög.", "x\ny\nz"]
    assert (tmp_path / "sets" / COCO / "dataset_type.txt").read_text() == "retrieval\n"
    assert not (tmp_path / "sets" / COCO / "classnames.txt").exists()


ROWS: dict[str, tuple[int, tuple[str, list[str]]]] = {
    "outside": (1, ("../../secret.jpg", ["x"])),
    "absolute": (1, ("/etc/hostname", ["x"])),
    "twice": (2, CAPTIONS[0]),
    "no caption": (1, ("a.jpg", [])),
    "empty caption": (1, ("a.jpg", ["  "])),
    "no image": (1, ("d.jpg", ["x"])),
}
TABLES: dict[str, Callable[[bytes], bytes]] = {
    "truncated table": lambda content: content[: content.index(b"A d")],
    "no column": lambda content: content.replace(b"filename", b"file"),
    "no text": lambda content: content.replace(b"A d", b"\xff\xfe\xff"),
}


def _damaged_zip(archive: Path, damage: str) -> None:
    whole = archive.read_bytes()
    if damage == "truncated zip":
        archive.write_bytes(whole[:-100])
    elif damage == "damaged member":
        with zipfile.ZipFile(archive) as opened:
            start = opened.getinfo("images_flickr_1k_test/a.jpg").header_offset + 100
        archive.write_bytes(whole[:start] + bytes(40) + whole[start + 40 :])
    elif damage == "two members":
        with zipfile.ZipFile(archive, "a") as opened:
            opened.writestr("other/a.jpg", b"image")


def _damaged_captions(source: Path, damage: str) -> None:
    rows = list(CAPTIONS)
    if damage in ROWS:
        place, row = ROWS[damage]
        rows[place] = row
    path = table(source, rows)
    content = path.read_bytes()
    if damage in TABLES:
        path.write_bytes(TABLES[damage](content))
    elif damage == "no table":
        path.unlink()
    elif damage == "two tables":
        (source / "other.csv").write_bytes(content)
    _damaged_zip(source / "images_flickr_1k_test.zip", damage)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("outside", "outside of its folder"),
        ("absolute", "outside of its folder"),
        ("twice", "lists the image 'b.jpg' twice"),
        ("no caption", "has no caption"),
        ("empty caption", "has an empty caption"),
        ("no image", "'d.jpg' is neither in a folder nor in a zip file"),
        ("truncated table", "holds no captions of images, or is not whole"),
        ("no column", "'filename' is missing"),
        ("no text", "holds no captions of images"),
        ("no table", "does not hold *.csv"),
        ("two tables", "holds 2 files *.csv"),
        ("truncated zip", "is no zip file, or not a whole one"),
        ("damaged member", "does not give 'images_flickr_1k_test/a.jpg'"),
        ("two members", "has two members 'a.jpg'"),
    ],
)
def test_what_is_wrong_with_captions_is_said_and_nothing_is_left(
    source: Path, tmp_path: Path, damage: str, words: str
) -> None:
    zipped(source, "images_flickr_1k_test.zip", "images_flickr_1k_test", ["a.jpg", "b.jpg", "c.jpg"], Pen())
    (tmp_path / "secret.jpg").write_bytes((tmp_path / "made" / "a.jpg").read_bytes())
    _damaged_captions(source, damage)
    with pytest.raises(DataCupError) as failed:
        prepare(FLICKR, source, tmp_path / "sets")
    assert isinstance(failed.value, DataFormatError | NotFoundError)
    assert words in failed.value.message
    assert not (tmp_path / "sets").exists() or list((tmp_path / "sets").iterdir()) == []


@pytest.mark.parametrize("cut", [0, 40, -3])
def test_a_truncated_json_is_said_to_be_that(source: Path, tmp_path: Path, cut: int) -> None:
    path = karpathy(source, CAPTIONS)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataFormatError, match="or is not whole"):
        prepare(COCO, source, tmp_path / "sets", Format.KARPATHY)


def test_captions_of_the_datasets_library(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    pen = Pen()
    rows = [Image.fromarray(pen.pixels()) for _ in CAPTIONS]
    features = datasets.Features({"image": datasets.Image(), "caption": [datasets.Value("string")]})
    made = datasets.Dataset.from_dict({"image": rows, "caption": [texts for _, texts in CAPTIONS]}, features=features)
    made.to_parquet(str(source / "test-00000-of-00001.parquet"))
    prepare(FLICKR, source, tmp_path / "sets", Format.HUGGING_FACE)
    loaded = load_retrieval(tmp_path / "sets" / FLICKR, Preparation(8))
    assert loaded.captions[0] == ("A cat, asleep.", "Two cats.")
    assert np.array_equal(loaded.images, np.stack([np.asarray(row) for row in rows]))

    whole = source / "test-00000-of-00001.parquet"
    whole.write_bytes(whole.read_bytes()[:-50])
    with pytest.raises(DataFormatError, match="cannot be read") as failed:
        prepare(FLICKR, source, tmp_path / "again", Format.HUGGING_FACE)
    assert "\n" not in failed.value.message


def voc(source: Path, pen: Pen) -> dict[str, tuple[int, ...]]:
    """VOCdevkit with 20 classes; the image n of a split shows the classes n and n + 1, the latter hard to make out."""
    base = source / "VOCdevkit" / "VOC2007"
    known = {}
    for start, split in ((0, "train"), (100, "val"), (200, "test")):
        names = {f"{start + n:06d}": tuple(sorted({n, (n + 1) % 20})) for n in range(20)}
        known |= names
        for name in names:
            pen.write(base / "JPEGImages" / f"{name}.jpg")
        for c in range(20):
            mark = {n: "1" if n == c else "0" if (n + 1) % 20 == c else "-1" for n in range(20)}
            path = base / "ImageSets" / "Main" / f"class{chr(97 + c)}_{split}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{start + n:06d} {mark[n]:>2}\n" for n in range(20)))
    return known


def test_voc_with_all_classes_of_an_image_from_its_authors_folder(source: Path, tmp_path: Path) -> None:
    known = voc(source, Pen())
    report = prepare(VOC, source, tmp_path / "sets", Format.VOC_2007)
    assert dict(report.images) == {"train": 20, "val": 20, "test": 20}
    names = (tmp_path / "sets" / VOC / "classnames.txt").read_text().splitlines()
    assert names == [f"class{chr(97 + c)}" for c in range(20)]
    for part, start in (("train", 0), ("val", 100), ("test", 200)):
        found = samples(tmp_path / "sets" / VOC, part)
        for n, sample in enumerate(found):
            image = source / "VOCdevkit" / "VOC2007" / "JPEGImages" / f"{start + n:06d}.jpg"
            assert sample.members["jpg"] == image.read_bytes()
            assert sample.members["cls"] == " ".join(map(str, known[f"{start + n:06d}"])).encode()


LINES = {
    "line": ("000003", "000003 x"),
    "outside": ("000003", "../../3"),
    "twice": ("000002", "000001"),
    "other images": ("000003", "000303"),
}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("line", "is not an image and 1, 0 or -1"),
        ("outside", "is not an image and 1, 0 or -1"),
        ("twice", "lists the image 000001 twice"),
        ("other images", "is not of the images that"),
        ("no class", "shows no class"),
        ("no image", "000005.jpg is not there"),
        ("no list", "_val.txt is not there"),
        ("a class", "has 19 classes instead of 20"),
    ],
)
def test_what_is_wrong_with_vocs_lists_is_said(source: Path, tmp_path: Path, damage: str, words: str) -> None:
    voc(source, Pen())
    lists = source / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main"
    if damage in LINES:
        second = lists / "classb_train.txt"
        second.write_text(second.read_text().replace(*LINES[damage]))
    elif damage == "no class":
        for path in lists.glob("*_train.txt"):
            path.write_text(path.read_text().replace("000003  1", "000003 -1").replace("000003  0", "000003 -1"))
    elif damage == "no image":
        (lists.parents[1] / "JPEGImages" / "000005.jpg").unlink()
    elif damage == "no list":
        (lists / "classc_val.txt").unlink()
    else:
        for path in lists.glob("*"):  # what showed the last class alone shows another one
            path.write_text(path.read_text().replace("-1", " 1"))
        for path in lists.glob("classt_*"):
            path.unlink()
    with pytest.raises((DataFormatError, NotFoundError)) as failed:
        prepare(VOC, source, tmp_path / "sets", Format.VOC_2007)
    assert words in failed.value.message
    assert not (tmp_path / "sets" / VOC).exists()


@pytest.mark.parametrize("coco", [False, True], ids=["txt", "json"])
def test_elevaters_index_of_several_classes(source: Path, tmp_path: Path, coco: bool) -> None:
    pen = Pen()
    classes: list[tuple[int, ...]] = [(3,), (0, 19), (7, 2, 11), ()]
    for part in ("train", "val", "test"):
        images = zipped(source, f"{part}.zip", "VOC2007", [f"{n}.jpg" for n in range(4)], pen)
        if coco:
            index = {
                "categories": [{"id": 10 * (c + 1), "name": f"thing {c}"} for c in reversed(range(20))],
                "images": [
                    {"id": n + 1, "file_name": f"VOC2007/{n}.jpg", "zip_file": f"{part}.zip"} for n in (2, 3, 0, 1)
                ],
                "annotations": [
                    {"id": 1, "image_id": n + 1, "category_id": 10 * (c + 1)}
                    for n, found in enumerate(classes)
                    for c in found
                ],
            }
            (source / f"{part}_ic.json").write_text(json.dumps(index))
        else:
            lines = [f"{part}.zip@VOC2007/{n}.jpg {','.join(map(str, found))}" for n, found in enumerate(classes)]
            (source / f"{part}_ic.txt").write_text("\n".join(lines))
            (source / f"{part}.txt").write_text("boxes of another task")
    prepare(VOC, source, tmp_path / "sets")
    found = samples(tmp_path / "sets" / VOC)
    assert [sample.members["cls"] for sample in found] == [b"3", b"0 19", b"2 7 11", b"-"]
    assert [sample.members["jpg"] for sample in found] == [images[f"{n}.jpg"] for n in range(4)]
    assert (tmp_path / "sets" / VOC / "dataset_type.txt").read_text() == "multilabel\n"
    names = (tmp_path / "sets" / VOC / "classnames.txt").read_text().splitlines()
    assert names == [f"thing {c}" if coco else str(c) for c in range(20)]
