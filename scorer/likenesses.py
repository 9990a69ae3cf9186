"""The samples of weights of all entries that were verified here, beside the mirror: who is a near copy of whom?

``likenesses/<recipe digest>/<submission id>.npy``, and ``likenesses/salt``. They outlive a lost mirror: without the old
salt nothing new can be compared with them.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import numpy as np

from competition.data.atomic import atomic_writer, make_folder, storage_errors
from competition.data.npy import map_npy
from competition.errors import DataFormatError
from competition.verification.likeness import NEAR, SAMPLES, Sample, relative_distance

LIKENESSES = "likenesses"
"""The folder in the mirror."""
_SALT_BYTES = 32


class Likenesses:
    """The store in a folder, shared by any number of processes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def salt(self) -> bytes:
        """The scorers' secret; drawn once, by whoever comes first."""
        path = self._root / "salt"
        make_folder(self._root)
        if not path.exists():
            draft = self._root / f"salt-{os.getpid()}"
            with storage_errors("writing", draft):
                draft.write_bytes(secrets.token_bytes(_SALT_BYTES))
                draft.chmod(0o600)
                try:
                    os.link(draft, path)  # fails where another process was faster, whose salt counts
                except FileExistsError:
                    pass
                finally:
                    draft.unlink()
        with storage_errors("reading", path):
            return path.read_bytes()

    def near(self, recipe_digest: str, submission_id: str, sample: Sample) -> list[tuple[str, float]]:
        """Other submissions of the recipe whose sample is near, the nearest first, with the relative distance."""
        found = []
        for path in sorted((self._root / recipe_digest).glob("*.npy")):
            if path.stem != submission_id:
                distance = relative_distance(sample, self._read(path))
                if distance < NEAR:
                    found.append((path.stem, distance))
        return sorted(found, key=lambda each: each[1])

    def keep(self, recipe_digest: str, submission_id: str, sample: Sample) -> None:
        """Remember the sample of a verified entry."""
        folder = self._root / recipe_digest
        make_folder(folder)
        with atomic_writer(folder / f"{submission_id}.npy") as stream:
            np.lib.format.write_array(stream, sample, allow_pickle=False)

    def _read(self, path: Path) -> Sample:
        sample = map_npy(path)
        if sample.shape != (SAMPLES,) or sample.dtype != np.float32:
            raise DataFormatError(f"{path} is no sample of weights.", hint="Remove it; it is made again by a replay.")
        return sample
