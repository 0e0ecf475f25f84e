"""One small honest fold of the tiny world, for the tests of all baselines.

Train: eight cell lines on chromosomes sim1 to sim4; test: four other cell lines on sim5 and sim6. While something is
chosen, sim4 ("val") of the last three training cell lines judges what the first five taught on sim1 to sim3.
"""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import tiny_world
from episode.compare.folds import Fold
from episode.compare.methods.base import FewLabels, FoldTask
from episode.encode.motifs import load_bank
from episode.encode.store import build_store
from episode.seeds import generator

CHOOSES = ("train06", "train07", "train08")
SHOWN = (0, 8, 32)


@pytest.fixture(scope="session")
def true_label() -> NDArray[np.int8]:
    """Labels of all rows of the fold's dataset, test rows as well; shape (n_pairs,). For judging only."""
    return tiny_world.dataset().pairs["label"].to_numpy(np.int8).copy()


@pytest.fixture(scope="session")
def fold_task(tmp_path_factory: pytest.TempPathFactory, true_label: NDArray[np.int8]) -> FoldTask:
    """A task with real store and bank; do not alter it, use `dataclasses.replace`. Its folder does not exist yet."""
    pairs = tiny_world.dataset().pairs.copy()
    test = (pairs["split"] == "test").to_numpy(bool)
    validation = (pairs["split"] == "val").to_numpy(bool)
    chooses = pairs["cell_line"].isin(CHOOSES).to_numpy(bool)
    fold = Fold(
        name="unseen",
        train=~test,
        fit=~test & ~validation & ~chooses,
        selection=validation & chooses,
        held_out=validation,
        gap=np.zeros(len(pairs), dtype=bool),
        test=test,
    )
    few = _few_labels(fold, true_label)
    pairs["label"] = np.where(fold.learnable, true_label, -1).astype(np.int8)
    config = tiny_world.config()
    bank = load_bank(config.stem)
    dataset = replace(tiny_world.dataset(), pairs=pairs)
    store = build_store(dataset, bank, config.stem)
    folder = tmp_path_factory.mktemp("family") / "fold"
    return FoldTask(dataset, store, bank, fold, few, config, seed=0, folder=folder, own_store=store)


def _few_labels(fold: Fold, true_label: NDArray[np.int8]) -> FewLabels:
    """Show the first labels of each test environment in a random order, as a protocol does."""
    pairs = tiny_world.dataset().pairs
    rng = generator(0, "few labels")
    drawn = []
    for name in sorted(pairs.loc[fold.test, "environment"].unique()):
        rows = np.flatnonzero(fold.test & (pairs["environment"] == name).to_numpy(bool))
        drawn.append(rng.permutation(rows)[: max(SHOWN)])
    shown = {k: np.sort(np.concatenate([part[:k] for part in drawn])).astype(np.int64) for k in SHOWN}
    label = np.full(len(pairs), -1, dtype=np.int8)
    label[shown[max(SHOWN)]] = true_label[shown[max(SHOWN)]]
    key = pairs["enhancer_id"].to_numpy(np.int64) << 32 | pairs["promoter_id"].to_numpy(np.int64)
    left_out = fold.test & np.isin(key, key[shown[max(SHOWN)]])
    return FewLabels(shown, label, left_out)
