"""A description as one page that needs no other file, host or script. The same description gives the same bytes."""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from participant_kit.describe import plots
from participant_kit.describe.classes import Classes
from participant_kit.describe.description import Description
from participant_kit.describe.duplicates import MAX_BITS, Duplicates
from participant_kit.describe.missing import Missing
from participant_kit.describe.page_style import STYLE
from participant_kit.describe.pictures import Cell, Grid, Pictures
from participant_kit.describe.quantities import CAPTIONS, QUANTILES, SCORES, SIZES, Distribution, Quantity
from participant_kit.subsets.gallery import Example, save_page

MAX_CAPTION = 120
MAX_NAME = 200
_MOST_LISTED = 50
_SHORT = 16
"""Characters of a table's cell that is not broken."""

_NO_NUMBER = "–"

Lines = Iterator[str]


@dataclass(frozen=True, slots=True)
class _Section:
    """A part of the page: where links lead, its heading, and what it holds."""

    key: str
    title: str
    lines: Callable[[Description], Lines]


def write_page(path: Path, description: Description) -> None:
    """Write the page.

    Raises:
        UsageError: the path does not end in ``.html``.
        StorageError: it cannot be written.
    """
    save_page(path, page_lines(description))


def page_lines(description: Description) -> Lines:
    """The page's HTML."""
    title = plain(description.dataset.name)
    yield "<!doctype html>"
    yield f'<html lang="en"><head><meta charset="utf-8"><title>Dataset: {title}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    # Nothing is loaded or run, whatever a caption may say.
    yield """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; """
    yield f"""style-src 'unsafe-inline'"><meta name="color-scheme" content="light dark"><style>{STYLE}</style></head>"""
    yield f"<body><header><h1>{title}</h1><p>{plain(description.dataset.said)}</p></header>"
    yield '<nav aria-label="Contents"><ul>'
    yield from (f'<li><a href="#{each.key}">{each.title}</a></li>' for each in _SECTIONS)
    yield "</ul></nav><main>"
    for section in _SECTIONS:
        yield f'<section id="{section.key}"><h2>{section.title}</h2>'
        yield from section.lines(description)
        yield "</section>"
    yield "</main></body></html>"


def plain(text: str, most: int = MAX_NAME) -> str:
    """A stranger's text on one line: cut, without control characters, escaped."""
    cut = text if len(text) <= most else f"{text[:most]}…"
    return html.escape("".join(each if each.isprintable() else " " if each.isspace() else "�" for each in cut))


def _rows(description: Description) -> Lines:
    rows = description.rows
    figures = [("rows", f"{rows.rows:,}"), ("different samples", f"{rows.distinct:,}"), ("copies", f"{rows.copies:,}")]
    yield from _figures([*figures, ("most copies of one", f"{rows.most_copies:,}")])
    notes = []
    if rows.read > rows.rows:
        notes.append(f"The pool has {rows.read:,} rows: this is {rows.rows / rows.read:.1%} of it.")
    if rows.not_found:
        notes.append(f"{rows.not_found:,} of the dataset's uids are not in the pool: nothing is known of them.")
    if rows.without_uid:
        notes.append(f"{rows.without_uid:,} samples of the shards have no uid, and are left out.")
    if rows.damaged_shards:
        names = ", ".join(plain(name) for name in rows.damaged_shards[:_MOST_LISTED])
        notes.append(f"{len(rows.damaged_shards):,} shards are damaged, and read up to the damage: {names}.")
    yield from (f"<p>{note}</p>" for note in notes)


def _distributions(quantities: Sequence[Quantity], note: str) -> Callable[[Description], Lines]:
    def lines(description: Description) -> Lines:
        found = [(quantity.title, description.distributions[quantity.key]) for quantity in quantities]
        yield '<div class="plots">'
        for title, each in found:
            yield from _missing(each, title) if isinstance(each, Missing) else _distribution(each)
        yield "</div>" + f"<p>{note}</p>"

    return lines


