"""The imagined crawl: fixed by (seed, index), in the proportions it states, and each kind of dirt is what it claims."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from competition.catalog.digits.captions import ENGLISH, OTHER_LANGUAGES
from competition.catalog.digits.rendering import decode, stored
from competition.catalog.digits.split import Part
from competition.catalog.digits.testsets import test_photograph as photograph
from competition.evaluation.copy_descriptors import copy_descriptors
from participant_kit.pools.digits.crawl import PROPORTIONS, Find, Kind, find, kind_of

SAMPLES = 12_800


@pytest.fixture(scope="module")
def finds() -> dict[Kind, list[Find]]:
    """The first thirty of each kind."""
    by_kind: dict[Kind, list[int]] = {kind: [] for kind in Kind}
    for index in range(SAMPLES):
        by_kind[kind_of(0, index)].append(index)
    return {kind: [find(0, index) for index in indices[:30]] for kind, indices in by_kind.items()}


def test_proportions_sum_to_one_and_the_pool_has_them() -> None:
    assert sum(PROPORTIONS.values()) == pytest.approx(1)
    counts = Counter(kind_of(0, index) for index in range(SAMPLES))
    for kind, share in PROPORTIONS.items():
        assert counts[kind] / SAMPLES == pytest.approx(share, abs=4 * (share * (1 - share) / SAMPLES) ** 0.5)


def test_most_of_the_pool_is_bad_in_some_way() -> None:
    assert 0.55 <= 1 - PROPORTIONS[Kind.CLEAN] <= 0.7


def test_a_find_is_fixed_by_seed_and_index() -> None:
    assert find(0, 17) == find(0, 17)
    assert find(0, 17) != find(1, 17)
    assert find(0, 17).uid == "14015ce958d06db2010e0553c8780180"


def test_uids_urls_and_texts_are_well_formed(finds: dict[Kind, list[Find]]) -> None:
    everything = [found for group in finds.values() for found in group]
    assert len({found.uid for found in everything}) == len(everything)
    for found in everything:
        assert len(found.uid) == 32
        assert found.url.split("/")[2].endswith(".invalid")
        assert found.text.strip()


def test_captions_tell_what_the_answers_say(finds: dict[Kind, list[Find]]) -> None:
    languages = (ENGLISH, *OTHER_LANGUAGES.values())
    for kind in (Kind.CLEAN, Kind.WRONG_CAPTION, Kind.TINY, Kind.EXTREME_ASPECT, Kind.LEAKED_TEST):
        for found in finds[kind]:
            assert found.told is not None
            assert (found.told == found.digit) == (kind is not Kind.WRONG_CAPTION)
            assert any(language.digits[found.told] in found.text for language in languages)
    assert all(found.told is None for found in finds[Kind.JUNK_CAPTION])
    assert all(found.digit is None for found in finds[Kind.NOT_A_DIGIT])
    assert len({found.told is None for found in finds[Kind.NOT_A_DIGIT]}) == 2


def test_sizes_are_what_the_size_rule_looks_for(finds: dict[Kind, list[Find]]) -> None:
    for kind, group in finds.items():
        for found in group:
            width, height = decode(found.data).size
            if kind is Kind.TINY:
                assert min(width, height) <= 150
            elif kind is Kind.EXTREME_ASPECT:
                assert max(width, height) / min(width, height) > 3
            elif kind is not Kind.NEAR_DUPLICATE:
                assert min(width, height) >= 200
                assert max(width, height) / min(width, height) <= 3


def test_near_duplicates_look_like_their_source_and_strangers_do_not(finds: dict[Kind, list[Find]]) -> None:
    copies = finds[Kind.NEAR_DUPLICATE]
    sources = [find(0, copy.source or 0) for copy in copies]
    assert all(
        source.kind is not Kind.NEAR_DUPLICATE and source.index < copy.index
        for source, copy in zip(sources, copies, strict=True)
    )
    similar = _similarities([copy.data for copy in copies], [source.data for source in sources])
    clean = [found.data for found in finds[Kind.CLEAN]]
    strange = _similarities(clean, clean[1:] + clean[:1])
    assert np.median(similar) > 0.99
    assert np.quantile(similar, 0.1) > strange.max()


def test_leaked_images_are_test_images(finds: dict[Kind, list[Find]]) -> None:
    leaked = finds[Kind.LEAKED_TEST]
    originals = [photograph(Part.TEST, found.source or 0) for found in leaked]
    found = copy_descriptors([stored(decode(leak.data)) for leak in leaked])
    assert ((found * copy_descriptors([stored(image) for image in originals])).sum(axis=1) > 0.999).all()


def test_a_picture_without_contrast_has_a_descriptor_too() -> None:
    assert np.isfinite(copy_descriptors([Image.new("RGB", (64, 64), "white")])).all()


def _similarities(first: list[bytes], second: list[bytes]) -> np.ndarray:
    left, right = (copy_descriptors([stored(decode(data)) for data in group]) for group in (first, second))
    return (left * right).sum(axis=1)
