"""Classes from WordNet have the lemmas and definitions that the dictionary gives their ids."""

from __future__ import annotations

from pathlib import Path

import pytest

from competition.errors import DataFormatError, UsageError
from participant_kit.assets import WORDNET
from participant_kit.labelled.classes import load_classes
from participant_kit.labelled.wordnet_classes import noun_synsets, synset_classes
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.subsets.test_baselines import needs_wordnet

NOUNS = """  1 the licence
01440764 05 n 02 tench 0 Tinca_tinca 0 001 @ 01438208 n 0000 | freshwater dace-like game fish; "a tench"
02012849 05 n 01 crane 4 000 | large long-necked wading bird of marshes; and plains
"""


def test_the_dictionarys_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(NOUNS)
    crane, tench = synset_classes(tmp_path, ["n02012849", "n01440764"])[::-1]
    assert tench.names == ("tench", "Tinca tinca")
    assert tench.text == "tench: freshwater dace-like game fish"
    assert crane.definition == "large long-necked wading bird of marshes; and plains"
    with pytest.raises(UsageError, match="n00000001 is no noun synset"):
        synset_classes(tmp_path, ["n00000001"])
    (tmp_path / "data.noun").write_text(NOUNS + "something else\n")
    with pytest.raises(DataFormatError, match=r"Line 4 of .* is no synset"):
        list(noun_synsets(tmp_path))
    with pytest.raises(DataFormatError, match=r"has no data\.noun"):
        list(noun_synsets(tmp_path / "absent"))


@needs_wordnet
def test_a_class_list_is_made_of_ids(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("n02084071\nn01440764\n")
    result = typed("label", "classes", "--synset-ids", tmp_path / "ids.txt", "--save-path", tmp_path / "c.json")
    assert result.code == 0, result.err
    classes = load_classes(tmp_path / "c.json")
    assert classes.ids == ["n01440764", "n02084071"]
    assert classes.entries[1].names == ("dog", "domestic dog", "Canis familiaris")
    (tmp_path / "ids.txt").write_text("n02084071\ndog\n")
    words = ("--synset-ids", tmp_path / "ids.txt", "--wordnet-dir", WORDNET.system_path or "")
    assert "Line 2 of" in refused("label", "classes", *words, "--save-path", tmp_path / "c.json").err
