"""Evaluation sets: the reference preprocessing, decoded once, and clear words about what is wrong with a set."""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image

from competition.data.shards import Sample, write_shard
from competition.errors import EvaluationError
from competition.evaluation.encoders import normalise_pixels
from competition.evaluation.images import ImageDecodingError, Preparation, decode_rgb
from competition.evaluation.sets import load_classification, load_retrieval


def encoded(size: tuple[int, int], mode: str = "RGB", kind: str = "PNG", seed: int = 0) -> bytes:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], channels), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(stream, kind)
    return stream.getvalue()


def write_set(folder: Path, samples: list[Sample], **files: str) -> Path:
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "nshards.txt").write_text("1\n")
    write_shard(folder / "test", 0, samples)
    (folder / "test" / "00000000.tar").rename(folder / "test" / "0.tar")
    for name, content in files.items():
        (folder / f"{name}.txt").write_text(content)
    return folder


@pytest.fixture
def classification(tmp_path: Path) -> Path:
    samples = [
        Sample(f"s{number}", {"png": encoded((20 + number, 30), seed=number), "cls": str(number % 2).encode()})
        for number in range(6)
    ]
    return write_set(
        tmp_path / "set", samples, classnames="cat\n\ndog\n", zeroshot_classification_templates="a {c}\n\nthe {c}.\n"
    )


@pytest.mark.parametrize("size", [(40, 31), (31, 40), (7, 90), (32, 32), (1, 1), (33, 32)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_pixels_are_those_of_open_clips_transform(size: tuple[int, int], mode: str) -> None:
    data = encoded(size, mode)
    expected = image_transform(32, is_train=False)(Image.open(io.BytesIO(data)).convert("RGB"))
    ours = normalise_pixels(torch.from_numpy(Preparation(32)(decode_rgb(data)).copy()[None]))[0]
    assert torch.equal(ours, expected)


@pytest.mark.parametrize("data", [b"", b"GIF89a", encoded((8, 8))[:60]])
def test_what_is_no_image_is_an_error(data: bytes) -> None:
    with pytest.raises(ImageDecodingError):
        decode_rgb(data)


def test_an_image_of_too_many_pixels_is_an_error() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    with pytest.raises(ImageDecodingError):
        decode_rgb(data + encoded((8, 8))[33:])


def test_a_set_is_read_in_order_and_blank_lines_are_dropped(classification: Path) -> None:
    data = load_classification(classification, Preparation(16))
    assert data.class_names == ("cat", "dog")
    assert data.templates == ("a {c}", "the {c}.")
    assert data.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert data.images.shape == (6, 16, 16, 3)


def test_a_set_is_decoded_once(classification: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = load_classification(classification, Preparation(16), cache)
    (cached,) = cache.glob("*.npy")
    marked = np.load(cached, allow_pickle=False)
    marked[0] = 7  # [N, 3, S, S] on disk
    cached.unlink()
    np.save(cached, marked)
    again = load_classification(classification, Preparation(16), cache)
    assert again.images[0].tolist() == np.full((16, 16, 3), 7).tolist()
    assert np.array_equal(again.images[1:], first.images[1:])


def test_the_cache_knows_set_and_size_and_heals(classification: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = load_classification(classification, Preparation(16), cache)
    load_classification(classification, Preparation(8), cache)
    assert len(list(cache.glob("*.npy"))) == 2
    for cached in cache.iterdir():
        cached.unlink()  # what maps it keeps it
        cached.write_bytes(b"damaged")
    assert np.array_equal(load_classification(classification, Preparation(16), cache).images, first.images)
    shutil.rmtree(classification)
    changed = Sample("s", {"png": encoded((9, 9)), "cls": b"1"})
    write_set(classification, [changed], classnames="a\nb", zeroshot_classification_templates="{c}")
    assert len(load_classification(classification, Preparation(16), cache).images) == 1


def test_a_cache_that_cannot_be_written_is_not_needed(classification: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    data = load_classification(classification, Preparation(16), tmp_path / "file" / "cache")
    assert len(data.images) == 6


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"png": encoded((8, 8)), "cls": b"2"}, "class 2 is not one of 2"),
        ({"png": encoded((8, 8)), "cls": b"one"}, "not a number"),
        ({"png": encoded((8, 8))}, "not a number"),
        ({"cls": b"1"}, "no image"),
        ({"png": b"no image", "cls": b"1"}, "cannot be decoded"),
    ],
)
def test_unusable_samples_are_named(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    folder = write_set(
        tmp_path / "bad", [Sample("s7", members)], classnames="a\nb", zeroshot_classification_templates="{c}"
    )
    with pytest.raises(EvaluationError, match=message) as caught:
        load_classification(folder, Preparation(8))
    assert "'s7'" in caught.value.message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classnames.txt", "only one", "1 class names"),
        ("classnames.txt", None, "class names"),
        ("zeroshot_classification_templates.txt", "no slot", "no slot"),
        ("zeroshot_classification_templates.txt", "\n", "no prompt templates"),
        ("test/nshards.txt", "0", "not a number"),
        ("test/nshards.txt", "many", "not a number"),
        ("test/nshards.txt", "2", "1.tar"),
        ("test/0.tar", "cut", "damaged"),
    ],
)
def test_sets_that_do_not_fit_together(classification: Path, name: str, content: str | None, message: str) -> None:
    path = classification / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(EvaluationError, match=message):
        load_classification(classification, Preparation(8))


def test_retrieval_sets(tmp_path: Path, classification: Path) -> None:
    samples = [
        Sample("a", {"png": encoded((9, 9)), "txt": b"one\ntwo\n"}),
        Sample("b", {"png": encoded((9, 9), seed=1), "txt": "drei, größer".encode()}),
    ]
    data = load_retrieval(write_set(tmp_path / "r", samples, dataset_type="retrieval\n"), Preparation(8))
    assert data.captions == (("one", "two"), ("drei, größer",))
    with pytest.raises(EvaluationError, match="type"):
        load_retrieval(classification, Preparation(8))
    bad = write_set(tmp_path / "bad", [Sample("a", {"png": encoded((9, 9)), "txt": b""})], dataset_type="retrieval")
    with pytest.raises(EvaluationError, match="no caption"):
        load_retrieval(bad, Preparation(8))
