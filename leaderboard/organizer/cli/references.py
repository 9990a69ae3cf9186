"""Importing reference results from a CSV, and removing them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from competition.errors import UsageError
from leaderboard.organizer.settings import OrganizerSettings

if TYPE_CHECKING:
    from competition.records.references import ReferenceUpload, ReferenceValue
    from competition.rules import Competition
    from leaderboard.references.reading import Description

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_SHOWN_COLUMNS = 8


def import_results(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A CSV: a header, then a row a method.")] = None,
    about: Annotated[
        Path | None, typer.Option(help="YAML with what the options below say; an option given here counts instead.")
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN",
            help="Once a field: name, method, scale, samples, note, METRIC:TASK, aggregate:ID, other:TITLE, and "
            "low:, high:, note: before one of the last three.",
        ),
    ] = None,
    match_tasks: Annotated[
        bool, typer.Option("--match-tasks", help="Columns called as a task, by id or title, hold the suite's metric.")
    ] = False,
    percent: Annotated[bool, typer.Option("--percent", help="The shares are given in percent.")] = False,
    delimiter: Annotated[str | None, typer.Option(help="Between the file's cells [default: ,]")] = None,
    name: Annotated[str | None, typer.Option(help="Names the set; a changed one is its next version.")] = None,
    competition: Annotated[str | None, typer.Option(help="The competition.")] = None,
    track: Annotated[str | None, typer.Option(help="Show them in this track only.")] = None,
    scale: Annotated[str | None, typer.Option(help="Scale of all rows, unless a column holds it.")] = None,
    suite: Annotated[
        str | None, typer.Option(help="ID@VERSION with whose results they are comparable; without it, with none.")
    ] = None,
    source_title: Annotated[str | None, typer.Option(help="Who reports the numbers.")] = None,
    source_url: Annotated[str | None, typer.Option(help="Where that can be read.")] = None,
    source_section: Annotated[str | None, typer.Option(help="The table, section or file there.")] = None,
    retrieved: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day on which they were taken from there.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="The source's licence, or what is known of it.")] = None,
    note: Annotated[str | None, typer.Option(help="What is to be said about all of them.")] = None,
    shipped: Annotated[str | None, typer.Option(metavar="NAME", help="A set that ships with DataCup instead.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be imported, and import nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Import results that a paper or program reports, to stand in place beside the entries, never ranked.

    All or nothing: one cell that is no number, one task that the suite has not, and nothing is imported. The same file
    and map again change nothing; a changed one becomes the next version, and the older stays readable.
    """
    options = _options(locals())
    settings = OrganizerSettings()
    upload = _shipped_or_read(shipped, file, about, options, settings)
    if dry_run:
        _print(upload, as_json=as_json)
    else:
        _import(upload, settings, as_json=as_json)


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """What of the command's options a description holds, in its shape; only those that were given."""
    plain = ("name", "competition", "track", "scale", "suite", "note", "delimiter", "percent", "match_tasks")
    source = {key: given[f"source_{key}"] for key in ("title", "url", "section")} | {"licence": given["licence"]}
    source["retrieved"] = given["retrieved"].date().isoformat() if given["retrieved"] else None
    options = {key: given[key] for key in plain} | {"map": given["mapping"]}
    options["source"] = {key: value for key, value in source.items() if value is not None}
    return {key: value for key, value in options.items() if value}


def _shipped_or_read(
    shipped: str | None, file: Path | None, about: Path | None, options: dict[str, Any], settings: OrganizerSettings
) -> ReferenceUpload:
    if shipped is not None:
        if file or about or options:
            raise UsageError("--shipped is a whole set.", hint="Give it alone, or with --dry-run.")
        return _read_shipped(shipped, settings)
    if file is None:
        raise UsageError("No file is given.", hint="Give a CSV, or --shipped NAME.")
    return _read(file, _description(about, options), settings)


def _import(upload: ReferenceUpload, settings: OrganizerSettings, *, as_json: bool) -> None:
    with settings.connect() as client:
        receipt = client.add_references(upload)
    if as_json:
        typer.echo(receipt.model_dump_json())
        return
    typer.echo(receipt.id)
    what = f"{len(upload.rows)} rows imported" if receipt.changed else "Nothing changed: this set was imported before"
    typer.echo(f"{what}: {upload.name} of {upload.competition}, version {receipt.version}.", err=True)


