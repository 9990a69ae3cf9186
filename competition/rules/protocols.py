"""How tasks are evaluated, which numbers each way yields, and what it can be set to.

A protocol whose evaluation differs from an original's on purpose has an id of its own beside the original's: results of
two protocols never mix.
"""

from __future__ import annotations

from enum import StrEnum


class Protocol(StrEnum):
    """How a task is evaluated; one module each in ``competition.evaluation``."""

    ZEROSHOT_CLASSIFICATION = "zeroshot_classification"
    IMAGE_TEXT_RETRIEVAL = "image_text_retrieval"
    WINOGAVIL = "winogavil"
    WILDS_IWILDCAM = "wilds_iwildcam"
    WILDS_CAMELYON17 = "wilds_camelyon17"
    WILDS_FMOW = "wilds_fmow"
    """Worst of the regions with a name."""
    WILDS_FMOW_DATACOMP = "wilds_fmow_datacomp"
    """As DataComp computes it: the few images of the region "Other" count as a region."""
    FAIRNESS_DOLLAR_STREET = "fairness_dollar_street"
    FAIRNESS_GEODE = "fairness_geode"
    FAIRNESS_FACES = "fairness_faces"
    """FairFace and UTKFace."""
    CLASSIFICATION = "classification"
    """The classes of a trained head; also for shifted sets with the same classes (ImageNet-V2, Sketch, Stylized)."""
    CLASSIFICATION_OF_SUBSET = "classification_of_subset"
    """Scores of the classes that the set has alone (ImageNet-A, -O and -R).

    ``aupr`` is ImageNet-O's: its images, the set's ``test``, are told from ImageNet's of the same classes, its ``val``.
    """
    CLASSIFICATION_OBJECTNET = "classification_objectnet"
    """ObjectNet's mapping of classes and border."""
    CLASSIFICATION_CORRUPTED = "classification_corrupted"
    """ImageNet-C: 15 corruptions in 5 severities."""
    LINEAR_PROBE = "linear_probe"
    """ELEVATER's search and schedule: the rate and L2 are chosen on validation images, and the last epoch counts."""
    LINEAR_PROBE_ELEVATER = "linear_probe_elevater"
    """The original: the best epoch on the test set."""
    LINEAR_PROBE_CLIPBENCH = "linear_probe_clipbench"
    LINEAR_PROBE_SIMCORE = "linear_probe_simcore"
    """The original: one rate for all sets, the best epoch on the test set."""
    FINE_TUNE = "fine_tune"
    """The whole network, at 224 pixels, with a rate chosen on validation images."""
    FINE_TUNE_SELECT = "fine_tune_select"
    """The original: 64 pixels and 1,000 steps at one rate."""
    KNN_SELECT = "knn_select"
    """The entry's images are the support set, balanced by class; in features of DINO's ResNet-50."""
    KNN_SIMCORE = "knn_simcore"
    SEMI_SUPERVISED = "semi_supervised"
    """Fine-tuning of the whole network on a share of the labels."""
    CLER = "cler"
    """Class-centred recognition: classifiers made of the mean features of the entry's images."""
    DATASET_METRICS = "dataset_metrics"
    """Numbers of the entry's images themselves, or of them beside test images."""
    CLASS_STATISTICS = "class_statistics"
    """SELECT's numbers of the samples by class."""
    PREDICTIONS = "predictions"
    """Five best classes an image, predicted elsewhere."""


OF_ENTRY_IMAGES = frozenset({Protocol.KNN_SELECT, Protocol.CLER, Protocol.DATASET_METRICS, Protocol.CLASS_STATISTICS})
"""Protocols about the images that an entry consists of: they cannot be run on its model alone."""

OF_ANSWERS = frozenset({"confusion_skew"})
"""Metrics of these protocols that ask the model alone."""

_ACCURACIES = ("acc1", "acc5", "mean_per_class_recall")
_PROBED = ("acc1", "mean_per_class_recall", "auc", "map11")
_NEIGHBOURS = (10, 20, 100, 200)

