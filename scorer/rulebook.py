"""The competitions that this scorer knows, and whether they are the ones that the leaderboard runs."""

from __future__ import annotations

from competition.errors import UsageError
from competition.records.audit import AuditTarget
from competition.records.scoring import JobGrant
from competition.rules import Competition, built_in, find_competition, find_scale

_HINT = (
    "Install the version of DataCup that the leaderboard runs, or name its competition file in DATACUP_COMPETITIONS."
)


def check_files(files: tuple[str, ...]) -> None:
    """Read every competition file once, before any job is claimed (raises ``RulesError`` or ``UsageError``)."""
    for name in files:
        find_competition(name)


def known_competitions(files: tuple[str, ...]) -> tuple[Competition, ...]:
    """The built-in competitions and those of ``files`` (names or paths); of some there may be several versions."""
    return tuple(map(find_competition, (*built_in(), *files)))


def competition_of(grant: JobGrant | AuditTarget, files: tuple[str, ...]) -> Competition:
    """The competition that a job's entry was made under: one of ``files`` or a built-in one.

    Raises ``UsageError`` when this scorer does not know it, or knows it with other rules: a score obtained under other
    rules than the leaderboard's must not come into being.
    """
    return _matching(grant, files, grant.competition_digest, grant.suite_digest)


def evaluated_under(grant: JobGrant, files: tuple[str, ...]) -> Competition:
    """The competition whose suite the entry is evaluated under: of a re-scoring, a newer version (raises likewise)."""
    order = grant.rescoring
    if order is None:
        return competition_of(grant, files)
    return _matching(grant, files, order.competition_digest, order.suite_digest)


def _matching(
    grant: JobGrant | AuditTarget, files: tuple[str, ...], rules_digest: str, suite_digest: str
) -> Competition:
    versions = [found for found in known_competitions(files) if found.id == grant.competition]
    if not versions:
        raise UsageError(f"This scorer knows no competition {grant.competition!r}.", hint=_HINT)
    competition = next((found for found in versions if found.digest == rules_digest), versions[-1])
    recipe = competition.training_digest(find_scale(competition, grant.scale))
    for what, ours, theirs in (
        ("rules", competition.digest, rules_digest),
        ("recipe", recipe, grant.recipe_digest),
        ("suite", competition.suite.digest, suite_digest),
    ):
        if ours != theirs:
            raise UsageError(
                f"The {what} of competition {grant.competition!r} differ here ({ours[:12]}) from the leaderboard's "
                f"({theirs[:12]}).",
                hint=_HINT,
            )
    return competition
