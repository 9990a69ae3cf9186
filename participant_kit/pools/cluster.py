"""Group a pool's images by k-means, as DataComp did for its image-based filter (Gadre et al., 2023, section 4.1).

Images with a good caption (see ``participant_kit.subsets.caption_filter``), or of all pairs; of every metadata file all
of them or, for pools too large for memory, a share drawn with replacement; 100,000 clusters, 20 iterations, seed 0.
DataComp drew 0.3 of its large pool and 0.03 of xlarge. Memory: 4 bytes for each dimension of each drawn image, in one
process.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import competition
from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder, storage_errors, write_bytes
from competition.data.digests import file_sha256
from competition.data.engine import Workers
from competition.data.journal import Journal
from competition.data.metadata import column_uids, read_columns, read_feature
from competition.data.uids import UidArray
from competition.errors import DataFormatError, UsageError
from competition.progress import Progress, ProgressHook
from participant_kit.pools.kmeans import Floats, kmeans
from participant_kit.subsets.caption_filter import keep_good_captions
from participant_kit.subsets.captions import Captions
from participant_kit.subsets.language import language_model
from participant_kit.subsets.pool import MetadataPool, file_states
from participant_kit.subsets.result import Funnel, sum_dropped

REPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What to group, and into how many clusters.

    Args:
        clusters: number of centres.
        features: member of the npz: ``l14_img`` or ``b32_img``.
        sample_ratio: share of each file's images to draw, with replacement, in (0, 1]; all of them, once, when absent.
        caption_filter: only images with a good caption.
        language_model: for the caption filter; the bundled one when absent.
        iterations: of k-means.
        seed: of draws and first centres.
    """

    clusters: int = 100_000
    features: str = "l14_img"
    sample_ratio: float | None = None
    caption_filter: bool = True
    language_model: Path | None = None
    iterations: int = 20
    seed: int = 0

    def check(self) -> None:
        """Raises ``UsageError`` for a value out of range."""
        if self.features not in ("l14_img", "b32_img"):
            raise UsageError(f"--features {self.features} is unknown.", hint="Choose l14_img or b32_img.")
        if self.sample_ratio is not None and not (math.isfinite(self.sample_ratio) and 0 < self.sample_ratio <= 1):
            raise UsageError(f"--sample-ratio {self.sample_ratio} is not above 0 and at most 1.")
        if min(self.clusters, self.iterations) < 1 or self.seed < 0:
            raise UsageError("--num-clusters must be at least 1, and --seed not negative.")


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """How centroids were made; written beside them as ``<centroids>.json``.

    Args:
        options: by name; a file by its name.
        metadata_files: read.
        total: metadata rows read.
        dropped: rows that were not clustered, by reason.
        points: images that were, repeats counted; without a sample ratio they and ``dropped`` sum to ``total``.
        dimensions: of an image's feature.
        trained_by: program and version.
        assets: further files that the result depends on: role to name and sha256.
        centroids: name of the file.
        centroids_sha256: digest of its bytes.
        code_version: of DataCup.
        format_version: of this record.
    """

    options: dict[str, Any]
    metadata_files: int
    total: int
    dropped: dict[str, int]
    points: int
    dimensions: int
    trained_by: str
    assets: dict[str, dict[str, str]]
    centroids: str
    centroids_sha256: str
    code_version: str = competition.__version__
    format_version: int = REPORT_VERSION

    def as_json(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)


