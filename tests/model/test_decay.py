"""Contact decay: never rising, nothing where the distance is unknown, and read by nobody unless asked for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric

from episode.inference.pairs import PairRows
from episode.inference.scoring import score_rows
from episode.model.backbone import Backbone
from episode.model.decay import ContactDecay
from episode.model.energy import PARTS
from episode.train.gradient_table import backward
from episode.train.step import step_losses
from small_systems import make_context, make_rows, make_store, make_system, reverse_complement, small_config

STORE = make_store()
UNKNOWN = float("nan")
numbers = st.floats(-30, 30)
ON = "potential.distance=true"


def decay_of(slopes: list[float], log_knees: list[float]) -> ContactDecay:
    decay = ContactDecay()
    with torch.no_grad():
        decay.slope.copy_(torch.tensor(slopes))
        decay.log_knee.copy_(torch.tensor(log_knees))
    return decay


def backbone(*settings: str) -> Backbone:
    return make_system(small_config(*settings)).backbone


def potential(model: Backbone, rows: PairRows) -> torch.Tensor:
    return score_rows(model, STORE, rows).potential


@given(st.tuples(numbers, numbers), st.tuples(numbers, numbers), st.lists(st.floats(0, 3e8), min_size=2, max_size=20))
def test_never_rises_with_distance(slopes: tuple[float, ...], knees: tuple[float, ...], distances: list[float]) -> None:
    values = decay_of(list(slopes), list(knees))(torch.tensor(sorted(distances), dtype=torch.float64)).detach()
    assert bool(torch.isfinite(values).all())
    assert float(values.diff().max()) <= 1e-5 * max(1.0, float(values.abs().max()))


def test_by_hand() -> None:
    """Slopes 2 and 1, knees 10 kb and 1 Mb; at 90 kb against the reference of 100 kb and beyond it."""
    inverse = [math.log(math.expm1(slope)) for slope in (2.0, 1.0)]
    decay = decay_of(inverse, [math.log(1e4), math.log(1e6)])
    distance = torch.tensor([9e4, 1e5, 1e6], dtype=torch.float64)
    expected = [
        -2 * (math.log(10) - math.log(11)) - (math.log(1.09) - math.log(1.1)),
        0.0,
        -2 * (math.log(101) - math.log(11)) - (math.log(2) - math.log(1.1)),
    ]
    torch.testing.assert_close(decay(distance), torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_falls_as_a_power_law_from_the_start() -> None:
    """Far beyond both knees the slope in ln d is the sum of the slopes; it starts gentler than contact itself, -1."""
    near, far = ContactDecay()(torch.tensor([1e10, 1e11], dtype=torch.float64)).detach()
    assert float(near - far) / math.log(10) == pytest.approx(0.25, abs=1e-3)


def test_unknown_distance_gives_nothing_and_no_gradient() -> None:
    decay = decay_of([0.3, -2.0], [9.0, 14.0])
    decay.measure(torch.tensor([3e4, UNKNOWN, 3e6], dtype=torch.float64))
    assert float(decay.log_reference) == pytest.approx(math.log(3e5), abs=1e-5)
    values = decay(torch.tensor([UNKNOWN, 1e3, 3e5, 1e7], dtype=torch.float64))
    unknown, near, there, far = values.detach().tolist()
    assert unknown == 0 and near > 0.01 and abs(there) < 1e-5 and far < -0.01
    parameters = list(decay.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(values[0], parameters), strict=True):
        assert torch.equal(gradient, torch.zeros_like(parameter))


def test_the_reference_is_that_of_known_distances_or_refused() -> None:
    with pytest.raises(ValueError, match="no pair has a known distance"):
        ContactDecay().measure(torch.tensor([UNKNOWN, UNKNOWN]))


def test_off_nothing_reads_the_distance() -> None:
    rows, model = make_rows(40), backbone()
    assert model.decay is None
    far = replace(rows, distance=rows.distance * 7 + 1)
    assert torch.equal(potential(model, rows), potential(model, far))
    assert torch.equal(potential(model, rows), potential(model, replace(rows, distance=np.full(40, UNKNOWN))))


def test_on_it_adds_the_decay_of_each_pair_to_the_same_potential() -> None:
    """The other parameters, made first, are those of a system without the term; so is z_I."""
    rows = make_rows(40)
    model, plain = backbone(ON), backbone()
    assert model.decay is not None
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith("decay.")})
    known = np.arange(40) % 3 > 0
    some = replace(rows, distance=np.where(known, rows.distance, UNKNOWN))
    one, two = score_rows(model, STORE, some), score_rows(plain, STORE, some)
    added = model.decay(torch.from_numpy(some.distance)).detach()
    torch.testing.assert_close(one.potential, two.potential + added, atol=1e-6, rtol=0)
    assert torch.equal(one.potential[~known], two.potential[~known])
    assert float(added.std()) > 0.05
    assert torch.equal(one.representation, two.representation)


@pytest.mark.parametrize("oriented", [True, False])
def test_the_mirror_and_the_mean_of_orientations_leave_the_term_alone(oriented: bool) -> None:
    rows, model = make_rows(40, oriented=oriented), backbone(ON)
    flipped = score_rows(model, reverse_complement(STORE), replace(rows, mirrored=~rows.mirrored)).potential
    torch.testing.assert_close(flipped, potential(model, rows), atol=1e-5, rtol=1e-5)
    assert model.decay is not None
    nowhere = potential(model, replace(rows, distance=np.full(40, UNKNOWN)))
    added = model.decay(torch.from_numpy(rows.distance)).detach()
    torch.testing.assert_close(potential(model, rows) - nowhere, added, atol=1e-5, rtol=1e-5)


def test_only_the_task_and_the_hinge_move_it() -> None:
    moved = set()
    context, tasks = make_context(small_config(ON))
    for name in step_losses(context, tasks).losses:
        context, tasks = make_context(small_config(ON))
        decay = context.system.backbone.decay
        assert decay is not None
        assert {id(p) for p in decay.parameters()} <= {id(p) for p in getattr(context.system, PARTS[0]).parameters()}
        backward(Fabric(accelerator="cpu", devices=1), context.system, {name: step_losses(context, tasks).losses[name]})
        gradients = [parameter.grad for parameter in decay.parameters()]
        if any(gradient is not None and bool(gradient.abs().max() > 0) for gradient in gradients):
            moved.add(name)
    assert moved == {"task", "potential"}
