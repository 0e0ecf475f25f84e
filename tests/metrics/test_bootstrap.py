from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
)
from sklearn.metrics import log_loss as sklearn_log_loss

from episode.metrics import bootstrap
from episode.metrics.bootstrap import block_ids, decision, draw_weights, probability, ranking
from episode.metrics.metrics import binary_metrics, precision_at_recall

ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([-2.0, -0.5, 0.0, 0.1, 0.7, 3.0]), st.integers(0, 3)),
    min_size=1,
    max_size=60,
)


def sample(n: int = 400, seed: int = 0, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logit = rng.normal(-0.8, 1.5, n)
    label = (rng.random(n) < expit(logit)).astype(np.int8)
    return label, np.round(logit * 2) / 2 if ties else logit


def every_number(label: np.ndarray, logit: np.ndarray, blocks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """All nine numbers, shape (9, draws)."""
    order = ranking(label, logit, blocks, weights)
    chance = probability(label, logit, blocks, weights)
    call = decision(label, np.asarray(logit) >= 0, blocks, weights)
    return np.array(
        [
            *(order.auroc, order.aupr, order.precision_at_recall),
            *(chance.log_loss, chance.brier, chance.ece),
            *(call.f1, call.precision, call.recall),
        ]
    )


def reference(label: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """The same nine by `episode.metrics.metrics`, shape (9,)."""
    found = binary_metrics(label, logit, logit)
    numbers = [
        *(found.auroc, found.aupr, precision_at_recall(label, logit)),
        *(found.log_loss, found.brier, found.ece),
        *(found.f1, found.precision, found.recall),
    ]
    return np.array([np.nan if number is None else number for number in numbers])


def frame(**columns: list) -> pd.DataFrame:
    pairs = pd.DataFrame(columns)
    pairs["promoter_chrom"] = pairs["enhancer_chrom"]
    pairs["has_coordinates"] = pairs["enhancer_chrom"] != ""
    return pairs


class TestBlocks:
    pairs = frame(
        enhancer_chrom=["chr2", "chr2", "chr2", "chr1", "chr1", "", "", ""],
        enhancer_start=[90, 300, 100, 90, 210, -1, -1, -1],
        enhancer_end=[108, 320, 102, 108, 230, -1, -1, -1],
        promoter_start=[400, 85, 180, 400, 100, -1, -1, -1],
        promoter_end=[410, 95, 190, 410, 110, -1, -1, -1],
        locus=[1, 1, 2, 3, 4, 5, 6, 5],
    )

    def test_by_the_midpoint_of_the_upstream_element(self) -> None:
        # midpoints: 99, 90 (the promoter's), 101, then chr1 99 and 105; blocks of 100
        found = block_ids(self.pairs, 100)
        assert found[0] == found[1]
        assert len({found[0], found[2], found[3], found[4]}) == 4

    def test_half_open_at_the_boundary(self) -> None:
        pairs = frame(
            enhancer_chrom=["chr1"] * 3,
            enhancer_start=[90, 90, 91],
            enhancer_end=[109, 110, 110],  # midpoints 99.5, 100, 100.5
            promoter_start=[500] * 3,
            promoter_end=[510] * 3,
            locus=[0, 0, 0],
        )
        assert block_ids(pairs, 100).tolist() == [0, 1, 1]

    def test_without_coordinates_by_locus(self) -> None:
        found = block_ids(self.pairs, 100)
        assert found[5] == found[7] != found[6]
        assert not set(found[5:]) & set(found[:5])

    def test_numbered_without_gaps_and_whatever_the_order(self) -> None:
        found = block_ids(self.pairs, 100)
        assert sorted(set(found)) == list(range(6))
        order = np.random.default_rng(0).permutation(len(found))
        assert (block_ids(self.pairs.iloc[order], 100) == found[order]).all()

    def test_length_must_be_positive(self) -> None:
        with pytest.raises(ValueError, match="block_bp"):
            block_ids(self.pairs, 0)


class TestDraws:
    def test_as_many_blocks_as_there_are(self) -> None:
        weights = draw_weights(np.repeat(np.arange(30), 4), 4000, np.random.default_rng(0))
        assert weights.shape == (4000, 30)
        assert (weights.sum(axis=1) == 30).all() and (weights == np.round(weights)).all()
        assert weights.mean(axis=0) == pytest.approx(np.ones(30), abs=0.08)
        assert weights.var() == pytest.approx(29 / 30, abs=0.03)  # multinomial: n p (1 - p)

    def test_the_generator_decides(self) -> None:
        blocks = np.arange(5)
        first, again, other = (draw_weights(blocks, 10, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert (first == again).all() and not (first == other).all()

    @pytest.mark.parametrize("blocks", [[], [0, 2], [1, 2], [-1, 0]])
    def test_a_gap_is_refused(self, blocks: list[int]) -> None:
        with pytest.raises(ValueError, match="gaps"):
            draw_weights(np.array(blocks, dtype=np.int64), 3, np.random.default_rng(0))


def test_hand_computed_numbers() -> None:
    # by score: 1 (weight 2), 0 (weight 1), then 1 (weight 1) tied with 0 (weight 3), 0 (weight 2)
    label = np.array([0, 1, 0, 1, 0])
    score = np.array([0.0, 1.0, -1.0, 3.0, 2.0])
    score[1] = score[0]
    blocks = np.array([0, 1, 2, 3, 1])
    weights = np.array([[3.0, 1.0, 2.0, 2.0]])
    found = ranking(label, score, blocks, weights)
    # negatives weigh 6: the top positive beats 6, the other 2 and half of 3
    assert found.auroc == pytest.approx((2 * 6 + 2 + 1.5) / (3 * 6))
    assert found.aupr == pytest.approx((2 / 3) * 1 + (1 / 3) * (3 / 7))
    assert found.precision_at_recall == pytest.approx(3 / 7)  # 2 of 3 is below 0.7
    assert ranking(label, score, blocks, weights, recall=2 / 3).precision_at_recall == pytest.approx(1.0)
    call = decision(label, score >= 0, blocks, weights)
    assert (call.precision[0], call.recall[0], call.f1[0]) == pytest.approx((3 / 7, 1.0, 0.6))
    chance = probability([1, 0], np.log([3.0, 1 / 9]), [0, 1], np.array([[3.0, 1.0]]))
    assert chance.log_loss == pytest.approx(-(3 * np.log(0.75) + np.log(0.9)) / 4)
    assert chance.brier == pytest.approx((3 * 0.0625 + 0.01) / 4)
    assert chance.ece == pytest.approx(abs((3 * 0.75 + 0.1) / 4 - 0.75))  # four rows: one bin


def test_two_weighted_bins_by_hand() -> None:
    # 41 rows, two bins, the edge at weight 20.5: the middle row (20 below, half of its own 1) opens the second
    label = np.array([0, 1, 0])
    probability_of = np.array([0.2, 0.5, 0.7])
    weights = np.array([[20.0, 1.0, 20.0], [20.0, 0.0, 20.0], [12.0, 3.0, 25.0]])
    logit = np.log(probability_of / (1 - probability_of))
    found = probability(label, logit, [0, 1, 2], weights).ece
    # third draw: the middle group's mid-weight is 13.5, below 20
    assert found == pytest.approx([(20 * 0.2 + 20 * 0.7 - 0.5) / 41, (4 + 14) / 40, (abs(2.4 - 1.5) + 17.5) / 40])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("chunk", [1, 1 << 9, 1 << 16])
def test_agrees_with_the_library_under_weights(ties: bool, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "CHUNK", chunk)
    label, logit = sample(300, ties=ties)
    blocks = np.random.default_rng(1).integers(0, 40, 300)
    weights = np.concatenate(
        [np.random.default_rng(2).exponential(size=(3, 40)), draw_weights(np.arange(40), 3, np.random.default_rng(3))]
    )
    found = every_number(label, logit, blocks, weights)
    for draw, by_block in enumerate(weights):
        weight = by_block[blocks]
        chance = expit(logit)
        precision, recall, _ = precision_recall_curve(label, logit, sample_weight=weight)
        decided = precision_recall_fscore_support(label, logit >= 0, average="binary", sample_weight=weight)
        expected = [
            roc_auc_score(label, logit, sample_weight=weight),
            average_precision_score(label, logit, sample_weight=weight),
            precision[recall >= 0.7].max(),
            sklearn_log_loss(label, chance, sample_weight=weight),
            brier_score_loss(label, chance, sample_weight=weight),
        ]
        assert found[:5, draw] == pytest.approx(expected, abs=1e-9)
        assert found[6:, draw] == pytest.approx([decided[2], decided[0], decided[1]], abs=1e-9)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [7, 39, 41, 150, 307, 900])
def test_weights_of_one_are_the_reference(n: int, ties: bool) -> None:
    label, logit = sample(n, seed=n + 1, ties=ties)
    assert 0 < label.sum() < n
    found = every_number(label, logit, np.arange(n) % 5, np.ones((2, 5)))
    assert found[:, 0] == pytest.approx(reference(label, logit), abs=1e-9)
    assert (found[:, 0] == found[:, 1]).all()


@given(ROWS, st.lists(st.integers(0, 4), min_size=4, max_size=4))
@settings(max_examples=150)
def test_weights_are_rows_repeated(rows: list[tuple[int, float, int]], multiplicity: list[int]) -> None:
    label, logit, blocks = (np.array(column) for column in zip(*rows, strict=True))
    times = np.array(multiplicity)[blocks]
    weights = np.array([[1.0] * 4, multiplicity, [2.0] * 4])
    found = every_number(label, logit, blocks, weights)
    for draw, repeats in enumerate([np.ones_like(times), times, np.full_like(times, 2)]):
        expected = reference(np.repeat(label, repeats), np.repeat(logit, repeats))
        assert found[:, draw] == pytest.approx(expected, abs=1e-9, nan_ok=True)


@given(ROWS, st.integers(0, 99))
@settings(max_examples=50)
def test_row_order_does_not_matter(rows: list[tuple[int, float, int]], seed: int) -> None:
    label, logit, blocks = (np.array(column) for column in zip(*rows, strict=True))
    weights = np.random.default_rng(seed).integers(0, 3, (5, 4)).astype(float)
    order = np.random.default_rng(seed).permutation(len(rows))
    before = every_number(label, logit, blocks, weights)
    after = every_number(label[order], logit[order], blocks[order], weights)
    assert after == pytest.approx(before, abs=1e-12, nan_ok=True)


@given(ROWS)
@settings(max_examples=50)
def test_ranking_survives_monotone_transforms_and_turns_with_the_sign(rows: list[tuple[int, float, int]]) -> None:
    label, score, blocks = (np.array(column) for column in zip(*rows, strict=True))
    weights = np.random.default_rng(len(rows)).integers(0, 3, (5, 4)).astype(float)
    before = ranking(label, score, blocks, weights)
    for after in (ranking(label, score**3, blocks, weights), ranking(label, 7 + np.exp(score), blocks, weights)):
        assert np.array_equal(before.auroc, after.auroc, equal_nan=True)
        assert np.array_equal(before.aupr, after.aupr, equal_nan=True)
        assert np.array_equal(before.precision_at_recall, after.precision_at_recall, equal_nan=True)
    turned = ranking(label, -score, blocks, weights).auroc
    assert turned == pytest.approx(1 - before.auroc, abs=1e-12, nan_ok=True)


def test_a_draw_that_lacks_a_class() -> None:
    label, logit, blocks = np.array([1, 1, 0]), np.array([0.3, -0.2, 0.1]), np.array([0, 0, 1])
    found = every_number(label, logit, blocks, np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0], [0.0, 0.0]]))
    assert np.isfinite(found[:, 2]).all()
    assert np.isnan(found[[0, 1, 2, 6, 7, 8]][:, [0, 1, 3]]).all()
    assert np.isfinite(found[3:6, :2]).all() and np.isnan(found[3:6, 3]).all()


def test_nothing_called_has_precision_zero() -> None:
    found = decision([1, 0], [False, False], [0, 1], np.ones((1, 2)))
    assert (found.precision[0], found.recall[0], found.f1[0]) == (0.0, 0.0, 0.0)


def test_far_logits_stay_finite() -> None:
    found = probability([1, 0, 1], [1e4, -1e4, -1e4], [0, 1, 2], np.ones((1, 3)))
    assert found.log_loss == pytest.approx(1e4 / 3)


@pytest.mark.parametrize("function", [ranking, probability])
@pytest.mark.parametrize(
    ("label", "score", "blocks"),
    [([0, 1], [0.0], [0, 0]), ([0, -1], [0.0, 1.0], [0, 0]), ([0, 1], [0, np.nan], [0, 0])],
)
def test_wrong_input_is_refused(
    function: Callable[..., object], label: list[int], score: list[float], blocks: list[int]
) -> None:
    with pytest.raises(ValueError):
        function(label, score, blocks, np.ones((1, 1)))


def covered(shared: float) -> tuple[float, float, float]:
    """How often 95 % intervals of scores that know nothing hold 0.5, by block and by pair, and their width ratio."""
    rng = np.random.default_rng(0)
    blocks, pairs = np.repeat(np.arange(40), 15), np.arange(600)
    hold, width = np.zeros(2), np.zeros(2)
    for _ in range(100):
        score = rng.normal(size=600) + shared * rng.normal(size=40)[blocks]
        label = (rng.random(600) < expit(shared * rng.normal(size=40)[blocks] - 1)).astype(int)
        for place, unit in enumerate((blocks, pairs)):
            auroc = ranking(label, score, unit, draw_weights(unit, 200, rng)).auroc
            low, high = np.quantile(auroc, [0.025, 0.975])
            hold[place] += low < 0.5 < high
            width[place] += high - low
    return hold[0] / 100, hold[1] / 100, width[0] / width[1]


def test_interval_of_random_scores_covers_chance() -> None:
    by_block, by_pair, ratio = covered(shared=0.0)
    assert 0.85 <= by_block < 1 and 0.85 <= by_pair < 1
    assert ratio == pytest.approx(1, abs=0.1)


def test_correlated_blocks_widen_the_interval() -> None:
    # score and label share a part with their block, but not with each other: 40 observations rather than 600
    by_block, by_pair, ratio = covered(shared=1.5)
    assert by_block >= 0.85
    assert by_pair < 0.75
    assert ratio > 1.5
