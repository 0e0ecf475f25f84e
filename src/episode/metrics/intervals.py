"""From the scores of all rows of a table to the numbers of ``results.json``, each with its interval.

One set of draws of blocks (see `episode.metrics.bootstrap`) serves every row, scope and difference, so that a
difference is paired. A row is judged on the pairs that it scores under every seed; a difference on those that both
rows score. An interval holds the middle 95 % of the draws.

*macro* is the mean over environments where the metric is defined, a subset the same within the subset, *pooled* all
pairs as one set. In a draw in which an environment lacks a class, that environment is left out of the draw's mean.
Where more than a tenth of the draws were so curtailed, the number carries ``draws``, how many were whole: the rest
average fewer environments, and its interval is to be read with care. There is no interval where fewer than two blocks
stand behind a number: blocks cannot then be resampled.

With several seeds a number is the mean over them, in each draw too: the interval is one of pairs, and ``spread`` tells
of seeds.

This module does not know how scores were made, nor where results are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from episode.errors import EpisodeError
from episode.metrics.bootstrap import decision, draw_weights, probability, ranking

__all__ = ["FORMAT_VERSION", "LEVEL", "METRICS", "RowScores", "check_results", "summarise_rows"]

FORMAT_VERSION = 1
LEVEL = 0.95
WHOLE_DRAWS = 0.9
RANKING = ("auroc", "aupr", "precision_at_recall_70")
PROBABILITY = ("log_loss", "brier", "ece")
DECISION = ("f1", "precision", "recall")
METRICS = (*RANKING, *PROBABILITY, *DECISION, *(f"{name}_chosen" for name in DECISION))
"""Every metric of a scope, in this order."""

RESERVED = frozenset({"macro", "pooled", "n", "seeds", "spread", "note", *METRICS})


@dataclass(frozen=True)
class RowScores:
    """What one row of the table says of all pairs.

    Parameters
    ----------
    score : ndarray, shape (n_seeds, n), float
        Ranks; NaN where the row says nothing of a pair.
    logit : ndarray, shape (n_seeds, n), float
        Log-odds of interaction; NaN where the row claims no probability.
    call : ndarray, shape (n_seeds, n), float
        1 or 0: `score` against a threshold chosen on validation rows; NaN where none was chosen. A metric of the logit
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
    """Metrics of one row in the cells of one scope.

    Parameters
    ----------
    draws : ndarray, shape (n_metrics, n_cells, 1 + n_draws), float
        Mean over seeds; the first column is the data as they are.
    seeds : ndarray, shape (n_metrics, n_cells, n_seeds), float
        The data as they are, seed by seed.
    blocks : tuple of frozenset of int
        For each cell the blocks in which the row scores a pair.
    """

    draws: NDArray[np.float64]
    seeds: NDArray[np.float64]
    blocks: tuple[frozenset[int], ...]

    def minus(self, other: _Numbers) -> _Numbers:
        """Subtract, cell by cell and draw by draw; the seeds are averaged first."""
        draws = self.draws - other.draws
        return _Numbers(draws, draws[:, :, :1], self.blocks)


