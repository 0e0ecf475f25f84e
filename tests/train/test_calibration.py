"""The final stage finds the T and offset that made the labels."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.special import expit

from episode.train.calibration import MIN_INVERSE_TEMPERATURE, calibrate
from episode.train.validation import EnvironmentCheck


def check(
    potential: np.ndarray, label: np.ndarray, student: float, *, oracle: float = math.nan, name: str = "a"
) -> EnvironmentCheck:
    return EnvironmentCheck(name, potential, label.astype(np.int8), potential, student, oracle, 0.5, 0.5, 0.5, 0.0)


def world(temperature: float, offset: float, errors: tuple[float, ...], size: int = 6000) -> list[EnvironmentCheck]:
    """Environments whose labels follow the formula with a true R; the Student is off by `errors`."""
    rng = np.random.default_rng(0)
    checks = []
    for number, error in enumerate(errors):
        impedance = 2.0 + number
        potential = rng.normal(2.5, 1.5, size)
        chance = expit((potential + offset - impedance) / temperature)
        checks.append(check(potential, rng.random(size) < chance, impedance + error))
    return checks


@pytest.mark.parametrize(("temperature", "offset"), [(0.6, -0.5), (1.0, 0.0), (2.0, 1.0)])
def test_known_temperature_and_offset_are_found(temperature: float, offset: float) -> None:
    found = calibrate(world(temperature, offset, (0.0, 0.0, 0.0)), 1.0)
    assert found.temperature == pytest.approx(temperature, rel=0.06)
    assert found.offset == pytest.approx(offset, abs=0.1)
    assert found.residual_slope == pytest.approx(1.0, abs=0.01)
    assert found.pairs == 18_000
    assert found.impedance_environments == 3


def test_the_start_does_not_matter() -> None:
    checks = world(0.8, 0.3, (0.0, 0.0))
    one, two = calibrate(checks, 0.3), calibrate(checks, 5.0)
    assert one.temperature == pytest.approx(two.temperature, rel=1e-3)
    assert one.offset == pytest.approx(two.offset, abs=1e-3)


def test_the_error_of_the_student_is_measured_about_its_mean() -> None:
    errors = (-0.4, 0.0, 0.4, 0.0)
    found = calibrate(world(0.7, 0.0, errors), 1.0)
    assert found.impedance_error == pytest.approx(np.std(errors, ddof=1), abs=0.08)
    exact = calibrate(world(0.7, 0.0, (0.0, 0.0, 0.0, 0.0)), 1.0)
    assert 0 < exact.impedance_error < 0.1


def test_without_both_classes_nothing_moves() -> None:
    potential = np.linspace(0, 5, 50)
    for checks in ([], [check(potential, np.zeros(50), 2.0)]):
        found = calibrate(checks, 0.8)
        assert (found.temperature, found.offset) == (pytest.approx(0.8), 0.0)
        assert found.residual_slope is None
        assert found.impedance_environments == 0
        assert found.impedance_error == pytest.approx(0.8), "as wide as T where nothing was measured"


def test_a_potential_that_ranks_the_wrong_way_keeps_a_positive_temperature() -> None:
    rng = np.random.default_rng(0)
    potential = rng.normal(0, 1, 2000)
    found = calibrate([check(potential, rng.random(2000) < expit(-2 * potential), 0.0)], 1.0)
    assert 0 < found.temperature <= 1 / MIN_INVERSE_TEMPERATURE + 1e-9
    assert math.isfinite(found.offset)


def test_the_outcome_is_plain_data() -> None:
    found = calibrate(world(0.6, -0.5, (0.0, 0.1)), 1.0)
    again = json.loads(json.dumps(found.model_dump(), allow_nan=False))
    assert again["temperature"] == found.temperature


def test_the_log_loss_is_that_of_the_calibrated_logits() -> None:
    checks = world(0.7, 0.4, (0.0, 0.3))
    found = calibrate(checks, 1.0)
    label = np.concatenate([one.label for one in checks])
    gap = np.concatenate([one.potential - one.student for one in checks])

    def loss(temperature: float, offset: float) -> float:
        p = expit((gap + offset) / temperature)
        return float(-np.where(label == 1, np.log(p), np.log1p(-p)).mean())

    assert found.log_loss is not None
    assert found.log_loss == pytest.approx(loss(found.temperature, found.offset), rel=1e-6)
    assert found.log_loss < loss(1.0, 0.0)


def test_a_log_loss_that_was_not_measured_is_null_in_the_checkpoint() -> None:
    found = calibrate([check(np.linspace(0, 5, 50), np.zeros(50), 2.0)], 0.8)
    assert found.log_loss is None
    json.dumps(found.model_dump(), allow_nan=False)
