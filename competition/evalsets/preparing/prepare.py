"""From a source on disk to an evaluation set in the one layout: checked, in a fixed order, whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.errors import DataFormatError, NotFoundError, UsageError
from competition.evalsets.lock import SetLock, lock_path, read_lock, record_set, write_lock
from competition.evalsets.preparing.images import stored
from competition.evalsets.preparing.listed import read_listed, write_listed
from competition.evalsets.preparing.published import find_published, place_published
from competition.evalsets.preparing.reading import read_source
from competition.evalsets.preparing.recipes import (
    AS_PUBLISHED,
    Format,
    Kind,
    SetRecipe,
    find_recipe_of_set,
    stated_sizes,
)
from competition.evalsets.preparing.saved import Scratch, scratch_folder
from competition.evalsets.preparing.source import Source, chosen
from competition.evalsets.preparing.winogavil import read_winogavil, write_winogavil
from competition.evalsets.preparing.writing import counted, write_part
from competition.evalsets.sources import Origin
from competition.progress import ProgressHook

_TYPES = {Kind.CAPTIONS: "retrieval", Kind.SEVERAL_CLASSES: "multilabel"}
"""What ``dataset_type.txt`` says, as CLIP_benchmark's tools write it; nothing of sets of one class an image."""

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
        copy: of a set that is read as published, copy the files instead of linking their folders.
    """

    source: Path
    format: Format | None = None
    download: bool = False
    templates: Path | None = None
    any_size: bool = False
    copy: bool = False


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What was made: images of each part, those left out for having no colour, the set's lock, and whether links."""

    images: Mapping[str, int]
    without_colour: Mapping[str, int]
    lock: SetLock
    linked: bool = False


def prepare_set(name: str, root: Path, options: PrepareOptions, progress: ProgressHook | None = None) -> PrepareReport:
    """Make the set ``root/name``. The same source gives the same set, byte for byte, under one version of Pillow.

    Raises:
        UsageError: there is no recipe, the format is not one of the set's, or the set is there already.
        NotFoundError: the source is not there, or lacks a file.
        DataFormatError: an image cannot be decoded, a label is none of a class, a part has not its stated size, or
            the lock file that lies beside the set's place is of other bytes.
        StorageError: the disk is full or the folder cannot be written; nothing is left.
    """
    recipe = find_recipe_of_set(name)
    if (root / name).exists() or (root / name).is_symlink():
        raise UsageError(f"The evaluation set {root / name} is there already.", hint="Move it away to make it again.")
    kind = options.format or recipe.format
    _check_options(recipe, kind, options)
    templates = _templates(options.templates)
    if kind in AS_PUBLISHED:
        return _put(recipe, root, options, templates, progress)
    if recipe.kind is Kind.CLASSES_ALONE:
        return _listed(recipe, root, options, progress)
    with scratch_folder(root) as scratch:
        if recipe.kind is Kind.INSTANCES:
            return _winogavil(recipe, root, options, scratch, progress)
        return _shards(recipe, root, options, templates, scratch, progress)


def _shards(
    recipe: SetRecipe,
    root: Path,
    options: PrepareOptions,
    templates: bytes | None,
    scratch: Scratch,
    progress: ProgressHook | None,
) -> PrepareReport:
    """A set of images, each with its class, its classes or its captions."""
    kind = options.format or recipe.format
    source = read_source(recipe, kind, options.source, scratch, download=options.download)
    dropped: dict[str, int] = {}
    if recipe.random_split:
        source, dropped = _split_at_random(source, recipe, progress)
    _check(recipe, source)
    images: dict[str, int] = {}

    def write(made: Path) -> None:
        for part, found in source.parts.items():
            images[part], without = write_part(made / part, found, recipe, progress)
            dropped[part] = dropped.get(part, 0) + without
        if not options.any_size:
            _check_sizes(recipe, images)
        if recipe.kind in _TYPES:
            write_bytes(made / "dataset_type.txt", f"{_TYPES[recipe.kind]}\n".encode())
        if recipe.kind is not Kind.CAPTIONS:
            write_bytes(made / "classnames.txt", ("\n".join(source.class_names) + "\n").encode())
        if templates is not None:
            write_bytes(made / "zeroshot_classification_templates.txt", templates)

    lock = _made(recipe.name, root, _words(recipe, kind), write, progress)
    return PrepareReport(images, {part: number for part, number in dropped.items() if number}, lock)


def _put(
    recipe: SetRecipe, root: Path, options: PrepareOptions, templates: bytes | None, progress: ProgressHook | None
) -> PrepareReport:
    """A set that is read as published: its folders linked or copied into its place."""
    entries, images = find_published(recipe, options.source, any_size=options.any_size, progress=progress)

    def write(made: Path) -> None:
        place_published(entries, made, copy=options.copy)
        if templates is not None:
            write_bytes(made / "zeroshot_classification_templates.txt", templates)

    lock = _made(recipe.name, root, recipe.format.value, write, progress)
    return PrepareReport({"test": images}, {}, lock, linked=not options.copy)


def _listed(recipe: SetRecipe, root: Path, options: PrepareOptions, progress: ProgressHook | None) -> PrepareReport:
    """A set of labels alone."""
    listed = read_listed(recipe, options.source)
    images = {"test": len(listed.samples)}
    if not options.any_size:
        _check_classes(recipe, len(listed.class_names))
        _check_sizes(recipe, images)
    lock = _made(recipe.name, root, recipe.format.value, lambda made: write_listed(made, listed), progress)
    return PrepareReport(images, {}, lock)


