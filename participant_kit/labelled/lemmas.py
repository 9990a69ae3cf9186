"""Which classes captions name: Aho-Corasick over all lemmas at once, by LAIONet's rule for what a match is.

LAIONet (Shirali and Hardt, 2023) puts a blank for every ASCII punctuation mark of the caption, a blank before and one
behind it, and looks for each lemma with a blank before and behind it; case is kept as it is. So a lemma matches whole
words alone, one that holds punctuation itself never does, and two blanks in a row are not one. The original asks for
each of the lemmas whether it is ``in`` the caption; here one automaton passes over the captions of a block, joined,
once. UTF-8 is matched byte by byte: no character's bytes occur inside those of another.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from participant_kit.labelled.classes import ClassList
from participant_kit.subsets.captions import Captions

NO_CLASS, SEVERAL = -1, -2
"""What ``Named.classes`` says of a caption with no class's lemma, or with those of several classes."""

_BLANKS = bytes.maketrans(string.punctuation.encode(), b" " * len(string.punctuation))
_BETWEEN = b" \x00 "
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Named:
    """What captions name; arrays of shape (captions,).

    Args:
        classes: int32, the index of the one class whose lemmas occur, ``NO_CLASS`` or ``SEVERAL``.
        lemmas: int32, position in ``ClassList.lemmas`` of the first lemma that occurs, -1 for none.
    """

    classes: NDArray[np.int32]
    lemmas: NDArray[np.int32]


def named_classes(captions: Captions, classes: ClassList) -> Named:
    """The one class that each caption names, if it names exactly one."""
    count = len(captions)
    lemmas = np.full(count, -1, dtype=np.int32)
    if not classes.lemmas:
        return Named(np.full(count, NO_CLASS, dtype=np.int32), lemmas)
    machine = _automaton(classes)
    owners = np.fromiter(classes.lemmas.values(), np.int32, len(classes.lemmas))
    least, most = np.full(count, len(classes), dtype=np.int32), np.full(count, -1, dtype=np.int32)
    for first, text, starts in _blocks(captions):
        matches = np.array(list(machine.iter(text)), dtype=np.int64).reshape(-1, 2)
        rows = first + np.searchsorted(starts, matches[:, 0], side="right") - 1
        found = owners[matches[:, 1]]
        np.minimum.at(least, rows, found)
        np.maximum.at(most, rows, found)
        lemmas[rows[::-1]] = matches[::-1, 1]
    named = np.where(most < 0, NO_CLASS, np.where(least == most, most, SEVERAL)).astype(np.int32)
    return Named(named, lemmas)


def never_found(classes: ClassList) -> list[str]:
    """Lemmas that no caption can contain, since they hold punctuation."""
    return [lemma for lemma in classes.lemmas if lemma.encode().translate(_BLANKS) != lemma.encode()]


def _blocks(captions: Captions) -> Iterator[tuple[int, str, NDArray[np.int64]]]:
    """Captions joined as the automaton takes them, one character a byte: the first one's number, the text, and where
    in it each caption (its leading blank) begins."""
    text = memoryview(captions.text)
    lengths = captions.ends - captions.starts
    behind = np.cumsum(lengths + len(_BETWEEN))
    first = 0
    while first < len(captions):
        before = int(behind[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(behind, before + _BLOCK_BYTES)))
        pieces = [
            bytes(text[start:end])
            for start, end in zip(captions.starts[first:last].tolist(), captions.ends[first:last].tolist(), strict=True)
        ]
        joined = b" " + _BETWEEN.join(pieces).translate(_BLANKS) + b" "
        starts = np.concatenate([[0], behind[first : last - 1] - before])
        yield first, joined.decode("latin-1"), starts
        first = last


@lru_cache(maxsize=2)
def _automaton(classes: ClassList) -> Any:
    """One for each process and list of classes. The first lemma of a caption is the one that ends first; of those that
    end together the longest comes first."""
    ahocorasick = import_module("ahocorasick")
    machine = ahocorasick.Automaton(ahocorasick.STORE_INTS)
    for number, lemma in enumerate(classes.lemmas):
        machine.add_word(f" {lemma} ".encode().decode("latin-1"), number)
    machine.make_automaton()
    return machine
