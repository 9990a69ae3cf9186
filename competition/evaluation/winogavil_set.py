"""WinoGAViL on disk: every picture once in shards, and a table of instances that name them.

``test/nshards.txt`` and ``test/{0..n-1}.tar`` as in ``sets``, each sample a picture with its name as ``txt``; and
``instances.jsonl``, an object on each line: ``cue``, a text; ``candidates``, names of pictures; ``associations``, those
of the candidates that go with the cue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation.images import Preparation
from competition.evaluation.inputs import Integers
from competition.evaluation.set_source import SetSource, unreadable
from competition.evaluation.set_texts import HINT, json_object, text
from competition.evaluation.sets import Pixels

INSTANCES = "instances.jsonl"
MAX_CANDIDATES = 1_000
MAX_TEXT = 1_000
"""Characters of a cue or of a picture's name."""


@dataclass(frozen=True)
class Instance:
    """A cue, and its candidates.

    Args:
        cue: a text.
        candidates: int64 [M], places of the pictures in the set, M >= 2.
        associated: bool [M], whether each goes with the cue; one does at least.
    """

    cue: str
    candidates: Integers
    associated: NDArray[np.bool_]


@dataclass(frozen=True)
class WinogavilSet:
    """Prepared pictures uint8 [N, S, S, 3] and their key, and the instances that use them."""

    images: Pixels
    instances: tuple[Instance, ...]
    key: str = ""


def load_winogavil(folder: Path, prepare: Preparation, cache: Path | None = None) -> WinogavilSet:
    """Read the set; arguments as those of ``sets.load_classification``.

    Raises:
        EvaluationError: the set is absent, damaged or does not fit together.
    """
    source = SetSource(folder, cache)
    noted = source.annotations("txt")
    places: dict[str, int] = {}
    for place, (key, name) in enumerate(zip(noted.keys, noted.texts, strict=True)):
        if not name or name in places:
            raise unreadable(folder, key, f"its name {name[:60]!r} is another picture's" if name else "it has no name")
        places[name] = place
    instances = tuple(_instance(fields, places, where) for where, fields in _table(folder / INSTANCES))
    images, pixels_key, _ = source.images(len(places), prepare)  # an instance without a picture is none
    return WinogavilSet(images, instances, pixels_key)


def _table(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each line of the table is, for messages, and its object."""
    found = False
    for number, line in enumerate(text(path, "instances").split("\n"), start=1):
        if line.strip():
            found = True
            where = f"Line {number} of {path}"
            yield where, json_object(line, where)
    if not found:
        raise EvaluationError(f"{path} holds no instance.", hint=HINT)


def _instance(fields: Mapping[str, Any], places: Mapping[str, int], where: str) -> Instance:
    cue, candidates, associations = (fields.get(name) for name in ("cue", "candidates", "associations"))
    if not isinstance(cue, str) or not cue.strip() or len(cue) > MAX_TEXT:
        raise EvaluationError(f"{where} has no text for a cue, but {str(cue)[:60]!r}.", hint=HINT)
    named = _names(candidates, "candidates", where)
    wanted = _names(associations, "associations", where)
    if len(named) < 2:
        raise EvaluationError(f"{where} has {len(named)} candidates.", hint=HINT)
    for name in named:
        if name not in places:
            raise EvaluationError(f"{where} names the picture {name[:60]!r}, which the set has not.", hint=HINT)
    for name in wanted:
        if name not in named:
            raise EvaluationError(f"{where} has the association {name[:60]!r}, which is no candidate.", hint=HINT)
    return Instance(
        cue, np.array([places[name] for name in named], dtype=np.int64), np.isin(np.array(named), np.array(wanted))
    )


def _names(found: Any, what: str, where: str) -> list[str]:
    if not isinstance(found, list) or not 0 < len(found) <= MAX_CANDIDATES:
        raise EvaluationError(f"{where} has no list of 1 to {MAX_CANDIDATES:,} {what}.", hint=HINT)
    if not all(isinstance(name, str) and 0 < len(name) <= MAX_TEXT for name in found):
        raise EvaluationError(f"{where} has {what} that are no names of pictures.", hint=HINT)
    if len(set(found)) != len(found):
        raise EvaluationError(f"{where} names one of its {what} twice.", hint=HINT)
    return found
