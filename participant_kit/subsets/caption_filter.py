"""The caption filter of DataComp's image-based baseline and of its k-means: English, some words, some characters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from participant_kit.subsets.language import captions, is_english
from participant_kit.subsets.result import Funnel

MIN_CHARACTERS = 6
MIN_TOKENS = 2

_TOKEN = re.compile(r"[^ \n\r\t\v\f\0]+|\n")


def token_count(text: str) -> int:
    """Tokens as fastText's reader cuts them: at space, tab, carriage return, line feed, vertical tab, form feed and the
    zero character, and at no other blank; every line feed is a token by itself (end of sentence)."""
    return len(_TOKEN.findall(text))


def keep_good_captions(funnel: Funnel, table: Any, model: Path) -> None:
    """Keep rows with a caption of more than five characters and one token, whose likeliest language is English.

    Looser than the basic filter, which asks for three words between any blanks. Language comes last: it is what costs.

    Args:
        funnel: loses rows as ``caption_too_short``, ``caption_has_few_words``, ``caption_not_english``.
        table: with the column ``text``, one row for each of the funnel's original rows.
        model: fastText's language model.
    """
    texts = captions(table, funnel.rows)
    funnel.keep(np.fromiter((len(text) >= MIN_CHARACTERS for text in texts), bool, len(texts)), "caption_too_short")
    texts = captions(table, funnel.rows)
    funnel.keep(
        np.fromiter((token_count(text) >= MIN_TOKENS for text in texts), bool, len(texts)), "caption_has_few_words"
    )
    funnel.keep(is_english(captions(table, funnel.rows), model), "caption_not_english")
