"""What a pool holds, from footers, headers and the few small columns that describe it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.data.engine import Engine, Needs, Workers, engine_of
from competition.data.metadata import (
    column_bytes,
    column_floats,
    column_types,
    features_path,
    list_metadata,
    read_columns,
    row_count,
)
from competition.data.npz import member_names, open_member
from competition.data.shards import Shard, expected_samples, list_shards
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.pools.places import PoolPlaces

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.7, 0.75, 0.9, 0.99)
SCORE_STEP = 1e-4
"""Precision of a score's quantiles: scores are counted in bins of this width, so that no pool needs more memory."""

SIDES = (1, 64, 128, 200, 256, 512, 1024, 2048)
"""Lower bounds, in pixels, of the classes of the shorter side. ``basic_filter`` asks for 200."""

MAX_ASPECT = 3.0
LANGUAGE_SAMPLE = 20_000
"""Captions whose language is looked at, evenly spaced over a few files."""

_LANGUAGE_FILES = 10
_MOST_TASKS = 128
"""Each answers with 160 KiB of counts for each score, however many files it read."""

_SCORE_BINS = round(2 / SCORE_STEP) + 1
_SCORES = ("clip_b32_similarity_score", "clip_l14_similarity_score")
_SIZES = ("original_width", "original_height")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the metadata: its type, how many files have it, and its compressed bytes in all of them."""

    type: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Scores:
    """A CLIP score: rows without one, and values at quantiles (keys as ``QUANTILES``; up to ``SCORE_STEP`` too low)."""

    missing: int
    quantiles: dict[str, float]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the original images.

    Args:
        missing: rows without a size.
        shorter_side: rows by class; the key is the class's least number of pixels (``SIDES``).
        elongated: rows whose longer side is more than three times the shorter.
    """

    missing: int
    shorter_side: dict[str, int]
    elongated: int


@dataclass(frozen=True, slots=True)
class Feature:
    """One member of the feature files: dtype, dimensions, and how many files have it so."""

    dtype: str
    dimensions: int
    files: int


