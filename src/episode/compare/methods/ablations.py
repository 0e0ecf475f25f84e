"""EPIsode with one part taken away at a time: the same training and prediction, another configuration or pool.

Each runner fills one method, ``ablation.<its name>``, with what prediction does. How a run is trained and read is in
`trained_run`; settings that are not named here stay those of the comparison.
"""

from __future__ import annotations

from dataclasses import replace

from episode.compare.methods.base import FoldTask, RunnerResult
from episode.compare.methods.trained_run import learning_part, score_variant
from episode.config import Config
from episode.data.dataset import Dataset

__all__ = ["POOL", "no_competition", "no_distillation", "no_prior_shift", "no_pseudo_ood", "single_pool"]

POOL = "all training rows"
"""Cell line and environment of every training row of `single_pool`."""


def no_competition(task: FoldTask) -> RunnerResult:
    """Neither pull-in nor push-away."""
    losses = task.config.losses.changed(pull_in=0.0, push_away=0.0)
    return _score("no_competition", task, task.config.changed(losses=losses))


def no_distillation(task: FoldTask) -> RunnerResult:
    """No distillation, nor the mixed environments, which teach by nothing else."""
    losses = task.config.losses.changed(distillation=0.0)
    episodes = task.config.episodes.changed(mixed=0.0)
    return _score("no_distillation", task, task.config.changed(losses=losses, episodes=episodes))


def no_pseudo_ood(task: FoldTask) -> RunnerResult:
    """No pseudo-OOD environments: the Teacher knows every training cell line.

    Push-away goes with them: it acts only on a lead of the Opportunist that is absent there.
    """
    episodes = task.config.episodes.changed(pseudo_ood=0.0)
    return _score("no_pseudo_ood", task, task.config.changed(episodes=episodes))


def no_prior_shift(task: FoldTask) -> RunnerResult:
    """No training environments resampled to another prevalence."""
    episodes = task.config.episodes.changed(prior_shift=0.0)
    return _score("no_prior_shift", task, task.config.changed(episodes=episodes))


def single_pool(task: FoldTask) -> RunnerResult:
    """Plain batches in place of episodes: all training rows are one environment, and every task is drawn from it alike.

    No environment is known to the Teacher afterwards. Prediction goes by environment as ever.
    """
    episodes = task.config.episodes.changed(pseudo_ood=0.0, prior_shift=0.0, mixed=0.0)
    part = learning_part(task)
    pool = replace(part, pairs=part.pairs.assign(cell_line=POOL, environment=POOL))
    return _score("single_pool", task, task.config.changed(episodes=episodes), pool)


def _score(name: str, task: FoldTask, config: Config, learning: Dataset | None = None) -> RunnerResult:
    return score_variant(f"ablation.{name}", task, config, learning)
