import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from episode.metrics.label_shift import (
    SourceScores,
    bbse_prior,
    em_prior,
    inverse_link,
    map_shift,
    map_shifts,
    prior_to_impedance,
    source_scores,
)


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def label_shift(prior: float, n: int, seed: int, train_prior: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Two unit normals 2 apart: the source posterior is known exactly."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < prior).astype(int)
    x = rng.normal(2.0 * label, 1.0)
    return label, sigmoid(2 * x - 2 + math.log(train_prior / (1 - train_prior)))


class TestEm:
    def test_one_step_by_hand(self) -> None:
        # likelihood ratios 1/9, 1, 4 at prior 1/5: odds 1/36, 1/4, 1 -> 1/37, 1/5, 1/2
        odds = np.array([1 / 9, 1.0, 4.0]) * (0.2 / 0.8)
        step = em_prior(odds / (1 + odds), 0.2, max_iter=1)
        assert step == pytest.approx((1 / 37 + 1 / 5 + 1 / 2) / 3)

    def test_second_step_by_hand(self) -> None:
        # source prior 1/2, likelihood ratios 3, 1/3, 3: the first step is the mean of 3/4, 1/4, 3/4
        probability = np.array([0.75, 0.25, 0.75])
        first = (0.75 + 0.25 + 0.75) / 3
        odds = first / (1 - first)
        second = (2 * 3 * odds / (1 + 3 * odds) + odds / 3 / (1 + odds / 3)) / 3
        assert em_prior(probability, 0.5, max_iter=2, tol=0) == pytest.approx(second)

    @pytest.mark.parametrize("prior", [0.05, 0.3, 0.8])
    def test_recovers_label_shift(self, prior: float) -> None:
        _, probability = label_shift(prior, 20_000, seed=1)
        assert em_prior(probability, 0.3) == pytest.approx(prior, abs=0.015)

    def test_concept_shift_leaves_no_trace_in_the_scores(self) -> None:
        # p(x) is the source's; the labels thinned to a third. The scores are what they were.
        label, probability = label_shift(0.3, 20_000, seed=2)
        thinned = label * (np.random.default_rng(3).random(label.size) < 1 / 3)
        assert thinned.mean() < 0.12
        assert em_prior(probability, 0.3) == pytest.approx(0.3, abs=0.015)

    def test_certain_scores_and_bounds(self) -> None:
        assert em_prior([1.0, 1.0, 0.0, 0.0], 0.3) == pytest.approx(0.5)
        assert em_prior([0.0, 0.0], 0.3) == 1e-4
        assert em_prior([1.0], 0.3) == 1 - 1e-4

    def test_fast_enough_for_the_training_loop(self) -> None:
        _, probability = label_shift(0.1, 400, seed=4)
        times = []
        for _ in range(50):
            start = time.perf_counter()
            em_prior(probability, 0.3)
            times.append(time.perf_counter() - start)
        assert min(times) < 1e-3

    @pytest.mark.parametrize(("probability", "prior"), [([], 0.3), ([0.5], 0.0), ([0.5], 1.0), ([[0.5]], 0.5)])
    def test_wrong_input(self, probability: list, prior: float) -> None:
        with pytest.raises(ValueError):
            em_prior(probability, prior)


class TestBbse:
    @pytest.mark.parametrize("threshold", [None, 0.5, 0.2])
    @pytest.mark.parametrize("prior", [0.05, 0.3, 0.8])
    def test_recovers_label_shift(self, prior: float, threshold: float | None) -> None:
        source = source_scores(*label_shift(0.3, 40_000, seed=5), threshold=threshold)
        _, probability = label_shift(prior, 40_000, seed=6)
        assert bbse_prior(probability, source) == pytest.approx(prior, abs=0.02)

    def test_by_hand(self) -> None:
        source = source_scores([1, 1, 0, 0, -1], [0.9, 0.7, 0.1, 0.3, 0.5])
        assert (source.positive, source.negative) == (pytest.approx(0.8), pytest.approx(0.2))
        assert bbse_prior([0.4, 0.6, 0.2], source) == pytest.approx((0.4 - 0.2) / 0.6)

    def test_hard_calls_by_hand(self) -> None:
        source = SourceScores(positive=0.9, negative=0.1, threshold=0.5)
        assert bbse_prior([0.5, 0.6, 0.2, 0.1], source) == pytest.approx(0.5)

    def test_kept_inside_bounds(self) -> None:
        source = SourceScores(positive=0.8, negative=0.2)
        assert bbse_prior([0.1], source) == 1e-4
        assert bbse_prior([0.9], source) == 1 - 1e-4

    def test_nothing_to_read(self) -> None:
        with pytest.raises(ValueError, match="both classes"):
            source_scores([1, 1], [0.1, 0.2])
        with pytest.raises(ValueError, match="same mean score"):
            source_scores([1, 0], [0.5, 0.5])


class TestInverseLink:
    def test_half_is_the_sigmoid(self) -> None:
        logit = np.linspace(-20, 20, 81)
        np.testing.assert_allclose(inverse_link(logit, 0.5), sigmoid(logit), rtol=1e-12)

    @pytest.mark.parametrize("alpha", [0.05, 0.31, 0.8])
    def test_alpha_at_zero_with_slope_one(self, alpha: float) -> None:
        assert inverse_link(0.0, alpha) == pytest.approx(alpha)
        step = inverse_link(np.array([-1e-4, 1e-4]), alpha)
        assert np.diff(np.log(step / (1 - step)))[0] / 2e-4 == pytest.approx(1, abs=1e-4)

    @pytest.mark.parametrize("alpha", [0.1, 0.31, 0.7])
    def test_inverts_the_minimiser_of_the_loss(self, alpha: float) -> None:
        # at posterior p the derivative of IMMAX by the logit is 0 at the minimiser
        logit = np.linspace(-4, 4, 17)
        p = inverse_link(logit, alpha)
        wide, narrow = 2 * (1 - alpha), 2 * alpha
        derivative = -p * wide * sigmoid(-wide * logit) + (1 - p) * narrow * sigmoid(narrow * logit)
        np.testing.assert_allclose(derivative, 0, atol=1e-12)

    def test_extreme_logits(self) -> None:
        p = inverse_link(np.array([-1e4, -50.0, 0.0, 50.0, 1e4]), 0.2)
        assert np.isfinite(p).all() and (np.diff(p) >= 0).all()
        assert (p[0], p[-1]) == (0.0, 1.0)

    def test_alpha_outside(self) -> None:
        with pytest.raises(ValueError):
            inverse_link(0.0, 1.0)


def log_density(shift: float, logit: np.ndarray, prevalence: float, sd: float = 1.5) -> float:
    base = math.log(prevalence / (1 - prevalence))
    ratio = np.exp(np.clip(logit - base, -30, 30))
    return float(np.log1p(sigmoid(np.asarray(base + shift)) * (ratio - 1)).sum() - shift**2 / (2 * sd**2))


ANY_LOGITS = arrays(np.float64, st.integers(1, 12), elements=st.floats(-1e4, 1e4))


class TestMapShift:
    def test_one_score_by_hand(self) -> None:
        # ratio 3 at prevalence 1/2; at s = log 3 the prevalence is 3/4 and the derivative of the log-likelihood
        # 3/4 * 1/4 * 2 / (1 + 3/4 * 2) = 0.15, which a prior of variance s / 0.15 balances
        sd = math.sqrt(math.log(3) / 0.15)
        assert map_shift([math.log(3)], 0.5, sd=sd) == pytest.approx(math.log(3), abs=1e-9)

    def test_scores_that_say_nothing(self) -> None:
        assert map_shift(np.full(50, math.log(0.2 / 0.8)), 0.2) == 0.0

    @pytest.mark.parametrize("prior", [0.05, 0.3, 0.8])
    def test_recovers_label_shift(self, prior: float) -> None:
        _, probability = label_shift(prior, 20_000, seed=7)
        logit = np.log(probability / (1 - probability))
        assert map_shift(logit, 0.3) == pytest.approx(math.log(prior / (1 - prior)) - math.log(3 / 7), abs=0.1)

    def test_a_flat_prior_gives_em(self) -> None:
        _, probability = label_shift(0.6, 2_000, seed=8)
        shift = map_shift(np.log(probability / (1 - probability)), 0.3, sd=1e6)
        assert sigmoid(np.asarray(math.log(3 / 7) + shift)) == pytest.approx(
            em_prior(probability, 0.3, tol=1e-12, max_iter=10_000), abs=1e-6
        )

    def test_a_weight_is_a_repetition(self) -> None:
        logit, times = np.array([-2.0, 0.5, 3.0]), np.array([4, 1, 2])
        assert map_shift(logit, 0.2, weight=times) == pytest.approx(map_shift(np.repeat(logit, times), 0.2), abs=1e-9)
        both = map_shifts(logit, 0.2, np.stack([times, np.ones(3)]))
        np.testing.assert_allclose(both, [map_shift(logit, 0.2, weight=times), map_shift(logit, 0.2)], atol=1e-12)

    @given(ANY_LOGITS, st.floats(0.001, 0.999))
    def test_finite_and_of_largest_density(self, logit: np.ndarray, prevalence: float) -> None:
        shift = map_shift(logit, prevalence)
        assert math.isfinite(shift)
        best = log_density(shift, logit, prevalence)
        assert all(best >= log_density(other, logit, prevalence) - 1e-6 for other in np.arange(-10, 10.01, 0.25))

    @given(ANY_LOGITS, st.floats(0.01, 0.99))
    def test_classes_are_symmetric_and_rows_have_no_order(self, logit: np.ndarray, prevalence: float) -> None:
        shift = map_shift(logit, prevalence)
        density = log_density(shift, logit, prevalence)
        for same in (-map_shift(-logit, 1 - prevalence), map_shift(logit[::-1], prevalence)):
            assert log_density(same, logit, prevalence) == pytest.approx(density, abs=1e-6)

    @pytest.mark.parametrize(("logit", "n", "prevalence", "far"), [(-3.0, 3, 1e-3, True), (-3.5, 3, 1e-4, False)])
    def test_the_higher_of_two_modes(self, logit: float, n: int, prevalence: float, far: bool) -> None:
        # near 0, where few pairs are positive, and at a large shift, where all are
        scores, grid = np.full(n, logit), np.arange(-1, 10, 0.001)
        density = np.array([log_density(s, scores, prevalence) for s in grid])
        low, high = grid[1:-1][(np.diff(density)[:-1] > 0) & (np.diff(density)[1:] < 0)]
        assert map_shift(scores, prevalence) == pytest.approx(high if far else low, abs=1e-3)

    @pytest.mark.parametrize(
        ("logit", "prevalence", "weight", "sd"),
        [
            ([], 0.3, None, 1.5),
            ([0.0], 0.0, None, 1.5),
            ([math.nan], 0.3, None, 1.5),
            ([0.0], 0.3, [-1.0], 1.5),
            ([0.0], 0.3, [1.0, 1.0], 1.5),
            ([0.0], 0.3, None, 0.0),
        ],
    )
    def test_wrong_input(self, logit: list, prevalence: float, weight: list | None, sd: float) -> None:
        with pytest.raises(ValueError):
            map_shift(logit, prevalence, weight=weight, sd=sd)


def test_prior_to_impedance() -> None:
    # odds fall from 1 to 1/3: R rises by T log 3
    assert prior_to_impedance(0.25, 0.5, 3.0, 2.0) == pytest.approx(3 + 2 * math.log(3))
    assert prior_to_impedance(0.3, 0.3, 1.5, 2.0) == 1.5
    with pytest.raises(ValueError):
        prior_to_impedance(0.0, 0.5, 0.0, 1.0)
