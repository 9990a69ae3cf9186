"""Leaked test images, with a digits pool and the digits evaluation sets: found, told, and refused beyond the rule."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from competition.data.shards import Sample, list_shards, read_samples
from competition.data.uids import parse_uids, sort_uids
from competition.errors import EngineError, EvaluationError, RejectionError, RejectionReason
from competition.evaluation.sets import ensure_sets
from competition.records.manifest import SubmissionManifest
from competition.records.overlap import TaskOverlap
from competition.rules import Competition, Contamination, Descriptor, Pool, find_competition
from scorer.messages import Compared, Message, Overlap
from scorer.mirror import Mirror
from scorer.overlaps import OVERLAPS, OverlapRequest, index_overlaps
from scorer.verify import Registration, VerifyRequest, verify_entry
from tests.competition.verification.entries import NONCE
from tests.competition.verification.own_entries import OwnEntry, own_competition, rows
from tests.participant_kit.pools import tiny

POOL_SAMPLES = 1200
TESTS, RETRIEVED = 540, 200


def competition(**rule: float) -> Competition:
    """The tiny recipe, with the digits' suite and a small pool of theirs."""
    tiny_rules = own_competition()
    pool = Pool(id="digits-tiny", samples=POOL_SAMPLES, descriptor=Descriptor.THUMBNAIL)
    scale = tiny_rules.scales[0].model_copy(update={"pool": pool})
    suite = find_competition("digits").suite
    limits = tiny_rules.limits.external.model_copy(update={"total_pixels": 10**9, "samples": 1000})
    return tiny_rules.model_copy(
        update={
            "scales": (scale,),
            "suite": suite,
            "limits": tiny_rules.limits.model_copy(update={"external": limits, "subset_uids": 9000}),
            "contamination": Contamination(**rule),
        }
    )


@dataclass(frozen=True)
class Digits:
    """A pool with its answers, the evaluation sets, and a mirror."""

    root: Path

    @property
    def test_images(self) -> list[bytes]:
        """As ``digits-test`` stores them."""
        shard = self.root / "evaluation" / "digits-test" / "test" / "0.tar"
        return [sample.members["jpg"] for sample in read_samples(shard)]

    def answers(self) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = pq.read_table(
            self.root / "pools" / "digits-tiny" / "answers.parquet"
        ).to_pylist()
        return rows

    def clean_images(self, count: int) -> list[bytes]:
        """Digits of the pool, clean according to its answers."""
        clean = {row["uid"] for row in self.answers() if row["kind"] == "clean"}
        shards = list_shards(self.root / "pools" / "digits-tiny" / "shards").shards
        found = (sample.members for shard in shards for sample in read_samples(shard.path))
        return [each["jpg"] for each in found if any(uid.encode() in each["json"] for uid in clean)][:count]

    def index(self, rules: Competition, track: str = "byod") -> str:
        """What the scorer does before it verifies an entry."""
        request = OverlapRequest(
            competition=rules,
            track=track,
            scale="nano",
            pools=self.root / "pools",
            evaluation=self.root / "evaluation",
            overlaps=self.root / "mirror" / OVERLAPS,
        )
        heard: list[Message] = []
        index_overlaps(request.model_dump_json(), heard.append)
        return next(message.index for message in heard if isinstance(message, Compared))

    def verify(
        self, entry: OwnEntry, rules: Competition, *, compared: bool = True, **claims: object
    ) -> dict[str, TaskOverlap]:
        """Verify an entry as the scorer does; what was found of each task."""
        mirror = Mirror(self.root / "mirror")
        track = "byod" if entry.trained else "filtering"
        suite = {"suite": rules.suite.reference, "suite_digest": rules.suite.digest}
        manifest = SubmissionManifest.model_validate(entry.manifest(track=track, **suite, **claims))
        for file in manifest.files:
            copy = self.root / "copy"
            shutil.copyfile(entry.folder / file.path, copy)
            mirror.adopt(copy, file.sha256)
        request = VerifyRequest(
            manifest=manifest,
            registration=Registration(
                submission_id="sub-1", nonce=NONCE, competition="tiny", track=track, scale="nano"
            ),
            competition=rules,
            mirror=self.root / "mirror",
            pools=self.root / "pools",
            overlaps=self.index(rules, track) if compared else None,
        )
        heard: list[Message] = []
        verify_entry(request.model_dump_json(), heard.append)
        return {message.overlap.task: message.overlap for message in heard if isinstance(message, Overlap)}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    root = tmp_path_factory.mktemp("digits")
    (root / "pools").mkdir()
    tiny.build_tiny(root / "pools" / "digits-tiny", POOL_SAMPLES)
    ensure_sets("digits", root / "evaluation")
    return Digits(root)


@pytest.fixture
def entry(tmp_path: Path) -> OwnEntry:
    entry = OwnEntry(tmp_path / "entry")
    entry.build()
    return entry


def shard(images: list[bytes]) -> list[Sample]:
    extensions = ["png" if image.startswith(b"\x89PNG") else "jpg" for image in images]
    return [
        Sample(f"{number:032x}-0", {extension: image, "txt": b"a digit"})
        for number, (extension, image) in enumerate(zip(extensions, images, strict=True))
    ]


def changed(data: bytes, change: Callable[[Image.Image], Image.Image], form: str, **options: int) -> bytes:
    stream = io.BytesIO()
    change(Image.open(io.BytesIO(data)).convert("RGB")).save(stream, form, **options)
    return stream.getvalue()


