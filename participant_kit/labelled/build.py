"""From what a person names to a labelled dataset: one function for each strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from competition.data.engine import Workers
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.labelled.candidates import Quota
from participant_kit.labelled.captions import SELECT_THRESHOLD, Likeness, find_by_captions
from participant_kit.labelled.classes import ClassList, load_classes
from participant_kit.labelled.features import TextFeatures, check_arch
from participant_kit.labelled.images import NEIGHBOURS, ImageSearch, References, find_by_images
from participant_kit.labelled.mapping import load_mapping
from participant_kit.labelled.prompts import NEIGHBOURS as PROMPT_NEIGHBOURS
from participant_kit.labelled.prompts import class_prompts, find_by_prompts
from participant_kit.labelled.record import LabelledReport, check_table_path
from participant_kit.labelled.run import Labelling, metadata_files, run_labelling
from participant_kit.labelled.schema_map import SchemaMap, find_by_labels
from participant_kit.labelled.table import SEPARATORS


@dataclass(frozen=True, slots=True)
class Target:
    """The dataset that is wanted.

    Args:
        classes: file of the classes, see ``load_classes``.
        save_path: the table to write, a ``.parquet``; its uids go to the ``.npy`` of the same stem.
        quota: how large it shall be.
    """

    classes: Path
    save_path: Path
    quota: Quota = field(default_factory=Quota)

    def load(self) -> ClassList:
        """The classes; what is wrong with path or size is said before any work begins.

        Raises:
            UsageError: not a ``.parquet`` path, or a size that means nothing; see also ``load_classes``.
        """
        check_table_path(self.save_path)
        self.quota.check()
        return load_classes(self.classes)


@dataclass(frozen=True, slots=True)
class CaptionOptions:
    """How captions find images.

    Args:
        texts: features of the classes' texts for the second step, one a class; without them there is no second step.
        arch: b32 or l14: whose features of the captions are compared.
        threshold: the cosine of caption and class must be greater.
    """

    texts: TextFeatures | None = None
    arch: str = "b32"
    threshold: float = SELECT_THRESHOLD


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How reference images find images: features and labels in files, or a labelled table and its pool's metadata.

    Args:
        features: ``.npy`` of the references' features.
        labels: text file of their class ids, one a line.
        table: a labelled table, in place of both.
        table_metadata_dir: metadata of the pool that it labels.
        arch: b32 or l14: whose features are compared.
        neighbours: how many samples each reference retrieves.
        duplicate_cosine: of samples of a class that are as alike, the best one stays; all stay when absent.
    """

    features: Path | None = None
    labels: Path | None = None
    table: Path | None = None
    table_metadata_dir: Path | None = None
    arch: str = "l14"
    neighbours: int = NEIGHBOURS
    duplicate_cosine: float | None = None


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """How prompts find images.

    Args:
        texts: features of the prompts, class by class in their order.
        templates: of classes without prompts of their own.
        arch: b32 or l14: whose features of the captions are compared.
        neighbours: how many samples each prompt retrieves.
        several: a sample keeps the labels of all classes that retrieve it, as in GenBench.
    """

    texts: TextFeatures
    templates: tuple[str, ...] = ()
    arch: str = "b32"
    neighbours: int = PROMPT_NEIGHBOURS
    several: bool = False


@dataclass(frozen=True, slots=True)
class SchemaOptions:
    """How labels of another vocabulary become classes; see ``SchemaMap``.

    Args:
        mapping: file of labels and class ids, see ``load_mapping``.
        confidence: name of a column of the tables.
        least: confidence that a row must have.
        best: take the surest class of a sample with several, in place of dropping it.
        metadata_dir: of the pool whose samples alone count.
    """

    mapping: Path
    confidence: str | None = None
    least: float | None = None
    best: bool = False
    metadata_dir: Path | None = None


