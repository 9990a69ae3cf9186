"""What a web crawl finds besides digits: pictures of patterns, and captions that say nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from competition.catalog.digits.rendering import CANVAS, Look, develop

Mask = NDArray[np.floating[Any]]
"""Ink between 0 and 1, shape (CANVAS, CANVAS)."""


def _grid() -> tuple[Mask, Mask]:
    y, x = np.mgrid[0:CANVAS, 0:CANVAS] / CANVAS
    return x, y


def _stripes(rng: np.random.Generator) -> Mask:
    x, y = _grid()
    angle, waves = rng.uniform(0, np.pi), rng.uniform(3, 9)
    wave: Mask = 0.5 + 0.5 * np.sin(2 * np.pi * waves * (np.cos(angle) * x + np.sin(angle) * y))
    return wave


def _checks(rng: np.random.Generator) -> Mask:
    x, y = _grid()
    cells = rng.integers(3, 9)
    board: Mask = ((x * cells).astype(int) + (y * cells).astype(int)) % 2 * 1.0
    return board


def _rings(rng: np.random.Generator) -> Mask:
    x, y = _grid()
    radius = np.hypot(x - rng.uniform(0.3, 0.7), y - rng.uniform(0.3, 0.7))
    rings: Mask = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(3, 8) * radius)
    return rings


def _dots(rng: np.random.Generator) -> Mask:
    x, y = _grid()
    cells = rng.integers(3, 7)
    dots: Mask = (np.hypot(x * cells % 1 - 0.5, y * cells % 1 - 0.5) < rng.uniform(0.2, 0.4)) * 1.0
    return dots


def _clouds(rng: np.random.Generator) -> Mask:
    size = int(rng.integers(4, 9))
    small = Image.fromarray(rng.integers(0, 256, (size, size), dtype=np.uint8))
    return np.asarray(small.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC), dtype=np.float64) / 255


def _grain(rng: np.random.Generator) -> Mask:
    size = int(rng.integers(24, 49))
    small = Image.fromarray(rng.integers(0, 256, (size, size), dtype=np.uint8))
    return np.asarray(small.resize((CANVAS, CANVAS), Image.Resampling.NEAREST), dtype=np.float64) / 255


def _blocks(rng: np.random.Generator) -> Mask:
    mask = np.zeros((CANVAS, CANVAS))
    for _ in range(int(rng.integers(2, 6))):
        left, top = rng.integers(0, CANVAS * 3 // 4, 2)
        width, height = rng.integers(CANVAS // 8, CANVAS // 2, 2)
        mask[top : top + height, left : left + width] = rng.uniform(0.5, 1)
    return mask


PATTERNS: dict[str, Callable[[np.random.Generator], Mask]] = {
    "stripes": _stripes,
    "checks": _checks,
    "rings": _rings,
    "dots": _dots,
    "clouds": _clouds,
    "grain": _grain,
    "blocks": _blocks,
}
"""Kinds of pattern, by the word that captions use."""

_PATTERN_CAPTIONS = (
    "wallpaper with {ink} {pattern} on {paper}",
    "{ink} and {paper} {pattern}, seamless background",
    "abstract {pattern} texture in {ink}",
    "fabric with {pattern} by the metre, {paper}",
    "vector background: {pattern}",
)


def pattern_image(rng: np.random.Generator, pattern: str, look: Look) -> Image.Image:
    """A picture of a pattern in the look's size and colours."""
    mask = PATTERNS[pattern](rng)
    return develop(Image.fromarray(np.rint(np.clip(mask, 0, 1) * 255).astype(np.uint8)), look)


def pattern_caption(rng: np.random.Generator, pattern: str, look: Look) -> str:
    """A true caption of a pattern."""
    return _pick(rng, _PATTERN_CAPTIONS).format(pattern=pattern, ink=look.ink, paper=look.paper)


_JUNK = (
    "IMG_{number}.jpg",
    "DSC0{number}.JPG",
    "image-{number}.png",
    "untitled-{small} copy.png",
    "Screenshot {small}",
    "photo{small}",
    "Click here to enlarge the picture",
    "Click to see the full size image",
    "Home | Products | About us | Contact",
    "Best price! Free shipping on all orders over ${small}",
    "Buy cheap online {number} discount sale 2022 best price",
    "Share on Facebook, Twitter and Pinterest",
    "Page {small} of our gallery, updated weekly",
    "Download free stock photos for your website",
    "Item no. {number}, ships within {small} days",
    "Produktbild {number}",
    "Haga clic para ampliar la imagen",
    "Agrandir la photo",
    "нажмите, чтобы увеличить",
)


def junk_caption(rng: np.random.Generator) -> str:
    """A caption that says nothing about its image: a file name, a button, an advertisement."""
    return _pick(rng, _JUNK).format(number=int(rng.integers(1000, 10000)), small=int(rng.integers(2, 100)))


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
