"""How every neural baseline learns and scores: one protocol for all of them.

A network learns from the rows `fit` and is judged a few times on `selection` by average precision. The best number of
steps, scaled by the size of the data, is then learned from the start twice: from the training rows beside the held-out
part, to calibrate and call by `held_out`, and from all of `train`, to score. A network that has learned from the same
rows is not learned again (see `episode.compare.methods.select`). With a budget (`FoldTask.budget`) the same is done
with other numbers of steps, see `Recipe.within`. This module knows no particular network and no environment: batches
mix the cell lines.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from episode.compare.methods.base import FoldTask, RunnerResult
from episode.compare.methods.neural_inputs import ElementBatch, ElementInputs
from episode.compare.methods.select import calibrated, rest
from episode.data.dataset import Dataset
from episode.inference.orientation import mean_orientation
from episode.metrics.metrics import average_precision
from episode.seeds import derive_seed, generator

__all__ = ["NetworkOutput", "Recipe", "domain_head", "reverse_gradient", "score_network"]

CLIP = 1.0
"""Largest gradient norm."""
PREDICTION_BATCH = 256
"""Pairs scored at a time."""
MAX_JUDGED = 4096
"""Selection or held-out rows that are scored; of more, a random part is drawn once."""
MAX_GROWTH = 2.0
"""Training after the choice has at most this many times the steps of `Recipe`, however much larger its data are."""
MAX_CHECKS = 50
"""Judgements on the selection rows under a budget, at most."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Parameters
    ----------
    steps : int
        The largest number of steps that may be chosen.
    checks : int
        How often, at equal intervals, the network is judged on the selection rows.
    batch : int
        Pairs of a step, drawn over all cell lines.
    rate, weight_decay : float
        Of AdamW.
    balanced : bool
        Half of a batch are positives. The log-odds are then those of a population with as many positives as
        negatives; ``logit(prevalence among the rows learned from)`` is added to them.
    """

    steps: int
    checks: int
    batch: int
    rate: float
    weight_decay: float
    balanced: bool

    def within(self, budget: int) -> Recipe:
        """Return the recipe whose longest training run draws `budget` pairs, in whole batches, one at least.

        It is judged as often a step as before, within `checks` and `MAX_CHECKS` times: so what was best of fewer steps
        may still be chosen.
        """
        steps = max(1, budget // self.batch)
        checks = min(max(self.checks, round(self.checks * steps / self.steps)), MAX_CHECKS)
        return replace(self, steps=steps, checks=checks)


@dataclass(frozen=True)
class NetworkOutput:
    """What a network says of each pair of a batch.

    Parameters
    ----------
    logit : Tensor, shape (n_pairs,)
    domain : Tensor, shape (n_pairs, n_cell_lines), or None
        What the domain discriminator says of the cell line; its cross-entropy is added to the loss.
    """

    logit: Tensor
    domain: Tensor | None = None


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient[0], None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """Return `x` as it is; its gradient comes back times ``-strength``.

    References
    ----------
    Ganin et al. Domain-adversarial training of neural networks. JMLR 2016, arXiv:1505.07818.
    """
    reversed_: Tensor = _Reversal.apply(x, strength)
    return reversed_


def domain_head(width: int, hidden: int, domains: int) -> nn.Sequential:
    """Discriminator that names the cell line of a pair from its representation, shape (n, width)."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, domains))


def score_network(
    task: FoldTask, method: str, inputs: ElementInputs, build: Callable[[int], nn.Module], recipe: Recipe
) -> RunnerResult:
    """Choose, learn and score one fold.

    Torch's global generator is put back as it was.

    Parameters
    ----------
    method : str
        Name of the method; decides the randomness together with `task.seed`. With `task.budget` the method is called
        ``<method>.matched``, and no training run draws more pairs.
    build : callable
        From the number of training cell lines to a new network, called as ``network(enhancers, promoters,
        enhancer_of, promoter_of)`` with two `ElementBatch` of distinct elements and, for each pair, the places
        (int64, shape (n_pairs,)) of its two elements in them; it returns a `NetworkOutput`.

    Returns
    -------
    RunnerResult
        The one method; `score` and `logit` are the log-odds, calibrated on `held_out`. Where `fit`, `selection` or
        `held_out` lacks a class, `recipe.steps` are taken, and nothing is calibrated or called.
    """
    most = round(MAX_GROWTH * recipe.steps)
    if task.budget is not None:
        method, recipe = f"{method}.matched", recipe.within(task.budget)
        most = recipe.steps
    learner = _Learner(task, method, inputs, build, recipe, most)
    with torch.random.fork_rng(devices=[]):
        return learner.score_fold()


