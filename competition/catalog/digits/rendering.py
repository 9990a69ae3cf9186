"""From an 8x8 digit to a photograph-like image: colours, size, position, rotation, blur and contrast.

What an image looks like is drawn first (``draw_look``, a pure function of its generator) and rendered afterwards
(``render``), so that captions can name what is seen. The mask of the digit is warped and blurred on a small canvas and
then enlarged and coloured through a palette: about a millisecond an image.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Rgb = tuple[int, int, int]

INKS: Mapping[str, Rgb] = {
    "black": (20, 20, 20),
    "red": (200, 25, 30),
    "blue": (25, 50, 190),
    "green": (15, 120, 40),
    "purple": (115, 30, 140),
    "brown": (110, 60, 20),
}
"""Colours of digits; all darker than every paper."""

PAPERS: Mapping[str, Rgb] = {
    "white": (245, 245, 245),
    "yellow": (245, 225, 90),
    "pink": (250, 180, 205),
    "orange": (250, 170, 80),
    "turquoise": (120, 220, 215),
    "grey": (180, 180, 185),
}
"""Colours of backgrounds."""

COMMON_SHARE = 0.8
"""Share of black among inks and, independently, of white among papers; the other colours are equally frequent."""

STORED_SIZE = 64
"""The longer side of stored images in pixels, as img2dataset's ``keep_ratio_largest`` with only-if-bigger leaves it."""

JPEG_QUALITY = 95

CANVAS = 96
"""The shorter side of the canvas that masks are drawn on, in pixels."""

_MARGIN = 2


@dataclass(frozen=True)
class Conditions:
    """Ranges (low, high) that looks are drawn from, uniformly.

    ``side`` is the shorter side in pixels and ``aspect`` the longer over the shorter; ``scale`` is the digit's box over
    the image's side; ``shift`` moves it by at most this share of the side; ``rotation`` is in degrees either way;
    ``blur`` is a Gaussian's sigma over the side; ``contrast`` is 1 for full ink.
    """

    side: tuple[int, int] = (200, 320)
    aspect: tuple[float, float] = (1.0, 1.3)
    scale: tuple[float, float] = (0.7, 0.95)
    shift: float = 0.06
    rotation: float = 10.0
    blur: tuple[float, float] = (0.0, 0.03)
    contrast: tuple[float, float] = (0.7, 1.0)


@dataclass(frozen=True)
class Look:
    """Everything that ``render`` needs besides the digit. Lengths are shares of the side, angles radians."""

    ink: str
    paper: str
    ink_rgb: Rgb
    paper_rgb: Rgb
    width: int
    height: int
    scale: float
    shift: tuple[float, float]
    rotation: float
    blur: float
    contrast: float


def draw_look(
    rng: np.random.Generator, conditions: Conditions, ink: str | None = None, paper: str | None = None
) -> Look:
    """Draw a look; colours are drawn too unless they are given."""
    ink = ink or _colour(rng, list(INKS))
    paper = paper or _colour(rng, list(PAPERS))
    side = int(rng.integers(conditions.side[0], conditions.side[1] + 1))
    other = round(side * rng.uniform(*conditions.aspect))
    width, height = (other, side) if rng.random() < 0.5 else (side, other)
    return Look(
        ink=ink,
        paper=paper,
        ink_rgb=_jitter(rng, INKS[ink]),
        paper_rgb=_jitter(rng, PAPERS[paper]),
        width=width,
        height=height,
        scale=rng.uniform(*conditions.scale),
        shift=(rng.uniform(-conditions.shift, conditions.shift), rng.uniform(-conditions.shift, conditions.shift)),
        rotation=math.radians(rng.uniform(-conditions.rotation, conditions.rotation)),
        blur=rng.uniform(*conditions.blur),
        contrast=rng.uniform(*conditions.contrast),
    )


def render(pixels: NDArray[np.uint8], look: Look) -> Image.Image:
    """Render one digit, uint8 of shape (8, 8), as an RGB image of the look's width and height."""
    mask = _mask(pixels, look)
    if look.blur > 0:
        mask = mask.filter(ImageFilter.GaussianBlur(look.blur * CANVAS))
    return develop(mask, look)


def develop(mask: Image.Image, look: Look) -> Image.Image:
    """Enlarge a mask (mode L, 0 for paper to 255 for ink) to the look's size and give it the look's colours."""
    ink, paper = np.array(look.ink_rgb, dtype=np.float64), np.array(look.paper_rgb, dtype=np.float64)
    ramp = np.linspace(0.0, look.contrast, 256)[:, None]
    palette = np.rint(paper + (ink - paper) * ramp).astype(np.uint8)
    enlarged = mask.resize((look.width, look.height), Image.Resampling.BICUBIC)
    enlarged.putpalette(palette.tobytes())
    return enlarged.convert("RGB")


def stored(image: Image.Image) -> Image.Image:
    """The image as img2dataset would store it: longer side at most 64 pixels (area interpolation), never enlarged."""
    longer = max(image.size)
    if longer <= STORED_SIZE:
        return image
    width, height = (max(1, round(side * STORED_SIZE / longer)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def encode_jpeg(image: Image.Image) -> bytes:
    """JPEG bytes at quality 95, img2dataset's setting."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()


def decode(data: bytes) -> Image.Image:
    """An encoded image as RGB."""
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def _mask(pixels: NDArray[np.uint8], look: Look) -> Image.Image:
    """The warped digit on a canvas of the image's proportions whose shorter side has ``CANVAS`` pixels."""
    shorter = min(look.width, look.height)
    width, height = (round(side * CANVAS / shorter) for side in (look.width, look.height))
    source = Image.fromarray(np.pad(pixels, _MARGIN))
    step = 8 / (look.scale * CANVAS)  # source pixels for one canvas pixel
    cos, sin = math.cos(look.rotation) * step, math.sin(look.rotation) * step
    x, y = width / 2 + look.shift[0] * CANVAS, height / 2 + look.shift[1] * CANVAS
    centre = 4 + _MARGIN
    affine = (cos, sin, centre - cos * x - sin * y, -sin, cos, centre + sin * x - cos * y)
    return source.transform((width, height), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)


def _colour(rng: np.random.Generator, names: list[str]) -> str:
    common, *others = names
    return common if rng.random() < COMMON_SHARE else others[int(rng.integers(len(others)))]


def _jitter(rng: np.random.Generator, rgb: Rgb, amount: int = 14) -> Rgb:
    red, green, blue = np.clip(np.array(rgb) + rng.integers(-amount, amount + 1, 3), 0, 255).tolist()
    return red, green, blue
