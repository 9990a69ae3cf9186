"""Which images of one set have near-duplicates in another: ImageNetV2's way (Recht et al., 2019).

Every query's nearest references, in one of three metrics, are listed with their distances; pairs closer than a
threshold, other than an image with itself, are put into groups for a person to look at.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import competition
from competition.data.atomic import atomic_writer, make_folder, storage_errors, write_bytes
from competition.data.digests import file_sha256
from competition.data.engine import Workers, engine_of
from competition.data.journal import Journal
from competition.data.nearest import QUERY_ROWS, Distances, Metric, Rows, nearest
from competition.data.npz import member_names, open_member
from competition.data.workers import one_thread_a_worker
from competition.errors import DataFormatError, UsageError
from competition.progress import ProgressHook
from participant_kit.dedup.contamination import IDS
from participant_kit.dedup.groups import QUERY, REFERENCE, Groups, UnionFind, numbered, summary
from participant_kit.dedup.image_sets import SIDE, ImageSet, Reading, read_set, stacked
from participant_kit.dedup.metrics import WINDOW, Dssim, FeatureL2, PixelL2
from participant_kit.dedup.unit import check_dimensions
from participant_kit.subsets.centroids import load_matrix
from participant_kit.subsets.record import digests

METRICS = ("l2", "dssim", "features")
NEIGHBOURS = 30
"""How many ImageNetV2's people looked at."""

THRESHOLDS: Mapping[str, float] = {"l2": 1.2e8, "dssim": 0.2205, "features": 1.32e4}
"""ImageNetV2's, of images of 256 x 256 pixels and VGG-16's features; at most this far apart is worth a look."""

RECORD_VERSION = 1

_QUERIES_A_TASK = {"dssim": 32}


@dataclass(frozen=True, slots=True)
class NeighbourOptions:
    """What to compare, and how.

    Args:
        metric: one of ``METRICS``.
        neighbours: how many references of each query.
        threshold: distance up to which a pair is put into a group; ImageNetV2's when absent.
        side: images are brought to this many pixels on both sides; ImageNetV2's 256.
        window: of dssim.
        weights: of VGG-16, for features of images.
        member: of an npz of features.
    """

    metric: str = "l2"
    neighbours: int = NEIGHBOURS
    threshold: float | None = None
    side: int = SIDE
    window: int = WINDOW
    weights: Path | None = None
    member: str = "fc7"

    def check(self) -> None:
        """Raises ``UsageError`` for a value out of range."""
        if self.metric not in METRICS:
            raise UsageError(f"--metric {self.metric} is unknown.", hint=f"Choose one of {', '.join(METRICS)}.")
        if self.threshold is not None and not self.threshold >= 0:
            raise UsageError(f"--threshold {self.threshold} is negative.", hint="It is a distance.")
        if not 1 <= self.side <= 4096:
            raise UsageError(f"--side {self.side} is not between 1 and 4096 pixels.")

    @property
    def limit(self) -> float:
        """The threshold that holds."""
        return THRESHOLDS[self.metric] if self.threshold is None else self.threshold


