"""Another distribution over the classes of a labelled dataset: balanced, or with its long tail repaired in part.

Classes with more samples than are wanted give their best, or some by lot. Those with fewer give all: the dataset is
then smaller than asked for, and the record says by which classes; or, if repeats are asked for, their samples are
repeated, all equally often but for the best ones, which are repeated once more until the number is met.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import make_folder
from competition.errors import DataFormatError, UsageError
from competition.evaluation.class_statistics import class_balance
from participant_kit.labelled.candidates import Candidates
from participant_kit.labelled.classes import ClassList, load_classes
from participant_kit.labelled.dataset import check_not_input, read_dataset
from participant_kit.labelled.distribution import Counts, apportion, largest_size, tempered, uniform, zipf
from participant_kit.labelled.documents import DOCUMENTS, read_document, read_lines
from participant_kit.labelled.record import LabelledReport
from participant_kit.labelled.write import Dataset, write_dataset
from participant_kit.subsets.draw import MOST_COPIES, lots
from participant_kit.subsets.record import digests

PURPOSE = 9
UNIFORM, POWER = "uniform", "power"
_MOST = 10**12
"""Samples of a class that a file can ask for."""


@dataclass(frozen=True, slots=True)
class BalanceOptions:
    """What is wanted.

    Args:
        distribution: ``uniform``; ``power``, with exactly one of the next two; or the path of a file of class ids and
            shares of ``size``, or whole numbers of samples where there is no size.
        exponent: see ``distribution.tempered``.
        imbalance: see ``distribution.zipf``.
        size: samples of all classes; the largest size that all classes can fill when absent.
        max_repeats: how often a sample may be in the dataset.
        draw: choose a class's samples by lot, not by score.
        seed: of the lots.
    """

    distribution: str = UNIFORM
    exponent: float | None = None
    imbalance: float | None = None
    size: int | None = None
    max_repeats: int = 1
    draw: bool = False
    seed: int = 0

    @property
    def file(self) -> Path | None:
        """Of the distribution."""
        return None if self.distribution in {UNIFORM, POWER} else Path(self.distribution)

    def check(self) -> None:
        """Refuse what means nothing.

        Raises:
            UsageError: a number out of range, or options that do not fit together.
        """
        if self.file is not None and not self.file.is_file():
            raise UsageError(
                f"There is no distribution {self.distribution!r}.", hint="It is uniform, power, or the path of a file."
            )
        if self.size is not None and self.size < 1:
            raise UsageError(f"--size {self.size} is not above 0.")
        if not 1 <= self.max_repeats <= MOST_COPIES:
            raise UsageError(f"--max-repeats {self.max_repeats} is not between 1 and {MOST_COPIES}.")
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed} is negative.")
        given = [value is not None for value in (self.exponent, self.imbalance)]
        if sum(given) != (self.distribution == POWER):
            raise UsageError(
                "--distribution power needs exactly one of --exponent and --imbalance, which others do not take.",
                hint="Shares are count ** exponent; or a power law with this largest over smallest share.",
            )
        if self.exponent is not None and not math.isfinite(self.exponent):
            raise UsageError(f"--exponent {self.exponent} is not a finite number.")
        if self.imbalance is not None and not (math.isfinite(self.imbalance) and self.imbalance >= 1):
            raise UsageError(f"--imbalance {self.imbalance} is not a number of at least 1.")


def balance_dataset(table: Path, classes: Path, save_path: Path, options: BalanceOptions) -> LabelledReport:
    """Write a labelled dataset of the wanted distribution, from samples of another one.

    Args:
        table: the dataset, a ``.parquet``.
        classes: file of its classes.
        save_path: as of the other ways to a labelled dataset.
        options: see ``BalanceOptions``.

    Raises:
        UsageError: an option out of range, a distribution that no size fills, or nothing is wanted.
        DataFormatError: a file is malformed.
        StorageError: a file cannot be read or written.
    """
    check_not_input(save_path, table)
    options.check()
    listed = load_classes(classes)
    dataset = read_dataset(table, listed)
    samples = dataset.samples
    if options.size is not None and options.size > len(samples) * options.max_repeats:
        raise UsageError(
            f"--size {options.size} is more than {options.max_repeats} times the dataset's {len(samples):,} samples.",
            hint="Ask for fewer, or let samples be repeated with --max-repeats.",
        )
    before = np.bincount(samples.labels, minlength=len(listed)).astype(np.int64)
    wanted = _wanted(options, listed, before)
    after = np.minimum(wanted, before * options.max_repeats)
    copies = repeats_of(samples, after, options.seed, scored=dataset.scored and not options.draw)
    if not copies.any():
        raise UsageError(f"None of the {len(listed)} classes has a sample that is wanted.", hint="Nothing was written.")
    chosen = samples.take(np.repeat(np.arange(len(samples)), copies))
    unwanted = (wanted == 0)[samples.labels]
    counted = {"class_not_wanted": unwanted, "over_quota": ~unwanted & (copies == 0)}
    files = {"labels": table, "classes": classes} | ({"distribution": options.file} if options.file else {})
    make_folder(save_path.parent)
    return write_dataset(
        Dataset(
            "balance",
            _recorded(options),
            1,
            len(samples),
            {reason: int(np.count_nonzero(rows)) for reason, rows in counted.items()},
            len(chosen) - int(np.count_nonzero(copies)),
            chosen,
            listed.ids,
            dataset.sources.__getitem__,
            dataset.scored,
            int((wanted - after).sum()),
            digests(files),
            notes=_notes(listed, before, wanted, after),
        ),
        save_path,
    )


def repeats_of(samples: Candidates, quotas: Counts, seed: int, *, scored: bool) -> NDArray[np.int64]:
    """How often each sample is taken so that every class has its quota: int64 of shape (samples,).

    Counts of one class differ by one at most; the better samples have the greater: those of larger scores (NaN last),
    or of lesser lots. Ties by lot.

    Args:
        samples: any order.
        quotas: int64 of shape (classes,); 0 for a class without samples.
        seed: of the lots.
        scored: scores count.
    """
    drawn = lots(samples.uids, seed, PURPOSE)
    first = np.nan_to_num(-samples.scores, nan=np.inf) if scored else np.zeros(len(samples))
    order = np.lexsort((drawn, first, samples.labels))
    labels = samples.labels[order]
    counts = np.bincount(labels, minlength=len(quotas))
    rank = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels]
    each, more = np.divmod(quotas, np.maximum(counts, 1))
    copies = np.empty(len(labels), dtype=np.int64)
    copies[order] = each[labels] + (rank < more[labels])
    return copies


def read_distribution(path: Path, classes: ClassList) -> NDArray[np.float64]:
    """A number for each class, from ``{id: number}`` in JSON or YAML, or from tab-separated lines of id and number; 0
    for classes that it lacks.

    Raises:
        DataFormatError: malformed, an id that is no class's or occurs twice, a number that is negative or too large.
        UsageError: all numbers are 0.
        StorageError: it cannot be read.
    """
    numbers = np.zeros(len(classes))
    seen: set[str] = set()
    for place, identity, value in _entries(path):
        if identity not in classes.positions:
            raise DataFormatError(f"{place} of {path} has the class {identity!r}, which is no class's id.")
        if identity in seen:
            raise DataFormatError(f"{place} of {path} has the class {identity!r} again.")
        seen.add(identity)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number <= _MOST:
            raise DataFormatError(f"{place} of {path} gives {value!r} to the class {identity!r}: no share or number.")
        numbers[classes.positions[identity]] = number
    if not numbers.any():
        raise UsageError(f"The distribution {path} wants no class.", hint='It is {"class id": share, ...}.')
    return numbers


def _entries(path: Path) -> list[tuple[str, str, Any]]:
    if path.suffix not in DOCUMENTS:
        lines = list(read_lines(path))
        for number, fields in lines:
            if len(fields) != 2:
                raise DataFormatError(f"Line {number} of {path} has {len(fields)} tab-separated fields instead of 2.")
        return [(f"Line {number}", fields[0], fields[1]) for number, fields in lines]
    document = read_document(path)
    if not isinstance(document, dict):
        raise DataFormatError(f"{path} is not {{class id: share or number}}.")
    return [(f"Entry {number}", str(key), value) for number, (key, value) in enumerate(document.items(), start=1)]


def _wanted(options: BalanceOptions, classes: ClassList, before: Counts) -> Counts:
    """Samples that each class shall have."""
    if options.file is not None:
        numbers = read_distribution(options.file, classes)
        if options.size is None:
            if (numbers != np.floor(numbers)).any():
                raise UsageError(
                    f"The distribution {options.file} has numbers that are not whole.",
                    hint="They are samples of each class; with --size they are shares of it.",
                )
            return numbers.astype(np.int64)
        shares = numbers / numbers.sum()
    elif options.exponent is not None:
        shares = tempered(before, options.exponent)
    elif options.imbalance is not None:
        shares = zipf(before, options.imbalance)
    else:
        shares = uniform(len(classes))
    size = options.size or largest_size(shares, before * options.max_repeats)
    if not size:
        empty = [name for name, count in zip(classes.ids, before, strict=True) if not count]
        short = f"the class {empty[0]!r} has no sample" if empty else "the smallest class has too few samples"
        raise UsageError(
            f"No size can have this distribution: {short}.", hint="Give a --size; what is not there is then reported."
        )
    return apportion(shares, size)


def _recorded(options: BalanceOptions) -> dict[str, Any]:
    return {
        "distribution": options.file.name if options.file is not None else options.distribution,
        "exponent": options.exponent,
        "imbalance": options.imbalance,
        "size": options.size,
        "per_class": None,
        "max_repeats": options.max_repeats,
        "draw": options.draw,
        "seed": options.seed,
    }


def _notes(classes: ClassList, before: Counts, wanted: Counts, after: Counts) -> dict[str, Any]:
    """Counts of each class before and as wanted (``per_class`` has those after), and how many are not there."""
    short = wanted - after
    return {
        "per_class_before": dict(zip(classes.ids, before.tolist(), strict=True)),
        "per_class_wanted": dict(zip(classes.ids, wanted.tolist(), strict=True)),
        "unfilled_classes": {classes.ids[place]: int(short[place]) for place in np.flatnonzero(short)},
        "balance_before": class_balance(before).as_json(),
    }
