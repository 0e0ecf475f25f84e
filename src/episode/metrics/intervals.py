"""From the scores of all methods to the numbers of a comparison, each with its interval.

One set of draws of blocks (see `episode.metrics.bootstrap`) serves every method, scope and difference, so that a
difference is paired. A method is judged on the pairs that it scores under every seed; a difference on those that both
methods score. An interval is the middle 95 % of the draws.

*macro* is the mean over environments where the metric is defined, a subset the same within the subset, *pooled* all
pairs as one set. In a draw in which an environment lacks a class, that environment is left out of the draw's mean.
Where more than a tenth of the draws were so curtailed, the number carries ``draws``, how many were whole: the rest
average fewer environments, and its interval is to be read with care. There is no interval where fewer than two blocks
stand behind a number: blocks cannot then be resampled.

With several seeds a number is the mean over them, in each draw too: the interval is one of pairs, and ``spread`` holds
the standard deviation over seeds.

This module does not know how scores were made, nor where results are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from episode.metrics.bootstrap import decision, draw_weights, probability, ranking
from episode.schema import Model

__all__ = [
    "LEVEL",
    "METRICS",
    "ByMethod",
    "ByMetric",
    "Difference",
    "EnvironmentNumbers",
    "Estimate",
    "MethodNumbers",
    "MethodScores",
    "Resampling",
    "ScopedEstimates",
    "ScoreSummary",
    "summarise_methods",
]

T = TypeVar("T")
LEVEL = 0.95
WHOLE_DRAWS = 0.9


class Estimate(Model):
    """A number with its 95 % interval; None where it is not defined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    draws: int | None = Field(default=None, exclude_if=lambda draws: draws is None)
    """Draws that were whole, where more than a tenth were curtailed."""
    blocks: int | None = Field(default=None, exclude_if=lambda blocks: blocks is None)
    """Blocks behind the number, where they are fewer than those of all pairs."""

    def __neg__(self) -> Estimate:
        """Return the number and its interval seen from the other side."""
        value, high, low = (None if part is None else -part for part in (self.value, self.low, self.high))
        return Estimate(value=value, low=low, high=high, draws=self.draws, blocks=self.blocks)

    @property
    def bounded(self) -> bool:
        """Whether the number and both ends of its interval are known."""
        return None not in (self.value, self.low, self.high)


class ByMetric(Model, Generic[T]):
    """Something of every metric of a scope; ``_chosen`` is of a call at a threshold chosen on validation pairs."""

    auroc: T
    aupr: T
    precision_at_recall_70: T
    log_loss: T
    brier: T
    ece: T
    f1: T
    precision: T
    recall: T
    f1_chosen: T
    precision_chosen: T
    recall_chosen: T

    def __getitem__(self, metric: str) -> T:
        """Return what belongs to a metric, one of `METRICS`."""
        found: T = getattr(self, metric)
        return found


METRICS = tuple(ByMetric.model_fields)
"""Every metric of a scope, in this order."""