def cluster_pool(
    metadata_dir: Path,
    save_path: Path,
    options: ClusterOptions,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> ClusterReport:
    """Group a pool's images and write the centres as a float32 ``.npy``, with a record beside it.

    The choice of images survives a kill; k-means itself starts again. The order of files and rows, and the number of
    workers, change nothing: images come in the order of their uids.

    Raises:
        UsageError: a value out of range, fewer images than clusters, not a ``.npy`` path, too little memory.
        DataFormatError: a metadata or feature file is damaged, or features differ in dimensions.
        StorageError: a file cannot be read or written.
    """
    options.check()
    if save_path.suffix != ".npy":
        raise UsageError(f"The save path {save_path} does not end in .npy.", hint="Centroids are an .npy file.")
    model = language_model(options.language_model) if options.caption_filter else None
    assets = {} if model is None else {"language_model": {"file": model.name, "sha256": file_sha256(model)}}
    shown = {name: value.name if isinstance(value, Path) else value for name, value in asdict(options).items()}
    pool = replace(MetadataPool.open(metadata_dir, workers), progress=progress)
    work_dir = save_path.with_name(f".{save_path.name}.parts")
    make_folder(work_dir)
    journal = _open_journal(work_dir, _fingerprint(shown, assets, pool.files))
    found = pool.map(partial(_draw_file, options, model, work_dir), "choosing images", journal)
    points = _gather(work_dir, pool.files, found)
    centres, trained_by = kmeans(points, options.clusters, options.iterations, options.seed, _teller(options, progress))
    with atomic_writer(save_path) as stream:
        write_npy(stream, centres)
    report = ClusterReport(
        shown,
        len(pool.files),
        sum(part["total"] for part in found),
        sum_dropped([part["dropped"] for part in found]),
        len(points),
        points.shape[1],
        trained_by,
        assets,
        save_path.name,
        file_sha256(save_path),
    )
    record = json.dumps(report.as_json(), indent=2, sort_keys=True) + "\n"
    write_bytes(save_path.with_name(f"{save_path.name}.json"), record.encode())
    with storage_errors("removing", work_dir):
        shutil.rmtree(work_dir)
    return report


def _open_journal(work_dir: Path, fingerprint: str) -> Journal:
    journal = Journal(work_dir / "journal.jsonl", fingerprint)
    for name in journal.completed:
        if not all(part.exists() for part in _parts(work_dir, Path(name))):
            journal.forget(name)
    return journal


def _draw_file(options: ClusterOptions, model: Path | None, work_dir: Path, path: Path) -> dict[str, Any]:
    """Choose one file's images; their features and uids, in the order of uids, go to ``work_dir``."""
    table = read_columns(path, ["uid"] if model is None else ["uid", "text"])
    funnel = Funnel(table.num_rows)
    if model is not None:
        keep_good_captions(funnel, Captions.of_table(table, path), model)
    stored = read_feature(path, options.features, rows=funnel.total)
    features = stored[funnel.rows]
    finite = np.isfinite(features).all(axis=1)
    funnel.keep(finite, "features_missing")
    uids = column_uids(table, path)[funnel.rows]
    order = np.lexsort((uids["f1"], uids["f0"]))
    drawn = order if options.sample_ratio is None else order[_sample(uids[order], options.sample_ratio, options.seed)]
    for part, array in zip(_parts(work_dir, path), (features[finite][drawn], uids[drawn]), strict=True):
        with atomic_writer(part) as stream:
            write_npy(stream, array)
    return {
        "total": funnel.total,
        "dropped": funnel.dropped,
        "points": len(drawn),
        "dimensions": int(stored.shape[1]),
    }


def _sample(uids: UidArray, ratio: float, seed: int) -> NDArray[np.int64]:
    """Positions drawn with replacement, ascending: int(rows * ratio) of them; the same for the same uids and seed."""
    own = int.from_bytes(hashlib.sha256(np.ascontiguousarray(uids).tobytes()).digest()[:8], "little")
    count = int(len(uids) * ratio)
    generator = np.random.default_rng([seed, own])
    return np.sort(generator.integers(0, max(1, len(uids)), count, dtype=np.int64))


def _gather(work_dir: Path, files: Sequence[Path], found: Sequence[Mapping[str, Any]]) -> Floats:
    """All drawn images as float32 in the order of their uids."""
    sizes = {path.name: part["dimensions"] for path, part in zip(files, found, strict=True)}
    if len(set(sizes.values())) > 1:
        raise DataFormatError(
            f"The features of {min(sizes, key=sizes.__getitem__)} have {min(sizes.values())} dimensions, those of "
            f"{max(sizes, key=sizes.__getitem__)} {max(sizes.values())}.",
            hint="All features of a pool must come from the same CLIP model.",
        )
    uids = np.concatenate([np.load(_parts(work_dir, path)[1]) for path in files])
    places = np.empty(len(uids), dtype=np.int64)
    places[np.lexsort((uids["f1"], uids["f0"]))] = np.arange(len(uids))
    dimensions = next(iter(sizes.values()))
    try:
        points = np.empty((len(uids), dimensions), dtype=np.float32)
    except MemoryError:
        raise UsageError(
            f"{len(uids):,} images of {dimensions} dimensions need {4e-9 * len(uids) * dimensions:.0f} GB of memory.",
            hint="Draw a share of them with --sample-ratio; DataComp drew 0.3 of its large pool, 0.03 of xlarge.",
        ) from None
    start = 0
    for path in files:
        part = np.load(_parts(work_dir, path)[0], mmap_mode="r")
        points[places[start : start + len(part)]] = part
        start += len(part)
    return points


def _parts(work_dir: Path, path: Path) -> tuple[Path, Path]:
    return work_dir / f"{path.stem}.features.npy", work_dir / f"{path.stem}.uids.npy"


def _teller(options: ClusterOptions, progress: ProgressHook | None) -> Any:
    def told(done: int) -> None:
        if progress is not None:
            progress(Progress("clustering", done, options.iterations))

    told(0)
    return told


def _fingerprint(options: Mapping[str, Any], assets: Mapping[str, Any], files: Sequence[Path]) -> str:
    """Changes whenever the chosen images could."""
    drawn_by = {name: options[name] for name in ("features", "sample_ratio", "caption_filter", "seed")}
    content = [competition.__version__, drawn_by, dict(assets), file_states(files)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
