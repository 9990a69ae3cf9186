"""Runs the near-duplicate search of a checkout of modestyachts/ImageNetV2, as it is, on features that are given to it.

    PYTHON bench/near_duplicates_peer.py CHECKOUT QUERIES.npy REFERENCES.npy NEIGHBOURS RESULT.npz

Its program imports what it needs on Amazon's cloud, and finds images by ImageNet's names: both are replaced by
stand-ins that hand out the features; nothing of the search is changed. Only NumPy and the standard library are imported
here. The result holds ``positions``, ``distances`` and the ``seconds`` of the search without imports.
"""

from __future__ import annotations

import collections
import importlib
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

CHUNK = 1000
"""Of queries and of references, as in ImageNetV2's production runs."""


class Features:
    """Stands for the loader of images and for both tables of names."""

    by_name: dict[str, Any] = {}  # noqa: RUF012 - the program makes its own instances

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        pass

    def load_features_batch(self, names: list[str], **_options: Any) -> dict[str, Any]:
        """Features by name."""
        return {name: self.by_name[name] for name in names}


def main(checkout: str, queries: str, references: str, neighbours: str, result: str) -> None:
    """Search, and write the result."""
    sys.path.insert(0, str(Path(checkout) / "code"))
    _stand_in()
    program = importlib.import_module("near_duplicate_checker")
    sides = {"q": np.load(queries), "r": np.load(references)}
    names = {side: [f"{side}{row}" for row in range(len(rows))] for side, rows in sides.items()}
    for side, rows in sides.items():
        Features.by_name.update(zip(names[side], rows, strict=True))
    start = time.perf_counter()
    found, _ = program.get_near_duplicates(
        names["q"], names["r"], None, None, int(neighbours), 35, False, CHUNK, CHUNK, True, ["fc7"], False
    )
    seconds = time.perf_counter() - start
    rows = [found["fc7"][name] for name in names["q"]]
    positions = [[int(name[1:]) for name, _ in row] for row in rows]
    distances = [[float(distance) for _, distance in row] for row in rows]
    np.savez(result, positions=positions, distances=distances, seconds=seconds)


def _stand_in() -> None:
    """Modules that the program imports, and that a search of given features does not use."""
    nowhere: dict[str, Any] = collections.defaultdict(dict)
    contents: dict[str, dict[str, Any]] = {
        "boto3": {},
        "imageio": {},
        "pywren": {},
        "pywren.wrenconfig": {"default": lambda: nowhere},
        "skimage": {},
        "skimage.measure": {"compare_ssim": None},
        "six": {"reraise": None},
        "imagenet": {"ImageNetData": Features},
        "candidate_data": {"CandidateData": Features},
        "image_loader": {"ImageLoader": Features},
        "mturk_data": {},
        "dataset_sampling": {},
        "utils": {"chunks": lambda rows, size: (rows[start : start + size] for start in range(0, len(rows), size))},
    }
    for name, content in contents.items():
        module = ModuleType(name)
        for attribute, value in content.items():
            setattr(module, attribute, value)
        sys.modules[name] = module
    for name in ("pywren.wrenconfig", "skimage.measure"):
        parent, _, child = name.partition(".")
        setattr(sys.modules[parent], child, sys.modules[name])


if __name__ == "__main__":
    main(*sys.argv[1:])
