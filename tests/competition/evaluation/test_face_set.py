"""FairFace and UTKFace as DataComp stores them: four classifiers in two files of prompts, and a row for each face."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from competition.data.shards import Sample, write_samples
from competition.errors import EvaluationError
from competition.evaluation import fairness
from competition.evaluation.fairness import HEADS, Faces
from competition.rules import Protocol
from competition.rules.protocols import METRICS
from tests.competition.evaluation.tiny_models import (
    assert_same,
    clip_model,
    evaluated,
    image_model,
    picture,
    png,
    write_lines,
)

WIDTHS = {"race": 7, "gender": 2, "age": 9, "toxic": 21}
CLASSES = {head: [f"{head} {number}: x" for number in range(width)] for head, width in WIDTHS.items()}
TEMPLATES = {head: [f"a photo of a {head} {{c}}.", "{c}"][: 1 + (head == "race")] for head in WIDTHS}
FACES = 40


def npy(values: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(values), allow_pickle=True)
    return stream.getvalue()


def table() -> np.ndarray:
    """age, gender, race, race_binary [N, 4]."""
    random = np.random.default_rng(5)
    race = random.integers(0, 7, FACES)
    return np.stack([random.integers(0, 9, FACES), random.integers(0, 2, FACES), race, race != 1], axis=1)


def prompt_lines(by_head: dict[str, list[str]]) -> list[str]:
    """Heads mixed, as files may have them; and one that nobody scores."""
    mixed = [f"{head}:{line}" for head in reversed(HEADS) for line in by_head[head]]
    return [*mixed[::2], "hair:curly {c}", *mixed[1::2]]


def unmixed(by_head: dict[str, list[str]], head: str) -> list[str]:
    return [line.partition(":")[2] for line in prompt_lines(by_head) if line.startswith(f"{head}:")]


def write_set(folder: Path, rows: list[bytes] | None = None) -> Path:
    (folder / "test").mkdir(parents=True)
    given = [npy(row) for row in table()] if rows is None else rows
    samples = [Sample(f"{face:05d}", {"png": png(picture(face)), "npy": row}) for face, row in enumerate(given)]
    write_samples(folder / "test" / "0.tar", iter(samples))
    (folder / "test" / "nshards.txt").write_text("1")
    write_lines(folder / "classnames.txt", prompt_lines(CLASSES))
    write_lines(folder / "zeroshot_classification_templates.txt", prompt_lines(TEMPLATES))
    return folder


def test_each_head_is_a_classifier_of_its_own_prompts(tmp_path: Path) -> None:
    folder, encoder = write_set(tmp_path / "faces"), clip_model()
    found = evaluated(encoder, Protocol.FAIRNESS_FACES, folder, tmp_path / "cache")
    features = encoder.encode_images(np.stack([encoder.preparation(picture(face)) for face in range(FACES)]))
    logits = {}
    for head in HEADS:
        weights = []
        for name in unmixed(CLASSES, head):
            texts = encoder.encode_texts([template.replace("{c}", name) for template in unmixed(TEMPLATES, head)])
            mean = texts.mean(axis=0)
            weights.append(mean / np.linalg.norm(mean))
        logits[head] = 100 * features @ np.stack(weights).T
    age, gender, race, binary = table().T
    wanted = fairness.faces(logits, Faces(age=age, gender=gender, race=race, race_binary=binary))
    assert_same(found, wanted)
    assert found.samples == FACES
    for metric in METRICS[Protocol.FAIRNESS_FACES]:
        assert found.metrics[metric] == pytest.approx(np.mean(found.components[metric][0]))
    assert len(set(logits["race"].argmax(axis=1).tolist())) > 1  # the model does tell these apart


def test_features_are_those_of_other_tasks_on_the_set(tmp_path: Path) -> None:
    folder, encoder = write_set(tmp_path / "faces"), clip_model()
    first = evaluated(encoder, Protocol.FAIRNESS_FACES, folder, tmp_path / "cache")
    (folder / "classnames.txt").write_text((folder / "classnames.txt").read_text().replace("race:race 0", "race:other"))
    second = evaluated(encoder, Protocol.FAIRNESS_FACES, folder, tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1
    assert first.metrics["acc_gender_avg"] == second.metrics["acc_gender_avg"]


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("classnames.txt", "gender:", "sex:", "no class names of the classifier 'gender'"),
        ("classnames.txt", "race:race 3: x", "race 3", "does not name its classifier, 'race 3'"),
        ("classnames.txt", "race:race 3: x", "race: ", "does not name its classifier, 'race:'"),
        ("classnames.txt", "gender:gender 1: x", "", "'gender' of .* has 1 class names"),
        ("classnames.txt", "toxic:toxic 1", "off:toxic 1", "from class 18 on they are crimes"),
        ("zeroshot_classification_templates.txt", "age:", "Age:", "no prompt templates of the classifier 'age'"),
        ("zeroshot_classification_templates.txt", "a photo of a age {c}", "a photo", "of 'age' of .* has no slot {c}"),
        ("zeroshot_classification_templates.txt", "race:{c}", "race", "does not name its classifier"),
    ],
)
def test_prompts_that_are_no_heads(file: str, old: str, new: str, says: str, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "faces")
    content = (folder / file).read_text()
    assert old in content
    (folder / file).write_text(content.replace(old, new))
    with pytest.raises(EvaluationError, match=says):
        evaluated(clip_model(), Protocol.FAIRNESS_FACES, folder, tmp_path / "cache")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (npy([1, 0, 3]), "3 numbers instead of 4"),
        (npy([9, 0, 3, 1]), "age of sample 1 is 9"),
        (npy([1, 0, 3, 2]), "race_binary of sample 1 is 2"),
        (npy([1, -1, 3, 1]), "gender of sample 1 is -1"),
        (npy([1, 0.5, 3, 1]), "something else than whole numbers"),
        (npy([1, 0, 1e300, 1]), "a number that is too large"),
        (npy([1, 0, np.inf, 1]), "a number that is too large"),
        (npy(np.array([1, {}], dtype=object)), "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_rows_that_are_none(row: bytes, says: str, tmp_path: Path) -> None:
    rows = [npy(values) for values in table()]
    folder = write_set(tmp_path / "faces", [rows[0], row, *rows[2:]])
    with pytest.raises(EvaluationError, match=says):
        evaluated(clip_model(), Protocol.FAIRNESS_FACES, folder, tmp_path / "cache")


@pytest.mark.parametrize(
    "name", ["classnames.txt", "zeroshot_classification_templates.txt", "test/nshards.txt", "test/0.tar"]
)
def test_files_that_are_absent_or_damaged(name: str, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "faces")
    (folder / name).write_bytes(b"\xff\xfe nonsense")
    with pytest.raises(EvaluationError):
        evaluated(clip_model(), Protocol.FAIRNESS_FACES, folder)
    (folder / name).unlink()
    with pytest.raises(EvaluationError):
        evaluated(clip_model(), Protocol.FAIRNESS_FACES, folder)


def test_it_asks_for_a_text_tower(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no text tower"):
        evaluated(image_model(3), Protocol.FAIRNESS_FACES, write_set(tmp_path / "faces"))
