"""WinoGAViL on disk: every picture encoded once, every metric, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from competition.data.shards import Sample, write_samples
from competition.errors import EvaluationError
from competition.evaluation import winogavil
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.winogavil_set import load_winogavil
from competition.rules import Protocol
from competition.rules.protocols import METRICS
from tests.competition.evaluation.tiny_models import assert_same, clip_model, evaluated, image_model, picture, png

PICTURES = (*(f"thing {number}" for number in range(14)), "st. bernard")


def instances(count: int = 12, seed: int = 0) -> list[dict[str, object]]:
    """Cues with 5, 6, 10 and 12 candidates in turn."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        candidates = random.permutation(PICTURES)[: (5, 6, 10, 12)[number % 4]].tolist()
        chosen = random.permutation(candidates)[: int(random.integers(1, 4))].tolist()
        made.append(
            {
                "cue": f"{'Apple' if number % 2 else 'tree'} {number % 5}",
                "candidates": candidates,
                "associations": chosen,
            }
        )
    return made


def write_set(folder: Path, table: list[dict[str, object]] | None = None) -> Path:
    (folder / "test").mkdir(parents=True)
    samples = [
        Sample(f"s{place:07d}", {"png": png(picture(place)), "txt": name.encode()})
        for place, name in enumerate(PICTURES)
    ]
    write_samples(folder / "test" / "0.tar", iter(samples[:8]))
    write_samples(folder / "test" / "1.tar", iter(samples[8:]))
    (folder / "test" / "nshards.txt").write_text("2")
    lines = [json.dumps(fields) for fields in (instances() if table is None else table)]
    (folder / "instances.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def by_hand(encoder: ClipEncoder, table: list[dict[str, object]]) -> list[float]:
    """Jaccard's index of every instance, with every picture encoded anew as DataComp's program does it."""
    found = []
    for fields in table:
        candidates, wanted = list(fields["candidates"]), set(fields["associations"])  # type: ignore[call-overload]
        pixels = np.stack([encoder.preparation(picture(PICTURES.index(name))) for name in candidates])
        cue = str(fields["cue"]).lower()
        text = encoder.encode_texts([f"An {cue}" if cue[0] in "aeiou" else f"A {cue}"])[0]
        order = np.argsort(-(encoder.encode_images(pixels) @ text), kind="stable")
        chosen = {candidates[place] for place in order[: len(wanted)]}
        found.append(len(chosen & wanted) / len(chosen | wanted))
    return found


def test_every_metric_is_that_of_instances_encoded_one_by_one(tmp_path: Path) -> None:
    folder, encoder = write_set(tmp_path / "winogavil"), clip_model()
    found = evaluated(encoder, Protocol.WINOGAVIL, folder, tmp_path / "cache")
    scores = np.array(by_hand(encoder, instances()))
    sizes = np.array([5, 6, 10, 12] * 3)
    assert found.samples == 12
    assert set(found.metrics) == set(METRICS[Protocol.WINOGAVIL])
    wanted = {
        "avg_jaccard_score": scores.mean(),
        **{f"jaccard_score_{size}": scores[sizes == size].mean() for size in (5, 6, 10, 12)},
        "jaccard_score_5-6": scores[sizes <= 6].mean(),
        "jaccard_score_10-12": scores[sizes >= 10].mean(),
    }
    assert dict(found.metrics) == pytest.approx(wanted)
    assert len({round(score, 6) for score in scores}) > 2  # the model does tell these apart
    assert set(found.components) == set(found.metrics)


def test_pictures_are_encoded_once_and_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = write_set(tmp_path / "winogavil"), tmp_path / "cache"
    encoder = clip_model()
    encoded: list[int] = []
    plain = ClipEncoder._encode_images

    def counted(self: ClipEncoder, pixels: np.ndarray, batch: int | None) -> np.ndarray:
        encoded.append(len(pixels))
        return plain(self, pixels, batch)

    monkeypatch.setattr(ClipEncoder, "_encode_images", counted)
    first = evaluated(encoder, Protocol.WINOGAVIL, folder, cache)
    assert_same(evaluated(encoder, Protocol.WINOGAVIL, folder, cache), first)
    assert encoded == [len(PICTURES)]
    assert len(list(cache.glob("*.npy"))) == 1


def test_the_order_of_candidates_is_the_lines(tmp_path: Path) -> None:
    folder = write_set(
        tmp_path / "w", [{"cue": "x", "candidates": ["st. bernard", "thing 3"], "associations": ["thing 3"]}]
    )
    (instance,) = load_winogavil(folder, clip_model().preparation).instances
    assert instance.candidates.tolist() == [14, 3]
    assert instance.associated.tolist() == [False, True]
    assert winogavil.jaccard([0.1, 0.2], instance.associated) == 1


GOOD: dict[str, object] = {"cue": "tree", "candidates": ["thing 1", "thing 2"], "associations": ["thing 2"]}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "Line 2 of .* is no JSON"),
        ("[1]", "Line 2 of .* is no JSON object"),
        ("[" * 100_000, "Line 2 of .* is no JSON"),
        (GOOD | {"cue": " "}, "has no text for a cue"),
        (GOOD | {"cue": 3}, "has no text for a cue"),
        (GOOD | {"cue": "x" * 1001}, "has no text for a cue"),
        ({"cue": "x", "candidates": ["thing 1", "thing 2"]}, "has no list of 1 to 1,000 associations"),
        (GOOD | {"candidates": "thing 1"}, "has no list of 1 to 1,000 candidates"),
        (GOOD | {"candidates": ["thing 1"] * 1001}, "has no list of 1 to 1,000 candidates"),
        (GOOD | {"candidates": ["thing 2"]}, "has 1 candidates"),
        (GOOD | {"candidates": ["thing 2", 3]}, "no names of pictures"),
        (GOOD | {"candidates": ["thing 2", "thing 2"]}, "one of its candidates twice"),
        (GOOD | {"candidates": ["thing 2", "thing 99"]}, "names the picture 'thing 99', which the set has not"),
        (GOOD | {"associations": ["thing 3"]}, "the association 'thing 3', which is no candidate"),
        (GOOD | {"associations": []}, "has no list of 1 to 1,000 associations"),
    ],
)
def test_a_line_that_is_no_instance(line: object, says: str, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "winogavil", [GOOD])
    with (folder / "instances.jsonl").open("a") as stream:
        stream.write(line if isinstance(line, str) else json.dumps(line))
    with pytest.raises(EvaluationError, match=says):
        evaluated(clip_model(), Protocol.WINOGAVIL, folder, tmp_path / "cache")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("no table", "instances of an evaluation set cannot be read from"),
        ("empty table", "holds no instance"),
        ("not text", "instances of an evaluation set cannot be read from"),
        ("no shard", "1.tar"),
        ("no number of shards", "number of shards"),
        ("cut shard", "is damaged"),
        ("name twice", "its name 'thing 0' is another picture's"),
        ("no name", "it has no name"),
        ("broken picture", "cannot be decoded"),
    ],
)
def test_damage_of_a_file_is_said(damage: str, says: str, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "winogavil")
    table, shard = folder / "instances.jsonl", folder / "test" / "1.tar"
    replaced = {
        "name twice": {"png": png(picture(0)), "txt": b"thing 0"},
        "no name": {"png": png(picture(0))},
        "broken picture": {"png": b"\x89PNG\r\n\x1a\n", "txt": b"thing 99"},
    }
    if damage in replaced:
        write_samples(folder / "test" / "2.tar", iter([Sample("a", replaced[damage])]))
        (folder / "test" / "nshards.txt").write_text("3")
    match damage:
        case "no table":
            table.unlink()
        case "empty table":
            table.write_text("\n\n")
        case "not text":
            table.write_bytes(b"\xff\xff")
        case "no shard":
            shard.unlink()
        case "no number of shards":
            (folder / "test" / "nshards.txt").unlink()
        case "cut shard":
            shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(EvaluationError, match=says):
        evaluated(clip_model(), Protocol.WINOGAVIL, folder, tmp_path / "cache")


def test_it_asks_for_a_text_tower(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no text tower"):
        evaluated(image_model(3), Protocol.WINOGAVIL, write_set(tmp_path / "winogavil"))
