"""Sets that protocols read in the folders in which their authors publish them: found, checked, and put into place.

ImageNet-C (Hendrycks and Dietterich, arXiv 1903.12261) is ``<corruption>/<severity>/<class>/``, its archives unpacked
beside each other or each into a folder of its own; ObjectNet (Barbu et al. 2019) ``images/<class>/`` and ``mappings/``;
Stylized-ImageNet (Geirhos et al., arXiv 1811.12231) ``val/<class>/`` or the classes themselves. Their images are
counted, not decoded: ImageNet-C has 3.75 million.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from competition.data.atomic import make_folder, storage_errors
from competition.errors import DataFormatError, NotFoundError
from competition.evalsets.preparing.recipes import Format, SetRecipe
from competition.progress import Progress, ProgressHook

CORRUPTIONS = (
    *("gaussian_noise", "shot_noise", "impulse_noise"),
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness"),
    *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
"""The benchmark's; its archive ``extra`` has four more, which do not count."""

SEVERITIES = ("1", "2", "3", "4", "5")
OBJECTNET_MAPPINGS = (
    "folder_to_objectnet_label.json",
    "objectnet_to_imagenet_1k.json",
    "pytorch_to_imagenet_2012_id.json",
    "imagenet_to_label_2012_v2",
)
_GROUPS = ("blur", "digital", "noise", "weather")
_IMAGES = (".jpg", ".jpeg", ".png", ".webp")
_MAX_JSON_BYTES = 64 * 2**20

Found = tuple[dict[str, Path], int]
"""What belongs into the set's folder, by its name there; and how many images that is."""


def find_published(recipe: SetRecipe, folder: Path, *, any_size: bool, progress: ProgressHook | None) -> Found:
    """Where the parts of a published set lie below ``folder``, all of them there.

    Args:
        recipe: which set.
        folder: where its archives were unpacked.
        any_size: other numbers of classes and images are as good.
        progress: told after every folder of classes.

    Raises:
        NotFoundError: it is not the folder of the set, or a part of it is absent.
        DataFormatError: classes or images are missing, or a file beside the images is damaged.
        StorageError: a folder cannot be read.
    """
    match recipe.format:
        case Format.IMAGENET_C:
            entries, images = _imagenet_c(recipe, folder, any_size, progress)
        case Format.OBJECTNET:
            entries, images = _objectnet(recipe, folder, any_size)
        case _:
            entries, images = _stylized(recipe, folder, any_size)
    wanted = recipe.sizes.get("test")
    if wanted is not None and images != wanted and not any_size:
        raise DataFormatError(
            f"{folder} has {images:,} images of {recipe.name} instead of {wanted:,}.",
            hint="Is it unpacked whole? --any-size takes it all the same.",
        )
    return entries, images


def place_published(entries: Mapping[str, Path], made: Path, *, copy: bool) -> None:
    """Put a published set's parts into ``made``: as links to where they lie, or as copies (raises ``StorageError``)."""
    make_folder(made)
    for name, path in entries.items():
        with storage_errors("copying" if copy else "linking", path):
            if copy:
                shutil.copytree(path, made / name)
            else:
                (made / name).symlink_to(path.resolve(), target_is_directory=True)


def _imagenet_c(recipe: SetRecipe, folder: Path, any_size: bool, progress: ProgressHook | None) -> Found:
    places = (folder, *(folder / group for group in _GROUPS))
    entries: dict[str, Path] = {}
    for corruption in CORRUPTIONS:
        found = next((place / corruption for place in places if (place / corruption).is_dir()), None)
        if found is None:
            raise NotFoundError(
                f"{folder} has no folder {corruption}, one of ImageNet-C's 15 corruptions.",
                hint="Unpack blur.tar, digital.tar, noise.tar and weather.tar into it.",
            )
        entries[corruption] = found
    images = 0
    known: set[str] | None = None
    for done, (corruption, path) in enumerate(entries.items()):
        for severity in SEVERITIES:
            counts = _classes(recipe, path / severity, any_size)
            if known is not None and counts.keys() != known:
                raise DataFormatError(f"{path / severity} has other classes than the other folders of ImageNet-C.")
            known = set(counts)
            images += sum(counts.values())
        if progress is not None:
            progress(Progress(f"looking at {corruption}", done + 1, len(entries)))
    return entries, images


def _objectnet(recipe: SetRecipe, folder: Path, any_size: bool) -> Found:
    base = next((place for place in (folder, folder / "objectnet-1.0") if (place / "images").is_dir()), None)
    if base is None:
        raise NotFoundError(f"{folder} has no folder images.", hint="Unpack objectnet-1.0.zip, and give its folder.")
    counts = _classes(recipe, base / "images", any_size)
    for name in OBJECTNET_MAPPINGS:
        if not (base / "mappings" / name).is_file():
            raise NotFoundError(f"{base / 'mappings' / name} is not there.", hint="Unpack all of objectnet-1.0.zip.")
    label_of_folder = _mapping(base / "mappings" / OBJECTNET_MAPPINGS[0])
    for name in OBJECTNET_MAPPINGS[1:3]:
        _mapping(base / "mappings" / name)
    unknown = next((name for name in counts if name not in label_of_folder), None)
    if unknown is not None:
        raise DataFormatError(f"{base / 'images' / unknown} is no class of {OBJECTNET_MAPPINGS[0]}.")
    return {"images": base / "images", "mappings": base / "mappings"}, sum(counts.values())


def _stylized(recipe: SetRecipe, folder: Path, any_size: bool) -> Found:
    base = folder / "val" if (folder / "val").is_dir() else folder
    return {"test": base}, sum(_classes(recipe, base, any_size).values())


def _classes(recipe: SetRecipe, folder: Path, any_size: bool) -> dict[str, int]:
    """The images of each class of a folder; none is empty, and nothing else lies between them."""
    if not folder.is_dir():
        raise NotFoundError(f"{folder} is not there.", hint=f"Is {recipe.name} unpacked whole?")
    counts: dict[str, int] = {}
    with storage_errors("listing", folder):
        names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        for name in names:
            counts[name] = 0
            with os.scandir(folder / name) as entries:
                for entry in entries:
                    if not entry.name.lower().endswith(_IMAGES) or entry.name.startswith("."):
                        continue
                    if not entry.stat().st_size:
                        raise DataFormatError(f"{entry.path} is empty.", hint=f"Unpack {recipe.name} again.")
                    counts[name] += 1
    empty = next((name for name, count in counts.items() if not count), None)
    if empty is not None:
        raise DataFormatError(f"{folder / empty} holds no image of its class.", hint=f"Unpack {recipe.name} again.")
    if len(counts) != recipe.classes and not (any_size and len(counts) > 1):
        raise DataFormatError(
            f"{folder} has {len(counts):,} folders of classes instead of {recipe.classes:,}.",
            hint="Is it the right folder, and whole? --any-size takes it all the same.",
        )
    return counts


def _mapping(path: Path) -> dict[str, Any]:
    with storage_errors("reading", path), path.open("rb") as stream:
        content = stream.read(_MAX_JSON_BYTES)
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataFormatError(f"{path} is no JSON, or not whole ({error}).", hint="Unpack ObjectNet again.") from error
    if not isinstance(found, dict):
        raise DataFormatError(f"{path} is no mapping.", hint="Unpack ObjectNet again.")
    return found
