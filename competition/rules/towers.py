"""Which configurations of the two towers of a CLIP model can be built.

A recipe's digest covers a tower just as the file has it, so it stays a mapping; what is checked is that open_clip
takes its keys, and that the numbers go together. Defaults are those of open_clip 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from competition.rules.inconsistency import known, wrong

_MOST = 1 << 20
_TOKENS = 49408
"""Of CLIP's tokenizer."""
_DEFAULTS: dict[str, dict[str, int]] = {
    "vision": {"image_size": 224, "layers": 12, "width": 768, "head_width": 64, "patch_size": 16},
    "text": {"context_length": 77, "vocab_size": _TOKENS, "layers": 12, "width": 512, "heads": 8},
}
_REQUIRED = {"vision": "image_size", "text": "context_length"}
_DIVISORS = (("vision", "image_size", "patch_size"), ("vision", "width", "head_width"), ("text", "width", "heads"))


def check_towers(vision: Mapping[str, Any], text: Mapping[str, Any], *where: str) -> None:
    """Refuse keys and numbers from which open_clip makes no model; ``where`` the towers are, for messages.

    Raises:
        PydanticCustomError: says which, and where.
    """
    towers = {"vision": vision, "text": text}
    for tower, given in towers.items():
        _check_values(tower, given, *where)
    if text.get("vocab_size", _TOKENS) < _TOKENS:
        raise wrong(f"the tokenizer has {_TOKENS} tokens", *where, "text", "vocab_size")
    for tower, whole, part in _DIVISORS:
        sizes = {**_DEFAULTS[tower], **towers[tower]}
        if sizes[whole] % sizes[part]:
            place = whole if whole in towers[tower] else part
            raise wrong(f"{whole} {sizes[whole]} is not a multiple of {part} {sizes[part]}", *where, tower, place)


def _check_values(tower: str, given: Mapping[str, Any], *where: str) -> None:
    allowed = {*_DEFAULTS[tower], "mlp_ratio"}
    for key, value in given.items():
        known(key, allowed, *where, tower, key)
        if key == "mlp_ratio":
            if type(value) not in {int, float} or not 0 < value <= _MOST or not math.isfinite(value):
                raise wrong("must be a number above 0", *where, tower, key)
        elif type(value) is not int or not 1 <= value <= _MOST:
            raise wrong(f"must be a whole number from 1 to {_MOST}, and is {str(value)[:40]!r}", *where, tower, key)
    if _REQUIRED[tower] not in given:
        raise wrong(f"{_REQUIRED[tower]} is missing", *where, tower)
