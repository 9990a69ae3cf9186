"""WordNet's first synset, word for word what the original's reader (NLTK 3.8.1) answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from competition.errors import DataFormatError
from participant_kit.assets import WORDNET
from participant_kit.subsets.wordnet import CLASSES, WordNet


@pytest.fixture(scope="module")
def wordnet() -> WordNet:
    assert WORDNET.system_path is not None
    if not WORDNET.system_path.is_dir():
        pytest.skip("WordNet 3.0 is absent (Debian: wordnet-base)")
    return WordNet(WORDNET.system_path)


def write_dictionary(folder: Path, nouns: str = "", verbs: str = "", exceptions: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    for name in CLASSES:
        (folder / f"index.{name}").write_text("  1 This software and database is licensed\n")
        (folder / f"{name}.exc").write_text("")
    with (folder / "index.noun").open("a") as stream:
        stream.write(nouns)
    with (folder / "index.verb").open("a") as stream:
        stream.write(verbs)
    (folder / "noun.exc").write_text(exceptions)
    return folder


def test_every_token_of_the_golden_captions_has_the_originals_synset(golden: Path, wordnet: WordNet) -> None:
    table = (golden / "datacomp_filters" / "diagnostics_first_synset.tsv").read_bytes().decode().split("\n")[:-1]
    expected = {token: int(offset) for token, _, offset in (line.split("\t") for line in table)}
    assert {token: wordnet.first_synset(token) for token in expected} == expected
    assert len(expected) > 300


def test_morphology_of_the_original(wordnet: WordNet) -> None:
    dog = wordnet.first_synset("dog")
    assert dog == 2084071
    assert wordnet.first_synset("Dogs") == dog
    assert wordnet.first_synset("dogss") == dog  # rules apply again and again; later versions of NLTK say nothing here
    assert wordnet.first_synset("geese") == wordnet.first_synset("goose")
    assert wordnet.first_synset("dog,") is None
    assert wordnet.first_synset("the") is None
    assert wordnet.first_synset("quickly") is not None  # an adverb


def test_word_classes_exceptions_and_later_lines(tmp_path: Path) -> None:
    nouns = "run n 2 1 @ 2 0 00000007 00000008\nox n 1 0 1 0 00000011\nlox n 1 0 1 0 00000012\n"
    folder = write_dictionary(
        tmp_path, nouns, "run v 1 0 1 0 00000001\nwalk v 1 0 1 0 00000002\n", "oxen lox\noxen ox\nruns nothing\n"
    )
    words = WordNet(folder)
    assert words.first_synset("run") == 7  # a noun before a verb, the first of two
    assert words.first_synset("oxen") == 11  # the later line holds
    assert words.first_synset("walking") == 2
    assert words.first_synset("runs") == 1  # an exception ends the search among nouns, not among verbs


def test_a_folder_that_is_not_wordnets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match=r"has no index\.noun"):
        WordNet(tmp_path)
    folder = write_dictionary(tmp_path / "dict", nouns="dog n many\n")
    with pytest.raises(DataFormatError, match="not an index entry: 'dog n many'"):
        WordNet(folder)
