"""Is this machine ready to score? Each check looks at one thing and says what to do where it is not well."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx

from competition.errors import DataCupError
from competition.evalsets.sources import Origin, sets_of
from competition.evalsets.verify import Finding, summary, verify_sets
from competition.rules import Competition, built_in, find_competition
from scorer import sandbox
from scorer.settings import ScorerSettings
from scorer.watch import free_bytes

_GIB = 2**30
_TIMEOUT_S = 10.0
_LOW_DISK = 20 * _GIB


class Level(StrEnum):
    """``warn``: it will run, perhaps not as you want. ``fail``: jobs would fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Diagnosis:
    """What a check found; ``advice`` is what to do, empty where all is well."""

    check: str
    level: Level
    message: str
    advice: str = ""


Check = Callable[[ScorerSettings], Iterator[Diagnosis]]


def examine(
    settings: ScorerSettings, competitions: Sequence[str] = (), *, digests: bool = False, insecure: bool = False
) -> Iterator[Diagnosis]:
    """Run all checks, each as soon as it is asked for.

    Args:
        settings: of the scorer.
        competitions: names or files, whose evaluation sets must be here; all that are known, when absent, and then a
            missing set is a warning.
        digests: compare every file of the sets with its lock, instead of a glance.
        insecure: isolation is not wanted.
    """
    checks: list[tuple[str, Check]] = [
        ("isolation", lambda _settings: _isolation(insecure)),
        ("accelerator", lambda _settings: _accelerator()),
        ("memory", _memory),
        ("disk", _disks),
        ("evaluation sets", lambda given: _evaluation_sets(given, competitions, digests)),
        ("leaderboard", _leaderboard),
        ("hub", _hubs),
    ]
    for name, check in checks:
        try:
            yield from check(settings)
        except DataCupError as error:
            yield Diagnosis(name, Level.FAIL, error.message, error.hint)


def _isolation(insecure: bool) -> Iterator[Diagnosis]:
    if insecure:
        message = "Entries are scored without isolation (--insecure)."
        yield Diagnosis("isolation", Level.WARN, message, "Score only entries of people you trust.")
        return
    sandbox.require_isolation()
    if os.geteuid() == 0:
        message = "Processes can be isolated, but the scorer runs as root."
        yield Diagnosis("isolation", Level.WARN, message, "Run it as a user of its own; it needs no privilege.")
    else:
        yield Diagnosis("isolation", Level.OK, "Processes can be isolated: no network, no other files.")


def _accelerator() -> Iterator[Diagnosis]:
    import torch

    if not torch.cuda.is_available():
        advice = "Right for small competitions; else install a driver and a build of PyTorch that knows the GPU."
        yield Diagnosis("accelerator", Level.WARN, "No GPU is seen: evaluations run on the CPU.", advice)
        return
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    yield Diagnosis("accelerator", Level.OK, f"{len(names)} GPU(s): {', '.join(names)}.")


def _memory(settings: ScorerSettings) -> Iterator[Diagnosis]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed = settings.memory_bytes + settings.scratch_bytes
    message = f"A process may use {_size(allowed)} (scratch included) of {_size(total)}."
    if allowed > total:
        advice = "Lower DATACUP_MEMORY_BYTES or DATACUP_SCRATCH_BYTES: the system would end something else first."
        yield Diagnosis("memory", Level.WARN, message, advice)
    else:
        yield Diagnosis("memory", Level.OK, message)


def _disks(settings: ScorerSettings) -> Iterator[Diagnosis]:
    places = (
        ("DATACUP_MIRROR", settings.mirror_root, True),
        ("DATACUP_EVALUATION", settings.evaluation_root, True),
        ("DATACUP_POOLS", settings.pools_root, False),
    )
    for variable, folder, written in places:
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        if written and not os.access(existing, os.W_OK):
            yield Diagnosis("disk", Level.FAIL, f"{folder} cannot be written.", f"Change its owner, or set {variable}.")
            continue
        if not written:
            if folder.is_dir():
                yield Diagnosis("disk", Level.OK, f"{folder}: pools are read from here.")
            else:
                yield Diagnosis("disk", Level.WARN, f"{folder} is not there: no pools.", f"Set {variable}.")
            continue
        free = free_bytes(existing)
        message = f"{folder}: {_size(free)} free."
        if free <= settings.free_bytes:
            advice = f"Free some: below DATACUP_FREE_BYTES ({_size(settings.free_bytes)}) every job is ended."
            yield Diagnosis("disk", Level.FAIL, message, advice)
        elif free < _LOW_DISK:
            yield Diagnosis("disk", Level.WARN, message, "Models and decoded sets take gigabytes: free some.")
        else:
            yield Diagnosis("disk", Level.OK, message)