def _distribution(each: Distribution) -> Lines:
    quantity, counts = each.quantity, each.shown().tolist()
    unit = "" if quantity.unit in {"", "cosine"} else f" {quantity.unit}"
    yield f"<figure><figcaption>{quantity.title}</figcaption>"
    counted, edges = quantity.counted, quantity.shown.tolist()
    yield plots.histogram(f"{quantity.title}: {counted}", edges, counts, quantity.unit, counted)
    yield f"<p>Median {_value(each.quantile(0.5))}{unit}; 90 % of {counted} from {_value(each.quantile(0.05))} to "
    yield f"{_value(each.quantile(0.95))}." + (f" {each.missing:,} {counted} without.</p>" if each.missing else "</p>")
    names = plots.bin_names(edges)
    table = [(name, f"{count:,}", _share(count, each.rows)) for name, count in zip(names, counts, strict=True) if count]
    yield "<details><summary>Table</summary>"
    yield from _table((quantity.unit or "ratio", counted, "share"), table)
    yield from _table(("quantile", "value"), [(f"{share:.0%}", _value(each.quantile(share))) for share in QUANTILES])
    yield "</details></figure>"


def _languages(description: Description) -> Lines:
    found = description.languages
    if isinstance(found, Missing):
        yield from _missing(found)
        return
    named = [(plain(name, 12) or "none", count) for name, count in found.counts.items()]
    bars = [*named, *([("others", found.others)] if found.others else [])]
    sample = "a sample of " if found.sampled else ""
    yield f"<p>Likeliest language of {sample}{found.captions:,} captions, by fastText's lid.176. Very short captions, "
    yield "and those of numbers or names, are often taken for a rare language.</p><figure>"
    yield plots.named_bars("Captions by language", bars)
    yield "<details><summary>Table</summary>"
    table = [(name, f"{count:,}", _share(count, found.captions)) for name, count in bars]
    yield from _table(("language", "captions", "share"), table)
    yield "</details></figure>"


def _duplicates(description: Description) -> Lines:
    yield "<h3>Byte for byte</h3>"
    yield from _groups(description.exact, "sha256")
    yield "<h3>To the eye</h3>"
    yield from _groups(description.perceptual, f"perceptual hash (at most {MAX_BITS} of 64 bits apart)")
    yield from _grids(description, "exact", "perceptual")
    yield "<h3>By content</h3>"
    found = description.look_alikes
    if isinstance(found, Missing):
        yield from _missing(found)
        return
    yield f"<p>{found.sampled:,} samples, drawn by lot, were compared with all {found.rows:,} rows by their features: "
    yield f"{found.alike:,} of them (<strong>{found.share:.1%}</strong>) have another sample with a cosine of at least "
    yield f"{found.threshold:g}.{_without(found.missing)}</p>" + '<div class="plots">'
    yield from _distribution(found.similarities)
    yield "</div>"
    yield from _grids(description, "look_alikes")


def _groups(found: Duplicates | Missing, way: str) -> Lines:
    if isinstance(found, Missing):
        yield from _missing(found)
        return
    share = _share(found.redundant, found.compared)
    yield f"<p>By {way}, {found.members:,} of {found.compared:,} different samples are in {_groups_of(found.groups)}; "
    yield f"{found.redundant:,} ({share}) are one too many. The largest group has {found.largest:,} samples."
    yield f"{f' {found.missing:,} samples have no such mark.' if found.missing else ''}</p>"


def _groups_of(count: int) -> str:
    return "1 group" if count == 1 else f"{count:,} groups"


def _contamination(description: Description) -> Lines:
    found = description.contamination
    if isinstance(found, Missing):
        yield from _missing(found)
        return
    yield f"<p><strong>{found.leaked:,}</strong> of {found.rows:,} rows have features "
    yield f"(<code>{plain(found.features)}</code>) with a cosine above {found.threshold:g} with one of "
    yield f"{found.references:,} evaluation images; {found.found:,} of these are found.{_without(found.missing)}</p>"
    yield from _grids(description, "contaminated")


def _coverage(description: Description) -> Lines:
    found = description.coverage
    if isinstance(found, Missing):
        yield from _missing(found)
        return
    figures = [
        (
            f"of {found.references:,} references have a row with a cosine of at least {found.threshold:g}",
            f"{found.share:.1%}",
        )
    ]
    if found.ball_coverage is not None and found.density is not None:
        figures.append((f"coverage (Naeem et al. 2020, k = {found.neighbour})", f"{found.ball_coverage:.3f}"))
        figures.append(("density (likewise)", f"{found.density:.3f}"))
    yield from _figures(figures)
    yield f"<p>{found.rows:,} rows were compared.{_without(found.missing)}</p>" + '<div class="plots">'
    yield from _distribution(found.similarities)
    yield "</div><details><summary>The least covered references</summary>"
    table = [(plain(pair.first), f"{pair.cosine:.4f}", plain(pair.second)) for pair in found.least]
    yield from _table(("reference", "cosine", "nearest row"), table)
    yield "</details>"
    yield from _grids(description, "least_covered")


