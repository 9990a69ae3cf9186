"""Ranking is a pure function: these are its laws."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from competition.statistics import REPLICATES, bootstrap_replicates
from leaderboard.scoring.results import pack, unpack
from leaderboard.standings.ranking import Entrant, rank

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def _entrant(key: str, score: float | None, minutes: int = 0, *, competes: bool = True) -> Entrant:
    replicates = None
    if score is not None:
        generator = np.random.default_rng(round(score * 1000))
        replicates = pack(score + 0.02 * generator.standard_normal(REPLICATES))
    return Entrant(key, score, replicates, EPOCH + timedelta(minutes=minutes), competes)


def _bare(key: str, score: float) -> Entrant:
    return Entrant(key, score, None, EPOCH)


entrants = st.lists(
    st.tuples(st.none() | st.sampled_from([0.1, 0.5, 0.52, 0.9]), st.integers(0, 3), st.booleans(), st.booleans()),
    max_size=7,
).map(
    lambda rows: [
        replace(_entrant(f"e{i}", s, m, competes=c), **({} if known else {"replicates": None}))
        for i, (s, m, c, known) in enumerate(rows)
    ]
)


@settings(deadline=None, max_examples=60)
@given(entrants=entrants, seed=st.integers(0, 1000), less=st.booleans())
def test_the_laws_of_ranking(entrants: list[Entrant], seed: int, less: bool) -> None:
    places = rank(entrants, less_is_better=less)
    shuffled = [entrants[i] for i in np.random.default_rng(seed).permutation(len(entrants))]
    assert rank(shuffled, less_is_better=less) == places, "the order of the input does not matter"
    by_key = {entrant.key: entrant for entrant in entrants}
    table = [by_key[place.key] for place in places]
    assert sorted(by_key) == sorted(place.key for place in places), "everybody is placed once"
    scores = [entrant.score for entrant in table]
    known = [score for score in scores if score is not None]
    assert scores == [*sorted(known, reverse=not less), *[None] * (len(scores) - len(known))], "best first, null last"
    for one, other in itertools.pairwise(table):
        assert one.score != other.score or (one.submitted_at, one.key) < (other.submitted_at, other.key)
    ranked = [place for place in places if place.rank is not None]
    assert [place.rank for place in ranked] == list(range(1, len(ranked) + 1))
    assert {place.key for place in ranked} == {e.key for e in entrants if e.competes and e.score is not None}
    for place in ranked:
        if by_key[place.key].replicates is None:
            assert place.rank_low is place.rank_high is None, "not known is not certain"
            continue
        assert place.rank_low is not None
        assert place.rank is not None
        assert place.rank_high is not None
        assert 1 <= place.rank_low <= place.rank <= place.rank_high <= len(ranked)
    assert all(p.rank_low is p.rank_high is None for p in places if p.rank is None)


def test_what_the_data_cannot_tell_apart_shares_a_range() -> None:
    generator = np.random.default_rng(0)
    outcomes = (generator.random(500) < 0.8).astype(float)
    nearly = outcomes.copy()
    nearly[:3] = 1.0 - nearly[:3]
    far = np.zeros(500)
    rows = []
    for key, values in (("a", outcomes), ("b", nearly), ("c", far)):
        replicates = pack(bootstrap_replicates([values], seed_text="task"))
        rows.append(Entrant(key, float(values.mean()), replicates, EPOCH))
    places = {place.key: (place.rank_low, place.rank_high) for place in rank(rows)}
    assert places == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


def test_a_baseline_stands_in_place_without_taking_a_rank() -> None:
    places = rank([_entrant("low", 0.1), _entrant("base", 0.5, competes=False), _entrant("high", 0.9)])
    assert [(place.key, place.rank, place.rank_high) for place in places] == [
        ("high", 1, 1),
        ("base", None, None),
        ("low", 2, 2),
    ]


@settings(deadline=None, max_examples=30)
@given(entrants=entrants)
def test_where_less_is_better_all_is_as_with_the_signs_turned(entrants: list[Entrant]) -> None:
    turned = [
        replace(
            entrant,
            score=None if entrant.score is None else -entrant.score,
            replicates=None if entrant.replicates is None else pack(-unpack(entrant.replicates)),
        )
        for entrant in entrants
    ]
    assert rank(turned, less_is_better=True) == rank(entrants)


def test_entries_without_replicates_stand_by_their_values_and_nobody_is_certain_of_them() -> None:
    rows = [_entrant("high", 0.9), _bare("between", 0.5), _entrant("low", 0.1)]
    places = [(place.key, place.rank, place.rank_low, place.rank_high) for place in rank(rows)]
    assert places == [("high", 1, 1, 2), ("between", 2, None, None), ("low", 3, 2, 3)]
    alone = [(place.rank, place.rank_low) for place in rank([_bare("a", 3.0), _bare("b", 2.0)], less_is_better=True)]
    assert alone == [(1, None), (2, None)]
