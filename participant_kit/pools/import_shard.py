"""One shard of an import, made in a worker: samples of files or of a tar, checked, named and given uids."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from competition.data.atomic import atomic_writer, storage_errors
from competition.data.shards import Sample, read_samples, write_shard
from competition.data.tar import MAX_MEMBER_BYTES

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
_MEMBERS = tuple(suffix[1:] for suffix in IMAGE_SUFFIXES)
_ABOUT_ORIGINAL = ("original_width", "original_height", "sha256")
_UID = re.compile(r"[0-9a-f]{32}")
_LOG = pa.schema(
    [("uid", pa.string()), ("caption", pa.string()), ("source", pa.string()), ("key", pa.string())]
    + [("status", pa.string()), ("error_message", pa.string())]
    + [(name, pa.int32()) for name in ("width", "height", "original_width", "original_height")]
    + [("sha256", pa.string())]
)


@dataclass(frozen=True, slots=True)
class FileTask:
    """A shard of the images ``names`` below ``source``; ``captions`` of them, unless they are beside the images."""

    number: int
    shards: Path
    source: Path
    names: tuple[str, ...]
    captions: tuple[str | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class TarTask:
    """A shard of the samples of a webdataset's tar."""

    number: int
    shards: Path
    source: Path


@dataclass(slots=True)
class _Found:
    """An image and what is known of it; ``json`` and ``others`` are what a webdataset has beside it."""

    source: str
    image: bytes | None
    caption: str
    described: dict[str, Any] = field(default_factory=dict)
    others: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class _Tally:
    dropped: Counter[str] = field(default_factory=Counter)
    without_caption: int = 0
    kept_uids: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)


def make_shard(task: FileTask | TarTask) -> dict[str, Any]:
    """Write tar, log and statistics of one shard; returns counts: samples, dropped by reason, and so on.

    Raises:
        DataFormatError: a tar is damaged.
        StorageError: the disk is full, or a file cannot be read.
    """
    tally = _Tally()
    found = _files(task) if isinstance(task, FileTask) else _members(task)
    stats: dict[str, Any] = {}
    count, _ = write_shard(task.shards, task.number, _samples(task.number, found, tally, stats), stats)
    with atomic_writer(task.shards / f"{task.number:08d}.parquet") as stream:
        pq.write_table(pa.Table.from_pylist(tally.log, schema=_LOG), stream)
    return {
        "samples": count,
        "dropped": dict(tally.dropped),
        "without_caption": tally.without_caption,
        "kept_uids": tally.kept_uids,
    }


def storable(text: str) -> str:
    """The text without what UTF-8 cannot hold: halves of characters, from file names and from JSON."""
    return text.encode("utf-8", "replace").decode()


def _files(task: FileTask) -> Iterator[_Found]:
    for place, name in enumerate(task.names):
        path = task.source / name
        with storage_errors("reading", path):
            image = path.read_bytes() if path.stat().st_size <= MAX_MEMBER_BYTES else None
        caption = task.captions[place] if task.captions is not None else _beside(path)
        yield _Found(storable(name), image, storable(caption or ""))


def _beside(image: Path) -> str:
    """The caption in the ``.txt`` or ``.json`` next to an image."""
    text, described = image.with_suffix(".txt"), image.with_suffix(".json")
    with storage_errors("reading", image.parent):
        if text.is_file():
            return text.read_bytes().decode(errors="replace").strip()
        if described.is_file():
            return _caption(_parsed(described.read_bytes()))
    return ""


def _members(task: TarTask) -> Iterator[_Found]:
    for sample in read_samples(task.source):
        members = dict(sample.members)
        extension = next((name for name in _MEMBERS if name in members), None)
        image = members.pop(extension) if extension else None
        described = _parsed(members.pop("json", b"{}"))
        text = members.pop("txt", None)
        caption = text.decode(errors="replace").strip() if text is not None else _caption(described)
        yield _Found(sample.key, image, storable(caption), described, members)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _caption(described: dict[str, Any]) -> str:
    return next((value.strip() for name in ("caption", "text") if isinstance(value := described.get(name), str)), "")


def _samples(number: int, found: Iterator[_Found], tally: _Tally, stats: dict[str, Any]) -> Iterator[Sample]:
    """The samples that can be used; what becomes of each is put into the tally, and at the end into the stats."""
    place = 0
    for item in found:
        size, problem = _inspect(item.image)
        key = f"{number:08d}{place:04d}"
        place += 1
        if size is None or item.image is None:
            tally.dropped[problem] += 1
            tally.log.append({"source": item.source, "key": key, "status": "failed", "error_message": problem})
            continue
        tally.without_caption += not item.caption
        row = _row(item, item.image, key, size, tally)
        tally.log.append(row)
        described = {**item.described, **row, **_told(item, row)}
        yield Sample(
            key,
            {
                problem: item.image,
                "txt": item.caption.encode(),
                "json": json.dumps(described, ensure_ascii=False).encode("utf-8", "replace"),
                **item.others,
            },
        )
    stats |= {"count": place, "status_dict": {"success": place - tally.dropped.total(), **tally.dropped}}


def _inspect(data: bytes | None) -> tuple[tuple[int, int] | None, str]:
    """Width and height, and the extension; or None, and the reason why it cannot be used. Pixels are not decoded."""
    if data is None:
        return None, "no image, or one that is too large"
    try:
        with Image.open(io.BytesIO(data), formats=tuple(_EXTENSIONS)) as image:
            return image.size, _EXTENSIONS[str(image.format)]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None, "not a JPEG, PNG or WebP image"


def _row(item: _Found, image: bytes, key: str, size: tuple[int, int], tally: _Tally) -> dict[str, Any]:
    told = item.described.get("uid")
    own = isinstance(told, str) and _UID.fullmatch(told) is not None
    tally.kept_uids += own
    content = hashlib.sha256(image)
    uid = hashlib.blake2b(content.digest() + item.caption.encode(), digest_size=16).hexdigest()
    return {
        "uid": told if own else uid,
        "caption": item.caption,
        "source": item.source,
        "key": key,
        "status": "success",
        "error_message": None,
        "width": size[0],
        "height": size[1],
        "original_width": size[0],
        "original_height": size[1],
        "sha256": content.hexdigest(),
    }


def _told(item: _Found, row: dict[str, Any]) -> dict[str, Any]:
    """What a sample that keeps its uid keeps, too: it is about the original, which is not here."""
    if item.described.get("uid") != row["uid"]:
        return {}
    return {name: item.described[name] for name in _ABOUT_ORIGINAL if name in item.described}
