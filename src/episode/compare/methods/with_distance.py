"""`episode_distance`: EPIsode whose potential also has a contact decay, for pairs of known distance.

Not a sequence-only method: it is read beside `distance`, never in place of `episode.potential`.
"""

from __future__ import annotations

from episode.compare.methods.base import FoldTask, RunnerResult
from episode.compare.methods.trained_run import score_variant

__all__ = ["score_fold"]


def score_fold(task: FoldTask) -> RunnerResult:
    """Fill `episode_distance`: a training run of its own with ``potential.distance``, and what prediction does with it.

    A pair of unknown distance is scored without the term.

    Raises
    ------
    ConfigError
        If no training pair has a distance.
    """
    potential = task.config.potential.changed(distance=True)
    return score_variant("episode_distance", task, task.config.changed(potential=potential))
