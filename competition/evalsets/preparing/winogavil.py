"""WinoGAViL from what is published: the table of instances with its images, or the dataset that DataComp loads.

* ``winogavil_dataset.csv`` (columns ``cue``, ``candidates`` and ``associations``, the latter two as JSON lists) beside
  ``winogavil_images.zip`` unpacked: images ``<candidate>.jpg`` somewhere below.
* ``nlphuji/winogavil`` of the Hub as ``save_to_disk`` writes it, or its parquet files: those columns as lists, and
  ``candidate_images``.

Each picture is stored once, under the name that instances have for it; see ``evaluation.winogavil_set``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.data.shards import Sample, write_samples
from competition.errors import DataFormatError, NotFoundError
from competition.evalsets.preparing.images import stored
from competition.evalsets.preparing.saved import Scratch, damages, encoded_image, open_parquet, open_saved
from competition.progress import Progress, ProgressHook

TABLE = "winogavil_dataset.csv"
COLUMNS = ("cue", "candidates", "associations")
_IMAGES = "candidate_images"
_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")
_SHARD_IMAGES = 500
_MAX_CELL = 2**20
_HINT = "Get the source again."


@dataclass(frozen=True)
class WinogavilSource:
    """Instances, and what gives each of the pictures that they name: bytes, or a path.

    Args:
        instances: an object with ``COLUMNS`` each, names in lists.
        image: of a name.
    """

    instances: Sequence[Mapping[str, Any]]
    image: Callable[[str], Any]

    @property
    def names(self) -> list[str]:
        """Of all pictures that instances name, sorted."""
        return sorted({name for fields in self.instances for name in fields["candidates"]})


def read_winogavil(folder: Path, scratch: Scratch) -> WinogavilSource:
    """What is published, from a folder on disk.

    Args:
        folder: of either form.
        scratch: a folder for what is unpacked, which is needed as long as the source is read.

    Raises:
        NotFoundError: it holds neither form, or an image is absent.
        DataFormatError: an instance is none, or two images have one name.
        StorageError: a file cannot be read.
    """
    if not folder.is_dir():
        raise NotFoundError(f"{folder} is no folder.", hint="Give the folder of what is published as --source.")
    with storage_errors("listing", folder):
        tables = sorted(path for path in folder.rglob(TABLE) if not path.name.startswith("."))
    return _from_table(folder, tables[0]) if tables else _from_hub(folder, scratch)


def write_winogavil(made: Path, source: WinogavilSource, progress: ProgressHook | None = None) -> int:
    """Write the set; returns how many pictures it has.

    Raises:
        DataFormatError: an image cannot be decoded.
        StorageError: the disk is full, or an image cannot be read.
    """
    folder, names = made / "test", source.names
    make_folder(folder)
    starts = range(0, len(names), _SHARD_IMAGES)
    for shard, start in enumerate(starts):
        write_samples(folder / f"{shard}.tar", _samples(names[start : start + _SHARD_IMAGES], start, source))
        if progress is not None:
            progress(Progress("preparing winogavil", min(start + _SHARD_IMAGES, len(names)), len(names)))
    write_bytes(folder / "nshards.txt", str(len(starts)).encode())
    lines = [json.dumps({name: fields[name] for name in COLUMNS}, ensure_ascii=False) for fields in source.instances]
    write_bytes(made / "instances.jsonl", ("\n".join(lines) + "\n").encode())
    return len(names)


def _samples(names: Sequence[str], first: int, source: WinogavilSource) -> Iterator[Sample]:
    for number, name in enumerate(names, start=first):
        image = stored(source.image(name), f"{name!r} of winogavil")
        yield Sample(f"s{number:07d}", {image.extension: image.data, "txt": name.encode()})


def _from_table(folder: Path, table: Path) -> WinogavilSource:
    found: dict[str, Path] = {}
    with storage_errors("listing", folder):
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in _EXTENSIONS and not path.name.startswith(".") and path.is_file():
                if path.stem in found:
                    raise DataFormatError(f"{found[path.stem]} and {path} are both called {path.stem!r}.", hint=_HINT)
                found[path.stem] = path
    with storage_errors("reading", table), table.open(encoding="utf-8", errors="replace", newline="") as stream:
        try:
            rows = list(csv.DictReader(stream))
        except csv.Error as error:
            raise DataFormatError(f"{table} is no table: {error}.", hint=_HINT) from error
    instances = [
        _instance({**row, **{name: _listed(row.get(name)) for name in COLUMNS[1:]}}, f"Row {number} of {table}")
        for number, row in enumerate(rows, start=1)
    ]
    source = WinogavilSource(_some(instances, table), found.__getitem__)
    missing = [name for name in source.names if name not in found]
    if missing:
        raise NotFoundError(
            f"{folder} lacks {len(missing)} images of {table.name}, first of all {missing[0]!r}.",
            hint="Unpack winogavil_images.zip there.",
        )
    return source


def _from_hub(folder: Path, scratch: Scratch) -> WinogavilSource:
    import datasets

    dataset = _opened(folder, scratch)
    absent = [name for name in (*COLUMNS, _IMAGES) if name not in dataset.features]
    if absent:
        raise DataFormatError(f"{folder} has no column {absent[0]!r}; it has {', '.join(dataset.features)}.")
    with damages(folder):
        texts = list(dataset.select_columns(list(COLUMNS)))
        undecoded = datasets.Sequence(datasets.Image(decode=False))
        encoded = dataset.select_columns([_IMAGES]).cast_column(_IMAGES, undecoded)
    instances = [_instance(row, f"Instance {number} of {folder}") for number, row in enumerate(texts, start=1)]
    places = {
        name: (row, place)
        for row, fields in reversed(list(enumerate(instances)))
        for place, name in enumerate(fields["candidates"])
    }

    def image(name: str) -> Any:
        row, place = places[name]
        with damages(folder):
            pictures = encoded[row][_IMAGES] or []
        if len(pictures) != len(instances[row]["candidates"]):
            raise DataFormatError(f"Instance {row + 1} of {folder} has {len(pictures)} images.", hint=_HINT)
        return encoded_image(pictures[place], folder, f"The image {name!r} of instance {row + 1}")

    return WinogavilSource(_some(instances, folder), image)


def _opened(folder: Path, scratch: Scratch) -> Any:
    files = sorted(str(path) for path in {*folder.glob("*.parquet"), *folder.glob("*/*.parquet")})
    saved = [name for name in ("dataset_dict.json", "dataset_info.json") if (folder / name).exists()]
    if not files and not saved:
        raise NotFoundError(
            f"{folder} holds neither {TABLE}, nor a saved dataset, nor parquet files.",
            hint="Give the folder of what is published as --source.",
        )
    if not saved:
        return open_parquet(folder, files, scratch)
    found = open_saved(folder)
    if not isinstance(found, dict):
        return found
    if "test" not in found:
        raise NotFoundError(f"{folder} has no split 'test'; it has {', '.join(found)}.")
    return found["test"]


def _listed(cell: Any) -> Any:
    """A list in JSON; a cell that holds none becomes nothing, which is no list of names."""
    if not isinstance(cell, str) or len(cell) > _MAX_CELL:
        return None
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return None


def _instance(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
    cue, candidates, associations = (fields.get(name) for name in COLUMNS)
    if not isinstance(cue, str) or not cue.strip():
        raise DataFormatError(f"{where} has no cue.", hint=_HINT)
    for what, names in (("candidates", candidates), ("associations", associations)):
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            raise DataFormatError(f"{where} has no list of {what}.", hint=_HINT)
        if len(set(names)) != len(names):
            raise DataFormatError(f"{where} names one of its {what} twice.", hint=_HINT)
    strange = sorted(set(associations or ()) - set(candidates or ()))
    if strange:
        raise DataFormatError(f"{where} has the association {strange[0][:60]!r}, which is no candidate.", hint=_HINT)
    return {"cue": cue, "candidates": candidates, "associations": associations}


def _some(instances: list[dict[str, Any]], where: Path) -> list[dict[str, Any]]:
    if not instances:
        raise DataFormatError(f"{where} holds no instance.", hint=_HINT)
    return instances
