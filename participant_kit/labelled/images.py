"""Finding images like those of a labelled reference set: SELECT's ``LA1000 (i2i)``.

Every reference image gives its label to the images of the pool that are nearest to it in CLIP's space. An image that
references of several classes retrieve has the label of the nearest one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.data.uids import UidArray, uids_to_hex
from competition.errors import DataFormatError, UsageError
from participant_kit.labelled.candidates import Candidates, best_of_each
from participant_kit.labelled.classes import ClassList
from participant_kit.labelled.documents import read_lines
from participant_kit.labelled.duplicates import near_copies
from participant_kit.labelled.features import load_features, member_of
from participant_kit.labelled.run import Found, Plan, metadata_files
from participant_kit.labelled.sample_features import sample_features
from participant_kit.labelled.search import search_pool
from participant_kit.labelled.table import read_labels
from participant_kit.subsets.pool import MetadataPool

NEIGHBOURS = 50
"""How many clip-retrieval's client asks for by default, which LAIONet's program uses; SELECT does not say its own."""


@dataclass(frozen=True)
class References:
    """Labelled images to search with.

    Args:
        features: L2-normalised, float32, shape (images, dimensions).
        labels: int32, shape (images,): indices of classes.
        uids: of references that are samples of a pool.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int32]
    uids: UidArray | None = None

    def name(self, number: int) -> str:
        """What a record calls one of them: its uid, or its row in the file of features."""
        return f"reference: {number if self.uids is None else uids_to_hex(self.uids[[number]])[0]}"

    def digest(self) -> str:
        """Of features and labels: a table alone does not say what its pool's features are."""
        content = hashlib.sha256(np.ascontiguousarray(self.features).tobytes())
        content.update(self.labels.tobytes())
        return content.hexdigest()

    @classmethod
    def of_files(cls, features: Path, labels: Path, classes: ClassList) -> References:
        """References whose features are a ``.npy``, and whose labels are class ids, one on each line of a text file.

        Raises:
            DataFormatError: a file is malformed, their numbers differ, or an id is no class's; says in which line.
            UsageError: there is no reference.
        """
        found = np.array([_position(classes, fields[0], f"Line {n} of {labels}") for n, fields in read_lines(labels)])
        if not len(found):
            raise UsageError(f"{labels} has no label.", hint="It needs a class id on each line, in the order of rows.")
        return cls(load_features(features, len(found), "reference"), found.astype(np.int32))

    @classmethod
    def of_pool(cls, table: Path, metadata_dir: Path, member: str, classes: ClassList) -> References:
        """References that are samples of a pool with features, labelled by a table, in the order of their uids.

        Raises:
            DataFormatError: the table is malformed, an id is no class's, or a sample has two labels or no feature.
            UsageError: the table is empty.
        """
        columns = read_labels(table)
        if not len(columns.uids) or (columns.codes < 0).any():
            raise UsageError(f"The reference table {table} is empty, or has rows without a label.")
        ids = [_position(classes, label, f"The reference table {table}") for label in columns.labels]
        order = np.lexsort((columns.uids["f1"], columns.uids["f0"]))
        uids, labels = columns.uids[order], np.array(ids, np.int32)[columns.codes[order]]
        if (uids[1:] == uids[:-1]).any():
            raise DataFormatError(f"The reference table {table} has a uid twice.", hint="A reference has one label.")
        return cls(_features_of(uids, metadata_dir, member, table), labels, uids)


@dataclass(frozen=True, slots=True)
class ByImages:
    """The strategy ``retrieve-images``; references are features and labels in files, or a labelled table and its pool.

    Args:
        metadata_dir: of the pool.
        features: ``.npy`` of the references' features.
        labels: text file of their class ids, one a line.
        table: a labelled table, in place of both.
        table_metadata_dir: metadata of the pool that it labels; this pool's when absent.
        arch: b32 or l14: whose features are compared.
        neighbours: how many samples each reference retrieves.
        duplicate_cosine: of samples of a class that are as alike, the best one stays; all stay when absent.
    """

    metadata_dir: Path
    features: Path | None = None
    labels: Path | None = None
    table: Path | None = None
    table_metadata_dir: Path | None = None
    arch: str = "l14"
    neighbours: int = NEIGHBOURS
    duplicate_cosine: float | None = None

    def plan(self, classes: ClassList) -> Plan:
        """Raises what ``metadata_files`` and ``References`` raise, and ``UsageError`` for an option."""
        member, files = member_of(self.arch, "img"), metadata_files(self.metadata_dir)
        references, assets = self._references(member, classes)
        options = {
            "arch": self.arch,
            "neighbours": self.neighbours,
            "duplicate_cosine": self.duplicate_cosine,
            "references_sha256": references.digest(),
        }
        return Plan("retrieve-images", options, partial(_find, self, member, references, classes), files, assets)

    def _references(self, member: str, classes: ClassList) -> tuple[References, dict[str, Path]]:
        given = [self.features, self.labels, self.table]
        if self.features is not None and self.labels is not None and self.table is None:
            assets = {"reference_features": self.features, "reference_labels": self.labels}
            return References.of_files(self.features, self.labels, classes), assets
        if self.table is not None and given.count(None) == 2:
            folder = self.table_metadata_dir or self.metadata_dir
            return References.of_pool(self.table, folder, member, classes), {"references": self.table}
        raise UsageError(
            "Name the references either with --reference-features and --reference-labels, or with --reference.",
            hint="--reference takes a labelled table, whose features --reference-metadata-dir has.",
        )


def _find(options: ByImages, member: str, references: References, classes: ClassList, pool: MetadataPool) -> Found:
    """Samples whose images are among the nearest of a reference.

    Raises what ``search_pool`` and ``near_copies`` raise.
    """
    stage = "comparing images with the references"
    searched = search_pool(pool, references.features, member, options.neighbours, stage)
    found = searched.neighbours
    candidates = Candidates(found.uids, references.labels[found.queries], found.scores, found.queries)
    best = best_of_each(candidates, by_class=False)
    missing = np.bincount(references.labels, minlength=len(classes)) == 0
    several = len(best_of_each(candidates, by_class=True)) - len(best)
    notes = {
        "references": len(references.labels),
        "queries_with_fewer_neighbours": searched.short,
        "classes_without_reference": [entry.id for entry, none in zip(classes.entries, missing, strict=True) if none],
        "labels_given_up_for_a_nearer_one": several,
    }
    dropped = searched.dropped(best)
    if options.duplicate_cosine is not None:
        dimensions = references.features.shape[1]
        copies = near_copies(best, pool, member, dimensions, options.duplicate_cosine)
        dropped["near_copy"] = int(np.count_nonzero(copies))
        best = best.take(~copies)
    return Found(best, searched.rows, dropped, references.name, notes=notes)


def _features_of(uids: UidArray, metadata_dir: Path, member: str, table: Path) -> NDArray[np.float32]:
    """Features of samples (sorted uids, each once), in their order."""
    features, found = sample_features(uids, metadata_dir, member)
    if not found.all():
        raise DataFormatError(
            f"{np.count_nonzero(~found):,} of the {len(uids):,} references of {table} have no features in "
            f"{metadata_dir}.",
            hint="Name the metadata of the pool that the table labels with --reference-metadata-dir.",
        )
    return features


def _position(classes: ClassList, identity: str, where: str) -> int:
    """The index of a class id."""
    if identity not in classes.positions:
        raise DataFormatError(f"{where} has the label {identity!r}, which is no class's id.")
    return classes.positions[identity]
