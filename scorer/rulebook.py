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


def competition_of(grant: JobGrant | AuditTarget, files: tuple[str, ...]) -> Competition:
    """The competition that a job or an audited entry belongs to: one of ``files`` (names or paths) or a built-in one.

    Raises ``UsageError`` when this scorer does not know it, or knows it with other rules: a score obtained under other
    rules than the leaderboard's must not come into being.
    """
    known = {competition.id: competition for competition in map(find_competition, (*built_in(), *files))}
    if grant.competition not in known:
        raise UsageError(f"This scorer knows no competition {grant.competition!r}.", hint=_HINT)
    competition = known[grant.competition]
    recipe = competition.training_digest(find_scale(competition, grant.scale))
    for what, ours, theirs in (
        ("rules", competition.digest, grant.competition_digest),
        ("recipe", recipe, grant.recipe_digest),
        ("suite", competition.suite.digest, grant.suite_digest),
    ):
        if ours != theirs:
            raise UsageError(
                f"The {what} of competition {grant.competition!r} differ here ({ours[:12]}) from the leaderboard's "
                f"({theirs[:12]}).",
                hint=_HINT,
            )
    return competition
