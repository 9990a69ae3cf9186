"""Prediction entries: the five best class ids of every sample of a test set, scored against hidden labels.

An entry is an ``.npz`` with one member for each test set that it enters, named as the set: whole numbers of shape
(samples, 5), the best class first, rows in the set's order. That is what ImageNetV2's collection of predictions holds
(arXiv 1902.10811), with its traps: among its files one model has its columns in reverse, and an array of another
orientation looks almost right. Such an entry is refused by name instead of being scored as a bad model.

Everything in the file is a stranger's: no more of it is read than its test sets allow, an array's header is read before
its data, no more bytes are inflated than the set's shape allows, and nothing is ever unpickled.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from competition.data.atomic import storage_errors
from competition.data.npy import MAX_HEADER_BYTES, read_npy_header
from competition.errors import DataFormatError, EmptySetError, PredictionsError, RejectionReason
from competition.evaluation import metrics
from competition.evaluation.inputs import Integers, checked_labels
from competition.evaluation.outcome import ProtocolOutcome
from competition.rules.predicted_sets import TestSetShape

__all__ = ["CHOICES", "MAX_SAMPLES", "TestSetShape", "check_top5", "read_predictions", "read_set", "score"]

CHOICES = 5
MAX_SAMPLES = 10_000_000
_MAX_ITEM_BYTES = 8
_MAX_OVERHEAD_BYTES = 1 << 20
_SHOWN = 60
_SURE = 1e-6
"""Chance with which columns in order of their quality are taken for disordered ones."""

_HINT = "Save integers of shape (samples, 5), the best class first, with numpy.savez_compressed(path, SET=array)."


def read_predictions(
    archive: Path, sets: Mapping[str, TestSetShape], *, name: str | None = None
) -> dict[str, Integers]:
    """The predictions of an entry: for every test set that it has, class ids int64 [N, 5], the best first.

    Args:
        archive: the entry's ``.npz``.
        sets: the test sets that may be entered, by the names of their members.
        name: what messages call the file; its own name when absent.

    Raises:
        DataFormatError: it is not an npz, is damaged, or is larger than its test sets allow.
        PredictionsError: it has no test set or an unknown one, or one's array is transposed, of another shape or type,
            has an id out of range, or a class twice in a row.
        StorageError: it cannot be read.
    """
    called = name or archive.name
    room = sum(shape.samples * CHOICES * _MAX_ITEM_BYTES for shape in sets.values()) + _MAX_OVERHEAD_BYTES
    with _opened(archive, room, called) as members:
        found = _members(members, sets, called)
        return {each: _read(members, info, sets[each], each) for each, info in found.items()}


def read_set(archive: Path, name: str, shape: TestSetShape) -> Integers:
    """The predictions for one test set, class ids int64 [N, 5], whatever else the file holds.

    Errors as of ``read_predictions``; a file without this set is a ``PredictionsError``.
    """
    room = MAX_SAMPLES * CHOICES * _MAX_ITEM_BYTES + _MAX_OVERHEAD_BYTES
    with _opened(archive, room, archive.name) as members:
        infos = [info for info in members.infolist() if info.filename.removesuffix(".npy") == name]
        if len(infos) != 1:
            raise PredictionsError(
                f"{archive.name} has {len(infos)} arrays for the test set {name} instead of one.",
                RejectionReason.PREDICTIONS_SETS_MISMATCH,
                hint=f"Save the predictions for it under the name {name}.",
            )
        _check_compression(infos, archive.name)
        return _read(members, infos[0], shape, name)


def check_top5(top5: ArrayLike, shape: TestSetShape, name: str) -> Integers:
    """Predictions as int64 [N, 5] of distinct class ids in [0, classes).

    Raises:
        PredictionsError: they are transposed, of another shape or type, out of range, or repeat a class in a row.
    """
    found = np.asarray(top5)
    _check_layout(found.shape, found.dtype, shape, name)
    outside = np.argwhere((found < 0) | (found >= shape.classes))
    if len(outside):
        row, column = map(int, outside[0])
        raise PredictionsError(
            f"The predictions for {name} have the class {found[row, column]} in row {row}, column {column}; "
            f"there are {shape.classes}, from 0 on.",
            RejectionReason.PREDICTIONS_OUT_OF_RANGE,
            hint="A class id is the position of the class in the set's list of classes.",
        )
    ids = found.astype(np.int64)
    repeated = _rows_with_repetition(ids)
    if len(repeated):
        # Rows of another orientation that were only reshaped hold ids of five samples, of which some agree.
        if not len(_rows_with_repetition(ids.reshape(CHOICES, -1).T)):
            raise PredictionsError(
                f"The predictions for {name} are transposed: they were reshaped, not transposed, from (5, samples).",
                RejectionReason.PREDICTIONS_TRANSPOSED,
                hint="Save array.T of the original (5, samples) array instead of array.reshape(-1, 5).",
            )
        raise PredictionsError(
            f"The predictions for {name} name a class twice in row {repeated[0]}.",
            RejectionReason.PREDICTIONS_REPEATED,
            hint=_HINT,
        )
    return ids


def score(top5: ArrayLike, labels: ArrayLike, classes: int, name: str = "the test set") -> ProtocolOutcome:
    """acc1, acc5 and mean per-class recall (over the classes that occur) of predictions.

    Args:
        top5: class ids [N, 5], the best first.
        labels: the right class of every sample [N], in [0, classes).
        classes: how many there are.
        name: of the test set, for messages. These never say how many predictions are right: labels may be hidden.

    Raises:
        EmptySetError: there is no sample.
        LabelRangeError: a label is out of range.
        PredictionsError: see ``check_top5``; or the columns are in reverse or otherwise not in order.
    """
    true = checked_labels(labels, classes)
    ids = check_top5(top5, TestSetShape(len(true), classes), name)
    hits = ids == true[:, None]
    _check_order(hits, name)
    right, among = hits[:, 0].astype(np.float64), hits.any(axis=1).astype(np.float64)
    components = {"acc1": (right,), "acc5": (among,), "mean_per_class_recall": tuple(metrics.per_class(right, true))}
    values = {metric: metrics.mean_of_means(parts) for metric, parts in components.items()}
    return ProtocolOutcome(len(true), values, components, proportions=frozenset({"acc1", "acc5"}))


def _members(members: zipfile.ZipFile, sets: Mapping[str, TestSetShape], archive: str) -> dict[str, zipfile.ZipInfo]:
    infos = members.infolist()
    names = [info.filename.removesuffix(".npy") for info in infos]
    known, reason = f"Its members may be: {', '.join(sets)}.", RejectionReason.PREDICTIONS_SETS_MISMATCH
    for name in names:
        if name not in sets:
            raise PredictionsError(f"There is no test set {name[:_SHOWN]!a} to predict.", reason, hint=known)
    if not names:
        raise PredictionsError(f"{archive} has predictions for no test set.", reason, hint=known)
    if len(set(names)) != len(names):
        raise PredictionsError(f"{archive} has a test set's predictions twice.", reason, hint=known)
    _check_compression(infos, archive)
    return dict(zip(names, infos, strict=True))


def _check_compression(infos: list[zipfile.ZipInfo], archive: str) -> None:
    if any(info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for info in infos):
        # Others may ask for gigabytes before the first byte is out.
        raise DataFormatError(f"{archive} is compressed in another way than numpy does.", hint=_HINT)


def _read(members: zipfile.ZipFile, info: zipfile.ZipInfo, shape: TestSetShape, name: str) -> Integers:
    if info.file_size > shape.samples * CHOICES * _MAX_ITEM_BYTES + MAX_HEADER_BYTES:
        # The header may be sound and say what is wrong; it comes first, and is all that is read.
        with members.open(info) as stream:
            header = read_npy_header(stream)
        _check_layout(header.shape, header.dtype, shape, name)
        raise PredictionsError(
            f"The predictions for {name} have {info.file_size:,} bytes, more than fit.",
            RejectionReason.PREDICTIONS_MALFORMED,
            hint=_HINT,
        )
    with members.open(info) as stream:
        header = read_npy_header(stream)
        _check_layout(header.shape, header.dtype, shape, name)
        data = stream.read(header.data_bytes + 1)
    if len(data) != header.data_bytes:
        raise DataFormatError(
            f"The predictions for {name} are damaged: their data is not as long as their header says."
        )
    order: Literal["F", "C"] = "F" if header.column_major else "C"
    array: NDArray[Any] = np.frombuffer(data, header.dtype).reshape(header.shape, order=order)
    return check_top5(array, shape, name)


def _check_layout(found: tuple[int, ...], dtype: np.dtype[Any], shape: TestSetShape, name: str) -> None:
    if not shape.samples:
        raise EmptySetError(f"The test set {name} holds no sample, so there is nothing to evaluate.")
    if dtype.kind not in "iu":
        kind = "pickled objects, which are never loaded" if dtype.hasobject else str(dtype)
        raise PredictionsError(
            f"The predictions for {name} are {kind}; class ids are integers.",
            RejectionReason.PREDICTIONS_MALFORMED,
            hint=_HINT,
        )
    wanted = (shape.samples, CHOICES)
    if found == wanted:
        return
    if found == wanted[::-1]:
        raise PredictionsError(
            f"The predictions for {name} are transposed: their shape is {found} instead of {wanted}.",
            RejectionReason.PREDICTIONS_TRANSPOSED,
            hint="Save array.T: a row is a sample, a column is a rank.",
        )
    raise PredictionsError(
        f"The predictions for {name} have the shape {found} instead of {wanted}.",
        RejectionReason.PREDICTIONS_SHAPE_MISMATCH,
        hint=_HINT,
    )


def _rows_with_repetition(ids: Integers) -> Integers:
    ordered = np.sort(ids, axis=1)
    rows: Integers = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    return rows


def _check_order(hits: NDArray[np.bool_], name: str) -> None:
    """A row's ids are distinct, so a sample is a hit of one column at most. Were the columns in order, a hit of the
    first or of another one would more often be of the first: a sign test tells when that cannot be."""
    counts = hits.sum(axis=0)
    best = int(counts.argmax())
    if best == 0:
        return
    chance = binomtest(int(counts[best]), int(counts[best] + counts[0]), 0.5, alternative="greater").pvalue
    if chance >= _SURE:
        return
    if best == CHOICES - 1:
        raise PredictionsError(
            f"The columns of the predictions for {name} are in reverse: the best class is last.",
            RejectionReason.PREDICTIONS_REVERSED,
            hint="Save array[:, ::-1]: the best class comes first.",
        )
    raise PredictionsError(
        f"The columns of the predictions for {name} are not in order: column {best} is better than the first.",
        RejectionReason.PREDICTIONS_DISORDERED,
        hint="Sort each row by the model's score, the best class first.",
    )


@contextmanager
def _opened(archive: Path, room: int, name: str) -> Iterator[zipfile.ZipFile]:
    """The archive, of which no more than ``room`` bytes are read."""
    with storage_errors("reading", archive), archive.open("rb") as stream:
        content = stream.read(room + 1)
    if len(content) > room:
        raise DataFormatError(f"The predictions {name} have more than {room:,} bytes, as many as can be right.")
    with _damage_named(name), zipfile.ZipFile(io.BytesIO(content)) as members:
        yield members


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    damage = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, TypeError, SyntaxError, RuntimeError)
    try:
        yield
    except damage as error:  # RuntimeError: encrypted; NotImplementedError, a kind of it: an unknown version
        reason = str(error).rstrip(".") or type(error).__name__
        raise DataFormatError(f"The predictions {name} are damaged or are not an npz: {reason}.", hint=_HINT) from error