class ScopedEstimates(Model):
    """Numbers with their intervals over every scope; the file has the subsets by their names, beside "pooled"."""

    macro: ByMetric[Estimate]
    """Mean over environments."""
    pooled: ByMetric[Estimate]
    """All pairs together."""
    subsets: dict[str, ByMetric[Estimate]]
    """Mean over environments within each subset."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, content: Any) -> Any:
        """Put what is no field under ``subsets``."""
        if not isinstance(content, dict) or "subsets" in content:
            return content
        fields = cls.model_fields
        subsets = {key: value for key, value in content.items() if key not in fields}
        return {key: value for key, value in content.items() if key in fields} | {"subsets": subsets}

    @model_serializer(mode="wrap")
    def _spread_out(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = write(self)
        return {"macro": content.pop("macro"), "pooled": content.pop("pooled"), **content.pop("subsets"), **content}

    def estimate(self, scope: str, metric: str) -> Estimate:
        """Return a number of a scope ("macro", "pooled" or a subset); not defined where there is no such scope."""
        found = {"macro": self.macro, "pooled": self.pooled, **self.subsets}.get(scope)
        return Estimate() if found is None else found[metric]


class MethodNumbers(ScopedEstimates):
    """Numbers of one method."""

    n: int
    """Labelled pairs that it scores under every seed."""
    seeds: int
    spread: ByMetric[float | None]
    """Standard deviation (n - 1) over seeds of the macro metrics; None with one seed."""


class Difference(ScopedEstimates):
    """Paired differences of two methods; the file has the macro metrics at its top."""

    @model_validator(mode="before")
    @classmethod
    def _gather_macro(cls, content: Any) -> Any:
        """Put the metrics under ``macro``; runs before `_gather`."""
        if isinstance(content, dict) and "macro" not in content:
            macro = {metric: content[metric] for metric in METRICS if metric in content}
            return {key: value for key, value in content.items() if key not in METRICS} | {"macro": macro}
        return content

    @model_serializer(mode="wrap")
    def _spread_out(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = write(self)
        return {**content["macro"], "pooled": content["pooled"], **content["subsets"]}


ByMethod = Annotated[dict[str, T], Field(validation_alias=AliasChoices("methods", "rows"))]
"""A field ``methods``: something of every method by its name. Files of older versions call it ``rows``."""


class EnvironmentNumbers(Model):
    """One environment, with the numbers of every method inside it."""

    n: int
    positives: int
    share_positive: float
    """Prevalence."""
    methods: ByMethod[ByMetric[Estimate]]


class Resampling(Model):
    """How intervals were drawn."""

    blocks: int
    draws: int
    level: float


@dataclass(frozen=True)
class ScoreSummary:
    """What the scores of all methods say.

    Parameters
    ----------
    differences : dict of str to Difference
        By "a-b", the names of two methods.
    """

    methods: dict[str, MethodNumbers]
    environments: dict[str, EnvironmentNumbers]
    differences: dict[str, Difference]
    intervals: Resampling


RESERVED = frozenset({"macro", *MethodNumbers.model_fields, *Difference.model_fields, "note", *METRICS})


@dataclass(frozen=True)
class MethodScores:
    """What one method says of all pairs.

    Parameters
    ----------
    score : ndarray, shape (n_seeds, n), float
        Ranks; NaN where the method says nothing of a pair.
    logit : ndarray, shape (n_seeds, n), float
        Log-odds of interaction; NaN where the method claims no probability.
    call : ndarray, shape (n_seeds, n), float
        1 or 0: `score` against a threshold chosen on validation pairs; NaN where none was chosen. A metric of the logit
        or the call is defined in a set of pairs only if every scored pair has one.

    Raises
    ------
    ValueError
        If shapes differ or hold no seed, a score or logit is infinite, or a call is none of 0, 1, NaN.
    """

    score: NDArray[np.float64]
    logit: NDArray[np.float64]
    call: NDArray[np.float64]

    def __post_init__(self) -> None:
        shapes = {self.score.shape, self.logit.shape, self.call.shape}
        if len(shapes) > 1 or self.score.ndim != 2 or len(self.score) == 0:
            raise ValueError(f"score, logit and call need one shape (n_seeds, n), not {sorted(shapes)}")
        if np.isinf(self.score).any() or np.isinf(self.logit).any():
            raise ValueError("a score or logit is infinite")
        if not (np.isnan(self.call) | np.isin(self.call, (0, 1))).all():
            raise ValueError("a call is none of 0, 1, NaN")


@dataclass(frozen=True)
class _Numbers:
    """Metrics of one method in the cells of one scope.

    Parameters
    ----------
    draws : ndarray, shape (n_metrics, n_cells, 1 + n_draws), float
        Mean over seeds; the first column is the data as they are.
    seeds : ndarray, shape (n_metrics, n_cells, n_seeds), float
        The data as they are, seed by seed.
    blocks : tuple of frozenset of int
        For each cell the blocks in which the method scores a pair.
    """

    draws: NDArray[np.float64]
    seeds: NDArray[np.float64]
    blocks: tuple[frozenset[int], ...]

    def minus(self, other: _Numbers) -> _Numbers:
        """Subtract, cell by cell and draw by draw; the seeds are averaged first."""
        draws = self.draws - other.draws
        return _Numbers(draws, draws[:, :, :1], self.blocks)


class _Bootstrap:
    """Evaluates methods on sets of pairs, always under the same draws."""

    def __init__(
        self,
        label: NDArray[np.int8],
        blocks: NDArray[np.int64],
        table: Mapping[str, MethodScores],
        draws: int,
        rng: np.random.Generator,
    ) -> None:
        self._known = label >= 0
        self._label = label
        numbered = np.unique(blocks[self._known], return_inverse=True)[1].reshape(-1)
        self._blocks = np.zeros(label.size, dtype=np.int64)
        self._blocks[self._known] = numbered
        drawn = draw_weights(numbered, draws, rng)
        self._weights = np.concatenate([np.ones((1, drawn.shape[1])), drawn])
        self._table = table
        self.n_blocks = drawn.shape[1]

    def scored(self, method: str) -> NDArray[np.bool_]:
        """Return which labelled pairs a method scores under every seed, shape (n,)."""
        return self._known & np.isfinite(self._table[method].score).all(axis=0)

    def numbers(self, method: str, on: NDArray[np.bool_], cells: Sequence[NDArray[np.int64]]) -> _Numbers:
        """Evaluate a method on the pairs `on` of each cell."""
        scores = self._table[method]
        shape = (len(METRICS), len(cells))
        draws = np.full((*shape, self._weights.shape[0]), np.nan)
        seeds = np.full((*shape, scores.score.shape[0]), np.nan)
        kept = [cell[on[cell]] for cell in cells]
        for place, pairs in enumerate(kept):
            each = [self._evaluate(scores, seed, pairs) for seed in range(scores.score.shape[0])]
            draws[:, place] = np.mean(each, axis=0)
            seeds[:, place] = np.stack([one[:, 0] for one in each], axis=1)
        return _Numbers(draws, seeds, tuple(frozenset(self._blocks[pairs].tolist()) for pairs in kept))

    def _evaluate(self, scores: MethodScores, seed: int, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return every metric of one seed on some pairs, shape (n_metrics, 1 + n_draws)."""
        result = np.full((len(METRICS), self._weights.shape[0]), np.nan)
        if pairs.size == 0:
            return result
        label, blocks, weights = self._label[pairs], self._blocks[pairs], self._weights
        logit, call = scores.logit[seed, pairs], scores.call[seed, pairs]
        result[:3] = astuple(ranking(label, scores.score[seed, pairs], blocks, weights, recall=0.7))
        if np.isfinite(logit).all():
            result[3:6] = astuple(probability(label, logit, blocks, weights))
            result[6:9] = astuple(decision(label, logit >= 0, blocks, weights))
        if np.isfinite(call).all():
            result[9:12] = astuple(decision(label, call == 1, blocks, weights))
        return result