@dataclass(frozen=True, slots=True)
class NeighbourReport:
    """What was compared; written beside the neighbours as ``<neighbours>.json``.

    Args:
        options: by name; a file by its name.
        queries: that were compared.
        references: that were compared.
        undecodable: images of either set that were not.
        found: how many groups, how many members, and the size of the largest.
        neighbours: name of the file.
        neighbours_sha256: digest of its bytes.
        assets: files of features and weights: role to name and sha256.
        code_version: of DataCup.
        format_version: of this record.
    """

    options: dict[str, Any]
    queries: int
    references: int
    undecodable: dict[str, int]
    found: dict[str, Any]
    neighbours: str
    neighbours_sha256: str
    assets: dict[str, dict[str, str]] = field(default_factory=dict)
    code_version: str = competition.__version__
    format_version: int = RECORD_VERSION

    def as_json(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two sets: names, and files of rows (with a member's name for an npz)."""

    ids: list[str]
    parts: tuple[tuple[Path, str | None], ...]
    undecodable: int = 0

    def arrays(self) -> list[Any]:
        return [load_array(path) if member is None else open_member(path, member) for path, member in self.parts]


def load_array(path: Path) -> Any:
    """A memory map of a ``.npy``."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def find_neighbours(
    queries: Path,
    references: Path,
    save_path: Path,
    options: NeighbourOptions,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> NeighbourReport:
    """Write each query's nearest references to a parquet file ``save_path`` with the columns ``query``, ``rank`` (from
    1), ``reference`` and ``distance``; a record beside it, and the groups. A killed run goes on.

    Args:
        queries: a folder of images or shards; for features also a ``.npy``, or an ``.npz`` with perhaps ``ids``.
        references: alike. Where it is the same as ``queries``, an image is its own nearest neighbour in the list.
        save_path: the ``.parquet`` to write.
        options: what to compare.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every part.

    Raises:
        UsageError: a value is out of range, more neighbours than references, or no image can be decoded.
        DataFormatError: features are damaged, not finite, or of several dimensions.
        StorageError: a path cannot be read or written.
    """
    options.check()
    if save_path.suffix != ".parquet":
        raise UsageError(f"The save path {save_path} does not end in .parquet.")
    work = save_path.with_name(f".{save_path.name}.parts")
    make_folder(work)
    same = queries.resolve() == references.resolve()
    first = _read(queries, options, work / "queries", workers, progress)
    second = first if same else _read(references, options, work / "references", workers, progress)
    _check_neighbours(options.neighbours, len(second.ids))
    comparison = _Comparison(options, first, second, work)
    comparison.metric()  # what is wrong with both together, before any task starts
    positions, distances = _compare(comparison, workers, progress)
    _write(save_path, first.ids, second.ids, positions, distances)
    groups = _near_groups(first.ids, second.ids, (positions, distances), options.limit, same=same)
    groups.write(save_path.with_name(f"{save_path.name}.groups.parquet"))
    said = {name: value.name if isinstance(value, Path) else value for name, value in asdict(options).items()}
    files = {"queries": queries, "references": references, "weights": options.weights}
    report = NeighbourReport(
        said | {"threshold": options.limit},
        len(first.ids),
        len(second.ids),
        {"queries": first.undecodable, "references": second.undecodable},
        summary(groups),
        save_path.name,
        file_sha256(save_path),
        digests({role: path for role, path in files.items() if path is not None and path.is_file()}),
    )
    record = json.dumps(report.as_json(), indent=2, sort_keys=True) + "\n"
    write_bytes(save_path.with_name(f"{save_path.name}.json"), record.encode())
    with storage_errors("removing", work):
        shutil.rmtree(work)
    return report


def _check_neighbours(neighbours: int, references: int) -> None:
    if neighbours < 1:
        raise UsageError(f"--neighbours {neighbours} is below 1.")
    if neighbours > references:
        raise UsageError(
            f"--neighbours {neighbours} is more than the {references:,} references.", hint="Ask for fewer."
        )


def _read(
    source: Path, options: NeighbourOptions, folder: Path, workers: Workers, progress: ProgressHook | None
) -> _Side:
    if source.is_dir():
        if options.metric == "features" and options.weights is None:
            raise UsageError(
                "Features of images need VGG-16's --weights, as safetensors.",
                hint="Or give features that were computed before, as .npy or .npz.",
            )
        kind = "fc7" if options.metric == "features" else "pixels"
        reading = Reading(kind, options.side, options.weights if kind == "fc7" else None)
        found = read_set(ImageSet.of(source), reading, folder, workers, progress)
        return _Side(found.ids, tuple((path, None) for path in found.parts), found.undecodable)
    if options.metric != "features":
        raise UsageError(f"The metric {options.metric} compares images; {source} is no folder of them.")
    if source.suffix == ".npy":
        return _Side([str(row) for row in range(len(load_matrix(source)))], ((source, None),))
    names = member_names(source)
    members = [name for name in names if name != IDS]
    member = members[0] if len(members) == 1 else options.member
    rows = len(open_member(source, member))
    ids = [str(each) for each in open_member(source, IDS).tolist()] if IDS in names else list(map(str, range(rows)))
    if len(ids) != rows:
        raise DataFormatError(f"{source} names {len(ids)} rows and has {rows}.")
    return _Side(ids, ((source, member),))


@dataclass(frozen=True, slots=True)
class _Comparison:
    """What a worker needs."""

    options: NeighbourOptions
    queries: _Side
    references: _Side
    work: Path

    def metric(self) -> Metric:
        first, second = ([part for part in side.arrays() if len(part)] for side in (self.queries, self.references))
        if self.options.metric == "l2":
            return PixelL2(first, second)
        if self.options.metric == "dssim":
            return Dssim(first, second, self.options.window)
        for part in (*first, *second):
            if part.ndim != 2 or part.dtype.kind != "f":
                raise DataFormatError(f"Features have shape {part.shape} and type {part.dtype}, not rows of floats.")
        check_dimensions({"the queries": first[0].shape[1], "the references": second[0].shape[1]})
        return FeatureL2(stacked(first), stacked(second))

    def path(self, start: int) -> Path:
        return self.work / f"nearest-{start:09d}.npz"


def _compare(comparison: _Comparison, workers: Workers, progress: ProgressHook | None) -> tuple[Rows, Distances]:
    step = _QUERIES_A_TASK.get(comparison.options.metric, QUERY_ROWS)
    total = len(comparison.queries.ids)
    tasks = {f"{start:09d}": (start, min(start + step, total)) for start in range(0, total, step)}
    journal = Journal(comparison.work / "nearest.jsonl", _mark(comparison))
    for name in journal.completed:
        if not comparison.path(int(name)).exists():
            journal.forget(name)
    engine_of(workers).map(
        partial(_compare_block, comparison), tasks, stage="comparing", journal=journal, progress=progress
    )
    parts = []
    for start, _ in tasks.values():
        with np.load(comparison.path(start), allow_pickle=False) as content:
            parts.append((content["positions"], content["distances"]))
    return np.concatenate([one for one, _ in parts]), np.concatenate([other for _, other in parts])


def _mark(comparison: _Comparison) -> str:
    """Changes whenever the distances could."""
    options, sides = comparison.options, (comparison.queries, comparison.references)
    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for side in sides for path, _ in side.parts]
    content = [competition.__version__, str(options), files, [side.ids for side in sides]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _compare_block(comparison: _Comparison, rows: tuple[int, int]) -> int:
    with one_thread_a_worker():
        pairs = nearest(comparison.metric(), comparison.options.neighbours, slice(*rows))
    positions, distances = pairs.table(rows[1] - rows[0], comparison.options.neighbours)
    with atomic_writer(comparison.path(rows[0])) as stream:
        np.savez(stream, allow_pickle=False, positions=positions, distances=distances)
    return len(positions)


def _write(path: Path, queries: list[str], references: list[str], positions: Rows, distances: Distances) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = positions.shape[1]
    table = pa.table(
        {
            "query": pa.array(queries).take(pa.array(np.repeat(np.arange(len(queries)), count))),
            "rank": np.tile(np.arange(1, count + 1), len(queries)),
            "reference": pa.array(references).take(pa.array(positions.reshape(-1))),
            "distance": distances.reshape(-1),
        }
    )
    make_folder(path.parent)
    with atomic_writer(path) as stream:
        pq.write_table(table, stream)


def _near_groups(
    queries: list[str], references: list[str], found: tuple[Rows, Distances], limit: float, *, same: bool
) -> Groups:
    """Images that pairs within the limit connect, an image with itself aside; the measure is the least distance."""
    positions, distances = found
    rows, ranks = np.nonzero(distances <= limit)
    others, apart = positions[rows, ranks], distances[rows, ranks]
    ids, roles = queries, [QUERY] * len(queries)
    if same:
        different = rows != others
        rows, others, apart = rows[different], others[different], apart[different]
    else:
        others = others + len(queries)
        ids, roles = ids + references, roles + [REFERENCE] * len(references)
    sets, least = UnionFind(len(ids)), np.full(len(ids), np.inf)
    sets.join(rows, others)
    np.minimum.at(least, rows, apart)
    np.minimum.at(least, others, apart)
    members = np.unique(np.concatenate([rows, others]))
    numbers = numbered(sets.labels()[members])
    order = np.lexsort((members, numbers))
    members = members[order]
    named = members.tolist()
    measures = least[members].astype(np.float32)
    return Groups(numbers[order], [ids[row] for row in named], [roles[row] for row in named], measures)
