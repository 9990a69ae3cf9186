"""From a source on disk to an evaluation set in the one layout: checked, in a fixed order, whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.data.shards import Sample, write_samples
from competition.errors import DataFormatError, UsageError
from competition.evalsets.lock import SetLock, lock_path, record_set, write_lock
from competition.evalsets.preparing.images import StoredImage, stored
from competition.evalsets.preparing.recipes import ANY_SET, Format, SetRecipe, find_recipe_of_set, stated_sizes
from competition.evalsets.preparing.source import Source, SourcePart, chosen
from competition.evalsets.sources import Origin
from competition.progress import Progress, ProgressHook

SHARD_IMAGES = 1_000
SHARD_BYTES = 256 * 2**20
"""A shard is closed when it has so many images or so many bytes: one is in memory at a time."""

_COLOUR_STAGE = "looking for images without colour"


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How a set is prepared.

    Args:
        source: folder of what it is made from.
        format: in what it lies there; by default as the set is usually published.
        download: let torchvision fetch it into ``source``.
        templates: a file of prompt templates, one a line with a slot ``{c}``, for sets that are read with prompts.
        any_size: take a source whose sizes are not the stated ones.
    """

    source: Path
    format: Format | None = None
    download: bool = False
    templates: Path | None = None
    any_size: bool = False


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What was made: images of each part, those left out for having no colour, and the set's lock."""

    images: Mapping[str, int]
    without_colour: Mapping[str, int]
    lock: SetLock


def prepare_set(name: str, root: Path, options: PrepareOptions, progress: ProgressHook | None = None) -> PrepareReport:
    """Make the set ``root/name``. The same source gives the same set, byte for byte, under one version of Pillow.

    Raises:
        UsageError: there is no recipe, the format is not one of the set's, or the set is there already.
        NotFoundError: the source is not there.
        DataFormatError: an image cannot be decoded, a label is none of a class, or a part has not its stated size.
        StorageError: the disk is full or the folder cannot be written; nothing is left.
    """
    recipe = find_recipe_of_set(name)
    if (root / name).exists():
        raise UsageError(f"The evaluation set {root / name} is there already.", hint="Move it away to make it again.")
    if recipe.format is Format.WINOGAVIL:
        return _winogavil(recipe, root, options, progress)
    templates = _templates(options.templates)
    kind = options.format or recipe.format
    source = _read(recipe, kind, options)
    if recipe.random_split:
        source, dropped = _split_at_random(source, recipe, progress)
    else:
        dropped = {}
    _check(recipe, source)
    images: dict[str, int] = {}

    def write(made: Path) -> None:
        for part, found in source.parts.items():
            images[part], without = _write_part(made / part, found, recipe, progress)
            dropped[part] = dropped.get(part, 0) + without
        if not options.any_size:
            _check_sizes(recipe, images)
        write_bytes(made / "classnames.txt", ("\n".join(source.class_names) + "\n").encode())
        if templates is not None:
            write_bytes(made / "zeroshot_classification_templates.txt", templates)

    lock = _made(name, root, _words(recipe, kind), write)
    return PrepareReport(images, {part: number for part, number in dropped.items() if number}, lock)


def _winogavil(recipe: SetRecipe, root: Path, options: PrepareOptions, progress: ProgressHook | None) -> PrepareReport:
    """A set of instances that share pictures: its stated size is of instances, not of images."""
    from competition.evalsets.preparing.winogavil import read_winogavil, write_winogavil

    if options.format not in {None, recipe.format} or options.download or options.templates is not None:
        raise UsageError(
            f"{recipe.name} is prepared from what is published alone.",
            hint="Leave --format, --download and --templates out.",
        )
    source = read_winogavil(options.source)
    if not options.any_size:
        _check_sizes(recipe, {"test": len(source.instances)}, "instances")
    images: dict[str, int] = {}

    def write(made: Path) -> None:
        images["test"] = write_winogavil(made, source, progress)

    return PrepareReport(images, {}, _made(recipe.name, root, recipe.format.value, write))


def _made(name: str, root: Path, source: str, write: Callable[[Path], None]) -> SetLock:
    """Let ``write`` make the set in a folder beside, record it, and move it into place with its lock, or leave none."""
    make_folder(root)
    with storage_errors("preparing", root / name), tempfile.TemporaryDirectory(dir=root, prefix=".prepare-") as scratch:
        made = Path(scratch) / name
        write(made)
        lock = record_set(made, name, Origin.ELSEWHERE, source=source)
        write_lock(root, lock)
        try:
            made.rename(root / name)
        except OSError:
            lock_path(root, name).unlink(missing_ok=True)
            raise
    return lock


