from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.core.quorum import Quorum, majority

NAMES = [f"node{i}" for i in range(1, 10)]


@pytest.mark.parametrize(("configured", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)])
def test_two_of_four_is_not_a_majority(configured: int, needed: int) -> None:
    assert majority(configured) == needed


def test_no_voters_is_an_error_and_not_a_majority_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one"):
        majority(0)


quorums = st.builds(
    Quorum.of,
    st.sets(st.sampled_from(NAMES), min_size=1),
    st.sets(st.sampled_from(NAMES)),
)


@given(quorums)
def test_two_majorities_always_share_a_voter(quorum: Quorum) -> None:
    assert 2 * quorum.needed > len(quorum.configured)
    assert 2 * (quorum.needed - 1) <= len(quorum.configured)


@given(quorums, st.sets(st.sampled_from(NAMES)))
def test_taking_servers_away_never_helps(quorum: Quorum, candidates: set[str]) -> None:
    if quorum.survives_without(candidates):
        assert quorum.has_majority
        assert len(quorum.caught_up & candidates) <= quorum.spare


@given(quorums)
def test_observers_and_servers_that_are_down_can_always_go(quorum: Quorum) -> None:
    others = set(NAMES) - quorum.caught_up
    assert quorum.survives_without(others) == quorum.has_majority


@given(quorums)
def test_spare_counts_exactly_the_caught_up_voters_that_can_go(quorum: Quorum) -> None:
    going = sorted(quorum.caught_up)
    for n in range(len(going) + 1):
        assert quorum.survives_without(going[:n]) == (n <= quorum.spare)
