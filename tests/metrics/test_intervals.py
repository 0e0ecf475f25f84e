from typing import Any

import numpy as np
import pytest

from episode.metrics.bootstrap import draw_weights, ranking
from episode.metrics.intervals import (
    METRICS,
    ByMetric,
    Estimate,
    MethodScores,
    Resampling,
    ScoreSummary,
    summarise_methods,
)
from episode.metrics.metrics import (
    auroc,
    average_precision,
    binary_metrics,
    expected_calibration_error,
    log_loss,
    precision_at_recall,
)
from known import known

N = 900
NOTHING = Estimate()


def scored(score: np.ndarray, *, logit: bool = True, call: bool = True) -> MethodScores:
    """A method from scores of shape (n,) or (seeds, n)."""
    score = np.atleast_2d(np.asarray(score, dtype=float))
    nothing = np.full_like(score, np.nan)
    chosen = np.where(np.isnan(score), np.nan, score >= 0.4)
    return MethodScores(score, score - 1 if logit else nothing, chosen if call else nothing)


class World:
    """Three environments in 30 blocks; methods of different worth."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.blocks = rng.integers(0, 30, N) * 7
        self.environment = np.array(["b", "a", "c"])[rng.integers(0, 3, N)]
        self.label = (
            rng.random(N) < np.select([self.environment == "a", self.environment == "b"], [0.2, 0.3], 0.5)
        ).astype(np.int8)
        self.good = rng.normal(size=(2, N)) + 1.5 * self.label
        self.subsets = {"hard": rng.random(N) < 0.5}
        self.few = np.where(rng.random(N) < 0.2, np.nan, self.good[0] + 0.3 * rng.normal(size=N))
        self.table = {
            "good": scored(self.good),
            "random": scored(rng.normal(size=N)),
            "few": scored(self.few),
            "order": scored(self.good[1] * 3, logit=False, call=False),
        }

    def summary(self, **changes: Any) -> ScoreSummary:
        given: dict[str, Any] = {
            "label": self.label,
            "environment": self.environment,
            "blocks": self.blocks,
            "table": self.table,
            "subsets": self.subsets,
            "claims": [("good", "random"), ("good", "good"), ("good", "few"), ("few", "good"), ("order", "good")],
            "draws": 200,
            "rng": np.random.default_rng(1),
        }
        return summarise_methods(**{**given, **changes})


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def summary(world: World) -> ScoreSummary:
    return world.summary()


def test_hand_computed_numbers() -> None:
    # a: AUROC 3/4 and 1 by seed; b: 0 and 1/2; pooled by seed below
    label = np.array([1, 0, 1, 0, 1, 0], dtype=np.int8)
    environment = np.array(["a"] * 4 + ["b"] * 2)
    score = np.array([[4.0, 3.0, 2.0, 1.0, 0.0, 5.0], [4.0, 1.0, 3.0, 2.0, 0.0, 0.0]])
    row = MethodScores(score, np.full_like(score, np.nan), (score >= 2).astype(float))
    found = summarise_methods(
        label, environment, np.arange(6), {"r": row}, subsets={}, claims=[], draws=20, rng=np.random.default_rng(0)
    )
    inside, entry = found.environments, found.methods["r"]
    assert (inside["a"].n, inside["a"].positives, inside["a"].share_positive) == (4, 2, 0.5)
    assert inside["a"].methods["r"].auroc.value == pytest.approx((3 / 4 + 1) / 2)
    assert inside["b"].methods["r"].auroc.value == pytest.approx((0 + 1 / 2) / 2)
    assert entry.macro.auroc.value == pytest.approx((7 / 8 + 1 / 4) / 2)
    # pooled: positives 4 2 0 against 3 1 5, then 4 3 0 against 1 2 0
    assert entry.pooled.auroc.value == pytest.approx((3 / 9 + 6.5 / 9) / 2)
    # macro by seed: (3/4 + 0) / 2 and (1 + 1/2) / 2
    assert entry.spread.auroc == pytest.approx((0.75 - 0.375) / np.sqrt(2))
    # calls at 2 in a: 4 3 2 (2 of 3 right, all found), then 4 3 2 (the same)
    assert inside["a"].methods["r"].f1_chosen.value == pytest.approx(0.8)
    assert inside["a"].methods["r"].precision_chosen.value == pytest.approx(2 / 3)
    assert inside["b"].methods["r"].recall_chosen.value == 0
    assert entry.macro.log_loss == NOTHING and entry.macro.f1 == NOTHING
    assert (entry.n, entry.seeds) == (6, 2)
    assert found.intervals == Resampling(blocks=6, draws=20, level=0.95)


def test_values_are_those_of_the_reference(world: World, summary: ScoreSummary) -> None:
    table = summary.environments["a"].methods
    here = world.environment == "a"
    label = world.label[here]
    seeds = [binary_metrics(label, score[here] - 1, score[here]) for score in world.good]
    for name in ("auroc", "aupr", "log_loss", "brier", "ece", "f1", "precision", "recall"):
        expected = np.mean([getattr(one, name) for one in seeds])
        assert table["good"][name].value == pytest.approx(expected, abs=1e-9)
    chosen = [known(binary_metrics(label, score[here] - 0.4, score[here]).f1) for score in world.good]
    assert table["good"].f1_chosen.value == pytest.approx(np.mean(chosen))
    random = world.table["random"].score[0]
    hard = [here & world.subsets["hard"] for here in (world.environment == name for name in "abc")]
    expected = np.mean([precision_at_recall(world.label[mask], random[mask]) for mask in hard])
    assert summary.methods["random"].subsets["hard"].precision_at_recall_70.value == pytest.approx(expected)
    expected = np.mean([average_precision(world.label[mask], random[mask]) for mask in hard])
    assert summary.methods["random"].subsets["hard"].aupr.value == pytest.approx(expected)
    pooled = expected_calibration_error(world.label, 1 / (1 + np.exp(1 - random)))
    assert summary.methods["random"].pooled.ece.value == pytest.approx(pooled)


def whole(number: Estimate) -> bool:
    """Whether a number lies within its interval."""
    return known(number.low) < known(number.value) < known(number.high)


def width(number: Estimate) -> float:
    return known(number.high) - known(number.low)


def test_every_interval_covers_its_value_and_the_draws_are_joint(summary: ScoreSummary) -> None:
    for entry in (*summary.methods.values(), *summary.differences.values()):
        for scope in (entry.macro, entry.pooled, entry.subsets["hard"]):
            for metric in METRICS:
                number = scope[metric]
                if number.value is not None:
                    assert known(number.low) <= known(number.high)
    macro = {row: summary.methods[row].macro.auroc for row in ("good", "random", "few", "order")}
    assert all(whole(number) for number in macro.values())
    assert known(macro["random"].low) < 0.5 < known(macro["random"].high)
    claimed = summary.differences["good-random"].macro.auroc
    assert claimed.value == pytest.approx(known(macro["good"].value) - known(macro["random"].value))
    assert known(claimed.low) > 0


def test_intervals_are_the_middle_of_the_draws(world: World, summary: ScoreSummary) -> None:
    # the block of a row, numbered from 0, and the draws as `summarise_methods` takes them
    blocks = world.blocks // 7
    weights = draw_weights(blocks, 200, np.random.default_rng(1))
    masks = [world.environment == name for name in "abc"]

    def macro(score: np.ndarray) -> np.ndarray:
        return np.mean([ranking(world.label[m], score[m], blocks[m], weights).aupr for m in masks], axis=0)

    good, random = np.mean([macro(score) for score in world.good], axis=0), macro(world.table["random"].score[0])
    for samples, number in (
        (good, summary.methods["good"].macro.aupr),
        (good - random, summary.differences["good-random"].macro.aupr),
    ):
        assert [number.low, number.high] == pytest.approx(np.quantile(samples, [0.025, 0.975]), abs=1e-12)


def test_a_pair_counts_only_where_every_seed_scores_it(world: World) -> None:
    score = world.good.copy()
    score[0, :100], score[1, 50:200] = np.nan, np.nan
    found = world.summary(table={"r": scored(score)}, claims=[]).methods["r"]
    assert found.n == N - 200
    expected = np.mean([auroc(world.label[200:], one[200:]) for one in world.good])
    assert found.pooled.auroc.value == pytest.approx(expected)


def test_a_method_against_itself_is_exactly_zero(summary: ScoreSummary) -> None:
    itself = summary.differences["good-good"]
    for scope in (itself.macro, itself.pooled, itself.subsets["hard"]):
        assert all(scope[metric] == Estimate(value=0.0, low=0.0, high=0.0) for metric in METRICS)


def test_a_difference_is_judged_on_the_pairs_that_both_score(world: World, summary: ScoreSummary) -> None:
    both = np.isfinite(world.few)
    assert summary.methods["few"].n == both.sum() and summary.methods["good"].n == N
    good = float(np.mean([known(auroc(world.label[both], score[both])) for score in world.good]))
    few = known(auroc(world.label[both], world.few[both]))
    found = summary.differences["good-few"].pooled.auroc
    assert found.value == pytest.approx(good - few)
    turned = summary.differences["few-good"].pooled.auroc
    assert [turned.value, turned.low, turned.high] == pytest.approx(
        [-known(value) for value in (found.value, found.high, found.low)]
    )


def test_paired_intervals_are_narrower_than_the_own_of_a_method(world: World) -> None:
    noisy = world.good[0] + 0.05 * np.random.default_rng(0).normal(size=N)
    found = world.summary(table={"x": scored(world.good[0]), "y": scored(noisy)}, claims=[("x", "y")])
    paired, own = found.differences["x-y"].macro.auroc, found.methods["x"].macro.auroc
    assert width(paired) < 0.2 * width(own)


def test_a_method_without_probability_or_threshold(summary: ScoreSummary) -> None:
    order = summary.methods["order"].pooled
    assert order.auroc.value is not None
    assert all(order[metric] == NOTHING for metric in METRICS[3:])
    difference = summary.differences["order-good"]
    assert difference.macro.aupr.low is not None and difference.pooled.ece == NOTHING


def test_a_logit_missing_for_one_pair_leaves_its_environment_out(world: World) -> None:
    row = scored(world.good[0])
    lost = int(np.flatnonzero(world.environment == "b")[0])
    row.logit[0, lost] = np.nan
    found = world.summary(table={"r": row}, claims=[])
    inside = [found.environments[name].methods["r"].brier.value for name in "abc"]
    assert inside[1] is None and found.methods["r"].pooled.brier == NOTHING
    assert found.methods["r"].macro.brier.value == pytest.approx((known(inside[0]) + known(inside[2])) / 2)
    assert found.methods["r"].n == N


def test_spread_is_over_seeds(world: World, summary: ScoreSummary) -> None:
    masks = [world.environment == name for name in "abc"]
    by_seed = [float(np.mean([known(log_loss(world.label[m], score[m] - 1)) for m in masks])) for score in world.good]
    assert summary.methods["good"].spread.log_loss == pytest.approx(np.std(by_seed, ddof=1))
    assert summary.methods["good"].seeds == 2
    assert summary.methods["random"].spread == ByMetric[float | None](**dict.fromkeys(METRICS))


def test_an_environment_of_one_class(world: World, summary: ScoreSummary) -> None:
    label = np.where(world.environment == "b", 0, world.label).astype(np.int8)
    found = world.summary(label=label)
    inside = found.environments["b"].methods["good"]
    assert inside.auroc == inside.aupr == inside.precision_at_recall_70 == inside.f1 == NOTHING
    assert whole(inside.log_loss)
    for name in ("a", "c"):
        assert found.environments[name].methods["good"] == summary.environments[name].methods["good"]
    macro = found.methods["good"].macro.auroc
    others = [known(found.environments[name].methods["good"].auroc.value) for name in "ac"]
    assert macro.value == pytest.approx(np.mean(others))
    assert macro.draws is None and "draws" not in macro.model_dump()


def test_a_scarce_class_says_how_many_draws_were_whole(world: World) -> None:
    label = world.label.copy()
    scarce = np.flatnonzero(world.environment == "b")
    label[scarce] = 0
    label[scarce[0]] = 1  # one positive: its block is missed by (1 - 1/30)^30 = 36 % of draws
    found = world.summary(label=label, draws=400)
    macro, inside = found.methods["good"].macro.auroc, found.environments["b"].methods["good"].auroc
    assert macro.draws == inside.draws == pytest.approx(0.64 * 400, abs=40)
    assert whole(macro)
    assert found.methods["good"].macro.log_loss.draws is None
    assert found.differences["good-random"].macro.auroc.draws == macro.draws


def test_one_block_has_no_interval(world: World) -> None:
    blocks = np.where(world.environment == "c", 0, world.blocks + 1)
    found = world.summary(blocks=blocks)
    inside = found.environments["c"].methods["random"].auroc
    assert inside.value is not None and inside.low is None and inside.high is None
    assert found.methods["random"].macro.auroc.low is not None


def test_wider_blocks_widen_the_interval_of_correlated_pairs(world: World) -> None:
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(30), 30)
    label = (rng.random(N) < np.where(rng.random(30) < 0.5, 0.2, 0.8)[group]).astype(np.int8)
    table = {"r": scored(2 * rng.normal(size=30)[group] + 0.3 * rng.normal(size=N))}
    widths = {}
    for name, blocks in (("blocks", group), ("pairs", np.arange(N))):
        number = world.summary(label=label, table=table, claims=[], blocks=blocks).methods["r"].pooled.auroc
        widths[name] = width(number)
    assert widths["blocks"] > 1.5 * widths["pairs"]


def test_unknown_labels_are_ignored(world: World, summary: ScoreSummary) -> None:
    rng = np.random.default_rng(0)
    place = np.sort(rng.integers(0, N, 60))

    def pad(values: np.ndarray, value: Any) -> np.ndarray:
        return np.insert(values, place, value, axis=-1)

    padded = world.summary(
        label=pad(world.label, -1),
        environment=pad(world.environment, "d"),
        blocks=pad(world.blocks, 999),
        table={
            name: MethodScores(pad(row.score, 1.0), pad(row.logit, 1.0), pad(row.call, 1.0))
            for name, row in world.table.items()
        },
        subsets={"hard": pad(world.subsets["hard"], True)},
    )
    assert padded == summary


def test_the_same_generator_gives_the_same_numbers(world: World, summary: ScoreSummary) -> None:
    assert world.summary() == summary
    fewer = world.summary(table={"good": world.table["good"]}, claims=[])
    assert fewer.methods["good"] == summary.methods["good"]  # other methods do not shift its draws
    other = world.summary(rng=np.random.default_rng(2)).methods["good"].macro.auroc
    assert other.value == summary.methods["good"].macro.auroc.value
    assert other.low != summary.methods["good"].macro.auroc.low


def test_a_method_that_scores_nothing(world: World) -> None:
    found = world.summary(table={**world.table, "none": scored(np.full(N, np.nan))}, claims=[("none", "good")])
    assert found.methods["none"].n == 0
    assert all(
        found.methods["none"].estimate(scope, metric) == NOTHING
        for scope in ("macro", "pooled", "hard")
        for metric in METRICS
    )
    assert found.differences["none-good"].macro.auroc == NOTHING


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"claims": [("good", "absent")]}, "absent"),
        ({"subsets": {"pooled": np.ones(N, dtype=bool)}}, "pooled"),
        ({"subsets": {"auroc": np.ones(N, dtype=bool)}}, "auroc"),
        ({"subsets": {"half": np.ones(N // 2, dtype=bool)}}, "half"),
        ({"table": {"short": scored(np.zeros(5))}, "claims": []}, "short"),
        ({"label": np.full(N, 2)}, "label"),
        ({"label": np.full(N, -1)}, "labelled"),
        ({"blocks": np.zeros(3, dtype=int)}, "shapes"),
        ({"draws": 0}, "draws"),
    ],
)
def test_wrong_input_is_refused(world: World, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        world.summary(**changes)


@pytest.mark.parametrize(
    ("score", "call", "word"),
    [
        (np.zeros((1, 4)), np.zeros((1, 3)), "shape"),
        (np.zeros((0, 4)), np.zeros((0, 4)), "shape"),
        (np.full((1, 4), np.inf), np.zeros((1, 4)), "infinite"),
        (np.zeros((1, 4)), np.full((1, 4), 0.5), "call"),
    ],
)
def test_wrong_scores_are_refused(score: np.ndarray, call: np.ndarray, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        MethodScores(score, np.zeros_like(score), call)
