"""Sets from a folder that Hugging Face's datasets library saved, or from parquet files of the Hub, already on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from competition.errors import DataFormatError, NotFoundError
from competition.evalsets.preparing.captions import clean_captions
from competition.evalsets.preparing.recipes import Kind, SetRecipe
from competition.evalsets.preparing.saved import Scratch, damages, encoded_image, open_parquet, open_saved
from competition.evalsets.preparing.source import Label, Source, SourcePart, joined

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = {
    Kind.CLASSES: ("label", "fine_label", "labels"),
    Kind.SEVERAL_CLASSES: ("labels", "classes", "label"),
    Kind.CAPTIONS: ("caption", "captions", "sentences"),
}
_OTHER_NAMES = {"val": ("val", "validation", "valid"), "valid": ("valid", "validation", "val"), "all": ("train",)}


def read_hugging_face(recipe: SetRecipe, folder: Path, scratch: Scratch) -> Source:
    """The parts of a recipe; the library never calls home for a folder on disk.

    Args:
        recipe: what is read; a split may be called as the Hub calls it (validation).
        folder: of ``DatasetDict.save_to_disk``, or with ``<split>-*.parquet`` files (also in ``data/``).
        scratch: a folder for what is unpacked, which is needed as long as the source is read.

    Raises:
        NotFoundError: there is no such folder or split.
        DataFormatError: a file is damaged, or there is no column of images or of what is known of them.
    """
    splits = _open(folder, scratch)
    features: Any = next(iter(splits.values())).features
    wanted_columns = _LABEL_COLUMNS[recipe.kind]
    label = next((name for name in wanted_columns if name in features), None)
    image = next((name for name in _IMAGE_COLUMNS if name in features), None)
    if label is None or image is None:
        raise DataFormatError(
            f"{folder} has the columns {', '.join(features)}: none of images ({', '.join(_IMAGE_COLUMNS)}) "
            f"or none of labels ({', '.join(wanted_columns)})."
        )
    inner = getattr(features[label], "feature", features[label])
    names = getattr(inner, "names", None) or [str(number) for number in range(recipe.classes)]
    parts = {
        part: joined([_part(_split(splits, name, folder), folder, image, (label, recipe.kind)) for name in wanted])
        for part, wanted in recipe.splits.items()
    }
    return Source(tuple(names), parts)


def _open(folder: Path, scratch: Scratch) -> dict[str, Any]:
    if not folder.is_dir():
        raise NotFoundError(f"{folder} is no folder.", hint="Give the folder of the dataset as --source.")
    if (folder / "dataset_dict.json").exists():
        with damages(folder):
            splits = dict(open_saved(folder))
        if not splits:
            raise DataFormatError(f"The dataset in {folder} has no split.", hint="Get the source again.")
        return splits
    files: dict[str, list[str]] = {}
    for path in sorted({*folder.glob("*.parquet"), *folder.glob("data/*.parquet")}):
        files.setdefault(path.name.split("-")[0].removesuffix(".parquet"), []).append(str(path))
    if not files:
        raise NotFoundError(
            f"{folder} holds neither a saved dataset (dataset_dict.json) nor parquet files.",
            hint="Give the folder of the dataset as --source.",
        )
    return {split: open_parquet(folder, paths, scratch) for split, paths in files.items()}


def _split(splits: dict[str, Any], name: str, folder: Path) -> Any:
    for candidate in _OTHER_NAMES.get(name, (name,)):
        if candidate in splits:
            return splits[candidate]
    raise NotFoundError(f"{folder} has no split {name!r}; it has {', '.join(splits)}.")


def _part(dataset: Any, folder: Path, image: str, labelled: tuple[str, Kind]) -> SourcePart:
    import datasets

    label, kind = labelled
    with damages(folder):
        images = dataset.select_columns([image]).cast_column(image, datasets.Image(decode=False))
        values = dataset[label][:]

    def read(position: int) -> Any:
        with damages(folder):
            entry = images[position][image]
        return encoded_image(entry, folder, f"Image {position} of the dataset")

    return SourcePart([_label(value, position, kind) for position, value in enumerate(values)], read)


def _label(value: Any, position: int, kind: Kind) -> Label:
    where = f"Image {position} of the dataset"
    if kind is Kind.CAPTIONS:
        captions = [value] if isinstance(value, str) else value
        if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
            raise DataFormatError(f"{where} has no captions, but {str(value)[:40]!r}.")
        return clean_captions(captions, where)
    several = isinstance(value, list)
    if several != (kind is Kind.SEVERAL_CLASSES) or not all(
        isinstance(number, int) for number in (value if several else [value])
    ):
        wanted = "a list of class numbers" if kind is Kind.SEVERAL_CLASSES else "the number of a class"
        raise DataFormatError(f"{where} has {str(value)[:40]!r} instead of {wanted}.", hint="Is it the right set?")
    return tuple(sorted(set(value))) if several else int(value)
