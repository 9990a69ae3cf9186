"""The caption filter of DataComp's image-based baseline and of its k-means: English, some words, some characters."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from participant_kit.subsets.captions import TOO_SHORT, Captions
from participant_kit.subsets.language import is_english
from participant_kit.subsets.result import Funnel

MIN_CHARACTERS = 6

_BLANK = rb"[ \r\t\v\f\0]"
_NOT_BLANK = rb"[^ \r\t\v\f\0]"
_IN_WORD = rb"[^ \r\t\v\f\0\n]"
_TWO_TOKENS = re.compile(
    rb"%(blank)s*+(?:%(word)s++(?:%(blank)s++%(word)s|%(blank)s*+\n)|\n%(blank)s*+%(other)s)"
    % {b"blank": _BLANK, b"word": _IN_WORD, b"other": _NOT_BLANK}
)


def have_two_tokens(captions: Captions) -> NDArray[np.bool_]:
    """Has each caption at least two tokens, as fastText's reader cuts them: at space, tab, carriage return, line feed,
    vertical tab, form feed and the zero character, and at no other blank? Every line feed is a token by itself (its
    end of sentence)."""
    match, text = _TWO_TOKENS.match, memoryview(captions.text)
    bounds = zip(captions.starts.tolist(), captions.ends.tolist(), strict=True)
    return np.fromiter((match(text, start, end) is not None for start, end in bounds), bool, len(captions))


def keep_good_captions(funnel: Funnel, captions: Captions, model: Path) -> None:
    """Keep rows with a caption of more than five characters and one token, whose likeliest language is English.

    Looser than the basic filter, which asks for three words between any blanks. Language comes last: it is what costs.

    Args:
        funnel: loses rows as ``caption_too_short``, ``caption_has_few_words``, ``caption_not_english``.
        captions: one for each of the funnel's original rows.
        model: fastText's language model.
    """
    funnel.keep(captions.take(funnel.rows).sizes(MIN_CHARACTERS, 0) != TOO_SHORT, "caption_too_short")
    funnel.keep(have_two_tokens(captions.take(funnel.rows)), "caption_has_few_words")
    funnel.keep(is_english(captions.take(funnel.rows), model), "caption_not_english")