def _classes(description: Description) -> Lines:
    found = description.classes
    if isinstance(found, Missing):
        yield from _missing(found)
        return
    balance = found.balance
    yield from _figures([
        ("classes with a sample", f"{balance.coverage:,} of {balance.classes:,}"),
        ("below 500 samples (LT@500)", f"{balance.few:,}"),
        ("of all samples are of the largest 5 % of classes (LS@5pct)", f"{balance.largest_share:.1f} %"),
        ("largest by smallest class", f"{balance.imbalance:,.1f}"),
        ("samples of a class, median", f"{balance.median:,g}"),
    ])  # fmt: skip
    ordered = sorted(found.counts.items(), key=lambda item: (-item[1], item[0]))
    yield '<div class="plots"><figure><figcaption>Samples of each class</figcaption>'
    yield plots.rank_curve("Samples of classes by rank", [count for _, count in ordered])
    yield "<details><summary>Table</summary>"
    yield from _table(("class", "samples"), [(plain(name), f"{count:,}") for name, count in ordered[:_MOST_LISTED]])
    more = len(ordered) - _MOST_LISTED
    yield f"{f'<p>{more:,} more are in the JSON file.</p>' if more > 0 else ''}</details></figure>"
    yield from _answers(found)
    yield "</div>"
    empty = [name for name, count in found.counts.items() if not count]
    if empty:
        listed = ", ".join(plain(name) for name in empty[:_MOST_LISTED])
        yield f"<p>Without a sample ({len(empty):,}): {listed}{' …' if len(empty) > _MOST_LISTED else ''}.</p>"
    yield from _grids(description, *(grid.key for grid in description.grids if grid.key.startswith("class_")))


_CORRELATIONS = {
    "R_A_CC": "accuracy and samples of the class",
    "R_P_CC": "precision and samples of the class",
    "R_P_R": "precision and recall",
    "R_A_CS": "accuracy and skew of confusions",
    "R_INA_A": "accuracy and the reference's accuracy",
    "R_INAV_AV": "samples of the class, here and in the reference",
}


def _answers(found: Classes) -> Lines:
    """A model's accuracy beside the classes' samples, and SELECT's correlations."""
    if isinstance(found.scores, Missing) or isinstance(found.correlations, Missing):
        missing = found.scores if isinstance(found.scores, Missing) else found.correlations
        yield from _missing(missing, "A model's accuracy by class") if isinstance(missing, Missing) else ()
        return
    accuracy = found.scores["accuracy"].tolist()
    each = zip(found.counts.items(), accuracy, strict=True)
    points = [(float(count), value, name) for (name, count), value in each if value >= 0]
    yield "<figure><figcaption>A model's accuracy by class</figcaption>"
    yield plots.dots("Accuracy by samples of the class", points, "samples of the class", "accuracy")
    yield "<details open><summary>Pearson's correlations over classes (SELECT)</summary>"
    rows = [(key, said, _number(found.correlations[key])) for key, said in _CORRELATIONS.items()]
    yield from _table(("", "of", "r"), rows)
    yield f"<p>{_NO_NUMBER}: the file has no such scores, or they are the same for all classes.</p></details></figure>"


def _samples(description: Description) -> Lines:
    pictures = description.pictures
    if isinstance(pictures, Missing):
        yield from _missing(pictures)
        return
    cells = {cell.uid for grid in description.grids for cell in grid.cells}
    absent = len(cells - set(pictures.found))
    said = [f"{pictures.read:,} of {pictures.shards:,} shards were read for the pictures of this page"]
    named = {
        "samples are not in them": absent,
        "samples have no picture that can be decoded": pictures.undecodable,
        "pictures are left out for their size": pictures.left_out,
        "of these shards are damaged": pictures.damaged,
    }
    said += [f"{count:,} {what}" for what, count in named.items() if count]
    yield f"<p>{'; '.join(said)}.</p>"
    yield from _grids(description, "random", "best", "worst")


