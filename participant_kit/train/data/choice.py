"""What a participant gives as training data: folders of shards or images, or Hugging Face datasets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.train.data.hub_dataset import HUB_PREFIX, open_hub_dataset
from participant_kit.train.data.hugging_face import open_parquet, open_saved
from participant_kit.train.data.image_folder import open_image_folder
from participant_kit.train.data.labels import LabelChoice, Labels, load_labels
from participant_kit.train.data.layout import Layout, layout_of
from participant_kit.train.data.shard_index import keep_index, open_indexed_shards
from participant_kit.train.data.shards import ShardSource
from participant_kit.train.data.source import Source, TrainingSet


@dataclass(frozen=True, slots=True)
class DataChoice:
    """Training data as named at the command line.

    Args:
        sources: folders, or ``hf:OWNER/NAME[@REVISION]``.
        weights: how often each source is seen, in proportion; by its samples where absent.
        labels: of the samples, instead of those that the sources have.
    """

    sources: tuple[str, ...]
    weights: tuple[float, ...] | None = None
    labels: LabelChoice | None = None

    @classmethod
    def parse(cls, data_dir: str, data_weights: str | None = None, labels: LabelChoice | None = None) -> DataChoice:
        """From ``DIR[::DIR]`` and ``W[::W]``.

        Raises:
            UsageError: an empty source, or weights that are not as many positive numbers.
        """
        sources = tuple(data_dir.split("::"))
        if not all(sources):
            raise UsageError(f"--data-dir {data_dir!r} names no folder.", hint="Give one or more, joined by '::'.")
        if data_weights is None:
            return cls(sources, labels=labels)
        try:
            weights = tuple(float(part) for part in data_weights.split("::"))
        except ValueError:
            weights = ()
        if len(weights) != len(sources) or not all(0 < weight < float("inf") for weight in weights):
            raise UsageError(
                f"--data-weights {data_weights!r} does not weight {len(sources)} sources.",
                hint="Give a positive number for each source of --data-dir, joined by '::', as in: 1::2.5",
            )
        return cls(sources, weights, labels)


def open_data(choice: DataChoice, folder: Path, workers: int, progress: ProgressHook) -> TrainingSet:
    """Open all sources.

    Args:
        choice: what to open.
        folder: of the run; indexes that it holds are read (see ``keep_indexes``), nothing is written.
        workers: threads that read shards.
        progress: told where reading stands.

    Raises:
        TrainingError: a source is missing, ambiguous, or holds no samples.
        DataFormatError: a shard or another file is damaged, or the labels are, see ``load_labels``.
        UsageError: there are no labels where some are named, or they are given for something else than shards.
    """
    labels = load_labels(choice.labels) if choice.labels else None
    sources = [
        _open(source, _index(folder, number), workers, progress, labels) for number, source in enumerate(choice.sources)
    ]
    return TrainingSet(sources, choice.weights, labels.sha256 if labels else None)


def keep_indexes(data: TrainingSet, folder: Path) -> TrainingSet:
    """Keep the indexes of opened data in the run's folder, for resumed runs and the other processes of the machine.

    The folder must be locked by this process (raises ``StorageError``).
    """
    sources = [
        keep_index(source, _index(folder, number)) if isinstance(source, ShardSource) else source
        for number, source in enumerate(data.sources)
    ]
    return TrainingSet(sources, data.weights, data.labels_sha256)


def _index(folder: Path, number: int) -> Path:
    return folder / "index" / f"source-{number}"


def _open(source: str, index: Path, workers: int, progress: ProgressHook, labels: Labels | None) -> Source:
    layout = None if source.startswith(HUB_PREFIX) else layout_of(Path(source))
    if labels is not None and layout is not Layout.SHARDS:
        raise UsageError(
            f"--labels gives labels to shards by uid, and {source} holds no shards.",
            hint="Leave --labels out: image folders and Hugging Face datasets have labels of their own.",
        )
    match layout:
        case None:
            return open_hub_dataset(source, workers, progress)
        case Layout.SHARDS:
            return open_indexed_shards(Path(source), index, workers, progress, labels.numbers if labels else None)
        case Layout.CLASSES:
            return open_image_folder(Path(source), workers, progress)
        case Layout.SAVED:
            return open_saved(Path(source), workers, progress)
        case Layout.PARQUET:
            return open_parquet(Path(source), workers, progress)
