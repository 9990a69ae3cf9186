"""Sets of labels alone, which predictions are scored against, from the lists that ImageNetV2's authors publish.

``<set>.json`` (``data/datasets`` of their repository) has ``image_filenames``: pairs of an image's name and the WordNet
id of its class, in the order in which their stored predictions are. ImageNet's class ids are the places of the sorted
WordNet ids.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.errors import DataFormatError, NotFoundError
from competition.evalsets.preparing.recipes import SetRecipe
from competition.evalsets.preparing.source import check_unique

_MAX_BYTES = 256 * 2**20
_WORDNET = re.compile(r"n[0-9]{8}", re.ASCII)
_NAME = re.compile(r"[\w.-]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Listed:
    """What each sample is called, its class, and the names of the classes in the order of their ids."""

    samples: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]


def read_listed(recipe: SetRecipe, folder: Path) -> Listed:
    """The samples of a set and their classes.

    Raises:
        NotFoundError: the list is not there.
        DataFormatError: it is damaged, or names a sample twice.
        StorageError: it cannot be read.
    """
    path = folder / f"{recipe.name}.json"
    if not path.is_file():
        raise NotFoundError(
            f"{path} is not there.", hint="Give the folder data/datasets of ImageNetV2's repository as --source."
        )
    with storage_errors("reading", path), path.open("rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise DataFormatError(f"{path} is too long for a list of samples.")
    try:
        found: Any = json.loads(content)["image_filenames"]
        pairs = [(str(name), str(wordnet_id)) for name, wordnet_id in found]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataFormatError(
            f"{path} is no list of ImageNetV2's samples, or not a whole one ({str(error)[:100]}).",
            hint="Get it again from ImageNetV2's repository.",
        ) from error
    for name, wordnet_id in pairs:
        if not _NAME.fullmatch(name) or not _WORDNET.fullmatch(wordnet_id):
            raise DataFormatError(f"{path} has the sample {name[:60]!r} of the class {wordnet_id[:60]!r}.")
    check_unique([name for name, _ in pairs], str(path))
    classes = sorted({wordnet_id for _, wordnet_id in pairs})
    label = {wordnet_id: number for number, wordnet_id in enumerate(classes)}
    return Listed(tuple(name for name, _ in pairs), tuple(label[found] for _, found in pairs), tuple(classes))


def write_listed(made: Path, listed: Listed) -> None:
    """Write ``labels.txt``, ``samples.txt`` and ``classnames.txt`` (raises ``StorageError``)."""
    make_folder(made)
    for name, lines in (
        ("labels.txt", map(str, listed.labels)),
        ("samples.txt", listed.samples),
        ("classnames.txt", listed.class_names),
    ):
        write_bytes(made / name, ("\n".join(lines) + "\n").encode())
