"""Mirroring an entry against a plain download of the same files from the same Hub.

    python -m bench mirroring
    python -m bench.mirroring [--rounds N] [--large N] [--megabytes N] [--small N]

The Hub is the real command in a process of its own, on this machine. Two repositories: a few large files, and many
small ones. A round is a fresh process and a fresh folder for each side, one after the other:

* the scorer's mirroring: listing, download, digests of all bytes, and everything on disk before it counts;
* the official client's ``snapshot_download``, which checks no digest and waits for no disk;
* the same, and afterwards every file is written to disk (``sync``): what the mirror promises, without its checks;
* curl, eight files at a time: bytes into files, the limit.

What is measured is wall seconds from the first request to the last file, without the start of Python and its imports.
Server and clients share the machine, and the page cache is hot on the server's side.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import servers
from bench.made_pool import CACHE
from competition.data.digests import file_sha256
from competition.records.manifest import MANIFEST_NAME, FileRole, ManifestFile, SubmissionManifest

FOLDER = CACHE / "mirroring"
TARGET = 0.8
_PATH = "tiny/entry"
_SMALL_BYTES = 20_000


@dataclass(frozen=True)
class Served:
    """A repository of the running Hub."""

    endpoint: str
    repo: str
    revision: str
    bytes: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, or be one of the sides."""
    parser = argparse.ArgumentParser(
        prog="bench.mirroring", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=3, help="large files")
    parser.add_argument("--megabytes", type=int, default=300, help="of each large file")
    parser.add_argument("--small", type=int, default=200, help="small files")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args([] if arguments is None else arguments)
    if given.one:
        side, endpoint, repo, revision, target = given.one
        start = time.perf_counter()
        SIDES[side](Served(endpoint, repo, revision, 0), Path(target))
        print(json.dumps(time.perf_counter() - start - _imports_s))
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    console = Console(width=140)
    FOLDER.mkdir(parents=True)
    with servers.hub(FOLDER) as (endpoint, token):
        made = {
            f"{given.large} files of {given.megabytes} MB": [given.megabytes * 10**6] * given.large,
            f"{given.small} files of {_SMALL_BYTES // 1000} kB": [_SMALL_BYTES] * given.small,
        }
        for number, (title, sizes) in enumerate(made.items()):
            served = _upload(endpoint, token, f"alice/entry-{number}", sizes)
            console.print(_table(title, served, given.rounds))
    console.print(f"{os.cpu_count()} cores shared by server and clients, load {os.getloadavg()[0]:.1f} at the end.")
    shutil.rmtree(FOLDER)


def mirror(served: Served, target: Path) -> None:
    """The scorer's side."""
    with _imports():
        from competition.hub import hub_api
        from scorer.fetch import fetch
        from scorer.mirror import Mirror, Source

        hub_api(served.endpoint, answer_seconds=30)
    source = Source(endpoint=served.endpoint, repo=served.repo, revision=served.revision, path=_PATH)
    fetch("sub-1", source, Mirror(target), lambda _manifest: None, None)


def snapshot(served: Served, target: Path) -> None:
    """The official client's download of a whole repository."""
    with _imports():
        from competition.hub import hub_api

        api = hub_api(served.endpoint, answer_seconds=30, token=False)
    api.snapshot_download(served.repo, revision=served.revision, local_dir=target)


def synced_snapshot(served: Served, target: Path) -> None:
    """The same, and on disk."""
    snapshot(served, target)
    subprocess.run(["sync", "-f", str(target)], check=True)


def curl(served: Served, target: Path) -> None:
    """Bytes into files."""
    files = json.loads((FOLDER / f"{served.repo.replace('/', '-')}.json").read_text())
    target.mkdir()
    lines = [
        f'url = "{served.endpoint}/{served.repo}/resolve/{served.revision}/{_PATH}/{name}"\noutput = "{target}/{name}"'
        for name in files
    ]
    subprocess.run(["curl", "-sfZ", "--parallel-max", "8", "-K", "-"], input="\n".join(lines), text=True, check=True)


SIDES: dict[str, Callable[[Served, Path], None]] = {
    "mirrored": mirror,
    "snapshot_download": snapshot,
    "snapshot_download, on disk": synced_snapshot,
    "curl": curl,
}
_imports_s = 0.0


@contextmanager
def _imports() -> Iterator[None]:
    """What happens inside the block is no part of the measurement."""
    global _imports_s  # noqa: PLW0603
    start = time.perf_counter()
    yield
    _imports_s += time.perf_counter() - start


def _upload(endpoint: str, token: str, repo: str, sizes: list[int]) -> Served:
    from competition.hub import hub_api

    random = np.random.default_rng(len(sizes))
    api = hub_api(endpoint, answer_seconds=300, token=token)
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        folder = Path(name)
        for number, size in enumerate(sizes):
            (folder / f"{number:04d}.jsonl").write_bytes(random.bytes(size))
        files = [
            ManifestFile(path=path.name, role=FileRole.RESULTS, size=path.stat().st_size, sha256=file_sha256(path))
            for path in sorted(folder.iterdir())
        ]
        (folder / MANIFEST_NAME).write_text(_manifest(files).model_dump_json())
        (FOLDER / f"{repo.replace('/', '-')}.json").write_text(json.dumps([MANIFEST_NAME, *(f.path for f in files)]))
        api.create_repo(repo)
        revision = api.upload_folder(repo_id=repo, folder_path=folder, path_in_repo=_PATH).oid
    return Served(endpoint, repo, str(revision), sum(sizes))


def _manifest(files: Sequence[ManifestFile]) -> SubmissionManifest:
    return SubmissionManifest(
        submission_id="sub-1",
        nonce="0" * 64,
        competition="tiny",
        competition_version=1,
        track="filtering",
        scale="nano",
        recipe_digest="0" * 64,
        suite="tiny@1",
        suite_digest="0" * 64,
        method_name="m",
        author="a",
        files=tuple(files),
        code_version="0.1.0",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def _table(title: str, served: Served, rounds: int) -> Table:
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            seconds[side].append(_fresh(side, served))
    medians = {side: statistics.median(each) for side, each in seconds.items()}
    table = Table(title=f"{title}; medians of {rounds} rounds")
    for heading in ("", "seconds", "fastest", "slowest", "MB / s", "mirroring's speed is", f"target: {TARGET:.0%}"):
        table.add_column(heading, justify="left" if not heading else "right")
    for side, each in seconds.items():
        share = medians[side] / medians["mirrored"]
        words = "" if side != "snapshot_download" else "met" if share >= TARGET else "missed"
        table.add_row(
            side,
            *(f"{value:.2f}" for value in (medians[side], min(each), max(each))),
            f"{served.bytes / medians[side] / 1e6:.0f}",
            f"{share:.0%}",
            words,
        )
    return table


def _fresh(side: str, served: Served) -> float:
    """Seconds of one side, in a process and a folder of its own, with no writes of others waiting for the disk."""
    target = FOLDER / "target"
    shutil.rmtree(target, ignore_errors=True)
    os.sync()
    command = [sys.executable, "-m", "bench.mirroring", "--one"]
    words = [side, served.endpoint, served.repo, served.revision, str(target)]
    done = subprocess.run(
        [*command, *words], capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parent.parent
    )
    return float(json.loads(done.stdout))


if __name__ == "__main__":
    main(sys.argv[1:])
