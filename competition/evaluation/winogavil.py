"""WinoGAViL (arXiv 2207.12576): which of some pictures go with a cue, scored by Jaccard's index as DataComp does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from competition.errors import EmptySetError, EvaluationError
from competition.evaluation.classification import Components, outcome
from competition.evaluation.inputs import checked_scores
from competition.evaluation.outcome import ProtocolOutcome

SINGLE_COUNTS = (5, 6, 10, 12)
"""Numbers of candidates that have a metric of their own."""
_FEW, _MANY = 6, 10
_VOWELS = "aeiou"


def cue_prompt(cue: str) -> str:
    """The text of a cue: lower case, with the article that its first letter asks for (raises ``EvaluationError``)."""
    text = cue.lower()
    if not text.strip():
        raise EvaluationError("A cue of WinoGAViL is empty.", hint="Get the evaluation set again.")
    return f"An {text}" if text[0] in _VOWELS else f"A {text}"


def jaccard(similarities: ArrayLike, associated: ArrayLike) -> float:
    """Jaccard's index of the k most similar candidates and the k associated ones; of equal ones the first leads.

    Args:
        similarities: of the cue and each candidate [M].
        associated: whether each candidate goes with the cue [M]; k of them do.

    Raises:
        EvaluationError: they do not fit together.
        EmptySetError: no candidate goes with the cue.
        ModelOutputError: a similarity is not finite.
    """
    wanted = np.asarray(associated, dtype=bool)
    scores = checked_scores(np.atleast_2d(np.asarray(similarities, dtype=np.float64)), 1, wanted.size)[0]
    k = int(np.count_nonzero(wanted))
    if not k:
        raise EmptySetError("No candidate goes with a cue, so there is nothing to find.")
    chosen = np.argsort(-scores, kind="stable")[:k]
    common = int(np.count_nonzero(wanted.reshape(-1)[chosen]))
    return common / (2 * k - common)


def score(similarities: Sequence[ArrayLike], associated: Sequence[ArrayLike]) -> ProtocolOutcome:
    """Mean of Jaccard's index over all instances (avg_jaccard_score) and by number of candidates (jaccard_score_<n>).

    ``jaccard_score_5-6`` is of all instances with at most 6 candidates, ``jaccard_score_10-12``, DataComp's score, of
    all with at least 10. A number that no instance has is not defined on this set.

    Args:
        similarities: of every instance's cue and candidates.
        associated: whether each candidate goes with the cue.

    Raises:
        EmptySetError: there is no instance, or one without an associated candidate.
        EvaluationError: an instance's similarities and associations do not fit together, or they are of different
            instances.
        ModelOutputError: a similarity is not finite.
    """
    if len(similarities) != len(associated):
        raise EvaluationError(
            f"There are similarities of {len(similarities)} instances, candidates of {len(associated)}."
        )
    if not similarities:
        raise EmptySetError("The evaluation set holds no instance, so there is nothing to evaluate.")
    found = np.array([jaccard(one, other) for one, other in zip(similarities, associated, strict=True)])
    counts = np.array([np.asarray(one).size for one in associated])
    groups = {f"jaccard_score_{count}": counts == count for count in SINGLE_COUNTS}
    groups |= {"jaccard_score_5-6": counts <= _FEW, "jaccard_score_10-12": counts >= _MANY}
    components: Components = {"avg_jaccard_score": (found,)}
    components |= {name: (found[chosen],) for name, chosen in groups.items() if chosen.any()}
    undefined: dict[str, float | None] = {name: None for name, chosen in groups.items() if not chosen.any()}
    return outcome(len(found), components, further=undefined)
