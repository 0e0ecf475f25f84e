"""Scoring with a Backbone that learns: the pairs of a step are distributed, and the graph is cut at U_I.

U_I of query pairs is the only gradient path from a loss to the Backbone, so everything behind it sees a leaf. Every
process then holds U_I and z_I of all pairs and makes the same losses of them; the gradient at the leaf is carried on
into the Backbone part by part, and only that is added up over processes. Knows nothing about losses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from episode.inference.pairs import PairRows
from episode.inference.scoring import LiveScorer
from episode.model.backbone import PairOutput
from episode.train.distributed import Processes

__all__ = ["SharedScorer"]


@dataclass(frozen=True)
class _Graded:
    """Pairs scored for a gradient.

    Parameters
    ----------
    leaf : Tensor, shape (n,)
        U_I, cut off.
    index : ndarray, shape (n,)
        Their rows.
    parts : list of ndarray
        Positions in `index` of this process, to be scored with their graph one part after the other.
    potential : Tensor or None
        U_I of the only part with its graph; None where there are more.
    """

    leaf: Tensor
    index: np.ndarray
    parts: list[np.ndarray]
    potential: Tensor | None


class SharedScorer:
    """A scorer whose pairs are distributed over processes, and over parts of each.

    Parameters
    ----------
    autocast : callable, optional
        Context in which the Backbone runs.
    """

    def __init__(
        self,
        live: LiveScorer,
        processes: Processes,
        autocast: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        self.live, self.processes, self.autocast = live, processes, autocast
        self._graded: list[_Graded] = []

    @property
    def rows(self) -> PairRows:
        """The table that indices refer to."""
        return self.live.rows

    @property
    def leaves(self) -> list[Tensor]:
        """U_I of the pairs that were scored for a gradient since the last `backward`."""
        return [graded.leaf for graded in self._graded]

    def __call__(self, index: np.ndarray, *, gradient: bool = False) -> PairOutput:
        """Score the rows `index`; all processes must ask for the same rows."""
        shares = self._shares(index)
        sizes = [len(share) for share in shares]
        own = shares[self.processes.rank]
        self.processes.check_rows(index)
        whole = gradient and self.processes.accumulate == 1
        with self.autocast():
            output = self.live(index[own], gradient=whole)
        potential, representation = output.potential.detach(), output.representation.detach()
        if self._divides:
            table = self.processes.gather(torch.cat([potential[:, None], representation], dim=1), sizes)
            table = table[torch.from_numpy(np.argsort(np.concatenate(shares))).to(table.device)]
            potential, representation = table[:, 0], table[:, 1:]
        if gradient:
            potential = potential.clone().requires_grad_()
            parts = np.array_split(own, self.processes.accumulate)
            self._graded.append(_Graded(potential, index, parts, output.potential if whole else None))
        return PairOutput(potential, representation)

    @property
    def _divides(self) -> bool:
        return self.processes.count > 1 or self.processes.accumulate > 1

    def _shares(self, index: np.ndarray) -> list[np.ndarray]:
        """Positions in `index` of each process: neighbours by element, so that each encodes few."""
        if not self._divides:
            return [np.arange(len(index))]
        return np.array_split(self.rows.take(index).element_order(), self.processes.count)

    def backward(self) -> None:
        """Carry the gradients at `leaves` into the Backbone; all processes end with the same sum."""
        graded, self._graded = [one for one in self._graded if one.leaf.grad is not None], []
        if not graded:
            return
        parameters = [parameter for parameter in self.live.backbone.parameters() if parameter.requires_grad]
        sums: list[Tensor | None] = [None] * len(parameters)
        for one in graded:
            for part in one.parts:
                if len(part):
                    self._add(one, part, parameters, sums)
        if self.processes.count > 1:
            self._add_up(parameters, sums)
        for parameter, value in zip(parameters, sums, strict=True):
            if value is not None:
                parameter.grad = value if parameter.grad is None else parameter.grad + value

    def _add(
        self, graded: _Graded, part: np.ndarray, parameters: list[torch.nn.Parameter], sums: list[Tensor | None]
    ) -> None:
        potential = graded.potential
        if potential is None:
            with self.autocast():
                potential = self.live(graded.index[part], gradient=True).potential
        assert graded.leaf.grad is not None
        slope = graded.leaf.grad[torch.from_numpy(part).to(potential.device)]
        found = torch.autograd.grad(potential, parameters, slope, allow_unused=True)
        for place, value in enumerate(found):
            if value is not None:
                before = sums[place]
                sums[place] = value if before is None else before + value

    def _add_up(self, parameters: list[torch.nn.Parameter], sums: list[Tensor | None]) -> None:
        """Sum over processes; a parameter that no process reached stays without a gradient."""
        reached = parameters[0].new_tensor([float(value is not None) for value in sums])
        pairs = zip(parameters, sums, strict=True)
        flat = [(torch.zeros_like(parameter) if value is None else value).flatten() for parameter, value in pairs]
        joined = torch.cat([reached, *flat])
        self.processes.add_up(joined)
        pieces = joined[len(parameters) :].split([parameter.numel() for parameter in parameters])
        for place, (parameter, piece) in enumerate(zip(parameters, pieces, strict=True)):
            sums[place] = piece.view_as(parameter).clone() if bool(joined[place] > 0) else None