def label_by_captions(
    target: Target,
    metadata_dir: Path,
    options: CaptionOptions,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> LabelledReport:
    """Label the samples whose captions name exactly one class: ``retrieve-captions``, or ``substring`` without texts.

    Raises what ``run_labelling``, ``load_classes``, ``TextFeatures.of`` and ``find_by_captions`` raise.
    """
    classes = target.load()
    files, assets, likeness, recorded = metadata_files(metadata_dir), {"classes": target.classes}, None, {}
    if options.texts is not None:
        _check_threshold(options.threshold)
        check_arch(options.arch)
        features = options.texts.of([entry.text for entry in classes.entries], metadata_dir, "class")
        likeness = Likeness(features, f"{options.arch}_txt", options.threshold)
        recorded = {"arch": options.arch, "threshold": options.threshold, **options.texts.described()}
        assets |= {"class_features": options.texts.file} if options.texts.file is not None else {}
    name = "substring" if likeness is None else "retrieve-captions"
    find = partial(find_by_captions, classes, likeness)
    labelling = Labelling(name, recorded, find, classes, target.quota, assets)
    return run_labelling(labelling, files, target.save_path, workers, progress)


def label_by_images(
    target: Target,
    metadata_dir: Path,
    options: ImageOptions,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> LabelledReport:
    """Label the samples that are nearest to labelled references: ``retrieve-images``.

    Raises what ``run_labelling``, ``load_classes``, ``References`` and ``find_by_images`` raise.
    """
    check_arch(options.arch)
    classes, files, member = target.load(), metadata_files(metadata_dir), f"{options.arch}_img"
    given = [options.features, options.labels, options.table]
    if options.features is not None and options.labels is not None and options.table is None:
        references = References.of_files(options.features, options.labels, classes)
        assets = {"reference_features": options.features, "reference_labels": options.labels}
    elif options.table is not None and given.count(None) == 2:
        references = References.of_pool(options.table, options.table_metadata_dir or metadata_dir, member, classes)
        assets = {"references": options.table}
    else:
        raise UsageError(
            "Name the references either with --reference-features and --reference-labels, or with --reference.",
            hint="--reference takes a labelled table, whose features --reference-metadata-dir has.",
        )
    copies = options.duplicate_cosine
    recorded = {
        "arch": options.arch,
        "neighbours": options.neighbours,
        "duplicate_cosine": copies,
        "references_sha256": references.digest(),
    }
    find = partial(find_by_images, references, classes, ImageSearch(member, options.neighbours, copies))
    labelling = Labelling(
        "retrieve-images", recorded, find, classes, target.quota, {"classes": target.classes, **assets}
    )
    return run_labelling(labelling, files, target.save_path, workers, progress)


def label_by_prompts(
    target: Target,
    metadata_dir: Path,
    options: PromptOptions,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> LabelledReport:
    """Label the samples whose captions are nearest to prompts of the classes: ``retrieve-prompts``.

    Raises what ``run_labelling``, ``load_classes``, ``class_prompts`` and ``find_by_prompts`` raise.
    """
    check_arch(options.arch)
    classes, files = target.load(), metadata_files(metadata_dir)
    prompts, owners = class_prompts(classes, options.templates)
    features = options.texts.of(prompts, metadata_dir, "prompt")
    find = partial(
        find_by_prompts, features, owners, f"{options.arch}_txt", options.neighbours, several=options.several
    )
    recorded = {
        "arch": options.arch,
        "neighbours": options.neighbours,
        "several_labels": options.several,
        "templates": list(options.templates),
        **options.texts.described(),
    }
    assets = {"classes": target.classes}
    assets |= {"prompt_features": options.texts.file} if options.texts.file is not None else {}
    labelling = Labelling("retrieve-prompts", recorded, find, classes, target.quota, assets)
    return run_labelling(labelling, files, target.save_path, workers, progress)


def label_by_schema(
    target: Target,
    tables: Sequence[Path],
    options: SchemaOptions,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> LabelledReport:
    """Label the samples whose labels of another vocabulary are mapped to classes: ``schema-map``.

    Args:
        target: the dataset.
        tables: of uid and label, files or folders of them.
        options: mapping and rules.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every table.

    Raises what ``run_labelling``, ``load_classes``, ``load_mapping`` and ``find_by_labels`` raise.
    """
    if options.least is not None and options.confidence is None:
        raise UsageError("--min-confidence needs --confidence, the name of the column.")
    if options.best and options.confidence is None:
        raise UsageError("--best needs --confidence, the name of the column that says how sure a label is.")
    classes = target.load()
    mapping = load_mapping(options.mapping, classes)
    if options.metadata_dir is not None:
        metadata_files(options.metadata_dir)
    schema = SchemaMap(mapping, options.confidence, options.least, options.best, options.metadata_dir)
    recorded = {
        "confidence": options.confidence,
        "min_confidence": options.least,
        "several": "best" if options.best else "drop",
        "within_pool": options.metadata_dir is not None,
    }
    find = partial(find_by_labels, schema)
    assets = {"classes": target.classes, "mapping": options.mapping}
    labelling = Labelling("schema-map", recorded, find, classes, target.quota, assets)
    return run_labelling(labelling, label_tables(tables), target.save_path, workers, progress)


def label_tables(paths: Sequence[Path]) -> list[Path]:
    """Tables of labels, those of folders in sorted order.

    Raises:
        UsageError: a path does not exist, a folder has none, or two have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"There are no labels {path}.")
        suffixes = {".parquet", *SEPARATORS}
        inside = sorted(each for each in path.iterdir() if each.suffix in suffixes) if path.is_dir() else [path]
        if not inside:
            raise UsageError(f"The folder {path} has no table.", hint="Tables are .parquet, .csv or .tsv files.")
        for each in inside:
            if each.name in found:
                raise UsageError(f"Two tables have the name {each.name}.", hint="Rename one of them.")
            found[each.name] = each
    return [found[name] for name in sorted(found)]


def _check_threshold(threshold: float) -> None:
    if not -1 <= threshold <= 1:
        raise UsageError(f"--threshold {threshold} is not a cosine between -1 and 1.")
