"""Data of a participant's own, from training to a folder that the scorer's checks take."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from competition.data.shards import Sample, write_shard
from competition.data.uids import save_subset, uids_to_hex
from competition.errors import RejectionError, RejectionReason, UsageError
from competition.records.lifecycle import Processing
from competition.records.manifest import FileRole
from competition.records.submission import SubmissionTicket
from competition.rules import find_scale, find_track
from competition.verification import check_submission
from participant_kit.evaluation import evaluate_run
from participant_kit.own_data import OwnData
from participant_kit.submission import Entry, assemble
from tests.competition.verification.entries import NONCE, pool_array, write_evaluation_sets
from tests.competition.verification.own_entries import OWN_YAML, own_competition, picture, rows, samples
from tests.participant_kit.cli.typed import typed


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of a subset, external ones with a table and what img2dataset writes, and a run that was trained on both
    shards and evaluated."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.yaml").write_text(OWN_YAML)
    subset = pool_array()[:20]
    save_subset(folder / "subset.npy", subset)
    chosen = [
        Sample(f"{uid}-0", {"png": picture(place), "txt": b"of the pool", "json": json.dumps({"uid": uid}).encode()})
        for place, uid in enumerate(uids_to_hex(subset))
    ]
    for name, content in (("subset", chosen), ("external", samples(9, 100))):
        (folder / name).mkdir()
        write_shard(folder / name, 0, content)
    pq.write_table(pa.table({"status": ["success"]}), folder / "external" / "00000000.parquet")
    (folder / "listed").mkdir()
    pq.write_table(pa.table(rows(3)), folder / "listed" / "urls.parquet")
    words = ["--competition", folder / "own.yaml", "--scale", "nano", "--output-dir", folder / "runs"]
    data = f"{folder / 'subset'}::{folder / 'external'}"
    trained = typed("train", "--data-dir", data, "--exp-name", "both", *words, "--workers", "0", "--device", "cpu")
    assert trained.code == 0, trained.err
    write_evaluation_sets(folder / "evaluation")
    evaluate_run(folder / "runs" / "both", own_competition(), folder / "evaluation", lambda _progress: None)
    return folder


def entry_of(place: Path) -> Entry:
    competition = own_competition()
    track = find_track(competition, "byod")
    return Entry(
        competition=competition,
        track=track,
        scale=find_scale(competition, "nano"),
        run_dir=place / "runs" / "both",
        subset=place / "subset.npy",
        method_name="Own",
        author="Ada",
        description="",
        own_data=OwnData.of([place / "external", place / "listed"], track, competition.limits.external),
    )


def built(entry: Entry, folder: Path) -> Path:
    ticket = SubmissionTicket(submission_id="sub-1", nonce=NONCE, processing=Processing.DRAFT)
    assemble(entry, ticket, folder)
    return folder


def test_a_run_on_subset_and_external_shards_becomes_a_sound_entry(place: Path, tmp_path: Path) -> None:
    entry = entry_of(place)
    assert entry.training_report().data.source_samples == (20, 9)
    manifest = check_submission(built(entry, tmp_path / "entry"), entry.competition, pool_array())
    found = {file.path: file.role for file in manifest.files if file.path.startswith("external")}
    assert found == {
        "external/1/urls.parquet": FileRole.EXTERNAL_TABLE,
        "external/0/00000000.tar": FileRole.EXTERNAL_SHARD,
    }, "statistics and the log of downloads beside a shard are no data"
    assert (manifest.subset_samples, manifest.external_rows, manifest.external_samples) == (20, 3, 9)


def test_what_was_trained_on_must_be_entered(place: Path, tmp_path: Path) -> None:
    entry = entry_of(place)
    other = tmp_path / "other"
    other.mkdir()
    write_shard(other, 0, samples(9, 200))
    limits = entry.competition.limits.external
    for own, words in (
        (
            OwnData.of([other], entry.track, limits),
            "does not name external/00000000.tar",
        ),
        (None, "trained on 29 samples, but subset and tables together has 20"),
    ):
        folder = built(replace(entry, own_data=own), tmp_path / ("none" if own is None else "shards"))
        with pytest.raises(RejectionError, match=words) as caught:
            check_submission(folder, entry.competition, pool_array())
        assert caught.value.reason is RejectionReason.TRAINING_DATA_MISMATCH


def test_a_folder_that_cannot_be_entered_is_refused_in_one_sentence(place: Path, tmp_path: Path) -> None:
    competition = own_competition()
    track, limits = find_track(competition, "byod"), competition.limits.external
    with pytest.raises(UsageError, match="takes samples of the pool alone"):
        OwnData.of([place / "external"], find_track(competition, "filtering"), limits)
    with pytest.raises(UsageError, match="holds no shard"):
        OwnData.of([place], track, limits)
    (tmp_path / "ü.tar").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot be listed"):
        OwnData.of([tmp_path], track, limits)
    (tmp_path / "ü.tar").rename(tmp_path / "u.tar")
    with pytest.raises(RejectionError, match="is no shard of external data"):
        OwnData.of([tmp_path], track, limits)
    words = ["--method-name", "m", "--author", "a", "--hf-repo-name", "r", "--competition", place / "own.yaml"]
    given = typed("submit", "--track", "byod", *words, "--train-output-dir", place / "runs" / "both")
    assert given.code == 2
