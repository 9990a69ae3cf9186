"""Classes from WordNet: the lemmas and the definition of noun synsets, for instance ImageNet's."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.errors import DataFormatError, UsageError
from participant_kit.labelled.classes import ClassEntry
from participant_kit.subsets.text_based import read_synset_ids

_EXAMPLES = re.compile(r';\s*"')


def synset_classes(wordnet: Path, ids: Collection[str]) -> list[ClassEntry]:
    """Noun synsets as classes, in the order of their ids, which is that of ImageNet's classes.

    Args:
        wordnet: the dictionary's folder.
        ids: for instance ``n01440764``: the offset in WordNet 3.0's ``data.noun``.

    Raises:
        UsageError: no id is given, or one is no noun synset's.
        DataFormatError: the dictionary is absent or damaged.
        StorageError: it cannot be read.
    """
    wanted = set(ids)
    found = {entry.id: entry for entry in noun_synsets(wordnet) if entry.id in wanted}
    unknown = sorted(wanted - set(found))
    if unknown or not wanted:
        raise UsageError(
            f"{unknown[0]} is no noun synset of WordNet 3.0." if unknown else "There is no synset id.",
            hint="Ids look like n01440764; those of other versions of WordNet differ.",
        )
    return [found[identity] for identity in sorted(wanted)]


def read_noun_ids(path: Path) -> list[str]:
    """The ids of a list, one ``n########`` a line.

    Raises:
        DataFormatError: a line is something else; names it.
        StorageError: it cannot be read.
    """
    return [f"n{number:08d}" for number in sorted(read_synset_ids(path))]


def write_classes(save_path: Path, entries: Collection[ClassEntry]) -> None:
    """Write classes as ``load_classes`` reads them.

    Raises:
        UsageError: the path does not end in ``.json``.
        StorageError: it cannot be written.
    """
    if save_path.suffix != ".json":
        raise UsageError(f"The save path {save_path} does not end in .json.")
    document = [{"id": each.id, "names": each.names, "definition": each.definition} for each in entries]
    make_folder(save_path.parent)
    write_bytes(save_path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())


def noun_synsets(wordnet: Path) -> Iterator[ClassEntry]:
    """All noun synsets in the order of the dictionary: lemmas with blanks for underscores, and the gloss up to its
    first example.

    Raises:
        DataFormatError: the folder has no ``data.noun``, or a line of it is no synset.
        StorageError: it cannot be read.
    """
    path = wordnet / "data.noun"
    if not path.is_file():
        raise DataFormatError(
            f"The WordNet folder {wordnet} has no data.noun.",
            hint="Point --wordnet-dir to WordNet 3.0's `dict` folder (Debian: wordnet-base, /usr/share/wordnet).",
        )
    with storage_errors("reading", path), path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            if line.startswith(" "):  # the licence
                continue
            data, bar, gloss = line.partition(" | ")
            fields = data.split()
            try:
                lemmas = [fields[4 + 2 * word].replace("_", " ") for word in range(int(fields[3], 16))]
                identity = f"n{int(fields[0]):08d}"
            except (IndexError, ValueError):
                bar = ""
            if not bar:
                raise DataFormatError(f"Line {number} of {path} is no synset.", hint="It is WordNet 3.0's data.noun.")
            yield ClassEntry(identity, tuple(dict.fromkeys(lemmas)), _EXAMPLES.split(gloss)[0].strip())
