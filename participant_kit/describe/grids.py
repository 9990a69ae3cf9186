"""Which pictures of a dataset are worth seeing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from competition.data.uids import UID_DIGITS
from participant_kit.describe.duplicates import Duplicates
from participant_kit.describe.likeness import Contamination, Coverage, LookAlikes
from participant_kit.describe.missing import Missing
from participant_kit.describe.parts import Ranked
from participant_kit.describe.pictures import Cell, Grid

MOST_NOTE = 60


def score_grids(best: Sequence[Ranked], worst: Sequence[Ranked]) -> list[Grid]:
    """The best and the worst by CLIP score."""
    named = (("best", "Highest CLIP scores", best), ("worst", "Lowest CLIP scores", worst))
    return [Grid(key, title, [Cell(row.uid, f"{row.score:.3f}") for row in rows]) for key, title, rows in named if rows]


def duplicate_grids(
    exact: Duplicates | Missing, perceptual: Duplicates | Missing, look_alikes: LookAlikes | Missing
) -> list[Grid]:
    """The largest group of each way to find duplicates, and the most alike pairs."""
    grids = []
    for key, way, found in (("exact", "sha256", exact), ("perceptual", "perceptual hash", perceptual)):
        if not isinstance(found, Missing) and found.examples:
            title = f"Largest group of duplicates by {way}: {found.largest:,} samples"
            grids.append(Grid(key, title, [Cell(uid) for uid in found.examples]))
    if not isinstance(look_alikes, Missing) and look_alikes.pairs:
        cells = [
            Cell(uid, f"pair {number}: {pair.cosine:.4f}")
            for number, pair in enumerate(look_alikes.pairs, 1)
            for uid in (pair.first, pair.second)
        ]
        grids.append(Grid("look_alikes", "Most alike pairs by features", cells))
    return grids


def reference_grids(contamination: Contamination | Missing, coverage: Coverage | Missing) -> list[Grid]:
    """Leaks, and the rows nearest to the least covered references: with these, where they are samples themselves."""
    grids = []
    if not isinstance(contamination, Missing) and contamination.examples:
        cells = [Cell(leak.first, f"{leak.cosine:.4f} with {_short(leak.second)}") for leak in contamination.examples]
        grids.append(Grid("contaminated", "Most like an evaluation image", cells))
    if not isinstance(coverage, Missing) and coverage.least:
        cells = []
        for number, pair in enumerate(coverage.least, 1):
            name = f"reference {number}" if _is_uid(pair.first) else _short(pair.first)
            cells += [Cell(pair.first, name)] if _is_uid(pair.first) else []
            cells.append(Cell(pair.second, f"{pair.cosine:.4f} with {name}"))
        grids.append(Grid("least_covered", "Nearest to the least covered references", cells))
    return grids


def class_grids(samples: Mapping[str, Sequence[str]], counts: Mapping[str, int]) -> list[Grid]:
    """Samples of classes."""
    return [
        Grid(f"class_{number}", f"Class {_short(name)}: {counts[name]:,} samples", [Cell(uid) for uid in uids])
        for number, (name, uids) in enumerate(samples.items(), 1)
    ]


def _short(text: str) -> str:
    return text if len(text) <= MOST_NOTE else f"{text[:MOST_NOTE]}…"


def _is_uid(text: str) -> bool:
    return len(text) == UID_DIGITS and set(text) <= set("0123456789abcdef")