class _Bootstrap:
    """Evaluates rows of the table on sets of pairs, always under the same draws."""

    def __init__(
        self,
        label: NDArray[np.int8],
        blocks: NDArray[np.int64],
        table: Mapping[str, RowScores],
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

    def scored(self, row: str) -> NDArray[np.bool_]:
        """Tell which labelled pairs a row scores under every seed, shape (n,)."""
        return self._known & np.isfinite(self._table[row].score).all(axis=0)

    def numbers(self, row: str, on: NDArray[np.bool_], cells: Sequence[NDArray[np.int64]]) -> _Numbers:
        """Evaluate a row on the pairs `on` of each cell."""
        scores = self._table[row]
        shape = (len(METRICS), len(cells))
        draws = np.full((*shape, self._weights.shape[0]), np.nan)
        seeds = np.full((*shape, scores.score.shape[0]), np.nan)
        kept = [cell[on[cell]] for cell in cells]
        for place, pairs in enumerate(kept):
            each = [self._evaluate(scores, seed, pairs) for seed in range(scores.score.shape[0])]
            draws[:, place] = np.mean(each, axis=0)
            seeds[:, place] = np.stack([one[:, 0] for one in each], axis=1)
        return _Numbers(draws, seeds, tuple(frozenset(self._blocks[pairs].tolist()) for pairs in kept))

    def _evaluate(self, scores: RowScores, seed: int, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
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


def summarise_rows(
    label: NDArray[np.int8],
    environment: NDArray[np.str_],
    blocks: NDArray[np.int64],
    table: Mapping[str, RowScores],
    *,
    subsets: Mapping[str, NDArray[np.bool_]],
    claims: Sequence[tuple[str, str]],
    draws: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Compute the parts ``rows``, ``environments``, ``differences`` and ``intervals`` of ``results.json``.

    Parameters
    ----------
    label : ndarray, shape (n,), int
        1, 0, or -1 for unknown; pairs of unknown label are ignored.
    environment : ndarray, shape (n,), str
    blocks : ndarray, shape (n,), int
        See `episode.metrics.bootstrap.block_ids`.
    table : mapping of str to RowScores
        The rows of the table over the same n pairs.
    subsets : mapping of str to bool ndarray, shape (n,)
    claims : sequence of (str, str)
        Pairs of rows (a, b) whose differences a - b are stated.
    draws : int
        Number of draws, at least 1.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        JSON-ready, see the module docstring; what the arrays cannot tell is left to the caller: the ``note`` of a row
        and ``block_bp`` of ``intervals``. A number is ``{"value", "low", "high"}``, null where not defined;
        ``spread`` is the standard deviation (n - 1) over seeds of the macro metrics, null with one seed.

    Raises
    ------
    ValueError
        If shapes differ, a label is none of -1, 0, 1, no pair is labelled, `draws` is not positive, a claim names an
        unknown row, or a subset is named like a key of a row or a metric.
    """
    label, environment = np.asarray(label), np.asarray(environment, dtype=str)
    _check_input(label, environment, blocks, table, subsets, claims, draws)
    engine = _Bootstrap(label, blocks, table, draws, rng)
    names = sorted(set(environment[label >= 0].tolist()))
    members = [np.flatnonzero((environment == name) & (label >= 0)) for name in names]
    scopes = {"macro": members, "pooled": [np.flatnonzero(label >= 0)]}
    scopes |= {name: [pairs[mask[pairs]] for pairs in members] for name, mask in subsets.items()}
    scored = {row: engine.scored(row) for row in table}

    rows: dict[str, dict[str, Any]] = {row: {} for row in table}
    differences: dict[str, dict[str, Any]] = {f"{a}-{b}": {} for a, b in claims}
    by_environment: dict[str, dict[str, Any]] = {name: {} for name in names}
    spread = {}
    for scope, cells in scopes.items():
        whole = {row: engine.numbers(row, scored[row], cells) for row in table}
        for row, numbers in whole.items():
            rows[row][scope] = _stated(numbers)
            if scope == "macro":
                spread[row] = _spread(numbers)
                for place, name in enumerate(names):
                    by_environment[name][row] = _stated(numbers, [place])
        shared: dict[tuple[str, bytes], _Numbers] = {}
        for a, b in claims:
            both = scored[a] & scored[b]
            sides = []
            for row in (a, b):
                if (both == scored[row]).all():
                    sides.append(whole[row])
                    continue
                key = (row, np.packbits(both).tobytes())
                if key not in shared:
                    shared[key] = engine.numbers(row, both, cells)
                sides.append(shared[key])
            difference = _stated(sides[0].minus(sides[1]))
            differences[f"{a}-{b}"] |= difference if scope == "macro" else {scope: difference}

    for row, scores in table.items():
        rows[row] |= {
            "n": int(scored[row].sum()),
            "seeds": int(scores.score.shape[0]),
            "spread": spread[row],
        }
    environments = {
        name: {
            "n": int(pairs.size),
            "positives": int(label[pairs].sum()),
            "share_positive": float(label[pairs].mean()),
            "rows": by_environment[name],
        }
        for name, pairs in zip(names, members, strict=True)
    }
    intervals = {"blocks": engine.n_blocks, "draws": draws, "level": LEVEL}
    return {"rows": rows, "environments": environments, "differences": differences, "intervals": intervals}


def _check_input(
    label: NDArray[np.int8],
    environment: NDArray[np.str_],
    blocks: NDArray[np.int64],
    table: Mapping[str, RowScores],
    subsets: Mapping[str, NDArray[np.bool_]],
    claims: Sequence[tuple[str, str]],
    draws: int,
) -> None:
    """Refuse what `summarise_rows` says it refuses."""
    if label.ndim != 1 or environment.shape != label.shape or blocks.shape != label.shape:
        raise ValueError(f"shapes differ: label {label.shape}, environment {environment.shape}, blocks {blocks.shape}")
    if not np.isin(label, (-1, 0, 1)).all():
        raise ValueError("a label is none of -1, 0, 1")
    if not (label >= 0).any():
        raise ValueError("no pair is labelled")
    if draws < 1:
        raise ValueError(f"draws must be positive, not {draws}")
    for row, scores in table.items():
        if scores.score.shape[1] != label.size:
            raise ValueError(f"row {row} has {scores.score.shape[1]} pairs, needs {label.size}")
    for name, mask in subsets.items():
        if name in RESERVED:
            raise ValueError(f"a subset may not be called {name}: that is a key of a row or a metric")
        if mask.dtype != np.bool_ or mask.shape != label.shape:
            raise ValueError(f"subset {name} has {mask.dtype} {mask.shape}, needs bool {label.shape}")
    for row in {row for claim in claims for row in claim}:
        if row not in table:
            raise ValueError(f"a claim names row {row}, which is not in the table")


def _stated(numbers: _Numbers, cells: Sequence[int] | None = None) -> dict[str, dict[str, Any]]:
    """State every metric, as the mean over the cells where it is defined, with its interval."""
    chosen = range(len(numbers.blocks)) if cells is None else cells
    stated: dict[str, dict[str, Any]] = {}
    for place, metric in enumerate(METRICS):
        by_cell = numbers.draws[place, list(chosen)]
        defined = np.isfinite(by_cell[:, 0])
        if not defined.any():
            stated[metric] = {"value": None, "low": None, "high": None}
            continue
        mean = _mean_of_defined(by_cell[defined])
        stated[metric] = {"value": float(mean[0]), "low": None, "high": None}
        behind = frozenset[int]().union(*(numbers.blocks[cell] for cell in np.array(chosen)[defined]))
        usable = mean[1:][np.isfinite(mean[1:])]
        if len(behind) < 2 or usable.size == 0:
            continue
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(usable, [tail, 1 - tail])
        stated[metric] |= {"low": float(low), "high": float(high)}
        complete = int(np.isfinite(by_cell[defined, 1:]).all(axis=0).sum())
        if complete < WHOLE_DRAWS * (mean.size - 1):
            stated[metric]["draws"] = complete
    return stated


def _spread(numbers: _Numbers) -> dict[str, float | None]:
    """Return the standard deviation over seeds of each metric's mean over cells."""
    spread: dict[str, float | None] = {}
    for metric, by_cell in zip(METRICS, numbers.seeds, strict=True):
        mean = _mean_of_defined(by_cell)
        spread[metric] = float(mean.std(ddof=1)) if mean.size > 1 and np.isfinite(mean).all() else None
    return spread


def _mean_of_defined(by_cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average over the first axis what is not NaN; NaN where nothing is."""
    defined = np.isfinite(by_cell)
    count = defined.sum(axis=0)
    total = np.where(defined, by_cell, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def check_results(content: Mapping[str, Any]) -> None:
    """Check that the content of a ``results.json`` is complete.

    - ``format_version`` is 1;
    - ``protocol`` has ``name``, ``title``, ``sentence`` and ``subsets`` (name to text);
    - each of ``rows`` has ``n``, ``seeds``, ``spread``, ``note`` and, under ``macro``, ``pooled`` and every subset, all
      of `METRICS`;
    - each of ``environments`` has ``n``, ``positives``, ``share_positive`` and, in ``rows``, the same rows with all of
      `METRICS`;
    - each of ``differences`` has all of `METRICS`, which are macro, and again under ``pooled`` and every subset;
    - ``audit`` has ``policy``, ``allowed``, ``locus_leak`` and ``folds``, each with ``fold``, ``train``, ``test``,
      ``enhancer``, ``promoter``, ``pair`` and ``locus``;
    - ``intervals`` has ``blocks``, ``block_bp``, ``draws`` and ``level``;
    - ``provenance`` is there.

    A metric is ``{"value", "low", "high"}``, each a number or null.

    Raises
    ------
    EpisodeError
        Naming the first key that is missing or holds something else.
    """
    if _get(content, "format_version") != FORMAT_VERSION:
        raise EpisodeError(f"results: format_version is {content['format_version']!r}, needs {FORMAT_VERSION}")
    for key in ("name", "title", "sentence"):
        _get(content, "protocol", key)
    scopes = ("pooled", *_get_mapping(content, "protocol", "subsets"))
    rows = _get_mapping(content, "rows")
    for row in rows:
        for key in ("n", "seeds", "note"):
            _get(content, "rows", row, key)
        for metric in METRICS:
            _check_number(content, "rows", row, "spread", metric)
        for scope in ("macro", *scopes):
            _check_metrics(content, "rows", row, scope)
    for name in _get_mapping(content, "environments"):
        for key in ("n", "positives", "share_positive"):
            _check_number(content, "environments", name, key)
        for row in rows:
            _check_metrics(content, "environments", name, "rows", row)
    for claim in _get_mapping(content, "differences"):
        _check_metrics(content, "differences", claim)
        for scope in scopes:
            _check_metrics(content, "differences", claim, scope)
    for key in ("policy", "allowed", "locus_leak"):
        _get(content, "audit", key)
    for place, _ in enumerate(_get(content, "audit", "folds")):
        for key in ("fold", "train", "test", "enhancer", "promoter", "pair", "locus"):
            _get(content, "audit", "folds", place, key)
    for key in ("blocks", "block_bp", "draws", "level"):
        _check_number(content, "intervals", key)
    _get_mapping(content, "provenance")


def _check_metrics(content: Mapping[str, Any], *path: str) -> None:
    """Check that every metric stands at a place."""
    for metric in METRICS:
        for key in ("value", "low", "high"):
            _check_number(content, *path, metric, key)


def _check_number(content: Mapping[str, Any], *path: str | int) -> None:
    """Check that a number or null stands at a place."""
    value = _get(content, *path)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise EpisodeError(f"results: {_dotted(path)} is {value!r}, needs a number or null")


def _get_mapping(content: Mapping[str, Any], *path: str | int) -> Mapping[str, Any]:
    """Return the object at a place."""
    value = _get(content, *path)
    if not isinstance(value, Mapping):
        raise EpisodeError(f"results: {_dotted(path)} is {value!r}, needs an object")
    return value


def _get(content: Any, *path: str | int) -> Any:
    """Return what stands at a place."""
    value = content
    for depth, key in enumerate(path, 1):
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            raise EpisodeError(f"results: {_dotted(path[:depth])} is missing") from None
    return value


def _dotted(path: Iterable[str | int]) -> str:
    """Write a place as ``rows.distance.macro``."""
    return ".".join(map(str, path))
