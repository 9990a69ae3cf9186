"""From a strategy's name to a subset file, with a record beside it of how it was made."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import competition
from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.data.digests import file_sha256
from competition.data.uids import save_subset
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.subsets.basic_filter import BASIC_FILTER
from participant_kit.subsets.clip_score import CLIP_SCORE
from participant_kit.subsets.clip_score_diverse import CLIP_SCORE_DIVERSE
from participant_kit.subsets.clip_score_english import CLIP_SCORE_ENGLISH
from participant_kit.subsets.cluster_sampling import IMAGE_SAMPLING, TEXT_SAMPLING
from participant_kit.subsets.image_based import IMAGE_BASED, IMAGE_BASED_INTERSECT_CLIP_SCORE
from participant_kit.subsets.laion2b import LAION2B
from participant_kit.subsets.language import predictor
from participant_kit.subsets.no_filter import NO_FILTER
from participant_kit.subsets.pool import MetadataPool, file_states
from participant_kit.subsets.random_subset import RANDOM_SUBSET
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
            CLIP_SCORE_DIVERSE,
            CLIP_SCORE_ENGLISH,
        )
    }
)

REPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class SubsetReport:
    """How a subset was made; written beside it as ``<subset>.json``. The same run always gives the same report.

    Args:
        strategy: its name.
        options: those that were given or are the strategy's defaults; a file appears by name, its digest in ``assets``.
        metadata_files: parquet files read.
        total: metadata rows read.
        kept: uids in the subset; without ``repeats`` and with ``dropped`` they sum to ``total``.
        dropped: rows by the first reason that met them.
        repeats: copies beyond the first of rows that were drawn more than once.
        assets: further files that the result depends on: role to name and sha256.
        tools: programs that worked on it where there is more than one with the same answers: role to name. Language is
            found by ``native`` (compiled with DataCup) or ``fasttext``.
        subset: file name of the subset.
        subset_sha256: digest of its bytes.
        code_version: of DataCup.
        format_version: of this record.
    """

    strategy: str
    options: dict[str, Any]
    metadata_files: int
    total: int
    kept: int
    dropped: dict[str, int]
    repeats: int
    assets: dict[str, dict[str, str]]
    tools: dict[str, str]
    subset: str
    subset_sha256: str
    code_version: str = competition.__version__
    format_version: int = REPORT_VERSION

    def as_json(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)


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
    workers: int = 1,
    progress: ProgressHook | None = None,
) -> SubsetReport:
    """Choose a subset of a pool and write it with its record. A killed run goes on where it stopped when run again.

    Args:
        strategy: a name of ``STRATEGIES``.
        metadata_dir: the pool's metadata folder.
        save_path: the ``.npy`` to write; the record goes to ``<save_path>.json``. Existing ones are replaced.
        options: what the strategy takes.
        workers: processes.
        progress: told after every metadata file.

    Raises:
        UsageError: unknown strategy, an option that it does not take, a value out of range, not a ``.npy`` path.
        DataFormatError: a metadata file is damaged or lacks a column.
        StorageError: a file cannot be read or written.
    """
    chosen = find_strategy(strategy)
    options.check(chosen)
    options = chosen.complete(options)
    if save_path.suffix != ".npy":
        raise UsageError(f"The save path {save_path} does not end in .npy.", hint="A subset is a `.npy` file of uids.")
    paths = chosen.assets(options)
    assets = {role: {"file": path.name, "sha256": file_sha256(path)} for role, path in paths.items()}
    tools = {"language": predictor(paths["language_model"]).name} if "language_model" in paths else {}
    make_folder(save_path.parent)
    work_dir = save_path.with_name(f".{save_path.name}.parts")
    pool = MetadataPool.open(metadata_dir, workers)
    shown = {name: value.name if isinstance(value, Path) else value for name, value in options.given().items()}
    pool = replace(
        pool, progress=progress, work_dir=work_dir, fingerprint=_fingerprint(strategy, shown, assets, pool.files)
    )
    result = chosen.select(pool, options)
    save_subset(save_path, result.uids)
    report = SubsetReport(
        strategy,
        shown,
        len(pool.files),
        result.total,
        len(result.uids),
        result.dropped,
        result.repeats,
        assets,
        tools,
        save_path.name,
        file_sha256(save_path),
    )
    record = json.dumps(report.as_json(), indent=2, sort_keys=True) + "\n"
    write_bytes(save_path.with_name(f"{save_path.name}.json"), record.encode())
    if work_dir.exists():
        with storage_errors("removing", work_dir):
            shutil.rmtree(work_dir)
    return report


def _fingerprint(strategy: str, options: Mapping[str, Any], assets: Mapping[str, Any], files: tuple[Path, ...]) -> str:
    """Changes whenever a part of the result could: parts of an interrupted run are reused only under the same one."""
    content = [competition.__version__, strategy, dict(options), dict(assets), file_states(files)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
