"""``datacup-scorer verify``: the scorer's checks on a local folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from competition.rules import Pool
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
    from competition.verification.printing import print_report
    from competition.verification.report import report_on_folder

    settings = ScorerSettings.read()
    report = report_on_folder(folder, competition, lambda pool, _manifest: _indexed(pool, settings))
    print_report(report, as_json=as_json)


def _indexed(pool: Pool, settings: ScorerSettings) -> UidArray | None:
    from scorer.pool_index import indexed_uids

    if not (settings.pools_root / pool.id / "metadata").is_dir():
        return None
    return indexed_uids(pool, settings.pools_root, settings.mirror_root / "pool-index")
