"""Sources that a stranger wrote, or that broke on the way: no file from elsewhere, no traceback, nothing left."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from competition.data.shards import read_samples
from competition.errors import DataCupError, DataFormatError, NotFoundError
from competition.evalsets.preparing.images import StoredImage
from competition.evalsets.preparing.prepare import PrepareOptions, PrepareReport, prepare_set
from competition.evalsets.preparing.recipes import Format
from tests.competition.evalsets.digits_folders import AUTHORS, TORCHVISION, Pen, elevater
from tests.conftest import ROOT

FEATURES = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
MEMES, GTSRB, KITTI = "genbench-hateful-memes", "genbench-gtsrb", "genbench-kitti-distance"


def prepare(name: str, source: Path, root: Path, kind: Format | None = None) -> PrepareReport:
    return prepare_set(name, root, PrepareOptions(source, kind, any_size=True))


def failing(name: str, source: Path, root: Path, kind: Format | None = None) -> DataCupError:
    """What is said of a source; nothing of it is left among the sets."""
    with pytest.raises(DataCupError) as failed:
        prepare(name, source, root, kind)
    assert "\n" not in failed.value.message
    assert failed.value.message.endswith(".")
    assert failed.value.hint
    assert not root.exists() or list(root.iterdir()) == []
    return failed.value


def png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(Pen().pixels()).save(stream, "PNG")
    return stream.getvalue()


def rows(folder: Path, entry: dict[str, object], *, saved: bool) -> Path:
    """Two images for each part, the last of them ``entry``."""
    folder.mkdir()
    own = {"bytes": png(), "path": None}
    made = {
        split: datasets.Dataset.from_dict({"image": [own, entry], "label": [0, 1]}, features=FEATURES)
        for split in ("train", "test")
    }
    if saved:
        datasets.DatasetDict(made).save_to_disk(str(folder))
        return folder
    for split, dataset in made.items():
        pq.write_table(dataset.with_format("arrow")[:], folder / f"{split}.parquet")
    return folder


@pytest.mark.parametrize("given", ["absolute", "above", "link"])
def test_an_image_of_a_row_is_never_a_file_from_elsewhere(given: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    name = {"absolute": str(secret), "above": "../secret.png", "link": "link.png"}[given]
    source = rows(tmp_path / "source", {"bytes": None, "path": name}, saved=False)
    if given == "link":
        (source / "link.png").symlink_to(secret)
    said = failing(MEMES, source, tmp_path / "sets", Format.HUGGING_FACE)
    assert isinstance(said, DataFormatError)
    assert f"is the file {name!r}, outside of {source}." in said.message


def test_an_image_of_a_row_may_be_a_file_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = rows(tmp_path / "source", {"bytes": None, "path": "images/a.png"}, saved=False)
    (source / "images").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png())  # the working directory is none of the source's folders
    said = failing(MEMES, source, tmp_path / "sets", Format.HUGGING_FACE)
    assert isinstance(said, NotFoundError)
    assert "'images/a.png', which is not in" in said.message
    (source / "images" / "a.png").write_bytes(png())
    prepare(MEMES, Path("source"), tmp_path / "sets", Format.HUGGING_FACE)
    samples = list(read_samples(tmp_path / "sets" / MEMES / "test" / "0.tar"))
    assert [sample.members["png"] for sample in samples] == [png(), png()]


def test_a_picture_of_winogavil_is_never_a_file_from_elsewhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    texts = datasets.Sequence(datasets.Value("string"))
    features = datasets.Features(
        {
            "cue": datasets.Value("string"),
            "candidates": texts,
            "associations": texts,
            "candidate_images": datasets.Sequence(datasets.Image()),
        }
    )
    pictures = [{"bytes": png(), "path": None}, {"bytes": None, "path": str(secret)}]
    row = {"cue": "x", "candidates": ["a", "b"], "associations": ["b"], "candidate_images": pictures}
    source = tmp_path / "source"
    source.mkdir()
    pq.write_table(datasets.Dataset.from_list([row], features=features).with_format("arrow")[:], source / "a.parquet")
    said = failing("winogavil", source, tmp_path / "sets")
    assert f"The image 'b' of instance 1 is the file {str(secret)!r}, outside of" in said.message


def test_parquet_files_leave_nothing_in_the_librarys_cache(tmp_path: Path) -> None:
    """In a process of its own: the library reads where its cache is when it is imported."""
    source = rows(tmp_path / "source", {"bytes": png(), "path": None}, saved=False)
    code = (
        "import sys; from pathlib import Path\n"
        "from competition.evalsets.preparing.prepare import PrepareOptions, prepare_set\n"
        "from competition.evalsets.preparing.recipes import Format\n"
        f"prepare_set({MEMES!r}, Path(sys.argv[2]), PrepareOptions(Path(sys.argv[1]), Format.HUGGING_FACE, "
        "any_size=True))"
    )
    words = [sys.executable, "-c", code, str(source), str(tmp_path / "sets")]
    environment = {"HF_HOME": str(tmp_path / "home"), "HOME": str(tmp_path / "home"), "PATH": ""}
    subprocess.run(words, check=True, cwd=ROOT, env=environment, capture_output=True)
    left = [path for path in (tmp_path / "home").rglob("*") if path.is_file() and path.stat().st_size]
    assert [path for path in left if path.suffix == ".arrow" or "datasets" in path.parts] == []
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == [MEMES, f"{MEMES}.lock.json"]
    assert sorted(path.name for path in source.iterdir()) == ["test.parquet", "train.parquet"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("dataset_dict.json", b"{"),
        ("dataset_dict.json", b"[]"),
        ("dataset_dict.json", b'{"splits": []}'),
        ("dataset_dict.json", b'{"splits": 3}'),
        ("dataset_dict.json", b'{"splits": ["absent"]}'),
        ("dataset_dict.json", b"[" * 100_000),
        ("dataset_dict.json", b"\xff\xfe"),
        ("test/state.json", b"no json"),
        ("test/state.json", b"[]"),
        ("test/dataset_info.json", b'{"features": 3}'),
        ("test/dataset_info.json", b'{"features": {"image": {"_type": "Nothing"}}}'),
        ("test/data-00000-of-00001.arrow", b"ARROW1\0\0" + b"\xff" * 100),
        ("test/data-00000-of-00001.arrow", b""),
    ],
)
def test_a_damaged_saved_dataset_is_one_sentence(file: str, content: bytes, tmp_path: Path) -> None:
    source = rows(tmp_path / "source", {"bytes": png(), "path": None}, saved=True)
    assert (source / file).exists()
    (source / file).write_bytes(content)
    assert str(source) in failing(MEMES, source, tmp_path / "sets", Format.HUGGING_FACE).message


@pytest.mark.parametrize("values", [["cat", "dog"], [None, 1], [0.5, 1.0], [{"a": 1}, {"a": 2}]], ids=str)
def test_labels_that_are_no_numbers_are_one_sentence(values: list[object], tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    images = [Image.fromarray(Pen().pixels())] * 2
    dataset = datasets.Dataset.from_dict({"image": images, "label": values})
    for split in ("train", "test"):
        dataset.to_parquet(str(tmp_path / "source" / f"{split}.parquet"))
    said = failing(MEMES, tmp_path / "source", tmp_path / "sets", Format.HUGGING_FACE)
    assert f"Image 0 of the dataset has {str(values[0])!r} instead of the number of a class." in said.message


def test_class_names_in_latin_1_are_one_sentence(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    elevater(source, Pen(), 43, ("train", "val", "test"), coco=False)
    (source / "labels.txt").write_bytes("Straße\n".encode("latin-1") * 43)
    assert f"{source / 'labels.txt'} is not UTF-8." in failing(GTSRB, source, tmp_path / "sets").message


def test_a_broken_member_of_a_zip_file_is_one_sentence(tmp_path: Path) -> None:
    """A deflated stream that is none: what zlib says is no error of the zip format."""
    source = tmp_path / "source"
    source.mkdir()
    elevater(source, Pen(), 43, ("train", "val", "test"), coco=False)
    with zipfile.ZipFile(source / "test.zip") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(source / "test.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        first = archive.infolist()[0]
    damaged = bytearray((source / "test.zip").read_bytes())
    start = first.header_offset + 30 + len(first.filename)
    damaged[start : start + 40] = b"\xff" * 40
    (source / "test.zip").write_bytes(damaged)
    assert f"does not give {first.filename!r}" in failing(GTSRB, source, tmp_path / "sets").message


def test_a_category_of_a_large_number_is_one_category(tmp_path: Path) -> None:
    """And not the last of a million million, whose names would fill the memory."""
    source = tmp_path / "source"
    source.mkdir()
    elevater(source, Pen(), 4, ("train", "val", "test"), coco=True)
    for part in ("train", "val", "test"):
        content = json.loads((source / f"{part}.json").read_text())
        content["categories"].append({"id": 10**12, "name": "far away"})
        (source / f"{part}.json").write_text(json.dumps(content))
    assert "has 5 classes instead of 4" in failing(KITTI, source, tmp_path / "sets").message


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"MATLAB 5.0 MAT-file" + b"\xff" * 500, b"cut off"])
def test_a_damaged_list_of_stanford_dogs_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    source = tmp_path / "source"
    AUTHORS["simcore-dogs"](source, Pen())
    path = source / "test_list.mat"
    path.write_bytes(path.read_bytes()[:300] if content == b"cut off" else content)
    assert f"{path} is no list of Stanford Dogs" in failing("simcore-dogs", source, tmp_path / "sets").message


@pytest.mark.parametrize("name", ["cars_meta.mat", "cars_train_annos.mat", "cars_test_annos_withlabels.mat"])
def test_a_damaged_list_of_torchvision_is_one_sentence(name: str, tmp_path: Path) -> None:
    TORCHVISION["StanfordCars"](tmp_path / "source", Pen())
    (path,) = (tmp_path / "source").rglob(name)
    for content in (b"", b"\0" * 200, path.read_bytes()[:150]):
        path.write_bytes(content)
        said = failing("simcore-cars", tmp_path / "source", tmp_path / "sets")
        assert "torchvision cannot read StanfordCars" in said.message


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of what it skips
def test_a_damaged_tiff_is_one_sentence() -> None:
    """One byte, the type of an entry, makes Pillow take a fraction for a number, and raise a TypeError."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(stream, "TIFF")
    raised = set()
    for position in range(len(stream.getvalue())):
        for value in (2, 5, 7):
            data = bytearray(stream.getvalue())
            data[position] = value
            try:
                StoredImage(bytes(data), "a.tif")
            except DataFormatError as error:
                raised.add((type(error.__cause__), "a.tif" in error.message))
    assert (TypeError, True) in raised
    assert {named for _, named in raised} == {True}
