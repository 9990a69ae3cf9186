"""Sampling from groups of a pool instead of filtering it: DataComp's image-based and text-based sampling.

Rows belong to groups: an image to its cluster, a caption to every wanted synset that one of its words names. With N_j
rows in group j, a row of it is drawn with a probability proportional to N_j^(alpha - 1), summed over the row's groups
(Gadre et al., 2023, appendix on sampling): so a group's share of the draw is proportional to N_j^alpha. With alpha 1
every row is alike, with alpha 0 every group. A row that is drawn more than 100 times is dropped.

Drawing with replacement is done row by row: a row's number of copies is Poisson with its expected number, from a lot
that belongs to its uid. The subset has ``--size`` uids only in expectation, and depends on nothing but the pool's rows,
the options and the seed. Only rows that the filter of the same kind would keep are candidates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder
from competition.data.journal import Journal
from competition.data.metadata import read_columns, read_uids
from participant_kit.subsets.captions import Captions
from participant_kit.subsets.draw import MOST_COPIES, poisson_copies
from participant_kit.subsets.image_based import IMAGE_OPTIONS, ImageTest, image_assets
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import Funnel, SubsetResult
from participant_kit.subsets.strategy import Strategy, StrategyOptions
from participant_kit.subsets.text_based import TEXT_OPTIONS, TextTest, text_assets

PURPOSE = 2
DEFAULTS: Mapping[str, Any] = {"seed": 0, "alpha": 0.2}

Pairs = NDArray[np.int64]
"""Shape (pairs, 2): a row's position and one of its groups; a row's pairs follow each other."""

Grouping = Callable[[Path], tuple[Funnel, Pairs]]
"""From a metadata file to its candidate rows and their groups."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What the second pass knows of the whole pool: its groups, ascending, and how many copies one gives a member."""

    groups: NDArray[np.int64]
    expected: NDArray[np.float64]


def group_weights(groups: NDArray[np.int64], sizes: NDArray[np.int64], alpha: float, size: int) -> Weights:
    """Expected copies that membership of each group gives a row: size * N_j^(alpha - 1) / sum of all N_i^alpha."""
    members = sizes.astype(np.float64)
    return Weights(groups, size * members ** (alpha - 1) / (members**alpha).sum())


def _select_images(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    return _select(partial(_image_groups, ImageTest.of(options, pool.progress)), pool, IMAGE_SAMPLING.complete(options))


def _select_texts(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    return _select(partial(_text_groups, TextTest.of(options)), pool, TEXT_SAMPLING.complete(options))


def _select(grouping: Grouping, pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    with pool.working() as working:
        assert working.work_dir is not None
        return _sample(grouping, working, options, working.work_dir)


def _sample(grouping: Grouping, pool: MetadataPool, options: StrategyOptions, work_dir: Path) -> SubsetResult:
    """Two passes: who belongs where, and, once all groups are counted, the draw. Both survive a kill."""
    assert options.alpha is not None
    assert options.seed is not None
    folder = work_dir / "groups"
    make_folder(folder)
    journal = Journal(work_dir / "groups.jsonl", pool.fingerprint)
    for name in journal.completed:
        if not _pairs_path(folder, Path(name)).exists():
            journal.forget(name)
    found = pool.map(partial(_group_file, grouping, folder), "grouping rows", journal)
    candidates = sum(part["total"] - sum(part["dropped"].values()) for part in found)
    groups, sizes = _group_sizes([_pairs_path(folder, path) for path in pool.files])
    weights = group_weights(groups, sizes, options.alpha, options.size or candidates)
    dropped = {path.name: part["dropped"] for path, part in zip(pool.files, found, strict=True)}
    return pool.select(partial(_draw_file, folder, weights, dropped, options.seed), "drawing rows")


def _group_sizes(paths: list[Path]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All groups of the pool, ascending, and how many rows each has."""
    sizes: Counter[int] = Counter()
    for path in paths:
        groups, counts = np.unique(np.load(path)[:, 1], return_counts=True)
        sizes.update(dict(zip(groups.tolist(), counts.tolist(), strict=True)))
    ordered = sorted(sizes)
    return np.array(ordered, dtype=np.int64), np.array([sizes[group] for group in ordered], dtype=np.int64)


def _group_file(grouping: Grouping, folder: Path, path: Path) -> dict[str, Any]:
    """The first pass over a file: its pairs go to ``folder``, its counts into the journal."""
    funnel, pairs = grouping(path)
    with atomic_writer(_pairs_path(folder, path)) as stream:
        write_npy(stream, pairs)
    return {"total": funnel.total, "dropped": funnel.dropped}


def _draw_file(
    folder: Path, weights: Weights, dropped: Mapping[str, dict[str, int]], seed: int, path: Path
) -> SubsetResult:
    """The second pass: a row's expected copies are the sum over its groups."""
    uids = read_uids(path)
    pairs = np.load(_pairs_path(folder, path))
    gains = weights.expected[np.searchsorted(weights.groups, pairs[:, 1])]
    expected = np.bincount(pairs[:, 0], weights=gains, minlength=len(uids))
    rows = np.unique(pairs[:, 0])
    copies = poisson_copies(uids[rows], expected[rows], seed, PURPOSE)
    too_often, never = copies > MOST_COPIES, copies == 0
    copies[too_often] = 0
    drawn = np.repeat(uids[rows], copies)
    reasons = {"not_drawn": int(never.sum()), "drawn_too_often": int(too_often.sum())}
    repeats = len(drawn) - int(np.count_nonzero(copies))
    return SubsetResult(drawn, len(uids), dropped[path.name] | reasons, repeats)


def _pairs_path(folder: Path, path: Path) -> Path:
    return folder / f"{path.stem}.npy"


def _image_groups(test: ImageTest, path: Path) -> tuple[Funnel, Pairs]:
    funnel = Funnel(len(read_uids(path)))
    clusters = test.keep(funnel, path)
    return funnel, np.stack([funnel.rows, clusters], axis=1)


def _text_groups(test: TextTest, path: Path) -> tuple[Funnel, Pairs]:
    funnel = Funnel(len(read_uids(path)))
    captions = Captions.of_table(read_columns(path, ["text"]), path)
    test.keep(funnel, captions)
    named = map(test.synsets, captions.take(funnel.rows).strings())
    pairs = [(row, synset) for row, synsets in zip(funnel.rows.tolist(), named, strict=True) for synset in synsets]
    return funnel, np.array(pairs, dtype=np.int64).reshape(-1, 2)


IMAGE_SAMPLING = Strategy(
    "image_sampling",
    "Draws from the pairs of image_based, with repeats: large clusters give a smaller share than they have.",
    _select_images,
    accepts=("alpha", "size", "seed", *IMAGE_OPTIONS),
    assets=image_assets,
    defaults=DEFAULTS,
)

TEXT_SAMPLING = Strategy(
    "text_sampling",
    "Draws from the pairs of text_based, with repeats: frequent synsets give a smaller share than they have.",
    _select_texts,
    accepts=("alpha", "size", "seed", *TEXT_OPTIONS),
    assets=text_assets,
    defaults=DEFAULTS,
)
