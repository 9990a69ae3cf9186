"""``datacup reshard`` and ``datacup pool index`` as people type them: every option reaches what it names."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from competition.data import native
from competition.data.shards import read_samples
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.pools import small
from tests.participant_kit.test_reshard import output_samples, tree, write_pool, write_subset


@pytest.fixture
def uids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of a pool of three shards of 20 samples; the subset ``s.npy`` has them all."""
    monkeypatch.chdir(tmp_path)
    found = write_pool(Path("pool"))
    write_subset(Path("s.npy"), found)
    return found


def reshard(output: str, *words: str | int, pool: str = "pool") -> dict[str, Any]:
    result = typed("reshard", "-i", pool, "-o", output, "-s", "s.npy", *words, "--json")
    assert result.code == 0, result.err
    report: dict[str, Any] = json.loads(result.out)
    return report


def written(output: str) -> list[str]:
    return [key[:32] for _, key, _ in output_samples(Path(output))]


def test_a_range_of_shards_a_size_and_an_order_are_chosen(uids: list[str]) -> None:
    report = reshard("range", "--first-shard", 1, "--num-shards", 1, "--shard-size", 8)
    assert (report["output_count"], report["output_shard_count"], report["not_found"]) == (20, 3, 40)
    assert written("range") == uids[20:40]
    assert reshard("rest", "--first-shard", 2)["output_count"] == 20
    orders = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert reshard(name, "--shuffle-seed", seed)["shuffle_seed"] == seed
        orders.append(written(name))
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(uids)
    assert orders[0] != uids
    assert (
        "no shard with a number in the chosen range"
        in refused("reshard", "-i", "pool", "-o", "none", "-s", "s.npy", "--first-shard", 7).err
    )


def test_a_finished_reshard_is_replaced_only_when_told(uids: list[str]) -> None:
    words = ["reshard", "-i", "pool", "-o", "out", "-s", "s.npy"]
    reshard("out")
    before = tree(Path("out"))
    assert "Warning" not in typed(*words).err
    assert "--overwrite" in refused(*words, "--shard-size", 7).err
    assert tree(Path("out")) == before
    assert typed(*words, "--shard-size", 7, "--overwrite").code == 0
    assert written("out") == uids
    assert len(list(Path("out").glob("*.tar"))) == 9


@pytest.mark.parametrize("tool", ["native", "python"])
def test_it_is_said_whether_the_native_module_is_in_use(
    uids: list[str], tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tool == "python":
        monkeypatch.setattr(native, "module", None)
    elif native.module is None:
        pytest.skip("the native module was not built (no C++ compiler)")
    assert reshard("out")["tars_by"] == tool
    said = "Tars were read and written by " + ("the native module." if tool == "native" else "Python, ")
    assert said in typed("reshard", "-i", "pool", "-o", "out", "-s", "s.npy").err
    assert "tars_by" not in json.loads(Path("out", "meta.json").read_text())


def test_a_damaged_shard_passes_only_when_tolerated(uids: list[str]) -> None:
    damaged = Path("pool", "00000001.tar")
    damaged.write_bytes(damaged.read_bytes()[:20_000])
    result = refused("reshard", "-i", "pool", "-o", "out", "-s", "s.npy")
    assert result.code == 3
    assert "--tolerate 1" in result.err
    report = reshard("out", "--tolerate", 1)
    assert 40 < report["output_count"] < 60
    assert len(report["damaged_shards"]) == 1
    assert "00000001.tar is damaged" in typed("reshard", "-i", "pool", "-o", "out", "-s", "s.npy", "--tolerate", 1).err


def test_images_are_blurred_and_encoded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small.write_pool(Path("p"))
    typed("subset", "no_filter", "--metadata-dir", "p/metadata", "--save-path", "s.npy")
    sizes = {}
    for name, words in {
        "blur": ["--blur"],
        "low": ["--reencode-quality", 5],
        "high": ["--reencode-quality", 95],
    }.items():
        report = reshard(name, *words, "--num-shards", 1, pool="p/shards")
        assert report["output_count"] == small.SAMPLES - small.FAILED
        samples = list(read_samples(Path(name, "00000000.tar")))
        changed = [sample for sample in samples if "webp" in sample.members]
        blurred = [sample for sample in samples if json.loads(sample.members["json"])["face_bboxes"]]
        assert changed == (blurred if name == "blur" else samples)
        assert all("jpg" not in sample.members for sample in changed)
        assert Image.open(io.BytesIO(changed[0].members["webp"])).format == "WEBP"
        sizes[name] = sum(len(sample.members["webp"]) for sample in changed)
    assert 0 < sizes["low"] < sizes["high"]


def test_an_index_is_made_used_and_shown(uids: list[str]) -> None:
    reshard("without")
    shown = typed("pool", "index", "-i", "pool")
    assert shown.code == 0
    assert "samples  60" in shown.out
    assert "Next: datacup reshard -i pool" in shown.err
    assert "Tars were read by " in shown.err
    report = json.loads(typed("pool", "index", "-i", "pool", "--json").out)
    assert (report["shards"], report["samples"], report["skipped"]) == (3, 60, {})
    assert report["tars_by"] == ("python" if native.module is None else "native")
    reshard("with")
    assert tree(Path("with")) == tree(Path("without"))
    assert "holds no shard" in refused("pool", "index", "-i", ".").err
    Path("pool", "00000001.tar").write_bytes(b"x" * 2000)
    damaged = refused("pool", "index", "-i", "pool")
    assert damaged.code == 3
    assert "00000001.tar" in damaged.err
