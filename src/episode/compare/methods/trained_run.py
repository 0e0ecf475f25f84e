"""EPIsode trained on one fold, and what it says of a part of the fold: shared by its own rows and its variants.

Predictions come from `episode.predict.pairs.predict_dataset` and from nowhere else. Test rows never go into training:
they are not in the dataset that `learning_part` gives. Which methods are filled is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from episode.checkpoint import Run, load_run, load_unseen
from episode.compare.methods.base import FoldTask, RunnerResult, Scores
from episode.config import Config
from episode.data.dataset import Dataset
from episode.errors import EpisodeError
from episode.evaluate.curves import impedance_records, training_series
from episode.evaluate.evaluation import run_alarms, training_lines
from episode.evaluate.figures import RunFigures
from episode.predict.impedance import EnvironmentEstimate
from episode.predict.pairs import Predictions, predict_dataset
from episode.train.crossfit import applied_config, train

__all__ = ["Reading", "describe", "learning_part", "read_part", "score_variant", "trained_run"]


@dataclass(frozen=True)
class Reading:
    """What a run says of one part of a dataset, from unlabelled support.

    Parameters
    ----------
    dataset : Dataset
        The part.
    temperature : float
        T of the run.
    """

    dataset: Dataset
    predictions: Predictions
    temperature: float

    @property
    def potential(self) -> NDArray[np.float64]:
        """U_I with the offset, shape (n_pairs,)."""
        return self.predictions.pairs["potential"].to_numpy(np.float64)

    @property
    def logit(self) -> NDArray[np.float64]:
        """What prediction says, shape (n_pairs,): R_E fused where the Teacher knows the environment, else R_S."""
        return self.predictions.pairs["logit"].to_numpy(np.float64)

    @property
    def label(self) -> NDArray[np.int8]:
        """Labels as the dataset of the task has them: -1 in test rows."""
        return self.dataset.pairs["label"].to_numpy(np.int8)

    def environments(self) -> Iterator[tuple[EnvironmentEstimate, NDArray[np.int64]]]:
        """Yield every estimate with the rows of its environment."""
        environment = self.dataset.pairs["environment"].to_numpy()
        for estimate in self.predictions.estimates:
            yield estimate, np.flatnonzero(environment == estimate.environment)


def learning_part(task: FoldTask) -> Dataset:
    """Return the rows that EPIsode learns from (split "train") and calibrates on ("val"), without the gap between."""
    split = task.dataset.pairs["split"].to_numpy()
    return task.dataset.select(task.fold.learnable & np.isin(split, ("train", "val")))


def trained_run(task: FoldTask, dataset: Dataset) -> Run:
    """Return the run in ``task.folder / "run"``: as it is if finished, resumed if broken off, else trained.

    Parameters
    ----------
    task : FoldTask
        Gives configuration, seed and store.
    dataset : Dataset
        What to learn from; has the elements of `task.dataset`.

    Raises
    ------
    EpisodeError
        If the folder holds a run of another configuration or seed.
    """
    folder = task.folder / "run"
    if not (folder / "run.json").exists():
        train(dataset, task.config, seed=task.seed, folder=folder, store=task.own_store, resume=True)
    run = load_run(folder)
    if (run.facts.config, run.facts.seed) != (applied_config(dataset, task.config), task.seed):
        raise EpisodeError(f"{folder}: holds a run of another configuration or seed; give a new folder or remove it")
    return run


def score_variant(method: str, task: FoldTask, config: Config, learning: Dataset | None = None) -> RunnerResult:
    """Train EPIsode under another configuration, and fill one method with what prediction does.

    The threshold of the call is chosen as EPIsode's own is: on the training pairs that members left out under a
    closed-form Student, else on the held-out training rows.

    Parameters
    ----------
    learning : Dataset, optional
        What to learn from; by default what EPIsode itself learns from.
    """
    task = replace(task, config=config)
    learning = learning_part(task) if learning is None else learning
    run = trained_run(task, learning)
    test = read_part(run, task, task.fold.test)
    if run.student is None:
        held_out = read_part(run, task, task.fold.held_out)
        scores = Scores.called(test.logit, test.logit, held_out.logit, held_out.label)
    else:
        unseen = load_unseen(task.folder / "run")
        chosen = (unseen["logit"] + unseen["level"]).to_numpy()
        scores = Scores.called(test.logit, test.logit, chosen, unseen["label"].to_numpy())
    return RunnerResult({method: scores}, describe(task, run, test), run.facts.provenance.queried)


def read_part(run: Run, task: FoldTask, part: NDArray[np.bool_]) -> Reading:
    """Predict some rows of the task's dataset as `episode predict` does: each environment from its own rows of them.

    Parameters
    ----------
    part : ndarray, shape (n_pairs,), bool
    """
    dataset = task.dataset.select(part)
    return Reading(dataset, predict_dataset(run, dataset, task.own_store), run.temperature)


def describe(task: FoldTask, run: Run, test: Reading, *, level: float | None = None) -> RunFigures:
    """Return what is worth drawing of a run on one fold.

    Parameters
    ----------
    test : Reading
        The test rows.
    level : float, optional
        Constant impedance that the score of "episode.potential" is made with.
    """
    fold = task.fold.name
    return RunFigures(
        impedance=impedance_records(
            {estimate.environment: estimate for estimate in test.predictions.estimates}, fold=fold
        ),
        temperature=run.temperature,
        offset=float(run.system.temperature.offset) if run.student is None else 0.0,
        alarms=run_alarms(run),
        roles=run.facts.roles.model_dump(),
        training=training_series(training_lines(task.folder / "run"), fold=fold, seed=task.seed),
        level=level,
    )
