"""Sets from a folder that Hugging Face's datasets library saved, or from parquet files of the Hub, already on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from competition.errors import DataFormatError, NotFoundError
from competition.evalsets.preparing.recipes import SetRecipe
from competition.evalsets.preparing.source import Source, SourcePart, joined

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "fine_label", "labels")
_OTHER_NAMES = {"val": ("val", "validation", "valid"), "valid": ("valid", "validation", "val"), "all": ("train",)}


def read_hugging_face(recipe: SetRecipe, folder: Path) -> Source:
    """The parts of a recipe; the library never calls home for a folder on disk.

    Args:
        recipe: what is read; a split may be called as the Hub calls it (validation).
        folder: of ``DatasetDict.save_to_disk``, or with ``<split>-*.parquet`` files (also in ``data/``).

    Raises:
        NotFoundError: there is no such folder or split.
        DataFormatError: it has no column of images or of labels.
    """
    splits = _open(folder)
    features: Any = next(iter(splits.values())).features
    label = next((name for name in _LABEL_COLUMNS if name in features), None)
    image = next((name for name in _IMAGE_COLUMNS if name in features), None)
    if label is None or image is None:
        raise DataFormatError(
            f"{folder} has the columns {', '.join(features)}: none of images ({', '.join(_IMAGE_COLUMNS)}) "
            f"or none of labels ({', '.join(_LABEL_COLUMNS)})."
        )
    names = getattr(features[label], "names", None) or [str(number) for number in range(recipe.classes)]
    parts = {
        part: joined([_part(_split(splits, name, folder), image, label) for name in wanted])
        for part, wanted in recipe.splits.items()
    }
    return Source(tuple(names), parts)


def _open(folder: Path) -> dict[str, Any]:
    import datasets

    if not folder.is_dir():
        raise NotFoundError(f"{folder} is no folder.", hint="Give the folder of the dataset as --source.")
    if (folder / "dataset_dict.json").exists():
        return dict(datasets.load_from_disk(str(folder)))
    files: dict[str, list[str]] = {}
    for path in sorted({*folder.glob("*.parquet"), *folder.glob("data/*.parquet")}):
        files.setdefault(path.name.split("-")[0].removesuffix(".parquet"), []).append(str(path))
    if not files:
        raise NotFoundError(
            f"{folder} holds neither a saved dataset (dataset_dict.json) nor parquet files.",
            hint="Give the folder of the dataset as --source.",
        )
    return {split: datasets.Dataset.from_parquet(paths, keep_in_memory=False) for split, paths in files.items()}


def _split(splits: dict[str, Any], name: str, folder: Path) -> Any:
    for candidate in _OTHER_NAMES.get(name, (name,)):
        if candidate in splits:
            return splits[candidate]
    raise NotFoundError(f"{folder} has no split {name!r}; it has {', '.join(splits)}.")


def _part(dataset: Any, image: str, label: str) -> SourcePart:
    import datasets

    images = dataset.select_columns([image]).cast_column(image, datasets.Image(decode=False))

    def read(position: int) -> Any:
        entry = images[position][image]
        return entry["bytes"] if entry.get("bytes") is not None else entry["path"]

    return SourcePart([int(value) for value in dataset[label][:]], read)
