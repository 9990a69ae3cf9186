"""Images that are files of their own go through the cache as shards do: decoded once, and never taken for others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from competition.errors import EvaluationError
from competition.evaluation import decoding, image_encoders, known_digests
from competition.evaluation.image_files import ImageFiles
from competition.evaluation.image_folder import load_image_folder
from competition.evaluation.images import ImageDecodingError, Preparation
from competition.evaluation.known_digests import KnownListDigests
from competition.evaluation.set_columns import ColumnsError, row
from competition.evaluation.set_texts import lines, text
from competition.rules import Protocol
from tests.competition.evaluation.test_face_set import npy
from tests.competition.evaluation.tiny_models import SIZE, evaluated, image_model, picture, write_image, write_lines

CLASSES = ("ant", "bee", "cat")


def write_folder(folder: Path, per_class: int = 4, parts: tuple[str, ...] = ("train", "test")) -> Path:
    seed = 0
    for part in parts:
        for name in CLASSES:
            for number in range(per_class):
                seed += 1
                write_image(folder / part / name / f"{number}.png", picture(seed, (40, 33 + number)))
    return folder


class OpenedImages:
    """Counts every opening of a png in this process, by Python's own audit events (a hook cannot be removed again)."""

    def __init__(self) -> None:
        self.count, self.listening = 0, False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.listening and event == "open" and str(arguments[0]).endswith(".png"):
            self.count += 1


_OPENED = OpenedImages()


@pytest.fixture
def opened() -> Iterator[OpenedImages]:
    _OPENED.count, _OPENED.listening = 0, True
    yield _OPENED
    _OPENED.listening = False


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, so that a test need not wait two seconds."""
    monkeypatch.setattr(known_digests, "_SETTLED_NANOSECONDS", -(10**18))


@pytest.mark.usefixtures("settled")
def test_a_second_evaluation_opens_no_image(tmp_path: Path, opened: OpenedImages) -> None:
    folder, cache = write_folder(tmp_path / "set"), tmp_path / "cache"
    opened.count = 0
    plain = load_image_folder(folder, Preparation(SIZE), prompts=False)
    assert opened.count == 12
    first = load_image_folder(folder, Preparation(SIZE), prompts=False, cache=cache)
    assert opened.count == 3 * 12  # once for the digest, once for the pixels
    second = load_image_folder(folder, Preparation(SIZE), prompts=False, cache=cache)
    assert opened.count == 3 * 12
    assert plain.key == ""
    assert first.key == second.key != ""
    assert np.array_equal(plain.images, second.images)
    assert isinstance(second.images, np.memmap)
    assert plain.labels.tolist() == second.labels.tolist()
    assert second.folders == CLASSES


def test_files_that_changed_a_moment_ago_are_read_again(tmp_path: Path, opened: OpenedImages) -> None:
    """Another change within the clock's resolution would leave no trace."""
    files = tuple(sorted(write_folder(tmp_path / "set").rglob("*.png")))
    known = KnownListDigests(tmp_path)
    opened.count = 0
    assert known.of(tmp_path, files, 2) == known.of(tmp_path, files, 2)
    assert opened.count == 2 * len(files)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("change", ["bytes", "name", "order of classes", "one less", "part", "transform", "border"])
def test_whatever_is_otherwise_has_another_key(change: str, tmp_path: Path) -> None:
    folder, cache = write_folder(tmp_path / "set"), tmp_path / "cache"
    part, prepare = "test", Preparation(SIZE)
    before = load_image_folder(folder, prepare, part, prompts=False, cache=cache)
    image = folder / "test" / "bee" / "2.png"
    match change:
        case "bytes":
            stat = image.stat()
            write_image(image, picture(999, (40, 35)))
            os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # only the time of status change tells
        case "name":
            image.rename(image.with_name("9.png"))
        case "order of classes":
            write_lines(folder / "classnames.txt", ["cat", "ant", "bee"])
        case "one less":
            image.unlink()
        case "part":
            part = "train"
        case "transform":
            prepare = Preparation(SIZE, interpolation="bilinear")
        case "border":
            prepare = Preparation(SIZE, border=1)
    after = load_image_folder(folder, prepare, part, prompts=False, cache=cache)
    assert after.key != before.key
    fresh = load_image_folder(folder, prepare, part, prompts=False)
    assert np.array_equal(after.images, fresh.images)


