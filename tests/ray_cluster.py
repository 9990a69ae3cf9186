"""A real Ray cluster of two nodes on this machine, for the tests that need one."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def two_nodes() -> Iterator[str]:
    """The address of a cluster whose nodes run a task at a time each; at the end nothing of it is left.

    The second node says that it has a GPU, which is true nowhere.
    """
    if importlib.util.find_spec("ray") is None:
        if "ray" in os.environ.get("DATACUP_REQUIRE", ""):
            pytest.fail("ray is required (DATACUP_REQUIRE) and absent")
        pytest.skip("ray is not installed")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        environment.setenv("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
        environment.setenv("PYTHONPATH", str(ROOT))  # the nodes' workers import the tests' functions
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            cluster.add_node(num_cpus=1, num_gpus=1)
            session = Path(cluster.head_node.get_session_dir_path()).name
            environment.setenv("RAY_ADDRESS", "")
            yield cluster.address
        finally:
            cluster.shutdown()
    deadline = time.monotonic() + 20
    while left := processes(session):
        assert time.monotonic() < deadline, f"processes of Ray survived: {left}"
        time.sleep(0.1)


def processes(word: str) -> dict[int, str]:
    """Command lines, by process id, that contain a word: one that only a cluster's own processes have."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if word in line:
                found[int(folder.name)] = line[:200]
    return found


def task_workers(address: str) -> set[int]:
    """The processes that run tasks on the nodes of a cluster. (Without its agents, a node ends itself.)"""
    nodes = {number for number, line in processes(f"--gcs-address={address}").items() if "/raylet " in line}
    found = set()
    for number in processes("ray::"):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{number}/cmdline").read_bytes()
            parent = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
            if parent in nodes and words.startswith(b"ray::") and b"Agent" not in words:
                found.add(number)
    return found