def _grids(description: Description, *keys: str) -> Lines:
    pictures = description.pictures
    if isinstance(pictures, Missing):
        return
    for grid in description.grids:
        if grid.key in keys:
            yield from _grid(grid, pictures)


def _grid(grid: Grid, pictures: Pictures) -> Lines:
    yield f'<h3>{plain(grid.title)}</h3><div class="samples">'
    for cell in grid.cells:
        yield _cell(cell, pictures.found.get(cell.uid))
    yield "</div>" if grid.cells else "</div><p>No sample.</p>"


def _cell(cell: Cell, found: Example | None) -> str:
    note = f"<strong>{plain(cell.note)}</strong> " if cell.note else ""
    if found is None or found.thumbnail is None:
        picture = f'<div class="none">{"not in the shards read" if found is None else "no picture"}</div>'
    else:
        encoded = base64.b64encode(found.thumbnail).decode()
        picture = f'<img src="data:image/jpeg;base64,{encoded}" alt="">'
    caption = plain(found.caption, MAX_CAPTION) if found is not None else ""
    said = f'{note}<span dir="auto">{caption}</span><code>{plain(cell.uid)}</code>'
    return f"<figure>{picture}<figcaption>{said}</figcaption></figure>"


def _provenance(description: Description) -> Lines:
    made = description.provenance
    rows = [
        ("command", f"<code>{plain(made.command, 2000)}</code>"),
        ("code version", plain(made.code_version)),
        ("seed", str(made.seed)),
        ("uids, sha256", f"<code>{made.uids_sha256}</code>"),
    ]
    named = (
        ("names and sizes of metadata, sha256", made.metadata_sha256),
        ("names and sizes of shards, sha256", made.shards_sha256),
    )
    rows += [(name, f"<code>{value}</code>") for name, value in named if value]
    for role, file in made.files.items():
        digest = next(value for key, value in file.items() if key != "file")
        rows.append((plain(role.replace("_", " ")), f"{plain(file['file'])}<br><code>{plain(digest)}</code>"))
    yield '<dl class="made">'
    yield from (f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    yield "</dl>"


def _missing(missing: Missing, title: str = "") -> Lines:
    name = f"{title}: not" if title else "Not"
    yield f'<p class="missing">{name} available: {_with_code(missing.why)}. {_with_code(missing.todo)}</p>'


def _figures(figures: Sequence[tuple[str, str]]) -> Lines:
    yield '<dl class="figures">'
    yield from (f"<div><dd>{value}</dd><dt>{name}</dt></div>" for name, value in figures)
    yield "</dl>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Lines:
    """Cells are HTML. A column whose cells are all short is never broken."""
    short = [all(len(row[place]) <= _SHORT for row in rows) for place in range(len(columns))]
    kinds = [' class="short"' if each else "" for each in short]
    head = "".join(f"<th{kind}>{column}</th>" for kind, column in zip(kinds, columns, strict=True))
    yield f"<table><thead><tr>{head}</tr></thead><tbody>"
    for row in rows:
        yield "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
    yield "</tbody></table>"


def _with_code(text: str) -> str:
    """Our own sentence, in which backticks enclose code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", plain(text))


def _value(value: float | None) -> str:
    return _NO_NUMBER if value is None else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else _NO_NUMBER


def _share(count: int, total: int) -> str:
    share = count / max(1, total)
    return f"{share:.1%}" if share >= 0.01 or not count else f"{share:.2g}" if share < 1e-4 else f"{share:.2%}"


def _without(missing: int) -> str:
    return f" {missing:,} rows have no features." if missing else ""


_EVEN = "A bin holds values from its lower edge on."
_UNEVEN = f"{_EVEN} Bins are not equally wide."

_SECTIONS = (
    _Section("rows", "Rows", _rows),
    _Section("samples", "Samples", _samples),
    _Section("classes", "Classes", _classes),
    _Section("sizes", "Sizes", _distributions(SIZES, _UNEVEN)),
    _Section("captions", "Captions", _distributions(CAPTIONS, _UNEVEN)),
    _Section("languages", "Languages", _languages),
    _Section("scores", "CLIP scores", _distributions(SCORES, _EVEN)),
    _Section("duplicates", "Duplicates", _duplicates),
    _Section("contamination", "Contamination", _contamination),
    _Section("coverage", "Coverage of a reference", _coverage),
    _Section("made", "How this page was made", _provenance),
)
