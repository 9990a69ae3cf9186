"""Pictures of what only one of two subsets chose, on one page that needs no other file, host or script."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from competition.data.atomic import make_folder, write_bytes
from competition.data.shards import SampleSpan, Shard, list_shards, read_payload, scan_samples
from competition.data.tar import Buffer, open_tar
from competition.data.uids import UID_DTYPE, UidArray, load_subset, parse_uid, uids_to_hex
from competition.errors import DataFormatError, UsageError
from competition.progress import Progress, ProgressHook
from participant_kit.subsets.draw import lots
from participant_kit.subsets.info import Overlap
from participant_kit.subsets.stream import count_in_file

PURPOSE = 4
MOST_EXAMPLES = 200
THUMBNAIL_SIDE = 224
MAX_PIXELS = 64_000_000
MAX_CAPTION = 300

_IMAGES = ("jpg", "jpeg", "png", "webp")
_FORMATS = ("JPEG", "PNG", "WEBP")
_SHARDS_TO_SEE = 4
_UNDECODABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@dataclass(frozen=True, slots=True)
class Example:
    """One sample: its uid, its caption as it stands in the shard, and a JPEG; ``None`` where none can be made."""

    uid: str
    caption: str
    thumbnail: bytes | None


@dataclass(slots=True)
class Gallery:
    """Examples of each side, from as many shards as it took.

    Args:
        seed: decides shards and samples.
        only_a: samples that only A has.
        only_b: samples that only B has.
        shards_read: of those that there are.
        shards: that there are.
        shards_damaged: read up to the damage.
    """

    seed: int
    only_a: list[Example] = field(default_factory=list)
    only_b: list[Example] = field(default_factory=list)
    shards_read: int = 0
    shards: int = 0
    shards_damaged: int = 0


def find_examples(
    first: Path, second: Path, shards_dir: Path, count: int, seed: int = 0, progress: ProgressHook | None = None
) -> Gallery:
    """Examples of what only one of two subsets has.

    Shards are read in an order drawn from the seed until there are enough examples of both sides, none giving more
    than a fourth of them (if there are four); inside a shard, lots that belong to seed and uid decide.

    Args:
        first: subset A.
        second: subset B.
        shards_dir: the pool's shards.
        count: of each side at most, from 1 to ``MOST_EXAMPLES``.
        seed: not negative.
        progress: told after every shard.

    Raises:
        UsageError: count or seed is out of range.
        DataFormatError: a subset is damaged or unsorted, or the folder holds no shard.
        StorageError: a file cannot be read.
    """
    if not 1 <= count <= MOST_EXAMPLES:
        raise UsageError(f"--examples {count} is not between 1 and {MOST_EXAMPLES}.")
    if seed < 0:
        raise UsageError(f"--seed {seed} is negative.")
    subsets = [load_subset(first), load_subset(second)]
    shards = list_shards(shards_dir).shards
    gallery = Gallery(seed, shards=len(shards))
    share = -(-count // min(_SHARDS_TO_SEE, len(shards)))
    for position in np.random.default_rng(seed).permutation(len(shards)):
        missing = [count - len(gallery.only_a), count - len(gallery.only_b)]
        if not any(missing):
            break
        _read_shard(shards[position], subsets, gallery, [min(share, each) for each in missing])
        gallery.shards_read += 1
        if progress is not None:
            progress(Progress("reading shards", gallery.shards_read, len(shards), 0, shards[position].name))
    return gallery


def _read_shard(shard: Shard, subsets: Sequence[UidArray], gallery: Gallery, wanted: Sequence[int]) -> None:
    with open_tar(shard.path) as buffer:
        spans, uids, _, damaged = readable_samples(buffer, shard)
        gallery.shards_damaged += damaged
        inside = [count_in_file(uids, subset) > 0 for subset in subsets]
        order = np.argsort(lots(uids, gallery.seed, PURPOSE), kind="stable")
        for side, mine, other, number in (
            (gallery.only_a, inside[0], inside[1], wanted[0]),
            (gallery.only_b, inside[1], inside[0], wanted[1]),
        ):
            for row in order[(mine & ~other)[order]][:number]:
                side.append(example(uids[row : row + 1], buffer, spans[row]))


class Readable(NamedTuple):
    """Samples of a shard that have a uid, their uids, how many others there are, and whether it ends in damage."""

    spans: list[SampleSpan]
    uids: UidArray
    without_uid: int
    damaged: bool


def readable_samples(buffer: Buffer, shard: Shard) -> Readable:
    """Look through an opened shard up to its end or its damage."""
    spans, pairs, others, damaged = [], [], 0, False
    try:
        for span in scan_samples(buffer, shard.path):
            uid = _uid(read_payload(buffer, span.members["json"])) if "json" in span.members else None
            if uid is None:
                others += 1
            else:
                spans.append(span)
                pairs.append(uid)
    except DataFormatError:
        damaged = True
    return Readable(spans, np.array(pairs, dtype=UID_DTYPE), others, damaged)


def _uid(content: bytes) -> tuple[int, int] | None:
    """The uid in a sample's json; ``None`` where there is none."""
    try:
        return parse_uid(json.loads(content)["uid"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DataFormatError):
        return None


def example(uid: UidArray, buffer: Buffer, span: SampleSpan, side: int = THUMBNAIL_SIDE) -> Example:
    """A sample of an opened shard.

    Args:
        uid: its uid, alone in an array.
        buffer: the shard.
        span: where the sample lies in it.
        side: of the thumbnail, in pixels.
    """
    members = {name: read_payload(buffer, member) for name, member in span.members.items()}
    image = next((members[name] for name in _IMAGES if name in members), None)
    caption = members.get("txt", b"").decode("utf-8", errors="replace").strip()
    return Example(uids_to_hex(uid)[0], caption, None if image is None else thumbnail(image, side))


def thumbnail(data: bytes, side: int = THUMBNAIL_SIDE) -> bytes | None:
    """A JPEG of at most ``side`` pixels each way; ``None`` of bytes that are no image, or one of very many pixels."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            small = image.convert("RGB")
        small.thumbnail((side, side))
        encoded = io.BytesIO()
        small.save(encoded, "JPEG", quality=85)
    except _UNDECODABLE:
        return None
    return encoded.getvalue()


def write_page(path: Path, names: tuple[str, str], overlap: Overlap, gallery: Gallery) -> None:
    """The page: numbers of the comparison, then both sides' examples. The same gallery always gives the same bytes.

    Raises:
        UsageError: the path does not end in ``.html``.
        StorageError: it cannot be written.
    """
    save_page(path, _page(names, overlap, gallery))


def save_page(path: Path, lines: Iterable[str]) -> None:
    """Write lines of HTML. Raises as ``write_page`` does."""
    if path.suffix != ".html":
        raise UsageError(f"The save path {path} does not end in .html.")
    make_folder(path.parent)
    write_bytes(path, "\n".join(lines).encode())


_STYLE = """
body{font:15px/1.4 system-ui,sans-serif;margin:2rem;color:#1b1b1b;background:#fff}
table{border-collapse:collapse}td,th{padding:.2rem 1rem .2rem 0;text-align:right}th:first-child{text-align:left}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(180px,1fr));gap:1rem}
figure{margin:0}img,.none{width:100%;aspect-ratio:1;object-fit:contain;background:#eee}
.none{display:grid;place-items:center}figcaption{overflow-wrap:anywhere}code{font-size:11px;color:#555}
"""


def _page(names: tuple[str, str], overlap: Overlap, gallery: Gallery) -> Iterator[str]:
    first, second = (html.escape(name) for name in names)
    yield "<!doctype html>"
    yield f'<html lang="en"><head><meta charset="utf-8"><title>{first} and {second}</title>'
    # Nothing is loaded or run, whatever a caption may say.
    yield """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; """
    yield f"""style-src 'unsafe-inline'"><style>{_STYLE}</style></head><body>"""
    yield f"<h1>A = {first}, B = {second}</h1>"
    yield "<table><tr><th></th><th>rows</th><th>different samples</th></tr>"
    for label, rows, distinct in (
        ("A", overlap.rows[0], overlap.distinct[0]),
        ("B", overlap.rows[1], overlap.distinct[1]),
        ("common", overlap.common_rows, overlap.common_distinct),
        ("only in A", overlap.only_rows[0], overlap.only_distinct[0]),
        ("only in B", overlap.only_rows[1], overlap.only_distinct[1]),
    ):
        yield f"<tr><th>{label}</th><td>{rows:,}</td><td>{distinct:,}</td></tr>"
    yield f"<tr><th>Jaccard</th><td>{overlap.jaccard_rows:.4f}</td><td>{overlap.jaccard_distinct:.4f}</td></tr></table>"
    damaged = f", {gallery.shards_damaged} of them damaged" if gallery.shards_damaged else ""
    yield f"<p>Examples from {gallery.shards_read} of {gallery.shards} shards{damaged}; seed {gallery.seed}.</p>"
    for title, examples in ((f"Only in A: {first}", gallery.only_a), (f"Only in B: {second}", gallery.only_b)):
        yield f"<h2>{title}</h2>"
        yield '<div class="grid">' if examples else "<p>No sample.</p><div>"
        yield from map(_figure, examples)
        yield "</div>"
    yield "</body></html>"


def _figure(example: Example) -> str:
    caption = example.caption
    shown = html.escape(caption if len(caption) <= MAX_CAPTION else f"{caption[:MAX_CAPTION]}…")
    if example.thumbnail is None:
        picture = '<div class="none">no picture</div>'
    else:
        encoded = base64.b64encode(example.thumbnail).decode()
        picture = f'<img src="data:image/jpeg;base64,{encoded}" alt="">'
    return f"<figure>{picture}<figcaption>{shown}<br><code>{example.uid}</code></figcaption></figure>"
