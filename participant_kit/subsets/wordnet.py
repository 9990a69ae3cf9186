"""From a word to its first synset in WordNet 3.0, exactly as DataComp's text filter finds it.

The original asks NLTK 3.8.1 (``wordnet.synsets(word)[0].offset()``), whose morphology is that of WordNet's own
``morphy`` with the suffix rules applied again and again until a form is found. Later versions of NLTK apply them once,
so the uids would depend on the installed version; and NLTK reads 30 MB in every worker where the answer needs only the
four indexes and the four lists of exceptions. Hence this reader. Word classes go in NLTK's order: noun, verb,
adjective, adverb.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError

CLASSES = ("noun", "verb", "adj", "adv")

_SUFFIXES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "noun": (
        ("s", ""),
        ("ses", "s"),
        ("ves", "f"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ),
    "verb": (
        ("s", ""),
        ("ies", "y"),
        ("es", "e"),
        ("es", ""),
        ("ed", "e"),
        ("ed", ""),
        ("ing", "e"),
        ("ing", ""),
    ),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}


class WordNet:
    """The lemmas of a dictionary folder: ``index.noun`` ... ``index.adv`` and ``noun.exc`` ... ``adv.exc``.

    Args:
        folder: WordNet's ``dict`` folder, for instance Debian's ``/usr/share/wordnet``.

    Raises:
        DataFormatError: a file is absent or is not WordNet's.
        StorageError: a file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        files = dictionary_files(folder)
        self._first = {name: _first_offsets(files[f"index.{name}"]) for name in CLASSES}
        self._exceptions = {name: _exceptions(files[f"{name}.exc"]) for name in CLASSES}

    def first_synset(self, word: str) -> int | None:
        """Offset of the first synset of a word, in its class's data file; ``None`` when WordNet does not know it.

        An offset alone does not say the word class: a noun's and a verb's can be the same number.
        """
        lemma = word.lower()
        return next((offset for name in CLASSES if (offset := self._in_class(lemma, name)) is not None), None)

    def _in_class(self, lemma: str, name: str) -> int | None:
        """The first synset of the first base form that the class knows, the word itself before all."""
        first = self._first[name]
        exceptions = self._exceptions[name].get(lemma)
        if exceptions is not None:
            return next((first[form] for form in (lemma, *exceptions) if form in first), None)
        if lemma in first:
            return first[lemma]
        forms = _without_suffix([lemma], name)
        while forms:
            for form in forms:
                if form in first:
                    return first[form]
            forms = _without_suffix(forms, name)
        return None


def dictionary_files(folder: Path) -> dict[str, Path]:
    """The files that the answers depend on, by name.

    Raises:
        DataFormatError: one is absent.
    """
    names = [*(f"index.{name}" for name in CLASSES), *(f"{name}.exc" for name in CLASSES)]
    for name in names:
        if not (folder / name).is_file():
            raise DataFormatError(
                f"The WordNet folder {folder} has no {name}.",
                hint="Point --wordnet-dir to WordNet 3.0's `dict` folder (Debian: wordnet-base, /usr/share/wordnet).",
            )
    return {name: folder / name for name in names}


def _without_suffix(forms: list[str], name: str) -> list[str]:
    """Every rule applied to every form; equal forms once, in the order of their first appearance."""
    reduced = (form[: -len(old)] + new for form in forms for old, new in _SUFFIXES[name] if form.endswith(old))
    return list(dict.fromkeys(reduced))


def _first_offsets(path: Path) -> dict[str, int]:
    """A line: lemma, class, number of synsets, number of pointers, the pointers, two counts, the offsets."""
    first: dict[str, int] = {}
    for line in _lines(path):
        if line.startswith(" "):  # the licence
            continue
        fields = line.split()
        try:
            first[fields[0]] = int(fields[6 + int(fields[3])])
        except (IndexError, ValueError):
            raise DataFormatError(
                f"The WordNet file {path} has a line that is not an index entry: {line[:60]!r}.",
                hint="Point --wordnet-dir to the `dict` folder of WordNet 3.0.",
            ) from None
    return first


def _exceptions(path: Path) -> dict[str, list[str]]:
    """A line: an inflected form, then its base forms; of two lines with one form the later one holds."""
    return {fields[0]: fields[1:] for fields in map(str.split, _lines(path)) if fields}


def _lines(path: Path) -> list[str]:
    with storage_errors("reading", path):
        return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
