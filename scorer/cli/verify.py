"""``datacup-scorer verify``: the scorer's checks on a local folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from competition.rules import Competition, find_competition, find_scale
from scorer.settings import ScorerSettings

if TYPE_CHECKING:
    from competition.data.uids import UidArray


def command(
    folder: Annotated[Path, typer.Argument(help="A submission's folder, with submission.json.", show_default=False)],
    competition: Annotated[
        str, typer.Option("--competition", help="A built-in competition, or the path of a competition's YAML file.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Check a submission folder as the service would, without a leaderboard and without a Hub.

    The competition is the manifest's unless --competition is given. Whether the subset is part of its pool is checked
    when the pool lies in DATACUP_POOLS. Exits with status 10 when the entry breaks a rule.
    """
    from competition.verification import check_submission
    from competition.verification.manifest import read_manifest

    manifest = read_manifest(folder)
    rules = find_competition(competition or manifest.competition)
    pool = _pool(rules, manifest.scale, ScorerSettings.read())
    if pool is None and find_scale(rules, manifest.scale).pool is not None:
        typer.echo("The pool is not here: that the subset is part of it stays unchecked.", err=True)
    checks: list[str] = []
    check_submission(folder, rules, pool, on_check=checks.append)
    if as_json:
        typer.echo(json.dumps({"submission": manifest.submission_id, "valid": True, "checks": checks}))
    else:
        typer.echo(f"{manifest.submission_id}: all checks passed ({', '.join(checks)}).")


def _pool(rules: Competition, scale_id: str, settings: ScorerSettings) -> UidArray | None:
    from scorer.pool_index import indexed_uids

    pool = find_scale(rules, scale_id).pool
    if pool is None or not (settings.pools_root / pool.id / "metadata").is_dir():
        return None
    return indexed_uids(pool, settings.pools_root, settings.mirror_root / "pool-index")
