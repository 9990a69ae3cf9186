"""Captions name exactly the classes that the original's loop finds, for any captions and lemmas."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from participant_kit.labelled import lemmas
from participant_kit.labelled.classes import ClassEntry, ClassList
from participant_kit.labelled.lemmas import NO_CLASS, SEVERAL, named_classes, never_found
from participant_kit.subsets.captions import Captions

BLANKS = str.maketrans(string.punctuation, " " * len(string.punctuation))
WORD = st.sampled_from(["a", "b", "ab", "A", "é", "ß", "犬", "a b", "b a", "a-b", "b  a", "ab."])
CAPTION = st.lists(WORD | st.sampled_from([" ", "", "\n", "\x00", "'", "\u00a0"]), max_size=8).map(" ".join)


def by_loop(caption: str, classes: ClassList) -> int:
    """LAIONet's rule, asked for each lemma by itself."""
    text = f" {caption.translate(BLANKS)} "
    found = {owner for lemma, owner in classes.lemmas.items() if f" {lemma} " in text}
    return NO_CLASS if not found else SEVERAL if len(found) > 1 else found.pop()


def listed(names: list[list[str]]) -> ClassList:
    return ClassList(tuple(ClassEntry(str(number), tuple(dict.fromkeys(own))) for number, own in enumerate(names)))


@settings(deadline=None)
@given(
    st.lists(CAPTION | st.text(max_size=12), max_size=12),
    st.lists(st.lists(WORD, min_size=1, max_size=4), min_size=1, max_size=5),
    st.integers(1, 60),
)
def test_the_automaton_finds_what_the_loop_finds(captions: list[str], names: list[list[str]], block: int) -> None:
    classes = listed(names)
    texts = [text.encode("utf-8", "replace").decode() for text in captions]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lemmas, "_BLOCK_BYTES", block)
        found = named_classes(Captions.of_strings(texts), classes)
    assert found.classes.tolist() == [by_loop(text, classes) for text in texts]
    known = list(classes.lemmas)
    for text, lemma, owner in zip(texts, found.lemmas.tolist(), found.classes.tolist(), strict=True):
        assert (lemma == -1) == (owner == NO_CLASS)
        if lemma >= 0:
            assert f" {known[lemma]} " in f" {text.translate(BLANKS)} "
            assert owner in {SEVERAL, classes.lemmas[known[lemma]]}


def test_a_name_of_two_classes_says_nothing_and_punctuation_is_never_found() -> None:
    classes = listed([["crane", "heron"], ["crane"], ["jack-o'-lantern", "tench"]])
    assert dict(classes.lemmas) == {"heron": 0, "jack-o'-lantern": 2, "tench": 2}
    assert classes.without_lemma == ["1"]
    assert never_found(classes) == ["jack-o'-lantern"]
    captions = ["a crane", "heron,crane", "jack-o'-lantern", "Tench", "tenches", "tench!", "heron and tench", ""]
    found = named_classes(Captions.of_strings(captions), classes)
    assert found.classes.tolist() == [NO_CLASS, 0, NO_CLASS, NO_CLASS, NO_CLASS, 2, SEVERAL, NO_CLASS]
    taken = named_classes(Captions.of_strings(captions).take(np.array([6, 5])), classes)
    assert taken.classes.tolist() == [SEVERAL, 2], "some rows of a table, in any order"
