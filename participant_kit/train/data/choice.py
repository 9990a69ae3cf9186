"""What a participant gives as training data: folders of shards or images, or Hugging Face datasets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.train.data.labels import LabelChoice, Labels, load_labels
from participant_kit.train.data.shards import open_shards
from participant_kit.train.data.source import Source, TrainingSet


@dataclass(frozen=True, slots=True)
class DataChoice:
    """Training data as named at the command line.

    Args:
        sources: folders.
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


def open_data(choice: DataChoice, folder: Path, workers: int, progress: ProgressHook) -> TrainingSet:  # noqa: ARG001
    """Open all sources.

    Args:
        choice: what to open.
        folder: of the run, for indexes.
        workers: threads that read shards.
        progress: told where reading stands.

    Raises:
        TrainingError: a source holds no samples.
        DataFormatError: a shard is damaged, or the labels are, see ``load_labels``.
        UsageError: there are no labels where some are named.
    """
    labels = load_labels(choice.labels) if choice.labels else None
    sources = [_open(source, workers, progress, labels) for source in choice.sources]
    return TrainingSet(sources, choice.weights, labels.sha256 if labels else None)


def _open(source: str, workers: int, progress: ProgressHook, labels: Labels | None) -> Source:
    return open_shards(Path(source), workers, progress, labels.numbers if labels else None)
