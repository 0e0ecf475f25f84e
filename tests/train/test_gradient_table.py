"""Who may move what: ownership, the gradient table, and the step that leaves the Backbone alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from allowed_gradients import ALLOWED, MOVED
from episode.inference.scoring import FrozenScorer
from episode.model.energy import PARTS, EnergySystem
from episode.train.gradient_table import ROUTES, backward, owners
from episode.train.optimizers import PartOptimisers
from episode.train.step import step_losses
from known import known
from small_systems import make_context, make_system, small_config

GRAPH = MOVED | {"push_away": {"set_encoder", "opportunist"}}
"""What a loss reaches without any routing: the reversed loss must pass through the Opportunist's head."""


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


SPECTRUM = ("impedance.channels=2",)
"""Under which every part has parameters."""


def losses(*settings: str) -> tuple[EnergySystem, dict[str, Tensor]]:
    context, tasks = make_context(small_config(*SPECTRUM, *settings))
    with torch.no_grad():
        context.system.backbone.energy.linear.bias.add_(6.0)  # out of the band in which the mean hinge rests
    return context.system, step_losses(context, tasks).losses


def touched(system: EnergySystem, *, nonzero: bool) -> set[str]:
    parts = set()
    for part in PARTS:
        gradients = [parameter.grad for parameter in getattr(system, part).parameters()]
        if any(grad is not None and (not nonzero or bool(grad.abs().max() > 0)) for grad in gradients):
            parts.add(part)
    return parts


def test_the_table_is_that_of_the_design() -> None:
    assert {name: set(parts) for name, parts in ROUTES.items()} == ALLOWED


def test_with_one_channel_the_exposure_has_nothing_to_move() -> None:
    context, tasks = make_context(small_config())
    assert set(step_losses(context, tasks).losses) == set(ROUTES)
    assert owners(context.system)["exposure"] == []


def test_the_exposure_learns_while_the_backbone_does_not() -> None:
    context, tasks = make_context(small_config(*SPECTRUM))
    context.score = FrozenScorer(context.score, np.arange(len(context.rows)))
    made = step_losses(context, tasks).losses
    for name in made:
        for parameter in context.system.parameters():
            parameter.grad = None
        backward(fabric(), context.system, {name: step_losses(context, tasks).losses[name]})
        assert ("exposure" in touched(context.system, nonzero=True)) is (name == "task"), name
        assert "backbone" not in touched(context.system, nonzero=False)


def test_every_parameter_has_one_owner() -> None:
    system = make_system(small_config(*SPECTRUM))
    owned = owners(system)
    assert list(owned) == list(PARTS)
    identities = [id(parameter) for parameters in owned.values() for parameter in parameters]
    assert len(identities) == len(set(identities))
    assert set(identities) == {id(parameter) for parameter in system.parameters()}


def test_a_shared_parameter_is_refused() -> None:
    system = make_system(small_config())
    system.teacher.head.weight = system.student.head.weight
    with pytest.raises(ValueError, match="teacher belongs to student"):
        owners(system)


def test_a_parameter_without_owner_is_refused() -> None:
    system = make_system(small_config())
    system.stray = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=r"stray\.weight belongs to no part"):
        owners(system)


def test_a_step_has_every_loss_of_the_table() -> None:
    _, made = losses()
    assert set(made) == set(ROUTES)
    assert all(value.ndim == 0 and bool(torch.isfinite(value)) for value in made.values())


@pytest.mark.parametrize("name", ALLOWED)
def test_a_loss_moves_the_parts_of_its_row_and_no_other(name: str) -> None:
    system, made = losses()
    backward(fabric(), system, {name: made[name]})
    assert touched(system, nonzero=False) <= ALLOWED[name]
    assert touched(system, nonzero=True) == MOVED[name]


@pytest.mark.parametrize("kind", ["conv", "kmer"])
@pytest.mark.parametrize("name", ALLOWED)
def test_only_what_moves_the_backbone_moves_a_trainable_stem(name: str, kind: str) -> None:
    """The sparsity of the weights behind the stem is of the Backbone too, but says nothing of its filters."""
    settings = (f"stem.kind={kind}", "stem.filters=6", "stem.bin=32")
    system, made = losses(*settings)
    backward(fabric(), system, {name: made[name]})
    assert touched(system, nonzero=True) == MOVED[name]
    moved = [
        parameter.grad is not None and bool(parameter.grad.any()) for parameter in system.backbone.stem.parameters()
    ]
    assert moved == [name in ("task", "potential")]
    assert {id(p) for p in system.backbone.stem.parameters()} <= {id(p) for p in owners(system)["backbone"]}


