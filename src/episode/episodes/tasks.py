"""Drawing one task from the environments that training may use.

The generator is passed in; the same generator and pools give the same task. This module does NOT know models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from episode.config import EpisodesConfig
from episode.episodes.prior_shift import draw_prior, resample_to_prior
from episode.episodes.sampler import EnvironmentPool, Task, draw_kind, draw_shown, draw_sizes, split_by_locus

__all__ = ["TaskSource"]


@dataclass(frozen=True)
class TaskSource:
    """The environments that training draws from.

    Parameters
    ----------
    training : sequence of EnvironmentPool
        Known to the Teacher.
    pseudo_ood : sequence of EnvironmentPool
        Never seen by the Teacher nor by the Opportunist's own loss.
    """

    training: Sequence[EnvironmentPool]
    pseudo_ood: Sequence[EnvironmentPool]
    config: EpisodesConfig

    def draw(self, rng: np.random.Generator, impedance: np.ndarray, temperature: float) -> Task:
        """Draw one task.

        Parameters
        ----------
        impedance : ndarray, shape (environments known to the Teacher,)
            R_T now, its smallest channel; bounds the drawn prevalence.
        """
        kind = draw_kind(rng, self.config, pseudo_ood=bool(self.pseudo_ood), several=len(self.training) > 1)
        pools = self.pseudo_ood if kind == "pseudo_ood" else self.training
        pool = pools[int(rng.integers(len(pools)))]
        if kind == "mixed":
            return self._mixed(rng, pool)
        if kind == "prior_shift" and pool.two_classes and pool.teacher is not None:
            prior = draw_prior(rng, float(impedance[pool.teacher]), temperature, pool.prevalence)
            labelled = np.flatnonzero(pool.label >= 0)
            index = labelled[resample_to_prior(rng, pool.label[labelled], prior)]
            return self._split(rng, pool, "prior_shift", index, fraction=prior)
        kind = "pseudo_ood" if kind == "pseudo_ood" else "train"
        return self._split(rng, pool, kind, np.arange(len(pool.rows)))

    def _split(
        self,
        rng: np.random.Generator,
        pool: EnvironmentPool,
        kind: str,
        index: np.ndarray,
        fraction: float = float("nan"),
    ) -> Task:
        support_size, two_way = draw_sizes(rng, self.config)
        support, query = split_by_locus(rng, pool.locus[index], query=self.config.query, support=support_size)
        support, query = index[support], index[query]
        shown = np.zeros(len(support), dtype=bool)
        if kind == "train":
            shown = draw_shown(rng, self.config, len(support))
        return Task(
            pool, kind, pool.rows[support], pool.rows[query], shown, two_way and len(support) > 0, fraction=fraction
        )

    def _mixed(self, rng: np.random.Generator, pool: EnvironmentPool) -> Task:
        others = [other for other in self.training if other.name != pool.name]
        other = others[int(rng.integers(len(others)))]
        size, _ = draw_sizes(rng, self.config)
        fraction = float(rng.uniform())
        first = min(round(size * fraction), len(pool.rows))
        second = min(size - round(size * fraction), len(other.rows))
        support = np.concatenate(
            [rng.choice(pool.rows, size=first, replace=False), rng.choice(other.rows, size=second, replace=False)]
        )
        nothing = np.zeros(0, dtype=np.int64)
        fraction = first / max(1, first + second)
        return Task(pool, "mixed", support, nothing, np.zeros(len(support), dtype=bool), False, other, fraction)
