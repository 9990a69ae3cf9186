"""The evaluation sets of the digits suites, made from code in CLIP_benchmark's webdataset layout.

A set is a folder: ``classnames.txt`` and ``zeroshot_classification_templates.txt`` (or ``dataset_type.txt`` with
``retrieval``), ``test/nshards.txt`` and ``test/0.tar``, whose samples hold a ``jpg`` and a ``cls`` (or a ``txt`` with
one caption a line). ``digits-probe`` has a part ``train``, too. The same folder comes out on every run.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from competition.catalog.digits.captions import DIGIT_NAMES, retrieval_captions
from competition.catalog.digits.finished import REVISION, REVISION_FILE, SET_NAMES, is_complete
from competition.catalog.digits.rendering import INKS, PAPERS, Conditions, draw_look, encode_jpeg, render, stored
from competition.catalog.digits.split import Digits, Part, load_part
from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.data.shards import Sample, write_samples
from competition.progress import Progress, ProgressHook

TEMPLATES = ("a photo of the digit {c}", "a photo of the handwritten number {c}", "the number {c} written by hand")
RETRIEVAL_IMAGES = 200

_SEED = 20_260_102
_TEST, _SHIFT, _RETRIEVAL, _HIDDEN, _PROBE = range(5)

Samples = Iterator[Sample]


def build_evaluation_sets(root: Path, progress: ProgressHook | None = None) -> None:
    """Write ``digits-test``, ``-shift``, ``-retrieval``, ``-hidden`` and ``-probe`` below ``root``.

    A set appears whole or not at all; one that is already there is left as it is.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    report = progress or (lambda _progress: None)
    stage = "building evaluation sets"
    make_folder(root)
    for done, (name, make) in enumerate(_SETS.items()):
        report(Progress(stage, done, len(_SETS), task=name))
        if not is_complete(root / name):
            _build(root / name, make)
    report(Progress(stage, len(_SETS), len(_SETS)))


def _build(folder: Path, make: Callable[[], Samples]) -> None:
    with storage_errors("building", folder), tempfile.TemporaryDirectory(dir=folder.parent, prefix=".set-") as scratch:
        partial = Path(scratch) / folder.name
        make_folder(partial)
        if folder.name == "digits-retrieval":
            write_bytes(partial / "dataset_type.txt", b"retrieval")
        else:
            write_bytes(partial / "classnames.txt", "\n".join(DIGIT_NAMES).encode())
            write_bytes(partial / "zeroshot_classification_templates.txt", "\n".join(TEMPLATES).encode())
        parts = {"test": make(), "train": _probed()} if folder.name == "digits-probe" else {"test": make()}
        for part, samples in parts.items():
            make_folder(partial / part)
            write_samples(partial / part / "0.tar", samples)
            write_bytes(partial / part / "nshards.txt", b"1")
        write_bytes(partial / REVISION_FILE, str(REVISION).encode())
        _put_in_place(partial, folder)


def _put_in_place(partial: Path, folder: Path) -> None:
    """Move a set to where it belongs, unless another process was faster: what that one reads must not be removed."""
    if is_complete(folder):
        return
    if folder.exists():
        shutil.rmtree(folder)
    try:
        partial.rename(folder)
    except OSError:
        if not is_complete(folder):
            raise


def test_photograph(part: Part, index: int) -> Image.Image:
    """The image of a digit of a test part, in full size, as ``digits-test`` or ``digits-hidden`` stores it."""
    digits = load_part(part)
    rng = np.random.default_rng([_SEED, _HIDDEN if part is Part.HIDDEN else _TEST, index])
    return render(digits.pixels[index], draw_look(rng, Conditions()))


def _plain(part: Part) -> Samples:
    digits = load_part(part)
    for index in range(len(digits)):
        yield _classified(digits, index, stored(test_photograph(part, index)))


def _probed() -> Samples:
    """The pool's digits once each, with their classes: what probes of features learn from."""
    digits = load_part(Part.POOL)
    for index in range(len(digits)):
        look = draw_look(_generator(_PROBE, index), Conditions())
        yield _classified(digits, index, stored(render(digits.pixels[index], look)))


def _shifted() -> Samples:
    """Test digits with noise, with a bar over them, or light on dark; a third each."""
    digits = load_part(Part.TEST)
    distortions = (_noise, _occlude, _invert)
    for index in range(len(digits)):
        rng = np.random.default_rng([_SEED, _SHIFT, index])
        image = stored(render(digits.pixels[index], draw_look(rng, Conditions())))
        yield _classified(digits, index, distortions[index % len(distortions)](rng, image))


def _retrieval() -> Samples:
    """Test digits whose digit and two colours no other image of the set shares."""
    digits = load_part(Part.TEST)
    colours = [(ink, paper) for ink in INKS for paper in PAPERS]
    order = {digit: _generator(_RETRIEVAL, 1, digit).permutation(len(colours)) for digit in range(10)}
    used = dict.fromkeys(order, 0)
    for index in range(RETRIEVAL_IMAGES):
        digit = int(digits.labels[index])
        ink, paper = colours[order[digit][used[digit]]]
        used[digit] += 1
        look = draw_look(_generator(_RETRIEVAL, 0, index), Conditions(), ink, paper)
        image = stored(render(digits.pixels[index], look))
        captions = "\n".join(retrieval_captions(digit, ink, paper))
        yield Sample(_key(index), {"jpg": encode_jpeg(image), "txt": captions.encode()})


_MADE: tuple[Callable[[], Samples], ...] = (
    lambda: _plain(Part.TEST),
    _shifted,
    _retrieval,
    lambda: _plain(Part.HIDDEN),
    lambda: _plain(Part.TEST),
)
_SETS = dict(zip(SET_NAMES, _MADE, strict=True))


def _classified(digits: Digits, index: int, image: Image.Image) -> Sample:
    return Sample(_key(index), {"cls": str(digits.labels[index]).encode(), "jpg": encode_jpeg(image)})


def _key(index: int) -> str:
    return f"s{index:07d}"


def _generator(*stream: int) -> np.random.Generator:
    return np.random.default_rng([_SEED, *stream])


def _noise(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float64)
    noisy = pixels + rng.normal(0, rng.uniform(15, 35), pixels.shape)
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def _occlude(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Paste a bar, a tenth to a fifth of the image, over the middle half."""
    width, height = image.size
    colour = tuple(int(value) for value in rng.integers(0, 256, 3))
    thickness = rng.uniform(0.1, 0.2)
    start = rng.uniform(0.25, 0.75 - thickness)
    box = (0, start, 1, start + thickness) if rng.random() < 0.5 else (start, 0, start + thickness, 1)
    bar = (round(box[0] * width), round(box[1] * height), round(box[2] * width), round(box[3] * height))
    covered = image.copy()
    covered.paste(colour, bar)
    return covered


def _invert(rng: np.random.Generator, image: Image.Image) -> Image.Image:  # noqa: ARG001 - one signature for all
    return Image.fromarray(255 - np.asarray(image))
