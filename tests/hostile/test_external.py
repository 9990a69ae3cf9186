"""Every hostile table and shard of external data ends for the right reason.

Most are checked as folders, one after the other in one process of the scorer's own kind; what a whole intake does with
external data, leaked test images above all, goes the whole way.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from competition.data.shards import Sample, read_samples
from competition.errors import RejectionError, RejectionReason
from scorer import messages
from scorer.overlaps import OVERLAPS, OverlapRequest, index_overlaps
from tests.competition.verification.entries import TinyEntry, write_evaluation_sets
from tests.competition.verification.own_entries import OwnEntry, own_competition, samples
from tests.hostile import chores, external_shards, external_tables
from tests.hostile.conftest import MEMORY
from tests.hostile.test_hostile import GroundOf, check_end, on_the_hub
from tests.scorer.conftest import RunningHub

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]

CASES = {
    f"{family}: {name}": case
    for family, cases in (("shard", external_shards.CASES), ("table", external_tables.CASES))
    for name, case in cases.items()
}


def copied(base: Path, folder: Path) -> OwnEntry:
    """An entry with the files of a sound one, linked, and counts of its own."""
    shutil.copytree(base, folder, copy_function=lambda source, target: Path(target).hardlink_to(source))
    (folder / "training_report.json").unlink()
    entry = OwnEntry(folder)
    entry.report()
    return entry


def test_every_hostile_table_and_shard_is_refused_for_its_reason(tmp_path: Path, ground_of: GroundOf) -> None:
    ground = ground_of(own_competition(), "byod", "nano")
    TinyEntry(tmp_path / "base").build()
    folders = {}
    for number, (name, case) in enumerate(CASES.items()):
        folders[name] = tmp_path / f"entry-{number}"
        case.make(copied(tmp_path / "base", folders[name]))
    before = ground.traces()
    request = chores.FoldersRequest(folders=tuple(folders.values()), competition=ground.competition)
    heard = ground.run(chores.check_folders, request.model_dump_json())
    told = [message.check for message in heard if isinstance(message, messages.Checking)]
    ends = [json.loads(each.removeprefix(chores.ENDED)) for each in told if each.startswith(chores.ENDED)]
    wrong = {
        name: end
        for (name, case), end in zip(CASES.items(), ends, strict=True)
        if end is None
        or (case.reason.value, case.words in end["message"], end["message"].isprintable(), len(end["message"]) < 1000)
        != (end["reason"], True, True, True)
        or str(tmp_path) in end["message"]
    }
    assert wrong == {}
    assert ground.traces() == before
    assert max(ground.grown) < MEMORY


def test_own_data_go_the_whole_way_and_leaked_test_images_are_refused(
    hub: RunningHub, ground_of: GroundOf, tmp_path: Path
) -> None:
    rules = own_competition()
    ground = ground_of(rules, "byod", "nano")
    evaluation = tmp_path / "evaluation"
    write_evaluation_sets(evaluation)
    request = OverlapRequest(
        competition=rules,
        track="byod",
        scale="nano",
        pools=ground.root / "pools",
        evaluation=evaluation,
        overlaps=ground.mirror / OVERLAPS,
    )
    said: list[messages.Message] = []
    index_overlaps(request.model_dump_json(), said.append)
    ground = replace(ground, overlaps=next(each.index for each in said if isinstance(each, messages.Compared)))
    entry = OwnEntry(tmp_path / "sound")
    entry.build()
    entry.shard(samples(5)).seal()
    before = ground.traces()
    assert len(ground.intake(on_the_hub(hub, entry.folder)).files) == 5
    tests = [sample.members["png"] for sample in read_samples(evaluation / "tiny-b" / "test" / "0.tar")]
    entry = OwnEntry(tmp_path / "leaked")
    entry.build()
    leaked = Sample("leaked", {"png": tests[3], "txt": b"a picture"})
    entry.shard([*samples(5), leaked]).seal()
    with pytest.raises(RejectionError) as caught:
        ground.intake(on_the_hub(hub, entry.folder))
    assert caught.value.reason is RejectionReason.CONTAMINATED
    assert "copies of 1 of the 12 test images of task 'tiny-b'" in caught.value.message
    check_end(ground, before, caught.value)


def test_the_corpus_names_every_reason_of_external_data() -> None:
    assert len(CASES) > 80
    assert {case.reason for case in CASES.values()} >= {
        reason for reason in RejectionReason if reason.value.startswith("external_")
    }