METRICS: dict[Protocol, tuple[str, ...]] = {
    Protocol.ZEROSHOT_CLASSIFICATION: _ACCURACIES,
    Protocol.IMAGE_TEXT_RETRIEVAL: tuple(
        f"{way}_recall@{k}" for way in ("mean", "image_retrieval", "text_retrieval") for k in (1, 5, 10)
    ),
    Protocol.WINOGAVIL: (
        "avg_jaccard_score",
        *(f"jaccard_score_{candidates}" for candidates in ("5", "6", "10", "12", "5-6", "10-12")),
    ),
    Protocol.WILDS_IWILDCAM: ("F1-macro_all", "recall-macro_all", "acc_avg"),
    Protocol.WILDS_CAMELYON17: ("acc1",),
    Protocol.WILDS_FMOW: ("acc_worst_region", "acc_worst_year", "acc_avg"),
    Protocol.WILDS_FMOW_DATACOMP: ("acc_worst_region", "acc_worst_year", "acc_avg"),
    Protocol.FAIRNESS_DOLLAR_STREET: ("acc_top5_wg", "acc_top5_avg"),
    Protocol.FAIRNESS_GEODE: ("acc_wg", "acc_avg"),
    Protocol.FAIRNESS_FACES: ("acc_race_avg", "acc_gender_avg", "acc_age_avg"),
    Protocol.CLASSIFICATION: _ACCURACIES,
    Protocol.CLASSIFICATION_OF_SUBSET: (*_ACCURACIES, "aupr"),
    Protocol.CLASSIFICATION_OBJECTNET: ("acc1",),
    Protocol.CLASSIFICATION_CORRUPTED: ("acc1", "mce"),
    Protocol.LINEAR_PROBE: _PROBED,
    Protocol.LINEAR_PROBE_ELEVATER: _PROBED,
    Protocol.LINEAR_PROBE_CLIPBENCH: _ACCURACIES,
    Protocol.LINEAR_PROBE_SIMCORE: ("acc1", "mean_per_class_recall"),
    Protocol.FINE_TUNE: ("acc1", "mean_per_class_recall"),
    Protocol.FINE_TUNE_SELECT: ("acc1",),
    Protocol.KNN_SELECT: tuple(f"{name}@{k}" for name in ("acc1", "acc5") for k in _NEIGHBOURS),
    Protocol.KNN_SIMCORE: ("acc1@20", "acc1@200"),
    Protocol.SEMI_SUPERVISED: ("acc1", "mean_per_class_recall"),
    Protocol.CLER: ("centres", "centres-text", "neighbours", "neighbours-text", "text"),
    Protocol.DATASET_METRICS: (
        *("fid", "kid", "cmmd", "precision", "recall", "density", "coverage"),
        *("clip_score", "clip_iqa", "inception_score", "proxy_a_distance"),
    ),
    Protocol.CLASS_STATISTICS: ("coverage_classes", "long_tail@500", "large_share@5", "confusion_skew"),
    Protocol.PREDICTIONS: _ACCURACIES,
}
"""What can be a task's score."""

LESS_IS_BETTER = frozenset({"fid", "kid", "cmmd", "proxy_a_distance", "mce", "long_tail@500", "large_share@5"})

UNBOUNDED = frozenset(
    {
        *("fid", "kid", "cmmd", "density", "clip_score", "inception_score", "proxy_a_distance", "mce"),
        *METRICS[Protocol.CLASS_STATISTICS],
    }
)
"""Metrics that are no shares: distances, ratios, counts and percentages. All others lie in [0, 1]."""

INTERPOLATIONS = ("bilinear", "bicubic", "lanczos")

CHOICES: dict[str, tuple[str, ...]] = {
    "measure": _PROBED,
    "train": ("entry",),
    "part": ("val",),
    "interpolation": INTERPOLATIONS,
}
"""Settings that are one of a few words.

``measure``: how a recogniser's answers are scored. ``train``: what a probe is trained on, if not the set's ``train``;
``entry`` are the entry's images, in features of GenBench's CLIP. ``part``: which part holds the test images, if not
``test``; ImageNet's are published as ``val``.
"""

_CUT = frozenset({"size", "resize", "interpolation"})
"""How test images are prepared, whatever the model was trained at: the shorter side is brought to ``resize`` (or
``size``), and the centre of ``size`` is cut out. Without ``size`` it is the model's own preparation."""

SETTINGS: dict[Protocol, frozenset[str]] = {
    Protocol.ZEROSHOT_CLASSIFICATION: frozenset({"part"}),
    Protocol.CLASSIFICATION: frozenset({"part", *_CUT}),
    Protocol.CLASSIFICATION_OF_SUBSET: frozenset({"part", *_CUT}),
    Protocol.CLASSIFICATION_OBJECTNET: _CUT - {"resize"},
    Protocol.CLASSIFICATION_CORRUPTED: _CUT - {"resize"},
    Protocol.LINEAR_PROBE: frozenset({"part", "shots", "train"}),
    Protocol.LINEAR_PROBE_ELEVATER: frozenset({"part", "shots", "train"}),
    Protocol.LINEAR_PROBE_CLIPBENCH: frozenset({"part"}),
    Protocol.LINEAR_PROBE_SIMCORE: frozenset({"part"}),
    Protocol.FINE_TUNE: frozenset({"part"}),
    Protocol.FINE_TUNE_SELECT: frozenset({"part"}),
    Protocol.KNN_SELECT: frozenset({"part", "support_per_class"}),
    Protocol.KNN_SIMCORE: frozenset({"part"}),
    Protocol.SEMI_SUPERVISED: frozenset({"part", "label_share"}),
    Protocol.CLER: frozenset({"part", "measure"}),
    Protocol.DATASET_METRICS: frozenset({"part"}),
    Protocol.CLASS_STATISTICS: frozenset({"part"}),
    Protocol.PREDICTIONS: frozenset({"classes"}),
}
"""What a task may set; a protocol that is not here has nothing to set. Counts and shares are above 0.

Images of ObjectNet and ImageNet-C are brought to ``size`` as they are, nothing is cut off."""
