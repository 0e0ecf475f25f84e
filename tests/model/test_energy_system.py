"""The formula, fusion, and the parts that make R_E."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from episode.model.energy import EnergySystem, Temperature, fuse
from episode.model.environment.opportunist import SHORTCUTS
from episode.model.environment.set_encoder import SetEncoder
from episode.model.environment.student import softplus_inverse
from small_systems import make_system, small_config

CONFIG = small_config()
SYSTEM = make_system(CONFIG, environments=4)
SIZE = SYSTEM.backbone.representation_size


def support(count: int = 40, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, SIZE, generator=generator),
        torch.randn(count, generator=generator),
        torch.randint(-1, 2, (count,), generator=generator),
    )


def test_the_formula_by_hand() -> None:
    system = make_system(CONFIG)
    with torch.no_grad():
        system.temperature.log_temperature.fill_(math.log(2.0))
        system.temperature.offset.fill_(0.5)
    logit = system(torch.tensor([1.0, 4.0]), torch.tensor(3.0))
    torch.testing.assert_close(logit, torch.tensor([-0.75, 0.75]))
    logit = system(torch.tensor([1.0, 4.0]), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(logit, torch.tensor([0.75, 1.75]))


def test_temperature_starts_at_one_without_offset() -> None:
    temperature = Temperature()
    assert float(temperature().detach()) == 1
    assert float(temperature.offset) == 0


@given(
    arrays(np.float64, st.integers(2, 30), elements=st.floats(-50, 50)),
    st.floats(-1e3, 1e3),
    st.floats(math.log(1e-2), math.log(1e2)),
    st.floats(-10, 10),
)
def test_impedance_and_temperature_never_change_the_ranking(
    potential: np.ndarray, impedance: float, log_temperature: float, offset: float
) -> None:
    system = EnergySystem(CONFIG, torch.zeros(2), 1, 0.0).double()
    with torch.no_grad():
        system.temperature.log_temperature.fill_(log_temperature)
        system.temperature.offset.fill_(offset)
        values = np.round(potential, 3)  # steps that survive the rounding of the formula
        logit = system(torch.from_numpy(values), torch.tensor(impedance)).numpy()
    order = np.argsort(values, kind="stable")
    np.testing.assert_array_equal(np.argsort(logit, kind="stable"), order)
    np.testing.assert_array_equal(np.diff(values[order]) > 0, np.diff(logit[order]) > 0)


def test_fusion_is_a_weighted_mean() -> None:
    teacher, student = torch.tensor(2.0), torch.tensor(6.0)
    assert float(fuse(teacher, student, 0.25)) == 5
    assert float(fuse(teacher, student, 1.0)) == 2
    assert float(fuse(teacher, student, 0.0)) == 6


def test_the_set_encoder_does_not_see_the_order() -> None:
    values = support()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(5))
    one = SYSTEM.set_encoder(*values)
    two = SYSTEM.set_encoder(*(value[order] for value in values))
    assert one.shape == (CONFIG.environment.width,)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)


def test_the_set_encoder_sees_representation_potential_and_labels() -> None:
    representation, potential, label = support()
    base = SYSTEM.set_encoder(representation, potential, label)
    for changed in (
        (representation + 0.5, potential, label),
        (representation, potential + 0.5, label),
        (representation, potential, torch.where(label == 0, 1, label)),
        (representation, potential, torch.where(label == 0, -1, label)),
    ):
        assert float((SYSTEM.set_encoder(*changed) - base).detach().abs().max()) > 1e-4


def test_the_set_encoder_cuts_the_graph_of_its_support() -> None:
    representation, potential, label = support()
    representation.requires_grad_()
    potential.requires_grad_()
    SYSTEM.set_encoder(representation, potential, label).sum().backward()
    assert representation.grad is None and potential.grad is None
    SYSTEM.zero_grad(set_to_none=True)


def test_running_statistics_follow_what_is_observed() -> None:
    encoder = SetEncoder(CONFIG.environment, 3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        encoder.observe(
            3 + 2 * torch.randn(500, 3, generator=generator), -1 + 0.5 * torch.randn(500, generator=generator)
        )
    torch.testing.assert_close(encoder.mean, torch.tensor([3.0, 3.0, 3.0, -1.0]), atol=0.1, rtol=0)
    torch.testing.assert_close(encoder.variance, torch.tensor([4.0, 4.0, 4.0, 0.25]), atol=0.3, rtol=0)


def halves(*means: float) -> torch.Tensor:
    """Four pairs whose channels have these means."""
    return torch.tensor(means) + torch.tensor([-3.0, -1.0, 1.0, 3.0])[:, None]


def test_reliability_by_hand() -> None:
    """Products of the means over their mean square: 4/4, -1/1 (held at 0) and 3/5."""
    encoder = SetEncoder(CONFIG.environment, 3)
    assert encoder.reliability().tolist() == [0, 0, 0]
    encoder.observe_halves(halves(2.0, 1.0, 1.0), halves(2.0, -1.0, 3.0), decay=0.5)
    torch.testing.assert_close(encoder.product, torch.tensor([2.0, -0.5, 1.5]))
    torch.testing.assert_close(encoder.square, torch.tensor([2.0, 0.5, 2.5]))
    torch.testing.assert_close(encoder.reliability(), torch.tensor([1.0, 0.0, 0.6]))
    encoder.observe_halves(halves(0.0, 2.0, 0.0), halves(4.0, 2.0, 1.0), decay=0.5)
    torch.testing.assert_close(encoder.product, torch.tensor([1.0, 1.75, 0.75]))
    torch.testing.assert_close(encoder.square, torch.tensor([5.0, 2.25, 1.5]), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.reliability(), torch.tensor([0.2, 7 / 9, 0.5]), atol=1e-5, rtol=0)


def test_halves_are_compared_about_the_running_mean() -> None:
    encoder = SetEncoder(CONFIG.environment, 2)
    encoder.mean.copy_(torch.tensor([10.0, -10.0, 99.0]))
    encoder.observe_halves(halves(11.0, -9.0), halves(11.0, -11.0), decay=0.0)
    torch.testing.assert_close(encoder.product, torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(encoder.square, torch.tensor([1.0, 1.0]))


def test_what_repeats_in_other_loci_is_reliable_and_what_does_not_is_not() -> None:
    """Channels: the same in both halves, independent, half of each (true reliability 1, 0, 0.5), opposite."""
    encoder = SetEncoder(CONFIG.environment, 4)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2000):
        common, one, two, first, second = torch.randn(5, generator=generator).tolist()
        encoder.observe_halves(
            halves(common, one, common + first, common), halves(common, two, common + second, -common)
        )
        assert bool(((encoder.reliability() >= 0) & (encoder.reliability() <= 1)).all())
    same, independent, mixed, opposite = encoder.reliability().tolist()
    assert same > 0.999
    assert independent < 0.2
    assert 0.3 < mixed < 0.7
    assert opposite == 0


def test_reliability_is_no_parameter_and_carries_no_gradient() -> None:
    encoder = SetEncoder(CONFIG.environment, 3)
    first, second = halves(1.0, 2.0, 3.0).requires_grad_(), halves(2.0, 1.0, 0.5).requires_grad_()
    encoder.observe_halves(first, second)
    assert not encoder.product.requires_grad and not encoder.square.requires_grad
    assert not encoder.reliability().requires_grad
    assert not {"product", "square"} & {name for name, _ in encoder.named_parameters()}
    assert {"product", "square"} <= set(encoder.state_dict())


def test_channels_without_reliability_do_not_change_the_embedding() -> None:
    system = make_system(CONFIG)
    encoder = system.set_encoder
    dead = torch.arange(SIZE) % 2 == 0
    encoder.product.masked_fill_(dead, 0.0)
    representation, potential, label = support()
    with torch.no_grad():
        base = encoder(representation, potential, label)
        assert torch.equal(encoder(torch.where(dead, 7.0, representation), potential, label), base)
        changed = encoder(torch.where(dead, representation, representation + 0.5), potential, label)
        assert float((changed - base).abs().max()) > 1e-4
        encoder.product.zero_()
        blind = encoder(representation, potential, label)
        assert torch.equal(encoder(torch.zeros_like(representation), potential, label), blind)
        assert not torch.allclose(encoder(representation, potential + 0.5, label), blind, atol=1e-4)


def test_forward_leaves_the_statistics_alone() -> None:
    before = {name: value.clone() for name, value in SYSTEM.state_dict().items()}
    SYSTEM.set_encoder(*support())
    SYSTEM.teacher()
    SYSTEM.teacher.reference(torch.zeros(CONFIG.environment.width))
    assert all(torch.equal(before[name], value) for name, value in SYSTEM.state_dict().items())


def test_impedances_are_never_negative() -> None:
    with torch.no_grad():
        assert bool((SYSTEM.student(100 * torch.randn(200, CONFIG.environment.width)) >= 0).all())
        system = make_system(CONFIG, environments=50, noise=30.0)
        assert bool((system.teacher() >= 0).all())


def test_student_and_teacher_start_at_the_initial_impedance() -> None:
    system = EnergySystem(CONFIG, torch.zeros(3), 5, 0.0)
    start = CONFIG.environment.initial_impedance
    with torch.no_grad():
        assert float(system.student(torch.randn(CONFIG.environment.width))) == pytest.approx(start, rel=1e-5)
        np.testing.assert_allclose(system.teacher().numpy(), start, rtol=1e-5)


@pytest.mark.parametrize("value", [0.01, 1.0, 3.0, 60.0])
def test_softplus_inverse(value: float) -> None:
    restored = float(torch.nn.functional.softplus(torch.tensor(softplus_inverse(value), dtype=torch.float64)))
    assert restored == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("prototypes", [1, 3])
def test_the_reference_lies_between_the_teachers_impedances(prototypes: int) -> None:
    config = small_config(f"environment.prototypes={prototypes}")
    system = make_system(config, environments=4, noise=0.5)
    known = system.teacher().detach()
    assert float(known.max() - known.min()) > 0.1
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        reference = float(system.teacher.reference(3 * torch.randn(config.environment.width, generator=generator)))
        assert float(known.min()) - 1e-5 <= reference <= float(known.max()) + 1e-5


def test_the_reference_follows_the_nearest_prototype() -> None:
    system = make_system(CONFIG, environments=4, noise=0.5)
    known = system.teacher().detach()
    for index in range(4):
        reference = system.teacher.reference(system.teacher.prototype[index, 0])
        others = torch.cat([known[:index], known[index + 1 :]])
        assert abs(float(reference - known[index])) < float((others - known[index]).abs().max())


def test_the_reference_without_any_prototype_is_the_mean() -> None:
    system = EnergySystem(CONFIG, torch.zeros(3), 3, 0.0)
    with torch.no_grad():
        system.teacher.embedding.normal_()
        mean = float(system.teacher().mean())
    assert float(system.teacher.reference(torch.zeros(CONFIG.environment.width))) == pytest.approx(mean, rel=1e-5)


def test_prototypes_move_by_the_decay_and_only_their_own() -> None:
    system = EnergySystem(CONFIG, torch.zeros(3), 3, 0.0)
    width, decay = CONFIG.environment.width, CONFIG.environment.prototype_decay
    system.teacher.observe(1, torch.ones(width))
    system.teacher.observe(1, torch.zeros(width))
    torch.testing.assert_close(system.teacher.prototype[1, 0], torch.full((width,), decay))
    assert system.teacher.visits.tolist() == [[0], [2], [0]]
    assert float(system.teacher.prototype[[0, 2]].abs().max()) == 0


def test_the_nearest_of_several_prototypes_moves() -> None:
    config = small_config("environment.prototypes=2")
    system = EnergySystem(config, torch.zeros(3), 1, 0.0)
    width = config.environment.width
    for value in (0.0, 10.0, 9.0):
        system.teacher.observe(0, torch.full((width,), value))
    assert system.teacher.prototype[0, 0].abs().max() == 0
    expected = 10 - (1 - config.environment.prototype_decay)
    torch.testing.assert_close(system.teacher.prototype[0, 1], torch.full((width,), expected))


def test_prototypes_change_the_teachers_impedance() -> None:
    system = make_system(CONFIG, environments=3)
    before = system.teacher().detach()
    system.teacher.observe(0, torch.full((CONFIG.environment.width,), 50.0))
    assert float((system.teacher().detach() - before).abs().max()) > 1e-3


def test_delta_is_centred_and_reads_both_its_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    shortcuts = torch.randn(30, len(SHORTCUTS), generator=generator)
    embedding = torch.randn(CONFIG.environment.width, generator=generator)
    with torch.no_grad():
        delta = SYSTEM.opportunist(shortcuts, embedding)
        assert delta.shape == (30,)
        assert float(delta.std()) > 1e-3
        assert float(delta.mean()) == pytest.approx(0, abs=1e-6)
        assert not torch.allclose(delta, SYSTEM.opportunist(shortcuts, -3 * embedding), atol=1e-3)
        assert not torch.allclose(delta, SYSTEM.opportunist(shortcuts.flip(0), embedding), atol=1e-3)