def test_a_damaged_index_costs_time_alone(tmp_path: Path) -> None:
    files = tuple(sorted(write_folder(tmp_path / "set").rglob("*.png")))
    wanted = KnownListDigests(None).of(tmp_path, files, 2)
    for content in (b"", b"[]", b'{"version": 1, "lists": 3}', b'{"version": 1, "lists": {"a": 3}}', b"\xff"):
        (tmp_path / "lists.json").write_bytes(content)
        assert KnownListDigests(tmp_path).of(tmp_path, files, 2) == wanted


def test_features_of_a_folder_are_computed_once_for_all_its_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache, encoder = write_folder(tmp_path / "set"), tmp_path / "cache", image_model(3)
    write_lines(folder / "model_classes.txt", CLASSES)
    passes: list[int] = []
    plain = image_encoders.features_of

    def counted(forward: object, pixels: np.ndarray, *further: object) -> np.ndarray:
        passes.append(len(pixels))
        return plain(forward, pixels, *further)  # type: ignore[arg-type]

    monkeypatch.setattr(image_encoders, "features_of", counted)
    whole = evaluated(encoder, Protocol.CLASSIFICATION, folder, cache)
    subset = evaluated(encoder, Protocol.CLASSIFICATION_OF_SUBSET, folder, cache)
    assert whole.metrics == subset.metrics
    assert passes == [12]


def test_all_images_that_cannot_be_used_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "set", parts=("test",))
    (folder / "test" / "ant" / "1.png").write_bytes(b"no image")
    (folder / "test" / "cat" / "3.png").write_bytes(b"no image either")
    with pytest.raises(
        EvaluationError, match=r"set set is damaged: 2 of [0-9]+ images cannot be used, first 'test/ant/1\.png'"
    ):
        load_image_folder(folder, Preparation(SIZE), prompts=False, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy"))
    monkeypatch.setattr(decoding, "MAX_IMAGE_BYTES", 20)
    with pytest.raises(EvaluationError, match="larger than an image may be"):
        load_image_folder(folder, Preparation(SIZE), prompts=False)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 300])
def test_blocks_are_in_the_order_of_the_files(count: int, tmp_path: Path) -> None:
    for number in range(7):
        write_image(tmp_path / f"{number}.png", picture(number))
    files = ImageFiles(tmp_path, tuple(tmp_path / f"{number * 3 % 7}.png" for number in range(count)))
    found = np.concatenate(list(files.blocks(Preparation(8)))).transpose(0, 2, 3, 1)
    assert np.array_equal(found, np.stack([Preparation(8)(picture(number * 3 % 7)) for number in range(count)]))


def test_a_border_is_taken_off_first_and_nothing_else() -> None:
    framed, plain = picture(3, (48, 40), border=2), picture(3, (48, 40))
    margin = Preparation(SIZE, resize=36, interpolation="bilinear")
    assert np.array_equal(margin.uncut(2)(framed), Preparation(SIZE, interpolation="bilinear")(plain))
    assert not np.array_equal(margin.uncut(2)(framed), margin.uncut()(framed))
    assert margin.uncut().identity == Preparation(SIZE, interpolation="bilinear").identity
    assert "border" not in margin.identity
    assert margin.uncut(2).identity["border"] == 2
    squashed = Preparation(SIZE, resize=36, squash=True)
    assert np.array_equal(squashed.uncut(2)(framed), Preparation(SIZE, squash=True)(plain))
    with pytest.raises(ImageDecodingError, match="4 x 90 pixels"):
        margin.uncut(2)(picture(0, (4, 90)))


def test_texts_that_are_too_large_are_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "classnames.txt"
    path.write_text("cat\ndog\n")
    assert lines(path, "class names") == ("cat", "dog")
    monkeypatch.setattr("competition.evaluation.set_texts.MAX_TEXT_BYTES", 7)
    with pytest.raises(EvaluationError, match="larger than the class names"):
        text(path, "class names")


@pytest.mark.parametrize("number", [np.inf, -np.inf, 1e18, -(2.0**60)])
def test_numbers_beside_images_are_of_a_size_that_floats_have_exactly(number: float) -> None:
    with pytest.raises(ColumnsError, match="too large"):
        row(npy([1.0, number]))
    assert row(npy([2.0**53, -1.0])) == (2**53, -1)
