"""What the platform adds to an entry's fetch and evaluation, part by part.

    python -m bench overhead
    python -m bench.overhead [--entries N] [--database URL]

A real leaderboard and a real Hub, each the command in a process of its own; a scorer as ``datacup-scorer run --drain``
is one, with one job at a time, isolated processes and a warm server (``bench.timed_scorer``). It takes entries of
``digits`` (random weights, and the whole pool as subset) one after the other, from the claim of their intake to their
last word. The first entry is not counted: it builds the index of the pool and the evaluation sets, and waits for the
server's imports. A process starts when it is asked for and has started when it says so: a fork and the namespaces.

Fetch and evaluation (the seconds that results name) are shown and are no overhead; all else is. The evaluating process'
work is the rest of its time: loading the model, and handing results in. All of it shares this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import servers
from bench.made_pool import CACHE
from bench.timed_scorer import EVALUATION, FETCH, TOTAL
from competition.canonical import digest
from competition.client import LeaderboardClient
from competition.data.digests import file_sha256
from competition.data.metadata import pool_uids
from competition.data.uids import save_subset
from competition.hub import hub_api
from competition.records.lifecycle import Processing
from competition.records.manifest import MANIFEST_NAME, FileRole, ManifestFile, SubmissionManifest
from competition.records.submission import SubmissionRegistration, SubmissionRevision
from competition.records.training import Hardware, TrainingData, TrainingReport
from competition.rules import ClipRecipe, Competition, find_competition
from scorer.sandbox import require_isolation

COMPETITION = "digits"
FOLDER = CACHE / "overhead"
TARGET_SECONDS = 1.0
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="bench.overhead", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=6, help="that are counted")
    parser.add_argument("--database", help="address of an empty database; default: SQLite")
    given = parser.parse_args([] if arguments is None else arguments)
    require_isolation()
    rules = find_competition(COMPETITION)
    _make_pool(rules)
    for name in ("hub", "leaderboard.db", "scorer", "entries"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        (FOLDER / name).unlink(missing_ok=True)
    url = given.database or f"sqlite:///{FOLDER / 'leaderboard.db'}"
    submit, score = servers.prepare(url, COMPETITION)
    with ExitStack() as stack:
        hub, hub_token = stack.enter_context(servers.hub(FOLDER))
        endpoint, _ = stack.enter_context(servers.leaderboard(url, COMPETITION))
        alice = stack.enter_context(LeaderboardClient(endpoint, submit))
        work = stack.enter_context(_scorer(endpoint, score, hub))
        rounds = []
        for number in range(given.entries + 1):
            submission = _enter(alice, hub, hub_token, rules, number)
            rounds.append(work())
            view = alice.submission(submission)
            assert view.processing is Processing.SCORED, view.failure or view.rejection
    _show(rounds[1:])


@contextmanager
def _scorer(endpoint: str, token: str, hub: str) -> Iterator[Callable[[], dict[str, float]]]:
    """A scorer; calling it has it do all that waits, and gives the seconds by part."""
    folder = FOLDER.resolve()
    settings = {
        "ENDPOINT": endpoint,
        "TOKEN": token,
        "HUBS": hub,
        "CACHE": str(folder / "scorer"),
        "POOLS": str(folder / "pools"),
        "POLL_SECONDS": "0.01",
        "THREADS": "1",
        "FREE_BYTES": "0",
    }
    environment = os.environ | {f"DATACUP_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-c", "from bench.timed_scorer import main; main()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asks, answers = process.stdin, process.stdout

        def work() -> dict[str, float]:
            print(file=asks, flush=True)
            found: dict[str, float] = json.loads(answers.readline())
            return found

        try:
            yield work
        finally:
            asks.close()


def _make_pool(rules: Competition) -> None:
    from participant_kit.pools.digits import build_digits_pool

    scale = rules.scales[0]
    assert scale.pool is not None
    build_digits_pool(FOLDER / "pools" / scale.pool.id, scale)


def _enter(client: LeaderboardClient, hub: str, hub_token: str, rules: Competition, number: int) -> str:
    """Enter other random weights as a participant would; the submission's id."""
    registration = SubmissionRegistration(
        idempotency_key=digest(["overhead", number]),
        competition=rules.id,
        track=rules.tracks[0].id,
        scale=rules.scales[0].id,
        method_name=f"random weights {number}",
        author="a benchmark",
        hub_endpoint=hub,
        repo="alice/entries",
    )
    ticket = client.register(registration)
    folder = FOLDER / "entries" / ticket.submission_id
    folder.mkdir(parents=True)
    _write(folder, rules, ticket.submission_id, ticket.nonce, number)
    api, path = hub_api(hub, answer_seconds=60, token=hub_token), f"digits/{ticket.submission_id}"
    api.create_repo("alice/entries", exist_ok=True)
    revision = api.upload_folder(repo_id="alice/entries", folder_path=folder, path_in_repo=path).oid
    client.set_revision(ticket.submission_id, SubmissionRevision(revision=str(revision), path=path))
    return ticket.submission_id


