"""Which labels are probably wrong, by confident learning (Northcutt, Jiang and Chuang, 2021), as cleanlab has it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from competition.progress import Progress, ProgressHook

Probabilities = NDArray[np.float64]
Labels = NDArray[np.int64]

ITERATIONS = 1000


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is found about labels; all arrays have the shape (samples,).

    Args:
        issues: mask: labels that are probably wrong.
        suggested: the most probable label.
        quality: the probability of the given label.
        unconverged: models that were not fitted to the end.
    """

    issues: NDArray[np.bool_]
    suggested: Labels
    quality: Probabilities
    unconverged: int


def judge_labels(
    features: NDArray[np.float32], labels: Labels, folds: int, seed: int, progress: ProgressHook | None = None
) -> Judgement:
    """Find labels that a classifier, which has not seen them, contradicts more often than its own doubts explain.

    Args:
        features: (samples, dimensions). Their order decides who is in which fold.
        labels: int64 from 0 to the number of classes, each of at least ``folds`` samples.
        folds: of the cross-validation, from 2.
        seed: of the folds.
        progress: told after every fold.
    """
    from cleanlab.filter import find_label_issues

    probabilities, unconverged = out_of_sample(features, labels, folds, seed, progress)
    issues = find_label_issues(labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    quality: Probabilities = probabilities[np.arange(len(labels)), labels]
    return Judgement(np.asarray(issues, dtype=bool), probabilities.argmax(axis=1), quality, unconverged)


def out_of_sample(
    features: NDArray[np.float32], labels: Labels, folds: int, seed: int, progress: ProgressHook | None = None
) -> tuple[Probabilities, int]:
    """Probabilities of all classes by logistic regression on the other folds, (samples, classes); and how many of the
    models did not converge. See ``judge_labels``."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from threadpoolctl import threadpool_limits

    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    unconverged = 0
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, labels)
    # Sums of several threads depend on how many there are.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        for number, (rest, fold) in enumerate(splits):
            if progress is not None:
                progress(Progress("judging labels", number, folds))
            model = LogisticRegression(max_iter=ITERATIONS).fit(features[rest], labels[rest])
            probabilities[fold] = model.predict_proba(features[fold])
            unconverged += int(model.n_iter_.max() >= ITERATIONS)
    if progress is not None:
        progress(Progress("judging labels", folds, folds))
    return probabilities, unconverged


def tools() -> dict[str, str]:
    """What judges, by role, for a record."""
    return {
        "classifier": f"scikit-learn {version('scikit-learn')}, logistic regression",
        "label_issues": f"cleanlab {version('cleanlab')}, prune_by_noise_rate",
    }
