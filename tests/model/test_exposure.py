"""The exposure and the impedance that a pair meets: with one channel the scalar, with several another ranking."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from episode.model.energy import EnergySystem
from episode.model.environment.exposure import REACH, Exposure, regular_simplex
from small_systems import small_config

SIZE = 40


def fresh(channels: int, seed: int = 0) -> EnergySystem:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EnergySystem(small_config(f"impedance.channels={channels}"), torch.zeros(3), 2, 0.0)


def exposure(channels: int, seed: int = 0) -> Exposure:
    """One away from its start."""
    part = Exposure(channels, SIZE)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.add_(3 * torch.randn(parameter.shape, generator=generator))
    return part


@settings(max_examples=50)
@given(st.integers(1, 5), st.integers(0, 1000), st.floats(0.01, 1e6))
def test_every_row_lies_on_the_simplex(channels: int, seed: int, scale: float) -> None:
    values = scale * torch.randn(7, SIZE, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        shares = exposure(channels, seed)(values)
    assert shares.shape == (7, channels)
    assert bool((shares >= 0).all())
    torch.testing.assert_close(shares.sum(1), torch.ones(7))


def test_one_channel_has_no_parameter_no_buffer_and_draws_nothing() -> None:
    state = torch.random.get_rng_state()
    single = Exposure(1, SIZE)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert single.state_dict() == {} and list(single.parameters()) == []
    single.fit_inputs(torch.ones(SIZE), torch.ones(SIZE))
    assert torch.equal(single(torch.randn(5, SIZE)), torch.ones(5, 1))
    assert not any(name.startswith("exposure") for name in fresh(1).state_dict())


def test_the_other_parts_start_alike_whatever_the_number_of_channels() -> None:
    one, two = fresh(1).state_dict(), fresh(2).state_dict()
    same = [name for name in one if name.split(".")[0] in ("backbone", "temperature", "set_encoder")]
    assert same and all(torch.equal(one[name], two[name]) for name in same)


def test_a_fresh_exposure_is_even() -> None:
    with torch.no_grad():
        shares = Exposure(3, SIZE)(torch.randn(20, SIZE))
    torch.testing.assert_close(shares, torch.full((20, 3), 1 / 3))


@pytest.mark.parametrize("corners", [2, 3, 5])
def test_corners_of_the_simplex_are_one_apart_and_centred(corners: int) -> None:
    places = regular_simplex(corners)
    assert places.shape == (corners, corners - 1)
    torch.testing.assert_close(torch.pdist(places), torch.ones(corners * (corners - 1) // 2, dtype=torch.float64))
    torch.testing.assert_close(places.sum(0), torch.zeros(corners - 1, dtype=torch.float64))


def test_a_start_along_a_direction_spreads_two_channels_over_it() -> None:
    part = Exposure(2, SIZE)
    direction = torch.zeros(1, SIZE)
    direction[0, 7] = 1.0
    part.start_along(direction)
    values = torch.randn(30, SIZE, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        log_odds = part(values).log().diff(dim=1).squeeze(1)
    assert log_odds.abs().numpy() == pytest.approx(REACH * values[:, 7].abs().numpy(), rel=1e-3)
    part.start_along(torch.zeros(1, SIZE))
    assert torch.equal(part(values), torch.full((30, 2), 0.5))


def test_inputs_are_standardised_and_detached() -> None:
    part = exposure(2)
    part.fit_inputs(torch.full((SIZE,), 5.0), torch.full((SIZE,), 4.0))
    values = torch.randn(6, SIZE, requires_grad=True)
    shares = part(5 + 2 * values)
    plain = exposure(2)
    plain.fit_inputs(torch.zeros(SIZE), torch.ones(SIZE))
    torch.testing.assert_close(shares, plain(values), atol=2e-3, rtol=2e-3)
    shares[:, 0].sum().backward()
    assert values.grad is None and part.head is not None and part.head.weight.grad is not None


def test_the_impedance_of_a_pair_is_its_mean_over_channels() -> None:
    system = fresh(3)
    shares = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
    found = system.pair_impedance(torch.tensor([2.0, 4.0, 8.0]), shares)
    assert found.tolist() == [2.0, 4.0, 8.0]


def test_one_channel_is_the_scalar_itself() -> None:
    system = fresh(1)
    impedance = torch.tensor([1.2345678])
    found = system.pair_impedance(impedance, system.exposure(torch.zeros(4, 9)))
    assert found.ndim == 0 and torch.equal(found, impedance[0])


@pytest.mark.parametrize("shift", [-1.0, 0.7])
def test_a_shift_common_to_all_channels_shifts_every_pair_alike(shift: float) -> None:
    system = fresh(3)
    values = torch.randn(50, system.backbone.representation_size)
    impedance = torch.tensor([2.0, 4.0, 3.0])
    with torch.no_grad():
        for parameter in system.exposure.parameters():
            parameter.normal_()
        shares = system.exposure(values)
        moved = system.pair_impedance(impedance + shift, shares) - system.pair_impedance(impedance, shares)
    torch.testing.assert_close(moved, torch.full((50,), shift), atol=1e-5, rtol=0)


def test_several_channels_can_change_a_ranking_and_one_cannot() -> None:
    potential = torch.tensor([1.0, 2.0])
    shares = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    system = fresh(2)
    with torch.no_grad():
        apart = system(potential, system.pair_impedance(torch.tensor([0.0, 3.0]), shares))
        equal = system(potential, system.pair_impedance(torch.tensor([3.0, 3.0]), shares))
        scalar = system(potential, fresh(1).pair_impedance(torch.tensor([3.0]), torch.ones(2, 1)))
    assert apart[0] > apart[1]
    assert equal[0] < equal[1]
    assert torch.equal(equal, scalar)