class _Learner:
    def __init__(
        self,
        task: FoldTask,
        method: str,
        inputs: ElementInputs,
        build: Callable[[int], nn.Module],
        recipe: Recipe,
        most: int,
    ) -> None:
        self.fold, self.seed, self.method, self.build, self.recipe = task.fold, task.seed, method, build, recipe
        self.most = most
        self.pairs = _Pairs(task.dataset, inputs)

    def score_fold(self) -> RunnerResult:
        fold, label = self.fold, self.pairs.label
        fit, beside, train = (self.pairs.labelled(mask) for mask in (fold.fit, rest(fold), fold.train))
        selection, held_out = (self._some(self.pairs.labelled(mask)) for mask in (fold.selection, fold.held_out))
        steps = longest = self.recipe.steps
        known, judged = held_out[:0], np.zeros(0)
        network: nn.Module | None = None
        checks: list[JsonValue] = []
        if all(np.unique(label[rows]).size == 2 for rows in (fit, selection, held_out)):
            best, network, checks = self._choose(fit, selection)
            if not np.array_equal(beside, fit):
                scaled = self._scaled(best, beside, fit)
                network, longest = self._learn("rest", beside, scaled), max(longest, scaled)
            known, judged = held_out, self.pairs.log_odds(network, held_out) + self._offset(beside)
            steps = self._scaled(best, train, fit)
        if network is None or not np.array_equal(train, beside):
            network, longest = self._learn("train", train, steps), max(longest, steps)
        score = self.pairs.log_odds(network, np.flatnonzero(fold.test)) + self._offset(train)
        scores = calibrated(score, label[known], judged)
        drawn = longest * self.recipe.batch
        return RunnerResult({self.method: scores}, {"steps": steps, "selection": checks}, drawn)

    def _choose(self, fit: Rows, selection: Rows) -> tuple[int, nn.Module, list[JsonValue]]:
        """Learn from `fit`; the number of steps, the first of equals, and the network then, and every check."""
        checks: list[JsonValue] = []
        kept: list[tuple[float, int, nn.Module]] = []

        def judge(step: int, network: nn.Module) -> None:
            value = average_precision(self.pairs.label[selection], self.pairs.log_odds(network, selection)) or 0.0
            checks.append({"step": step, "aupr": value})
            if not kept or value > kept[0][0]:
                kept[:] = [(value, step, copy.deepcopy(network))]

        self._learn("fit", fit, self.recipe.steps, judge)
        _, best, network = kept[0]
        return best, network, checks

    def _scaled(self, steps: int, rows: Rows, fit: Rows) -> int:
        """As many passes over `rows` as `steps` make over `fit`, within bounds."""
        return min(round(steps * len(rows) / len(fit)), self.most)

    def _some(self, rows: Rows) -> Rows:
        """At most `MAX_JUDGED` of the rows, the same of the same."""
        if len(rows) <= MAX_JUDGED:
            return rows
        return np.sort(self._generator("judged").choice(rows, MAX_JUDGED, replace=False))

    def _learn(
        self, phase: str, rows: Rows, steps: int, judge: Callable[[int, nn.Module], None] | None = None
    ) -> nn.Module:
        """Train a new network; `judge` is called at equal intervals, `Recipe.checks` times."""
        recipe = self.recipe
        torch.default_generator.manual_seed(derive_seed(self.seed, self.method, phase, "torch"))
        names, domain = np.unique(self.pairs.cell_line[rows], return_inverse=True)
        domain_of = np.full(len(self.pairs.label), -1, dtype=np.int64)
        domain_of[rows] = domain
        network = self.build(len(names))
        optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
        marks = {max(1, round(recipe.steps * (k + 1) / recipe.checks)) for k in range(recipe.checks)} if judge else {}
        drawn = self._batches(rows, self._generator(phase, "batches"))
        orientation = self._generator(phase, "layout")
        network.train()
        for step in range(1, steps + 1):
            batch = next(drawn)
            output = self.pairs.run(network, batch, self.pairs.reverse(batch, orientation))
            loss = binary_cross_entropy_with_logits(output.logit, torch.from_numpy(self.pairs.label[batch]).float())
            if output.domain is not None:
                loss = loss + cross_entropy(output.domain, torch.from_numpy(domain_of[batch]))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimiser.step()
            if judge is not None and step in marks:
                judge(step, network)
        return network

    def _batches(self, rows: Rows, rng: np.random.Generator) -> Iterator[Rows]:
        """Batches without end; each class, or all rows, are gone through in a new order each time."""
        label = self.pairs.label[rows]
        groups = [rows[label == 1], rows[label == 0]] if self.recipe.balanced else [rows]
        groups = [group for group in groups if len(group)]
        streams = [_endless(group, self.recipe.batch // len(groups), rng) for group in groups]
        while True:
            yield np.concatenate([next(stream) for stream in streams])

    def _offset(self, rows: Rows) -> float:
        """What is added to the network's log-odds to bring them back to the prevalence in `rows`."""
        positives = int((self.pairs.label[rows] == 1).sum())
        if not self.recipe.balanced or positives in (0, len(rows)):
            return 0.0
        return float(np.log(positives) - np.log(len(rows) - positives))

    def _generator(self, *names: str) -> np.random.Generator:
        return generator(self.seed, self.method, *names)


class _Pairs:
    """The pairs of a dataset as arrays, and networks applied to some of them."""

    def __init__(self, dataset: Dataset, inputs: ElementInputs) -> None:
        pairs = dataset.pairs
        self.inputs = inputs
        self.enhancer = pairs["enhancer_id"].to_numpy(np.int64)
        self.promoter = pairs["promoter_id"].to_numpy(np.int64)
        self.mirrored = pairs["mirrored"].to_numpy(bool)
        self.placed = pairs["has_coordinates"].to_numpy(bool)
        self.label = pairs["label"].to_numpy(np.int64)
        self.cell_line = pairs["cell_line"].to_numpy().astype(str)

    def labelled(self, mask: NDArray[np.bool_]) -> Rows:
        return np.flatnonzero(mask & (self.label >= 0))

    def reverse(self, rows: Rows, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Which pairs to reverse-complement: the mirrored ones; of those without coordinates, a random half."""
        return np.where(self.placed[rows], self.mirrored[rows], rng.random(len(rows)) < 0.5)

    def run(self, network: nn.Module, rows: Rows, reverse: NDArray[np.bool_]) -> NetworkOutput:
        """Apply a network to pairs in their orientation; every distinct element is gathered once."""
        enhancers, enhancer_of = self._distinct(self.enhancer[rows], reverse)
        promoters, promoter_of = self._distinct(self.promoter[rows], reverse)
        output: NetworkOutput = network(enhancers, promoters, enhancer_of, promoter_of)
        return output

    def log_odds(self, network: nn.Module, rows: Rows) -> NDArray[np.float64]:
        """Log-odds of pairs, shape (n,); the mean of both orientations where there are no coordinates."""
        logit = np.zeros(len(rows))
        was_training = network.training
        network.eval()
        order = np.lexsort((self.promoter[rows], self.enhancer[rows]))
        with torch.no_grad():
            for part in _parts(order, PREDICTION_BATCH):
                batch = rows[part]
                placed = self.placed[batch]
                logit[part] = self.run(network, batch, placed & self.mirrored[batch]).logit.double().numpy()
                if not placed.all():
                    other = self.run(network, batch[~placed], np.ones(int((~placed).sum()), dtype=bool)).logit
                    logit[part[~placed]] = mean_orientation([logit[part[~placed]], other.double().numpy()])
        network.train(was_training)
        return logit

    def _distinct(self, ids: NDArray[np.int64], reverse: NDArray[np.bool_]) -> tuple[ElementBatch, Tensor]:
        key, place = np.unique(ids * 2 + reverse, return_inverse=True)
        return self.inputs.gather(key // 2, key % 2 == 1), torch.from_numpy(place)


def _endless(rows: Rows, size: int, rng: np.random.Generator) -> Iterator[Rows]:
    queue = rows[:0]
    while True:
        while len(queue) < size:
            queue = np.concatenate([queue, rng.permutation(rows)])
        yield queue[:size]
        queue = queue[size:]


def _parts(order: Rows, size: int) -> Sequence[Rows]:
    return [order[start : start + size] for start in range(0, len(order), size)]
