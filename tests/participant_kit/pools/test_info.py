"""What a pool is said to hold is what numpy finds in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from competition.data.metadata import SCHEMA, list_metadata
from participant_kit.cli import app
from participant_kit.pools.info import QUANTILES, SCORE_STEP, SIDES, Feature, describe_pool
from participant_kit.pools.places import PoolPlaces
from tests.participant_kit.pools import small

ROWS = small.SHARDS * small.SAMPLES


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.write_pool(tmp_path_factory.mktemp("info") / "pool")


def test_counts_bytes_columns_and_features(pool: Path) -> None:
    info = describe_pool(PoolPlaces.find(pool), workers=2)
    files = list_metadata(pool / "metadata")
    assert (info.metadata_files, info.rows) == (small.SHARDS, ROWS)
    assert info.metadata_bytes == sum(path.stat().st_size for path in files)
    assert list(info.columns) == SCHEMA.names
    assert (info.columns["text"].type, info.columns["clip_l14_similarity_score"].type) == ("string", "float")
    assert all(column.files == small.SHARDS and column.bytes > 0 for column in info.columns.values())
    assert info.features == {
        "l14_img": Feature("float16", 8, small.SHARDS),
        "dedup": Feature("float32", 4, small.SHARDS),
    }
    assert info.shards is not None
    assert (info.shards.shards, info.shards.without_stats) == (small.SHARDS, 0)
    assert info.shards.samples == ROWS - small.SHARDS * small.FAILED


def test_quantiles_and_sizes_are_numpys(golden: Path) -> None:
    folder = golden / "datacomp_filters" / "metadata"
    info = describe_pool(PoolPlaces.find(None, folder), workers=2, languages=True)
    tables = [pq.read_table(path) for path in list_metadata(folder)]
    for name, scores in info.scores.items():
        values = np.concatenate([table[name].to_numpy() for table in tables])
        known = values[~np.isnan(values)]
        assert scores.missing == len(values) - len(known)
        expected = np.quantile(known, QUANTILES, method="inverted_cdf")
        below = expected - np.array(list(scores.quantiles.values()))
        assert ((below >= -1e-6) & (below <= 1.01 * SCORE_STEP)).all()
    width, height = (
        np.concatenate([table[name].to_numpy() for table in tables]) for name in ("original_width", "original_height")
    )
    shorter = np.minimum(width, height)
    assert info.sizes is not None
    assert info.sizes.missing == int((shorter < 1).sum())
    assert list(info.sizes.shorter_side.values()) == np.histogram(shorter, [*SIDES, 1 << 40])[0].tolist()
    assert info.sizes.elongated == int(((shorter > 0) & (np.maximum(width, height) > 3 * shorter)).sum())
    assert info.languages is not None
    assert next(iter(info.languages)) == "en"
    assert sum(info.languages.values()) == pytest.approx(1, abs=0.01)
    assert info.shards is None


def test_footers_alone_read_no_column(pool: Path) -> None:
    info = describe_pool(PoolPlaces.find(pool), footers_only=True)
    assert (info.rows, info.scores, info.sizes) == (ROWS, {}, None)


def test_the_command_shows_it(pool: Path) -> None:
    shown = CliRunner().invoke(app, ["pool", "info", str(pool), "--languages"])
    assert shown.exit_code == 0, shown.output
    assert "120" in shown.stdout
    assert "from 1 px 120" in shown.stdout.replace("from 1 px 0  ", "")
    result = CliRunner().invoke(app, ["pool", "info", "--shards-dir", str(pool / "shards"), "--json"])
    report = json.loads(result.stdout)
    assert (report["rows"], report["shards"]["shards"]) == (0, small.SHARDS)


def test_counts_come_from_a_bounded_number_of_tasks(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = describe_pool(PoolPlaces.find(pool)).as_json()
    tasks: list[int] = []
    monkeypatch.setattr("participant_kit.pools.info._MOST_TASKS", 2)
    places = PoolPlaces.find(pool)
    found = describe_pool(
        places, progress=lambda told: tasks.append(told.total) if told.stage == "reading metadata" else None
    )
    assert found.as_json() == expected
    assert set(tasks) == {2}
