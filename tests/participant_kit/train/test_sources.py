"""Training data of every kind: what is read is what was written, and what does not fit is said in one sentence."""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - what a spawned worker does with a source
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from competition.data.digests import file_sha256
from competition.errors import DataCupError, DataFormatError, TrainingError, UsageError
from participant_kit.train.data.choice import DataChoice, open_data
from participant_kit.train.data.parquet_files import training_files
from participant_kit.train.data.source import RawSample, TrainingSet
from tests.participant_kit.train.conftest import MakeShards, make_recipe, make_sample, train_on

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:datasets.*")

CLASSES = ("ape", "bee", "cat")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets_cache")
    monkeypatch.setenv("DATACUP_CACHE", str(tmp_path / "datacup_cache"))


def opened(folder: Path | str) -> TrainingSet:
    return open_data(DataChoice.parse(str(folder)), Path("/nowhere"), 2, lambda _progress: None)


def samples_of(data: TrainingSet) -> list[RawSample]:
    return [data.read(index) for index in range(len(data))]


def image(number: int) -> bytes:
    return make_sample(number).members["jpg"]


def caption(number: int) -> bytes:
    return make_sample(number).members["txt"]


def rows(count: int = 30) -> dict[str, list[object]]:
    return {
        "image": [{"bytes": image(number), "path": None} for number in range(count)],
        "label": [number % 3 for number in range(count)],
        "text": [caption(number).decode() for number in range(count)],
        "uid": [f"{number:032x}" for number in range(count)],
    }


def dataset(count: int = 30, **changes: list[object]) -> datasets.Dataset:
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=list(CLASSES)),
        "text": datasets.Value("string"),
        "uid": datasets.Value("string"),
    }
    return datasets.Dataset.from_dict(rows(count) | changes, features=datasets.Features(features))


def image_folder(folder: Path, count: int = 30) -> Path:
    for number in range(count):
        path = folder / CLASSES[number % 3] / ("deep" if number % 2 else "") / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(number))
        path.with_suffix(".txt").write_bytes(caption(number))
    return folder


def saved(folder: Path) -> Path:
    dataset().save_to_disk(folder, num_shards=2)
    return folder


