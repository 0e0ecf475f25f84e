"""The bank of known motifs: which position weight matrices are used, and what a site scores.

Here belong the choice of JASPAR matrices, their redundancy, log-odds, scores of single sites and score thresholds.
This module does NOT know bins nor how many sequences are scanned (see `episode.encode.scanner`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import Field

from episode.config import StemConfig
from episode.dna import UNKNOWN
from episode.errors import ConfigError
from episode.schema import Model

__all__ = [
    "GRID",
    "MIN_LOG_ODDS",
    "PSEUDOCOUNT",
    "BankContent",
    "MotifBank",
    "MotifContent",
    "load_bank",
    "similarity",
    "site_scores",
    "thin",
]

PSEUDOCOUNT = 0.8
"""Sites added to the counts of every column, shared evenly by the four bases."""
MIN_LOG_ODDS = -8.0
"""The most one mismatch can cost, in bits; matrices made from many sites would else charge up to 17."""
GRID = 256
"""Log-odds are whole multiples of 1/GRID bit, so that sums of them are exact in float32 in any order."""


class MotifContent(Model):
    """One motif as it is stored."""

    id: str
    """Matrix identifier with version, such as ``MA0139.2``."""
    name: str
    """Name of the transcription factor."""
    probabilities: list[list[float]]
    """Probability of A, C, G, T at each position of a site."""


class BankContent(Model):
    """A bank of motifs as it is stored."""

    format_version: Literal[1]
    motifs: list[MotifContent]
    gate: BankContent | None = Field(default=None, exclude_if=lambda gate: gate is None)
    """Matrices of the factor of the boundary gate; absent where there is none."""


@dataclass(frozen=True, eq=False)
class MotifBank:
    """Position weight matrices, in a fixed order; none at all where the stem learns its filters from nothing.

    Parameters
    ----------
    ids : tuple of str
        Matrix identifiers with version, such as ``MA0139.2``; distinct.
    names : tuple of str
        Names of the transcription factors; not always distinct.
    probabilities : tuple of np.ndarray, each shape (length, 4), float32
        Fraction of A, C, G, T at each position of a site; each row sums to 1.
    gate : MotifBank or None
        All matrices of the factor of the boundary gate; they are scanned by themselves.

    Raises
    ------
    ValueError
        If the parts do not agree in number or shape, or a row is not a distribution.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    probabilities: tuple[np.ndarray, ...]
    gate: MotifBank | None = None

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.names) == len(self.probabilities):
            raise ValueError(
                f"{len(self.ids)} ids, {len(self.names)} names and {len(self.probabilities)} matrices; "
                "one of each is needed for a motif"
            )
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("motif ids must be distinct")
        matrices = tuple(np.array(matrix, dtype=np.float32) for matrix in self.probabilities)
        for name, matrix in zip(self.ids, matrices, strict=True):
            if matrix.ndim != 2 or matrix.shape[1] != 4 or matrix.shape[0] == 0:
                raise ValueError(f"{name}: a matrix of shape (length, 4) is needed, not {matrix.shape}")
            if not (matrix >= 0).all() or np.abs(matrix.sum(axis=1) - 1).max() > 1e-4:
                raise ValueError(f"{name}: each row must be four fractions that sum to 1")
            matrix.setflags(write=False)
        object.__setattr__(self, "probabilities", matrices)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Length of each motif in base pairs, shape (n_motifs,), int64."""
        return np.array([len(matrix) for matrix in self.probabilities], dtype=np.int64)

    @cached_property
    def information(self) -> np.ndarray:
        """Information content in bits against a uniform background, shape (n_motifs,), float64."""
        fractions = [matrix.astype(np.float64) for matrix in self.probabilities]
        return np.array([(part * np.log2(np.where(part > 0, part * 4, 1.0))).sum() for part in fractions])

    @cached_property
    def hash(self) -> str:
        """SHA-256 over ids, names and matrices without those of the gate, 64 hex digits."""
        return hashlib.sha256(json.dumps(self.content().model_dump(exclude={"gate"})).encode()).hexdigest()

    def gate_levels(self) -> np.ndarray | None:
        """Return scores that a random site reaches with p 3e-5 (first row) and 1e-4, shape (2, matrices), in bits."""
        return None if self.gate is None else np.stack([self.gate.thresholds(p) for p in (3e-5, 1e-4)])

    def index(self, key: str) -> int:
        """Return the position of a motif given by id (``MA0139.2``), id without version, or name.

        Raises
        ------
        KeyError
            If no motif of the bank is called so.
        """
        bases = tuple(identifier.split(".")[0] for identifier in self.ids)
        for labels in (self.ids, bases, self.names):
            if key in labels:
                return labels.index(key)
        raise KeyError(f"no motif {key!r} among the {len(self)} of the bank")

    def log_odds(self, motif: int) -> np.ndarray:
        """Return what each base at each position of a motif adds to the score of a site, in bits.

        ``log2(p / 0.25)``, not below `MIN_LOG_ODDS`, rounded to a multiple of ``1 / GRID``, of shape (length, 4),
        float32. The pseudocount is in the probabilities already (see `load_bank`).
        """
        fractions = self.probabilities[motif].astype(np.float64)
        bits = np.log2(np.maximum(fractions * 4, 2.0**MIN_LOG_ODDS))
        return (np.rint(bits * GRID) / GRID).astype(np.float32)

    def take(self, motifs: Iterable[int]) -> MotifBank:
        """Return the bank of some of the motifs, without a gate."""
        ids, names, matrices = self.ids, self.names, self.probabilities
        kept = [(ids[i], names[i], matrices[i]) for i in motifs]
        return MotifBank(*zip(*kept, strict=True)) if kept else MotifBank((), (), ())

    def reverse_complement(self) -> MotifBank:
        """Return the bank of the same sites read on the other strand."""
        gate = None if self.gate is None else self.gate.reverse_complement()
        return MotifBank(self.ids, self.names, tuple(matrix[::-1, ::-1] for matrix in self.probabilities), gate)

    def thresholds(self, p: float = 1e-4) -> np.ndarray:
        """Return the scores that random DNA reaches with a given probability.

        Exact for the rounded log-odds of `log_odds`: the distribution of the score of one site of
        independent, equally likely bases is computed by convolution over the positions.

        Parameters
        ----------
        p : float
            Tail probability at one site on one strand, in (0, 1).

        Returns
        -------
        np.ndarray, shape (n_motifs,), float32
            The lowest reachable score s with ``P(score >= s) <= p``, in bits; where even the best site is
            likelier than `p`, the best score.

        References
        ----------
        Touzet, Varré. Efficient and accurate P-value computation for position weight matrices.
        Algorithms for Molecular Biology 2007, 2:15.
        """
        if not 0 < p < 1:
            raise ValueError(f"a tail probability in (0, 1) is needed, not {p}")
        if p not in self._thresholds:
            found = [_threshold(self.log_odds(i), p) for i in range(len(self))]
            self._thresholds[p] = np.array(found, dtype=np.float32)
        return self._thresholds[p].copy()

    @cached_property
    def _thresholds(self) -> dict[float, np.ndarray]:
        """Thresholds that were computed, by their tail probability."""
        return {}

    def content(self) -> BankContent:
        """Return what is stored of the bank; `from_content` gives back the same bits."""
        tables = ([[float(str(value)) for value in row] for row in matrix] for matrix in self.probabilities)
        motifs = [
            MotifContent(id=identifier, name=name, probabilities=table)
            for identifier, name, table in zip(self.ids, self.names, tables, strict=True)
        ]
        return BankContent(format_version=1, motifs=motifs, gate=None if self.gate is None else self.gate.content())

    @classmethod
    def from_content(cls, content: BankContent) -> MotifBank:
        """Rebuild a bank from what is stored of it.

        Raises
        ------
        ValueError
            If ids are not distinct, or a matrix is none of probabilities.
        """
        return cls(
            tuple(motif.id for motif in content.motifs),
            tuple(motif.name for motif in content.motifs),
            tuple(np.array(motif.probabilities, dtype=np.float32) for motif in content.motifs),
            None if content.gate is None else cls.from_content(content.gate),
        )


def site_scores(codes: np.ndarray, log_odds: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
    """Score single sites of one matrix on the strand that is given.

    Parameters
    ----------
    codes : np.ndarray, shape (length,), uint8
        A=0, C=1, G=2, T=3, anything else 4.
    log_odds : np.ndarray, shape (width, 4)
        Score of each base at each position of a site.
    starts : np.ndarray, shape (n,), int64, optional
        First bases of the sites; by default of all that fit.

    Returns
    -------
    np.ndarray, shape (n,), of the type of `log_odds`
        -inf where a base is unknown.
    """
    table = np.full((len(log_odds), UNKNOWN + 1), -np.inf, dtype=log_odds.dtype)
    table[:, :UNKNOWN] = log_odds
    count = max(len(codes) - len(log_odds) + 1, 0) if starts is None else len(starts)
    total = np.zeros(count, dtype=log_odds.dtype)
    for place, column in enumerate(table):
        total += column[codes[place : place + count] if starts is None else codes[starts + place]]
    return total


def load_bank(config: StemConfig) -> MotifBank:
    """Load the JASPAR CORE vertebrate matrices that the stem and the boundary gate use.

    The latest version of each matrix is taken, `PSEUDOCOUNT` added to its counts, matrices with less than
    ``config.min_information`` bits left out, and of matrices alike the one with the lowest id kept
    (the first described one: the factor a reader knows). The bank of the gate has every version of every matrix of
    ``config.gate``, however alike. A stem that starts from no known matrices has a bank of none. Sorted by id.

    Raises
    ------
    ConfigError
        If the release is unknown, no matrix is informative enough, or none is of the gate's factor.
    """
    if not (config.reads_matrices or config.gate):
        return MotifBank((), (), ())
    every, gate = _read_jaspar(config.release), None
    if config.gate:
        gate = every.take(i for i, name in enumerate(every.names) if name.upper() == config.gate.upper())
        if not len(gate):
            raise ConfigError(f"stem.gate {config.gate!r}: {config.release} has no vertebrate matrix of this factor")
    if not config.reads_matrices:
        return MotifBank((), (), (), gate)
    latest = {identifier.split(".")[0]: i for i, identifier in enumerate(every.ids)}  # ids ascend with the version
    newest = every.take(latest.values())
    chosen = newest.take(np.flatnonzero(newest.information >= config.min_information))
    if not len(chosen):
        raise ConfigError(f"stem.min_information {config.min_information}: no matrix of {config.release} has so much")
    return replace(chosen.take(thin(list(chosen.probabilities), config.max_similarity)), gate=gate)


def thin(matrices: list[np.ndarray], max_similarity: float) -> list[int]:
    """Keep matrices in the given order, leaving out each with more than `max_similarity` to one already kept.

    Returns the positions of the kept matrices, ascending; see `similarity`.
    """
    kept: list[int] = []
    for i, alike in enumerate(similarity(matrices) > max_similarity):
        if not alike[kept].any():
            kept.append(i)
    return kept


def similarity(matrices: list[np.ndarray]) -> np.ndarray:
    """Return how alike matrices, each of shape (length, 4), are: in [-1, 1], shape (n, n), float32, symmetric.

    The Pearson correlation over the entries of all columns of both, at the best alignment on either strand,
    where a matrix is continued past its ends by the uniform distribution. A half site is therefore not the
    same as the whole site, but flanks without information do not count.
    """
    longest = max(len(matrix) for matrix in matrices)
    forward = _excess(matrices, longest)
    best = np.full((len(matrices), len(matrices)), -1.0, dtype=np.float32)
    for other in (forward, _excess([matrix[::-1, ::-1] for matrix in matrices], longest)):
        for offset in range(longest):
            left = forward[:, offset:].reshape(len(matrices), -1)
            right = other[:, : longest - offset].reshape(len(matrices), -1)
            np.maximum(best, left @ right.T, out=best)
    return np.maximum(best, best.T)


def _excess(matrices: list[np.ndarray], longest: int) -> np.ndarray:
    """Stack ``fraction - 1/4`` into shape (n, longest, 4), zero past the end of each matrix, each of norm 1.

    Every column has the mean 1/4, so the correlation of two matrices is the product of what exceeds it.
    """
    stacked = np.zeros((len(matrices), longest, 4), dtype=np.float32)
    for row, matrix in zip(stacked, matrices, strict=True):
        row[: len(matrix)] = matrix - 0.25
        row /= max(float(np.linalg.norm(row)), 1e-6)
    return stacked


def _threshold(log_odds: np.ndarray, p: float) -> float:
    """Return the lowest score whose tail probability under equally likely bases is at most `p`, in bits."""
    steps = np.rint(log_odds * GRID).astype(np.int64)
    lowest = steps.min(axis=1)
    steps = steps - lowest[:, None]
    distribution = np.ones(1)
    for column in steps:
        longer = np.zeros(len(distribution) + int(column.max()))
        for step in column:
            longer[step : step + len(distribution)] += 0.25 * distribution
        distribution = longer
    tail = distribution[::-1].cumsum()[::-1]
    reached = (distribution > 0) & (tail <= p)
    score = int(np.argmax(reached)) if reached.any() else len(distribution) - 1
    return (score + int(lowest.sum())) / GRID


def _read_jaspar(release: str) -> MotifBank:
    """Read all versions of the CORE vertebrate matrices of a release, sorted by id."""
    import pyjaspar  # slow to import and needed only when a bank is made

    if release not in pyjaspar.jaspar_releases:
        known = ", ".join(sorted(pyjaspar.jaspar_releases))
        raise ConfigError(f"stem.release {release!r}: not a JASPAR release that pyJASPAR holds ({known})")
    database = pyjaspar.jaspardb(release=release)
    with contextlib.closing(database.conn):
        motifs = database.fetch_motifs(collection="CORE", tax_group=["vertebrates"], all_versions=True)
    motifs = sorted(motifs, key=lambda motif: motif.matrix_id)
    matrices = []
    for motif in motifs:
        counts = np.array([motif.counts[base] for base in "ACGT"], dtype=np.float64).T
        counts += PSEUDOCOUNT / 4
        matrices.append((counts / counts.sum(axis=1, keepdims=True)).astype(np.float32))
    return MotifBank(tuple(motif.matrix_id for motif in motifs), tuple(motif.name for motif in motifs), tuple(matrices))
