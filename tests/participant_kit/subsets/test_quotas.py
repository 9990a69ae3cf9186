"""Water-filling: the quotas are even, fill what is asked for, and take no more than there is."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from participant_kit.subsets.quotas import even_quotas


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(0, 400))
def test_quotas_are_even_and_fill_what_is_asked_for(available: list[int], total: int) -> None:
    have = np.array(available)
    given_out = even_quotas(have, total)
    assert given_out.sum() == min(total, have.sum())
    assert (given_out <= have).all()
    below = given_out[given_out < have]  # a group that could give more gives as much as any, but for one of the rest
    assert not len(below) or given_out.max() - below.min() <= 1
