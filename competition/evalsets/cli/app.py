"""``evalsets``: list, download, verify and prepare evaluation sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from competition.errors import DataFormatError, NotFoundError
from competition.evalsets.cli.output import Output
from competition.evalsets.next_step import advice
from competition.evalsets.preparing.recipes import Format
from competition.evalsets.sources import sets_of
from competition.rules import Suite, all_suites, find_competition, find_suite

if TYPE_CHECKING:
    from competition.evalsets.preparing.prepare import PrepareOptions

SuiteArgument = Annotated[
    str,
    typer.Argument(
        help="A suite (`datacup suites` lists them), or a competition's YAML file.", metavar="SUITE", show_default=False
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="Folder of all sets; default: evaluation/ in DATACUP_CACHE, a scorer's DATACUP_EVALUATION."
    ),
]
OnlyOption = Annotated[
    list[str] | None, typer.Option("--only", help="Only the set that this task needs; may be repeated.", metavar="TASK")
]
WorkersOption = Annotated[int, typer.Option("--num-workers", min=1, max=64, help="Files at a time.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


@dataclass(frozen=True, slots=True)
class Place:
    """Where sets lie by default, the Hub they come from, and what the program is called, for the commands it names."""

    root: Path
    hub_endpoint: str
    program: str = "datacup"


Places = Callable[[], Place]
Outputs = Callable[[bool], Output]


def build_app(place: Places, output: Outputs) -> typer.Typer:
    """The commands.

    Args:
        place: reads the settings of the one who runs them.
        output: what shows results, given whether as JSON.
    """
    app = typer.Typer(
        help="List, download, verify and prepare evaluation sets.",
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=False,
    )

    _add_list(app, place, output)
    _add_download(app, place, output)
    _add_verify(app, place, output)
    _add_prepare(app, place, output)
    return app


def _add_list(app: typer.Typer, place: Places, output: Outputs) -> None:
    @app.command("list")
    def list_(
        suite: Annotated[
            str | None, typer.Argument(help="Of this suite; default: of all suites.", metavar="SUITE")
        ] = None,
        data_dir: DataDirOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """List evaluation sets and what brings them.

        Says where each comes from and whether it is here; with SUITE, the command for each that is not. Nothing is
        hashed or fetched.
        """
        from competition.evalsets.cli.listing import show_sets

        where = place()
        suites = [_suite(suite)] if suite is not None else list(all_suites().values())
        show_sets(output(as_json), suites, data_dir or where.root, where.program, of_one=suite is not None)


def _add_download(app: typer.Typer, place: Places, output: Outputs) -> None:
    @app.command()
    def download(
        suite: SuiteArgument,
        data_dir: DataDirOption = None,
        only: OnlyOption = None,
        offline: Annotated[
            bool,
            typer.Option(
                "--offline",
                help="Use no network: check what is here by its recorded digests; fail for the rest.",
            ),
        ] = False,
        num_workers: WorkersOption = 8,
        as_json: JsonOption = False,
    ) -> None:
        """Get the evaluation sets of a suite.

        Those on the Hub are downloaded, those made from code are made. Each is taken at a commit, which is recorded
        beside it (SET.lock.json) with the digest of every file. Run it again to go on where it stopped, and to repair.
        Sets that are not on the Hub are named: `evalsets list` says what brings them. The exit code is 0 only if all
        sets are here.
        """
        where = place()
        endpoint = None if offline else where.hub_endpoint
        shown = output(as_json)
        _download(shown, suite, only, (data_dir or where.root, endpoint, where.program), num_workers)


def _add_verify(app: typer.Typer, place: Places, output: Outputs) -> None:
    @app.command()
    def verify(
        suite: SuiteArgument,
        data_dir: DataDirOption = None,
        only: OnlyOption = None,
        record: Annotated[
            bool,
            typer.Option(
                "--record", help="Sets that have no SET.lock.json: trust their files as they are, and write one."
            ),
        ] = False,
        num_workers: WorkersOption = 4,
        as_json: JsonOption = False,
    ) -> None:
        """Check a suite's sets by their digests.

        Every file is compared with what was recorded of it (SET.lock.json). The exit code is 0 only if every task has
        its set, unchanged; 2 if one is missing or has no recorded digests, 3 if one differs.
        """
        where = place()
        _verify(output(as_json), suite, only, (data_dir or where.root, record, where.program), num_workers)


def _add_prepare(app: typer.Typer, place: Places, output: Outputs) -> None:
    @app.command()
    def prepare(
        name: Annotated[
            str, typer.Argument(help="A set's name, as `evalsets list` shows it.", metavar="NAME", show_default=False)
        ],
        source: Annotated[
            Path,
            typer.Option(
                "--source",
                help="Folder of what it is made from; `evalsets list SUITE` says what it has to hold.",
                metavar="DIR",
                show_default=False,
            ),
        ],
        data_dir: DataDirOption = None,
        layout: Annotated[
            Format | None,
            typer.Option("--format", help="Format of the source; default: as the set is usually published."),
        ] = None,
        download: Annotated[
            bool, typer.Option("--download", help="Let torchvision fetch it into the source folder.")
        ] = False,
        templates: Annotated[
            Path | None, typer.Option("--templates", help="Prompt templates, one a line with {c} for the class.")
        ] = None,
        any_size: Annotated[
            bool, typer.Option("--any-size", help="Take a source that has not as many images as the set should.")
        ] = False,
        copy: Annotated[
            bool,
            typer.Option("--copy", help="Sets read as published (imagenet-c, objectnet, ...): copy instead of link."),
        ] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Make a set that is not on the Hub.

        It is made from what its authors publish. Get that first: `evalsets list` names the page. The source is not
        changed, and nothing is downloaded unless --download is given. The set is made whole, or not at all.
        """
        from competition.evalsets.preparing.prepare import PrepareOptions

        options = PrepareOptions(source, layout, download, templates, any_size, copy)
        _prepare(output(as_json), name, data_dir or place().root, options)


