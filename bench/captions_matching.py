"""Which classes captions name: one automaton over all lemmas beside a loop over them, on the same captions.

The loop is LAIONet's (``scripts/createdataset/label_laion.py``), written anew from what it does: for each caption,
blanks for punctuation, then for each lemma of the dictionary ``" lemma " in text``, lemma padded anew each time. The
original also sends the whole dictionary to a process with every caption, which is left out here. The loop's time grows
with the number of captions, so it is measured on some of them, and its seconds for all are that many times as many.
Seconds are the processor's: both ways run in one process, and the wall clock swings with the machine's load.
"""

from __future__ import annotations

import string
import time
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bench.captions import captions
from participant_kit.assets import WORDNET, find_asset
from participant_kit.labelled.classes import ClassList
from participant_kit.labelled.lemmas import NO_CLASS, SEVERAL, named_classes
from participant_kit.labelled.wordnet_classes import noun_synsets
from participant_kit.subsets.captions import Captions

CLASSES, COUNT, LOOPED = 1_000, 1_000_000, 20_000
NAMED_SHARE = 0.2
"""Of the captions that get a lemma of some class at the end, a quarter of them a second one."""

_BLANKS = str.maketrans(string.punctuation, " " * len(string.punctuation))


def main() -> None:
    """Print a Markdown table: captions, seconds and ratio; says whether the answers are the same."""
    generator = np.random.default_rng(0)
    synsets = list(noun_synsets(find_asset(WORDNET)))
    drawn = np.sort(generator.choice(len(synsets), CLASSES, replace=False))
    classes = ClassList(tuple(synsets[number] for number in drawn))
    texts = _naming(generator, classes)
    part = texts.slice(0, LOOPED)

    start = time.process_time()
    looped = _by_loop(part.to_pylist(), classes.lemmas)
    loop = (time.process_time() - start) * COUNT / LOOPED
    start = time.process_time()
    found = named_classes(_as_captions(texts), classes).classes
    machine = time.process_time() - start
    start = time.process_time()
    loop_again = _by_loop(part.to_pylist(), classes.lemmas)
    loop = min(loop, (time.process_time() - start) * COUNT / LOOPED)

    same = np.array_equal(looped, found[:LOOPED]) and np.array_equal(looped, loop_again)
    assert same, "the automaton and the loop differ"
    print(f"{CLASSES:,} classes, {len(classes.lemmas):,} lemmas, {COUNT:,} captions; one process\n")
    print("| way | captions | CPU seconds for all | captions/s | ratio |")
    print("| --- | --- | --- | --- | --- |")
    print(f"| loop over lemmas | {LOOPED:,} | {loop:.1f} | {COUNT / loop:,.0f} | 1 |")
    print(f"| one automaton | {COUNT:,} | {machine:.2f} | {COUNT / machine:,.0f} | {loop / machine:.0f} |")
    one, several = np.count_nonzero(found >= 0), np.count_nonzero(found == SEVERAL)
    print(f"\nidentical on {LOOPED:,} captions; of all, {one:,} name one class and {several:,} several")


def _naming(generator: np.random.Generator, classes: ClassList) -> pa.Array:
    """Web-like captions, some of which end with one or two lemmas."""
    lemmas = pa.array(list(classes.lemmas))
    texts = captions(generator, COUNT)
    for share in (NAMED_SHARE, NAMED_SHARE / 4):
        more = pc.binary_join_element_wise(texts, lemmas.take(pa.array(generator.integers(0, len(lemmas), COUNT))), " ")
        texts = pc.if_else(pa.array(generator.random(COUNT) < share), more, texts)
    return texts


def _as_captions(texts: pa.Array) -> Captions:
    return Captions.of_table(pa.table({"text": texts}), find_asset(WORDNET))


def _by_loop(texts: list[str], lemmas: Mapping[str, int]) -> NDArray[np.int32]:
    """Each caption's class, by asking for every lemma."""
    answers = np.empty(len(texts), dtype=np.int32)
    for row, caption in enumerate(texts):
        text = " " + caption.translate(_BLANKS) + " "
        found = {owner for lemma, owner in lemmas.items() if _padded(lemma) in text}
        answers[row] = NO_CLASS if not found else SEVERAL if len(found) > 1 else found.pop()
    return answers


def _padded(lemma: str) -> str:
    return " " + lemma + " "
