"""Every command of three pages of the documentation runs as it is written, in the page's order, on a digits pool."""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from competition.catalog.digits.split import Part
from competition.catalog.digits.testsets import build_evaluation_sets
from competition.catalog.digits.testsets import test_photograph as photograph
from competition.data.metadata import list_metadata, read_feature
from competition.data.uids import load_subset
from tests.conftest import ROOT
from tests.participant_kit.cli.typed import Typed, typed
from tests.participant_kit.pools import tiny

pytestmark = pytest.mark.slow

PAGES = {"deduplication": 9, "coresets": 4, "labelled-datasets": 8}
"""And how many commands each has at least: a page whose commands are no longer found would pass."""

SAMPLES, CANDIDATES, IMAGES = 400, 4, 32


def commands(page: str) -> list[list[str]]:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```console\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in re.findall(r"^\$ datacup (.*)$", block, re.MULTILINE)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages name: a nano pool, only smaller, evaluation sets, pictures, features, classes, labels."""
    folder = tmp_path_factory.mktemp("pages")
    tiny.build_tiny(folder / "pool", SAMPLES)
    build_evaluation_sets(folder / "evaluation")
    for name, indices in {"candidates": range(CANDIDATES), "images": range(IMAGES)}.items():
        (folder / name).mkdir()
        for index in indices:
            photograph(Part.TEST, index).save(folder / name / f"{index}.png")
    images, texts, captions = _pool(folder / "pool" / "metadata")
    np.save(folder / "queries.npy", images[:20])
    np.save(folder / "targets.npy", images[100:220])
    listed = re.search(r"```json\n(.*?)```", (ROOT / "docs" / "labelled-datasets.md").read_text(), flags=re.DOTALL)
    assert listed is not None
    (folder / "classes.json").write_text(listed[1])
    zero, one = (texts[[name in caption.split() for caption in captions]].mean(axis=0) for name in ("zero", "one"))
    _save_directions(folder / "class.npy", [zero, one])
    _save_directions(folder / "prompt.npy", [zero, one, one])  # a prompt of zero's own, two templates for one
    answers = pq.read_table(folder / "pool" / "answers.parquet").to_pylist()
    lines = [f"{row['uid']},digit {row['digit']}" for row in answers if row["digit"] is not None]
    (folder / "labels.csv").write_text("\n".join(["uid,label", *lines]))
    (folder / "map.tsv").write_text("digit 0\t0\ndigit 1\t1\n")
    return folder


def _pool(metadata: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Features of the images and captions, and the captions."""
    files = list_metadata(metadata)
    images, texts = (
        np.concatenate([read_feature(path, member) for path in files]).astype(np.float32)
        for member in ("l14_img", "b32_txt")
    )
    return images, texts, [text for path in files for text in pq.read_table(path)["text"].to_pylist()]


def _save_directions(path: Path, rows: list[np.ndarray]) -> None:
    np.save(path, np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32))


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    found = commands(page)
    assert len(found) >= PAGES[page]
    for words in found:
        result = typed(*words)
        assert result.code == 0, (words, result.err)
        saved = _saved(words)
        assert saved.stat().st_size, words
        if words[0] == "label":
            _check_label(words, saved, result)


def _saved(words: list[str]) -> Path:
    """The file that a command makes."""
    option = dict(pairwise(words))
    if words[0] == "train":
        return Path(option["--output-dir"]) / option["--exp-name"] / "model.safetensors"
    if words[0] == "evaluate":
        return Path("runs") / option["--model"] / "evaluation_report.json"
    if words[0] == "reshard":
        return Path(option["-o"]) / "00000000.tar"
    return Path(option["--save-path"])


def _check_label(words: list[str], table: Path, result: Typed) -> None:
    """The record is what was shown, the subset is the table's, and the step that is named next is the right one."""
    record = json.loads(table.with_name(f"{table.name}.json").read_text())
    assert record["strategy"] == words[1]
    assert re.search(rf"^ *kept +{record['kept']:,} ", result.out, re.MULTILINE)
    subset = table.with_suffix(".npy")
    assert len(load_subset(subset)) == record["kept"] > 0
    pool = "pool" if "--metadata-dir" in words else "POOL"  # a table alone does not say whose samples it labels
    assert f"datacup reshard -i {pool}/shards -o shards/{table.stem} -s {subset}" in result.err
    assert json.loads(typed(*words, "--json").out) == record