def parquet(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    for number in range(2):
        part = dataset().select(range(number * 15, number * 15 + 15))
        part.to_parquet(folder / "data" / f"train-{number:05}-of-00002.parquet")
    dataset(3).to_parquet(folder / "data" / "test-00000-of-00001.parquet")
    return folder


KINDS: dict[str, Callable[[Path], Path]] = {"classes": image_folder, "saved": saved, "parquet": parquet}


def test_an_image_folder_is_read_as_torchvision_numbers_it(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    folder = image_folder(tmp_path / "data")
    (folder / "ape" / ".hidden.jpg").write_bytes(b"x")
    (folder / "bee" / "notes.md").write_bytes(b"x")
    (folder / ".cache").mkdir()
    (folder / "cat" / "002.txt").unlink()
    data = opened(folder)
    # torchvision has no rule for hidden files: it takes them for images, and hidden folders for classes.
    (folder / "ape" / ".hidden.jpg").unlink()
    (folder / ".cache").rmdir()
    theirs = ImageFolder(str(folder)).samples
    ours = samples_of(data)
    assert {(raw.image, raw.label) for raw in ours} == {(Path(path).read_bytes(), label) for path, label in theirs}
    assert [part.name for part in data.parts] == list(CLASSES)
    assert [part.samples for part in data.parts] == [10, 10, 10]
    captions = {raw.image: raw.caption for raw in ours}
    assert [captions[image(number)] for number in range(30)] == [
        None if number == 2 else caption(number) for number in range(30)
    ]


def test_equal_images_of_a_folder_are_copies(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "data")
    shutil.copy(folder / "ape" / "000.jpg", folder / "cat" / "again.jpg")
    identities = opened(folder).identities
    assert (len(identities), len(set(identities.tolist()))) == (31, 30)


@pytest.mark.parametrize("kind", ["saved", "parquet"])
def test_a_hugging_face_dataset_is_read_as_it_was_written(tmp_path: Path, kind: str) -> None:
    data = opened(KINDS[kind](tmp_path / "data"))
    assert samples_of(data) == [RawSample(image(number), caption(number), number % 3) for number in range(30)]
    assert data.identities.tolist() == list(range(30))
    assert [part.samples for part in data.parts] == [15, 15]
    files = {path.name: file_sha256(path) for path in (tmp_path / "data").rglob("*.*") if path.suffix != ".json"}
    assert all(part.sha256 == files[Path(part.name).name] for part in data.parts)
    assert "row 1 of" in data.describe(16)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_trains_with_worker_processes_and_is_named_in_the_report(tmp_path: Path, kind: str) -> None:
    folder = KINDS[kind](tmp_path / "data")
    report = train_on(make_recipe(steps=2), [folder], tmp_path / "out", "run", workers=2)
    assert (report.steps, report.data.samples, report.data.corrupt_samples) == (2, 30, 0)
    assert [part.name for part in report.data.parts] == [part.name for part in opened(folder).parts]


@pytest.mark.parametrize("kind", list(KINDS))
def test_pickled_after_reading_a_source_reads_the_same(tmp_path: Path, kind: str) -> None:
    source = opened(KINDS[kind](tmp_path / "data")).sources[0]
    first = source.read(7)
    packed = pickle.dumps(source)
    assert len(packed) < 10_000, "images and tables stay behind"
    assert pickle.loads(packed).read(7) == first


def test_copies_are_known_across_kinds_by_their_uid(tmp_path: Path, shards: MakeShards) -> None:
    data = opened(f"{shards()}::{saved(tmp_path / 'data')}")
    assert len(data) == 60
    assert len(set(data.identities.tolist())) == 30


def _sha256(value: object) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return sha256(content).hexdigest()


def _digest_in_words(folder: Path) -> str:
    """Over the classes' (name, digest), and these over their files' (name, sha256), both sorted."""
    classes = sorted(folder.iterdir())
    files = {each.name: sorted([path.name, _sha256(path.read_bytes())] for path in each.iterdir()) for each in classes}
    return _sha256([[name, _sha256(pairs)] for name, pairs in files.items()])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(12)), changed=st.integers(0, 11))
def test_a_folders_digest_depends_on_content_alone(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], changed: int
) -> None:
    """In whatever order files were made; a byte more in any image, or in any caption, is another digest."""
    folder = tmp_path_factory.mktemp("folder")
    for number in order:
        path = folder / CLASSES[number % 3] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"image %d" % number)
        path.with_suffix(".txt").write_bytes(b"caption %d" % number)
    digest = opened(folder).digest
    assert digest == _digest_in_words(folder)
    for suffix in (".png", ".txt"):
        path = folder / CLASSES[changed % 3] / f"{changed}{suffix}"
        before = path.read_bytes()
        path.write_bytes(before + b"!")
        assert opened(folder).digest != digest
        path.write_bytes(before)
    path.rename(path.with_name("other.txt"))
    assert opened(folder).digest != digest


def test_rows_without_uid_are_told_apart_and_columns_of_other_names_are_found(tmp_path: Path) -> None:
    """As CIFAR-100 names its columns; an unlabelled row is -1 there, and a lost image is null."""
    table = pa.table(
        {
            "img": pa.array([image(0), None, image(2)], type=pa.binary()),
            "fine_label": pa.array([5, -1, None], type=pa.int32()),
            "json": pa.array([{"uid": "a" * 32}, {"uid": None}, {"uid": "not hex"}]),
        }
    )
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "any.parquet")
    data = opened(tmp_path / "data")
    assert samples_of(data) == [RawSample(image(0), None, 5), RawSample(None), RawSample(image(2))]
    assert len(set(data.identities.tolist())) == 3
    assert data.identities[0] == 0, "both halves of the uid are equal"


