"""What the comparisons of a dataset's features say: coverage of a reference, look-alikes, leaked evaluation images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from competition.data.uids import UidArray, uids_to_hex
from participant_kit.describe.embedding import NEIGHBOUR, Leaks, Nearest, rounded
from participant_kit.describe.quantities import ALIKE, COVERED, Distribution

SHOWN = 12


class Pair(NamedTuple):
    """Two things and their cosine: a row and another one, a row and a reference, or a reference and a row."""

    first: str
    second: str
    cosine: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """How well a dataset covers a reference.

    Args:
        references: how many.
        rows: of the dataset, copies counted, that were compared.
        missing: rows without features.
        threshold: a cosine.
        covered: references whose nearest row has at least that cosine.
        share: of all references.
        neighbour: k of the two following, of Naeem et al., "Reliable fidelity and diversity metrics for generative
            models" (2020), with cosines: a reference's ball reaches to its k-th nearest other reference.
        ball_coverage: share of the balls that have a row inside; ``None`` of k references or fewer.
        density: how many balls a row is in on average, divided by k; likewise.
        similarities: of the references' nearest rows.
        least: the references that are covered least, each with its nearest row.
    """

    references: int
    rows: int
    missing: int
    threshold: float
    covered: int
    share: float
    neighbour: int
    ball_coverage: float | None
    density: float | None
    similarities: Distribution
    least: list[Pair]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return _as_json(self, "least") | {"similarities": self.similarities.as_json()}


def coverage_of(found: Nearest, ids: Sequence[str], threshold: float, *, balls: bool) -> Coverage:
    """Sum up what was found.

    Args:
        found: of a probe of references.
        ids: what each is called.
        threshold: a cosine.
        balls: the probe had the radii of balls.
    """
    cosines = rounded(found.similarities)
    order = np.lexsort((np.arange(len(cosines)), cosines))[:SHOWN]
    names = uids_to_hex(found.uids[order])
    least = [Pair(ids[row], name, float(cosines[row])) for row, name in zip(order.tolist(), names, strict=True)]
    covered = int(np.count_nonzero(cosines >= threshold))
    inside = float(np.count_nonzero(found.within)) / len(ids) if balls else None
    density = float(found.within.sum()) / (NEIGHBOUR * max(1, found.rows)) if balls else None
    known = np.where(cosines < -1, np.nan, cosines)
    return Coverage(len(ids), found.rows, found.missing, threshold, covered, covered / len(ids), NEIGHBOUR,
                    inside, density, Distribution.of(COVERED.key, known), least)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LookAlikes:
    """How alike rows are to others.

    Args:
        sampled: rows, drawn by lot, that were compared with all others.
        rows: of the dataset that they were compared with, copies counted.
        missing: rows without features.
        threshold: a cosine.
        alike: of the sampled, those whose nearest other row has at least that cosine.
        share: of the sampled.
        similarities: of their nearest other rows.
        pairs: the most alike.
    """

    sampled: int
    rows: int
    missing: int
    threshold: float
    alike: int
    share: float
    similarities: Distribution
    pairs: list[Pair]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return _as_json(self, "pairs") | {"similarities": self.similarities.as_json()}


def look_alikes_of(found: Nearest, own: UidArray, threshold: float) -> LookAlikes:
    """Sum up what was found of a probe of the dataset's own rows, whose uids are ``own``."""
    cosines = rounded(found.similarities)
    cosines[cosines < -1] = np.nan
    names = zip(uids_to_hex(own), uids_to_hex(found.uids), cosines.tolist(), strict=True)
    each = {(min(one, other), max(one, other)): cosine for one, other, cosine in names if cosine >= threshold}
    pairs = [Pair(*pair, cosine) for pair, cosine in sorted(each.items(), key=lambda item: (-item[1], item[0]))]
    alike = int(np.count_nonzero(cosines >= threshold))
    distribution = Distribution.of(ALIKE.key, cosines)
    return LookAlikes(len(own), found.rows, found.missing, threshold, alike, alike / max(1, len(own)), distribution,
                      pairs[: SHOWN // 2])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Contamination:
    """Rows that are like an evaluation image.

    Args:
        features: what was compared.
        references: evaluation images.
        rows: of the dataset, copies counted, that were compared.
        missing: rows without features.
        threshold: rows above this cosine are leaks.
        leaked: how many, copies counted.
        found: evaluation images that are the nearest of at least one leak.
        examples: the leaks with the largest cosines: row and evaluation image.
    """

    features: str
    references: int
    rows: int
    missing: int
    threshold: float
    leaked: int
    found: int
    examples: list[Pair]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return _as_json(self, "examples")


def contamination_of(parts: Sequence[Leaks], ids: Sequence[str], features: str, threshold: float) -> Contamination:
    """Sum up the leaks of all files; ``ids`` name the evaluation images."""
    leaks = {Pair(uid, ids[reference], cosine) for part in parts for uid, reference, cosine in zip(
        uids_to_hex(part.uids), part.references.tolist(), rounded(part.cosines).tolist(), strict=True)}  # fmt: skip
    examples = sorted(leaks, key=lambda leak: (-leak.cosine, leak.first))[:SHOWN]
    return Contamination(
        features,
        len(ids),
        sum(part.rows for part in parts),
        sum(part.missing for part in parts),
        threshold,
        sum(int(part.copies.sum()) for part in parts),
        len({leak.second for leak in leaks}),
        examples,
    )


def _as_json(found: Coverage | LookAlikes | Contamination, pairs: str) -> dict[str, Any]:
    listed = [pair._asdict() for pair in getattr(found, pairs)]
    return asdict(found) | {pairs: listed}
