"""Decoded sets: read once, known again without being read, and never taken for another set."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from competition.data.shards import Sample, write_samples
from competition.errors import EvaluationError
from competition.evaluation import known_digests
from competition.evaluation.decoding import decoded_shards
from competition.evaluation.images import Preparation
from competition.evaluation.sets import load_classification, load_retrieval
from tests.competition.evaluation.test_sets import encoded


class OpenedTars:
    """Counts every opening of a tar in this process, by Python's own audit events (a hook cannot be removed again)."""

    def __init__(self) -> None:
        self.count, self.listening = 0, False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.listening and event == "open" and str(arguments[0]).endswith(".tar"):
            self.count += 1


_OPENED = OpenedTars()


@pytest.fixture
def opened() -> Iterator[OpenedTars]:
    _OPENED.count, _OPENED.listening = 0, True
    yield _OPENED
    _OPENED.listening = False


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, so that a test need not wait two seconds."""
    monkeypatch.setattr(known_digests, "_SETTLED_NANOSECONDS", -(10**18))


def make_set(folder: Path, images: int = 70, seed: int = 0, kind: str = "cls") -> Path:
    """Two shards of PNGs of odd sizes; ``kind`` is ``cls`` or ``txt``, of captions that are all different."""
    (folder / "test").mkdir(parents=True, exist_ok=True)
    (folder / "test" / "nshards.txt").write_text("2")
    (folder / "classnames.txt").write_text("cat\ndog")
    (folder / "zeroshot_classification_templates.txt").write_text("a {c}")
    (folder / "dataset_type.txt").write_text("retrieval")
    for number, part in enumerate(np.array_split(np.arange(images), 2)):
        samples = [
            Sample(
                f"s{i}",
                {
                    "png": encoded((9 + i % 7, 11), seed=seed + i),
                    kind: (str(i % 2) if kind == "cls" else f"picture {i}").encode(),
                },
            )
            for i in part.tolist()
        ]
        write_samples(folder / "test" / f"{number}.tar", samples)
    return folder


@pytest.mark.usefixtures("settled")
def test_a_second_evaluation_opens_no_tar(tmp_path: Path, opened: OpenedTars) -> None:
    folder = make_set(tmp_path / "set")
    first = load_classification(folder, Preparation(8), tmp_path / "cache")
    assert opened.count > 0
    opened.count = 0
    second = load_classification(folder, Preparation(8), tmp_path / "cache")
    assert opened.count == 0
    assert first.key == second.key != ""
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.labels, second.labels)
    assert isinstance(second.images, np.memmap)


@pytest.mark.usefixtures("settled")
def test_a_second_retrieval_opens_no_tar(tmp_path: Path, opened: OpenedTars) -> None:
    folder = make_set(tmp_path / "set", kind="txt")
    first = load_retrieval(folder, Preparation(8), tmp_path / "cache")
    opened.count = 0
    second = load_retrieval(folder, Preparation(8), tmp_path / "cache")
    assert opened.count == 0
    assert (first.captions, first.key) == (second.captions, second.key)


@pytest.mark.usefixtures("settled")
def test_another_size_decodes_and_does_not_read_to_know_the_set(tmp_path: Path, opened: OpenedTars) -> None:
    folder = make_set(tmp_path / "set")
    first = load_classification(folder, Preparation(8), tmp_path / "cache")
    opened.count = 0
    other = load_classification(folder, Preparation(6), tmp_path / "cache")
    assert opened.count == 2  # each shard once, to be decoded
    assert first.key != other.key


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("backdated", [False, True])
def test_the_cache_of_a_changed_set_is_not_used(tmp_path: Path, backdated: bool) -> None:
    folder, cache = make_set(tmp_path / "set"), tmp_path / "cache"
    tar = folder / "test" / "1.tar"
    before = tar.stat()
    first = load_classification(folder, Preparation(8), cache)
    changed = bytearray(tar.read_bytes())
    place = changed.index(b"s36.cls")
    assert changed[place + 512 : place + 513] == b"0"
    changed[place + 512] = ord("1")  # the same size, in place
    with tar.open("r+b") as stream:
        stream.write(changed)
    if backdated:  # as a copy that keeps times
        os.utime(tar, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = load_classification(folder, Preparation(8), cache)
    assert second.key != first.key
    assert (first.labels != second.labels).sum() == 1


@pytest.mark.usefixtures("settled")
def test_two_sets_share_a_cache_and_not_their_pixels(tmp_path: Path) -> None:
    one, other = make_set(tmp_path / "one"), make_set(tmp_path / "other", seed=1000)
    first = load_classification(one, Preparation(8), tmp_path / "cache")
    second = load_classification(other, Preparation(8), tmp_path / "cache")
    assert first.key != second.key
    assert not np.array_equal(first.images, second.images)


def test_a_file_that_changed_just_now_is_read_again(tmp_path: Path, opened: OpenedTars) -> None:
    folder = make_set(tmp_path / "set")
    load_classification(folder, Preparation(8), tmp_path / "cache")
    opened.count = 0
    load_classification(folder, Preparation(8), tmp_path / "cache")
    assert opened.count == 2  # hashed again, and not decoded


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": 2}', b'{"version": 1, "files": []}', b'{"version": 1, "files": 7}']
)
def test_a_damaged_index_costs_time_and_nothing_else(tmp_path: Path, opened: OpenedTars, content: bytes) -> None:
    folder, cache = make_set(tmp_path / "set"), tmp_path / "cache"
    first = load_classification(folder, Preparation(8), cache)
    (cache / "digests.json").write_bytes(content)
    assert load_classification(folder, Preparation(8), cache).key == first.key
    opened.count = 0
    load_classification(folder, Preparation(8), cache)
    assert opened.count == 0  # the index is whole again


@pytest.mark.usefixtures("settled")
def test_entries_of_the_index_that_make_no_sense_are_not_believed(tmp_path: Path) -> None:
    folder, cache = make_set(tmp_path / "set"), tmp_path / "cache"
    key = load_classification(folder, Preparation(8), cache).key
    index = json.loads((cache / "digests.json").read_bytes())
    for name, entry in index["files"].items():
        index["files"][name] = [str(entry[0]), *entry[1:4], 7]
    (cache / "digests.json").write_text(json.dumps(index))
    assert load_classification(folder, Preparation(8), cache).key == key


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"keys": ["a"], "texts": []}', b'{"keys": [1], "texts": ["0"]}'])
def test_damaged_annotations_are_read_from_the_shards_again(tmp_path: Path, damage: bytes) -> None:
    folder, cache = make_set(tmp_path / "set"), tmp_path / "cache"
    first = load_classification(folder, Preparation(8), cache)
    (notes,) = cache.glob("*.cls.json")
    notes.write_bytes(damage)
    assert np.array_equal(load_classification(folder, Preparation(8), cache).labels, first.labels)


def test_a_set_without_a_cache_has_the_same_pixels_and_no_key(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    plain, cached = (load_classification(folder, Preparation(8), cache) for cache in (None, tmp_path / "cache"))
    assert plain.key == ""
    assert np.array_equal(plain.images, cached.images)


@pytest.mark.parametrize("workers", [1, 3])
def test_images_come_in_order_whatever_the_number_of_threads(tmp_path: Path, workers: int) -> None:
    folder = make_set(tmp_path / "set", images=150)
    shards = [folder / "test" / "0.tar", folder / "test" / "1.tar"]
    found = np.concatenate(list(decoded_shards(shards, Preparation(8), workers).blocks))
    one_by_one = [np.asarray(Preparation(8)(_image(i))).transpose(2, 0, 1) for i in range(150)]
    assert np.array_equal(found, np.stack(one_by_one))


def _image(number: int):
    from competition.evaluation.images import decode_rgb

    return decode_rgb(encoded((9 + number % 7, 11), seed=number))


def test_unreadable_images_are_counted_and_nothing_is_kept(tmp_path: Path) -> None:
    folder, cache = make_set(tmp_path / "set"), tmp_path / "cache"
    samples = [Sample(f"t{i}", {"png": encoded((9, 9)) if i % 3 else b"no image", "cls": b"0"}) for i in range(40)]
    write_samples(folder / "test" / "1.tar", samples)
    with pytest.raises(
        EvaluationError, match=r"14 of [0-9]+ images cannot be used, first 't0': the image cannot be decoded"
    ):
        load_classification(folder, Preparation(8), cache)
    assert not list(cache.glob("*.npy"))
    assert not list(cache.glob(".*"))  # nor a partial file
