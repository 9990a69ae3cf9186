"""A sound pool passes, and every single fault is found, named and counted; a killed run goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from competition.data.metadata import SCHEMA
from competition.data.shards import Sample, write_shard
from competition.errors import EngineError, UsageError
from competition.progress import Progress
from participant_kit.cli import app
from participant_kit.pools.index import build_index
from participant_kit.pools.places import PoolPlaces
from participant_kit.pools.verify import VerifyReport, identities, run, verify_pool
from participant_kit.pools.verify.findings import CHECKS, Severity
from tests.participant_kit.pools import small

ROWS, COUNT = small.SHARDS * small.SAMPLES, small.SHARDS * (small.SAMPLES - small.FAILED)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return small.write_pool(tmp_path / "pool")


def verify(pool: Path, *, deep: bool = False, workers: int = 1) -> VerifyReport:
    return verify_pool(PoolPlaces.find(pool), workers, deep=deep)


def counts(report: VerifyReport) -> dict[str, int]:
    return {finding.check: finding.count for finding in report.findings}


def rewrite(pool: Path, shard: int, change: Callable[[list[Sample]], list[Sample]]) -> None:
    write_shard(pool / "shards", shard, change(small.samples(shard)))


def edit_json(pool: Path, shard: int, place: int, **changes: object) -> None:
    def change(samples: list[Sample]) -> list[Sample]:
        sample = samples[place]
        sample.members["json"] = json.dumps(json.loads(sample.members["json"]) | changes).encode()
        return samples

    rewrite(pool, shard, change)


def edit_column(pool: Path, file: int, name: str, row: int, value: object) -> None:
    path = pool / "metadata" / f"{file:032x}.parquet"
    table = pq.read_table(path)
    values = table.column(name).to_pylist()
    values[row] = value
    place = table.schema.get_field_index(name)
    pq.write_table(table.set_column(place, SCHEMA.field(name), pa.array(values, SCHEMA.field(name).type)), path)


@pytest.mark.parametrize(("deep", "workers"), [(False, 1), (True, 2)])
def test_a_sound_pool_has_no_fault_and_nothing_is_left_behind(pool: Path, deep: bool, workers: int) -> None:
    before = sorted(pool.rglob("*"))
    report = verify(pool, deep=deep, workers=workers)
    assert report.sound
    assert counts(report) == {"download_failed": small.SHARDS * small.FAILED}
    assert (report.rows, report.samples, report.feature_files) == (ROWS, COUNT, small.SHARDS)
    assert (report.images.published, report.images.compared, report.images.equal) == (COUNT, COUNT, COUNT)
    assert sorted(pool.rglob("*")) == before


def _truncate(pool: Path) -> None:
    path = pool / "shards" / "00000001.tar"
    path.write_bytes(path.read_bytes()[:40_000])


def _without(extension: str) -> Callable[[Path], None]:
    def drop(samples: list[Sample]) -> list[Sample]:
        del samples[4].members[extension]
        return samples

    return lambda pool: rewrite(pool, 1, drop)


def _bad_stats(pool: Path) -> None:
    (pool / "shards" / "00000001_stats.json").write_text('{"successes": 5}')


def _malformed_stats(pool: Path) -> None:
    (pool / "shards" / "00000001_stats.json").write_text("{")


def _remove(name: str) -> Callable[[Path], None]:
    return lambda pool: (pool / name).unlink()


def _gap(pool: Path) -> None:
    for name in ("00000001.tar", "00000001_stats.json", "00000001.parquet"):
        (pool / "shards" / name).unlink()


def _short_features(pool: Path) -> None:
    arrays = {"l14_img": np.zeros((39, 8), np.float16), "dedup": np.zeros((40, 4), np.float32)}
    np.savez(pool / "metadata" / f"{1:032x}.npz", **arrays)


def _other_features(pool: Path) -> None:
    np.savez(pool / "metadata" / f"{1:032x}.npz", l14_img=np.zeros((40, 8), np.float16))


def _truncated_features(pool: Path) -> None:
    path = pool / "metadata" / f"{1:032x}.npz"
    path.write_bytes(path.read_bytes()[:300])


def _no_column(pool: Path) -> None:
    path = pool / "metadata" / f"{1:032x}.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["url"]), path)


def _not_parquet(pool: Path) -> None:
    (pool / "metadata" / f"{1:032x}.parquet").write_bytes(b"PAR1 no")


def _record(pool: Path) -> None:
    (pool / "pool.json").write_text(json.dumps({"samples": COUNT + 1, "shards": small.SHARDS}))


SINGLE_FAULTS: dict[str, tuple[Callable[[Path], None], dict[str, int]]] = {
    "truncated tar": (_truncate, {"shard_damaged": 1, "sample_lost": 29}),
    "no json": (_without("json"), {"sample_without_json": 1, "sample_lost": 1}),
    "no caption": (_without("txt"), {"sample_without_caption": 1}),
    "no image": (_without("jpg"), {"sample_without_image": 1}),
    "stats": (_bad_stats, {"stats_mismatch": 1}),
    "malformed stats": (_malformed_stats, {"stats_malformed": 1}),
    "no stats": (_remove("shards/00000001_stats.json"), {"stats_missing": 1}),
    "stats alone": (_remove("shards/00000002.tar"), {"stats_alone": 1, "sample_lost": 40}),
    "gap": (_gap, {"numbers_missing": 1, "sample_lost": 40}),
    "no log": (_remove("shards/00000001.parquet"), {"row_without_sample": 9, "download_failed": -9}),
    "short log": (lambda pool: rewrite(pool, 1, lambda s: s[1:]), {"log_mismatch": 1, "sample_lost": 1}),
    "short features": (_short_features, {"features_misaligned": 1}),
    "other features": (_other_features, {"features_differ": 1}),
    "truncated features": (_truncated_features, {"features_damaged": 1, "features_differ": 1}),
    "no features": (_remove(f"metadata/{1:032x}.npz"), {"features_absent": 1}),
    "features alone": (_remove(f"metadata/{1:032x}.parquet"), {"features_alone": 1, "sample_without_row": 37}),
    "no column": (_no_column, {"column_missing": 1}),
    "no parquet": (_not_parquet, {"metadata_damaged": 1, "sample_without_row": 37}),
    "uid twice": (lambda pool: edit_column(pool, 1, "uid", 39, small.uid(40)), {"uid_repeated": 1}),
    "malformed uid": (lambda pool: edit_column(pool, 1, "uid", 39, "xyz"), {"uid_malformed": 1}),
    "no uid": (lambda pool: edit_column(pool, 1, "uid", 39, None), {"uid_missing": 1}),
    "score": (lambda pool: edit_column(pool, 1, "clip_b32_similarity_score", 3, 7.0), {"score_out_of_range": 1}),
    "no score": (lambda pool: edit_column(pool, 1, "clip_l14_similarity_score", 3, None), {"score_missing": 1}),
    "no caption in metadata": (lambda pool: edit_column(pool, 1, "text", 3, ""), {"caption_empty": 1}),
    "no size": (lambda pool: edit_column(pool, 1, "original_width", 3, 0), {"size_missing": 1}),
    "no digest": (lambda pool: edit_column(pool, 1, "sha256", 3, "beef"), {"sha256_malformed": 1}),
    "other digest": (lambda pool: edit_column(pool, 1, "sha256", 3, "ab" * 32), {"original_changed": 1}),
    "sample twice": (lambda pool: edit_json(pool, 1, 3, uid=small.uid(41)), {"sample_repeated": 1, "sample_lost": 1}),
    "foreign": (lambda pool: edit_json(pool, 1, 3, uid="0" * 32), {"sample_without_row": 1, "sample_lost": 1}),
    "bad uid": (lambda pool: edit_json(pool, 1, 3, uid="no hex"), {"sample_without_uid": 1, "sample_lost": 1}),
    "changed image": (
        lambda pool: edit_json(pool, 1, 3, sha256="ab" * 32), {"image_changed": 1, "original_changed": 1}
    ),
    "record": (_record, {"record_mismatch": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE_FAULTS)
def test_every_fault_is_found_counted_and_named(pool: Path, name: str) -> None:
    spoil, expected = SINGLE_FAULTS[name]
    spoil(pool)
    report = verify(pool)
    found = counts(report)
    for check, count in expected.items():
        if check == "download_failed" and count < 0:
            assert check not in found
        else:
            assert found[check] == count, found
    grave = any(CHECKS[check][0] is Severity.FAULT for check in expected)
    assert report.sound is not grave
    assert all(finding.examples for finding in report.findings)


def test_deep_finds_a_flipped_bit_in_the_features(pool: Path) -> None:
    path = pool / "metadata" / f"{1:032x}.npz"
    content = bytearray(path.read_bytes())
    content[400] ^= 1
    path.write_bytes(content)
    assert "features_damaged" not in counts(verify(pool))
    (finding,) = [each for each in verify(pool, deep=True).findings if each.check == "features_damaged"]
    assert "CRC" in finding.examples[0]


def test_images_that_were_encoded_again_are_said_to_be_not_comparable(pool: Path) -> None:
    def encode_again(samples: list[Sample]) -> list[Sample]:
        for sample in samples:
            sample.members["jpg"] = small.jpeg(9999)
        return samples

    for shard in range(1, small.SHARDS):
        rewrite(pool, shard, encode_again)
    assert counts(verify(pool))["image_changed"] == 2 * 32  # the first shard has originals, so these were changed
    rewrite(pool, 0, encode_again)
    for deep, compared in ((False, 3 * 32), (True, COUNT)):
        report = verify(pool, deep=deep)
        assert report.sound
        assert report.images.encoded_again
        assert (report.images.compared, report.images.equal) == (compared, 0)


def test_copies_on_purpose_are_no_fault_without_metadata(tmp_path: Path) -> None:
    twice = [Sample(f"{name}-{copy}", s.members) for s in small.samples(0) for copy, name in enumerate((s.key, s.key))]
    write_shard(tmp_path, 0, twice)
    report = verify_pool(PoolPlaces.find(None, shards_dir=tmp_path))
    assert report.sound
    assert counts(report) == {"sample_copies": 37}


def test_a_stale_index_is_told(pool: Path) -> None:
    build_index(pool / "shards")
    assert "index_stale" not in counts(verify(pool))
    edit_json(pool, 1, 3, note="changed")
    report = verify(pool)
    assert report.sound
    assert counts(report)["index_stale"] == 1


def test_digests_of_repeated_uids_are_not_compared(pool: Path) -> None:
    edit_column(pool, 1, "uid", 39, small.uid(40))
    edit_column(pool, 1, "sha256", 0, "ab" * 32)
    found = counts(verify(pool))
    assert found["uid_repeated"] == 1
    assert "original_changed" not in found


def test_ranges_of_uids_come_to_the_same_findings(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_column(pool, 1, "uid", 39, small.uid(40))
    edit_json(pool, 2, 3, uid="0" * 32)
    whole = verify(pool)
    monkeypatch.setattr(identities, "RANGE_ROWS", 20)
    parts = verify(pool)
    assert counts(parts) == counts(whole)
    assert sorted(map(str, parts.findings)) == sorted(map(str, whole.findings))


def test_a_killed_run_goes_on_and_a_repaired_file_is_looked_at_again(pool: Path) -> None:
    sound = (pool / "shards" / "00000001.tar").read_bytes()
    _truncate(pool)

    def stop(progress: Progress) -> None:
        if progress.stage == "comparing uids":
            raise EngineError("stopped")

    with pytest.raises(EngineError):
        verify_pool(PoolPlaces.find(pool), progress=stop)
    (pool / "shards" / "00000001.tar").write_bytes(sound)
    seen: list[Progress] = []
    report = verify_pool(PoolPlaces.find(pool), progress=seen.append)
    assert report.sound
    assert not (pool / ".verify").exists()
    resumed = {progress.stage: progress.resumed for progress in seen}
    assert resumed == {"checking metadata": 3, "checking shards": 2, "comparing uids": 0}


def test_the_command_says_what_it_found_and_fails(pool: Path) -> None:
    sound = CliRunner().invoke(app, ["pool", "verify", str(pool)])
    assert sound.exit_code == 0, sound.output
    assert "The pool is sound." in sound.stderr
    _gap(pool)
    shown = CliRunner().invoke(app, ["pool", "verify", str(pool)])
    assert shown.exit_code == 3
    assert "shard number that is missing between others" in shown.stdout
    result = CliRunner().invoke(app, ["pool", "verify", str(pool), "--json"])
    report = json.loads(result.stdout)
    assert (report["sound"], result.exit_code) == (False, 3)
    assert {"check", "severity", "meaning", "count", "examples"} == set(report["findings"][0])


def test_what_is_not_a_pool_is_said(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Name the pool's folder"):
        PoolPlaces.find(None)
    with pytest.raises(UsageError, match="Name the pool's folder"):
        PoolPlaces.find(pool, pool / "metadata")
    with pytest.raises(UsageError, match="neither a `metadata` nor a `shards` folder"):
        PoolPlaces.find(tmp_path)
    shutil.rmtree(pool / "shards")
    assert verify(pool).sound


def test_uids_are_held_together_only_for_a_record_that_has_their_digest(
    pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pool / "pool.json").write_text(json.dumps({"samples": COUNT, "shards": small.SHARDS, "uids_sha256": "0" * 64}))
    assert counts(verify(pool))["record_mismatch"] == 1
    (pool / "pool.json").write_text("[]")
    assert counts(verify(pool))["record_mismatch"] == 1

    def loaded(_directory: Path) -> None:
        raise AssertionError("all uids of the pool were loaded")

    monkeypatch.setattr(run, "pool_uids", loaded)
    (pool / "pool.json").write_text(json.dumps({"samples": COUNT, "shards": small.SHARDS}))
    assert verify(pool).sound
