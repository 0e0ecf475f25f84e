"""The directions in which environments rank otherwise: found where planted, none where there is only chance."""

from __future__ import annotations

import numpy as np
import pytest

from episode.train.contrast import contrast_directions


def planted(strengths: tuple[float, ...], *, environments: int = 20, size: int = 300) -> np.ndarray:
    """Scores of noise of one standard error, and one channel of z_I for each strength (SD over environments)."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(environments, size))
    for channel, strength in enumerate(strengths):
        scores[:, 10 * (channel + 1)] += strength * rng.normal(size=environments)
    return scores


def test_planted_directions_come_strongest_first() -> None:
    directions = contrast_directions(planted((6.0, 12.0)), 2)
    assert np.abs(directions).argmax(1).tolist() == [20, 10]
    assert (np.abs(directions).max(1) > 0.95).all()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)


def test_channels_that_turn_together_make_one_direction() -> None:
    scores = planted((0.0,))
    scores[:, [3, 4]] += 10 * np.random.default_rng(1).normal(size=(20, 1)) * np.array([1.0, -1.0])
    (direction,) = contrast_directions(scores, 1)
    assert direction[3] * direction[4] < 0
    np.testing.assert_allclose(np.abs(direction[[3, 4]]), 0.5**0.5, atol=0.05)


def test_without_a_difference_there_is_no_direction() -> None:
    assert not contrast_directions(np.zeros((8, 30)), 2).any()
    assert not contrast_directions(np.zeros((0, 30)), 1).any()


@pytest.mark.parametrize("scale", [0.3, 0.5])
def test_scores_below_chance_give_no_direction(scale: float) -> None:
    assert not contrast_directions(scale * planted(()), 2).any()
