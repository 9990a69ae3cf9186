"""DataComp's text-based filter: English captions with a word of ImageNet-21k (Gadre et al., 2023, section 4.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from competition.data.atomic import storage_errors
from competition.data.metadata import column_uids, read_columns
from competition.errors import DataFormatError
from participant_kit.assets import SYNSET_IDS, WORDNET, find_asset
from participant_kit.subsets.captions import Captions
from participant_kit.subsets.language import is_english, language_model
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import Funnel, SubsetResult
from participant_kit.subsets.strategy import Strategy, StrategyOptions
from participant_kit.subsets.wordnet import WordNet, dictionary_files

_REMEMBERED_WORDS = 1 << 18
_SYNSET_ID = re.compile(r"[a-z](\d{8})")

SynsetOf = Callable[[str], int | None]
"""From a word to the offset of its first synset if that is one of the wanted, else ``None``."""


@dataclass(frozen=True, slots=True)
class TextTest:
    """What a worker needs to know which captions are wanted.

    Args:
        model: fastText's language model.
        wordnet: the dictionary's folder.
        ids: the list of synset ids.
    """

    model: Path
    wordnet: Path
    ids: Path

    @classmethod
    def of(cls, options: StrategyOptions) -> TextTest:
        """Find the assets, and read them once: a damaged one is said before any work begins."""
        assets = text_assets(options)
        wordnet = find_asset(WORDNET, options.wordnet_dir)
        wanted_synset(wordnet, assets["synset_ids"])
        return cls(assets["language_model"], wordnet, assets["synset_ids"])

    def keep(self, funnel: Funnel, captions: Captions) -> None:
        """Keep the rows whose captions (one for each original row) name something wanted, in English. The others count
        as ``caption_names_nothing_wanted`` or ``caption_not_english``.

        Words first: with a memory of words they cost less than language identification.
        """
        synset_of = wanted_synset(self.wordnet, self.ids)
        texts = captions.take(funnel.rows).strings()
        named = (any(synset_of(word) is not None for word in text.split()) for text in texts)
        funnel.keep(np.fromiter(named, bool, len(texts)), "caption_names_nothing_wanted")
        funnel.keep(is_english(captions.take(funnel.rows), self.model), "caption_not_english")

    def synsets(self, text: str) -> list[int]:
        """The wanted synsets that a caption names, ascending, each once."""
        synset_of = wanted_synset(self.wordnet, self.ids)
        return sorted({synset for word in text.split() if (synset := synset_of(word)) is not None})


@lru_cache(maxsize=1)
def wanted_synset(wordnet: Path, ids: Path) -> SynsetOf:
    """The function that looks a word up, with a memory; one for each process and pair of files.

    A word's synset is the first one of its first word class in which WordNet knows it, in the order noun, verb,
    adjective, adverb. Only the number is compared, as in the original: the offset of a verb can equal a noun's id.
    """
    wanted = read_synset_ids(ids)
    first_synset = WordNet(wordnet).first_synset

    @lru_cache(maxsize=_REMEMBERED_WORDS)
    def look_up(word: str) -> int | None:
        offset = first_synset(word)
        return offset if offset in wanted else None

    return look_up


def read_synset_ids(path: Path) -> frozenset[int]:
    """The numbers of a list of synset ids, one ``n########`` a line.

    Raises:
        DataFormatError: a line is something else; names it.
    """
    with storage_errors("reading", path):
        lines = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    ids = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        match = _SYNSET_ID.fullmatch(line)
        if line and match is None:
            raise DataFormatError(
                f"Line {number} of {path} is {line[:40]!r} instead of a synset id like n02084071.",
                hint="A list of synset ids has one id a line.",
            )
        if match is not None:
            ids.append(int(match[1]))
    return frozenset(ids)


def text_assets(options: StrategyOptions) -> Mapping[str, Path]:
    """Language model, list of ids, and the files of WordNet that matter."""
    files = dictionary_files(find_asset(WORDNET, options.wordnet_dir))
    return {
        "language_model": language_model(options.language_model),
        "synset_ids": find_asset(SYNSET_IDS, options.synset_ids),
        **{f"wordnet_{name}": path for name, path in files.items()},
    }


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    return pool.select(partial(_select_file, TextTest.of(options)), "looking for things in captions")


def _select_file(test: TextTest, path: Path) -> SubsetResult:
    table = read_columns(path, ["uid", "text"])
    funnel = Funnel(table.num_rows)
    test.keep(funnel, Captions.of_table(table, path))
    return funnel.result(column_uids(table, path))


TEXT_OPTIONS = ("synset_ids", "wordnet_dir", "language_model")

TEXT_BASED = Strategy(
    "text_based",
    "English captions with a word whose first WordNet synset is in a list of ids, ImageNet-21k's by default.",
    _select,
    accepts=TEXT_OPTIONS,
    assets=text_assets,
)
