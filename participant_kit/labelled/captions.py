"""Finding images by what their captions name: SELECT's ``LA1000 (t2i)``, which is LAIONet's rule, and its first half.

A caption that holds lemmas of exactly one class gives its image that class; then, with features of the classes' texts
("name: definition"), the caption's own feature must have a cosine with its class's above a threshold. LAIONet's is 0.82
with CLIP ViT-B/32, SELECT's 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import column_uids, read_columns
from competition.errors import UsageError
from participant_kit.labelled.candidates import Candidates, best_of_each
from participant_kit.labelled.classes import ClassList
from participant_kit.labelled.features import TextFeatures, member_of, pool_features
from participant_kit.labelled.lemmas import NO_CLASS, SEVERAL, named_classes, never_found
from participant_kit.labelled.run import Found, Plan, metadata_files
from participant_kit.subsets.captions import Captions
from participant_kit.subsets.parts import Part, Parts
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import Funnel, sum_dropped

SELECT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class ByCaptions:
    """The strategy ``retrieve-captions``, or ``substring`` without texts.

    Args:
        metadata_dir: of the pool.
        texts: features of the classes' texts for the second step, one a class; without them there is no second step.
        arch: b32 or l14: whose features of the captions are compared.
        threshold: the cosine of caption and class must be greater.
    """

    metadata_dir: Path
    texts: TextFeatures | None = None
    arch: str = "b32"
    threshold: float = SELECT_THRESHOLD

    def plan(self, classes: ClassList) -> Plan:
        """Raises what ``metadata_files`` and ``TextFeatures.of`` raise, and ``UsageError`` for an option."""
        files = metadata_files(self.metadata_dir)
        if self.texts is None:
            return Plan("substring", {}, partial(_find, classes, None), files)
        if not -1 <= self.threshold <= 1:
            raise UsageError(f"--threshold {self.threshold} is not a cosine between -1 and 1.")
        member = member_of(self.arch, "txt")
        features = self.texts.of([entry.text for entry in classes.entries], self.metadata_dir, "class")
        find = partial(_find, classes, Likeness(features, member, self.threshold))
        options = {"arch": self.arch, "threshold": self.threshold, **self.texts.described()}
        return Plan("retrieve-captions", options, find, files, self.texts.assets("class"))


@dataclass(frozen=True)
class Likeness:
    """The second step: how alike caption and class are.

    Args:
        classes: L2-normalised features of the classes' texts, float32, shape (classes, dimensions).
        member: of the pool's features, for instance ``b32_txt``.
        threshold: a cosine must be greater.
    """

    classes: NDArray[np.float32]
    member: str
    threshold: float


def _find(classes: ClassList, likeness: Likeness | None, pool: MetadataPool) -> Found:
    """Samples whose captions name exactly one class.

    Raises:
        UsageError: no class has a name of its own.
        DataFormatError: a metadata file is damaged, or its features do not fit the classes'.
    """
    if not classes.lemmas:
        raise UsageError(
            f"None of the {len(classes):,} classes has a name that no other class has.",
            hint="A name that several classes share cannot tell them apart.",
        )
    parts = Parts(pool, partial(_look_at, classes, likeness), "looking for classes in captions")
    candidates = Candidates.joined([Candidates(**arrays) for arrays in parts])
    best = best_of_each(candidates, by_class=False)
    dropped = sum_dropped([facts["dropped"] for facts in parts.facts])
    dropped["uid_repeated"] = len(candidates) - len(best)
    lemmas = list(classes.lemmas)
    shared = sorted({name for entry in classes.entries for name in entry.names} - set(lemmas))
    notes: dict[str, Any] = {
        "shared_lemmas": shared,
        "lemmas_with_punctuation": never_found(classes),
        "classes_without_lemma": classes.without_lemma,
    }
    return Found(
        best, parts.total("rows"), dropped, lambda number: f"caption: {lemmas[number]}", likeness is not None, notes
    )


def _look_at(classes: ClassList, likeness: Likeness | None, path: Path) -> Part:
    """One metadata file: its rows that name one class."""
    table = read_columns(path, ["uid", "text"])
    funnel = Funnel(table.num_rows)
    named = named_classes(Captions.of_table(table, path), classes)
    funnel.keep(named.classes != NO_CLASS, "caption_names_no_class")
    funnel.keep(named.classes[funnel.rows] != SEVERAL, "caption_names_several_classes")
    scores = np.zeros(len(funnel.rows))
    if likeness is not None:
        scores = _keep_alike(funnel, likeness, named.classes, path)
    rows = funnel.rows
    arrays = {
        "uids": column_uids(table, path)[rows],
        "labels": named.classes[rows],
        "scores": scores,
        "sources": named.lemmas[rows],
    }
    return Part(arrays, {"rows": funnel.total, "dropped": funnel.dropped})


def _keep_alike(funnel: Funnel, likeness: Likeness, labels: NDArray[np.int32], path: Path) -> NDArray[np.float64]:
    """Keep the rows whose caption is like its class; their cosines."""
    features = pool_features(path, likeness.member, funnel.total, likeness.classes.shape[1])
    funnel.keep(features.usable[funnel.rows], "features_missing")
    captions = features.stored[funnel.rows].astype(np.float64)
    # Row by row, so that a cosine does not depend on which rows stand beside it.
    cosines = (captions * likeness.classes[labels[funnel.rows]].astype(np.float64)).sum(axis=1)
    alike = cosines > likeness.threshold
    funnel.keep(alike, "caption_unlike_class")
    kept: NDArray[np.float64] = cosines[alike]
    return kept
