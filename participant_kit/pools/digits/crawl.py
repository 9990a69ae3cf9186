"""What the imagined crawl of the web found at each position of the pool.

A find is a pure function of (seed, index), so pools nest (a larger one begins with a smaller one), and any shard can be
made by any process. Each find is of exactly one kind; ``PROPORTIONS`` gives the expected shares.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from PIL import ImageEnhance

from competition.catalog.digits.captions import describe
from competition.catalog.digits.rendering import Conditions, Look, decode, draw_look, encode_jpeg, render
from competition.catalog.digits.split import Part, load_part
from competition.catalog.digits.testsets import test_photograph
from participant_kit.pools.annotate.identity import pair_uid
from participant_kit.pools.digits.distractors import PATTERNS, junk_caption, pattern_caption, pattern_image


class Kind(StrEnum):
    """What a find is; written to the answer file and nowhere else."""

    CLEAN = "clean"
    WRONG_CAPTION = "wrong_caption"
    JUNK_CAPTION = "junk_caption"
    NOT_A_DIGIT = "not_a_digit"
    NEAR_DUPLICATE = "near_duplicate"
    TINY = "tiny"
    EXTREME_ASPECT = "extreme_aspect"
    LEAKED_TEST = "leaked_test"


PROPORTIONS: dict[Kind, float] = {
    Kind.CLEAN: 0.38,
    Kind.WRONG_CAPTION: 0.2,
    Kind.JUNK_CAPTION: 0.12,
    Kind.NOT_A_DIGIT: 0.16,
    Kind.NEAR_DUPLICATE: 0.08,
    Kind.TINY: 0.03,
    Kind.EXTREME_ASPECT: 0.025,
    Kind.LEAKED_TEST: 0.005,
}
"""Expected share of each kind; they sum to 1. Captions of clean finds are English by ``captions.ENGLISH_SHARE``."""

TINY = Conditions(side=(32, 150))
EXTREME = Conditions(aspect=(3.2, 6.0))

NAMES_A_DIGIT, NAMES_THE_PATTERN = 0.5, 0.25
"""Of pictures that show no digit: share with a caption that names one, and with a true caption; the rest has junk."""

POPULARITY = 3
"""Near-duplicates copy early finds far more often than late ones: source = index * u ** POPULARITY, u uniform."""

SAME_TEXT = 0.7
"""Share of near-duplicates that copy the caption too; the others describe the copied picture anew, or are junk."""

_HOSTS = ("images.numberlore", "cdn.everypicture", "static.school-prints", "shop.wallcharts", "blog.paper-and-ink")


@dataclass(frozen=True)
class Find:
    """One image-text pair as found.

    ``data`` holds the original JPEG's bytes. ``digit`` is what the image shows and ``told`` what the caption names;
    ``None`` for neither. ``source`` is the index that a near-duplicate copies; a leaked image's is its test index.
    """

    index: int
    kind: Kind
    data: bytes
    text: str
    url: str
    digit: int | None
    told: int | None
    source: int | None = None

    @property
    def uid(self) -> str:
        """128 bits of a hash of (url, text), as 32 hex digits."""
        return pair_uid(self.url, self.text)


def kind_of(seed: int, index: int) -> Kind:
    """The kind of a find, without making it."""
    return _draw_kind(np.random.default_rng([seed, index]), index)


def find(seed: int, index: int) -> Find:
    """The find at a position of the pool with this seed."""
    rng = np.random.default_rng([seed, index])
    kind = _draw_kind(rng, index)
    blank = Find(index, kind, b"", "", _url(seed, index), None, None)
    if kind is Kind.NEAR_DUPLICATE:
        return _near_duplicate(rng, seed, blank)
    if kind is Kind.NOT_A_DIGIT:
        return _not_a_digit(rng, blank)
    if kind is Kind.LEAKED_TEST:
        return _leaked(rng, blank)
    return _digit(rng, blank)


def _draw_kind(rng: np.random.Generator, index: int) -> Kind:
    kinds = list(PROPORTIONS)
    position = int(np.searchsorted(np.cumsum(list(PROPORTIONS.values())), rng.random(), side="right"))
    kind = kinds[min(position, len(kinds) - 1)]
    return Kind.CLEAN if kind is Kind.NEAR_DUPLICATE and index == 0 else kind


def _digit(rng: np.random.Generator, blank: Find) -> Find:
    digits = load_part(Part.POOL)
    position = int(rng.integers(len(digits)))
    conditions = {Kind.TINY: TINY, Kind.EXTREME_ASPECT: EXTREME}.get(blank.kind, Conditions())
    look = draw_look(rng, conditions)
    digit = int(digits.labels[position])
    told: int | None = digit
    if blank.kind is Kind.JUNK_CAPTION:
        told, text = None, junk_caption(rng)
    elif blank.kind is Kind.WRONG_CAPTION:
        told = (digit + int(rng.integers(1, 10))) % 10
        other = draw_look(rng, conditions)
        text = describe(rng, told, other.ink, other.paper)
    else:
        text = describe(rng, digit, look.ink, look.paper)
    data = encode_jpeg(render(digits.pixels[position], look))
    return replace(blank, data=data, text=text, digit=digit, told=told)


def _not_a_digit(rng: np.random.Generator, blank: Find) -> Find:
    pattern = list(PATTERNS)[int(rng.integers(len(PATTERNS)))]
    look = draw_look(rng, Conditions())
    told, text = _pattern_text(rng, pattern, look)
    return replace(blank, data=encode_jpeg(pattern_image(rng, pattern, look)), text=text, told=told)


def _pattern_text(rng: np.random.Generator, pattern: str, look: Look) -> tuple[int | None, str]:
    style = rng.random()
    if style < NAMES_A_DIGIT:
        told = int(rng.integers(10))
        return told, describe(rng, told, look.ink, look.paper)
    if style < NAMES_A_DIGIT + NAMES_THE_PATTERN:
        return None, pattern_caption(rng, pattern, look)
    return None, junk_caption(rng)


def _leaked(rng: np.random.Generator, blank: Find) -> Find:
    tests = load_part(Part.TEST)
    position = int(rng.integers(len(tests)))
    digit = int(tests.labels[position])
    look = draw_look(rng, Conditions())
    text = describe(rng, digit, look.ink, look.paper)
    data = encode_jpeg(test_photograph(Part.TEST, position))
    return replace(blank, data=data, text=text, digit=digit, told=digit, source=position)


def _near_duplicate(rng: np.random.Generator, seed: int, blank: Find) -> Find:
    """Another find's image, cut by a hair, lightened or darkened a little, and encoded again."""
    source = blank.index
    while kind_of(seed, source) is Kind.NEAR_DUPLICATE:
        source = int(source * rng.random() ** POPULARITY)
    copied = find(seed, source)
    image = decode(copied.data)
    left, top, right, bottom = (int(rng.integers(0, 3)) for _ in range(4))
    image = image.crop((left, top, image.width - right, image.height - bottom))
    image = ImageEnhance.Brightness(image).enhance(float(rng.uniform(0.96, 1.04)))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(rng.integers(70, 96)))
    text, told = copied.text, copied.told
    if rng.random() >= SAME_TEXT:
        text, told = junk_caption(rng), None
    return replace(blank, data=stream.getvalue(), text=text, digit=copied.digit, told=told, source=source)


def _url(seed: int, index: int) -> str:
    name = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=9).hexdigest()
    return f"https://{_HOSTS[int(name[:2], 16) % len(_HOSTS)]}.invalid/{name[2:4]}/{name[4:]}.jpg"
