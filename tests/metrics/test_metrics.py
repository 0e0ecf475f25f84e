import math
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score
from sklearn.metrics import log_loss as sklearn_log_loss

from episode.metrics.metrics import (
    auroc,
    average_precision,
    best_f1_threshold,
    binary_metrics,
    calibration_line,
    expected_calibration_error,
    fit_logistic,
    log_loss,
    oracle_impedance,
    precision_at_recall,
    reliability_curve,
)
from known import known


def sample(n: int = 600, seed: int = 0, slope: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logit = rng.normal(-0.5, 1.5, n)
    label = (rng.random(n) < 1 / (1 + np.exp(-slope * logit))).astype(np.int8)
    return label, logit


def test_hand_computed_numbers() -> None:
    label = np.array([1, 0, 1, 0])
    logit = np.log([3.0, 1.5, 1.0 / 3.0, 1.0 / 9.0])  # probabilities 0.75, 0.6, 0.25, 0.1
    result = binary_metrics(label, logit, potential=[1.0, 4.0, 2.0, 3.0])
    assert (result.n, result.positives) == (4, 2)
    assert result.aupr == pytest.approx((1 + 2 / 3) / 2)
    assert result.aupr_potential == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert result.auroc == pytest.approx(3 / 4)
    assert result.log_loss == pytest.approx(-(math.log(0.75) + math.log(0.4) + math.log(0.25) + math.log(0.9)) / 4)
    assert result.brier == pytest.approx((0.25**2 + 0.6**2 + 0.75**2 + 0.1**2) / 4)
    assert result.ece == pytest.approx(abs((0.75 + 0.6 + 0.25 + 0.1) / 4 - 0.5))  # four rows: one bin
    assert (result.precision, result.recall, result.f1) == (0.5, 0.5, 0.5)
    assert result.collapsed is False


def test_agrees_with_the_library() -> None:
    label, logit = sample()
    result = binary_metrics(label, logit, logit)
    probability = 1 / (1 + np.exp(-logit))
    assert result.log_loss == pytest.approx(sklearn_log_loss(label, probability))
    assert result.brier == pytest.approx(brier_score_loss(label, probability))
    assert result.aupr == pytest.approx(average_precision_score(label, probability))


def test_a_scalar_impedance_never_changes_ranking_inside_an_environment() -> None:
    label, potential = sample()
    for impedance in (-3.0, 0.0, 7.5):
        result = binary_metrics(label, (potential - impedance) / 1.7, potential)
        assert result.aupr == pytest.approx(result.aupr_potential, abs=1e-12)


def test_unlabelled_rows_are_ignored() -> None:
    label, logit = sample(200)
    padded = np.concatenate([label, np.full(50, -1)])
    scores = np.concatenate([logit, np.full(50, np.nan)])
    assert binary_metrics(padded, scores, scores) == binary_metrics(label, logit, logit)


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_only(value: int) -> None:
    logit = np.linspace(-2, 2, 41)
    result = binary_metrics(np.full(41, value), logit, logit)
    defined = {key for key, number in dict(result).items() if number is not None}
    assert defined == {"n", "positives", "share_positive", "log_loss", "brier", "ece"}
    assert result.positives == 41 * value


def test_no_labelled_row() -> None:
    result = binary_metrics([-1, -1], [0.0, 1.0], [0.0, 1.0])
    assert result.n == 0 and result.log_loss is None and result.ece is None and result.collapsed is None


def test_extreme_logits_stay_finite() -> None:
    result = binary_metrics([1, 0, 1, 0], [1e4, -1e4, -1e4, 1e4], [1.0, 0.0, 0.0, 1.0])
    assert result.log_loss == pytest.approx(5000)
    assert result.brier == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("label", "logit"),
    [([0, 1], [0.0]), ([0, 2], [0.0, 1.0]), ([0, 1], [0.0, math.nan]), ([[0, 1]], [[0.0, 1.0]])],
)
def test_wrong_input_is_refused(label: list, logit: list) -> None:
    with pytest.raises(ValueError):
        binary_metrics(label, logit, logit)


