"""Entries with data of their own: what passes, what the counts must be, and how much of a test set they may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from competition.errors import RejectionError, RejectionReason
from competition.records.manifest import FileRole, SubmissionManifest
from competition.verification import check_submission
from tests.competition.verification.entries import TinyEntry, pool_array, tiny_competition
from tests.competition.verification.own_entries import OwnEntry, own_competition, rows, samples

R = RejectionReason


@pytest.fixture
def entry(tmp_path: Path) -> OwnEntry:
    entry = OwnEntry(tmp_path / "entry")
    entry.build()
    return entry


def check(entry: TinyEntry) -> SubmissionManifest:
    return check_submission(entry.folder, own_competition(), pool_array())


def rejection(entry: TinyEntry) -> RejectionError:
    with pytest.raises(RejectionError) as caught:
        check(entry)
    return caught.value


def test_own_data_pass_beside_a_subset_and_instead_of_it(entry: OwnEntry) -> None:
    entry.shard(samples(4)).shard(samples(3, 9), "external/1.tar").table(rows(5)).seal()
    manifest = check(entry)
    assert (manifest.external_rows, manifest.external_samples) == (5, 7)
    entry.without_subset().seal()
    assert check(entry).subset_samples is None


def test_a_subset_alone_is_an_entry_of_a_track_for_own_data(entry: OwnEntry) -> None:
    assert check(entry.retrain().seal()).external_samples is None


def test_tables_of_other_programs_pass(entry: OwnEntry) -> None:
    path = entry.folder / "polars.parquet"
    pl.DataFrame(rows(40)).with_columns(pl.col("licence").cast(pl.Categorical)).write_parquet(path)
    written = path.read_bytes()
    path.unlink()
    check(entry.table(written, 40).retrain().seal())
    entry.counts["external_rows"] = 0
    options: dict[str, Any] = {"compression": "zstd", "data_page_version": "2.0", "row_group_size": 7}
    check(entry.table(rows(40), use_dictionary=False, **options).seal())


def test_a_track_of_the_pool_takes_no_data_of_ones_own(entry: OwnEntry) -> None:
    entry.shard(samples(2))
    entry.seal(track="filtering", external_samples=None)
    assert "no part of an entry of track 'filtering'" in rejection(entry).message
    with pytest.raises(RejectionError) as caught:
        check_submission(entry.seal(external_samples=2).folder, tiny_competition(), pool_array())
    assert caught.value.reason is R.MANIFEST_MISMATCH, "a competition without such a track"


def test_an_entry_has_a_subset_or_data_of_its_own(entry: OwnEntry) -> None:
    error = rejection(entry.without_subset().seal())
    assert (error.reason, "role 'subset'" in error.message) == (R.MANIFEST_MALFORMED, True)


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"external_samples": 3}, "external_samples = 3, but the external data have 4"),
        ({"external_samples": None}, "external_samples = None"),
        ({"external_rows": 1}, "external_rows = 1, but the external data have 0"),
        ({"external_rows": 2**60}, "external_rows"),
    ],
)
def test_counts_are_those_of_the_data(entry: OwnEntry, claims: dict[str, object], words: str) -> None:
    error = rejection(entry.shard(samples(4)).seal(**claims))
    assert error.reason is R.EXTERNAL_COUNT_MISMATCH
    assert words in error.message


def test_too_much_of_anything_is_refused(entry: OwnEntry) -> None:
    assert rejection(entry.table(rows(41)).seal()).reason is R.EXTERNAL_TABLE_MALFORMED
    entry.counts["external_rows"] = 0
    entry.table(rows(38)).shard(samples(3)).seal()
    assert rejection(entry).reason is R.EXTERNAL_TOO_LARGE, "rows and samples count together"
    entry.shard(samples(1), "external/1.tar").shard(samples(1), "external/2.tar").seal()
    error = rejection(entry)
    assert (error.reason, "lists 4 files of external data" in error.message) == (R.FILE_TOO_LARGE, True)


def test_the_training_report_tells_of_every_external_shard(entry: OwnEntry) -> None:
    entry.shard(samples(4))
    part = entry.trained[0]
    pool = {"name": "pool.tar", "samples": 23, "sha256": "0" * 64}
    for data, words in (
        ({"parts": [pool], "samples": 23}, "does not name external/0.tar"),
        ({"parts": [pool, {**part, "samples": 3}], "samples": 26}, "3 samples of the external shards were trained on"),
        ({"samples": 4}, "has others in sum"),
        ({"parts": [{**pool, "samples": 24}, part], "samples": 28}, "24 samples besides the external shards"),
    ):
        error = rejection(entry.retrain(**data).seal())
        assert error.reason is R.TRAINING_DATA_MISMATCH
        assert words.replace("has others in sum", "its parts have others in sum") in error.message


def test_rows_of_a_table_may_have_been_trained_on(entry: OwnEntry) -> None:
    entry.table(rows(5)).retrain(parts=[], samples=28).seal()
    check(entry)
    error = rejection(entry.retrain(parts=[], samples=29).seal())
    assert "subset and tables together has 28" in error.message


def test_manifests_of_before_are_written_as_before() -> None:
    manifest = SubmissionManifest.model_validate(OwnEntryManifest)
    assert "external" not in manifest.model_dump_json()


OwnEntryManifest = {
    "submission_id": "s",
    "nonce": "0" * 64,
    "competition": "tiny",
    "competition_version": 1,
    "track": "filtering",
    "scale": "nano",
    "recipe_digest": "0" * 64,
    "suite": "tiny@1",
    "suite_digest": "0" * 64,
    "method_name": "m",
    "author": "a",
    "subset_samples": 1,
    "subset_unique": 1,
    "code_version": "1",
    "created_at": "2026-01-01T00:00:00Z",
    "files": [{"path": "subset.npy", "role": FileRole.SUBSET, "size": 1, "sha256": "0" * 64}],
}


def test_an_image_with_many_pixels_uses_up_the_budget_of_all(entry: OwnEntry) -> None:
    from competition.data.shards import Sample
    from tests.competition.verification.own_entries import png

    flat = png(np.zeros((300, 300, 3), np.uint8))
    entry.shard([Sample(f"{n}", {"png": flat, "txt": b"nothing"}) for n in range(6)]).seal()
    error = rejection(entry)
    assert (error.reason, "more than 500000 pixels" in error.message) == (R.EXTERNAL_TOO_LARGE, True)