def _write(folder: Path, rules: Competition, submission_id: str, nonce: str, seed: int) -> None:
    """The files of an entry that passes every check, and its manifest."""
    from safetensors.numpy import save_file

    from competition.verification.model import expected_tensors

    scale = rules.scales[0]
    recipe, random = rules.clip_recipe_of(scale), np.random.default_rng(seed)
    assert scale.pool is not None
    uids = pool_uids(FOLDER / "pools" / scale.pool.id / "metadata")
    save_subset(folder / "subset.npy", uids)
    weights = {
        name: random.normal(0, 0.05, shape).astype(np.float32) for name, (_, shape) in expected_tensors(recipe).items()
    }
    save_file(weights, folder / "model.safetensors")
    report = _report(rules, recipe, folder / "model.safetensors", len(uids), seed)
    (folder / "training_report.json").write_text(report.model_dump_json())
    roles = {
        "subset.npy": FileRole.SUBSET,
        "model.safetensors": FileRole.MODEL,
        "training_report.json": FileRole.TRAINING_REPORT,
    }
    files = tuple(
        ManifestFile(path=name, role=role, size=(folder / name).stat().st_size, sha256=file_sha256(folder / name))
        for name, role in roles.items()
    )
    manifest = SubmissionManifest(
        submission_id=submission_id,
        nonce=nonce,
        competition=rules.id,
        competition_version=rules.version,
        track=rules.tracks[0].id,
        scale=scale.id,
        recipe_digest=recipe.digest,
        suite=rules.suite.reference,
        suite_digest=rules.suite.digest,
        method_name="random weights",
        author="a benchmark",
        subset_samples=len(uids),
        subset_unique=len(np.unique(uids)),
        files=files,
        code_version="0.1.0",
        created_at=_NOW,
    )
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json())


def _report(rules: Competition, recipe: ClipRecipe, model: Path, samples: int, seed: int) -> TrainingReport:
    """Of a training to the recipe's end that yielded this model."""
    return TrainingReport(
        competition=rules.id,
        recipe=recipe.id,
        recipe_digest=recipe.digest,
        seed=seed,
        steps=recipe.steps,
        samples_seen=recipe.steps * recipe.global_batch,
        final_loss=1.0,
        data=TrainingData(shards=1, samples=samples, digest="0" * 64, corrupt_samples=0),
        model_sha256=file_sha256(model),
        hardware=Hardware(device="cpu", threads=1, torch_version="2"),
        code_version="0.1.0",
        started_at=_NOW,
        finished_at=_NOW,
        seconds=1.0,
    )


def _show(rounds: Sequence[dict[str, float]]) -> None:
    table = Table(title=f"Seconds per scored submission; medians of {len(rounds)} entries of {COMPETITION}")
    for heading in ("part", "seconds", "fastest", "slowest"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    excluded = {FETCH, EVALUATION}
    parts = sorted({part for each in rounds for part in each} - excluded - {TOTAL})
    overhead = [sum(each[part] for part in parts) for each in rounds]
    rows = [(part, [each.get(part, 0.0) for each in rounds]) for part in parts]
    rows.append((f"overhead (target: {TARGET_SECONDS:g} s)", overhead))
    rows += [(f"not counted: {part}", [each.get(part, 0.0) for each in rounds]) for part in sorted(excluded)]
    rows.append(("from claim to last word", [each[TOTAL] for each in rounds]))
    for name, seconds in rows:
        table.add_row(name, *(f"{value:.3f}" for value in (statistics.median(seconds), min(seconds), max(seconds))))
    console = Console(width=140)
    console.print(table)
    met = "met" if statistics.median(overhead) <= TARGET_SECONDS else "missed"
    console.print(f"The target is {met}. {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end.")


if __name__ == "__main__":
    main(sys.argv[1:])
