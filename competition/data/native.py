"""The optional native module for tars, if this installation has it: the same answers as the Python beside it, sooner.

It is compiled from ``native/`` at installation where there is a C++ compiler (``hatch_build.py``).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def _find() -> Any:
    try:
        return import_module("competition.data._native")
    except ImportError:
        return None


module: Any = _find()
"""``competition.data._native``; ``None`` where it was not built or does not fit this machine."""