def repacked(data: bytes) -> bytes:
    """The same pixels as a PNG."""
    return changed(data, lambda image: image, "PNG")


def smaller(data: bytes) -> bytes:
    """Three quarters of each side, as JPEG again."""
    return changed(data, lambda image: image.resize((image.width * 3 // 4, image.height * 3 // 4)), "JPEG", quality=90)


def test_clean_external_data_have_no_share_in_any_task(digits: Digits, entry: OwnEntry) -> None:
    found = digits.verify(entry.without_subset().shard(shard(digits.clean_images(150))), competition(own_share=0))
    assert {task: (overlap.images, overlap.copied, overlap.samples) for task, overlap in found.items()} == {
        "digits-test": (TESTS, 0, 0),
        "digits-shift": (TESTS, 0, 0),
        "digits-retrieval": (RETRIEVED, 0, 0),
        "digits-hidden": (357, 0, 0),
    }


@pytest.mark.parametrize(("way", "exact"), [(bytes, True), (repacked, True), (smaller, False)])
def test_leaked_test_images_are_refused(
    digits: Digits, entry: OwnEntry, way: Callable[[bytes], bytes], exact: bool
) -> None:
    leaked = [way(image) for image in digits.test_images[:6]]
    entry.without_subset().shard(shard([*digits.clean_images(50), *leaked, leaked[0]]))
    with pytest.raises(RejectionError) as caught:
        digits.verify(entry, competition())
    assert caught.value.reason is RejectionReason.CONTAMINATED
    assert "copies of 6 of the 540 test images of task 'digits-test' (1.1%); at most 1.0%" in caught.value.message
    found = digits.verify(entry, competition(own_share=0.02))["digits-test"]
    assert (found.exact, found.copied, found.samples) == (6 if exact else 0, 6, 7)


def test_a_hidden_task_is_not_named(digits: Digits, entry: OwnEntry) -> None:
    hidden = digits.root / "evaluation" / "digits-hidden" / "test" / "0.tar"
    leaked = [sample.members["jpg"] for sample in read_samples(hidden)][:9]
    with pytest.raises(RejectionError) as caught:
        digits.verify(entry.without_subset().shard(shard(leaked)), competition())
    assert "9 of the 357 test images of a hidden task" in caught.value.message


def test_rows_of_a_table_are_known_by_their_sha256(digits: Digits, entry: OwnEntry) -> None:
    listed = rows(30)
    listed["sha256"][:8] = [hashlib.sha256(image).hexdigest() for image in digits.test_images[:8]]
    entry.without_subset().shard(shard(digits.clean_images(1))).table(listed)
    found = digits.verify(entry, competition(own_share=0.02))["digits-test"]
    assert (found.exact, found.copied, found.samples) == (8, 8, 8)
    with pytest.raises(RejectionError, match="copies of 8 of"):
        digits.verify(entry, competition())


def test_what_the_pool_itself_leaked_is_told_and_refused_only_where_the_rules_say_so(
    digits: Digits, entry: OwnEntry
) -> None:
    answers = digits.answers()
    leaks = {row["index"]: (row["uid"], row["source"]) for row in answers if row["kind"] == "leaked_test"}
    copies = [row["uid"] for row in answers if row["kind"] == "near_duplicate" and row["source"] in leaks]
    assert len(leaks) >= 4
    uids = sort_uids(parse_uids([str(row["uid"]) for row in answers]))
    twice = sort_uids(np.concatenate([uids, parse_uids([str(next(iter(leaks.values()))[0])])]))
    clean = [str(row["uid"]) for row in answers if row["kind"] == "clean"][:23]
    for subset, samples, images in (
        (uids, len(leaks) + len(copies), len({source for _, source in leaks.values()})),
        (twice, len(leaks) + len(copies) + 1, len({source for _, source in leaks.values()})),
        (sort_uids(parse_uids(clean)), 0, 0),
    ):
        entry.save_subset(subset)
        entry.report()
        unique = len(np.unique(subset))
        counted = {"subset_samples": len(subset), "subset_unique": unique}
        found = digits.verify(entry, competition(), **counted)["digits-test"]
        assert (found.copied, found.samples) == (images, samples)
        if images:
            with pytest.raises(RejectionError, match=f"The subset of this entry holds copies of {images} of"):
                digits.verify(entry, competition(subset_share=0.001), **counted)


def test_the_index_is_made_once_and_of_another_threshold_anew(digits: Digits) -> None:
    rules = competition()
    first = digits.index(rules)
    files = {path: path.stat().st_mtime_ns for path in (digits.root / "mirror" / OVERLAPS).glob("*.npz")}
    assert digits.index(rules) == first
    assert all(path.stat().st_mtime_ns == before for path, before in files.items())
    other = rules.model_copy(update={"contamination": Contamination(cosine=0.98)})
    assert digits.index(other) != first, "copies by another threshold are others"


def test_an_absent_set_stops_entries_that_must_be_compared_and_no_others(digits: Digits, entry: OwnEntry) -> None:
    task = find_competition("digits").suite.tasks[0].model_copy(update={"dataset": "absent"})
    rules = competition()
    rules = rules.model_copy(update={"suite": rules.suite.model_copy(update={"tasks": (task, *rules.suite.tasks[1:])})})
    with pytest.raises(EvaluationError, match="There is no evaluation set"):
        digits.index(rules)
    assert digits.index(rules, track="filtering")
    with pytest.raises(EngineError, match="without a look for test images"):
        digits.verify(entry.without_subset().shard(shard(digits.clean_images(1))), competition(), compared=False)
