"""What happens in the demo, in order. Every part is a process of its own, and they talk HTTP."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import typer

from competition.client import LeaderboardClient
from competition.data.atomic import make_folder
from competition.errors import ServiceUnavailableError, UsageError
from competition.records.lifecycle import Processing
from competition.records.submission import SubmissionView
from competition.rules import find_competition, find_scale, find_track
from demo.cheat import enter_with_swapped_weights
from demo.services import Service, call, free_port, running, stay

COMPETITION, TRACK, SCALE = "digits", "filtering", "nano"
STRATEGIES = ("no_filter", "clip_score", "clip_score_english")
_SCORING_SECONDS = 300.0
_BEGUN, _MARK = "demo-begun", "demo.json"


@dataclass(frozen=True)
class Setting:
    """Addresses, folders and tokens of one demo."""

    folder: Path
    site: str
    hub: str
    site_port: int
    hub_port: int

    @property
    def leaderboard(self) -> dict[str, str]:
        """The leaderboard's environment."""
        return {"DATACUP_DATA_DIR": str(self.folder / "leaderboard"), "DATACUP_HUBS": self.hub}

    @property
    def work(self) -> Path:
        """The participant's folder."""
        return self.folder / "participant"

    def participant(self, token: str, hub_token: str) -> dict[str, str]:
        """A participant's environment."""
        return {
            "DATACUP_ENDPOINT": self.site,
            "DATACUP_TOKEN": token,
            "DATACUP_CACHE": str(self.folder / "participant-cache"),
            "HF_ENDPOINT": self.hub,
            "HF_TOKEN": hub_token,
            "HF_HOME": str(self.folder / "participant-cache" / "huggingface"),
        }

    def scorer(self, token: str) -> dict[str, str]:
        """The scorer's environment: its own copy of the evaluation sets, and the pools to check subsets against."""
        return {
            "DATACUP_ENDPOINT": self.site,
            "DATACUP_TOKEN": token,
            "DATACUP_CACHE": str(self.folder / "scorer"),
            "DATACUP_POOLS": str(self.work / "pools"),
            "DATACUP_HUBS": self.hub,
            "DATACUP_POLL_SECONDS": "0.5",
            "DATACUP_THREADS": "1",
        }


def run(folder: Path) -> None:
    """Run the demo from nothing. Raises ``ServiceUnavailableError`` when a part of it stops."""
    started = time.monotonic()

    def say(text: str) -> None:
        typer.echo(f"[{time.monotonic() - started:4.0f} s] {text}", err=True)

    setting = _fresh(folder)
    say("Setting up a leaderboard, a local Hub and a scorer")
    call(["datacup-leaderboard", "migrate"], setting.leaderboard)
    site = _leaderboard(setting, folder)
    ada, mallory = _participant(setting, "ada"), _participant(setting, "mallory")
    scorer = Service(
        ["datacup-scorer", "run"], setting.scorer(_token(setting, "scorer", "score")), folder / "logs" / "scorer.log"
    )
    with running(site, scorer):
        site.wait_until_answering(f"{setting.site}/api/v1/health")
        say(f"Leaderboard at {setting.site}, Hub at {setting.hub}; Ada enters with `datacup quickstart`")
        entered = _enter(setting, ada)
        say("Three entries are in; now Mallory swaps the weights of hers after writing its manifest")
        cheat = _cheat(setting, mallory)
        scorer.check()
        views = [_terminal(setting, submission, scorer) for submission in [*entered, cheat]]
        say("Every entry has reached its end")
        _report(ada, views)
        (folder / _MARK).write_text(json.dumps({"site_port": setting.site_port, "hub_port": setting.hub_port}))
    _judge(views)
    say(f"Done: `make serve` shows the site (its files are in {folder})")


def serve(folder: Path, port: int) -> NoReturn:
    """Become the server of a finished demo's site, until interrupted."""
    mark = folder / _MARK
    if not mark.is_file():
        raise UsageError(f"There is no finished demo in {folder}.", hint="Run `make demo` first.")
    hub_port = free_port(int(json.loads(mark.read_text())["hub_port"]))
    environment = {"DATACUP_DATA_DIR": str(folder / "leaderboard"), "DATACUP_HUBS": f"http://127.0.0.1:{hub_port}"}
    stay(["datacup-leaderboard", "serve", "--port", str(port), "--with-hub", "--hub-port", str(hub_port)], environment)


