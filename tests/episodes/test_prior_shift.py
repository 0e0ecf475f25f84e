"""Prior shift: resampling hits the share, and the impedance that goes with it is the right one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from episode.episodes.prior_shift import draw_prior, resample_to_prior, shifted_impedance
from episode.metrics.metrics import oracle_impedance
from known import known


@given(st.integers(20, 300), st.integers(20, 300), st.floats(0.05, 0.95), st.integers(0, 1000))
def test_resampling_hits_the_share_and_drops_one_class_only(
    positives: int, negatives: int, prior: float, seed: int
) -> None:
    label = np.random.default_rng(seed).permutation(np.repeat([1, 0], [positives, negatives]))
    kept = resample_to_prior(np.random.default_rng(seed), label, prior)
    assert (np.diff(kept) > 0).all()
    up, down = int((label[kept] == 1).sum()), int((label[kept] == 0).sum())
    assert up == positives or down == negatives
    # The class that was cut is within one half row of its exact count, and never empty.
    if up < positives:
        assert abs(up - down * prior / (1 - prior)) <= 0.5 or up == 1
    if down < negatives:
        assert abs(down - up * (1 - prior) / prior) <= 0.5 or down == 1


def test_resampling_is_random_within_a_class_and_repeatable() -> None:
    label = np.repeat([1, 0], [50, 50]).astype(np.int8)
    one, two, other = (resample_to_prior(np.random.default_rng(seed), label, 0.2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert one.tolist() != other.tolist()
    assert (label[one] == 1).sum() == 12 and (label[one] == 0).sum() == 50


@given(st.floats(0, 20), st.floats(0.05, 20), st.floats(0.01, 0.99), st.integers(0, 2**32 - 1))
def test_a_drawn_prior_never_asks_for_a_negative_impedance(
    impedance: float, temperature: float, share: float, seed: int
) -> None:
    prior = draw_prior(np.random.default_rng(seed), impedance, temperature, share)
    assert 0 < prior < 1
    assert shifted_impedance(impedance, temperature, share, prior) >= -1e-6 * (1 + impedance + temperature)
    assert abs(math.log(prior / (1 - prior)) - math.log(share / (1 - share))) <= 1.5 + 1e-9


def test_drawn_priors_reach_both_ways() -> None:
    drawn = [draw_prior(np.random.default_rng(seed), 5.0, 1.0, 0.3) for seed in range(200)]
    assert min(drawn) < 0.12 and max(drawn) > 0.6


def test_shifted_impedance_by_hand() -> None:
    assert shifted_impedance(2.0, 0.5, 0.5, 0.2) == pytest.approx(2 + 0.5 * math.log(4))
    assert shifted_impedance(2.0, 0.5, 0.3, 0.3) == pytest.approx(2.0)


@pytest.mark.parametrize("prior", [0.1, 0.25, 0.6])
def test_shifted_impedance_is_what_log_loss_asks_for(prior: float) -> None:
    """Labels from the model itself, resampled, then the impedance that fits them best."""
    rng = np.random.default_rng(0)
    impedance, temperature = 3.0, 0.7
    potential = rng.normal(2.6, 1.0, 200_000)
    label = (rng.random(len(potential)) < expit((potential - impedance) / temperature)).astype(np.int8)
    kept = resample_to_prior(rng, label, prior)
    fitted = known(oracle_impedance(potential[kept], label[kept], temperature))
    assert fitted == pytest.approx(shifted_impedance(impedance, temperature, label.mean(), prior), abs=0.03)
    assert abs(fitted - impedance) > 0.1, "the shift must matter here"
