"""``datacup dedup`` as people type it, its page of pictures, and what it finds in a digits pool."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from competition.catalog.digits.split import Part
from competition.catalog.digits.testsets import test_photograph as photograph
from competition.data.uids import load_subset, uids_to_hex
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.dedup.pools import picture, png, write_shards
from tests.participant_kit.pools import tiny

SAMPLES = 400


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pool, and its leaked test images' originals among a few others of the test set."""
    folder = tmp_path_factory.mktemp("digits")
    tiny.build_tiny(folder, SAMPLES)
    answers = pq.read_table(folder / "answers.parquet").to_pylist()
    leaked = {row["source"] for row in answers if row["kind"] == "leaked_test"}
    (folder / "test").mkdir()
    for index in sorted(leaked | set(range(20))):
        photograph(Part.TEST, index).save(folder / "test" / f"{index}.png")
    return folder


def dropped(path: Path, pool: Path) -> set[str]:
    every = {row["uid"] for row in pq.read_table(pool / "answers.parquet").to_pylist()}
    return every - set(uids_to_hex(load_subset(path)))


def families(pool: Path) -> list[set[str]]:
    """Uids of each picture that the pool has several times."""
    rows = pq.read_table(pool / "answers.parquet").to_pylist()
    found: dict[int, set[str]] = {}
    for row in rows:
        origin = row["source"] if row["kind"] == "near_duplicate" else row["index"]
        found.setdefault(origin, set()).add(row["uid"])
    return [uids for uids in found.values() if len(uids) > 1]


@pytest.mark.parametrize(
    ("way", "recall"),
    [
        (("perceptual", "--max-bits", "2", "--shards-dir", "shards"), 0.7),
        (("semantic", "--features", "dedup", "--threshold", "0.995"), 0.8),
    ],
)
def test_a_digits_pools_near_duplicates_are_found(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: tuple[str, ...], recall: float
) -> None:
    monkeypatch.chdir(digits)
    save_path = tmp_path / "kept.npy"
    result = typed("dedup", *way, "--metadata-dir", "metadata", "--save-path", save_path, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["total"] == SAMPLES
    gone = dropped(save_path, digits)
    copies = [len(uids) - 1 for uids in families(digits)]
    found = [min(len(uids & gone), len(uids) - 1) for uids in families(digits)]
    assert sum(found) >= recall * sum(copies) > 0


def test_a_digits_pools_leaked_test_images_are_found_and_nothing_else(digits: Path, tmp_path: Path) -> None:
    assert typed("dedup", "describe-images", digits / "test", "--save-path", tmp_path / "test.npz").code == 0
    save_path = tmp_path / "clean.npy"
    words = ["--metadata-dir", digits / "metadata", "--references", tmp_path / "test.npz", "--threshold", "0.99"]
    result = typed("dedup", "decontaminate", *words, "--save-path", save_path)
    assert result.code == 0, result.err
    assert "dropped: like a reference" in result.out
    rows = pq.read_table(digits / "answers.parquet").to_pylist()
    kinds = {row["index"]: row["kind"] for row in rows}
    leaked = {
        row["uid"] for row in rows if kinds.get(row["source"], "") == "leaked_test" or row["kind"] == "leaked_test"
    }
    assert leaked
    assert dropped(save_path, digits) == leaked
    page = tmp_path / "leaks.html"
    words = ["--images", digits / "shards", "--images", digits / "test", "--save-path", page, "--json"]
    shown = typed("dedup", "page", f"{save_path}.groups.parquet", *words)
    assert json.loads(shown.out)["missing"] == 0
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == json.loads(shown.out)["members"]
    assert "http" not in text.replace("http-equiv", "")


def test_the_page_escapes_names_and_counts_pictures_that_are_absent(tmp_path: Path) -> None:
    images = {1: png(picture(1)), 2: png(picture(1)), 3: b"no picture", 4: b"no picture"}
    write_shards(tmp_path / "shards", images)
    save_path = tmp_path / "kept.npy"
    words = ["--shards-dir", tmp_path / "shards", "--save-path", save_path, "--keep", "first"]
    assert typed("dedup", "exact", *words).code == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.png").write_bytes(png(picture(9)))
    groups = tmp_path / "<b>.groups.parquet"
    Path(f"{save_path}.groups.parquet").rename(groups)
    for folder, missing, undecodable in (("shards", 0, 2), ("other", 4, 0)):
        result = typed(
            "dedup", "page", groups, "--images", tmp_path / folder, "--save-path", tmp_path / "p.html", "--json"
        )
        found = json.loads(result.out)
        assert (found["missing"], found["undecodable"]) == (missing, undecodable)
    assert "<b>" not in (tmp_path / "p.html").read_text()


def test_what_commands_are_asked_wrongly_is_refused_in_one_sentence(tmp_path: Path) -> None:
    pool = ["--metadata-dir", tmp_path, "--save-path", tmp_path / "kept.npy"]
    cases = [
        (["exact", *pool, "--keep", "worst"], "--keep worst is unknown"),
        (["perceptual", *pool, "--linkage", "chain"], "--linkage chain is unknown"),
        (["semantic", *pool, "--threshold", "2"], "--threshold 2.0 is not at least 0 and below 1"),
        (["exact", *pool], "holds no parquet file"),
        (["exact", "--metadata-dir", tmp_path, "--save-path", tmp_path / "kept.txt"], "does not end in .npy"),
        (["decontaminate", *pool, "--references", tmp_path / "no.npy"], "No such file"),
        (["describe-images", tmp_path, "--save-path", tmp_path / "a.npy"], "does not end in .npz"),
        (["describe-images", tmp_path, "--save-path", tmp_path / "a.npz"], "holds no image and no shard"),
        (
            ["neighbours", "--queries", tmp_path, "--references", tmp_path, "--save-path", "a"],
            "does not end in .parquet",
        ),
        (["page", tmp_path / "no.parquet", "--images", tmp_path, "--save-path", "a.html"], "No such file"),
    ]
    for words, sentence in cases:
        assert sentence in refused("dedup", *words).err
