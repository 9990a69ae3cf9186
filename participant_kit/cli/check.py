"""``datacup check``: the scorer's checks of an entry on this machine, without a leaderboard, a Hub or a quota."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from competition.errors import UsageError
from competition.records.manifest import FileRole, SubmissionManifest
from competition.rules import Pool, find_competition
from participant_kit.cli.console import JsonOption
from participant_kit.cli.entry_options import (
    DescriptionOption,
    ExternalOption,
    LineageOption,
    Parts,
    PoolOption,
    PredictionsOption,
    SamplesOption,
    Words,
    chosen_entry,
)
from participant_kit.cli.options import RunOption
from participant_kit.settings import KitSettings

if TYPE_CHECKING:
    from competition.data.uids import UidArray
    from competition.verification.report import CheckReport


def command(
    folder: Annotated[
        Path | None, typer.Argument(help="A submission folder that is there already.", show_default=False)
    ] = None,
    track: Annotated[
        str | None, typer.Option("--track", help="Track of the competition; a folder has its own.")
    ] = None,
    scale: Annotated[str | None, typer.Option("--scale", help="Scale; default: nano; a folder has its own.")] = None,
    competition: Annotated[
        str | None,
        typer.Option("--competition", help="Built-in, or a YAML file; default: digits, or that of the folder."),
    ] = None,
    run_dir: RunOption = None,
    samples: SamplesOption = None,
    external_data: ExternalOption = None,
    predictions: PredictionsOption = None,
    metadata_dir: PoolOption = None,
    lineage: LineageOption = None,
    method_name: Annotated[str, typer.Option("--method-name", help="As it will be entered.")] = "not named",
    author: Annotated[str, typer.Option("--author", help="As it will be entered.")] = "not named",
    description: DescriptionOption = "",
    repo: Annotated[str, typer.Option("--hf-repo-name", help="As it will be entered.")] = "not-named/entry",
    as_json: JsonOption = False,
) -> None:
    """Check an entry as the scorer will, without entering it.

    Takes the words of `datacup submit`, or a submission folder. Nothing is registered or uploaded, nobody is asked,
    and no quota is charged; `datacup submit` makes the same checks first. Exits with status 10 when the entry breaks
    a rule. Whether the subset is of the pool is checked with --metadata-dir.
    """
    from competition.verification.printing import print_report

    parts = Parts(run_dir, samples, external_data, predictions, metadata_dir, lineage)
    if folder is not None:
        _refuse_others(
            {
                "--track": track,
                "--scale": scale,
                "--train-output-dir": run_dir,
                "--samples": samples,
                "--external-data": external_data,
                "--predictions": predictions,
                "--lineage": lineage,
            }
        )
        report = _of_folder(folder, competition or "", metadata_dir)
    elif track is None:
        raise UsageError(
            "Nothing to check was named.",
            hint="Give the folder of a submission, or --track and what `datacup submit` takes.",
        )
    else:
        rules = find_competition(competition or "digits")
        words = Words(rules, track, scale or "nano", method_name, author, description)
        report = _of_entry(words, parts, repo)
    print_report(report, as_json=as_json)


def _of_entry(words: Words, parts: Parts, repo: str) -> CheckReport:
    entry = chosen_entry(words, parts)

    from participant_kit.entering import checked
    from participant_kit.hub import HubTarget, require_name

    require_name(repo)
    target = HubTarget(KitSettings().hub_endpoint, repo if "/" in repo else f"you/{repo}")
    with checked(entry, target) as (report, _):
        return report


def _of_folder(folder: Path, competition: str, metadata_dir: Path | None) -> CheckReport:
    from competition.verification.report import report_on_folder
    from participant_kit.membership import known_uids

    def known(pool: Pool, manifest: SubmissionManifest) -> UidArray | None:
        subset = next((file.path for file in manifest.files if file.role is FileRole.SUBSET), None)
        if metadata_dir is None or subset is None or not (folder / subset).is_file():
            return None  # that the file is missing is for the checks to say
        return known_uids(metadata_dir, pool, folder / subset)

    return report_on_folder(folder, competition, known)


def _refuse_others(given: dict[str, object]) -> None:
    """A folder says itself what is entered where (raises ``UsageError``)."""
    others = [option for option, value in given.items() if value is not None]
    if others:
        raise UsageError(
            f"A submission folder is checked without {' and '.join(others)}.",
            hint="Give the folder alone, with --competition and --metadata-dir where needed.",
        )