class TestCollapsed:
    label = np.array([1] * 100 + [0] * 900)

    def collapsed(self, called_positives: int, called_negatives: int) -> bool | None:
        call = np.concatenate([np.arange(100) < called_positives, np.arange(900) < called_negatives])
        logit = np.where(call, 1.0, -1.0)
        return binary_metrics(self.label, logit, logit).collapsed

    def test_everything_called(self) -> None:
        assert self.collapsed(100, 900)
        assert self.collapsed(98, 800)  # precision 98 / 898 = 0.109
        assert not self.collapsed(97, 873)  # recall below 0.98
        assert not self.collapsed(100, 600)  # precision 0.143, more than 0.02 above 0.1

    def test_nothing_called(self) -> None:
        assert self.collapsed(0, 0)
        assert self.collapsed(2, 18)
        assert not self.collapsed(3, 0)  # recall 0.03
        assert not self.collapsed(0, 19)  # calls enough, only wrongly: bad, not constant

    def test_precision_is_zero_where_nothing_is_called(self) -> None:
        result = binary_metrics(self.label, np.full(1000, -1.0), np.zeros(1000))
        assert (result.precision, result.recall, result.f1) == (0.0, 0.0, 0.0)


class TestCalibrationError:
    def test_bins_have_equal_mass(self) -> None:
        curve = reliability_curve(np.zeros(300), np.random.default_rng(1).random(300))
        assert curve.count.tolist() == [20] * 15
        assert (np.diff(curve.probability) > 0).all()

    def test_two_bins_by_hand(self) -> None:
        probability = np.concatenate([np.linspace(0.1, 0.3, 20), np.linspace(0.6, 0.8, 20)])
        label = np.concatenate([np.arange(20) < 6, np.arange(20) < 10]).astype(int)
        assert expected_calibration_error(label, probability) == pytest.approx((abs(0.2 - 0.3) + abs(0.7 - 0.5)) / 2)

    def test_ties_share_a_bin(self) -> None:
        label = np.array([0, 1] * 200)
        curve = reliability_curve(label, np.full(400, 0.5))
        assert curve.count.tolist() == [400]
        assert expected_calibration_error(label, np.full(400, 0.5)) == 0

    @given(st.lists(st.sampled_from([0.0, 0.2, 0.25, 0.7, 1.0]), min_size=1, max_size=120), st.integers(0, 99))
    @settings(max_examples=50)
    def test_row_order_does_not_matter(self, probability: list[float], seed: int) -> None:
        rng = np.random.default_rng(seed)
        label = rng.integers(0, 2, len(probability))
        order = rng.permutation(len(probability))
        before = expected_calibration_error(label, probability)
        assert before is not None and 0 <= before <= 1
        assert expected_calibration_error(label[order], np.array(probability)[order]) == pytest.approx(before)

    def test_probability_outside_the_unit_interval(self) -> None:
        with pytest.raises(ValueError, match="outside"):
            reliability_curve([0, 1], [0.5, 1.5])


class TestCalibrationLine:
    def test_agrees_with_the_library(self) -> None:
        label, logit = sample(2000, slope=0.6)
        ours = calibration_line(label, logit)
        library = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit[:, None], label)
        assert ours is not None
        assert ours.slope == pytest.approx(library.coef_[0, 0], abs=1e-4)
        assert ours.intercept == pytest.approx(library.intercept_[0], abs=1e-4)
        assert ours.slope == pytest.approx(0.6, abs=0.1)

    def test_recalibrated_scores_have_slope_one(self) -> None:
        label, logit = sample(500, slope=2.0)
        line = calibration_line(label, logit)
        assert line is not None
        again = calibration_line(label, line.intercept + line.slope * logit)
        assert again is not None and again.slope == pytest.approx(1) and again.intercept == pytest.approx(0, abs=1e-6)

    def test_nearly_separated_and_far_off_scale(self) -> None:
        logit = np.concatenate([np.linspace(-1e4, 1.0, 50), np.linspace(0.0, 1e4, 50)])
        line = calibration_line(np.repeat([0, 1], 50), logit)
        assert line is not None and np.isfinite(line.slope) and line.slope > 0

    @pytest.mark.parametrize("logit", [[0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0], [0, 1, 1, 2], [5.0, 5.0, 5.0, 5.0]])
    def test_none_where_there_is_no_maximum(self, logit: list[float]) -> None:
        assert calibration_line([0, 0, 1, 1], logit) is None


def test_a_weight_of_a_logistic_fit_is_a_repetition() -> None:
    score, label, times = (
        np.array([0.0, 0.0, 1.0, 1.0, 3.0]),
        np.array([1.0, 0.0, 1.0, 0.0, 1.0]),
        np.array([1, 4, 2, 3, 2]),
    )
    weighted = fit_logistic(score, label, start=(1.0, 0.0), weight=times / 7, tolerance=(0.0, 1e-9))
    repeated = fit_logistic(np.repeat(score, times), np.repeat(label, times), start=(1.0, 0.0), tolerance=(0.0, 1e-9))
    assert (weighted.slope, weighted.intercept) == pytest.approx((repeated.slope, repeated.intercept), abs=1e-6)


