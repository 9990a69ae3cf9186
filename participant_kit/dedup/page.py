"""Pictures of groups on one page that needs no other file, host or script."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from competition.errors import UsageError
from competition.progress import Progress, ProgressHook
from participant_kit.dedup.groups import Groups, summary
from participant_kit.dedup.image_sets import ImageSet
from participant_kit.subsets.gallery import save_page, thumbnail

MOST_GROUPS = 500
MOST_MEMBERS = 200


@dataclass(frozen=True, slots=True)
class Member:
    """One picture of a group: its name, its role, what was measured, and a JPEG; ``None`` where there is none."""

    name: str
    role: str
    measure: float
    picture: bytes | None


@dataclass(slots=True)
class Sheet:
    """The groups that are shown.

    Args:
        groups: members of each.
        sizes: all members of each, shown or not.
        missing: ids that no image set has.
        undecodable: ids whose image cannot be decoded.
    """

    groups: list[list[Member]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    missing: int = 0
    undecodable: int = 0


def draw_sheet(
    groups: Groups, images: Sequence[Path], count: int = 50, members: int = 12, progress: ProgressHook | None = None
) -> Sheet:
    """Find the pictures of the largest groups.

    Args:
        groups: of any way to find duplicates.
        images: folders of images or shards, in which ids are looked up, the first that has one counts.
        count: groups at most, from 1 to ``MOST_GROUPS``.
        members: of each group at most, from 1 to ``MOST_MEMBERS``.
        progress: told after every shard.

    Raises:
        UsageError: a number is out of range.
        DataFormatError: a folder holds no image, or a shard is damaged.
        StorageError: a file cannot be read.
    """
    for flag, value, most in (("--groups", count, MOST_GROUPS), ("--members", members, MOST_MEMBERS)):
        if not 1 <= value <= most:
            raise UsageError(f"{flag} {value} is not between 1 and {most}.")
    rows: list[list[int]] = [[] for _ in range(min(count, groups.count))]
    sheet = Sheet(sizes=[0] * len(rows))
    for row, number in enumerate(groups.numbers.tolist()):
        if number < len(rows):
            sheet.sizes[number] += 1
            if len(rows[number]) < members:
                rows[number].append(row)
    pictures = _pictures({groups.ids[row] for group in rows for row in group}, images, progress)
    for group in rows:
        sheet.groups.append([_member(groups, row, pictures) for row in group])
        names = [groups.ids[row] for row in group]
        sheet.missing += sum(name not in pictures for name in names)
        sheet.undecodable += sum(name in pictures and pictures[name] is None for name in names)
    return sheet


def _member(groups: Groups, row: int, pictures: dict[str, bytes | None]) -> Member:
    name = groups.ids[row]
    return Member(name, groups.roles[row], float(groups.measures[row]), pictures.get(name))


def _pictures(wanted: set[str], images: Sequence[Path], progress: ProgressHook | None) -> dict[str, bytes | None]:
    """Thumbnails by id; parts are read until all are found."""
    found: dict[str, bytes | None] = {}
    sets = [ImageSet.of(root) for root in images]
    total, done = sum(len(each.parts) for each in sets), 0
    for each in sets:
        for part in each.parts:
            if len(found) == len(wanted):
                return found
            for name, data in each.images(part):
                if name in wanted and name not in found:
                    found[name] = None if data is None else thumbnail(data)
            done += 1
            if progress is not None:
                progress(Progress("reading images", done, total, 0, part))
    return found


def write_page(path: Path, title: str, groups: Groups, sheet: Sheet) -> None:
    """The page: numbers, then group after group. The same sheet always gives the same bytes.

    Raises:
        UsageError: the path does not end in ``.html``.
        StorageError: it cannot be written.
    """
    save_page(path, _page(title, groups, sheet))


_STYLE = """
body{font:15px/1.4 system-ui,sans-serif;margin:2rem;color:#1b1b1b;background:#fff}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(120px,1fr));gap:.75rem}
figure{margin:0;padding:4px;border:3px solid #ddd}figure.kept,figure.reference{border-color:#1a7f37}
figure.dropped,figure.query{border-color:#c62828}
img,.none{width:100%;aspect-ratio:1;object-fit:contain;background:#eee}.none{display:grid;place-items:center}
figcaption{font-size:12px;overflow-wrap:anywhere}code{font-size:10px;color:#555}h2{font-size:1rem;margin:1.5rem 0 .5rem}
"""


def _page(title: str, groups: Groups, sheet: Sheet) -> Iterator[str]:
    name = html.escape(title)
    yield "<!doctype html>"
    yield f'<html lang="en"><head><meta charset="utf-8"><title>Duplicates: {name}</title>'
    # Nothing is loaded or run, whatever a file may be called.
    yield """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; """
    yield f"""style-src 'unsafe-inline'"><style>{_STYLE}</style></head><body>"""
    yield f"<h1>Duplicates: {name}</h1>"
    found = summary(groups)
    yield f"<p>{found['groups']:,} groups of {found['members']:,} images; the largest has {found['largest']:,}. "
    yield f"Shown: the {len(sheet.groups):,} largest. Green: kept, or a reference. Red: dropped, or a query.</p>"
    if sheet.missing or sheet.undecodable:
        yield f"<p>{sheet.missing:,} pictures not found, {sheet.undecodable:,} cannot be decoded.</p>"
    for number, (members, size) in enumerate(zip(sheet.groups, sheet.sizes, strict=True), 1):
        more = f", {len(members)} shown" if size > len(members) else ""
        yield f"<h2>Group {number}: {size:,} images{more}</h2>"
        yield '<div class="grid">'
        yield from map(_figure, members)
        yield "</div>"
    yield "</body></html>"


def _figure(member: Member) -> str:
    if member.picture is None:
        picture = '<div class="none">no picture</div>'
    else:
        encoded = base64.b64encode(member.picture).decode()
        picture = f'<img src="data:image/jpeg;base64,{encoded}" alt="">'
    measured = "" if math.isnan(member.measure) else f" {member.measure:.4g}"
    role = html.escape(member.role)
    said = f"{role}{measured}<br><code>{html.escape(member.name)}</code>"
    return f'<figure class="{role}">{picture}<figcaption>{said}</figcaption></figure>'