def by_path(folder: Path, path: str) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "1.jpg").write_bytes(image(1))
    column = [{"bytes": image(0), "path": "0.jpg"}, {"bytes": None, "path": path}]
    pq.write_table(pa.table({"image": column}), folder / "any.parquet")
    return folder


def test_an_image_by_path_is_read_and_counts_for_the_digest(tmp_path: Path) -> None:
    folder = by_path(tmp_path / "data", "images/1.jpg")
    before = opened(folder)
    assert [raw.image for raw in samples_of(before)] == [image(0), image(1)]
    (folder / "images" / "1.jpg").write_bytes(image(2))
    assert opened(folder).digest != before.digest


@pytest.mark.parametrize("path", ["../secret.jpg", "/etc/hostname", "images/../../secret.jpg", "images/link.jpg"])
def test_an_image_by_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(image(9))
    folder = by_path(tmp_path / "data", path)
    (folder / "images" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(DataFormatError, match="outside of that folder"):
        opened(folder)


def _empty(folder: Path) -> None:
    folder.mkdir()


def _empty_class(folder: Path) -> None:
    image_folder(folder)
    (folder / "dog").mkdir()


def _other_format(folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(image_folder(folder) / "ape" / "x.bmp")


def _link_out(folder: Path) -> None:
    (folder.parent / "secret.jpg").write_bytes(image(9))
    (image_folder(folder) / "ape" / "x.jpg").symlink_to(folder.parent / "secret.jpg")


def _linked_class(folder: Path) -> None:
    image_folder(folder.parent / "elsewhere")
    folder.mkdir()
    (folder / "ape").symlink_to(folder.parent / "elsewhere" / "ape")


def _splits(folder: Path) -> None:
    image_folder(folder / "train")
    image_folder(folder / "val")


def _two_kinds(folder: Path) -> None:
    image_folder(folder)
    (folder / "00000000.tar").write_bytes(b"")


def _cut_tar(folder: Path) -> None:
    from competition.data.shards import write_shard

    folder.mkdir()
    write_shard(folder, 0, [make_sample(number) for number in range(10)])
    _cut(folder / "00000000.tar")


def _no_images(folder: Path) -> None:
    folder.mkdir()
    pq.write_table(pa.table({"text": ["a"], "size": [1]}), folder / "a.parquet")


def _two_image_columns(folder: Path) -> None:
    folder.mkdir()
    pq.write_table(pa.table({"left": [b"a"], "right": [b"b"]}), folder / "a.parquet")


def _no_rows(folder: Path) -> None:
    folder.mkdir()
    pq.write_table(pa.table({"image": pa.array([], type=pa.binary())}), folder / "a.parquet")


def _two_schemas(folder: Path) -> None:
    folder.mkdir()
    pq.write_table(pa.table({"image": [b"a"], "label": [1]}), folder / "a.parquet")
    pq.write_table(pa.table({"image": [b"a"]}), folder / "b.parquet")


def _cut_parquet(folder: Path) -> None:
    _cut(parquet(folder) / "data" / "train-00001-of-00002.parquet")


def _damaged_parquet(folder: Path) -> None:
    """The footer is whole, the pages are not."""
    path = parquet(folder) / "data" / "train-00001-of-00002.parquet"
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)


def _cut_arrow(folder: Path) -> None:
    _cut(saved(folder) / "data-00001-of-00002.arrow")


def _state_out(folder: Path) -> None:
    path = saved(folder) / "state.json"
    path.write_text(path.read_text().replace("data-00000", "../data-00000"))


def _broken_state(folder: Path) -> None:
    (saved(folder) / "state.json").write_text("{")


def _pool(folder: Path) -> None:
    (folder / "metadata").mkdir(parents=True)
    pq.write_table(pa.table({"uid": ["a"]}), folder / "metadata" / "00000000.parquet")
    _cut_tar(folder / "shards")


def _dictionary(folder: Path) -> None:
    datasets.DatasetDict({"train": dataset(3)}).save_to_disk(folder)


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder: None, TrainingError, "There is no folder .*data"),
        (_empty, TrainingError, "holds no training data"),
        (_empty_class, DataFormatError, "class folder .*dog holds no image"),
        (_other_format, DataFormatError, r"x\.bmp is of a format that is not read"),
        (_link_out, DataFormatError, r"x\.jpg is a link"),
        (_linked_class, DataFormatError, "ape is a link"),
        (_splits, DataFormatError, r"are splits \(train, val\), not classes"),
        (_two_kinds, TrainingError, r"shards \(\*\.tar\) and class folders of images: it is ambiguous"),
        (_cut_tar, DataFormatError, r"00000000\.tar"),
        (_no_images, DataFormatError, r"No column holds images in .*: text \(string\), size \(int64\)"),
        (_two_image_columns, DataFormatError, "Several columns hold images"),
        (_no_rows, TrainingError, "has no rows"),
        (_two_schemas, DataFormatError, "cannot be read as one table"),
        (_cut_parquet, DataFormatError, r"train-00001-of-00002\.parquet cannot be read"),
        (_damaged_parquet, DataFormatError, "cannot be read as one table"),
        (_cut_arrow, DataFormatError, r"data-00001-of-00002\.arrow cannot be read"),
        (_state_out, DataFormatError, "lists files outside"),
        (_broken_state, DataFormatError, "does not list data files"),
        (_pool, TrainingError, "is a pool"),
        (_dictionary, TrainingError, "one a split"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(
    tmp_path: Path, make: Callable[[Path], None], error: type[DataCupError], message: str
) -> None:
    make(tmp_path / "data")
    with pytest.raises(error, match=message) as caught:
        opened(tmp_path / "data")
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_parquet_files_named_as_shards_are_the_shards_metadata(shards: MakeShards) -> None:
    """img2dataset writes one beside every tar; what lies in folders below is no rival either."""
    folder = shards()
    (folder / "metadata").mkdir()
    pq.write_table(pa.table({"url": ["x"]}), folder / "metadata" / "other.parquet")
    pq.write_table(pa.table({"url": ["x"]}), folder / "00000000.parquet")
    assert len(opened(folder)) == 30


@pytest.mark.parametrize(
    ("paths", "chosen"),
    [
        (["b.parquet", "a.parquet", "README.md"], ["a.parquet", "b.parquet"]),
        (["data/train-0-of-1.parquet", "data/test-0-of-1.parquet"], ["data/train-0-of-1.parquet"]),
        (["plain_text/train.parquet", "plain_text/validation.parquet"], ["plain_text/train.parquet"]),
        (["training-images.parquet", ".cache/x.parquet"], ["training-images.parquet"]),
    ],
)  # fmt: skip
def test_of_splits_the_training_files_are_taken(paths: list[str], chosen: list[str]) -> None:
    assert training_files(paths, "here") == chosen


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "no parquet files"),
        (["a/b/c.parquet"], "no parquet files"),
        (["a/x.parquet", "b/x.parquet"], "several configurations: a, b"),
        (["test.parquet", "val.parquet"], "the splits test, val, and no `train`"),
    ],
)
def test_files_that_cannot_be_told_apart_are_refused(paths: list[str], message: str) -> None:
    with pytest.raises(DataFormatError, match=message):
        training_files(paths, "here")


def test_a_name_that_is_none_of_the_hubs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not name a dataset"):
        opened("hf:only-a-name")


def test_bytes_that_are_no_image_are_corrupt_and_named(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "data")
    (folder / "bee" / "deep" / "001.jpg").write_bytes(b"no image")
    with pytest.raises(TrainingError, match=r"bee/deep/001\.jpg"):
        train_on(make_recipe(steps=4), [folder], tmp_path / "out", "run")
