"""``datacup-scorer mirror``: what organisers do with the mirrored entries."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import typer

from competition.client import LeaderboardClient
from competition.errors import DataFormatError, NotFoundError, UsageError
from competition.printable import printable
from competition.records.manifest import ManifestFile
from scorer import logs
from scorer.archive import Archive
from scorer.archiving import Archiving, Patience
from scorer.garbage import Store, Survey, collect, survey
from scorer.mirror import Mirror
from scorer.settings import ScorerSettings

app = typer.Typer(
    help="Look after the mirrored entries: this scorer's mirror, and the archive of all scorers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_DAY_S = 24 * 3600.0
_SHOWN = 20


class Place(StrEnum):
    """Where to look."""

    MIRROR = "mirror"
    ARCHIVE = "archive"


PlaceOption = Annotated[
    list[Place] | None,
    typer.Option("--in", help="Only there; default: the mirror, and the archive if DATACUP_ARCHIVE is set."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object a line on stdout.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A submission's id.", show_default=False)]


@app.command("ls")
def list_entries(places: PlaceOption = None, as_json: JsonOption = False) -> None:
    """List the entries: where each came from, its files, and whether all of them are here."""
    for place, store in _stores(_settings(), places):
        sizes = {blob.sha256: blob.size for blob in store.blobs()}
        for name, _ in store.entries():
            row = _row(place, store, name, sizes)
            if as_json:
                typer.echo(json.dumps(row))
            elif "error" in row:
                typer.echo(f"{place.value:<7}  {name}  {row['error']}")
            else:
                lacking = f", {row['absent']} absent" if row["absent"] else ""
                came = f"{row['repo']}@{row['revision'][:8]}/{row['path']}"
                typer.echo(f"{place.value:<7}  {name}  {row['files']} files, {_size(row['bytes'])}{lacking}  {came}")
        if not as_json:
            typer.echo(f"{place.value:<7}  {len(sizes)} distinct files, {_size(sum(sizes.values()))}")


@app.command()
def show(submission_id: IdArgument, places: PlaceOption = None, as_json: JsonOption = False) -> None:
    """Show where an entry came from, and each of its files with the places that hold it."""
    stores = _stores(_settings(), places)
    found = {place: store.entry(submission_id) for place, store in stores}
    entry = next((each for each in found.values() if each is not None), None)
    if entry is None:
        raise NotFoundError(
            f"No entry {submission_id!r} is mirrored here.", hint="`datacup-scorer mirror ls` lists those that are."
        )
    files = [{**file.model_dump(mode="json"), "in": _holders(file, stores)} for file in entry.manifest.files]
    source = entry.source
    if as_json:
        manifest = entry.manifest.model_dump(mode="json", exclude={"files"})
        remembered = [place.value for place, each in found.items() if each is not None]
        typer.echo(json.dumps({"source": source.model_dump(), "in": remembered, "manifest": manifest, "files": files}))
        return
    typer.echo(f"{submission_id}: {printable(entry.manifest.method_name)}, by {printable(entry.manifest.author)}")
    typer.echo(f"{source.endpoint} {source.repo}@{source.revision}/{source.path}")
    for file in files:
        where = ", ".join(file["in"]) or "absent"
        typer.echo(f"  {file['sha256']}  {_size(file['size']):>10}  {file['path']}  ({where})")


@app.command()
def verify(
    places: PlaceOption = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Set damaged files aside, and fetch them from the other place.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read every file and compare it with its digest; say which are damaged, and which an entry lacks.

    Exits with status 3 when there are any, unless --repair has replaced them all.
    """
    settings = _settings()
    archiving, bad = _archiving(settings), 0
    for place, store in _stores(settings, places):
        checked = 0
        for what, sha256 in _faults(store):
            checked += not what
            if what:
                if repair and what == "damaged":
                    store.set_aside(sha256)
                replaced = repair and archiving is not None and _replaced(archiving, place, sha256)
                _tell(as_json, place, what, sha256, replaced)
                bad += not replaced
        if as_json:
            typer.echo(json.dumps({"place": place.value, "event": "verified", "sound": checked}))
        else:
            typer.echo(f"{place.value}: {checked} files are what their names say.")
    if bad:
        raise DataFormatError(
            f"{bad} files are damaged or absent.", hint="--repair fetches them from the other place, if they are there."
        )


@app.command()
def push(as_json: JsonOption = False) -> None:
    """Send every entry of this mirror to the archive: what was mirrored before there was one."""
    settings = _settings()
    archiving, mirror = _archiving(settings), Mirror(settings.mirror_root)
    if archiving is None:
        raise UsageError("DATACUP_ARCHIVE is not set.", hint="Set it to the URL of the store that all scorers share.")
    for name, _ in mirror.entries():
        entry = mirror.entry(name)
        if entry is not None:
            sent = archiving.deposit(name, entry)
            typer.echo(json.dumps({"submission": name, "sent": sent}) if as_json else f"{name}  {_size(sent)} sent")


