"""The task loss: hand-computed values, its minimiser, its stability, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from episode.losses.immax import alpha_from_counts, immax_loss, immax_terms
from episode.metrics.label_shift import inverse_link


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def minimiser(posterior: float, alpha: float) -> float:
    """Logit that minimises the expected loss of a pair that is positive with probability `posterior`."""

    def expected(value: float) -> float:
        terms = immax_terms(torch.tensor([value, value], dtype=torch.float64), torch.tensor([True, False]), alpha=alpha)
        return float(posterior * terms[0] + (1 - posterior) * terms[1])

    return float(minimize_scalar(expected, bracket=(-1.0, 1.0), tol=1e-12).x)


def test_hand_computed_values() -> None:
    """alpha 0.25: 1/rho+ = 2 (1 - 0.25) = 1.5 and 1/rho- = 2 x 0.25 = 0.5."""
    value = torch.tensor([2.0, -1.0, 3.0])
    label = torch.tensor([True, True, False])
    by_hand = [math.log1p(math.exp(-3.0)), math.log1p(math.exp(1.5)), math.log1p(math.exp(1.5))]
    np.testing.assert_allclose(immax_terms(value, label, alpha=0.25), by_hand, rtol=1e-6)
    assert float(immax_loss(value, label, alpha=0.25)) == pytest.approx(sum(by_hand) / 3, rel=1e-6)


def test_alpha_one_half_is_plain_log_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(50, generator=generator) * 4
    label = torch.rand(50, generator=generator) < 0.3
    plain = torch.nn.functional.binary_cross_entropy_with_logits(value, label.float())
    torch.testing.assert_close(immax_loss(value, label, alpha=0.5), plain)
    torch.testing.assert_close(immax_loss(value, label, alpha=torch.tensor(0.5)), plain)


@pytest.mark.parametrize("alpha", [0.2, 0.32, 0.5, 0.7])
def test_the_minimiser_is_zero_at_posterior_alpha_with_slope_one(alpha: float) -> None:
    assert minimiser(alpha, alpha) == pytest.approx(0, abs=1e-6)
    step = 1e-3
    low, high = (1 / (1 + math.exp(-(logit(alpha) + side))) for side in (-step, step))
    slope = (minimiser(high, alpha) - minimiser(low, alpha)) / (2 * step)
    assert slope == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("posterior", [0.03, 0.3, 0.5, 0.9])
def test_the_inverse_link_takes_the_minimiser_back_to_the_posterior(alpha: float, posterior: float) -> None:
    assert float(inverse_link(minimiser(posterior, alpha), alpha)) == pytest.approx(posterior, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("size", [30.0, 1e3, 1e4])
def test_extreme_logits_give_finite_loss_and_gradient(alpha: float, size: float) -> None:
    value = torch.tensor([size, -size, size, -size], requires_grad=True)
    loss = immax_loss(value, torch.tensor([True, True, False, False]), alpha=alpha)
    loss.backward()
    expected = (2 * (1 - alpha) * size + 2 * alpha * size) / 4
    assert float(loss.detach()) == pytest.approx(expected, rel=0.05)
    wrong_side = torch.tensor([0.0, -2 * (1 - alpha) / 4, 2 * alpha / 4, 0.0])
    torch.testing.assert_close(value.grad, wrong_side, atol=0.02, rtol=0)


def test_alpha_from_counts_takes_cube_roots() -> None:
    assert alpha_from_counts(8, 27) == pytest.approx(2 / 5)
    assert alpha_from_counts(5, 5) == pytest.approx(0.5)
    for counts in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match="both classes"):
            alpha_from_counts(*counts)


@pytest.mark.parametrize(
    ("value", "label", "alpha", "message"),
    [
        (torch.zeros(3), torch.zeros(2, dtype=torch.bool), 0.5, "one shape"),
        (torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.bool), 0.5, "one shape"),
        (torch.zeros(0), torch.zeros(0, dtype=torch.bool), 0.5, "empty"),
        (torch.zeros(2), torch.zeros(2), 0.5, "bool"),
        (torch.zeros(2), torch.zeros(2, dtype=torch.bool), 0.0, "alpha"),
        (torch.zeros(2), torch.zeros(2, dtype=torch.bool), 1.0, "alpha"),
        (torch.zeros(2), torch.zeros(2, dtype=torch.bool), float("nan"), "alpha"),
    ],
)
def test_bad_input_is_refused(value: torch.Tensor, label: torch.Tensor, alpha: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        immax_loss(value, label, alpha=alpha)
