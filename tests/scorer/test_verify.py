"""What only the scorer checks: the registration behind an entry, the pool on disk, and its own mirror."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from competition.errors import DataFormatError, RejectionError, RejectionReason, StorageError
from competition.records.manifest import SubmissionManifest
from competition.rules import Competition, EntryKind
from competition.verification import CHECKS
from scorer.messages import Checking, Message
from scorer.mirror import Mirror
from scorer.pool_index import indexed_uids
from scorer.verify import Registration, VerifyRequest, check_registration, verify_entry
from tests.competition.verification.entries import NONCE, TinyEntry, pool_array
from tests.scorer.conftest import Workplace

REGISTERED = {"submission_id": "sub-1", "nonce": NONCE, "competition": "tiny", "track": "filtering", "scale": "nano"}


def request_for(entry: TinyEntry, workplace: Workplace, competition: Competition) -> VerifyRequest:
    """Put the entry's files into the mirror, as fetching does."""
    mirror = Mirror(workplace.root / "mirror")
    manifest = SubmissionManifest.model_validate(entry.manifest())
    for file in manifest.files:
        mirror.adopt(entry.folder / file.path, file.sha256)
    return VerifyRequest(
        manifest=manifest,
        registration=Registration(**REGISTERED),
        competition=competition,
        mirror=workplace.root / "mirror",
        pools=workplace.root / "pools",
    )


@pytest.fixture
def request_(tmp_path: Path, workplace: Workplace, competition: Competition) -> VerifyRequest:
    return request_for(TinyEntry(tmp_path / "entry").build(), workplace, competition)


def verify(request: VerifyRequest) -> list[str]:
    heard: list[Message] = []
    verify_entry(request.model_dump_json(), heard.append)
    return [message.check for message in heard if isinstance(message, Checking)]


def test_a_mirrored_entry_passes_every_check(request_: VerifyRequest) -> None:
    assert verify(request_) == [name for name, _ in CHECKS[EntryKind.MODEL]]


def test_a_lineage_is_checked_against_the_mirrored_subset(
    tmp_path: Path, workplace: Workplace, competition: Competition
) -> None:
    entry = TinyEntry(tmp_path / "entry").build()
    entry.lineage()
    verify(request_for(entry, workplace, competition))
    entry.build().lineage(subset_sha256="4" * 64)
    with pytest.raises(RejectionError) as caught:
        verify(request_for(entry, workplace, competition))
    assert caught.value.reason is RejectionReason.LINEAGE_MISMATCH


@pytest.mark.parametrize(
    ("field", "value"), [("nonce", "cd" * 32), ("submission_id", "sub-2"), ("track", "byod"), ("scale", "micro")]
)
def test_an_entry_of_another_registration_is_rejected(request_: VerifyRequest, field: str, value: str) -> None:
    registration = Registration(**{**REGISTERED, field: value})
    with pytest.raises(RejectionError, match=f"submission.json: {field} is") as caught:
        check_registration(request_.manifest, registration)
    assert caught.value.reason is RejectionReason.MANIFEST_MISMATCH
    assert "cdcd" not in caught.value.message, "the registered nonce is not told to those who do not have it"


def test_a_file_that_the_mirror_lost_is_not_the_entry_s_fault(request_: VerifyRequest) -> None:
    Mirror(request_.mirror).path(request_.manifest.files[0].sha256).unlink()
    with pytest.raises(StorageError):
        verify(request_)


def test_a_foreign_uid_is_found_in_the_pool_on_disk(
    tmp_path: Path, workplace: Workplace, competition: Competition
) -> None:
    entry = TinyEntry(tmp_path / "entry").build()
    uids = np.repeat(pool_array()[:1], 23)
    uids["f1"] += 1
    entry.save_subset(uids)
    with pytest.raises(RejectionError, match="23 of 23 uids are not in pool"):
        verify(request_for(entry, workplace, competition))


def test_a_pool_that_is_absent_or_another_is_the_platform_s_fault(
    request_: VerifyRequest, workplace: Workplace, competition: Competition
) -> None:
    with pytest.raises(StorageError, match="elsewhere"):
        verify(request_.model_copy(update={"pools": workplace.root / "elsewhere"}))
    pool = competition.scales[0].pool
    pools, index = workplace.root / "pools", workplace.root / "index"
    with pytest.raises(DataFormatError, match=r"holds 60 uids; pool 'tiny-pool' has 61"):
        indexed_uids(pool.model_copy(update={"samples": 61}), pools, index)
    with pytest.raises(DataFormatError, match="are not those of pool"):
        indexed_uids(pool.model_copy(update={"uids_sha256": "0" * 64}), pools, index)


def test_the_index_of_a_pool_is_built_once_and_anew_when_the_pool_changes(
    workplace: Workplace, competition: Competition
) -> None:
    pool = competition.scales[0].pool
    pools, index = workplace.root / "pools", workplace.root / "index"
    first = indexed_uids(pool, pools, index)
    assert np.array_equal(first, pool_array())
    (built,) = index.iterdir()
    written = built.stat().st_mtime_ns
    assert np.array_equal(indexed_uids(pool, pools, index), first)
    assert built.stat().st_mtime_ns == written
    parquet = next((pools / "tiny-pool" / "metadata").glob("*.parquet"))
    parquet.write_bytes(b"damaged")
    with pytest.raises(DataFormatError, match="damaged"):
        indexed_uids(pool, pools, index)
