"""The built pool: DataComp's layout to the letter, every part about the same samples, the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from competition.data.metadata import FEATURE_MEMBERS, SCHEMA, list_metadata, pool_uids, read_feature
from competition.data.shards import expected_samples, list_shards, read_samples
from competition.data.uids import parse_uids, sort_uids
from competition.errors import DataFormatError, UsageError
from competition.progress import Progress
from competition.rules import find_competition
from participant_kit.pools.digits import PoolReport, build_digits_pool, features, score_model
from participant_kit.pools.digits.build import METADATA_SHARDS
from participant_kit.pools.digits.crawl import find
from participant_kit.pools.digits.shards import SHARD_SAMPLES
from tests.forks import Forks
from tests.participant_kit.pools import tiny

SAMPLES = 300
JSON_KEYS = [
    "uid", "face_bboxes", "caption", "url", "key", "status", "error_message", "width", "height",
    "original_width", "original_height", "exif", "sha256",
]  # fmt: skip
DIMENSIONS = {"b32_img": 512, "b32_txt": 512, "l14_img": 768, "l14_txt": 768, "dedup": 256}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PoolReport]:
    folder = tmp_path_factory.mktemp("pool")
    return folder, tiny.build_tiny(folder, SAMPLES)


def test_the_report_counts_and_identifies_the_pool(pool: tuple[Path, PoolReport]) -> None:
    folder, report = pool
    uids = pool_uids(folder / "metadata")
    assert (report.samples, report.shards, report.seed) == (SAMPLES, 4, 0)
    assert len(np.unique(uids)) == SAMPLES
    assert report.uids_sha256 == hashlib.sha256(uids.tobytes()).hexdigest()
    assert PoolReport.model_validate_json((folder / "pool.json").read_bytes()) == report
    assert np.array_equal(uids, sort_uids(parse_uids([find(0, index).uid for index in range(SAMPLES)])))


def test_the_folder_holds_datacomps_files_and_nothing_temporary(pool: tuple[Path, PoolReport]) -> None:
    folder, _ = pool
    assert {path.name for path in folder.iterdir()} == {
        *("metadata", "shards", "reference", "answers.parquet", "pool.json", ".lock")
    }
    shards = {path.name for path in (folder / "shards").iterdir()}
    assert shards == {f"{n:08d}{end}" for n in range(4) for end in (".tar", "_stats.json", ".parquet")}
    metadata = sorted(path.name for path in (folder / "metadata").iterdir())
    assert len(metadata) == 4
    for path in list_metadata(folder / "metadata"):
        assert len(path.stem) == 32
        assert set(path.stem) <= set("0123456789abcdef")
        assert path.with_suffix(".npz").exists()


def test_columns_and_types_are_datacomps(pool: tuple[Path, PoolReport], golden: Path) -> None:
    theirs = next((golden / "datacomp_filters" / "metadata").glob("*.parquet"))
    for path in list_metadata(pool[0] / "metadata"):
        schema = pq.read_schema(path)
        assert schema.equals(SCHEMA)
        assert [(field.name, field.type) for field in schema] == [
            (field.name, field.type) for field in pq.read_schema(theirs)
        ]


def test_features_are_normalised_and_the_scores_are_their_cosines(pool: tuple[Path, PoolReport]) -> None:
    for path in list_metadata(pool[0] / "metadata"):
        arrays = {name: read_feature(path, name) for name in FEATURE_MEMBERS}
        assert {name: array.shape[1] for name, array in arrays.items()} == DIMENSIONS
        for name, array in arrays.items():
            assert array.dtype == (np.float32 if name == "dedup" else np.float16)
            assert np.allclose(np.linalg.norm(array.astype(np.float32), axis=1), 1, atol=2e-3)
        table = pq.read_table(path)
        for role in ("b32", "l14"):
            cosines = (arrays[f"{role}_img"].astype(np.float32) * arrays[f"{role}_txt"].astype(np.float32)).sum(axis=1)
            scores = table[f"clip_{role}_similarity_score"].to_numpy()
            assert scores.dtype == np.float32
            assert np.allclose(cosines, scores, atol=5e-3)


def test_metadata_features_shards_logs_and_answers_are_about_the_same_samples(pool: tuple[Path, PoolReport]) -> None:
    folder, _ = pool
    rows = {
        row["uid"]: row | {"dedup": dedup}
        for path in list_metadata(folder / "metadata")
        for row, dedup in zip(pq.read_table(path).to_pylist(), read_feature(path, "dedup"), strict=True)
    }
    answers = {row["uid"]: row for row in pq.read_table(folder / "answers.parquet").to_pylist()}
    seen = 0
    for shard in list_shards(folder / "shards").shards:
        log = pq.read_table(shard.path.with_suffix(".parquet")).to_pylist()
        for sample, logged in zip(read_samples(shard.path), log, strict=True):
            facts = json.loads(sample.members["json"])
            row, answer = rows[facts["uid"]], answers[facts["uid"]]
            assert facts == logged
            assert list(facts) == JSON_KEYS
            assert facts["key"] == sample.key == f"{shard.number:08d}{seen % tiny.SHARD:04d}"
            assert facts["caption"] == row["text"] == sample.members["txt"].decode()
            for name in ("url", "original_width", "original_height", "sha256", "face_bboxes"):
                assert facts[name] == row[name]
            image = Image.open(io.BytesIO(sample.members["jpg"]))
            assert (image.width, image.height) == (facts["width"], facts["height"])
            assert max(image.size) == min(64, max(facts["original_width"], facts["original_height"]))
            assert np.allclose(features.copy_descriptors([image.convert("RGB")])[0], row["dedup"], atol=1e-5)
            assert answer["index"] == seen
            seen += 1
    assert seen == SAMPLES == len(rows) == len(answers)


def test_statistics_of_a_shard_are_img2datasets(pool: tuple[Path, PoolReport]) -> None:
    sizes = [tiny.SHARD] * 3 + [SAMPLES - 3 * tiny.SHARD]
    for shard, size in zip(list_shards(pool[0] / "shards").shards, sizes, strict=True):
        stats = json.loads(shard.stats_path.read_bytes())
        assert expected_samples(shard) == size == stats["count"]
        assert stats["status_dict"] == {"success": size}
        assert set(stats) >= {"failed_to_download", "failed_to_resize", "duration", "start_time", "end_time"}


def test_two_builds_give_the_same_bytes(pool: tuple[Path, PoolReport], tmp_path: Path) -> None:
    tiny.build_tiny(tmp_path, SAMPLES)
    assert _lasting(tmp_path) == _lasting(pool[0])


def test_pools_nest(pool: tuple[Path, PoolReport], tmp_path: Path) -> None:
    tiny.build_tiny(tmp_path, 2 * tiny.SHARD)
    larger = _lasting(pool[0])
    for name, digest in _lasting(tmp_path).items():
        if name != "answers.parquet":
            assert larger[name] == digest


def test_the_catalogs_pools_nest_by_whole_files() -> None:
    nano, micro = (scale.pool.samples for scale in find_competition("digits").scales)
    assert micro > nano >= 12_800
    assert nano % (SHARD_SAMPLES * METADATA_SHARDS) == micro % (SHARD_SAMPLES * METADATA_SHARDS) == 0


def test_another_seed_is_another_pool(pool: tuple[Path, PoolReport], tmp_path: Path) -> None:
    other = tiny.build_tiny(tmp_path, 40, seed=1)
    assert other.uids_sha256 != pool[1].uids_sha256
    mine = pool_uids(tmp_path / "metadata")
    assert not np.isin(mine, pool_uids(pool[0] / "metadata")).any()


def test_a_killed_build_goes_on_and_ends_with_the_same_pool(
    forks: Forks, pool: tuple[Path, PoolReport], tmp_path: Path
) -> None:
    killed = forks.run("from tests.participant_kit.pools.tiny import main; main()", tmp_path, SAMPLES, 3)
    assert killed.returncode == -9, killed.stderr
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "shards").glob("*.tar")}
    assert 0 < len(kept) < 4
    torn = tmp_path / "shards" / "00000000.tar"
    torn.unlink()
    seen: list[Progress] = []
    tiny.build_tiny(tmp_path, SAMPLES, seen.append)
    assert seen[0].resumed == 2  # the reference models and one of two shards; the other one's tar was lost
    after = {name: (tmp_path / "shards" / name).stat().st_mtime_ns for name in kept}
    assert [name for name in kept if after[name] != kept[name]] == [torn.name]
    assert _lasting(tmp_path) == _lasting(pool[0])


def test_a_finished_pool_is_recognised(pool: tuple[Path, PoolReport]) -> None:
    folder, report = pool
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}
    assert tiny.build_tiny(folder, SAMPLES) == report
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"} == before


def test_a_folder_with_another_pool_is_left_alone(pool: tuple[Path, PoolReport]) -> None:
    with pytest.raises(UsageError, match="another pool"):
        tiny.build_tiny(pool[0], SAMPLES, seed=1)


def test_a_folder_with_foreign_shards_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    with pytest.raises(UsageError, match="another pool"):
        tiny.build_tiny(tmp_path, SAMPLES)


def test_uids_that_the_competition_does_not_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.shrink(monkeypatch)
    scale = tiny.scale(40)
    wrong = scale.model_copy(update={"pool": scale.pool.model_copy(update={"uids_sha256": "0" * 64})})
    with pytest.raises(DataFormatError, match="other uids"):
        build_digits_pool(tmp_path, wrong, workers=1)


def test_scores_come_from_images_and_texts_and_no_label_is_near() -> None:
    for module in (features, score_model):
        source = Path(str(module.__file__)).read_text()
        assert "crawl" not in source
        assert "Part.POOL" not in source
        assert "answers" not in source


def _lasting(folder: Path) -> dict[str, str]:
    """Digests of everything but the files that hold times."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("_stats.json", "pool.json", ".lock"))
    }
