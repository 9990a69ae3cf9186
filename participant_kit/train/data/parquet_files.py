"""Which parquet files of a dataset are trained on: one configuration, and of its splits ``train``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from competition.errors import DataFormatError

_SPLIT = re.compile(r"(?P<split>[\w.]+?)(-\d+-of-\d+(-\w+)?)?\.parquet")
_KNOWN = frozenset({"train", "validation", "valid", "val", "dev", "test"})


def training_files(paths: Iterable[str], where: str) -> list[str]:
    """The files to train on, sorted, of a dataset as it lies on the Hub or in a folder like one there.

    Files lie at the top, in ``data``, or in the one folder of a configuration. Where they are named after splits
    (``train-00000-of-00004.parquet``, ``test.parquet``), those of ``train`` are taken.

    Args:
        paths: of all files, within the dataset.
        where: its place, for messages.

    Raises:
        DataFormatError: there are none, or several configurations, or splits without ``train``.
    """
    folders: dict[str, list[str]] = defaultdict(list)
    for path in map(PurePosixPath, paths):
        hidden = any(part.startswith(".") for part in path.parts)
        if path.suffix == ".parquet" and len(path.parts) <= 2 and not hidden:
            folders[str(path.parent)].append(str(path))
    if not folders:
        raise DataFormatError(f"{where} holds no parquet files.", hint="They lie at its top, or in one folder of it.")
    if len(folders) > 1:
        raise DataFormatError(
            f"{where} holds parquet files of several configurations: {', '.join(sorted(folders))}.",
            hint="Give the folder of one of them as --data-dir (download the dataset first).",
        )
    files = sorted(next(iter(folders.values())))
    splits = {file: split for file in files if (split := _split_of(file)) in _KNOWN}
    if not splits:
        return files
    chosen = [file for file, split in splits.items() if split == "train"]
    if not chosen:
        raise DataFormatError(
            f"{where} holds the splits {', '.join(sorted(set(splits.values())))}, and no `train`.",
            hint="Put the files to train on into a folder of their own, named `train-00000-of-00001.parquet`, ...",
        )
    return chosen


def _split_of(file: str) -> str:
    match = _SPLIT.fullmatch(PurePosixPath(file).name)
    return match["split"] if match else ""
