"""A draw of the samples, decoded: how many of the data are corrupt, before a long run meets them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from competition.errors import TrainingError
from competition.evaluation.images import ImageDecodingError
from competition.rules.recipes import BaseRecipe
from participant_kit.train.data.loader import Preparation
from participant_kit.train.data.samples import CorruptSampleError
from participant_kit.train.data.source import TrainingSet

DRAWN = 1000

_NAMED = 3
_STREAM = 7
_CHANCE = 0.01


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """What a draw came to.

    Args:
        drawn: samples.
        corrupt: of these, those that cannot be trained on.
        named: the first of them: where they lie, and why.
    """

    drawn: int
    corrupt: int
    named: tuple[str, ...]


def spot_check(data: TrainingSet, preparation: Preparation, seed: int, threads: int) -> SpotCheck:
    """Decode up to 1,000 samples of a seeded draw without replacement (raises ``StorageError``)."""
    generator = np.random.default_rng([seed, _STREAM])
    drawn = np.sort(generator.choice(len(data), min(DRAWN, len(data)), replace=False, shuffle=False))

    def reason(index: int) -> str | None:
        try:
            preparation.decode(data.read(index))
        except (ImageDecodingError, CorruptSampleError) as error:
            return str(error)
        return None

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(reason, drawn.tolist()))
    corrupt = [(int(index), why) for index, why in zip(drawn, found, strict=True) if why is not None]
    named = tuple(f"{data.describe(index)} ({why})" for index, why in corrupt[:_NAMED])
    return SpotCheck(len(drawn), len(corrupt), named)


def require_tolerable(found: SpotCheck, data: TrainingSet, recipe: BaseRecipe) -> None:
    """Refuse data that hold more corrupt samples than the recipe tolerates: surely, or as far as a draw can tell.

    A draw tells when data at the very limit of the tolerance would show as many with a chance below one in a hundred.

    Raises:
        TrainingError: with the first samples' places.
    """
    allowed = int(recipe.corrupt_tolerance * len(data))
    chance = float(binom.sf(found.corrupt - 1, found.drawn, allowed / len(data)))
    if found.corrupt > allowed or chance < _CHANCE:
        raise TrainingError(
            f"{found.corrupt:,} of {found.drawn:,} samples drawn from {len(data):,} are corrupt, and the recipe "
            f"tolerates {allowed:,} in all, among them {', '.join(found.named)}.",
            hint="Leave such samples out of the subset, or build the shards again.",
        )
