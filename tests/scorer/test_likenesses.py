"""What the scorer says of near copies and of reports that do not hold, and what it remembers for that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from competition.errors import DataFormatError
from competition.records.scoring import NearCopy
from competition.verification.likeness import SAMPLES
from scorer.likenesses import Likenesses
from scorer.messages import Message, NearCopyFound
from scorer.verify import Registration, verify_entry
from tests.competition.verification.entries import TinyEntry, tiny_competition, tiny_weights
from tests.scorer.conftest import Workplace
from tests.scorer.test_verify import REGISTERED, request_for

RECIPE = "0" * 64


def near_copies(entry: TinyEntry, workplace: Workplace) -> list[NearCopy]:
    heard: list[Message] = []
    registration = Registration(**{**REGISTERED, "submission_id": entry.submission_id})
    request = request_for(entry, workplace, tiny_competition()).model_copy(update={"registration": registration})
    verify_entry(request.model_dump_json(), heard.append)
    return [message.copy_of for message in heard if isinstance(message, NearCopyFound)]


def test_a_near_copy_of_another_submission_is_told_of_and_goes_on(tmp_path: Path, workplace: Workplace) -> None:
    first = TinyEntry(tmp_path / "first", "sub-1").build(0)
    assert near_copies(first, workplace) == []
    assert near_copies(first.build(0), workplace) == [], "an entry that is verified again is no copy of itself"
    assert near_copies(TinyEntry(tmp_path / "second", "sub-2").build(1), workplace) == []
    thief = TinyEntry(tmp_path / "third", "sub-3").build(0)
    thief.save_weights({name: np.asarray(each * 1.001, np.float32) for name, each in tiny_weights(0).items()})
    (found,) = near_copies(thief, workplace)
    assert found.submission == "sub-1"
    assert found.distance == pytest.approx(0.001, rel=0.01)
    again = TinyEntry(tmp_path / "fourth", "sub-4").build(1)
    assert [(each.submission, each.distance) for each in near_copies(again, workplace)] == [("sub-2", 0.0)]


def test_the_salt_is_drawn_once_and_for_the_scorers_alone(tmp_path: Path) -> None:
    salt = Likenesses(tmp_path).salt()
    assert len(salt) == 32
    assert Likenesses(tmp_path).salt() == salt
    assert (tmp_path / "salt").stat().st_mode & 0o077 == 0
    assert Likenesses(tmp_path / "other").salt() != salt
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["salt"]


def test_a_sample_that_is_none_is_named(tmp_path: Path) -> None:
    likenesses = Likenesses(tmp_path)
    sample = np.ones(SAMPLES, np.float32)
    likenesses.keep(RECIPE, "sub-1", sample)
    assert likenesses.near(RECIPE, "sub-2", sample) == [("sub-1", 0.0)]
    likenesses.keep(RECIPE, "sub-1", sample[:9])
    with pytest.raises(DataFormatError, match=r"sub-1.npy is no sample"):
        likenesses.near(RECIPE, "sub-2", sample)
