"""What a participant gives as training data: folders of shards or images, or Hugging Face datasets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.train.data.hub_dataset import HUB_PREFIX, open_hub_dataset
from participant_kit.train.data.hugging_face import open_parquet, open_saved
from participant_kit.train.data.image_folder import open_image_folder
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
    """

    sources: tuple[str, ...]
    weights: tuple[float, ...] | None = None

    @classmethod
    def parse(cls, data_dir: str, data_weights: str | None = None) -> DataChoice:
        """From ``DIR[::DIR]`` and ``W[::W]``.

        Raises:
            UsageError: an empty source, or weights that are not as many positive numbers.
        """
        sources = tuple(data_dir.split("::"))
        if not all(sources):
            raise UsageError(f"--data-dir {data_dir!r} names no folder.", hint="Give one or more, joined by '::'.")
        if data_weights is None:
            return cls(sources)
        try:
            weights = tuple(float(part) for part in data_weights.split("::"))
        except ValueError:
            weights = ()
        if len(weights) != len(sources) or not all(0 < weight < float("inf") for weight in weights):
            raise UsageError(
                f"--data-weights {data_weights!r} does not weight {len(sources)} sources.",
                hint="Give a positive number for each source of --data-dir, joined by '::', as in: 1::2.5",
            )
        return cls(sources, weights)


def open_data(choice: DataChoice, folder: Path, workers: int, progress: ProgressHook) -> TrainingSet:
    """Open all sources.

    Args:
        choice: what to open.
        folder: of the run; indexes that it holds are read (see ``keep_indexes``), nothing is written.
        workers: threads that read shards.
        progress: told where reading stands.

    Raises:
        TrainingError: a source is missing, ambiguous, or holds no samples.
        DataFormatError: a shard or another file is damaged.
    """
    sources = [_open(source, _index(folder, number), workers, progress) for number, source in enumerate(choice.sources)]
    return TrainingSet(sources, choice.weights)


def keep_indexes(data: TrainingSet, folder: Path) -> TrainingSet:
    """Keep the indexes of opened data in the run's folder, for resumed runs and the other processes of the machine.

    The folder must be locked by this process (raises ``StorageError``).
    """
    sources = [
        keep_index(source, _index(folder, number)) if isinstance(source, ShardSource) else source
        for number, source in enumerate(data.sources)
    ]
    return TrainingSet(sources, data.weights)


def _index(folder: Path, number: int) -> Path:
    return folder / "index" / f"source-{number}"


def _open(source: str, index: Path, workers: int, progress: ProgressHook) -> Source:
    if source.startswith(HUB_PREFIX):
        return open_hub_dataset(source, workers, progress)
    folder = Path(source)
    match layout_of(folder):
        case Layout.SHARDS:
            return open_indexed_shards(folder, index, workers, progress)
        case Layout.CLASSES:
            return open_image_folder(folder, workers, progress)
        case Layout.SAVED:
            return open_saved(folder, workers, progress)
        case Layout.PARQUET:
            return open_parquet(folder, workers, progress)