@pytest.mark.parametrize("name", ALLOWED)
def test_the_graph_itself_stops_where_the_table_does(name: str) -> None:
    """Without `inputs=`: the detaching in the losses holds on its own."""
    system, made = losses()
    made[name].backward()
    assert touched(system, nonzero=False) == GRAPH[name]


@pytest.mark.parametrize("name", sorted(ROUTES))
def test_a_cut_potential_is_moved_by_what_moves_the_backbone_alone(name: str) -> None:
    context, _ = make_context(small_config())
    leaf = torch.ones(3, requires_grad=True)
    everything = leaf.sum() + sum(parameter.sum() for parameter in context.system.parameters())
    backward(fabric(), context.system, {name: everything}, [leaf])
    assert (leaf.grad is not None) == ("backbone" in ALLOWED[name])


def test_all_losses_together_give_each_part_the_sum_of_its_rows() -> None:
    system, made = losses()
    backward(fabric(), system, made)
    graded = {name: parameter.grad for name, parameter in system.named_parameters() if parameter.grad is not None}
    together = {name: grad.clone() for name, grad in graded.items()}
    assert {name for name, _ in system.named_parameters()} - set(together) == {
        "exposure.head.weight",
        "exposure.head.bias",
    }
    expected = {name: torch.zeros_like(grad) for name, grad in together.items()}
    for loss in made:
        system, again = losses()
        backward(fabric(), system, {loss: again[loss]})
        for name, parameter in system.named_parameters():
            if parameter.grad is not None:
                expected[name] += parameter.grad
    for name, grad in together.items():
        torch.testing.assert_close(grad, expected[name], atol=1e-6, rtol=1e-4, msg=name)


def test_push_away_makes_the_opportunist_worse() -> None:
    """A step of the set encoder along push-away alone; R_S is cut off from h_c, so only delta can change."""

    def fresh() -> tuple[EnergySystem, dict[str, Tensor]]:
        context, tasks = make_context(small_config())
        with torch.no_grad():
            context.system.student.head.weight.zero_()
        if moved:
            context.system.set_encoder.load_state_dict(moved)
        return context.system, step_losses(context, tasks).losses

    moved: dict[str, Tensor] = {}
    system, before = fresh()
    backward(fabric(), system, {"push_away": before["push_away"]})
    with torch.no_grad():
        for parameter in system.set_encoder.parameters():
            parameter.sub_(0.01 * torch.nan_to_num(known(parameter.grad).sign()))
    start = make_system(small_config()).set_encoder.state_dict()
    moved = start | {name: value.detach() for name, value in system.set_encoder.named_parameters()}
    _, after = fresh()
    assert float(after["opportunist"].detach()) > float(before["opportunist"].detach()) + 1e-4


def test_an_unknown_loss_is_refused_before_any_gradient() -> None:
    system, made = losses()
    with pytest.raises(ValueError, match="mystery"):
        backward(fabric(), system, {"task": made["task"], "mystery": made["task"]})
    assert touched(system, nonzero=False) == set()


def test_distillation_and_competition_leave_the_backbone_bit_identical() -> None:
    states = []
    for weight in ("0.0", "100.0"):
        config = small_config(
            *SPECTRUM,
            *(
                f"losses.{name}={weight}"
                for name in ("distillation", "pull_in", "push_away", "orthogonality", "sparsity")
            ),
        )
        context, tasks = make_context(config)
        optimisers = PartOptimisers(context.system, config.training)
        output = step_losses(context, tasks)
        backward(fabric(), context.system, output.losses)
        optimisers.step(1.0)
        states.append({part: getattr(context.system, part).state_dict() for part in PARTS})
    start = {part: getattr(make_system(small_config(*SPECTRUM)), part).state_dict() for part in PARTS}

    def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
        return all(torch.equal(one[key], two[key]) for key in one)

    assert equal(states[0]["backbone"], states[1]["backbone"])
    assert equal(states[0]["temperature"], states[1]["temperature"])
    assert not equal(states[0]["backbone"], start["backbone"]), "the step must move the Backbone at all"
    assert equal(states[0]["exposure"], states[1]["exposure"])
    assert not equal(states[0]["set_encoder"], states[1]["set_encoder"])
    assert not equal(states[0]["student"], states[1]["student"])