def _fresh(folder: Path) -> Setting:
    """An empty folder with a mark; only a folder with a demo's mark is ever emptied."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file.", hint="Give another --output-dir.")
    ours = any((folder / mark).is_file() for mark in (_BEGUN, _MARK))
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise UsageError(f"{folder} is not empty and holds no demo.", hint="Give another --output-dir.")
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder / "leaderboard")
    (folder / _BEGUN).touch()
    site_port, hub_port = free_port(8000), free_port(8001)
    return Setting(folder, f"http://127.0.0.1:{site_port}", f"http://127.0.0.1:{hub_port}", site_port, hub_port)


def _leaderboard(setting: Setting, folder: Path) -> Service:
    ports = ["--port", str(setting.site_port), "--with-hub", "--hub-port", str(setting.hub_port)]
    return Service(["datacup-leaderboard", "serve", *ports], setting.leaderboard, folder / "logs" / "leaderboard.log")


def _token(setting: Setting, account: str, scope: str, *options: str) -> str:
    command = ["datacup-leaderboard", "token", "create", "--account", account, "--scope", scope, "--json", *options]
    return str(json.loads(call(command, setting.leaderboard))["token"])


def _participant(setting: Setting, name: str) -> dict[str, str]:
    return setting.participant(_token(setting, name, "submit"), _token(setting, name, "write", "--hub"))


def _enter(setting: Setting, participant: dict[str, str]) -> list[str]:
    """Three strategies, each from pool to entry, by the participant's own command. Returns the submissions' ids."""
    strategies = [part for name in STRATEGIES for part in ("--strategy", name)]
    output = call(
        ["datacup", "quickstart", *strategies, "--output-dir", str(setting.work), "--author", "Ada", "--json"],
        participant,
    )
    return [entry["submission"]["id"] for entry in json.loads(output)["entries"]]


def _cheat(setting: Setting, participant: dict[str, str]) -> str:
    """Mallory registers Ada's unfiltered run as her own, and uploads Ada's best weights in its place."""
    os.environ.update(participant)

    from participant_kit.hub import HubTarget
    from participant_kit.quickstart.run import Plan

    competition = find_competition(COMPETITION)
    plan = Plan(
        competition, find_track(competition, TRACK), find_scale(competition, SCALE), setting.work, "mallory", 0, 1
    )
    with LeaderboardClient(setting.site, participant["DATACUP_TOKEN"]) as client:
        target = HubTarget(setting.hub, "mallory/best-entry")
        return enter_with_swapped_weights(plan.entry(STRATEGIES[0]), plan.entry(STRATEGIES[-1]).run_dir, client, target)


def _terminal(setting: Setting, submission_id: str, scorer: Service) -> SubmissionView:
    deadline = time.monotonic() + _SCORING_SECONDS
    with LeaderboardClient(setting.site) as client:
        while time.monotonic() < deadline:
            view = client.submission(submission_id)
            if view.processing.terminal:
                return view
            scorer.check()
            time.sleep(0.5)
    raise ServiceUnavailableError(f"{submission_id} was not scored in {_SCORING_SECONDS:.0f} s.", hint=str(scorer.log))


def _report(participant: dict[str, str], views: list[SubmissionView]) -> None:
    typer.echo()
    typer.echo(call(["datacup", "standings", COMPETITION, "--track", TRACK, "--scale", SCALE], participant))
    for view in views:
        if view.rejection is not None:
            typer.echo(f"Refused: {view.method_name} ({view.author}), {view.rejection.reason.value}")
            typer.echo(f"  {view.rejection.message}")
            typer.echo(f"  {view.rejection.hint}")


def _judge(views: list[SubmissionView]) -> None:
    """The demo is a check too: it fails when an entry did not end as it must."""
    *honest, cheat = views
    wrong = [f"{view.method_name}: {view.processing.value} ({view.failure})" for view in honest if not _scored(view)]
    if cheat.processing is not Processing.INVALID:
        wrong.append(f"the cheating entry ended {cheat.processing.value}")
    if wrong:
        raise ServiceUnavailableError(f"The demo did not end as it must: {'; '.join(wrong)}.")


def _scored(view: SubmissionView) -> bool:
    return view.processing is Processing.SCORED and len(view.results) == view.tasks_total
