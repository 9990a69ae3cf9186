"""``datacup label``: labelled datasets of a requested size from a pool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from competition.data.engine import Workers
from competition.errors import UsageError
from participant_kit.cli import label_repair
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.label_report import show_labelled
from participant_kit.cli.options import MetadataDirOption, SeedOption, spread

if TYPE_CHECKING:
    from participant_kit.labelled.features import TextFeatures
    from participant_kit.labelled.run import Strategy, Target

app = typer.Typer(no_args_is_help=True, help="Find labelled samples of classes in a pool.")

ClassesOption = Annotated[
    Path, typer.Option("--classes", help="The classes: ids, names, definitions, prompts; .json, .yaml or .tsv.")
]
TableOption = Annotated[
    Path, typer.Option("--save-path", help="The table to write, a .parquet; its uids go to the .npy beside it.")
]
SizeOption = Annotated[
    int | None, typer.Option("--size", help="Samples of all classes, spread evenly; default: all that are found.")
]
PerClassOption = Annotated[int | None, typer.Option("--per-class", help="Samples of one class, at most.")]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Encodes the texts: an open_clip name, a configuration, or a run's folder."),
]
PretrainedOption = Annotated[
    str | None, typer.Option("--pretrained", help="The model's weights: a tag of open_clip, or a .safetensors.")
]
ArchOption = Annotated[str, typer.Option("--arch", help="Whose features of the pool are searched: b32 or l14.")]


@app.callback()
def _group() -> None:
    pass


@app.command("classes")
def classes_of_wordnet(
    synset_ids: Annotated[
        Path, typer.Option("--synset-ids", help="Ids of noun synsets, one `n########` a line, for instance ImageNet's.")
    ],
    save_path: Annotated[Path, typer.Option("--save-path", help="The class list to write, a .json.")],
    wordnet_dir: Annotated[
        Path | None,
        typer.Option(
            "--wordnet-dir", help="WordNet 3.0's `dict` folder; default: the cache's, then /usr/share/wordnet."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a class list from synsets of WordNet.

    Classes are in the order of their ids, as ImageNet's are.
    """
    from participant_kit.assets import WORDNET, find_asset
    from participant_kit.labelled.wordnet_classes import read_noun_ids, synset_classes, write_classes

    entries = synset_classes(find_asset(WORDNET, wordnet_dir), read_noun_ids(synset_ids))
    write_classes(save_path, entries)
    console = Console(as_json=as_json)
    lemmas = sum(len(entry.names) for entry in entries)
    payload = {"classes": len(entries), "lemmas": lemmas, "file": save_path.name}
    console.pairs(payload, {"classes": f"{len(entries):,}", "lemmas": f"{lemmas:,}", "file": save_path})
    console.next_step(
        f"datacup label substring --classes {save_path} --metadata-dir METADATA --save-path labels.parquet"
    )


