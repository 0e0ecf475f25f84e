"""Who may move what: the gradient table as data, and the only function that runs a backward pass from a loss.

A loss reaches exactly the parts that its row of `ROUTES` names. This module does not know how a loss is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning_fabric import Fabric
from torch import Tensor, nn

from episode.model.energy import PARTS

__all__ = ["ROUTES", "backward", "owners"]

_ENVIRONMENT = frozenset({"set_encoder", "student"})

ROUTES: Mapping[str, frozenset[str]] = {
    "task": frozenset({"backbone", "temperature", "teacher", "exposure"}) | _ENVIRONMENT,
    "potential": frozenset({"backbone"}),
    "motif_sparsity": frozenset({"backbone"}),
    "distillation": _ENVIRONMENT,
    "pull_in": _ENVIRONMENT,
    "sparsity": _ENVIRONMENT | {"teacher"},
    "orthogonality": _ENVIRONMENT | {"teacher"},
    "opportunist": frozenset({"opportunist"}),
    "push_away": frozenset({"set_encoder"}),
}
"""Loss name -> parts that it may move."""


def owners(system: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the parameters of each part.

    Raises
    ------
    ValueError
        If a parameter belongs to no part or to two: ownership is by identity, so a shared tensor is caught.
    """
    owned = {part: list(getattr(system, part).parameters()) for part in PARTS}
    seen: dict[int, str] = {}
    for part, parameters in owned.items():
        for parameter in parameters:
            if id(parameter) in seen:
                raise ValueError(f"a parameter of {part} belongs to {seen[id(parameter)]} as well")
            seen[id(parameter)] = part
    for name, parameter in system.named_parameters():
        if id(parameter) not in seen:
            raise ValueError(f"parameter {name} belongs to no part")
    return owned


def backward(
    fabric: Fabric, system: nn.Module, losses: Mapping[str, Tensor], potentials: Sequence[Tensor] = ()
) -> None:
    """Run the backward passes: every loss into the parts that its row names, and into nothing else.

    Parameters
    ----------
    losses : mapping of str to Tensor, shape ()
        Keys of `ROUTES`; a missing key is a loss that is not at work in this step.
    potentials : sequence of Tensor
        Leaves at which the graph of U_I was cut: they stand for the Backbone, and get what its rows let through.

    Raises
    ------
    ValueError
        At a loss that the table does not know.
    """
    unknown = set(losses) - set(ROUTES)
    if unknown:
        raise ValueError(f"no row in the gradient table for: {', '.join(sorted(unknown))}")
    owned = owners(system)
    rows: dict[frozenset[str], list[Tensor]] = {}
    for name, loss in losses.items():
        if loss.requires_grad:
            rows.setdefault(ROUTES[name], []).append(loss)
    for count, (parts, terms) in enumerate(rows.items(), start=1):
        targets: list[Tensor] = [parameter for part in sorted(parts) for parameter in owned[part]]
        if "backbone" in parts:
            targets += potentials
        total = terms[0] if len(terms) == 1 else sum(terms[1:], start=terms[0])
        fabric.backward(total, inputs=targets, retain_graph=count < len(rows))
