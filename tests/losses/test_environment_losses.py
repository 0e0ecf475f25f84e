"""Losses on the impedance: hand-computed values and what each is cut off from."""

from __future__ import annotations

import math

import pytest
import torch

from episode.losses.environment import (
    distillation_loss,
    motif_sparsity_loss,
    opportunist_loss,
    orthogonality_loss,
    potential_hinge,
    pull_in_loss,
    push_away_loss,
    sparsity_loss,
)
from episode.losses.immax import immax_loss
from known import known

LABEL = torch.tensor([True, False, True])


def leaf(*values: float) -> torch.Tensor:
    return torch.tensor(values if len(values) > 1 else values[0], requires_grad=True)


def test_distillation_is_the_square_and_moves_the_student_only() -> None:
    student, reference = leaf(2.0), leaf(3.5)
    loss = distillation_loss(student, reference)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2.25)
    assert float(known(student.grad)) == pytest.approx(-3.0)
    assert reference.grad is None


def test_pull_in_is_the_weighted_task_loss_on_a_detached_potential() -> None:
    potential, student, temperature = leaf(1.0, 2.0, 3.0), leaf(1.5), leaf(2.0)
    loss = pull_in_loss(potential, student, temperature, LABEL, alpha=0.3, weight=0.7)
    loss.backward()
    expected = immax_loss((torch.tensor([1.0, 2.0, 3.0]) - 1.5) / 2, LABEL, alpha=0.3)
    assert float(loss.detach()) == pytest.approx(0.7 * float(expected))
    assert potential.grad is None and temperature.grad is None and bool(student.grad)


def test_the_opportunists_loss_moves_delta_only() -> None:
    potential, student, temperature = leaf(1.0, 2.0, 3.0), leaf(1.5), leaf(2.0)
    delta = leaf(0.2, -0.1, -0.1)
    loss = opportunist_loss(potential, student, delta, temperature, LABEL, alpha=0.5)
    loss.backward()
    logit = (torch.tensor([1.0, 2.0, 3.0]) - 1.5 - torch.tensor([0.2, -0.1, -0.1])) / 2
    assert float(loss.detach()) == pytest.approx(float(immax_loss(logit, LABEL, alpha=0.5)))
    assert potential.grad is None and student.grad is None and temperature.grad is None
    assert bool((known(delta.grad) != 0).all())


def test_push_away_is_the_reversed_loss() -> None:
    own = leaf(0.6)
    loss = push_away_loss(own, weight=0.25)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-0.15)
    assert float(known(own.grad)) == pytest.approx(-0.25)


def test_sparsity_is_the_distance_from_a_detached_mean() -> None:
    impedance, mean = leaf(2.0), leaf(3.0)
    loss = sparsity_loss(impedance, mean)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1.0)
    assert float(known(impedance.grad)) == pytest.approx(-1.0)
    assert mean.grad is None


def test_orthogonality_is_zero_at_right_angles_and_one_in_line() -> None:
    representation = torch.tensor([[1.0, 0.0], [3.0, 0.0]], requires_grad=True)
    assert float(orthogonality_loss(representation, torch.tensor([0.0, 5.0]))) == pytest.approx(0.0)
    assert float(orthogonality_loss(representation, torch.tensor([-4.0, 0.0]))) == pytest.approx(1.0)
    embedding = leaf(1.0, 1.0)
    loss = orthogonality_loss(representation, embedding)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.5)
    assert representation.grad is None and bool(known(embedding.grad).abs().max() > 0)


def test_orthogonality_takes_a_representation_of_any_length() -> None:
    for size in (1, 2, 3, 7, 40):
        assert 0 <= float(orthogonality_loss(torch.randn(5, size), torch.randn(3))) <= 1 + 1e-6


def hinge(potential: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    return potential_hinge(potential, temperature, level=3.0, mean_weight=1.0, variance_weight=1.0)


def test_the_hinge_is_silent_where_mean_and_spread_are_right() -> None:
    potential = torch.tensor([4.0, 6.0, 8.0])  # T = 2: mean 3, standard deviation 1
    assert float(hinge(potential, torch.tensor(2.0))) == 0


def test_the_hinge_pulls_mean_and_spread_back_and_spares_the_temperature() -> None:
    temperature = leaf(2.0)
    low = torch.tensor([0.0, 2.0, 4.0], requires_grad=True)
    hinge(low, temperature).backward()
    assert bool((known(low.grad) < 0).all()), "a mean below the level must rise"
    assert temperature.grad is None
    flat = torch.tensor([5.9, 6.0, 6.1], requires_grad=True)
    loss = hinge(flat, temperature)
    loss.backward()
    assert float(loss.detach()) == pytest.approx((0.5 - 0.05) ** 2, rel=1e-4)
    assert float(known(flat.grad)[0]) > 0 > float(known(flat.grad)[2]), "too narrow a spread must widen"
    wide = torch.tensor([-14.0, 6.0, 26.0], requires_grad=True)
    loss = hinge(wide, temperature)
    loss.backward()
    assert float(loss.detach()) == pytest.approx((10 - 4) ** 2, rel=1e-4)
    assert float(known(wide.grad)[0]) < 0 < float(known(wide.grad)[2])


def test_the_hinge_of_equal_potentials_has_a_finite_gradient() -> None:
    potential = torch.full((4,), 3.0, requires_grad=True)
    hinge(potential, torch.tensor(1.0)).backward()
    assert bool(torch.isfinite(known(potential.grad)).all())


def test_motif_sparsity_is_the_sum_of_the_norms() -> None:
    norms = leaf(3.0, 0.5, 0.0)
    loss = motif_sparsity_loss(norms)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(3.5)
    torch.testing.assert_close(norms.grad, torch.ones(3))


def test_the_hinge_scales_with_the_temperature() -> None:
    potential = torch.tensor([1.0, 2.0, 9.0])
    small, large = (hinge(scale * potential, torch.tensor(scale)) for scale in (1.0, 7.0))
    assert float(small) == pytest.approx(float(large), rel=1e-5)
    assert math.isfinite(float(small)) and float(small) > 0