def summarise_methods(
    label: NDArray[np.int8],
    environment: NDArray[np.str_],
    blocks: NDArray[np.int64],
    table: Mapping[str, MethodScores],
    *,
    subsets: Mapping[str, NDArray[np.bool_]],
    claims: Sequence[tuple[str, str]],
    draws: int,
    rng: np.random.Generator,
) -> ScoreSummary:
    """Compute all numbers of some methods, with their intervals and paired differences.

    Parameters
    ----------
    label : ndarray, shape (n,), int
        1, 0, or -1 for unknown; pairs of unknown label are ignored.
    environment : ndarray, shape (n,), str
    blocks : ndarray, shape (n,), int
        See `episode.metrics.bootstrap.block_ids`.
    table : mapping of str to MethodScores
        The methods over the same n pairs.
    subsets : mapping of str to bool ndarray, shape (n,)
    claims : sequence of (str, str)
        Methods (a, b) whose differences a - b are stated.
    draws : int
        Number of draws, at least 1.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        If shapes differ, a label is none of -1, 0, 1, no pair is labelled, `draws` is not positive, a claim names an
        unknown method, or a subset is named like a key of a method or a metric.
    """
    label, environment = np.asarray(label), np.asarray(environment, dtype=str)
    _check_input(label, environment, blocks, table, subsets, claims, draws)
    engine = _Bootstrap(label, blocks, table, draws, rng)
    names = sorted(set(environment[label >= 0].tolist()))
    members = [np.flatnonzero((environment == name) & (label >= 0)) for name in names]
    scopes = {"macro": members, "pooled": [np.flatnonzero(label >= 0)]}
    scopes |= {name: [pairs[mask[pairs]] for pairs in members] for name, mask in subsets.items()}
    scored = {method: engine.scored(method) for method in table}

    estimates: dict[str, dict[str, ByMetric[Estimate]]] = {method: {} for method in table}
    differences: dict[str, dict[str, ByMetric[Estimate]]] = {f"{a}-{b}": {} for a, b in claims}
    inside: dict[str, dict[str, ByMetric[Estimate]]] = {name: {} for name in names}
    spread = {}
    for scope, cells in scopes.items():
        whole = {method: engine.numbers(method, scored[method], cells) for method in table}
        for method, numbers in whole.items():
            estimates[method][scope] = _estimates(numbers, of=engine.n_blocks)
            if scope == "macro":
                spread[method] = _seed_deviation(numbers)
                for place, name in enumerate(names):
                    inside[name][method] = _estimates(numbers, [place])
        shared: dict[tuple[str, bytes], _Numbers] = {}
        for a, b in claims:
            both = scored[a] & scored[b]
            sides = []
            for method in (a, b):
                if (both == scored[method]).all():
                    sides.append(whole[method])
                    continue
                key = (method, np.packbits(both).tobytes())
                if key not in shared:
                    shared[key] = engine.numbers(method, both, cells)
                sides.append(shared[key])
            differences[f"{a}-{b}"][scope] = _estimates(sides[0].minus(sides[1]), of=engine.n_blocks)

    return ScoreSummary(
        methods={
            method: MethodNumbers.model_validate(
                {"n": int(scored[method].sum()), "seeds": len(scores.score), "spread": spread[method]}
                | estimates[method]
            )
            for method, scores in table.items()
        },
        environments={
            name: EnvironmentNumbers(
                n=int(pairs.size),
                positives=int(label[pairs].sum()),
                share_positive=float(label[pairs].mean()),
                methods=inside[name],
            )
            for name, pairs in zip(names, members, strict=True)
        },
        differences={name: Difference.model_validate(found) for name, found in differences.items()},
        intervals=Resampling(blocks=engine.n_blocks, draws=draws, level=LEVEL),
    )