@app.command()
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only say what would be deleted.")] = False,
    grace_days: Annotated[
        float, typer.Option("--grace-days", min=0.0, help="Nothing younger is deleted: an intake may still need it.")
    ] = 7.0,
    places: PlaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete files that no submission known to the leaderboard refers to, whatever became of the submission.

    Asks the leaderboard at DATACUP_ENDPOINT, with the token DATACUP_TOKEN of scope score, which submissions there are.
    Without --yes nothing is deleted.
    """
    settings = _settings()
    grace = grace_days * _DAY_S
    for place, store in _stores(settings, places):
        with LeaderboardClient(settings.require_endpoint(), settings.require_token()) as client:
            known = client.entry_files()
        found = survey(store, known, time.time(), grace)
        freed = collect(store, found, time.time(), grace) if yes else 0
        if as_json:
            typer.echo(json.dumps(_as_json(place, found, freed, deleted=yes)))
        else:
            _say(place, found, freed, deleted=yes)


def _settings() -> ScorerSettings:
    settings = ScorerSettings.read()
    logs.configure(settings.log_level)
    return settings


def _archive(settings: ScorerSettings) -> Archive | None:
    return Archive.open(settings.archive.get_secret_value()) if settings.archive is not None else None


def _archiving(settings: ScorerSettings) -> Archiving | None:
    archive = _archive(settings)
    if archive is None:
        return None
    patience = Patience(lambda: None, settings.intake_seconds, settings.free_bytes)
    return Archiving(Mirror(settings.mirror_root), archive, patience)


def _stores(settings: ScorerSettings, places: list[Place] | None) -> list[tuple[Place, Store]]:
    archive = _archive(settings)
    wanted = places or ([Place.MIRROR, Place.ARCHIVE] if archive is not None else [Place.MIRROR])
    if Place.ARCHIVE in wanted and archive is None:
        raise UsageError("DATACUP_ARCHIVE is not set.", hint="Set it, or leave out `--in archive`.")
    stores: dict[Place, Store] = {Place.MIRROR: Mirror(settings.mirror_root)}
    if archive is not None:
        stores[Place.ARCHIVE] = archive
    return [(place, stores[place]) for place in dict.fromkeys(wanted)]


def _row(place: Place, store: Store, name: str, sizes: dict[str, int]) -> dict[str, Any]:
    row: dict[str, Any] = {"place": place.value, "submission": name}
    try:
        entry = store.entry(name)
    except DataFormatError as error:
        return {**row, "error": error.message}
    if entry is None:
        return {**row, "error": "It was removed a moment ago."}
    files = entry.manifest.files
    return {
        **row,
        **entry.source.model_dump(),
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "absent": sum(sizes.get(file.sha256) != file.size for file in files),
    }


def _holders(file: ManifestFile, stores: list[tuple[Place, Store]]) -> list[str]:
    found = []
    for place, store in stores:
        blob = store.look(file.sha256)
        if blob is not None and blob.size == file.size:
            found.append(place.value)
    return found


def _faults(store: Store) -> Iterator[tuple[str, str]]:
    """Every file with what is wrong with it, nothing for most, and then those that entries lack, each once."""
    present = set()
    for blob in store.blobs():
        present.add(blob.sha256)
        yield ("" if store.digest(blob.sha256) == blob.sha256 else "damaged"), blob.sha256
    entries = (store.entry(name) for name, _ in store.entries())
    files = {file.sha256 for entry in entries if entry is not None for file in entry.manifest.files}
    yield from (("absent", sha256) for sha256 in sorted(files - present))


def _replaced(archiving: Archiving, place: Place, sha256: str) -> bool:
    """Fetch a file from the other place; whether it had it."""
    return archiving.bring_back(sha256) if place is Place.MIRROR else archiving.send_back(sha256)


def _tell(as_json: bool, place: Place, what: str, sha256: str, replaced: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"place": place.value, "event": what, "sha256": sha256, "replaced": replaced}))
    else:
        typer.echo(f"{place.value}: {sha256} is {what}" + (", and was replaced" if replaced else ""))


def _as_json(place: Place, found: Survey, freed: int, *, deleted: bool) -> dict[str, Any]:
    return {
        "place": place.value,
        "deleted": deleted,
        "files": [{"sha256": blob.sha256, "size": blob.size} for blob in found.blobs],
        "entries": list(found.entries),
        "leftovers": [{"name": each.name, "size": each.size} for each in found.leftovers],
        "bytes": found.bytes,
        "freed": freed,
        "kept": {"files": found.kept, "bytes": found.kept_bytes},
        "young": {"files": found.young, "bytes": found.young_bytes},
    }


def _say(place: Place, found: Survey, freed: int, *, deleted: bool) -> None:
    lines = [f"  {blob.sha256}  {_size(blob.size):>10}" for blob in found.blobs]
    lines += [f"  entry {name}, which the leaderboard does not know" for name in found.entries]
    lines += [f"  {each.name}  {_size(each.size):>10}" for each in found.leftovers]
    for line in lines[:_SHOWN]:
        typer.echo(line)
    if len(lines) > _SHOWN:
        typer.echo(f"  and {len(lines) - _SHOWN} more (--json lists all)")
    done = f"{_size(freed)} freed" if deleted else f"{_size(found.bytes)} would be freed; --yes deletes"
    typer.echo(
        f"{place.value}: {len(found.blobs)} files that no submission needs: {done}. "
        f"Kept: {found.kept} needed files ({_size(found.kept_bytes)}), {found.young} young ones "
        f"({_size(found.young_bytes)})."
    )


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