class TestOracleImpedance:
    @pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
    def test_minimises_log_loss(self, temperature: float) -> None:
        label, potential = sample(800)
        found = oracle_impedance(potential, label, temperature)
        reference = minimize_scalar(
            lambda r: log_loss(label, (potential - r) / temperature), bounds=(-30, 30), method="bounded"
        )
        assert found == pytest.approx(reference.x, abs=1e-3)

    def test_constant_potential_by_hand(self) -> None:
        # sigmoid((2 - R) / 0.5) = 1/4  =>  R = 2 + 0.5 log 3
        assert oracle_impedance(np.full(8, 2.0), [1, 1, 0, 0, 0, 0, 0, 0], 0.5) == pytest.approx(2 + 0.5 * math.log(3))

    def test_recovers_a_simulated_shift(self) -> None:
        rng = np.random.default_rng(3)
        potential = rng.normal(3, 1, 40_000)
        label = rng.random(40_000) < 1 / (1 + np.exp(-(potential - 4.2) / 0.8))
        assert oracle_impedance(potential, label.astype(int), 0.8) == pytest.approx(4.2, abs=0.03)

    def test_far_potentials(self) -> None:
        potential = np.array([1e6, 1e6 + 1, -1e6, 0.0])
        assert np.isfinite(known(oracle_impedance(potential, [1, 0, 0, 1], 1e-3)))

    def test_one_class_has_none(self) -> None:
        assert oracle_impedance([1.0, 2.0], [1, 1], 1.0) is None
        assert oracle_impedance([1.0, 2.0], [-1, -1], 1.0) is None

    def test_temperature_must_be_positive(self) -> None:
        with pytest.raises(ValueError, match="temperature"):
            oracle_impedance([1.0, 2.0], [0, 1], 0.0)


def test_ranking_of_one_class() -> None:
    assert average_precision([0, 0, -1], [0.1, 0.2, 0.3]) is None
    assert auroc([0, 0, -1], [0.1, 0.2, 0.3]) is None


class TestPrecisionAtRecall:
    label: ClassVar = [1, 0, 1, 1, 0, 0]
    score: ClassVar = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]

    def test_by_hand(self) -> None:
        assert precision_at_recall(self.label, self.score) == pytest.approx(3 / 4)
        assert precision_at_recall(self.label, self.score, 0.3) == 1.0
        assert precision_at_recall(self.label, self.score, 2 / 3) == pytest.approx(3 / 4)  # 2 of 3 called gives less

    def test_a_tie_is_one_threshold(self) -> None:
        assert precision_at_recall([1, 0, 0], [1.0, 1.0, 0.0]) == 0.5

    def test_one_class_has_none(self) -> None:
        assert precision_at_recall([1, 1, -1], [1.0, 2.0, 3.0]) is None

    @pytest.mark.parametrize("recall", [0.0, 1.1])
    def test_recall_must_be_a_share(self, recall: float) -> None:
        with pytest.raises(ValueError, match="recall"):
            precision_at_recall([0, 1], [0.0, 1.0], recall)


class TestBestF1Threshold:
    def test_by_hand(self) -> None:
        # calls 1..5: F1 2/3, 2/4, 4/5, 4/6, 4/7
        assert best_f1_threshold([1, 0, 1, 0, 0], [5.0, 4.0, 3.0, 2.0, 1.0]) == 3.0

    def test_the_highest_of_equals(self) -> None:
        # one called: 2 / 3; all four called: 4 / 6
        assert best_f1_threshold([1, 0, 0, 1], [4.0, 3.0, 2.0, 1.0]) == 4.0

    def test_tied_scores_are_called_together(self) -> None:
        assert best_f1_threshold([1, 0, 0, 0, 1], [4.0, 4.0, 4.0, 4.0, 2.0]) == 2.0

    def test_one_class_has_none(self) -> None:
        assert best_f1_threshold([0, 0, -1], [1.0, 2.0, 3.0]) is None

    @given(st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=40))
    @settings(max_examples=50)
    def test_no_threshold_is_better(self, rows: list[tuple[int, int]]) -> None:
        label, score = (np.array(column) for column in zip(*rows, strict=True))
        found = best_f1_threshold(label, score)
        if found is None:
            assert label.min() == label.max()
            return
        best = f1_score(label, score >= found)
        assert found in score
        assert all(f1_score(label, score >= other) <= best + 1e-12 for other in score)
