"""Steps that ``datacup label`` has as commands; their labelled table lies beside the subset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from competition.errors import UsageError
from participant_kit.labelled.balance import UNIFORM, BalanceOptions, balance_dataset
from participant_kit.labelled.candidates import Quota
from participant_kit.labelled.captions import SELECT_THRESHOLD, ByCaptions
from participant_kit.labelled.features import TextFeatures
from participant_kit.labelled.images import NEIGHBOURS, ByImages
from participant_kit.labelled.prompts import NEIGHBOURS as PROMPT_NEIGHBOURS
from participant_kit.labelled.prompts import ByPrompts
from participant_kit.labelled.prune import PruneOptions, prune_dataset
from participant_kit.labelled.run import Target, label
from participant_kit.labelled.schema_map import BySchema
from participant_kit.labelled.table import label_tables
from participant_kit.pipelines.operations import TABLE_NAME, AnyOperation, Made, Operation, Task
from participant_kit.pipelines.options import InputPath, PathOrName, Seed, StepOptions, Text

if TYPE_CHECKING:
    from participant_kit.pools.annotate.models import ModelChoice

Cosine = Annotated[float, Field(ge=-1, le=1)]
Positive = Annotated[int, Field(ge=1)]


class LabelOptions(StepOptions):
    """What every labelled dataset has."""

    classes: InputPath
    size: Positive | None = None
    per_class: Positive | None = None

    def target(self, task: Task, seed: int = 0) -> Target:
        """The dataset that is wanted; its table goes beside the subset."""
        return Target(self.classes, task.folder / TABLE_NAME, Quota(self.size, self.per_class, seed))


class SubstringOptions(LabelOptions):
    """See ``label_by_captions``, without a second step."""

    seed: Seed = 0


class TextOptions(LabelOptions):
    """Features of texts come from a model, if not from a file."""

    model: PathOrName | None = None
    pretrained: Text | None = None
    arch: Text = "b32"

    @property
    def choice(self) -> ModelChoice | None:
        """The model, if there is one: only then open_clip is loaded, which takes seconds."""
        if self.model is None:
            return None
        from participant_kit.pools.annotate.models import ModelChoice

        return ModelChoice(str(self.model), self.pretrained, self.arch)

    def files(self) -> dict[str, Path]:
        """The weights stand for the model."""
        named = {role: path for role, path in super().files().items() if role != "model"}
        if self.choice is None:
            return named
        from participant_kit.pools.annotate.models import find_model

        return named | {"weights": find_model(self.choice).weights}


class RetrieveCaptionsOptions(TextOptions):
    """See ``CaptionOptions``."""

    class_features: InputPath | None = None
    threshold: Cosine = SELECT_THRESHOLD


class RetrievePromptsOptions(TextOptions):
    """See ``PromptOptions``."""

    template: list[Text] = Field(default_factory=list, max_length=1024)
    prompt_features: InputPath | None = None
    neighbours: Positive = PROMPT_NEIGHBOURS
    several_labels: bool = False


class RetrieveImagesOptions(LabelOptions):
    """See ``ImageOptions``."""

    reference: InputPath | None = None
    reference_metadata_dir: InputPath | None = None
    reference_features: InputPath | None = None
    reference_labels: InputPath | None = None
    arch: Text = "l14"
    neighbours: Positive = NEIGHBOURS
    duplicate_cosine: Cosine | None = None


class SchemaMapOptions(LabelOptions):
    """See ``SchemaOptions``; ``within_pool`` counts only samples of the pool."""

    labels: list[InputPath] = Field(min_length=1, max_length=256)
    mapping: InputPath
    confidence: Text | None = None
    min_confidence: float | None = None
    best: bool = False
    within_pool: bool = True
    seed: Seed = 0

    def files(self) -> dict[str, Path]:
        """The tables in the place of their folders."""
        tables = {f"labels_{number}": path for number, path in enumerate(label_tables(self.labels), 1)}
        return {"classes": self.classes, "mapping": self.mapping, **tables}


class RepairOptions(StepOptions):
    """Of what changes a labelled dataset."""

    classes: InputPath


class BalanceStepOptions(RepairOptions):
    """See ``BalanceOptions``."""

    distribution: PathOrName = Path(UNIFORM)
    exponent: float | None = None
    imbalance: float | None = None
    size: Positive | None = None
    max_repeats: Positive = 1
    draw: bool = False
    seed: Seed = 0

    def files(self) -> dict[str, Path]:
        """A distribution of DataCup's own is no file."""
        return {role: path for role, path in super().files().items() if path.exists()}


