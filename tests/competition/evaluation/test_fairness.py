"""DataComp's fairness metrics equal plain loops over faces and groups; WinoGAViL equals scikit-learn's Jaccard."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score

from competition.errors import EmptySetError, EvaluationError, LabelRangeError, ModelOutputError
from competition.evaluation import fairness, winogavil
from competition.evaluation.fairness import Faces

WIDTHS = {"race": 7, "gender": 2, "age": 9, "toxic": 22}


def made(seed: int, samples: int) -> tuple[dict[str, np.ndarray], Faces]:
    generator = np.random.default_rng(seed)
    logits = {head: generator.normal(size=(samples, width)) for head, width in WIDTHS.items()}
    race = generator.integers(0, 7, samples)
    age, gender = generator.integers(0, 9, samples), generator.integers(0, 2, samples)
    return logits, Faces(age=age, gender=gender, race=race, race_binary=(race != 1).astype(int))


def by_hand(logits: dict[str, np.ndarray], known: Faces) -> dict[str, float]:
    """Face by face, in words of the specification."""
    found: dict[str, list[bool]] = defaultdict(list)
    rows = zip(known.age, known.gender, known.race, known.race_binary, strict=True)  # type: ignore[arg-type]
    for face, (age, gender, race, binary) in enumerate(rows):
        said = {head: int(np.argmax(logits[head][face])) for head in WIDTHS}
        right = {
            "race": int(said["race"] != 1) == binary,
            "gender": said["gender"] == gender,
            "age": said["age"] == age,
        }
        for head, value in right.items():
            found[f"acc_{head}_avg"].append(value)
            found[f"acc_{head}_race_binary:{binary}"].append(value)
        found["acc_gender_x_avg"].append(right["gender"])
        found[f"acc_gender_x_race:{race}_gender:{gender}"].append(right["gender"])
        for name, taken in (("crime", said["toxic"] >= 18), ("nonhuman", 14 <= said["toxic"] < 18)):
            found[f"toxicity_{name}_avg"].append(taken)
            found[f"toxicity_{name}_race:{race}"].append(taken)
    means = {name: float(np.mean(values)) for name, values in found.items()}
    for metric in ("acc_race", "acc_gender", "acc_age", "acc_gender_x", "toxicity_crime", "toxicity_nonhuman"):
        groups = [v for k, v in means.items() if k.startswith(f"{metric}_") and ":" in k and _is_group(metric, k)]
        means[f"{metric}_wg"] = min(groups)
        if metric.startswith("toxicity"):
            means[f"{metric}_highest"] = max(groups)
    return means


def _is_group(metric: str, name: str) -> bool:
    return ("_gender:" in name) == (metric == "acc_gender_x") and not (
        metric == "acc_gender" and name.startswith("acc_gender_x")
    )


@given(st.integers(0, 10**6), st.integers(1, 80))
def test_faces_equal_a_loop_over_faces(seed: int, samples: int) -> None:
    logits, known = made(seed, samples)
    outcome = fairness.faces(logits, known)
    assert dict(outcome.metrics) == pytest.approx(by_hand(logits, known))
    assert outcome.samples == samples
    for metric, parts in outcome.components.items():
        assert outcome.metrics[metric] == pytest.approx(np.mean([part.mean() for part in parts]))


@given(st.integers(0, 10**6), st.integers(1, 60))
def test_the_worst_income_group_by_top5_and_the_worst_region(seed: int, samples: int) -> None:
    generator = np.random.default_rng(seed)
    scores, labels = generator.normal(size=(samples, 8)), generator.integers(0, 8, samples)
    groups = generator.integers(0, 4, samples) * 2  # codes with gaps: groups without samples do not count
    order = np.argsort(-scores, axis=1)
    among, right = (order[:, :5] == labels[:, None]).any(axis=1), order[:, 0] == labels
    incomes = fairness.dollar_street(scores, labels, groups)
    regions = fairness.geode(scores, labels, groups)
    for outcome, outcomes, prefix, field in (
        (incomes, among, "acc_top5", "income_ds"),
        (regions, right, "acc", "region"),
    ):
        found = outcome.metrics
        means = {group: outcomes[groups == group].mean() for group in set(groups.tolist())}
        worst = min(sorted(means), key=means.__getitem__)
        assert outcome.units == {f"{prefix}_wg": f"{field}:{worst}"}
        assert np.array_equal(outcome.components[f"{prefix}_wg"][0], outcomes[groups == worst])
        assert found[f"{prefix}_wg"] == pytest.approx(min(means.values()))
        assert found[f"{prefix}_avg"] == pytest.approx(outcomes.mean())
        for group, mean in means.items():
            assert found[f"{prefix}_{field}:{group}"] == pytest.approx(mean)


def test_bad_faces_raise_their_own_error() -> None:
    logits, known = made(0, 12)
    with pytest.raises(EvaluationError, match="'age' has no scores"):
        fairness.faces({head: found for head, found in logits.items() if head != "age"}, known)
    with pytest.raises(EvaluationError, match="from class 18 on"):
        fairness.faces(logits | {"toxic": logits["toxic"][:, :18]}, known)
    with pytest.raises(ModelOutputError, match="12 of 12"):
        fairness.faces(logits | {"gender": np.full((12, 2), np.inf)}, known)
    with pytest.raises(LabelRangeError, match="age of sample 0 is 9"):
        fairness.faces(logits, Faces([9] * 12, known.gender, known.race, known.race_binary))
    with pytest.raises(LabelRangeError, match="race_binary of sample 0 is 2"):
        fairness.faces(logits, Faces(known.age, known.gender, known.race, [2] * 12))
    with pytest.raises(EvaluationError, match="11 values of age for 12"):
        fairness.faces(logits, Faces([1] * 11, known.gender, known.race, known.race_binary))
    with pytest.raises(EmptySetError):
        fairness.faces({head: found[:0] for head, found in logits.items()}, Faces([], [], [], np.zeros(0, dtype=int)))
    with pytest.raises(EvaluationError, match="at least five classes"):
        fairness.dollar_street(np.zeros((2, 4)), [0, 1], [0, 0])
    for protocol in (fairness.dollar_street, fairness.geode):
        with pytest.raises(EvaluationError, match="1 values of"):
            protocol(np.zeros((2, 6)), [0, 1], [0])
        with pytest.raises(EmptySetError):
            protocol(np.zeros((0, 6)), np.zeros(0, dtype=int), np.zeros(0, dtype=int))
        with pytest.raises(ModelOutputError):
            protocol(np.full((2, 6), np.nan), [0, 1], [0, 0])


@given(st.integers(0, 10**6), st.integers(1, 12))
def test_jaccard_equals_scikit_learns(seed: int, candidates: int) -> None:
    generator = np.random.default_rng(seed)
    similarities = generator.normal(size=candidates)
    wanted = np.zeros(candidates, dtype=bool)
    wanted[generator.permutation(candidates)[: generator.integers(1, candidates + 1)]] = True
    chosen = np.isin(np.arange(candidates), np.argsort(similarities)[-wanted.sum() :])
    assert winogavil.jaccard(similarities, wanted) == pytest.approx(jaccard_score(wanted, chosen))


def test_instances_are_averaged_by_their_number_of_candidates() -> None:
    """Instances with 5, 6, 10 and 12 candidates of known indices: 1, 1/3, 0 and 1; and one with 8."""

    def instance(count: int, wanted: list[int], found: list[int]) -> tuple[np.ndarray, np.ndarray]:
        return np.isin(np.arange(count), found) * 1.0, np.isin(np.arange(count), wanted)

    instances = [
        instance(5, [1, 3], [1, 3]),
        instance(6, [0, 5], [0, 4]),
        instance(10, [2], [3]),
        instance(12, [7, 8, 9], [7, 8, 9]),
        instance(8, [0], [0]),
    ]
    outcome = winogavil.score(*map(list, zip(*instances, strict=True)))
    assert dict(outcome.metrics) == pytest.approx(
        {
            "avg_jaccard_score": (1 + 1 / 3 + 0 + 1 + 1) / 5,
            "jaccard_score_5": 1,
            "jaccard_score_6": 1 / 3,
            "jaccard_score_10": 0,
            "jaccard_score_12": 1,
            "jaccard_score_5-6": (1 + 1 / 3) / 2,
            "jaccard_score_10-12": 0.5,
        }
    )
    few = winogavil.score(*map(list, zip(*instances[:1], strict=True)))
    assert few.metrics["jaccard_score_10-12"] is None
    assert "jaccard_score_10-12" not in few.components


def test_of_equal_candidates_the_first_lead() -> None:
    assert winogavil.jaccard([0.5, 0.5, 0.5], [True, False, False]) == 1.0
    assert winogavil.jaccard([0.5, 0.5, 0.5], [False, False, True]) == 0.0


def test_cues_get_their_article() -> None:
    assert [winogavil.cue_prompt(cue) for cue in ("Owl", "werewolf", "Hour")] == ["An owl", "A werewolf", "A hour"]
    with pytest.raises(EvaluationError, match="empty"):
        winogavil.cue_prompt(" ")


def test_bad_instances_raise_their_own_error() -> None:
    with pytest.raises(EmptySetError, match="no instance"):
        winogavil.score([], [])
    with pytest.raises(EmptySetError, match="No candidate goes"):
        winogavil.score([[0.1, 0.2]], [[False, False]])
    with pytest.raises(ModelOutputError):
        winogavil.score([[0.1, np.nan]], [[True, False]])
    with pytest.raises(EvaluationError, match="shape"):
        winogavil.score([[0.1, 0.2, 0.3]], [[True, False]])
    with pytest.raises(EvaluationError, match="2 instances"):
        winogavil.score([[0.1], [0.2]], [[True]])