@dataclass(frozen=True, slots=True)
class Shards:
    """The shards: how many, their bytes, samples that their stats promise, shards without stats, missing numbers."""

    shards: int
    bytes: int
    samples: int
    without_stats: int
    gaps: list[list[int]]


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """A pool.

    Args:
        metadata_files: parquet files.
        rows: theirs.
        metadata_bytes: theirs.
        columns: by name.
        scores: by column; empty when only footers were read.
        sizes: ``None`` when only footers were read, or without these columns.
        languages: share of captions by language among a sample of ``LANGUAGE_SAMPLE``; ``None`` when not asked for.
        feature_bytes: of all npz files.
        features: by member.
        shards: ``None`` for a pool without shards.
    """

    metadata_files: int
    rows: int
    metadata_bytes: int
    columns: dict[str, Column]
    scores: dict[str, Scores]
    sizes: Sizes | None
    languages: dict[str, float] | None
    feature_bytes: int
    features: dict[str, Feature]
    shards: Shards | None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def describe_pool(
    places: PoolPlaces,
    workers: Workers = 1,
    *,
    footers_only: bool = False,
    languages: bool = False,
    progress: ProgressHook | None = None,
) -> PoolInfo:
    """Say what a pool holds. Scores and sizes are read; the other columns, features and shards only as headers.

    Args:
        places: folders of metadata, of shards, or both.
        workers: how many tasks at a time on this machine, or an engine.
        footers_only: read no column.
        languages: identify the language of some captions.
        progress: told after every file, or every few of them in a large pool.

    Raises:
        UsageError: neither folder is given.
        DataFormatError: a file is damaged; `datacup pool verify` finds all such files.
        StorageError: a file cannot be read.
    """
    if places.metadata is None and places.shards is None:
        raise UsageError("There is nothing to describe: neither a metadata nor a shard folder is given.")
    engine = engine_of(workers)
    files = [] if places.metadata is None else list_metadata(places.metadata)
    size = max(1, -(-len(files) // _MOST_TASKS))
    groups = [files[start : start + size] for start in range(0, len(files), size)]
    found = engine.map(
        partial(_describe_files, footers_only),
        {group[0].name: group for group in groups},
        stage="reading metadata",
        needs=Needs(threads=True),
        progress=progress,
    ).values()
    parts = [part for described, _ in found for part in described]
    counted = [scores for _, scores in found]
    return PoolInfo(
        metadata_files=len(files),
        rows=sum(part["rows"] for part in parts),
        metadata_bytes=sum(part["bytes"] for part in parts),
        columns=_columns(parts),
        scores={name: _scores(counted, name) for name in _SCORES if any(name in scores for scores in counted)},
        sizes=_sizes(parts),
        languages=_languages(files) if languages and files else None,
        feature_bytes=sum(part["feature_bytes"] for part in parts),
        features=_features(parts),
        shards=None if places.shards is None else _shards(places.shards, engine, progress),
    )


def _describe_files(footers_only: bool, paths: Sequence[Path]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What each of some files holds, and the counts of scores of all of them together."""
    parts: list[dict[str, Any]] = []
    scores: dict[str, Any] = {}
    for path in paths:
        parts.append(_describe_file(footers_only, path))
        for name, counts in parts[-1].pop("scores").items():
            total = scores.setdefault(name, {"missing": 0, "bins": np.zeros(_SCORE_BINS, dtype=np.int64)})
            total["missing"] += counts["missing"]
            total["bins"] += counts["bins"]
    return parts, scores


def _describe_file(footers_only: bool, path: Path) -> dict[str, Any]:
    schema, sizes = column_types(path), column_bytes(path)
    archive = features_path(path)
    members = {name: open_member(archive, name) for name in member_names(archive)} if archive.exists() else {}
    part: dict[str, Any] = {
        "rows": row_count(path),
        "bytes": path.stat().st_size,
        "columns": {field.name: [str(field.type), sizes.get(field.name, 0)] for field in schema},
        "feature_bytes": archive.stat().st_size if archive.exists() else 0,
        "features": {name: [str(array.dtype), math.prod(array.shape[1:])] for name, array in members.items()},
        "scores": {},
        "sizes": None,
    }
    if not footers_only:
        part["scores"] = {name: _count_scores(path, name) for name in _SCORES if name in schema.names}
        if set(_SIZES) <= set(schema.names):
            part["sizes"] = _count_sizes(path)
    return part


def _count_scores(path: Path, column: str) -> dict[str, Any]:
    """Rows without a score, and others by bin of ``SCORE_STEP`` from -1."""
    scores = column_floats(read_columns(path, [column]), column)
    known = scores[~np.isnan(scores)]
    bins = np.clip(np.floor((known.astype(np.float64) + 1) / SCORE_STEP), 0, _SCORE_BINS - 1).astype(np.int64)
    return {"missing": len(scores) - len(known), "bins": np.bincount(bins, minlength=_SCORE_BINS)}


def _count_sizes(path: Path) -> dict[str, Any]:
    table = read_columns(path, _SIZES)
    width, height = (_integers(table, name) for name in _SIZES)
    shorter, longer = np.minimum(width, height), np.maximum(width, height)
    classes = np.searchsorted(SIDES, shorter, side="right")
    return {
        "classes": np.bincount(classes, minlength=len(SIDES) + 1),
        "elongated": int(((shorter > 0) & (longer > MAX_ASPECT * shorter)).sum()),
    }


def _integers(table: Any, column: str) -> NDArray[np.int64]:
    import pyarrow.compute as pc

    values: NDArray[Any] = np.from_dlpack(pc.fill_null(table.column(column), 0).combine_chunks())
    return values.astype(np.int64)


def _columns(parts: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """In the order in which they occur; of a type that differs, the first file's."""
    names = list(dict.fromkeys(name for part in parts for name in part["columns"]))
    having = {name: [part["columns"][name] for part in parts if name in part["columns"]] for name in names}
    return {name: Column(found[0][0], len(found), sum(size for _, size in found)) for name, found in having.items()}


def _features(parts: Sequence[Mapping[str, Any]]) -> dict[str, Feature]:
    seen = Counter((name, dtype, width) for part in parts for name, (dtype, width) in part["features"].items())
    most = {name: (dtype, width, files) for (name, dtype, width), files in reversed(seen.most_common())}
    order = dict.fromkeys(name for name, _, _ in seen)
    return {name: Feature(*most[name]) for name in order}


def _scores(counted: Sequence[Mapping[str, Any]], column: str) -> Scores:
    having = [scores[column] for scores in counted if column in scores]
    totals = np.cumsum(np.sum([each["bins"] for each in having], axis=0))
    missing = sum(each["missing"] for each in having)
    if not totals[-1]:
        return Scores(missing, {})
    places = np.searchsorted(totals, [max(1, math.ceil(share * totals[-1])) for share in QUANTILES])
    values = [round(place * SCORE_STEP - 1, 4) for place in places.tolist()]
    return Scores(missing, {str(share): value for share, value in zip(QUANTILES, values, strict=True)})


def _sizes(parts: Sequence[Mapping[str, Any]]) -> Sizes | None:
    having = [part["sizes"] for part in parts if part["sizes"] is not None]
    if not having:
        return None
    classes = np.sum([each["classes"] for each in having], axis=0).tolist()
    sides = {str(bound): count for bound, count in zip(SIDES, classes[1:], strict=True)}
    return Sizes(classes[0], sides, sum(each["elongated"] for each in having))


def _languages(files: Sequence[Path]) -> dict[str, float]:
    """Shares of a sample's languages, the most frequent first."""
    from participant_kit.subsets.captions import Captions
    from participant_kit.subsets.language import language_model, predictor

    model = predictor(language_model(None))
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, _LANGUAGE_FILES).astype(np.int64)).tolist()]
    labels: Counter[str] = Counter()
    for path in chosen:
        captions = Captions.of_table(read_columns(path, ["text"]), path)
        wanted = min(len(captions), LANGUAGE_SAMPLE // len(chosen))
        rows = np.linspace(0, max(0, len(captions) - 1), wanted).astype(np.int64)
        labels.update(label.removeprefix("__label__") for label in model.labels(captions.take(rows)))
    total = max(1, labels.total())
    return {label: round(count / total, 4) for label, count in labels.most_common()}


def _shards(folder: Path, engine: Engine, progress: ProgressHook | None) -> Shards:
    listing = list_shards(folder)
    found = engine.map(
        _describe_shard,
        {shard.name: shard for shard in listing.shards},
        stage="reading stats",
        needs=Needs(threads=True),
        progress=progress,
    )
    counts = [samples for _, samples in found.values()]
    return Shards(
        len(listing.shards),
        sum(size for size, _ in found.values()),
        sum(count for count in counts if count is not None),
        counts.count(None),
        [list(gap) for gap in listing.gaps],
    )


def _describe_shard(shard: Shard) -> tuple[int, int | None]:
    with storage_errors("reading", shard.path):
        size = shard.path.stat().st_size
    return size, expected_samples(shard)
