"""One metadata file and its features, looked at as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import SCHEMA, column_floats, column_types, column_uids, features_path, read_columns
from competition.data.npz import check_member, member_names, open_member
from competition.data.uids import UID_DTYPE, UidArray, parse_uid
from competition.errors import DataFormatError, StorageError
from participant_kit.pools.index import file_state
from participant_kit.pools.verify.findings import EXAMPLES, Findings
from participant_kit.pools.verify.identities import save_identities

_SHA256_DIGITS = 64
_COSINE_SLACK = 1e-2
"""Features are rounded to float16, so a cosine may be a little above 1."""


def states(path: Path) -> list[list[int]]:
    """Change when the file or its features do."""
    return [file_state(each) for each in (path, features_path(path)) if each.exists()]


def check_metadata(identities: Path, deep: bool, path: Path) -> dict[str, Any]:
    """Look at every column of a metadata file, and hold its features against it.

    Args:
        identities: file for the uids and digests that it has.
        deep: also read all features through and compare their checksums.
        path: the parquet file.

    Returns:
        ``state``, ``rows``, ``findings``, and ``features``: dtype and dimensions by member, ``None`` without an npz.

    Raises:
        StorageError: ``identities`` cannot be written. (What cannot be read is a finding.)
    """
    findings = Findings()
    state = states(path)
    rows: int | None = None
    uids, sha = np.zeros(0, dtype=UID_DTYPE), np.zeros(0, dtype=np.uint64)
    with _noted(findings, "metadata_damaged"):
        names = column_types(path).names
        rows, uids, sha = _check_columns(path, names, findings)
    features = None
    if features_path(path).exists():
        features = _check_features(path, rows, deep, findings)
    save_identities(identities, uids, sha)
    return {"state": state, "rows": rows or 0, "findings": findings.as_json(), "features": features}


@contextmanager
def _noted(findings: Findings, check: str) -> Iterator[None]:
    try:
        yield
    except (DataFormatError, StorageError) as error:
        findings.add(check, error.message)


def _check_columns(path: Path, names: list[str], findings: Findings) -> tuple[int, UidArray, NDArray[np.uint64]]:
    """One column after the other, so that the largest is all that memory holds."""
    uids = np.zeros(0, dtype=UID_DTYPE)
    sha: NDArray[np.uint64] | None = None
    named: NDArray[np.bool_] | None = None
    rows = 0
    for name in SCHEMA.names:
        if name not in names:
            findings.add("column_missing", f"{path.name}: {name}")
            continue
        with _noted(findings, "column_damaged"):
            table = read_columns(path, [name])
            rows = table.num_rows
            if name == "uid":
                uids, named = _check_uids(table, path, findings)
            elif name == "sha256":
                sha = _check_sha256(table, path, findings)
            elif name in _COLUMN_CHECKS:
                _COLUMN_CHECKS[name](table, name, path, findings)
    if named is None or sha is None:
        return rows, uids, np.zeros(len(uids), dtype=np.uint64)
    return rows, uids, sha[named]


def _check_uids(table: Any, path: Path, findings: Findings) -> tuple[UidArray, NDArray[np.bool_]]:
    """The uids of the rows that have one, and which rows these are."""
    try:
        return column_uids(table, path), np.ones(table.num_rows, dtype=bool)
    except DataFormatError:
        pass  # at least one is not: look at each
    pairs, named = [], np.zeros(table.num_rows, dtype=bool)
    for row, text in enumerate(table.column("uid").to_pylist()):
        if text is None:
            findings.add("uid_missing", f"{path.name}: row {row}")
            continue
        try:
            pairs.append(parse_uid(text))
        except DataFormatError:
            findings.add("uid_malformed", f"{path.name}: row {row}: {text[:64]!r}")
            continue
        named[row] = True
    return np.array(pairs, dtype=UID_DTYPE), named


def _check_sha256(table: Any, path: Path, findings: Findings) -> NDArray[np.uint64]:
    """The first 64 bits of every digest; 0 where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.column("sha256")
    if not column.null_count and bool(pc.all(pc.equal(pc.binary_length(column), _SHA256_DIGITS)).as_py() or False):
        head = pa.table({"uid": pc.utf8_slice_codeunits(column, 0, 32)})
        try:
            return np.ascontiguousarray(column_uids(head, path)["f0"])
        except DataFormatError:
            pass  # at least one is not hex: look at each
    heads = [_sha_head(text) for text in column.to_pylist()]
    _note_rows(findings, "sha256_malformed", path, np.array([head is None for head in heads], dtype=bool))
    return np.array([head or 0 for head in heads], dtype=np.uint64)


def _sha_head(text: str | None) -> int | None:
    if text is None or len(text) != _SHA256_DIGITS:
        return None
    try:
        return int.from_bytes(bytes.fromhex(text)[:8], "big")
    except ValueError:
        return None


def _check_captions(table: Any, name: str, path: Path, findings: Findings) -> None:
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.binary_length(table.column(name)), 0).combine_chunks()
    _note_rows(findings, "caption_empty", path, np.from_dlpack(lengths) == 0)


def _check_scores(table: Any, name: str, path: Path, findings: Findings) -> None:
    scores = column_floats(table, name)
    _note_rows(findings, "score_missing", path, np.isnan(scores), f" ({name})")
    _note_rows(findings, "score_out_of_range", path, np.abs(scores) > 1 + _COSINE_SLACK, f" ({name})")


def _check_sizes(table: Any, name: str, path: Path, findings: Findings) -> None:
    import pyarrow.compute as pc

    sizes = pc.fill_null(table.column(name), 0).combine_chunks()
    _note_rows(findings, "size_missing", path, np.from_dlpack(sizes) <= 0, f" ({name})")


_COLUMN_CHECKS: dict[str, Callable[[Any, str, Path, Findings], None]] = {
    "text": _check_captions,
    "clip_b32_similarity_score": _check_scores,
    "clip_l14_similarity_score": _check_scores,
    "original_width": _check_sizes,
    "original_height": _check_sizes,
}


def _note_rows(findings: Findings, check: str, path: Path, bad: NDArray[np.bool_], what: str = "") -> None:
    rows = np.flatnonzero(bad)
    findings.add(check, *(f"{path.name}: row {row}{what}" for row in rows[:EXAMPLES].tolist()), count=len(rows))


def _check_features(path: Path, rows: int | None, deep: bool, findings: Findings) -> dict[str, Any]:
    """Members of the npz: dtype and dimensions by name."""
    archive = features_path(path)
    found: dict[str, Any] = {}
    with _noted(findings, "features_damaged"):
        for name in member_names(archive):
            with _noted(findings, "features_damaged"):
                array = open_member(archive, name)
                found[name] = [str(array.dtype), list(array.shape[1:])]
                if rows is not None and (array.ndim != 2 or len(array) != rows):
                    findings.add("features_misaligned", f"{archive.name}: {name} {list(array.shape)}, {rows} rows")
                if not isinstance(array, np.memmap) and array.size:
                    findings.add("features_deflated", f"{archive.name}: {name}")
                if deep:
                    check_member(archive, name)
    return found
