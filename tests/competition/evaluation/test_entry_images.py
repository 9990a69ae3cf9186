"""An entry's images are read in both layouts, each once, and whatever is wrong with them is named."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from competition.data.shards import Sample, write_shard
from competition.errors import EvaluationError
from competition.evaluation import entry_images
from competition.evaluation.decoding import decoded_shards
from competition.evaluation.entry_images import open_entry_images, require_labels
from competition.evaluation.images import Preparation, decode_rgb
from competition.evaluation.set_classes import labels_among, set_classes
from tests.competition.evaluation.entries import (
    CLASSES,
    NAMES,
    samples,
    spread,
    write_class_folders,
    write_set,
    write_shards,
)

PREPARE = Preparation(16)
LABELS = [0, 5, 2, 2, 1, 0, 5, 4, 2]


def test_both_layouts_hold_the_same_pictures(tmp_path: Path) -> None:
    shards = open_entry_images(write_shards(tmp_path / "shards", LABELS))
    folders = open_entry_images(write_class_folders(tmp_path / "folders", LABELS))
    assert shards.labels.tolist() == LABELS
    assert folders.class_names == tuple(NAMES[label] for label in (0, 1, 2, 4, 5))
    expected = [PREPARE(decode_rgb(sample.members["png"])) for sample in samples(LABELS)]
    assert np.array_equal(shards.pixels(PREPARE, None)[0], expected)
    order = np.argsort(LABELS, kind="stable")
    assert np.array_equal(folders.pixels(PREPARE, None)[0], np.asarray(expected)[order])


@pytest.mark.parametrize("write", [write_shards, write_class_folders])
def test_chosen_rows_are_those_rows(write: Callable[[Path, list[int]], Path], tmp_path: Path) -> None:
    images = open_entry_images(write(tmp_path / "entry", LABELS))
    rows = np.array([1, 3, 8])
    every, key = images.pixels(PREPARE, tmp_path / "cache")
    some, other_key = images.pixels(PREPARE, tmp_path / "cache", rows)
    assert np.array_equal(some, every[rows])
    assert key != other_key
    assert images.pixels(PREPARE, None, rows + np.array([0, 0, -1]))[1] != other_key


@pytest.mark.parametrize("write", [write_shards, write_class_folders])
def test_pixels_are_decoded_once_and_mapped(write: Callable[[Path, list[int]], Path], tmp_path: Path) -> None:
    folder = write(tmp_path / "entry", spread(70))
    images = open_entry_images(folder)
    first, key = images.pixels(PREPARE, tmp_path / "cache")
    for path in folder.rglob("*.*"):
        path.unlink()
    again, same = images.pixels(PREPARE, tmp_path / "cache")
    assert key == same
    assert isinstance(again.base, np.memmap)
    assert np.array_equal(first, again)


@pytest.mark.parametrize("write", [write_shards, write_class_folders])
def test_the_digest_is_of_names_and_bytes(write: Callable[[Path, list[int]], Path], tmp_path: Path) -> None:
    folder = write(tmp_path / "entry", LABELS)
    digest = open_entry_images(folder).digest
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert open_entry_images(copy).digest == digest
    victim = min(path for path in copy.rglob("*") if path.suffix in {".tar", ".png"})
    victim.rename(victim.with_name(f"9{victim.name}"))
    assert open_entry_images(copy).digest != digest
    assert open_entry_images(write(tmp_path / "other", LABELS[::-1])).digest != digest


@pytest.mark.parametrize("write", [write_shards, write_class_folders])
def test_old_files_need_no_index_of_digests(write: Callable[[Path, list[int]], Path], tmp_path: Path) -> None:
    """Of files that were just written no digest is put on record; of these it would be, if there were a place."""
    folder = write(tmp_path / "entry", LABELS)
    digest = open_entry_images(folder).digest
    for path in folder.rglob("*.*"):
        os.utime(path, (10**9, 10**9))
    time.sleep(2.1)  # the time of status change cannot be set
    assert open_entry_images(folder).digest == digest
    assert open_entry_images(folder, tmp_path / "cache").digest == digest


def test_files_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "entry", LABELS)
    (folder / "level 0" / "0000.txt").write_text("a caption")
    (folder / "level 0" / ".0009.png").write_bytes(b"")
    (folder / ".hidden").mkdir()
    (folder / "level 1" / "deep").mkdir()
    (folder / "level 1" / "deep" / "x.png").write_bytes(samples([1])[0].members["png"])
    images = open_entry_images(folder)
    assert len(images) == len(LABELS) + 1
    assert ".hidden" not in (images.class_names or ())


def test_only_wanted_samples_are_decoded(tmp_path: Path) -> None:
    """A sample that is not wanted may be damaged: nobody looks at it."""
    made = samples(spread(5))
    made[2] = Sample("0002", {"png": b"no image", "cls": b"2"})
    write_shard(tmp_path, 0, made[:3])
    write_shard(tmp_path, 1, made[3:])
    shards = sorted(tmp_path.glob("*.tar"))
    found = np.concatenate(list(decoded_shards(shards, PREPARE, 1, np.array([True, False, False, False, True])).blocks))
    expected = [PREPARE(decode_rgb(made[place].members["png"])).transpose(2, 0, 1) for place in (0, 4)]
    assert np.array_equal(found, expected)


def _absent(folder: Path) -> None:
    del folder


def _empty(folder: Path) -> None:
    folder.mkdir()


def _empty_classes(folder: Path) -> None:
    (folder / "level 0").mkdir(parents=True)


def _both(folder: Path) -> None:
    write_shards(folder, LABELS)
    write_class_folders(folder, LABELS)


def _no_number(folder: Path) -> None:
    folder.mkdir()
    write_shard(folder, 0, [Sample("a", {"png": b"", "cls": b"cat"})])


def _endless_number(folder: Path) -> None:
    folder.mkdir()
    write_shard(folder, 0, [Sample("a", {"png": b"", "cls": b"1" * 5000})])


def _cut_short(folder: Path) -> None:
    path = write_shards(folder, LABELS) / "00000001.tar"
    path.write_bytes(path.read_bytes()[:700])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_absent, "There is no folder"),
        (_empty, "holds no image"),
        (_empty_classes, "holds no image"),
        (_both, "holds shards and class folders"),
        (_no_number, "class of sample 'a' .* is not a number"),
        (_endless_number, "class of sample 'a' .* is not a number"),
        (_cut_short, "00000001.tar is damaged"),
    ],
)
def test_what_is_no_entry_is_refused(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    make(tmp_path / "entry")
    with pytest.raises(EvaluationError, match=message):
        open_entry_images(tmp_path / "entry")


def test_an_entry_is_no_larger_than_what_a_result_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_shards(tmp_path / "entry", LABELS)
    monkeypatch.setattr(entry_images, "MAX_IMAGES", len(LABELS))
    assert len(open_entry_images(folder)) == len(LABELS)
    monkeypatch.setattr(entry_images, "MAX_IMAGES", len(LABELS) - 1)
    with pytest.raises(EvaluationError, match="has 9 images, more than the 8"):
        open_entry_images(folder)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "entry", LABELS)
    (folder / "level 0" / "0000.png").rename(folder / "level 0" / "\udce4.png")
    with pytest.raises(EvaluationError, match="not UTF-8"):
        open_entry_images(folder)


def test_unreadable_images_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "folders", spread(80))
    for name in ("level 1/0001.png", "level 3/0009.png", "level 3/0015.png"):
        (folder / name).write_bytes(b"no image")
    with pytest.raises(EvaluationError, match=r"3 of 80 images cannot be used, first 'level 1/0001.png'"):
        open_entry_images(folder).pixels(PREPARE, tmp_path / "cache")
    made = [Sample("a", {"cls": b"0"}), *samples([1, 2])]
    (tmp_path / "shards").mkdir()
    write_shard(tmp_path / "shards", 0, made)
    with pytest.raises(EvaluationError, match=r"first 'a': it has no image\. Leave"):
        open_entry_images(tmp_path / "shards").pixels(PREPARE, None)
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_images_without_a_class_are_named_when_classes_are_needed(tmp_path: Path) -> None:
    made = samples(spread(5))
    for place in (2, 4):
        del made[place].members["cls"]
    write_shard(tmp_path, 0, made[:1])
    write_shard(tmp_path, 1, made[1:])
    images = open_entry_images(tmp_path)
    assert images.labels.tolist() == [0, 1, -1, 3, -1]
    with pytest.raises(EvaluationError, match=r"2 of 5 images .* first 00000001.tar: 0002"):
        require_labels(images)


def test_classes_are_found_by_their_names(tmp_path: Path) -> None:
    """Whatever the order of the folders: here it is another than that of the classes."""
    names = ("zebra", "ant", "bee", "cow", "dog", "elk")
    folder = write_set(tmp_path / "set", spread(6))
    (folder / "classnames.txt").write_text("\n".join(names))
    images = open_entry_images(write_class_folders(tmp_path / "entry", LABELS, names=names))
    assert labels_among(images, set_classes(folder)).tolist() == sorted(LABELS, key=lambda label: names[label])


def test_classes_are_found_by_the_names_of_the_sets_folders(tmp_path: Path) -> None:
    ids = tuple(f"n{number}" for number in range(CLASSES))
    folder = write_class_folders(tmp_path / "set" / "test", spread(12), names=ids).parent
    (folder / "classnames.txt").write_text("\n".join(NAMES))
    for called in (ids, NAMES):
        images = open_entry_images(write_class_folders(tmp_path / called[0], LABELS, names=called))
        assert labels_among(images, set_classes(folder)).tolist() == sorted(LABELS)


@pytest.mark.parametrize("form", ["{}", "{:03d}"])
def test_classes_are_found_by_number(form: str, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", spread(6))
    numbers = tuple(form.format(number) for number in range(CLASSES))
    images = open_entry_images(write_class_folders(tmp_path / "entry", LABELS, names=numbers))
    assert labels_among(images, set_classes(folder)).tolist() == sorted(LABELS)


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (("level 0", "level 1", "level 9", "level 3", "level 4", "level 7"), "level 7"),
        (("0", "1", "6", "3", "4", "5"), "6"),
        (("cat", "dog", "elk", "fox", "gnu", "hen"), "cat"),
        (("level 0", "1", "2", "3", "4", "5"), "1"),
    ],
)
def test_the_first_class_that_the_set_has_not_is_named(names: tuple[str, ...], first: str, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", spread(6))
    images = open_entry_images(write_class_folders(tmp_path / "entry", LABELS, names=names))
    with pytest.raises(EvaluationError, match=f"class folder '{first}' is no class of the evaluation set set"):
        labels_among(images, set_classes(folder))


def test_a_number_that_the_set_has_not_is_named(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", spread(6))
    images = open_entry_images(write_shards(tmp_path / "entry", [0, 3, 6, 7]))
    with pytest.raises(EvaluationError, match="an image of class 6, and the evaluation set set has classes 0 to 5"):
        labels_among(images, set_classes(folder))
