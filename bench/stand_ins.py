"""Stand-ins for what DataComp's text- and image-based filters need beside metadata, made from a seed.

Features are directions around common centres, so that clusters are of unequal size, as on a real pool; centroids are
not normalised, as k-means leaves them; the synset list names every second frequent English word.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.random import Generator
from numpy.typing import NDArray

from bench.captions import LANGUAGES
from bench.made_pool import MadePool
from competition.data.metadata import features_path, list_metadata
from participant_kit.assets import WORDNET, find_asset
from participant_kit.subsets.wordnet import WordNet

CLUSTERS, DIMENSIONS, TARGETS = 1_000, 768, 200
_SPREAD = 1.5
_BLOCK = 25_000


@dataclass(frozen=True, slots=True)
class StandIns:
    """Where they lie."""

    centroids: Path
    targets: Path
    synsets: Path


def make_stand_ins(pool: MadePool) -> StandIns:
    """The stand-ins of a made pool, and an npz beside each of its metadata files; kept, like the pool itself."""
    made = StandIns(pool.root / "centroids.npy", pool.root / "targets.npz", pool.root / "synsets.txt")
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(CLUSTERS, DIMENSIONS)).astype(np.float32)
    for index, path in enumerate(list_metadata(pool.metadata)):
        if not features_path(path).exists():
            rows = pq.ParquetFile(path).metadata.num_rows
            _write_features(features_path(path), np.random.default_rng([1, index]), centres, rows)
    if not made.synsets.exists():
        np.save(made.centroids, centres * generator.uniform(0.02, 0.04, (CLUSTERS, 1)).astype(np.float32))
        np.savez(made.targets, part_0=_features(generator, centres, TARGETS))
        wordnet = WordNet(find_asset(WORDNET))
        offsets = {wordnet.first_synset(word) for word in LANGUAGES[0].frequent.split()[::2]}
        made.synsets.write_text("".join(f"n{offset:08d}\n" for offset in offsets if offset is not None))
    return made


def _write_features(path: Path, generator: Generator, centres: NDArray[np.float32], rows: int) -> None:
    blocks = [_features(generator, centres, min(_BLOCK, rows - start)) for start in range(0, rows, _BLOCK)]
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, l14_img=np.concatenate(blocks))
    partial.rename(path)


def _features(generator: Generator, centres: NDArray[np.float32], rows: int) -> NDArray[np.float16]:
    """Unit vectors, float16 of shape (rows, dimensions), around centres of which the first are the most frequent."""
    chosen = np.minimum(generator.exponential(CLUSTERS / 4, rows).astype(np.int64), CLUSTERS - 1)
    points = centres[chosen] + _SPREAD * generator.standard_normal((rows, DIMENSIONS), dtype=np.float32)
    units: NDArray[np.float16] = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float16)
    return units
