"""Subsets and shards made on a real cluster of two nodes are those made on one machine, byte for byte."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from competition.data.ray_engine import RayEngine
from competition.data.shards import read_samples
from competition.progress import Progress
from participant_kit.reshard import Options, reshard
from participant_kit.subsets import StrategyOptions, build_subset
from tests.participant_kit.pools.web import hosts, url_table
from tests.participant_kit.test_reshard import tree, write_pool, write_subset
from tests.ray_cluster import task_workers

pytestmark = [pytest.mark.ray, pytest.mark.slow]

STRATEGIES = {
    "basic_filter": StrategyOptions(),
    "clip_score": StrategyOptions(arch="l14", fraction=0.3),
    "clip_score_english": StrategyOptions(fraction=0.3),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_subset_is_the_one_of_this_machine(golden: Path, tmp_path: Path, ray_address: str, strategy: str) -> None:
    metadata, options = golden / "datacomp_filters" / "metadata", STRATEGIES[strategy]
    here = build_subset(strategy, metadata, tmp_path / "here" / "s.npy", options, workers=2)
    with RayEngine(ray_address) as engine:
        there = build_subset(strategy, metadata, tmp_path / "there" / "s.npy", options, workers=engine)
    assert there == here
    assert tree(tmp_path / "there") == tree(tmp_path / "here")


@pytest.mark.parametrize("options", [Options(), Options(shuffle_seed=3)])
def test_shards_are_those_of_this_machine_though_workers_are_killed(
    golden: Path, tmp_path: Path, ray_address: str, options: Options
) -> None:
    folder = golden / "datacomp_reshard"
    shards, subset = folder / "shards", folder / "subset.npy"
    reshard(shards, tmp_path / "here", subset, workers=1, shard_size=60, options=options)
    seen: list[str] = []

    def disturb(progress: Progress) -> None:
        seen.append(progress.task)
        if progress.done == 1:  # of either stage
            for number in task_workers(ray_address):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)

    with RayEngine(ray_address) as engine:
        reshard(shards, tmp_path / "there", subset, engine, 60, disturb, options)
    assert len(seen) > 4
    assert tree(tmp_path / "there") == tree(tmp_path / "here")


DRIVER = """
import os, signal, sys
from pathlib import Path
from competition.data.ray_engine import RayEngine
from participant_kit.reshard import reshard
folder = Path(sys.argv[1])
def die(progress):
    if (progress.stage, progress.done) == ("writing shards", 3):
        os.kill(os.getpid(), signal.SIGKILL)
with RayEngine(sys.argv[2]) as engine:
    reshard(folder / "pool", folder / "out", folder / "s.npy", workers=engine, shard_size=7, progress=die)
"""


def test_a_killed_run_goes_on_on_the_cluster_from_its_finished_shards(tmp_path: Path, ray_address: str) -> None:
    uids = write_pool(tmp_path / "pool")
    subset = write_subset(tmp_path / "s.npy", uids[::2])
    reshard(tmp_path / "pool", tmp_path / "here", subset, shard_size=7)
    root = Path(__file__).resolve().parents[2]
    process = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path), ray_address],
        env=os.environ | {"PYTHONPATH": str(root)},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    seen: list[Progress] = []
    with RayEngine(ray_address) as engine:
        reshard(tmp_path / "pool", tmp_path / "out", subset, engine, 7, seen.append)
    resumed = {progress.stage: progress.resumed for progress in seen}
    assert resumed == {"indexing shards": 3, "writing shards": 3}
    assert tree(tmp_path / "out") == tree(tmp_path / "here")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from participant_kit.cli import main; main()", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_commands_take_the_cluster_and_only_say_what_they_say_on_one_machine(
    golden: Path, tmp_path: Path, ray_address: str
) -> None:
    folder, log = golden / "datacomp_reshard", tmp_path / "tasks.jsonl"
    arguments = ["reshard", "-i", str(folder / "shards"), "-s", str(folder / "subset.npy"), "--json"]
    here = run(*arguments, "-o", str(tmp_path / "a"))
    cluster = ["--engine", "ray", "--ray-address", ray_address, "--task-log", str(log)]
    there = run(*arguments, "-o", str(tmp_path / "b"), *cluster)
    assert there.returncode == here.returncode == 0, there.stderr
    assert there.stdout == here.stdout
    assert there.stderr.replace(str(tmp_path / "b"), "").replace(" b\n", " a\n") == here.stderr.replace(
        str(tmp_path / "a"), ""
    )
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert {"indexing shards", "writing shards"} == {line.split('"')[3] for line in log.read_text().splitlines()}


def test_a_cluster_of_this_machine_alone_ends_with_the_command(golden: Path, tmp_path: Path) -> None:
    metadata = golden / "datacomp_filters" / "metadata"
    arguments = ["subset", "no_filter", "--metadata-dir", str(metadata), "--save-path", str(tmp_path / "s.npy")]
    result = run(*arguments, "--engine", "ray", "--ray-address", "local", "-j", "2")
    assert result.returncode == 0, result.stderr
    expected = golden / "datacomp_filters" / "expected" / "no_filter.npy"
    assert (tmp_path / "s.npy").read_bytes() == expected.read_bytes()


def test_images_are_fetched_by_the_cluster(tmp_path: Path, ray_address: str) -> None:
    with hosts() as web:
        urls = [f"{web.url}/{kind}/{number}" for number, kind in enumerate(("good", "gone", "large"))]
        table = url_table(tmp_path / "own.parquet", urls, ["a", "b", "c"])
        words = ["pool", "download", "--urls", str(table), "--url-col", "link", "--caption-col", "alt", "--json"]
        words += ["--processes", "1", "--threads", "4", "--retries", "0", "--allow-private-hosts"]
        log = tmp_path / "tasks.jsonl"
        words += ["-o", str(tmp_path / "pool"), "--engine", "ray", "--ray-address", ray_address, "--task-log", str(log)]
        result = run(*words)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)["images"]
    assert (report["images"], report["failed"]) == (2, {"not found (404, 410)": 1})
    samples = {sample.key: sample.members for sample in read_samples(tmp_path / "pool" / "shards" / "00000000.tar")}
    assert {key: members["txt"] for key, members in samples.items()} == {"000000000000": b"a", "000000000002": b"c"}
    assert [json.loads(line)["task"] for line in log.read_text().splitlines()] == ["00000000.tar"]
