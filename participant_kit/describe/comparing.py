"""Passing over a dataset's features: look-alikes within it, leaked evaluation images, coverage of a reference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path

import numpy as np

from competition.data.engine import Engine
from competition.data.metadata import features_path
from competition.data.npz import member_names
from competition.data.uids import UID_DTYPE, UidArray, sort_uids
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.dedup.contamination import load_references
from participant_kit.dedup.groups import joined
from participant_kit.describe.dataset import Dataset
from participant_kit.describe.embedding import (
    NEIGHBOUR,
    Features,
    Nearest,
    Probe,
    ball_radii,
    leaks_of,
    nearest_rows,
    rows_of,
)
from participant_kit.describe.likeness import (
    Contamination,
    Coverage,
    LookAlikes,
    contamination_of,
    coverage_of,
    look_alikes_of,
)
from participant_kit.describe.missing import Missing
from participant_kit.subsets.draw import lots

PURPOSE = 9
SAMPLED = 2_000
"""Rows that are compared with all others."""

DEFAULT_FEATURES = "l14_img"


@dataclass(frozen=True, slots=True)
class Comparisons:
    """The features of a dataset.

    Args:
        dataset: whose.
        member: of the npz files; ``DEFAULT_FEATURES``, where there is one, when absent.
        selection: sorted uids that the dataset has; every row when absent.
        work: a folder for what workers read.
        engine: runs one task a file.
        progress: told after every file.
    """

    dataset: Dataset
    member: str | None
    selection: Path | None
    work: Path
    engine: Engine
    progress: ProgressHook | None

    def look_alikes(self, uids: UidArray, threshold: float, seed: int) -> LookAlikes | Missing:
        """Compare some rows with all others.

        Args:
            uids: of the dataset, each once, sorted.
            threshold: rows are look-alikes from this cosine.
            seed: of the rows that are drawn.

        Raises:
            UsageError: features are named that the pool does not have.
            DataFormatError: features are damaged, or not L2-normalised.
        """
        features = self._features(self.member)
        if isinstance(features, Missing):
            return features
        drawn = sort_uids(uids[np.argsort(lots(uids, seed, PURPOSE), kind="stable")[:SAMPLED]])
        found = self.engine.map(partial(rows_of, features, drawn), self._tasks(), stage="reading features",
                                progress=self.progress).values()  # fmt: skip
        own = joined([uids for uids, _ in found], UID_DTYPE)
        if len(own) < 2:
            return Missing("fewer than two rows have features", "Annotate the pool again.")
        vectors = np.concatenate([vectors for _, vectors in found if len(vectors)])
        _, first = np.unique(own, return_index=True)
        own, vectors = own[first], vectors[first]
        nothing = np.full(len(own), np.inf, np.float32)
        nearest = self._nearest(features, Probe(vectors, nothing, own), "looking for look-alikes")
        return look_alikes_of(nearest, own, threshold)

    def coverage(self, reference: Path | None, threshold: float) -> Coverage | Missing:
        """Compare all rows with a reference; see ``coverage_of``.

        Raises:
            UsageError: features are named that the pool does not have.
            DataFormatError: features are damaged, not L2-normalised, or of other dimensions.
            StorageError: the reference cannot be read.
        """
        features = self._features(self.member)
        if isinstance(features, Missing):
            return features
        if reference is None:
            return Missing("no reference is given", "Give features of what it should cover with --reference FILE.")
        given = load_references(reference, features.member)
        balls = len(given.ids) > NEIGHBOUR
        radii = ball_radii(given.rows) if balls else np.full(len(given.ids), np.inf, np.float32)
        probe = Probe(given.rows, radii, np.zeros(0, UID_DTYPE))
        return coverage_of(
            self._nearest(features, probe, "comparing with the reference"), given.ids, threshold, balls=balls
        )

    def contamination(self, evaluation: Path | None, member: str, threshold: float) -> Contamination | Missing:
        """Compare all rows with evaluation images, as ``datacup dedup decontaminate`` does.

        Raises as ``coverage`` does.
        """
        if evaluation is None:
            return Missing(
                "no features of evaluation images are given",
                "Give them with --evaluation FILE; `datacup dedup describe-images` makes those of digits pools.",
            )
        features = self._features(member)
        if isinstance(features, Missing):
            return features
        references = load_references(evaluation, member)
        found = self.engine.map(partial(leaks_of, features, references, threshold), self._tasks(),
                                stage="comparing with evaluation images", progress=self.progress)  # fmt: skip
        return contamination_of(list(found.values()), references.ids, member, threshold)

    def _features(self, member: str | None) -> Features | Missing:
        if not self.dataset.metadata:
            return Missing("it has no features", "Give the pool that it is of with --pool.")
        archive = features_path(self.dataset.metadata[0])
        present = member_names(archive) if archive.exists() else []
        wanted = member or DEFAULT_FEATURES
        if wanted in present:
            return Features(wanted, self.selection)
        lacking = f"the pool has no features {wanted!r}"
        if member is not None and present:
            raise UsageError(f"{lacking[:1].upper()}{lacking[1:]}.", hint=f"It has: {', '.join(present)}.")
        if present:
            return Missing(lacking, f"Name others with --features: it has {', '.join(present)}.")
        return Missing("the pool has no features", "Make them with `datacup pool annotate`.")

    def _nearest(self, features: Features, probe: Probe, stage: str) -> Nearest:
        path = self.work / f"{stage.replace(' ', '-')}.npz"
        probe.save(path)
        found = self.engine.map(
            partial(nearest_rows, features, path), self._tasks(), stage=stage, progress=self.progress
        )
        return reduce(Nearest.with_others, found.values(), Nearest.none(len(probe.vectors)))

    def _tasks(self) -> dict[str, Path]:
        return {path.name: path for path in self.dataset.metadata}
