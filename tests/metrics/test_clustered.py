"""Variances of sums over pairs that share loci and promoters."""

import numpy as np
import pytest

from episode.metrics.clustered import clustered_variance


def crossed(rng: np.random.Generator, rows: int = 300, loci: int = 40, promoters: int = 30) -> np.ndarray:
    return np.column_stack([rng.integers(0, loci, rows), rng.integers(0, promoters, rows)])


def test_one_way_by_hand() -> None:
    # sums 3, -3 and 0 of three clusters, and 5, -4, -1
    values = np.array([[1.0, 2.0], [2.0, 3.0], [-3.0, -4.0], [0.0, -1.0]])
    found = clustered_variance(values, np.array([[5], [5], [8], [9]]))
    np.testing.assert_allclose(found, [18 * 3 / 2, 42 * 3 / 2])


def test_rows_of_their_own_are_independent() -> None:
    # the variance of a mean of 4 numbers
    values = np.array([1.0, 5.0, 0.0, 2.0])
    centred = ((values - values.mean()) / 4)[:, None]
    assert clustered_variance(centred, np.arange(4)[:, None])[0] == pytest.approx(values.var(ddof=1) / 4)
    assert clustered_variance(centred, np.arange(8).reshape(4, 2))[0] == pytest.approx(values.var(ddof=1) / 4)


def test_two_ways_by_hand() -> None:
    # sums 4, 0, -4 a locus; 5, -5 a promoter; 4, 1, -1, -4 where both are one
    values = np.array([[3.0], [1.0], [1.0], [-1.0], [-1.0], [-3.0]])
    clusters = np.array([[0, 0], [0, 0], [1, 0], [1, 1], [2, 1], [2, 1]])
    expected = 32 * 3 / 2 + 50 * 2 / 1 - 34 * 4 / 3
    assert expected > 100
    assert clustered_variance(values, clusters)[0] == pytest.approx(expected)
    assert clustered_variance(values, clusters[:, ::-1])[0] == pytest.approx(expected)


def test_not_below_the_larger_by_hand() -> None:
    # 36 by locus, 4 by promoter, 10 * 4 / 3 by both: the sum would be 26.7
    values = np.array([[2.0], [1.0], [-1.0], [-2.0]])
    clusters = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert clustered_variance(values, clusters)[0] == pytest.approx(36)


def test_at_least_either_way_alone() -> None:
    rng = np.random.default_rng(0)
    bound = 0
    for _ in range(50):
        clusters, values = crossed(rng), rng.normal(size=(300, 3))
        found = clustered_variance(values, clusters)
        single = np.stack([clustered_variance(values, clusters[:, [side]]) for side in (0, 1)]).max(axis=0)
        assert (found >= single).all()
        bound += int((found == single).sum())
    assert 20 < bound < 130, "of 150, the bound holds some and not others"


@pytest.mark.parametrize("clusters", [np.zeros((3, 1)), [[0, 0], [0, 1], [0, 2]], [[0, 7], [1, 7], [2, 7]]])
def test_one_cluster_is_infinite(clusters: np.ndarray) -> None:
    found = clustered_variance(np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]]), np.array(clusters, dtype=np.int64))
    assert np.isinf(found).all() and found.shape == (2,)


def test_order_and_numbering_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    clusters, values, order = crossed(rng), rng.normal(size=(300, 2)), rng.permutation(300)
    found = clustered_variance(values, clusters)
    np.testing.assert_allclose(clustered_variance(values[order], clusters[order]), found)
    numbers = rng.permutation(10**12 + np.arange(0, 4_000_000, 100_000))
    renamed = np.column_stack([numbers[clusters[:, 0]], -numbers[clusters[:, 1]]])
    np.testing.assert_allclose(clustered_variance(values, renamed), found)


def test_doubles_of_rows_add_nothing() -> None:
    rng = np.random.default_rng(2)
    clusters, values = crossed(rng), rng.normal(size=(300, 2))
    doubled = clustered_variance(np.repeat(values / 2, 2, axis=0), np.repeat(clusters, 2, axis=0))
    np.testing.assert_allclose(doubled, clustered_variance(values, clusters))


def test_the_variance_of_a_mean_with_effects_of_loci_and_promoters() -> None:
    rng = np.random.default_rng(3)
    mean, found, by_locus = [], [], []
    for _ in range(1_000):
        clusters = crossed(rng)
        values = rng.normal(size=40)[clusters[:, 0]] + rng.normal(size=30)[clusters[:, 1]] + rng.normal(size=300)
        mean.append(values.mean())
        centred = (values - values.mean())[:, None] / 300
        found.append(clustered_variance(centred, clusters)[0])
        by_locus.append(clustered_variance(centred, clusters[:, :1])[0])
    assert np.mean(found) == pytest.approx(np.var(mean), rel=0.1)
    assert np.mean(by_locus) < 0.6 * np.var(mean)