def remove_results(
    set_id: Annotated[str, typer.Argument(metavar="ID", help="Of a version, as import-results printed it.")],
    as_json: Json = False,
) -> None:
    """Remove a set: the numbers of all its versions are deleted. Who imported what, when and from where stays."""
    with OrganizerSettings().connect() as client:
        head = client.remove_references(set_id)
    if as_json:
        typer.echo(head.model_dump_json())
    else:
        typer.echo(f"{head.name} of {head.competition} is removed, with all its versions.", err=True)


def _read_shipped(name: str, settings: OrganizerSettings) -> ReferenceUpload:
    from leaderboard.references.shipped import competition_of, read_shipped

    return read_shipped(name, _rules(settings, competition_of(name)))


def _read(file: Path, description: Description, settings: OrganizerSettings) -> ReferenceUpload:
    from leaderboard.references.reading import read_results

    return read_results(file, description, _rules(settings, description.competition))


def _rules(settings: OrganizerSettings, competition: str) -> Competition:
    with settings.connect(reading=True) as client:
        return client.rules(competition)


def _description(about: Path | None, options: dict[str, Any]) -> Description:
    """What the file's YAML and the options say together (raises ``UsageError`` naming the option)."""
    from pydantic import ValidationError

    from leaderboard.references.mapping import parse_pairs
    from leaderboard.references.reading import Description, read_description

    given = read_description(about).model_dump(mode="json") if about else {}
    pairs = parse_pairs(options.pop("map", []))
    merged = {**given, **options, "map": {**given.get("map", {}), **pairs}}
    merged["source"] = {**given.get("source", {}), **options.get("source", {})}
    try:
        return Description.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        named = "-".join(str(part) for part in first["loc"]).replace("_", "-")
        option = "--" + named.replace("source-retrieved", "retrieved").replace("source-licence", "licence")
        problem = "is missing" if first["type"] == "missing" else f"does not fit: {first['msg']}"
        raise UsageError(f"{option} {problem}.", hint="Give it as an option, or in the file of --about.") from error


def _print(upload: ReferenceUpload, *, as_json: bool) -> None:
    """What would be imported, as a table of the first columns or as the whole record."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from competition.printable import printable

    if as_json:
        typer.echo(json.dumps(upload.model_dump(mode="json", exclude_defaults=True)))
        return
    columns = _columns(upload)
    shown = columns[:_SHOWN_COLUMNS]
    table = Table(title=Text(f"{upload.name}: {len(upload.rows)} rows of {upload.competition}"), title_justify="left")
    for title in ("name", "scale", "samples", *(key for _, key in shown)):
        table.add_column(Text(printable(title)), justify="left" if title in {"name", "scale"} else "right")
    for row in upload.rows:
        cells = [row.name, row.scale, "" if row.samples is None else f"{row.samples:,}"]
        cells += [_cell(getattr(row, kind).get(key)) for kind, key in shown]
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console().print(table)
    source = upload.source
    typer.echo(printable(f"Source: {source.title}, {source.section}, {source.url}, {source.retrieved}."), err=True)
    if len(columns) > len(shown):
        typer.echo(f"{len(columns) - len(shown)} more columns of numbers; --json prints all.", err=True)
    where = f"in place among results of {upload.suite}" if upload.suite else "apart: comparable with no suite"
    typer.echo(f"Would be shown {where}. Nothing was imported.", err=True)


def _columns(upload: ReferenceUpload) -> list[tuple[str, str]]:
    """The kinds and keys of numbers that any row has, in order."""
    kinds = ("tasks", "aggregates", "others")
    return list(dict.fromkeys((kind, key) for kind in kinds for row in upload.rows for key in getattr(row, kind)))


def _cell(value: ReferenceValue | None) -> str:
    if value is None:
        return ""
    bounds = "" if value.low is None else f" [{value.low:g}, {value.high:g}]"
    return f"{value.value:g}{bounds}{' *' if value.note else ''}"
