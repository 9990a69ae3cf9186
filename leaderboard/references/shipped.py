"""The sets of reference results that ship with DataCup, and publishing them together with their competitions."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from competition.errors import UsageError
from competition.records.references import ReferenceUpload
from competition.rules import Competition, built_in, find_competition
from competition.rules.references import CATALOG
from leaderboard.accounts.viewer import SYSTEM, Act
from leaderboard.clock import Clock
from leaderboard.references import repository, service
from leaderboard.references.reading import read_description, read_results

_FOLDER = CATALOG / "references"


def shipped() -> list[str]:
    """Names of the sets that ship with DataCup."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def competition_of(name: str) -> str:
    """The competition that a shipped set is about (raises ``UsageError`` naming the sets there are)."""
    if name not in shipped():
        raise UsageError(f"No reference results {name!r} are shipped.", hint=f"Shipped are: {', '.join(shipped())}.")
    return read_description(_FOLDER / f"{name}.yaml").competition


def read_shipped(name: str, rules: Competition) -> ReferenceUpload:
    """A shipped set, checked against the rules of its competition (raises as ``reading.read_results`` does)."""
    return read_results(_FOLDER / f"{name}.csv", read_description(_FOLDER / f"{name}.yaml"), rules)


def publish(session: Session, competitions: Iterable[str], now: Clock) -> list[str]:
    """Import what ships with these built-in competitions; the names of the sets that are new.

    Each version once: what an organiser has removed since, or replaced, stays so.
    """
    served = set(competitions) & set(built_in())
    new = []
    for name in shipped():
        about = competition_of(name)
        if about not in served:
            continue
        upload = read_shipped(name, find_competition(about))
        if repository.has_digest(session, about, name, service.digest_of(upload)):
            continue
        service.add(session, upload, Act(SYSTEM, now()))
        new.append(name)
    return new
