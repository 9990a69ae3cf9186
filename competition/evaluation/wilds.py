"""iWildCam, Camelyon17 and FMoW (WILDS, arXiv 2012.07421) as DataComp scores them.

One metric there is not what its authors meant: FMoW's worst region should leave out "Other", but regions reach the code
as numbers, so the name is never seen, and four images decide the score. ``acc_worst_region`` is that metric, for
comparison with published numbers; ``acc_worst_region_without_other`` is the intended one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from competition.evaluation import classification
from competition.evaluation.classification import Floats, merged, outcome
from competition.evaluation.groups import Groups, scores_by_group, worst_group
from competition.evaluation.inputs import Integers
from competition.evaluation.outcome import ProtocolOutcome

REGIONS = ("Asia", "Europe", "Africa", "Americas", "Oceania", "Other")
"""FMoW's, by their numbers in its metadata."""
_OTHER = "Other"


def iwildcam(logits: ArrayLike, labels: ArrayLike) -> ProtocolOutcome:
    """acc_avg, and recall-macro_all and F1-macro_all, both over the classes that occur in ``labels``.

    Args:
        logits: of a model [N, C].
        labels: the right class of every sample [N], in [0, C).

    Raises ``EmptySetError``, ``LabelRangeError``, ``ModelOutputError`` and ``EvaluationError`` as
    ``classification.ranks`` does.
    """
    base = classification.score(logits, labels)
    true = np.asarray(labels, dtype=np.int64)
    components = {
        "acc_avg": base.components["acc1"],
        "recall-macro_all": base.components["mean_per_class_recall"],
        "F1-macro_all": (macro_f1_units(classification.first_choices(logits, len(true)), true),),
    }
    return merged(base, outcome(len(true), components, proportions=frozenset({"acc_avg"})))


def macro_f1_units(answers: Integers, labels: Integers) -> Floats:
    """One value a sample [N], whose mean is the macro-averaged F1 over the classes that occur in ``labels``.

    F1 is no mean over samples. Its first-order expansion is one: sample i stands for F1 plus its influence on it,
    ``n (2 hit - F1_c (answered + true)) / (answers of c + labels of c)``, averaged over the classes c. Influences sum
    to zero, and resampling these values is the linearised bootstrap of F1.

    Args:
        answers: the class that the model says [N].
        labels: the right one [N].
    """
    classes, true = np.unique(labels, return_inverse=True)
    place = np.searchsorted(classes, answers)
    known = classes[np.minimum(place, len(classes) - 1)] == answers
    said = np.where(known, place, len(classes))  # an answer that no label is counts for no class
    hit = said == true
    sizes = np.bincount(true, minlength=len(classes)) + np.bincount(said, minlength=len(classes) + 1)[:-1]
    f1 = 2 * np.bincount(true[hit], minlength=len(classes)) / sizes
    weight = np.append(len(labels) / (sizes * len(classes)), 0.0)
    lost = np.append(f1, 0.0) * weight
    units: Floats = float(f1.mean()) + np.where(hit, 2 * weight[true], 0.0) - lost[true] - lost[said]
    return units


def camelyon17(logits: ArrayLike, labels: ArrayLike, slides: ArrayLike) -> ProtocolOutcome:
    """acc_avg (DataComp's score, equal to acc1), each slide's accuracy, and the worst slide's as acc_wg.

    Args:
        logits: of a model [N, 2].
        labels: the right class of every sample [N].
        slides: the number of every sample's slide [N].

    Raises ``EmptySetError``, ``LabelRangeError``, ``ModelOutputError`` and ``EvaluationError`` as
    ``classification.ranks`` does, for slides too.
    """
    base, right = _scored(logits, labels)
    groups = Groups("slide", slides, len(right))
    return merged(base, scores_by_group("acc", right, groups), worst_group("acc_wg", right, groups))


def fmow(logits: ArrayLike, labels: ArrayLike, regions: ArrayLike, years: ArrayLike) -> ProtocolOutcome:
    """Accuracy by year and by region; the worst region as DataComp computes it, and without "Other" as was meant.

    Args:
        logits: of a model [N, C].
        labels: the right class of every sample [N], in [0, C).
        regions: the number of every sample's region [N], a position in ``REGIONS``.
        years: the number of every sample's year [N].

    Raises ``EmptySetError``, ``LabelRangeError``, ``ModelOutputError`` and ``EvaluationError`` as
    ``classification.ranks`` does, for groups too; "Other" is the only region that may be empty.
    """
    base, right = _scored(logits, labels)
    by_region = Groups("region", regions, len(right), REGIONS, optional={_OTHER})
    by_year = Groups("year", years, len(right))
    return merged(
        base,
        scores_by_group("acc", right, by_year),
        scores_by_group("acc", right, by_region),
        worst_group("acc_worst_year", right, by_year),
        worst_group("acc_worst_region", right, by_region),
        worst_group("acc_worst_region_without_other", right, by_region, without={by_region.number(_OTHER)}),
    )


def _scored(logits: ArrayLike, labels: ArrayLike) -> tuple[ProtocolOutcome, NDArray[np.float64]]:
    base = classification.score(logits, labels)
    (right,) = base.components["acc1"]
    average = outcome(base.samples, {"acc_avg": (right,)}, proportions=frozenset({"acc_avg"}))
    return merged(base, average), right
