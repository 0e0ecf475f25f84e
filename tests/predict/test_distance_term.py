"""A run with `potential.distance`, from training to prediction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_world
from episode.checkpoint import Run, load_run
from episode.data.dataset import Dataset
from episode.errors import ConfigError
from episode.predict.pairs import distance_warning, predict_dataset
from episode.train.loop import train

CONFIG = tiny_world.config("potential.distance=true")


def without_distance(content: Dataset, rows: np.ndarray | slice) -> Dataset:
    distance = content.pairs["distance"].to_numpy().copy()
    distance[rows] = np.nan
    return replace(content, pairs=content.pairs.assign(distance=distance))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("distance") / "run"
    train(tiny_world.dataset(), CONFIG, seed=0, folder=folder, store=tiny_world.store_of(tiny_world.dataset()))
    return load_run(folder)


def potential(run: Run, content: Dataset) -> np.ndarray:
    return predict_dataset(run, content, tiny_world.store_of(content)).pairs["potential"].to_numpy()


def test_the_reference_lies_among_the_training_distances_and_is_kept(run: Run) -> None:
    decay = run.system.backbone.decay
    assert decay is not None and run.facts.config.potential.distance
    pairs = tiny_world.dataset().pairs
    learned = pairs[pairs["split"] == "train"]
    by_line = np.log(learned["distance"]).groupby(learned["cell_line"]).mean()
    assert by_line.min() <= float(decay.log_reference) <= by_line.max()
    assert float(decay.log_reference) != pytest.approx(np.log(1e5), abs=1e-3)


def test_a_prediction_adds_the_term_where_the_distance_is_known(run: Run, tmp_path: Path) -> None:
    content = tiny_world.read(tiny_world.rows_of("unseen01"), tmp_path)
    half = np.arange(len(content.pairs)) % 2 == 0
    some, none = without_distance(content, ~half), without_distance(content, slice(None))
    alone, mixed = potential(run, none), potential(run, some)
    assert run.system.backbone.decay is not None
    term = run.system.backbone.decay(torch.tensor(content.pairs["distance"].to_numpy(np.float64))).numpy()
    assert term.std() > 1e-2
    np.testing.assert_allclose(mixed, alone + np.where(half, term, 0.0), atol=1e-5)
    np.testing.assert_allclose(potential(run, content), alone + term, atol=1e-5)
    assert distance_warning(run, 0, len(half)) is None
    text = distance_warning(run, int(some.pairs["distance"].isna().sum()), len(half))
    assert text is not None and f"absent in {(~half).sum()} of {len(half)} pairs" in text
    assert distance_warning(tiny_world.lively_run(), len(half), len(half)) is None


def test_training_without_any_distance_is_refused(tmp_path: Path) -> None:
    content = without_distance(tiny_world.dataset(), slice(None))
    with pytest.raises(ConfigError, match=r"potential\.distance: needed a training pair of known distance"):
        train(content, CONFIG, seed=0, folder=tmp_path / "run", store=tiny_world.store_of(content))