def _read(recipe: SetRecipe, kind: Format, options: PrepareOptions) -> Source:
    if kind not in {recipe.format, *ANY_SET} and not (kind is Format.TORCHVISION and recipe.dataset):
        offered = ", ".join(dict.fromkeys([recipe.format.value, *(other.value for other in ANY_SET)]))
        raise UsageError(f"{recipe.name} is not prepared from {kind.value}.", hint=f"Its formats are: {offered}.")
    if options.download and kind is not Format.TORCHVISION:
        raise UsageError("--download is torchvision's.", hint="Get the source first, and give its --source.")
    match kind:
        case Format.TORCHVISION:
            from competition.evalsets.preparing.torchvision_source import read_torchvision

            return read_torchvision(recipe, options.source, download=options.download)
        case Format.IMAGE_FOLDER:
            from competition.evalsets.preparing.folders import read_image_folders

            return read_image_folders(recipe, options.source)
        case Format.HUGGING_FACE:
            from competition.evalsets.preparing.hugging_face import read_hugging_face

            return read_hugging_face(recipe, options.source)
        case Format.ELEVATER:
            from competition.evalsets.preparing.elevater import read_elevater

            return read_elevater(recipe, options.source)
        case _:
            from competition.evalsets.preparing.folders import read_published

            return read_published(recipe, options.source)


def _split_at_random(source: Source, recipe: SetRecipe, progress: ProgressHook | None) -> tuple[Source, dict[str, int]]:
    """Four fifths train, the rest test, by PyTorch's permutation of its default seed, after dropping what has to be."""
    import torch

    whole = source.parts["all"]
    rows: Sequence[int] = range(len(whole.labels))
    if recipe.colour_only:
        rows = [row for row in _counted(whole, _COLOUR_STAGE, progress) if stored(whole.image(row), f"{row}").colour]
    order = torch.randperm(len(rows), generator=torch.Generator()).tolist()
    train = int(0.8 * len(rows))
    parts = {"train": order[:train], "test": order[train:]}
    split = {part: chosen(whole, [rows[place] for place in places]) for part, places in parts.items()}
    return Source(source.class_names, split), {"all": len(whole.labels) - len(rows)}


def _counted(part: SourcePart, stage: str, progress: ProgressHook | None) -> Iterator[int]:
    for row in range(len(part.labels)):
        yield row
        if progress is not None and (row + 1) % 100 == 0:
            progress(Progress(stage, row + 1, len(part.labels)))


def _check(recipe: SetRecipe, source: Source) -> None:
    classes = len(source.class_names)
    if recipe.classes and classes != recipe.classes:
        raise DataFormatError(
            f"The source of {recipe.name} has {classes} classes instead of {recipe.classes}.",
            hint="Is it the right one? A classnames.txt in it may name them all.",
        )
    for name in source.class_names:
        if not name.strip() or not name.isprintable():
            raise DataFormatError(f"The source of {recipe.name} has a class without a proper name: {name[:60]!r}.")
    for part, found in source.parts.items():
        for position, label in enumerate(found.labels):
            if not 0 <= label < classes:
                raise DataFormatError(f"Image {position} of {recipe.name}, {part}, has class {label} of {classes}.")


def _check_sizes(recipe: SetRecipe, images: Mapping[str, int], what: str = "images") -> None:
    for part, size in stated_sizes(recipe).items():
        if part in images and images[part] != size:
            raise DataFormatError(
                f"The part {part} of {recipe.name} has {images[part]:,} {what} instead of {size:,}.",
                hint="Is it the right source, and whole? --any-size takes it all the same.",
            )


def _write_part(folder: Path, part: SourcePart, recipe: SetRecipe, progress: ProgressHook | None) -> tuple[int, int]:
    """Write the shards of a part; returns how many images it has, and how many were left out."""
    if not part.labels:
        raise DataFormatError(f"The part {folder.name} of {recipe.name} holds no image.")
    make_folder(folder)
    drop_grey = recipe.colour_only and not recipe.random_split
    kept = dropped = size = 0
    block: list[Sample] = []
    shards = count()
    for row in _counted(part, f"preparing {recipe.name}, {folder.name}", progress):
        image: StoredImage = stored(part.image(row), f"{folder.name} {row} of {recipe.name}")
        if drop_grey and not image.colour:
            dropped += 1
            continue
        block.append(Sample(f"s{kept:07d}", {image.extension: image.data, "cls": str(part.labels[row]).encode()}))
        kept += 1
        size += len(image.data)
        if len(block) == SHARD_IMAGES or size >= SHARD_BYTES:
            write_samples(folder / f"{next(shards)}.tar", block)
            block, size = [], 0
    if block:
        write_samples(folder / f"{next(shards)}.tar", block)
    write_bytes(folder / "nshards.txt", str(next(shards)).encode())
    return kept, dropped


def _templates(path: Path | None) -> bytes | None:
    if path is None:
        return None
    with storage_errors("reading", path), path.open("rb") as stream:
        content = stream.read(2**20)
    lines = content.decode("utf-8", "replace").splitlines()
    if not any(line.strip() for line in lines) or any(line.strip() and "{c}" not in line for line in lines):
        raise UsageError(f"{path} is no file of prompt templates.", hint="Every line needs a slot {c}.")
    return content


def _words(recipe: SetRecipe, kind: Format) -> str:
    return f"{kind.value} {recipe.dataset}".strip() if kind is Format.TORCHVISION else kind.value