@app.command("schema-map")
@spread
def schema_map(
    labels: Annotated[
        list[Path],
        typer.Option("--labels", help="Tables of uid and label (.parquet, .csv, .tsv), or a folder of them."),
    ],
    mapping: Annotated[Path, typer.Option("--mapping", help="Label and class id on each line, or {label: id}.")],
    classes: ClassesOption,
    save_path: TableOption,
    size: SizeOption = None,
    per_class: PerClassOption = None,
    confidence: Annotated[
        str | None, typer.Option("--confidence", help="Column of the tables that says how sure a label is.")
    ] = None,
    min_confidence: Annotated[
        float | None, typer.Option("--min-confidence", help="Rows below this do not count.")
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Of a sample's several classes take the surest; default: drop the sample.")
    ] = False,
    metadata_dir: Annotated[
        Path | None, typer.Option("--metadata-dir", help="Only samples of this pool count; default: all.")
    ] = None,
    seed: SeedOption = 0,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Map labels of another vocabulary to classes by a table.

    Several labels may mean one class. Labels that the table lacks are counted, and the most frequent ones recorded.
    """
    from participant_kit.labelled.schema_map import BySchema

    target = _target(classes, save_path, size, per_class, seed)
    strategy = BySchema(labels, mapping, confidence, min_confidence, best, metadata_dir)
    _label(target, strategy, "Mapping labels to classes", metadata_dir, workers, as_json=as_json)


@app.command("retrieve-images")
@spread
def retrieve_images(
    classes: ClassesOption,
    metadata_dir: MetadataDirOption,
    save_path: TableOption,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="The references: a labelled table whose pool has features.")
    ] = None,
    reference_metadata_dir: Annotated[
        Path | None, typer.Option("--reference-metadata-dir", help="Metadata of that pool; default: of this one.")
    ] = None,
    reference_features: Annotated[
        Path | None, typer.Option("--reference-features", help="Or features of the references, an .npy.")
    ] = None,
    reference_labels: Annotated[
        Path | None, typer.Option("--reference-labels", help="With their class ids, one on each line of a text file.")
    ] = None,
    arch: ArchOption = "l14",
    neighbours: Annotated[int, typer.Option("--neighbours", "-k", help="Samples that each reference retrieves.")] = 50,
    duplicate_cosine: Annotated[
        float | None,
        typer.Option("--duplicate-cosine", help="Of a class's samples this alike, keep the best; default: keep all."),
    ] = None,
    size: SizeOption = None,
    per_class: PerClassOption = None,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Take the images most like labelled references.

    Alike means near in CLIP's space. An image that references of several classes retrieve has the label of the nearest.
    """
    from participant_kit.labelled.images import ByImages

    target = _target(classes, save_path, size, per_class)
    references = (reference_features, reference_labels, reference, reference_metadata_dir)
    strategy = ByImages(metadata_dir, *references, arch, neighbours, duplicate_cosine)
    _label(target, strategy, "Searching for images like the references", metadata_dir, workers, as_json=as_json)


@app.command("retrieve-captions")
@spread
def retrieve_captions(
    classes: ClassesOption,
    metadata_dir: MetadataDirOption,
    save_path: TableOption,
    class_features: Annotated[
        Path | None, typer.Option("--class-features", help="Features of the classes' texts, an .npy; or --model.")
    ] = None,
    model: ModelOption = None,
    pretrained: PretrainedOption = None,
    arch: ArchOption = "b32",
    threshold: Annotated[
        float, typer.Option("--threshold", help="The cosine of caption and class must be greater; LAIONet: 0.82.")
    ] = 0.5,
    size: SizeOption = None,
    per_class: PerClassOption = None,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Take captions that name one class and are like it.

    Names match whole words, case as it is; one that several classes share says nothing. Then the caption is compared
    with "name: definition".
    """
    from participant_kit.labelled.captions import ByCaptions

    target = _target(classes, save_path, size, per_class)
    strategy = ByCaptions(metadata_dir, _texts(class_features, model, pretrained, arch), arch, threshold)
    _label(target, strategy, "Searching for classes in captions", metadata_dir, workers, as_json=as_json)


@app.command("substring")
@spread
def substring(
    classes: ClassesOption,
    metadata_dir: MetadataDirOption,
    save_path: TableOption,
    size: SizeOption = None,
    per_class: PerClassOption = None,
    seed: SeedOption = 0,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Take captions that name exactly one class.

    Names match whole words, case as it is. Which samples of a class are taken is drawn by lot.
    """
    from participant_kit.labelled.captions import ByCaptions

    target, strategy = _target(classes, save_path, size, per_class, seed), ByCaptions(metadata_dir)
    _label(target, strategy, "Searching for classes in captions", metadata_dir, workers, as_json=as_json)


@app.command("retrieve-prompts")
@spread
def retrieve_prompts(
    classes: ClassesOption,
    metadata_dir: MetadataDirOption,
    save_path: TableOption,
    template: Annotated[
        list[str] | None,
        typer.Option("--template", help="For classes without prompts: a sentence with {} for the name. Repeatable."),
    ] = None,
    prompt_features: Annotated[
        Path | None, typer.Option("--prompt-features", help="Features of all prompts, an .npy; or --model.")
    ] = None,
    model: ModelOption = None,
    pretrained: PretrainedOption = None,
    arch: ArchOption = "b32",
    neighbours: Annotated[int, typer.Option("--neighbours", "-k", help="Samples that each prompt retrieves.")] = 500,
    several_labels: Annotated[
        bool, typer.Option("--several-labels", help="A sample is in every class that retrieves it, as in GenBench.")
    ] = False,
    size: SizeOption = None,
    per_class: PerClassOption = None,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Take the captions nearest to prompts of the classes.

    A sample's score is its mean cosine over the prompts of the class that retrieved it.
    """
    from participant_kit.labelled.prompts import ByPrompts

    target = _target(classes, save_path, size, per_class)
    texts = _texts(prompt_features, model, pretrained, arch)
    strategy = ByPrompts(metadata_dir, texts, tuple(template or ()), arch, neighbours, several_labels)
    _label(target, strategy, "Searching with prompts", metadata_dir, workers, as_json=as_json)


app.command("balance")(label_repair.balance)
app.command("prune")(label_repair.prune)


def _target(classes: Path, save_path: Path, size: int | None, per_class: int | None, seed: int = 0) -> Target:
    from participant_kit.labelled.candidates import Quota
    from participant_kit.labelled.run import Target

    return Target(classes, save_path, Quota(size, per_class, seed))


def _label(
    target: Target, strategy: Strategy, doing: str, metadata_dir: Path | None, workers: Workers, *, as_json: bool
) -> None:
    """Run a strategy and show what came of it."""
    from participant_kit.labelled.run import label

    console = Console(as_json=as_json)
    with console.progress(doing) as progress:
        report = label(target, strategy, workers, progress)
    show_labelled(console, report, target.save_path, metadata_dir)


def _texts(features: Path | None, model: str | None, pretrained: str | None, arch: str) -> TextFeatures:
    from participant_kit.labelled.features import TextFeatures

    if model is None:
        if pretrained is not None:
            raise UsageError("--pretrained is given without --model.")
        return TextFeatures(features)
    from participant_kit.pools.annotate.models import ModelChoice

    return TextFeatures(features, ModelChoice(model, pretrained, arch))
