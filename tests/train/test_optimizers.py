"""One optimiser and one clipping norm for each part; its state survives a round trip."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from episode.model.energy import PARTS, EnergySystem
from episode.train.optimizers import PartOptimisers, rate_factor
from known import known
from small_systems import make_system, small_config

CONFIG = small_config("training.clip=0.5").training


def fill(system: EnergySystem, *, scale: dict[str, float], seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for part in PARTS:
        for parameter in getattr(system, part).parameters():
            parameter.grad = scale.get(part, 1.0) * torch.randn(parameter.shape, generator=generator)


def norm(system: EnergySystem, part: str) -> float:
    return float(torch.stack([p.grad.square().sum() for p in getattr(system, part).parameters()]).sum().sqrt())


def test_warm_up_then_cosine() -> None:
    factors = [rate_factor(step, 11, 2) for step in range(11)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert all(late < early for early, late in pairwise(factors[2:]))
    assert factors[6] == pytest.approx(0.51)
    assert factors[10] == pytest.approx(0.02)
    assert rate_factor(99, 11, 2) == pytest.approx(0.02)


def test_the_factor_scales_the_first_step() -> None:
    """Adam's first step is the rate itself, whatever the gradient; the temperature has no weight decay."""
    for factor in (1.0, 0.25):
        system = make_system(small_config())
        before = system.temperature.log_temperature.detach().clone()
        system.temperature.log_temperature.grad = torch.tensor(0.3)
        optimisers = PartOptimisers(system, CONFIG)
        optimisers.step(factor)
        moved = float(before - system.temperature.log_temperature.detach())
        assert moved == pytest.approx(factor * optimisers.rates["temperature"], rel=1e-3)


def test_each_part_is_clipped_on_its_own() -> None:
    system = make_system(small_config())
    fill(system, scale={"student": 1e4, "teacher": 1e-6})
    quiet = [known(parameter.grad).clone() for parameter in system.teacher.parameters()]
    PartOptimisers(system, CONFIG).step(1.0)
    for part in ("backbone", "set_encoder", "student", "opportunist"):
        assert norm(system, part) == pytest.approx(CONFIG.clip, rel=1e-3)
    for parameter, before in zip(system.teacher.parameters(), quiet, strict=True):
        torch.testing.assert_close(parameter.grad, before)


def test_a_huge_gradient_of_one_part_does_not_change_the_step_of_another() -> None:
    states = []
    for scale in (1.0, 1e6):
        system = make_system(small_config())
        optimisers = PartOptimisers(system, CONFIG)
        for step in range(3):
            fill(system, scale={"set_encoder": scale, "student": scale}, seed=step)
            optimisers.step(0.5)
        states.append(system.backbone.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_part_without_gradient_stays_as_it_is() -> None:
    system = make_system(small_config())
    before = {name: value.clone() for name, value in system.state_dict().items()}
    for parameter in system.student.parameters():
        parameter.grad = torch.ones_like(parameter)
    PartOptimisers(system, CONFIG).step(1.0)
    moved = {name.split(".")[0] for name, value in system.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"student"}


def test_zero_forgets_all_gradients() -> None:
    system = make_system(small_config())
    fill(system, scale={})
    PartOptimisers(system, CONFIG).zero()
    assert all(parameter.grad is None for parameter in system.parameters())


def test_the_teacher_is_slower_than_the_student() -> None:
    optimisers = PartOptimisers(make_system(small_config()), CONFIG)
    assert optimisers.rates["teacher"] == pytest.approx(CONFIG.teacher_rate_factor * optimisers.rates["student"])
    assert set(optimisers.rates) == set(PARTS)


def test_a_restored_state_gives_the_same_next_step() -> None:
    system = make_system(small_config())
    optimisers = PartOptimisers(system, CONFIG)
    for step in range(3):
        fill(system, scale={}, seed=step)
        optimisers.step(0.5)
    again = make_system(small_config(), seed=9)
    again.load_state_dict(system.state_dict())
    restored = PartOptimisers(again, CONFIG)
    restored.restore({name: value.clone() for name, value in optimisers.state().items()})
    fresh = make_system(small_config(), seed=9)
    fresh.load_state_dict(system.state_dict())
    for one, how in ((system, optimisers), (again, restored), (fresh, PartOptimisers(fresh, CONFIG))):
        fill(one, scale={}, seed=3)
        how.step(0.5)
    expected, got, without = (one.state_dict() for one in (system, again, fresh))
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert not all(torch.equal(expected[name], without[name]) for name in expected), "the moments must matter"


def test_the_state_of_a_part_never_stepped_is_empty() -> None:
    system = make_system(small_config())
    optimisers = PartOptimisers(system, CONFIG)
    assert optimisers.state() == {}
    for parameter in system.student.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimisers.step(1.0)
    assert {name.split(".")[0] for name in optimisers.state()} == {"student"}


def test_weight_decay_is_for_matrices_of_the_backbone_alone() -> None:
    """Zero gradients: Adam stands still, so whatever shrinks was decayed."""
    system = make_system(small_config())
    optimisers = PartOptimisers(system, CONFIG)
    before = {name: value.detach().clone() for name, value in system.named_parameters()}
    for _ in range(3):
        for parameter in system.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimisers.step(0.5)
    kept = (1 - 0.5 * CONFIG.learning_rate * CONFIG.weight_decay) ** 3
    decayed = set()
    for name, value in system.named_parameters():
        if not torch.equal(value.detach(), before[name]):
            decayed.add(name)
            torch.testing.assert_close(value.detach(), kept * before[name])
    assert decayed == {name for name, value in before.items() if name.startswith("backbone.") and value.ndim >= 2}
    assert "backbone.enhancer.project.weight" in decayed
    assert not decayed & {"backbone.occupancy.threshold", "backbone.occupancy.log_slope", "backbone.energy.linear.bias"}


@pytest.mark.parametrize("rate", [0.3, 1.0, 2.0])
def test_the_opportunists_rate_scales_its_own_learning_rate(rate: float) -> None:
    """A factor on its loss would be lost in Adam; on the rate it is exact, at every step."""
    moves: dict[float, dict[str, torch.Tensor]] = {}
    for factor in (1.0, rate):
        system = make_system(small_config())
        before = {name: value.detach().clone() for name, value in system.named_parameters()}
        optimisers = PartOptimisers(system, CONFIG)
        for step in range(4):
            fill(system, scale={"opportunist": 1e-3}, seed=step)
            optimisers.step(0.5, opportunist=factor)
        moves[factor] = {name: value.detach() - before[name] for name, value in system.named_parameters()}
    for name, move in moves[rate].items():
        if name.startswith("opportunist."):
            torch.testing.assert_close(move, rate * moves[1.0][name], rtol=1e-3, atol=1e-6)
        else:
            assert torch.equal(move, moves[1.0][name])


def test_the_opportunists_rate_does_not_stay() -> None:
    system = make_system(small_config())
    optimisers = PartOptimisers(system, CONFIG)
    for rate in (0.3, 1.0):
        fill(system, scale={})
        optimisers.step(1.0, opportunist=rate)
    for part, optimiser in optimisers.optimisers.items():
        assert [group["lr"] for group in optimiser.param_groups] == [optimisers.rates[part]] * len(
            optimiser.param_groups
        )
