"""The directions in which environments rank otherwise: found where simulated, kept where loci agree, not of chance."""

from __future__ import annotations

import numpy as np
import pytest

from episode.train.exposure_init import CONFIRMED, confirm_directions, contrast_directions, locus_halves


def simulated(strengths: tuple[float, ...], *, environments: int = 20, size: int = 300) -> np.ndarray:
    """Scores of noise of one standard error, and one channel of z_I for each strength (SD over environments)."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(environments, size))
    for channel, strength in enumerate(strengths):
        scores[:, 10 * (channel + 1)] += strength * rng.normal(size=environments)
    return scores


def test_simulated_directions_come_strongest_first() -> None:
    directions = contrast_directions(simulated((6.0, 12.0)), 2)
    assert np.abs(directions).argmax(1).tolist() == [20, 10]
    assert (np.abs(directions).max(1) > 0.95).all()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)


def test_channels_that_turn_together_make_one_direction() -> None:
    scores = simulated((0.0,))
    scores[:, [3, 4]] += 10 * np.random.default_rng(1).normal(size=(20, 1)) * np.array([1.0, -1.0])
    (direction,) = contrast_directions(scores, 1)
    assert direction[3] * direction[4] < 0
    np.testing.assert_allclose(np.abs(direction[[3, 4]]), 0.5**0.5, atol=0.05)


def test_without_a_difference_there_is_no_direction() -> None:
    assert not contrast_directions(np.zeros((8, 30)), 2).any()
    assert not contrast_directions(np.zeros((0, 30)), 1).any()


@pytest.mark.parametrize("scale", [0.3, 0.5])
def test_scores_below_chance_give_no_direction(scale: float) -> None:
    assert not contrast_directions(scale * simulated(()), 2).any()


def kept(halves: np.ndarray, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Which directions are found on both halves together, and which of them are kept."""
    halves = halves - halves.mean(1, keepdims=True)
    found = contrast_directions(halves.sum(0) / 2**0.5, count)
    return np.asarray(found.any(1)), confirm_directions(found, halves, np.random.default_rng(9)) <= CONFIRMED


@pytest.mark.parametrize("dispersion", [1.0, 1.3])
@pytest.mark.parametrize("environments", [6, 24])
def test_chance_passes_no_oftener_than_said(environments: int, dispersion: float) -> None:
    """Noise of the size of a real run: 576 channels. Above 21 of 240 has a probability of 1 % at the level of 5 %."""
    rng = np.random.default_rng(3)
    drawn = [kept(dispersion * rng.normal(size=(2, environments, 576))) for _ in range(240)]
    found, passed = np.sum(drawn, axis=0).ravel()
    assert found > 200 or dispersion == 1
    assert passed <= 21


@pytest.mark.parametrize("dispersion", [1.0, 1.3])
def test_a_lasting_difference_is_kept(dispersion: float) -> None:
    rng = np.random.default_rng(4)
    passed = 0
    for _ in range(20):
        halves = dispersion * rng.normal(size=(2, 24, 576))
        halves[:, :, 5] += 5 * rng.normal(size=24)
        passed += kept(halves)[1][0]
    assert passed >= 18


def test_only_the_lasting_one_of_two_directions_is_kept() -> None:
    """The first of channel 3, alike in both halves; the second of channel 8, as large, but each half its own."""
    rng = np.random.default_rng(5)
    halves = rng.normal(size=(2, 24, 30))
    halves[:, :, 3] += 12 * rng.normal(size=24)
    halves[:, :, 8] += 8 * rng.normal(size=(2, 24))
    found, passed = kept(halves, 2)
    assert found.tolist() == [True, True]
    assert passed.tolist() == [True, False]


def test_p_by_hand() -> None:
    """Three environments can be renamed in six ways, none of which agrees better than the true one."""
    places = np.array([-1.0, -0.2, 1.2])[:, None]
    halves = 20 * np.stack([places, places])
    (p,) = confirm_directions(np.ones((1, 1)), halves, np.random.default_rng(0))
    assert p == pytest.approx(1 / 6, abs=0.04)
    (p,) = confirm_directions(np.ones((1, 1)), np.stack([20 * places, -20 * places]), np.random.default_rng(0))
    assert p == 1
    assert confirm_directions(np.zeros((1, 1)), halves, np.random.default_rng(0)) == [1.0]
    assert confirm_directions(np.ones((1, 1)), halves[:, :0], np.random.default_rng(0)) == [1.0]


def test_halves_share_no_locus_and_are_alike_in_pairs() -> None:
    locus = np.random.default_rng(6).integers(0, 300, 2000)
    first = locus_halves(locus)
    assert not set(locus[first]) & set(locus[~first])
    assert abs(first.mean() - 0.5) < 0.05
    by_locus = np.array([first[locus == number][0] for number in np.unique(locus)])
    assert (by_locus[1:] != by_locus[:-1]).sum() == 19, "stretches of neighbours"
