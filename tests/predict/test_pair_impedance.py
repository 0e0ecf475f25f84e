"""Prediction with several impedance channels: every pair its own impedance, the environment still one estimate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from episode.checkpoint import load_run, save_run
from episode.data.dataset import Dataset
from episode.predict.impedance import deviation, map_impedance, min_impedance, update_impedance
from episode.predict.pairs import Predictions, predict_dataset
from tiny_world import KEY, NUMBERS, TOLERANCE, lively_run, read, rows_of, shuffled, store_of

LINES = ("train01", "train02", "unseen01")


def predict(content: Dataset, **options: object) -> Predictions:
    return predict_dataset(lively_run(3), content, store_of(content), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read(rows_of(*LINES), tmp_path_factory.mktemp("spectrum"))


@pytest.fixture(scope="module")
def predictions(content: Dataset) -> Predictions:
    return predict(content)


def test_every_pair_meets_its_own_impedance(predictions: Predictions) -> None:
    table, exposure = predictions.pairs, predictions.exposure
    assert exposure.shape == (len(table), 3)
    np.testing.assert_allclose(exposure.sum(1), 1, atol=1e-6)
    for estimate in predictions.estimates:
        here = (table["environment"] == estimate.environment).to_numpy()
        np.testing.assert_allclose(table.loc[here, "impedance"], exposure[here] @ estimate.used, atol=1e-6)
        assert table.loc[here, "impedance"].std() > 1e-3
        ranks = [table.loc[here, name].rank().to_numpy() for name in ("potential", "logit")]
        assert (ranks[0] != ranks[1]).any(), "the ranking changes"


def test_summaries_are_means_over_the_support(predictions: Predictions) -> None:
    """Every cell line here has more pairs than the largest support, so the mean over all pairs is only near."""
    for estimate in predictions.estimates:
        here = (predictions.pairs["environment"] == estimate.environment).to_numpy()
        mean = predictions.pairs.loc[here, "impedance"].mean()
        assert estimate.r_used == pytest.approx(mean, abs=0.1)
        assert min(estimate.used) <= estimate.r_used <= max(estimate.used)
        if estimate.known:
            weight = lively_run(3).facts.config.environment.fusion_weight
            fused = weight * np.array(estimate.teacher) + (1 - weight) * np.array(estimate.student)
            np.testing.assert_allclose(estimate.used, fused, atol=1e-6)
        else:
            assert estimate.used == estimate.student and np.isnan(estimate.teacher).all()


def test_the_interval_is_that_of_a_common_shift(predictions: Predictions) -> None:
    table, temperature = predictions.pairs, float(lively_run(3).system.temperature())
    for estimate in predictions.estimates:
        rows = table[table["environment"] == estimate.environment]
        for name, bound in (("low", estimate.r_used_high), ("high", estimate.r_used_low)):
            shifted = rows["impedance"] + (bound - estimate.r_used)
            expected = expit((rows["potential"] - shifted) / temperature)
            np.testing.assert_allclose(rows[f"probability_{name}"], expected, atol=1e-9)


def test_channels_are_columns_of_the_environments(predictions: Predictions) -> None:
    table = predictions.environments
    for name in ("student", "teacher", "used"):
        expected = [getattr(estimate, name) for estimate in predictions.estimates]
        np.testing.assert_array_equal(table[[f"{name}_{k}" for k in (1, 2, 3)]].to_numpy(), expected)


def assert_same(first: Predictions, second: Predictions) -> None:
    left, right = (one.pairs.set_index(KEY)[NUMBERS].sort_index() for one in (first, second))
    pd.testing.assert_frame_equal(left, right, rtol=TOLERANCE, atol=TOLERANCE)


def test_batch_size_and_row_order(content: Dataset, predictions: Predictions, tmp_path: Path) -> None:
    assert_same(predict(content, batch=7), predictions)
    assert_same(predict(read(shuffled(rows_of(*LINES)), tmp_path)), predictions)


def test_few_labels_shift_all_channels_alike(content: Dataset, predictions: Predictions, tmp_path: Path) -> None:
    few = read(rows_of("unseen01").head(20).assign(label="0"), tmp_path, "few.tsv")
    after = predict(content, labelled=(few, store_of(few)))
    one, two = (
        next(estimate for estimate in found.estimates if estimate.environment == "unseen01")
        for found in (predictions, after)
    )
    shift = two.r_used - one.r_used
    assert shift > 1e-3 and two.labels == 20
    np.testing.assert_allclose(np.subtract(two.used, one.used), shift, atol=1e-9)
    here = (predictions.pairs["environment"] == "unseen01").to_numpy()
    moved = (after.pairs["impedance"] - predictions.pairs["impedance"])[here]
    np.testing.assert_allclose(moved, shift, atol=1e-6)


def test_the_shift_is_the_map_on_top_of_what_pairs_differ_in(predictions: Predictions) -> None:
    estimate = replace(predictions.estimates[-1], used=(2.0, 4.0, 3.0), r_used=3.0, r_used_low=2.0, r_used_high=4.0)
    exposure = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0.5, 0.5, 0]])
    np.testing.assert_allclose(deviation(estimate, exposure), [-1, 1, 0, 0])
    potential, label = np.array([2.0, 5.0, 3.0, 1.0]), np.array([1, 0, 1, 0])
    found = update_impedance(estimate, potential - deviation(estimate, exposure), label, 1.0)
    best, _ = map_impedance(np.array([3.0, 4.0, 3.0, 1.0]), label, 1.0, prior=3.0, prior_sd=1 / 1.6448536)
    assert found.r_used == pytest.approx(best, abs=1e-5)


def test_no_channel_is_shifted_below_zero(predictions: Predictions) -> None:
    wide = replace(predictions.estimates[-1], used=(0.5, 4.0, 3.0), r_used=2.5, r_used_low=0.0, r_used_high=100.0)
    found = update_impedance(wide, np.full(50, -3.0), np.ones(50, dtype=int), 1.0)
    assert min(found.used) == pytest.approx(0, abs=1e-4) and found.r_used == pytest.approx(2.0, abs=1e-4)


def test_no_end_of_an_interval_is_below_zero_in_any_channel(content: Dataset, tmp_path: Path) -> None:
    run = lively_run(3)
    uncertain = run.facts.calibration.changed(impedance_error=50.0)
    run = replace(run, facts=run.facts.changed(calibration=uncertain))
    few = read(rows_of("unseen01").head(4), tmp_path, "few.tsv")
    for labelled in (None, (few, store_of(few))):
        for found in predict_dataset(run, content, store_of(content), labelled=labelled).estimates:
            lowest = np.array(found.used) + found.r_used_low - found.r_used
            assert lowest.min() >= -1e-6
            if not found.labels:
                assert lowest.min() == pytest.approx(0, abs=1e-6), "so wide an interval reaches the bound"
                assert min(found.student) + found.r_student_low - found.r_student == pytest.approx(0, abs=1e-6)
                assert found.r_used_low > 1e-3, "above 0, for the mean of channels that differ"


def test_with_one_channel_the_interval_ends_at_zero() -> None:
    assert min_impedance((2.5,), 2.5) == 0
    assert min_impedance((0.5, 4.0), 2.0) == 1.5


def test_a_run_survives_its_checkpoint(content: Dataset, predictions: Predictions, tmp_path: Path) -> None:
    run = lively_run(3)
    save_run(tmp_path, run)
    again = load_run(tmp_path)
    assert again.facts.config.impedance.channels == 3
    for name, value in run.system.state_dict().items():
        assert torch.equal(again.system.state_dict()[name], value), name
    np.testing.assert_array_equal(
        predict_dataset(again, content, store_of(content)).pairs[NUMBERS], predictions.pairs[NUMBERS]
    )