def _check_input(
    label: NDArray[np.int8],
    environment: NDArray[np.str_],
    blocks: NDArray[np.int64],
    table: Mapping[str, MethodScores],
    subsets: Mapping[str, NDArray[np.bool_]],
    claims: Sequence[tuple[str, str]],
    draws: int,
) -> None:
    """Refuse what `summarise_methods` says it refuses."""
    if label.ndim != 1 or environment.shape != label.shape or blocks.shape != label.shape:
        raise ValueError(f"shapes differ: label {label.shape}, environment {environment.shape}, blocks {blocks.shape}")
    if not np.isin(label, (-1, 0, 1)).all():
        raise ValueError("a label is none of -1, 0, 1")
    if not (label >= 0).any():
        raise ValueError("no pair is labelled")
    if draws < 1:
        raise ValueError(f"draws must be positive, not {draws}")
    for method, scores in table.items():
        if scores.score.shape[1] != label.size:
            raise ValueError(f"method {method} has {scores.score.shape[1]} pairs, needs {label.size}")
    for name, mask in subsets.items():
        if name in RESERVED:
            raise ValueError(f"a subset may not be called {name}: that is a key of a method or a metric")
        if mask.dtype != np.bool_ or mask.shape != label.shape:
            raise ValueError(f"subset {name} has {mask.dtype} {mask.shape}, needs bool {label.shape}")
    for method in {method for claim in claims for method in claim}:
        if method not in table:
            raise ValueError(f"a claim names method {method}, which is not in the table")


def _estimates(numbers: _Numbers, cells: Sequence[int] | None = None, *, of: int = 0) -> ByMetric[Estimate]:
    """Return every metric, as the mean over the cells where it is defined, with its interval.

    Where fewer than `of` blocks are behind a number, it says how many.
    """
    chosen = list(range(len(numbers.blocks)) if cells is None else cells)
    return ByMetric[Estimate](
        **{
            metric: _estimate(numbers.draws[place, chosen], [numbers.blocks[cell] for cell in chosen], of)
            for place, metric in enumerate(METRICS)
        }
    )


def _estimate(by_cell: NDArray[np.float64], blocks: Sequence[frozenset[int]], of: int) -> Estimate:
    """Average one metric, shape (n_cells, 1 + n_draws), over the cells where it is defined."""
    defined = np.isfinite(by_cell[:, 0])
    if not defined.any():
        return Estimate()
    mean = _mean_of_defined(by_cell[defined])
    value = float(mean[0])
    behind = frozenset[int]().union(*(found for found, known in zip(blocks, defined, strict=True) if known))
    usable = mean[1:][np.isfinite(mean[1:])]
    if len(behind) < 2 or usable.size == 0:
        return Estimate(value=value)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(usable, [tail, 1 - tail])
    complete = int(np.isfinite(by_cell[defined, 1:]).all(axis=0).sum())
    curtailed = complete < WHOLE_DRAWS * (mean.size - 1)
    return Estimate(
        value=value,
        low=float(low),
        high=float(high),
        draws=complete if curtailed else None,
        blocks=len(behind) if len(behind) < of else None,
    )


def _seed_deviation(numbers: _Numbers) -> ByMetric[float | None]:
    """Return the standard deviation over seeds of each metric's mean over cells."""
    found: dict[str, float | None] = {}
    for metric, by_cell in zip(METRICS, numbers.seeds, strict=True):
        mean = _mean_of_defined(by_cell)
        found[metric] = float(mean.std(ddof=1)) if mean.size > 1 and np.isfinite(mean).all() else None
    return ByMetric[float | None](**found)


def _mean_of_defined(by_cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average over the first axis what is not NaN; NaN where nothing is."""
    defined = np.isfinite(by_cell)
    count = defined.sum(axis=0)
    total = np.where(defined, by_cell, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
