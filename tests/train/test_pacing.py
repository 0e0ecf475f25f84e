"""The pacing lock: each state driven on purpose, bounds, independence of environments, round trip."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from episode.config import LossConfig
from episode.train.pacing import PacingDecision, PacingLock, PacingState, TaskLosses

CONFIG = LossConfig(
    pull_in=0.8,
    push_away=0.3,
    pull_in_margin=0.02,
    push_away_margin=0.05,
    pacing_low=0.95,
    pacing_high=1.02,
    pacing_decay=0.9,
)


def decide(student: float, opportunist: float, baseline: float, *, pseudo_lead: float = 0.0) -> PacingDecision:
    lock = PacingLock(CONFIG)
    for _ in range(200):
        lock.observe_pseudo_ood(TaskLosses(0.5 + pseudo_lead, 0.5, math.inf))
    return lock.decide("a", TaskLosses(student, opportunist, baseline))


def test_opportunist_ahead_cuts_its_rate() -> None:
    decision = decide(0.6, 0.5, math.inf, pseudo_lead=0.1)
    assert decision.state == "opportunist_ahead"
    assert decision.ratio == pytest.approx(1.2)
    assert 0 < decision.opportunist_rate < 1
    assert (decision.pull_in, decision.push_away) == (0, 0)


def test_pull_in_only_where_the_student_misses_its_baseline_by_the_margin() -> None:
    assert decide(0.6, 0.5, 0.581).pull_in == 0
    assert decide(0.6, 0.5, 0.60).pull_in == 0
    near, far = decide(0.6, 0.5, 0.575).pull_in, decide(0.6, 0.5, 0.3).pull_in
    assert 0 < near < far == CONFIG.pull_in


def test_push_away_only_with_a_lead_beyond_the_margin_that_is_absent_on_pseudo_ood() -> None:
    assert decide(0.6, 0.5, math.inf, pseudo_lead=0.0).push_away == CONFIG.push_away
    assert decide(0.6, 0.5, math.inf, pseudo_lead=-0.2).push_away == CONFIG.push_away
    assert decide(0.6, 0.5, math.inf, pseudo_lead=0.1).push_away == 0
    assert decide(0.54, 0.5, math.inf, pseudo_lead=0.0).push_away == 0
    assert decide(0.54, 0.5, math.inf).state == "opportunist_ahead"


def test_inside_the_band_all_go_on() -> None:
    decision = decide(0.5, 0.5, 0.2)
    assert (decision.state, decision.opportunist_rate) == ("inside", 1.0)
    assert decision.pull_in == CONFIG.pull_in


def test_student_ahead_stops_pull_and_push_and_raises_the_rate() -> None:
    decision = decide(0.5, 0.6, 0.1, pseudo_lead=-1.0)
    assert decision.state == "student_ahead"
    assert (decision.pull_in, decision.push_away) == (0, 0)
    assert decision.opportunist_rate > 1


def test_push_away_needs_evidence_from_pseudo_ood_environments() -> None:
    lock, losses = PacingLock(CONFIG), TaskLosses(0.6, 0.5, math.inf)
    assert lock.pseudo_ood_lead is None
    decision = lock.decide("a", losses)
    assert (decision.state, decision.push_away) == ("opportunist_ahead", 0)
    lock.observe_pseudo_ood(TaskLosses(0.5, 0.5, math.inf))
    assert lock.decide("a", losses).push_away == CONFIG.push_away


def test_the_lead_elsewhere_starts_at_its_first_value_and_moves_with_the_decay() -> None:
    lock = PacingLock(CONFIG)
    lock.observe_pseudo_ood(TaskLosses(0.7, 0.4, math.inf))
    assert lock.pseudo_ood_lead == pytest.approx(0.3)
    lock.observe_pseudo_ood(TaskLosses(0.4, 0.5, math.inf))
    assert lock.pseudo_ood_lead == pytest.approx(0.9 * 0.3 + 0.1 * -0.1)


@pytest.mark.parametrize(("elsewhere", "push"), [(0.049, CONFIG.push_away), (0.051, 0)])
def test_a_lead_counts_as_a_shortcut_if_less_than_half_of_it_holds_elsewhere(elsewhere: float, push: float) -> None:
    assert decide(0.6, 0.5, math.inf, pseudo_lead=elsewhere).push_away == push


loss = st.floats(0, 50)


@given(st.lists(st.tuples(loss, loss, st.floats(1e-9, 50), loss), min_size=1, max_size=20))
def test_weights_are_bounded_whatever_the_losses(course: list[tuple[float, float, float, float]]) -> None:
    lock = PacingLock(CONFIG)
    for student, opportunist, baseline, lead in course:
        lock.observe_pseudo_ood(TaskLosses(lead, opportunist, math.inf))
        decision = lock.decide("a", TaskLosses(student, opportunist, baseline))
        assert 0 <= decision.pull_in <= CONFIG.pull_in
        assert decision.push_away in (0, CONFIG.push_away)
        assert 0.3 <= decision.opportunist_rate <= 2
        assert decision.ratio >= 0


def test_averages_move_with_the_decay_and_start_at_the_first_value() -> None:
    lock = PacingLock(CONFIG)
    assert lock.decide("a", TaskLosses(1.0, 2.0, math.inf)).ratio == pytest.approx(0.5)
    second = lock.decide("a", TaskLosses(3.0, 1.0, math.inf))
    assert second.ratio == pytest.approx((0.9 * 1.0 + 0.1 * 3.0) / (0.9 * 2.0 + 0.1 * 1.0))


def test_environments_do_not_touch_each_other() -> None:
    alone, together = PacingLock(CONFIG), PacingLock(CONFIG)
    first, second = TaskLosses(0.6, 0.5, 0.4), TaskLosses(0.55, 0.5, 0.4)
    expected = [alone.decide("a", first), alone.decide("a", second)]
    got = [together.decide("a", first)]
    for _ in range(5):
        together.decide("b", TaskLosses(0.1, 0.9, 0.1))
    got.append(together.decide("a", second))
    assert got == expected


def test_the_state_goes_through_json_and_back() -> None:
    lock = PacingLock(CONFIG)
    lock.observe_pseudo_ood(TaskLosses(0.7, 0.4, math.inf))
    lock.decide("a", TaskLosses(0.6, 0.5, 0.4))
    again = PacingLock(CONFIG)
    again.restore(PacingState.model_validate_json(lock.state().model_dump_json()))
    following = TaskLosses(0.8, 0.5, 0.4)
    assert again.state() == lock.state()
    assert again.decide("a", following) == lock.decide("a", following)
    assert again.decide("b", following) == lock.decide("b", following)


def test_a_saved_state_does_not_follow_the_lock() -> None:
    lock = PacingLock(CONFIG)
    lock.decide("a", TaskLosses(0.6, 0.5, 0.4))
    before = lock.state()
    kept = before.model_dump_json()
    lock.decide("a", TaskLosses(0.1, 0.5, 0.4))
    assert before.model_dump_json() == kept


def test_zero_weights_keep_pull_and_push_at_zero() -> None:
    lock = PacingLock(CONFIG.changed(pull_in=0.0, push_away=0.0))
    decision = lock.decide("a", TaskLosses(0.9, 0.5, 0.1))
    assert (decision.pull_in, decision.push_away) == (0, 0)
