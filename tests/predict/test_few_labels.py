"""A few labels move the impedance, by one-dimensional MAP and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from episode.data.dataset import Dataset
from episode.metrics.metrics import oracle_impedance
from episode.predict.impedance import map_impedance
from episode.predict.pairs import Predictions, predict_dataset
from known import known
from tiny_world import lively_run, read, rows_of, shuffled, store_of

GRID = np.linspace(0, 12, 120_001)


def posterior(potential: np.ndarray, label: np.ndarray, temperature: float, prior: float, spread: float) -> np.ndarray:
    """Log posterior on the grid, written out from the formula."""
    chance = expit((potential[None] - GRID[:, None]) / temperature)
    likelihood = np.log(np.where(label == 1, chance, 1 - chance)).sum(1)
    return likelihood - (GRID - prior) ** 2 / (2 * spread**2)


@pytest.mark.parametrize(("temperature", "prior", "spread"), [(1.0, 3.0, 0.5), (0.4, 2.0, 2.0), (1.5, 0.3, 1.0)])
@pytest.mark.parametrize("label", [[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
def test_against_a_grid(label: list[int], temperature: float, prior: float, spread: float) -> None:
    potential, labels = np.array([2.0, 2.5, 3.0, 4.5, 1.0]), np.array(label)
    values = posterior(potential, labels, temperature, prior, spread)
    best, deviation = map_impedance(potential, labels, temperature, prior=prior, prior_sd=spread)
    top = int(values.argmax())
    assert best == pytest.approx(GRID[top], abs=2e-4)
    if 0 < top < len(GRID) - 1:  # not held at 0
        step = GRID[1] - GRID[0]
        curvature = (values[top + 50] - 2 * values[top] + values[top - 50]) / (50 * step) ** 2
        assert deviation == pytest.approx(1 / np.sqrt(-curvature), rel=1e-3)


def test_by_hand() -> None:
    """One positive at U = 3, T = 1, prior N(3, 1): sigmoid(R - 3) + (R - 3) = 0 at R - 3 = -0.4010582."""
    best, deviation = map_impedance(np.array([3.0]), np.array([1]), 1.0, prior=3.0, prior_sd=1.0)
    assert best == pytest.approx(3 - 0.4010582, abs=1e-5)
    share = 1 / (1 + np.exp(0.4010582))
    assert share == pytest.approx(0.4010582, abs=1e-6)
    assert deviation == pytest.approx((share * (1 - share) + 1) ** -0.5, abs=1e-5)


def test_labels_that_agree_with_the_prior_narrow_it_only() -> None:
    potential = np.array([1.0, 2.0, 4.0, 5.0])
    best, deviation = map_impedance(potential, np.array([0, 0, 1, 1]), 1.0, prior=3.0, prior_sd=0.7)
    assert best == pytest.approx(3.0, abs=1e-4)
    assert deviation < 0.7


def test_more_labels_go_to_the_oracle_of_the_labels() -> None:
    rng = np.random.default_rng(3)
    potential = rng.normal(3, 1.5, 4096)
    label = (rng.random(4096) < expit(potential - 4.2)).astype(int)
    oracle = oracle_impedance(potential, label, 1.0)
    assert oracle == pytest.approx(4.2, abs=0.2)
    found = [map_impedance(potential[:n], label[:n], 1.0, prior=3.0, prior_sd=0.2) for n in (4, 64, 1024, 4096)]
    misses = [abs(best - known(oracle)) for best, _ in found]
    deviations = [deviation for _, deviation in found]
    assert misses == sorted(misses, reverse=True) and misses[-1] < 0.1 < misses[0]
    assert deviations == sorted(deviations, reverse=True)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read(rows_of("unseen01", "unseen02"), tmp_path_factory.mktemp("content"))


def predict(content: Dataset, labelled: Dataset | None = None) -> Predictions:
    few = None if labelled is None else (labelled, store_of(labelled))
    return predict_dataset(lively_run(), content, store_of(content), labelled=few)


def few(label: str, count: int, folder: Path) -> Dataset:
    return read(rows_of("unseen01").head(count).assign(label=label), folder, f"few{label}{count}.tsv")


def test_labels_move_their_own_environment_and_no_other(content: Dataset, tmp_path: Path) -> None:
    free: Any = predict(content).environments.set_index("environment")
    table: Any
    for label, sign in (("1", -1), ("0", 1)):
        result = predict(content, few(label, 20, tmp_path))
        table = result.environments.set_index("environment")
        assert sign * (table.loc["unseen01", "r_used"] - free.loc["unseen01", "r_used"]) > 1e-3
        assert table.loc["unseen01", "labels"] == 20
        pd.testing.assert_series_equal(table.loc["unseen02"], free.loc["unseen02"])
        kept = ["r_student", "r_student_sd", "r_student_low", "r_student_high", "support_size"]
        assert table.loc["unseen01", kept].equals(free.loc["unseen01", kept])
        mine = result.pairs["environment"] == "unseen01"
        assert result.pairs.loc[mine, "impedance"].unique().tolist() == [table.loc["unseen01", "r_used"]]
        width = table["r_used_high"] - table["r_used_low"]
        assert width["unseen01"] < free.loc["unseen01", "r_used_high"] - free.loc["unseen01", "r_used_low"]


def test_the_prior_is_the_label_free_estimate(content: Dataset, tmp_path: Path) -> None:
    """The MAP again, from the numbers that prediction writes down."""
    labelled = few("1", 5, tmp_path)
    free: Any = predict(content).environments.set_index("environment").loc["unseen01"]
    row = predict(content, labelled).environments.set_index("environment").loc["unseen01"]
    potential = predict(labelled).pairs["potential"].to_numpy()
    best, deviation = map_impedance(
        potential,
        np.ones(5, dtype=int),
        float(lively_run().system.temperature()),
        prior=free["r_used"],
        prior_sd=(free["r_used_high"] - free["r_used"]) / 1.6448536,
    )
    assert row["r_used"] == pytest.approx(best, abs=1e-5)
    assert row["r_used_high"] == pytest.approx(best + 1.645 * deviation, abs=1e-5)


def test_under_a_wide_prior_all_labels_give_the_oracle_and_half_of_them_most_of_it(
    content: Dataset, tmp_path: Path
) -> None:
    wide = lively_run().facts.calibration.changed(impedance_error=20.0)
    run = replace(lively_run(), facts=lively_run().facts.changed(calibration=wide))
    table = rows_of("unseen02")
    free = predict_dataset(run, content, store_of(content))
    mine = free.pairs[free.pairs["environment"] == "unseen02"]
    temperature = float(run.system.temperature())
    oracle = known(oracle_impedance(mine["potential"].to_numpy(), mine["label"].to_numpy(int), temperature))
    before: Any = free.environments.set_index("environment").loc["unseen02", "r_used"]
    assert oracle > 0 and abs(before - oracle) > 0.02
    after: dict[int, Any] = {}
    for count in (len(table) // 2, len(table)):
        labelled = read(shuffled(table).head(count), tmp_path, f"first{count}.tsv")
        told = predict_dataset(run, content, store_of(content), labelled=(labelled, store_of(labelled)))
        after[count] = told.environments.set_index("environment").loc["unseen02", "r_used"]
    half, all_of_them = after.values()
    assert all_of_them == pytest.approx(oracle, abs=1e-3)
    assert abs(half - oracle) < 0.5 * abs(before - oracle)


def test_rows_without_a_label_change_nothing(content: Dataset, tmp_path: Path) -> None:
    labelled = few("1", 6, tmp_path)
    table = labelled.pairs.copy()
    table.loc[3:, "label"] = -1
    some, three = replace(labelled, pairs=table), labelled.select(np.arange(6) < 3)
    assert predict(content, some).environments["labels"].tolist() == [3, 0]
    assert predict(content, some).environments.equals(predict(content, three).environments)
    none = replace(labelled, pairs=labelled.pairs.assign(label=np.int8(-1)))
    assert predict(content, none).environments.equals(predict(content).environments)
