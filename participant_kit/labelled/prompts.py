"""Finding images by prompts: GenBench's retrieval from LAION-400M, text to text.

Every prompt retrieves the samples whose captions are nearest to it. An image's score for a class is the mean cosine
over those of the class's prompts that retrieved it; the best of each class are taken. GenBench copies an image into
every class that retrieves it; here it has the label of the best score unless all are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.errors import UsageError
from participant_kit.labelled.candidates import Candidates, best_of_each
from participant_kit.labelled.classes import ClassList
from participant_kit.labelled.features import TextFeatures, member_of
from participant_kit.labelled.neighbours import Neighbours
from participant_kit.labelled.run import Found, Plan, metadata_files
from participant_kit.labelled.search import search_pool
from participant_kit.subsets.pool import MetadataPool

NEIGHBOURS = 500
"""GenBench's default for each prompt; its reference runs used 30."""


@dataclass(frozen=True, slots=True)
class ByPrompts:
    """The strategy ``retrieve-prompts``.

    Args:
        metadata_dir: of the pool.
        texts: features of the prompts, class by class in their order.
        templates: of classes without prompts of their own.
        arch: b32 or l14: whose features of the captions are compared.
        neighbours: how many samples each prompt retrieves.
        several: a sample keeps the labels of all classes that retrieve it, as in GenBench.
    """

    metadata_dir: Path
    texts: TextFeatures
    templates: tuple[str, ...] = ()
    arch: str = "b32"
    neighbours: int = NEIGHBOURS
    several: bool = False

    def plan(self, classes: ClassList) -> Plan:
        """Raises what ``class_prompts``, ``metadata_files`` and ``TextFeatures.of`` raise, and for an unknown arch."""
        member, files = member_of(self.arch, "txt"), metadata_files(self.metadata_dir)
        prompts, owners = class_prompts(classes, self.templates)
        features = self.texts.of(prompts, self.metadata_dir, "prompt")
        options = {
            "arch": self.arch,
            "neighbours": self.neighbours,
            "several_labels": self.several,
            "templates": list(self.templates),
            **self.texts.described(),
        }
        find = partial(_find, self, member, features, owners)
        return Plan("retrieve-prompts", options, find, files, self.texts.assets("prompt"))


def class_prompts(classes: ClassList, templates: tuple[str, ...]) -> tuple[list[str], NDArray[np.int32]]:
    """All prompts, class by class, and the class of each: int32, shape (prompts,).

    Raises:
        UsageError: a class has no prompt, or a template has no ``{}``.
    """
    for template in templates:
        if "{}" not in template:
            raise UsageError(f"The template {template!r} has no {{}}.", hint="{} stands for the class's first name.")
    prompts: list[str] = []
    owners: list[int] = []
    for index, entry in enumerate(classes.entries):
        own = list(dict.fromkeys(entry.filled_prompts(templates)))
        if not own:
            raise UsageError(
                f"The class {entry.id!r} has no prompt.",
                hint="Write prompts into the class list, or give templates for all: --template 'a photo of a {}.'",
            )
        prompts += own
        owners += [index] * len(own)
    return prompts, np.array(owners, dtype=np.int32)


def _find(
    options: ByPrompts, member: str, features: NDArray[np.float32], owners: NDArray[np.int32], pool: MetadataPool
) -> Found:
    """Samples whose captions are among the nearest of a prompt.

    Args:
        options: how many, and whether a sample may have several labels.
        member: of the pool's features, for instance ``b32_txt``.
        features: of the prompts, L2-normalised, shape (prompts, dimensions).
        owners: int32, shape (prompts,): the class of each, ascending.
        pool: with a ``work_dir``.

    Raises what ``search_pool`` raises.
    """
    searched = search_pool(pool, features, member, options.neighbours, "comparing captions with prompts")
    pairs = mean_over_prompts(searched.neighbours, owners)
    kept = best_of_each(pairs, by_class=options.several)
    notes = {
        "prompts": len(owners),
        "queries_with_fewer_neighbours": searched.short,
        "labels_given_up_for_a_better_one": len(pairs) - len(kept),
    }
    return Found(kept, searched.rows, searched.dropped(kept), _source, notes=notes)


def mean_over_prompts(found: Neighbours, owners: NDArray[np.int32]) -> Candidates:
    """One pair for each sample and class that retrieved it, with the mean score; its source counts the prompts."""
    labels = owners[found.queries]
    order = np.lexsort((found.queries, found.uids["f1"], found.uids["f0"], labels))
    uids, labels, scores = found.uids[order], labels[order], found.scores[order]
    if not len(order):
        return Candidates(uids, labels, scores, np.zeros(0, np.int32))
    new = np.append(True, (labels[1:] != labels[:-1]) | (uids[1:] != uids[:-1]))
    starts = np.flatnonzero(new)
    prompts = np.diff(np.append(starts, len(order)))
    return Candidates(uids[starts], labels[starts], np.add.reduceat(scores, starts) / prompts, prompts.astype(np.int32))


def _source(prompts: int) -> str:
    return f"{prompts} prompt{'s' if prompts > 1 else ''}"
