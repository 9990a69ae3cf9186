"""Runs a program of a checkout of mlfoundations/datacomp, in that project's own interpreter, on a given language model.

    PYTHON bench/peer.py CHECKOUT LANGUAGE_MODEL PROGRAM [ARGUMENT ...]

Its own model would have to be downloaded (126 MB); both sides are given the compressed one that is at hand.
Nothing else is changed. Only the standard library is imported here: the interpreter is not ours.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from pathlib import Path

_MODEL = "DATACOMP_LANGUAGE_MODEL"


def main(checkout: str, model: str, program: str, *arguments: str) -> None:
    """Run the program as if it had been called itself."""
    sys.path.insert(0, checkout)
    sys.argv = [program, *arguments]
    path = Path(checkout) / program
    if program != "baselines.py":
        runpy.run_path(str(path), run_name="__main__")
        return
    os.environ[_MODEL] = model
    use_model()
    # This file stays the main module, so that the processes which the program starts run it too, and with it the below.
    exec(compile(path.read_text(), path, "exec"), {"__name__": "__main__", "__file__": str(path)})


def use_model() -> None:
    """Replace the function that downloads the model, before the filters import it from there."""
    module = importlib.import_module("baselines.utils")
    module.download = lambda *_names: os.environ[_MODEL]  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(*sys.argv[1:])
elif __name__ == "__mp_main__":
    use_model()