def _winogavil(
    recipe: SetRecipe, root: Path, options: PrepareOptions, scratch: Scratch, progress: ProgressHook | None
) -> PrepareReport:
    """A set of instances that share pictures: its stated size is of instances, not of images."""
    source = read_winogavil(options.source, scratch)
    if not options.any_size:
        _check_sizes(recipe, {"test": len(source.instances)}, "instances")
    images: dict[str, int] = {}

    def write(made: Path) -> None:
        images["test"] = write_winogavil(made, source, progress)

    lock = _made(recipe.name, root, recipe.format.value, write, progress)
    return PrepareReport(images, {}, lock)


def _made(name: str, root: Path, source: str, write: Callable[[Path], None], progress: ProgressHook | None) -> SetLock:
    """Let ``write`` make the set in a folder beside, record it, and move it into place with its lock, or leave none."""
    known = read_lock(root, name)
    make_folder(root)
    with storage_errors("preparing", root / name), tempfile.TemporaryDirectory(dir=root, prefix=".prepare-") as scratch:
        made = Path(scratch) / name
        write(made)
        lock = record_set(made, name, Origin.ELSEWHERE, source=source, progress=progress)
        if known is not None and known.digest != lock.digest:
            raise DataFormatError(
                f"{name} made from this source has other bytes than {lock_path(root, name)} says.",
                hint="Use the source of that lock file (and its version of Pillow), or move the lock file away.",
            )
        if known is None:
            write_lock(root, lock)
        try:
            made.rename(root / name)
        except OSError:
            if known is None:
                lock_path(root, name).unlink(missing_ok=True)
            raise
    return known or lock


def _check_options(recipe: SetRecipe, kind: Format, options: PrepareOptions) -> None:
    if kind not in recipe.formats:
        offered = ", ".join(other.value for other in recipe.formats)
        raise UsageError(f"{recipe.name} is not prepared from {kind.value}.", hint=f"Its formats are: {offered}.")
    if options.download and kind is not Format.TORCHVISION:
        raise UsageError("--download is torchvision's.", hint="Get the source first, and give its --source.")
    if options.copy and kind not in AS_PUBLISHED:
        raise UsageError(
            f"--copy is for sets that are read as published, and {recipe.name} is made anew.", hint="Leave it out."
        )
    if options.templates is not None and recipe.kind not in {Kind.CLASSES, Kind.SEVERAL_CLASSES}:
        raise UsageError(f"{recipe.name} has no use for prompt templates.", hint="Leave --templates out.")
    if options.source.is_file():
        raise UsageError(
            f"{options.source} is a file; --source is the folder that it lies in, or was unpacked into.",
            hint="docs/evaluation-sets.md says what has to be unpacked.",
        )
    if not options.source.is_dir() and not options.download:
        hint = "Give the folder of what the set is made from as --source"
        by_torchvision = ", or let torchvision fetch it with --download" if kind is Format.TORCHVISION else ""
        raise NotFoundError(f"There is no folder {options.source}.", hint=f"{hint}{by_torchvision}.")


def _split_at_random(source: Source, recipe: SetRecipe, progress: ProgressHook | None) -> tuple[Source, dict[str, int]]:
    """Four fifths train, the rest test, by PyTorch's permutation of its default seed, after dropping what has to be."""
    import torch

    whole = source.parts["all"]
    rows: Sequence[int] = range(len(whole.labels))
    if recipe.colour_only:
        rows = [row for row in counted(whole, _COLOUR_STAGE, progress) if stored(whole.image(row), f"{row}").colour]
    order = torch.randperm(len(rows), generator=torch.Generator()).tolist()
    train = int(0.8 * len(rows))
    parts = {"train": order[:train], "test": order[train:]}
    split = {part: chosen(whole, [rows[place] for place in places]) for part, places in parts.items()}
    return Source(source.class_names, split), {"all": len(whole.labels) - len(rows)}


def _check(recipe: SetRecipe, source: Source) -> None:
    if recipe.kind is Kind.CAPTIONS:
        return
    classes = len(source.class_names)
    _check_classes(recipe, classes)
    for name in source.class_names:
        if not name.strip() or not name.isprintable():
            raise DataFormatError(f"The source of {recipe.name} has a class without a proper name: {name[:60]!r}.")
    for part, found in source.parts.items():
        for position, label in enumerate(found.labels):
            for number in label if isinstance(label, tuple) else (label,):
                if not isinstance(number, int) or not 0 <= number < classes:
                    raise DataFormatError(
                        f"Image {position} of {recipe.name}, {part}, has class {number} of {classes}."
                    )


def _check_classes(recipe: SetRecipe, classes: int) -> None:
    if recipe.classes and classes != recipe.classes:
        raise DataFormatError(
            f"The source of {recipe.name} has {classes} classes instead of {recipe.classes}.",
            hint="Is it the right one? A classnames.txt in it may name them all.",
        )


def _check_sizes(recipe: SetRecipe, images: Mapping[str, int], what: str = "images") -> None:
    for part, size in stated_sizes(recipe).items():
        if part in images and images[part] != size:
            raise DataFormatError(
                f"The part {part} of {recipe.name} has {images[part]:,} {what} instead of {size:,}.",
                hint="Is it the right source, and whole? --any-size takes it all the same.",
            )


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
