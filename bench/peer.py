"""Runs a program of a checkout of mlfoundations/datacomp, in that project's own interpreter, on a given language model.

    PYTHON bench/peer.py CHECKOUT LANGUAGE_MODEL PROGRAM [ARGUMENT ...]

Its own model would have to be downloaded (126 MB); both sides are given the compressed one that is at hand.
Nothing else is changed. Only the standard library is imported here: the interpreter is not ours.
"""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path


def main(checkout: str, model: str, program: str, *arguments: str) -> None:
    """Run the program as if it had been called itself."""
    sys.path.insert(0, checkout)
    if program == "baselines.py":
        # Before the filters import the function from there.
        module = importlib.import_module("baselines.utils")
        module.download = lambda *_names: model  # type: ignore[attr-defined]
    sys.argv = [program, *arguments]
    runpy.run_path(str(Path(checkout) / program), run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
