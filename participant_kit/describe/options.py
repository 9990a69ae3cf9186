"""What of a dataset is looked at, and what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from competition.errors import UsageError
from participant_kit.dedup.contamination import DATACOMP_THRESHOLD
from participant_kit.describe.dataset import Dataset, Kind


@dataclass(frozen=True, slots=True)
class Options:
    """What is looked at.

    Args:
        features: member of the npz files for look-alikes and coverage; ``l14_img``, where there is one, when absent.
        duplicate_cosine: rows are look-alikes from this cosine.
        reference: features that the dataset should cover, as ``datacup dedup decontaminate`` takes them.
        coverage_cosine: a reference is covered by a row with at least this cosine.
        evaluation: features of evaluation images, likewise.
        evaluation_features: member of the npz files that is compared with them.
        evaluation_cosine: a row with a larger cosine is a leak.
        per_class_accuracy: a model's scores by class.
        language_model: fastText's; the bundled one when absent.
        seed: not negative.
        most_shards: that are read for pictures.
    """

    features: str | None = None
    duplicate_cosine: float = 0.95
    reference: Path | None = None
    coverage_cosine: float = 0.9
    evaluation: Path | None = None
    evaluation_features: str = "dedup"
    evaluation_cosine: float = DATACOMP_THRESHOLD
    per_class_accuracy: Path | None = None
    language_model: Path | None = None
    seed: int = 0
    most_shards: int = 100

    def check(self, dataset: Dataset) -> None:
        """Refuse what means nothing for a dataset.

        Raises:
            UsageError: a value out of range, or of a part that the dataset does not have.
        """
        cosines = {
            "duplicate": self.duplicate_cosine,
            "coverage": self.coverage_cosine,
            "evaluation": self.evaluation_cosine,
        }
        for name, cosine in cosines.items():
            if not 0 <= cosine < 1:
                raise UsageError(f"--{name}-cosine {cosine} is not at least 0 and below 1.")
        if self.seed < 0 or self.most_shards < 1:
            raise UsageError("--seed must not be negative, and --max-shards must be at least 1.")
        if self.per_class_accuracy is not None and dataset.kind is not Kind.LABELLED:
            raise UsageError("--per-class-accuracy is for labelled datasets.", hint="This dataset has no classes.")
        given = {"--reference": self.reference, "--evaluation": self.evaluation, "--features": self.features}
        for flag, value in given.items():
            if value is not None and not dataset.metadata:
                raise UsageError(
                    f"{flag} needs features, which {dataset.name} does not have by itself.",
                    hint="Give the pool that it is of with --pool.",
                )
