"""Training that is identical for everybody: a recipe, a seed and data in, a model and its report out."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[int, int, str], None]
"""Called with (done, total, what is being done)."""