class PruneStepOptions(RepairOptions):
    """See ``PruneOptions``."""

    arch: Text = "l14"
    folds: Annotated[int, Field(ge=2)] = 5
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


def _substring(task: Task, options: SubstringOptions) -> Made:
    strategy = ByCaptions(task.metadata_dir)
    return label(options.target(task, options.seed), strategy, task.workers, task.progress)


def _captions(task: Task, options: RetrieveCaptionsOptions) -> Made:
    texts = TextFeatures(options.class_features, options.choice)
    strategy = ByCaptions(task.metadata_dir, texts, options.arch, options.threshold)
    return label(options.target(task), strategy, task.workers, task.progress)


def _prompts(task: Task, options: RetrievePromptsOptions) -> Made:
    texts = TextFeatures(options.prompt_features, options.choice)
    templates = tuple(options.template)
    strategy = ByPrompts(task.metadata_dir, texts, templates, options.arch, options.neighbours, options.several_labels)
    return label(options.target(task), strategy, task.workers, task.progress)


def _images(task: Task, options: RetrieveImagesOptions) -> Made:
    strategy = ByImages(
        task.metadata_dir,
        options.reference_features,
        options.reference_labels,
        options.reference,
        options.reference_metadata_dir,
        options.arch,
        options.neighbours,
        options.duplicate_cosine,
    )
    return label(options.target(task), strategy, task.workers, task.progress)


def _schema(task: Task, options: SchemaMapOptions) -> Made:
    within = task.metadata_dir if options.within_pool else None
    strategy = BySchema(
        options.labels, options.mapping, options.confidence, options.min_confidence, options.best, within
    )
    return label(options.target(task, options.seed), strategy, task.workers, task.progress)


def _labelled(task: Task) -> Path:
    """The labelled table of the step that is taken."""
    table = task.inputs[0].with_name(TABLE_NAME)
    if not table.exists():
        raise UsageError("The step in `from` has no labels.", hint="Take a step that runs one of `label`'s commands.")
    return table


def _balance(task: Task, options: BalanceStepOptions) -> Made:
    chosen = BalanceOptions(
        str(options.distribution),
        options.exponent,
        options.imbalance,
        options.size,
        options.max_repeats,
        options.draw,
        options.seed,
    )
    return balance_dataset(_labelled(task), options.classes, task.folder / TABLE_NAME, chosen)


def _prune(task: Task, options: PruneStepOptions) -> Made:
    chosen = PruneOptions(options.arch, options.folds, options.seed)
    table, to = _labelled(task), task.folder / TABLE_NAME
    return prune_dataset(table, options.classes, task.metadata_dir, to, chosen, task.progress)


LABEL_STEPS: tuple[AnyOperation, ...] = (
    Operation("label substring", SubstringOptions, _substring),
    Operation("label retrieve-captions", RetrieveCaptionsOptions, _captions),
    Operation("label retrieve-prompts", RetrievePromptsOptions, _prompts),
    Operation("label retrieve-images", RetrieveImagesOptions, _images),
    Operation("label schema-map", SchemaMapOptions, _schema),
    Operation("label balance", BalanceStepOptions, _balance, least=1, most=1, reads_pool=False),
    Operation("label prune", PruneStepOptions, _prune, least=1, most=1),
)