def _evaluation_sets(settings: ScorerSettings, competitions: Sequence[str], digests: bool) -> Iterator[Diagnosis]:
    wanted = competitions or tuple(dict.fromkeys((*built_in(), *settings.competitions)))
    lacking = Level.FAIL if competitions else Level.WARN
    for name in wanted:
        competition = find_competition(name)
        found = _sets_of(competition, settings.evaluation_root, digests)
        bad = {words: [item for item, state in found.items() if state == words] for words in set(found.values())}
        bad.pop("", None)
        advice = f"`datacup-scorer evalsets download {competition.suite.reference}`, then `evalsets verify`."
        subject = f"{competition.id} ({competition.suite.reference})"
        if not bad:
            message = f"{len(found)} sets are here" if found else "the sets are made from code when they are needed"
            yield Diagnosis("evaluation sets", Level.OK, f"{subject}: {message}.")
        for words, names in sorted(bad.items()):
            level = Level.WARN if words == _UNRECORDED else Level.FAIL if words != _ABSENT else lacking
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            yield Diagnosis("evaluation sets", level, f"{subject}: {shown}: {words}.", advice)

    yield from _links(settings)


def _links(settings: ScorerSettings) -> Iterator[Diagnosis]:
    """Sets that are links to folders that an isolated process cannot see."""
    root = settings.evaluation_root
    seen = (root, *settings.further_folders)
    links = [path for pattern in ("*", "*/*") for path in sorted(root.glob(pattern)) if path.is_symlink()]
    for path in links:
        if not any(path.resolve().is_relative_to(folder) for folder in seen):
            message = f"{path} is a link to {path.resolve()}, which isolated processes do not see."
            yield Diagnosis("evaluation sets", Level.FAIL, message, "Name its folder in DATACUP_READABLE, or copy it.")


_ABSENT = "absent"
_UNRECORDED = "without a lock file"
_GLANCE = {"here": "", "absent": _ABSENT, "unrecorded": _UNRECORDED, "bad lock": "the lock file is damaged"}
_VERIFIED = {
    Finding.SOUND: "",
    Finding.MISSING: _ABSENT,
    Finding.UNRECORDED: _UNRECORDED,
    Finding.DIFFERENT: "differs from its lock file",
    Finding.MALFORMED: "malformed",
}


def _sets_of(competition: Competition, root: Path, digests: bool) -> dict[str, str]:
    """What is wrong with each set that the suite needs; sets that are made from code are made when they are needed."""
    sets = [item for item in sets_of(competition.suite) if item.origin is not Origin.CODE]
    if digests:
        return {item.name: _VERIFIED[item.finding] for item in verify_sets(sets, root)}
    return {item.name: _GLANCE[summary(root, item.name)[0]] for item in sets}


def _leaderboard(settings: ScorerSettings) -> Iterator[Diagnosis]:
    endpoint, token = settings.require_endpoint().rstrip("/"), settings.require_token()
    answer = _get(f"{endpoint}/api/v1/me", token)
    if isinstance(answer, str):
        advice = "Check DATACUP_ENDPOINT and the network."
        yield Diagnosis("leaderboard", Level.FAIL, f"{endpoint} does not answer ({answer}).", advice)
        return
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        message, advice = f"{endpoint} does not accept the token.", "Ask the organisers for a new DATACUP_TOKEN."
        yield Diagnosis("leaderboard", Level.FAIL, message, advice)
        return
    try:
        scopes, expires = set(answer.json()["scopes"]), str(answer.json()["expires_at"])
    except (ValueError, KeyError, TypeError):
        message = f"{endpoint} answered HTTP {answer.status_code}, and not as a leaderboard does."
        yield Diagnosis("leaderboard", Level.FAIL, message, "Is DATACUP_ENDPOINT the address of a DataCup leaderboard?")
        return
    if not scopes & {"score", "admin"}:
        message = f"The token's scopes are {', '.join(sorted(scopes))}: it may not score."
        yield Diagnosis("leaderboard", Level.FAIL, message, "Ask the organisers for a token of scope `score`.")
    elif "admin" in scopes:
        message = "The token may do everything, not only score."
        yield Diagnosis("leaderboard", Level.WARN, message, "Use a token of scope `score` alone.")
    else:
        yield Diagnosis("leaderboard", Level.OK, f"{endpoint} accepts the token, until {expires[:10]}.")


def _hubs(settings: ScorerSettings) -> Iterator[Diagnosis]:
    for hub in dict.fromkeys(settings.hubs or (settings.hub_endpoint,)):
        token = settings.hub_token_for(hub)
        answer = _get(f"{hub.rstrip('/')}/api/whoami-v2", token)
        if isinstance(answer, str):
            advice = "Entries are fetched from there: check DATACUP_HUBS and the network."
            yield Diagnosis("hub", Level.FAIL, f"{hub} does not answer ({answer}).", advice)
        elif answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            message = f"{hub} answered HTTP {answer.status_code}."
            yield Diagnosis("hub", Level.WARN, message, "It may be down for the moment; jobs are tried again.")
        elif token is not None and answer.status_code == httpx.codes.UNAUTHORIZED:
            yield Diagnosis("hub", Level.FAIL, f"{hub} does not accept DATACUP_HUB_TOKEN.", "Make a new read token.")
        else:
            yield Diagnosis("hub", Level.OK, f"{hub} answers.")


def _get(url: str, token: str | None) -> httpx.Response | str:
    """The answer, or why there is none."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        return httpx.get(url, headers=headers, timeout=_TIMEOUT_S, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError) as error:
        return str(error) or type(error).__name__


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"
