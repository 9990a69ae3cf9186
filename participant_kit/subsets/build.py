"""From a strategy's name to a subset file, with a record beside it of how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from competition.data.engine import Workers
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.subsets.basic_filter import BASIC_FILTER
from participant_kit.subsets.clip_score import CLIP_SCORE
from participant_kit.subsets.clip_score_diverse import CLIP_SCORE_DIVERSE
from participant_kit.subsets.clip_score_english import CLIP_SCORE_ENGLISH
from participant_kit.subsets.cluster_quota import CLUSTER_QUOTA
from participant_kit.subsets.cluster_sampling import IMAGE_SAMPLING, TEXT_SAMPLING
from participant_kit.subsets.image_based import IMAGE_BASED, IMAGE_BASED_INTERSECT_CLIP_SCORE
from participant_kit.subsets.k_center import K_CENTER
from participant_kit.subsets.laion2b import LAION2B
from participant_kit.subsets.language import predictor
from participant_kit.subsets.no_filter import NO_FILTER
from participant_kit.subsets.random_subset import RANDOM_SUBSET
from participant_kit.subsets.record import SubsetReport, check_save_path
from participant_kit.subsets.reference_distance import REFERENCE_DISTANCE
from participant_kit.subsets.run import Choice, run_choice
from participant_kit.subsets.score_fusion import SCORE_FUSION
from participant_kit.subsets.simcore import SIMCORE
from participant_kit.subsets.strategy import NO_OPTIONS, Strategy, StrategyOptions
from participant_kit.subsets.text_based import TEXT_BASED

STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        strategy.name: strategy
        for strategy in (
            NO_FILTER,
            BASIC_FILTER,
            CLIP_SCORE,
            LAION2B,
            TEXT_BASED,
            IMAGE_BASED,
            IMAGE_BASED_INTERSECT_CLIP_SCORE,
            IMAGE_SAMPLING,
            TEXT_SAMPLING,
            RANDOM_SUBSET,
            SIMCORE,
            SCORE_FUSION,
            K_CENTER,
            CLUSTER_QUOTA,
            REFERENCE_DISTANCE,
            CLIP_SCORE_DIVERSE,
            CLIP_SCORE_ENGLISH,
        )
    }
)


def find_strategy(name: str) -> Strategy:
    """A strategy by name.

    Raises:
        UsageError: there is none; lists the names.
    """
    if name not in STRATEGIES:
        raise UsageError(f"There is no strategy {name!r}.", hint=f"Choose one of: {', '.join(STRATEGIES)}.")
    return STRATEGIES[name]


def build_subset(
    strategy: str,
    metadata_dir: Path,
    save_path: Path,
    options: StrategyOptions = NO_OPTIONS,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> SubsetReport:
    """Choose a subset of a pool and write it with its record. A killed run goes on where it stopped when run again.

    Args:
        strategy: a name of ``STRATEGIES``.
        metadata_dir: the pool's metadata folder.
        save_path: the ``.npy`` to write; the record goes to ``<save_path>.json``. Existing ones are replaced.
        options: what the strategy takes.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every metadata file.

    Raises:
        UsageError: unknown strategy, an option that it does not take, a value out of range, not a ``.npy`` path, a
            pool's folder instead of its metadata's, or no sample is kept.
        DataFormatError: a metadata file is damaged or lacks a column.
        StorageError: a file cannot be read or written.
    """
    chosen = find_strategy(strategy)
    options.check(chosen)
    options = chosen.complete(options)
    check_save_path(save_path)
    assets = chosen.assets(options)
    language = {"language": predictor(assets["language_model"]).name} if "language_model" in assets else {}
    choice = Choice(
        strategy,
        {name: value.name if isinstance(value, Path) else value for name, value in options.given().items()},
        lambda pool: chosen.select(pool, options),
        assets,
        {**language, **chosen.tools()},
    )
    return run_choice(choice, metadata_dir, save_path, workers, progress)
