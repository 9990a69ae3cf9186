"""Images that cannot be decoded: within a task's tolerance they are left out and counted, above it the task fails."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from competition.data.shards import Sample, read_samples, write_samples
from competition.errors import EvaluationError
from competition.evaluation.decoding import Unreadable, UnreadableImagesError, check_tolerated
from competition.evaluation.protocols import Case, Subject, run_protocol
from competition.evaluation.protocols.grouped import COLUMNS
from competition.evaluation.sets import CACHE_FOLDER
from competition.evaluation.task import evaluate_task
from competition.records.evaluation import TaskResult
from competition.rules import Aggregate, Protocol, Suite, Task
from competition.rules.protocols import METRICS
from tests.competition.evaluation import test_face_set, tiny_models
from tests.competition.evaluation.test_face_set import write_set as write_faces
from tests.competition.evaluation.test_protocols import clip, image_model, write_set
from tests.competition.evaluation.test_shifted_sets import write_objectnet

BROKEN = ("0000", "0037")
COUNT = 60


def task(protocol: Protocol, tolerance: float, dataset: str = "s", samples: int | None = None) -> Task:
    return Task(
        id="t",
        title="T",
        protocol=protocol,
        dataset=dataset,
        metric=METRICS[protocol][0],
        samples=samples,
        unreadable_tolerance=tolerance,
    )


def evaluated(asked: Task, root: Path) -> TaskResult:
    headed = asked.protocol is Protocol.CLASSIFICATION
    average = Aggregate(id="average", title="Average", tasks=("t",))
    suite = Suite(id="s", version=1, tasks=(asked,), aggregates=(average,), primary="average")
    return evaluate_task(Subject(image_model() if headed else clip()), asked, suite, root)


def damage(folder: Path, split: str = "test") -> None:
    """Two images of a set that are none, in a second shard too."""
    samples = list(read_samples(folder / split / "0.tar", None))
    for number, sample in enumerate(samples):
        if sample.key in BROKEN:
            samples[number] = Sample(sample.key, {**sample.members, "png": b"\x89PNG\r\n\x1a\n and no more"})
    write_samples(folder / split / "0.tar", samples[:30])
    write_samples(folder / split / "1.tar", samples[30:])
    (folder / split / "nshards.txt").write_text("2")


def without(folder: Path, target: Path) -> None:
    """A copy of a set without the samples whose images are broken."""
    shutil.copytree(folder, target)
    samples = [sample for sample in read_samples(folder / "test" / "0.tar", None) if sample.key not in BROKEN]
    write_samples(target / "test" / "0.tar", samples)


def as_retrieval(folder: Path) -> None:
    (folder / "dataset_type.txt").write_text("retrieval")
    samples = list(read_samples(folder / "test" / "0.tar", None))
    captions = [f"the image {number}\nof level {number % 6}".encode() for number in range(len(samples))]
    write_samples(
        folder / "test" / "0.tar",
        [
            Sample(sample.key, {"png": sample.members["png"], "txt": text})
            for sample, text in zip(samples, captions, strict=True)
        ],
    )


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol.ZEROSHOT_CLASSIFICATION,
        Protocol.CLASSIFICATION,
        Protocol.IMAGE_TEXT_RETRIEVAL,
        Protocol.KNN_SIMCORE,
        Protocol.WILDS_FMOW,
    ],
)
def test_what_is_left_is_scored_as_if_the_rest_had_never_been(protocol: Protocol, tmp_path: Path) -> None:
    write_set(tmp_path / "s", COLUMNS.get(protocol, ()))
    write_set(tmp_path / "s", count=240, split="train", seed=1)
    if protocol is Protocol.IMAGE_TEXT_RETRIEVAL:
        as_retrieval(tmp_path / "s")
    without(tmp_path / "s", tmp_path / "less")
    damage(tmp_path / "s")
    expected = evaluated(task(protocol, 0.0, "less"), tmp_path)
    for _ in ("decoded", "from the cache"):
        found = evaluated(task(protocol, 0.05, samples=COUNT), tmp_path)
        assert (found.unreadable, found.samples) == (2, COUNT - 2)
        assert (found.metrics, found.outcomes, found.interval) == (
            expected.metrics,
            expected.outcomes,
            expected.interval,
        )
        assert found.classes == expected.classes
    assert expected.unreadable == 0


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(("tolerance", "permitted"), [(0.0, ""), (0.02, r" \(up to 1 may be so\)")])
def test_above_the_tolerance_one_sentence_names_the_first(
    tmp_path: Path, cached: bool, tolerance: float, permitted: str
) -> None:
    """Also where a more lenient task has kept the set without these images."""
    write_set(tmp_path / "s")
    damage(tmp_path / "s")
    if cached:
        evaluated(task(Protocol.ZEROSHOT_CLASSIFICATION, 0.05), tmp_path)
    sentence = rf"The evaluation set s is damaged: 2 of 60 images cannot be used{permitted}, first '0000': [^.]+\."
    with pytest.raises(EvaluationError) as failed:
        evaluated(task(Protocol.ZEROSHOT_CLASSIFICATION, tolerance), tmp_path)
    assert re.fullmatch(sentence, failed.value.message)
    assert len(list((tmp_path / CACHE_FOLDER).glob("*.npy"))) == cached


def test_a_lost_or_damaged_list_of_them_means_decoding_again(tmp_path: Path) -> None:
    write_set(tmp_path / "s")
    damage(tmp_path / "s")
    asked = task(Protocol.ZEROSHOT_CLASSIFICATION, 0.05)
    first = evaluated(asked, tmp_path)
    (kept,) = (tmp_path / CACHE_FOLDER).glob("*.unreadable.json")
    for content in (b"", b"{}", b"[[1]]", None):
        kept.unlink() if content is None else kept.write_bytes(content)
        assert evaluated(asked, tmp_path).outcomes == first.outcomes
        assert kept.is_file()


def test_images_in_folders(tmp_path: Path) -> None:
    write_set(tmp_path / "s")
    folder = tmp_path / "f"
    for sample in read_samples(tmp_path / "s" / "test" / "0.tar", None):
        place = folder / "test" / f"level {sample.members['cls'].decode()}"
        place.mkdir(parents=True, exist_ok=True)
        broken = sample.key in BROKEN
        (place / f"{sample.key}.png").write_bytes(b"nothing" if broken else sample.members["png"])
    without(tmp_path / "s", tmp_path / "less")
    expected = evaluated(task(Protocol.CLASSIFICATION, 0.0, "less"), tmp_path)
    found = evaluated(task(Protocol.CLASSIFICATION, 0.05, "f", samples=COUNT), tmp_path)
    assert (found.unreadable, found.metrics, found.classes) == (2, expected.metrics, expected.classes)
    with pytest.raises(EvaluationError, match=r"2 of 60 images cannot be used, first 'test/level 0/0000.png': "):
        evaluated(task(Protocol.CLASSIFICATION, 0.0, "f"), tmp_path)


def test_objectnet(tmp_path: Path) -> None:
    for name in ("s", "less"):
        write_objectnet(tmp_path / name)
    (tmp_path / "s" / "images" / "pen" / "2.png").write_bytes(b"no image")
    (tmp_path / "less" / "images" / "pen" / "2.png").unlink()
    encoder = tiny_models.image_model(7)
    broken = Case(task(Protocol.CLASSIFICATION_OBJECTNET, 0.1), tmp_path / "s", tmp_path / "cache")
    whole = Case(task(Protocol.CLASSIFICATION_OBJECTNET, 0.0), tmp_path / "less")
    found, expected = (run_protocol(Subject(encoder), case) for case in (broken, whole))
    tiny_models.assert_same(found, expected)
    assert (broken.notes.unreadable, found.samples) == (1, 14)
    assert broken.notes.class_names == ("bench", "chair", "pen")
    assert found.classes is not None
    assert found.classes.samples.tolist() == [5, 5, 4]
    assert int(found.classes.right.sum()) == round((found.metrics["acc1"] or 0) * 14)


def test_faces(tmp_path: Path) -> None:
    rows = [test_face_set.npy(row) for row in test_face_set.table()]
    write_faces(tmp_path / "s")
    samples = list(read_samples(tmp_path / "s" / "test" / "0.tar", None))
    samples[7] = Sample(samples[7].key, {"png": b"no image", "npy": rows[7]})
    write_samples(tmp_path / "s" / "test" / "0.tar", samples)
    shutil.copytree(tmp_path / "s", tmp_path / "less")
    write_samples(tmp_path / "less" / "test" / "0.tar", samples[:7] + samples[8:])
    found = evaluated(task(Protocol.FAIRNESS_FACES, 0.05), tmp_path)
    expected = evaluated(task(Protocol.FAIRNESS_FACES, 0.0, "less"), tmp_path)
    assert (found.unreadable, found.samples) == (1, len(rows) - 1)
    assert (found.metrics, found.outcomes) == (expected.metrics, expected.outcomes)


def test_no_image_that_is_trained_on_may_be_missing(tmp_path: Path) -> None:
    write_set(tmp_path / "s")
    write_set(tmp_path / "s", count=240, split="train", seed=1)
    damage(tmp_path / "s", "train")
    with pytest.raises(EvaluationError, match=r"2 of 240 images cannot be used, first '0000'"):
        evaluated(task(Protocol.KNN_SIMCORE, 1.0), tmp_path)


@pytest.mark.parametrize(
    ("unreadable", "count", "tolerance", "tolerated"),
    [(0, 10, 0.0, True), (1, 10, 0.1, True), (2, 10, 0.1, False), (1, 9, 0.1, False), (10, 10, 1.0, False)],
)
def test_the_tolerance_is_a_share_that_is_reached_and_never_all(
    unreadable: int, count: int, tolerance: float, tolerated: bool
) -> None:
    images = [Unreadable(position, f"k{position}", "why") for position in range(unreadable)]
    if tolerated:
        check_tolerated(images, count, tolerance)
    else:
        with pytest.raises(UnreadableImagesError, match=f"{unreadable} of {count} images"):
            check_tolerated(images, count, tolerance)


def test_the_kept_pixels_are_a_whole_array(tmp_path: Path) -> None:
    """Its header says how many images there are, which is known only behind the last one."""
    write_set(tmp_path / "s")
    damage(tmp_path / "s")
    evaluated(task(Protocol.ZEROSHOT_CLASSIFICATION, 0.05), tmp_path)
    (kept,) = (tmp_path / CACHE_FOLDER).glob("*.npy")
    pixels = np.load(kept)
    assert pixels.shape[0] == COUNT - 2
    assert kept.stat().st_size == pixels.nbytes + 128
