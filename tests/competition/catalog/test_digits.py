"""The digits competition's material: the split is fixed and disjoint, images and sets come out the same every time."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from competition.catalog.digits import testsets
from competition.catalog.digits.captions import (
    DIGIT_NAMES,
    ENGLISH,
    OTHER_LANGUAGES,
    describe,
    describe_in,
    retrieval_captions,
)
from competition.catalog.digits.rendering import (
    INKS,
    PAPERS,
    STORED_SIZE,
    Conditions,
    decode,
    draw_look,
    encode_jpeg,
    render,
    stored,
)
from competition.catalog.digits.split import SIZES, Part, load_part
from competition.catalog.digits.testsets import build_evaluation_sets
from competition.evaluation.images import Preparation
from competition.evaluation.sets import load_classification, load_retrieval
from competition.rules import find_competition
from competition.rules.catalog import find_suite
from participant_kit.subsets.language import is_english, language_model


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    build_evaluation_sets(root)
    return root


def test_the_split_is_disjoint_complete_and_fixed() -> None:
    ids = np.concatenate([load_part(part).ids for part in Part])
    assert len(ids) == 1797 == len(set(ids.tolist()))
    assert hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest()[:16] == "c6e7a34ed841ad4c"


@pytest.mark.parametrize("part", Part)
def test_every_part_has_its_size_and_every_digit(part: Part) -> None:
    digits = load_part(part)
    assert len(digits) == SIZES[part] == len(digits.pixels) == len(digits.labels)
    assert digits.pixels.shape[1:] == (8, 8)
    assert digits.pixels.dtype == np.uint8
    assert np.bincount(digits.labels, minlength=10).min() >= 25


def test_a_picture_depends_on_its_generator_alone() -> None:
    digits = load_part(Part.POOL)
    images = [
        np.asarray(render(digits.pixels[3], draw_look(np.random.default_rng([7, index]), Conditions())))
        for index in (5, 5, 6)
    ]
    assert np.array_equal(images[0], images[1])
    assert images[0].shape != images[2].shape or not np.array_equal(images[0], images[2])
    assert min(images[0].shape[:2]) >= 200


def test_a_look_keeps_the_colours_it_is_given() -> None:
    for index in range(20):
        look = draw_look(np.random.default_rng(index), Conditions(), "purple", "pink")
        assert (look.ink, look.paper) == ("purple", "pink")


def test_every_ink_is_darker_than_every_paper() -> None:
    assert max(sum(rgb) for rgb in INKS.values()) < min(sum(rgb) for rgb in PAPERS.values())


@pytest.mark.parametrize(
    ("size", "expected"), [((320, 200), (64, 40)), ((64, 64), (64, 64)), ((40, 32), (40, 32)), ((1200, 100), (64, 5))]
)
def test_stored_images_shrink_and_never_grow(size: tuple[int, int], expected: tuple[int, int]) -> None:
    image = stored(Image.new("RGB", size))
    assert image.size == expected
    assert max(image.size) <= STORED_SIZE
    assert decode(encode_jpeg(image)).size == expected


def test_english_captions_are_english_to_the_filter() -> None:
    texts = [
        template.format(digit=name, numeral=digit, ink="blue", paper="yellow")
        for template in ENGLISH.plain + ENGLISH.coloured
        for digit, name in enumerate(DIGIT_NAMES)
    ]
    assert is_english(texts, language_model(None)).all()
    assert min(len(text.split()) for text in texts) > 2


@pytest.mark.parametrize("code", OTHER_LANGUAGES)
def test_other_languages_have_ten_words_and_all_colours(code: str) -> None:
    language = OTHER_LANGUAGES[code]
    assert len(set(language.digits)) == 10
    for text in language.plain:
        assert "{digit}" in text
    if language.coloured:
        assert set(language.inks or {}) == set(INKS)
        assert set(language.papers or {}) == set(PAPERS)
    rng = np.random.default_rng(0)
    assert language.digits[4] in describe_in(rng, language, 4, "red", "white")


def test_true_captions_name_the_digit() -> None:
    words = {language.digits[6] for language in (ENGLISH, *OTHER_LANGUAGES.values())}
    for index in range(200):
        text = describe(np.random.default_rng(index), 6, "red", "white")
        assert any(word in text for word in words), text


@pytest.mark.parametrize("name", ["digits-test", "digits-shift", "digits-hidden"])
def test_classification_sets_are_what_the_suite_says(sets: Path, name: str) -> None:
    found = load_classification(sets / name, Preparation(32))
    task = find_competition("digits").suite.task(name)
    assert len(found.images) == len(found.labels) == task.samples
    assert found.class_names == DIGIT_NAMES
    assert len(found.templates) == 3
    part = load_part(Part.HIDDEN if name == "digits-hidden" else Part.TEST)
    assert np.array_equal(found.labels, part.labels)


def test_probes_learn_from_digits_of_the_pool_alone(sets: Path) -> None:
    """500 of them, each once; the test images are those of ``digits-test``."""
    parts = [load_classification(sets / "digits-probe", Preparation(32), split=split) for split in ("train", "test")]
    assert [len(part.labels) for part in parts] == [SIZES[Part.POOL], SIZES[Part.TEST]]
    assert np.array_equal(parts[0].labels, load_part(Part.POOL).labels)
    test = load_classification(sets / "digits-test", Preparation(32))
    assert np.array_equal(parts[1].images, test.images)
    for suite in map(find_suite, ("digits-classification", "digits-features")):
        for task in suite.tasks:
            assert task.samples == len(load_classification(sets / task.dataset, Preparation(32)).labels)


def test_the_public_test_is_large_enough_for_its_intervals() -> None:
    assert find_competition("digits").suite.task("digits-test").samples >= 500


def test_retrieval_captions_belong_to_one_image_each(sets: Path) -> None:
    found = load_retrieval(sets / "digits-retrieval", Preparation(32))
    task = find_competition("digits").suite.task("digits-retrieval")
    captions = [text for texts in found.captions for text in texts]
    assert len(found.images) == task.samples
    assert len(captions) == len(set(captions)) == 5 * task.samples
    assert captions[:5] == retrieval_captions(int(load_part(Part.TEST).labels[0]), *_colours_of(captions[0]))


def _colours_of(caption: str) -> tuple[str, str]:
    words = caption.split()
    return words[1], words[5]


def test_shifted_images_differ_from_the_plain_ones(sets: Path) -> None:
    plain = load_classification(sets / "digits-test", Preparation(32)).images.astype(int)
    shifted = load_classification(sets / "digits-shift", Preparation(32)).images.astype(int)
    assert (np.abs(plain - shifted).mean(axis=(1, 2, 3)) > 2).all()


def test_sets_come_out_the_same_and_finished_ones_stay(sets: Path, tmp_path: Path) -> None:
    unfinished = tmp_path / "digits-test"
    unfinished.mkdir()
    (unfinished / "classnames.txt").write_text("torn")
    seen: list[str] = []
    build_evaluation_sets(tmp_path, lambda progress: seen.append(progress.task))
    assert _contents(tmp_path) == _contents(sets)
    assert seen[:4] == ["digits-test", "digits-shift", "digits-retrieval", "digits-hidden"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")}
    build_evaluation_sets(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")} == before


def test_sets_of_another_revision_are_built_again(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testsets, "_SETS", {"digits-retrieval": testsets._SETS["digits-retrieval"]})
    build_evaluation_sets(tmp_path)
    (tmp_path / "digits-retrieval" / "revision.txt").write_text("0")
    (tmp_path / "digits-retrieval" / "test" / "0.tar").write_bytes(b"old")
    build_evaluation_sets(tmp_path)
    tar = Path("digits-retrieval") / "test" / "0.tar"
    assert (tmp_path / tar).read_bytes() == (sets / tar).read_bytes()


def test_a_set_that_another_process_finished_meanwhile_is_left_to_its_readers(sets: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "digits-retrieval"

    def overtaken() -> testsets.Samples:
        shutil.copytree(sets / theirs.name, theirs)
        yield from testsets._SETS["digits-hidden"]()

    testsets._build(theirs, overtaken)
    assert (theirs / "test" / "0.tar").read_bytes() == (sets / theirs.name / "test" / "0.tar").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [theirs.name]


def _contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.relative_to(root).parts[0].startswith(".")
    }
