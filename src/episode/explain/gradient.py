"""Integrated gradients of U_I on the scores of the stem: what each motif adds, on which strand and in which bin.

U_I being the mean over the members of a run, so is what a score adds; each member has its own integral.

The path goes from a background to the pair as it is. The background is the mean score of each channel over bins and
strands of elements of the same kind, the same in every bin: all along the path the best bin of a channel stays the
best, and a mirrored pair has a mirrored background. This module does NOT know where sites are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from episode.encode.scanner import FLOOR
from episode.errors import EpisodeError
from episode.explain.mutations import ElementScores
from episode.explain.pair_scorer import KINDS, Pair, Reader, spread
from episode.inference.orientation import gather_oriented, mean_orientation, mirror
from episode.model.backbone import Backbone

__all__ = ["TOLERANCE", "Background", "Gradient", "Spread", "combine", "integrate", "require_captum"]

STEPS = (64, 256, 1024)
"""Points on the path; more are taken while the sum is off by more than `TOLERANCE`."""
TOLERANCE = 0.01
"""Units of U_I by which the sum of all attributions may miss the difference of U_I."""
AT_A_TIME = 16
"""Points scored together; bounds the memory."""
SAMPLE = 256
"""Elements of a kind that the background is the mean of."""


@dataclass(frozen=True)
class Background:
    """Mean score of each channel by kind of element, over bins that have a site at all.

    Parameters
    ----------
    scores : dict of str to ndarray, shape (channels,)
    gate : dict of str to ndarray, shape (matrices,)
        The same of the boundary gate; empty where there is none.
    """

    scores: dict[str, np.ndarray]
    gate: dict[str, np.ndarray]

    @classmethod
    def measure(cls, scores: ElementScores, elements: dict[str, np.ndarray], rng: np.random.Generator) -> Background:
        """Take the mean over at most `SAMPLE` of the elements of each kind."""
        means: dict[str, np.ndarray] = {}
        gates: dict[str, np.ndarray] = {}
        for kind, ids in elements.items():
            chosen = ids if len(ids) <= SAMPLE else np.sort(rng.choice(ids, SAMPLE, replace=False))
            stores = [scores.of(int(element)) for element in chosen]
            means[kind] = _mean([store.rows(0) for store in stores])
            if stores[0].gate is not None:
                gates[kind] = _mean([store.gate.rows(0) for store in stores if store.gate is not None])
        return cls(means, gates)


def _mean(tokens: list[np.ndarray]) -> np.ndarray:
    """Mean over bins and strands of tokens (bins, 2, channels) above the floor, shape (channels,)."""
    joined = np.concatenate(tokens).astype(np.float64)
    joined[joined <= FLOOR] = np.nan
    rows = joined.reshape(-1, joined.shape[2])
    empty = np.isnan(rows).all(axis=0)
    rows[:, empty] = FLOOR
    mean: np.ndarray = np.nanmean(rows, axis=0)
    return mean


@dataclass(frozen=True)
class Gradient:
    """What every score of a pair adds to U_I.

    Parameters
    ----------
    scores : dict of str to ndarray, shape (bins, 2, channels)
        By kind of element, in the frame of the element as it is stored.
    gate : dict of str to ndarray, shape (bins, 2, matrices)
        Those of the boundary gate; empty where there is none.
    difference : float
        U_I of the pair less U_I of the background.
    steps : int
        Points on the path.
    """

    scores: dict[str, np.ndarray]
    gate: dict[str, np.ndarray]
    difference: float
    steps: int

    @property
    def total(self) -> float:
        """Sum of all attributions."""
        return float(sum(part.sum() for group in (self.scores, self.gate) for part in group.values()))

    @property
    def gap(self) -> float:
        """By how much the sum misses the difference; 0 if the integral were exact."""
        return self.total - self.difference


@dataclass(frozen=True)
class Spread:
    """Standard deviation between members of what every score adds; parts as those of `Gradient`."""

    scores: dict[str, np.ndarray]
    gate: dict[str, np.ndarray]


def integrate(reader: Reader, pair: Pair, background: Background) -> Gradient:
    """Attribute U_I of a pair, as one member sees it, to the scores of its elements; in the units of predictions.

    Raises
    ------
    EpisodeError
        If Captum is not installed.

    References
    ----------
    Sundararajan, Taly, Yan. Axiomatic Attribution for Deep Networks. ICML 2017.
    """
    for steps in STEPS:
        parts = [
            _integrate_oriented(reader.backbone, reader.scores, pair, mirrored, background, steps)
            for mirrored in pair.orientations
        ]
        gradient = _in_units(_average(parts), reader.unit)
        if abs(gradient.gap) <= TOLERANCE:
            break
    return gradient


def _integrate_oriented(
    backbone: Backbone, scores: ElementScores, pair: Pair, mirrored: bool, background: Background, steps: int
) -> Gradient:
    inputs, masks, baselines = list[Tensor](), list[Tensor](), list[Tensor]()
    device = next(backbone.parameters()).device
    stores = {kind: scores.of(pair.element(kind)) for kind in KINDS}
    gated = stores["enhancer"].gate is not None
    for kind in KINDS:
        for store, mean in ((stores[kind], background.scores), (stores[kind].gate, background.gate)):
            if store is not None:
                tokens, mask = gather_oriented(store, np.array([0]), np.array([mirrored]), device)
                inputs.append(tokens)
                masks.append(mask)
                baselines.append(torch.from_numpy(mean[kind]).to(tokens).expand_as(tokens).contiguous())
    parts = 2 if gated else 1

    def potential(*tokens: Tensor) -> Tensor:
        count = len(tokens[0])
        seen = [mask.expand(count, -1) for mask in masks]
        gates = [(tokens[i + 1], seen[i + 1]) if gated else None for i in (0, parts)]
        enhancers = backbone.encode("enhancer", tokens[0], seen[0], gates[0])
        promoters = backbone.encode("promoter", tokens[parts], seen[parts], gates[1])
        distance = torch.full((count,), pair.distance, dtype=torch.float64, device=device)
        return backbone(enhancers, promoters, distance).potential

    method = require_captum()(potential)
    found = method.attribute(
        tuple(inputs), baselines=tuple(baselines), n_steps=steps, method="gausslegendre", internal_batch_size=AT_A_TIME
    )
    with torch.no_grad():
        difference = float(potential(*inputs) - potential(*baselines))
    stored = [_stored_frame(part, mask, mirrored) for part, mask in zip(found, masks, strict=True)]
    main = {"enhancer": stored[0], "promoter": stored[parts]}
    gate = {"enhancer": stored[1], "promoter": stored[parts + 1]} if gated else {}
    return Gradient(main, gate, difference, steps)


def _stored_frame(attribution: Tensor, mask: Tensor, mirrored: bool) -> np.ndarray:
    """Bring attributions of one element back from its orientation to the strand that is stored."""
    stored: np.ndarray = mirror(attribution.detach(), mask, torch.tensor([mirrored]).to(mask.device))[0].cpu().numpy()
    return stored.astype(np.float64)


def _average(parts: Sequence[Gradient]) -> Gradient:
    """Mean over orientations, or over members."""
    first = parts[0]
    return Gradient(
        {kind: mean_orientation([part.scores[kind] for part in parts]) for kind in first.scores},
        {kind: mean_orientation([part.gate[kind] for part in parts]) for kind in first.gate},
        mean_orientation([part.difference for part in parts]),
        max(part.steps for part in parts),
    )


def _in_units(gradient: Gradient, unit: float) -> Gradient:
    scores = {kind: unit * part for kind, part in gradient.scores.items()}
    gate = {kind: unit * part for kind, part in gradient.gate.items()}
    return Gradient(scores, gate, unit * gradient.difference, gradient.steps)


def combine(gradients: Sequence[Gradient]) -> tuple[Gradient, Spread | None]:
    """Return the mean over members and how far they differ; None of one member alone."""
    if len(gradients) == 1:
        return gradients[0], None
    scores = {kind: spread(np.stack([each.scores[kind] for each in gradients])) for kind in gradients[0].scores}
    gate = {kind: spread(np.stack([each.gate[kind] for each in gradients])) for kind in gradients[0].gate}
    return _average(gradients), Spread(scores, gate)


def require_captum() -> Any:
    """Return the class that integrates gradients.

    Raises
    ------
    EpisodeError
        If Captum is not installed.
    """
    try:
        from captum.attr import IntegratedGradients  # heavy, and not needed by anything else
    except ImportError:
        raise EpisodeError(
            "gradients need Captum, which is not installed: pip install 'episode-epi[explain]'"
        ) from None
    return IntegratedGradients