def _prepare(output: Output, name: str, root: Path, options: PrepareOptions) -> None:
    from competition.evalsets.preparing.prepare import prepare_set

    with output.progress(f"Preparing {name}") as progress:
        report = prepare_set(name, root, options, progress)
    payload = {
        "name": name,
        "folder": str(root / name),
        "images": dict(report.images),
        "without_colour": dict(report.without_colour),
        "linked": report.linked,
        "bytes": report.lock.bytes,
        "digest": report.lock.digest,
    }
    rows = [[part, f"{images:,}"] for part, images in report.images.items()]
    output.table(payload, "", ["part", "images"], rows)
    output.note(f"The set is {root / name}; its digest is {report.lock.digest[:12]}.")
    for part, dropped in report.without_colour.items():
        output.note(f"{dropped:,} images ({part}) are not stored in RGB and were left out, as the set has it.")
    if report.linked:
        output.note("The folders are linked, not copied: leave the source where it is.")


def _suite(name: str) -> Suite:
    is_file = name.endswith((".yaml", ".yml"))
    return find_competition(name).suite if is_file else find_suite(name)


def _download(
    output: Output, name: str, only: Sequence[str] | None, where: tuple[Path, str | None, str], workers: int
) -> None:
    from competition.evalsets.download import State, check_offline, download_sets

    (root, endpoint, program), suite = where, _suite(name)
    wanted = sets_of(suite, only or None)
    with output.progress(f"Evaluation sets of {suite.reference}") as progress:
        if endpoint is None:
            outcome = check_offline(wanted, root, workers=workers, progress=progress)
        else:
            outcome = download_sets(wanted, root, endpoint, workers=workers, progress=progress)
    rows = [
        [
            report.name,
            report.state.value,
            f"{report.files:,}" if report.files else "-",
            f"{report.bytes / 1e6:,.1f} MB" if report.bytes else "-",
            (report.revision or "-")[:12],
        ]
        for report in outcome.sets
    ]
    payload = {
        "suite": suite.reference,
        "folder": str(root),
        "sets": [report.model_dump(mode="json") for report in outcome.sets],
    }
    for failed, error in outcome.failures.items():
        output.note(f"{failed}: {error.message}" + (f" {error.hint}" if error.hint else ""))
    output.table(payload, "", ["set", "state", "files", "size", "commit"], rows)
    absent = [report.name for report in outcome.sets if report.state is State.ELSEWHERE]
    if absent:
        count = "1 set is" if len(absent) == 1 else f"{len(absent)} sets are"
        output.note(
            f"{count} not on the Hub and not here: {', '.join(absent)}. "
            f"`{program} evalsets list {name}` says where each comes from and the command that makes it."
        )
    unrecorded = [report.name for report in outcome.sets if report.state is State.UNRECORDED]
    if unrecorded:
        output.note(
            f"Here without recorded digests, and not checked: {', '.join(unrecorded)}. "
            f"`{program} evalsets verify {name} --record` records them as they are."
        )
    if outcome.failures:
        raise typer.Exit(next(iter(outcome.failures.values())).exit_code)
    if absent or (unrecorded and endpoint is None):
        raise typer.Exit(NotFoundError.exit_code)


def _verify(output: Output, name: str, only: Sequence[str] | None, where: tuple[Path, bool, str], workers: int) -> None:
    from competition.evalsets.verify import Finding, verify_sets

    (root, record, program), suite = where, _suite(name)
    wanted = sets_of(suite, only or None)
    with output.progress(f"Verifying the sets of {suite.reference}") as progress:
        findings = verify_sets(wanted, root, record=record, workers=workers, progress=progress)
    wrong = [finding for finding in findings if finding.finding is not Finding.SOUND]
    payload = {
        "suite": suite.reference,
        "folder": str(root),
        "sound": not wrong,
        "sets": [finding.model_dump(mode="json") for finding in findings],
    }
    rows = [
        [found.name, found.finding.value, (found.revision or "-")[:12], found.digest[:12] or "-", found.detail or "-"]
        for found in findings
    ]
    output.table(payload, "", ["set", "finding", "commit", "digest", "detail"], rows)
    if wrong:
        output.note(f"Tasks without a sound set: {', '.join(task for found in wrong for task in found.tasks)}.")
        for sentence in advice(wanted, wrong, name, program):
            output.note(sentence)
    else:
        output.note("Every task has its set, unchanged.")
    if any(finding.finding in {Finding.DIFFERENT, Finding.MALFORMED} for finding in wrong):
        raise typer.Exit(DataFormatError.exit_code)
    if wrong:
        raise typer.Exit(NotFoundError.exit_code)
