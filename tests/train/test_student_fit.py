import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import multivariate_normal

from episode.inference.closed_form import ClosedForm, Scale, View, project, read_support
from episode.inference.level_model import Regression, SupportReading
from episode.train.student_fit import (
    LineScores,
    averaged_scale,
    averaging_factor,
    fit_closed_form,
    fit_scale,
    fit_scales,
)
from episode.train.student_records import Axes, beyond_chance, fit_axes, make_records
from episode.train.student_regression import NATURAL, SlopePrior, fit_regression, fit_scaling
from simulated_lines import CHANNELS, Line, Loci, by_view, simulated_line, simulated_loci


def own_clusters(size: int, locus: np.ndarray | None = None) -> np.ndarray:
    """Clusters of pairs with a promoter each, and a locus each or those given."""
    return np.column_stack([np.arange(size) if locus is None else locus, np.arange(size)]).astype(np.int64)


def cells(name: str, counts: Sequence[tuple[float, int, int]], unknown: int = 0) -> LineScores:
    """A line with (score, positives, negatives), and unlabelled pairs at a score far away."""
    potential = [score for score, positive, negative in counts for _ in range(positive + negative)]
    label = [label for _, positive, negative in counts for label in [1] * positive + [0] * negative]
    size = len(label) + unknown
    return LineScores(
        environment=name,
        potential=np.array(potential + [50.0] * unknown),
        label=np.array(label + [-1] * unknown, dtype=np.int8),
        clusters=own_clusters(size),
        composition=np.zeros((size, 1), dtype=np.float32),
    )


def shuffled(line: LineScores, rng: np.random.Generator) -> LineScores:
    order = rng.permutation(len(line.potential))
    return LineScores(
        line.environment, line.potential[order], line.label[order], line.clusters[order], line.composition[order]
    )


def lines_of(kind: str, count: int, seed: int, **options: float) -> list[Line]:
    """Lines of a kind: label shift, concept shift, both, or scores that mislead."""
    rng = np.random.default_rng(seed)
    shift = 0.0 if kind == "concept" else 0.8
    concept = 0.4 if kind in ("concept", "both") else 0.0
    return [
        simulated_line(
            f"line {index:02d}",
            rng,
            score_shift=shift * rng.normal(),
            carried=kind != "misleading",
            concept=concept,
            noise=0.3 if kind == "misleading" else 0.1,
        )
        for index in range(count)
    ]


def forecasts(form: ClosedForm, lines: Sequence[Line], view: View = "new") -> tuple[np.ndarray, np.ndarray]:
    """Forecast and half width of each line."""
    found = []
    for line in lines:
        scores = line.scores[view]
        found.append(form.forecast(form.read(view, scores.potential, scores.composition, scores.clusters), view))
    return np.array([result.level for result in found]), np.array([result.half_width for result in found])


def raw(line: LineScores, scale: Scale, axes: Axes) -> SupportReading:
    """Reading of a line as prediction reads it."""
    place = project(line.composition, axes.centre, axes.vectors)
    return read_support(scale.logit(line.potential), scale.prevalence, place, line.clusters)


def mirrored(line: LineScores) -> LineScores:
    return replace(line, composition=-line.composition)


def slope_variance(*at: tuple[int, int]) -> float:
    """Variance of a slope through two cells (positives, negatives) of independent pairs."""
    size = sum(positive + negative for positive, negative in at)
    return sum(1 / positive + 1 / negative for positive, negative in at) * size / (size - 1)


class TestScale:
    def test_two_cells_by_hand(self) -> None:
        # a saturated fit: log-odds 1/4 at 0, 3/4 at 1; unlabelled pairs take no part
        scale = fit_scale([cells("a", [(0.0, 1, 3), (1.0, 3, 1)], unknown=5)])
        assert scale.slope == pytest.approx(2 * math.log(3), abs=1e-6)
        assert scale.intercept == pytest.approx(-math.log(3), abs=1e-6)
        assert (scale.prevalence, scale.nothing_transfers) == (0.5, False)

    def test_the_slope_is_that_inside_lines(self) -> None:
        # odds double from 0 to 1 in both lines, whatever their weights; all pairs together would fall
        low, high = cells("a", [(0.0, 10, 40), (1.0, 100, 200)]), cells("b", [(0.0, 300, 100), (1.0, 60, 10)])
        scale = fit_scale([low, high])
        assert scale.slope == pytest.approx(math.log(2), abs=1e-6) and not scale.nothing_transfers
        assert fit_scale([high, low]) == scale
        one = cells("one", [(0.0, 310, 140), (1.0, 160, 210)])
        assert fit_scale([one]).nothing_transfers

    def test_weights_of_lines_by_hand(self) -> None:
        # 100 pairs weigh 1/200 each, 300 pairs 1/400; odds ratios 8/3 and 6
        small, large = cells("a", [(0.0, 10, 40), (1.0, 20, 30)]), cells("b", [(0.0, 60, 90), (1.0, 120, 30)])
        scale = fit_scale([small, large])
        pulls = []
        for line, weight in ((small, 1 / 200), (large, 1 / 400)):
            rank, label = line.potential, line.label

            def left(level: float, rank: np.ndarray = rank, label: np.ndarray = label) -> float:
                return float((label - expit(scale.slope * rank + level)).sum())

            pulls.append(weight * (rank @ (label - expit(scale.slope * rank + brentq(left, -9, 9)))))
        assert pulls[0] < -0.01 and sum(pulls) == pytest.approx(0, abs=1e-6)
        called = [float((line.label - expit(scale.logit(line.potential))).sum()) for line in (small, large)]
        assert called[0] < -1 and called[0] / 200 + called[1] / 400 == pytest.approx(0, abs=1e-6)
        assert scale.prevalence == pytest.approx((30 / 200 + 180 / 400) / (100 / 200 + 300 / 400))
        assert fit_scale([large, small]) == scale

    def test_a_constant_moves_the_intercept(self) -> None:
        lines = by_view(lines_of("both", 4, seed=3))["new"]
        moved = fit_scale([replace(line, potential=line.potential + 7.5) for line in lines])
        scale = fit_scale(lines)
        assert moved.slope == pytest.approx(scale.slope, rel=1e-6)
        assert moved.intercept == pytest.approx(scale.intercept - 7.5 * scale.slope, rel=1e-6)

    def test_recovers_the_simulated_scale(self) -> None:
        # 1.5 x - 1.125 + logit .3, with u = 0.6 x
        rng = np.random.default_rng(4)
        scale = fit_scale([simulated_line("a", rng, rows=30_000).scores["new"]])
        assert scale.slope == pytest.approx(2.5, abs=0.15)
        assert scale.intercept == pytest.approx(-1.125 + math.log(3 / 7), abs=0.1)

    def test_nothing_transfers(self) -> None:
        scale = fit_scale([cells("a", [(0.0, 3, 1), (1.0, 1, 3)])])
        assert scale.nothing_transfers and scale.slope == 0.02
        constant = fit_scale([cells("a", [(2.0, 1, 3)])])
        assert constant.logit(np.array([2.0])) == pytest.approx(-math.log(3), abs=1e-6)

    def test_one_class(self) -> None:
        with pytest.raises(ValueError, match="4 labelled pairs of 1 lines hold one class"):
            fit_scale([cells("a", [(0.0, 0, 4)])])


class TestAveraging:
    def test_by_hand(self) -> None:
        # variance of the means 1, of their differences 1, hence .5 of one mean: 1 / (.5 + .5 / 4)
        mean, difference = np.array([1.0, -1.0]), np.array([3.0, 1.0])
        assert averaging_factor([mean], [difference], groups=4) == pytest.approx(1.6)
        assert averaging_factor([mean + 5, mean - 2], [difference], groups=2) == pytest.approx(4 / 3)

    def test_groups_that_agree_but_for_their_level(self) -> None:
        mean = np.random.default_rng(5).normal(size=50)
        assert averaging_factor([mean], [np.full(9, 3.0)], groups=9) == 1.0
        assert averaging_factor([mean], [], groups=9) == 1.0
        assert averaging_factor([np.ones(4)], [np.ones(3)], groups=5) == 1.0

    def test_noise_is_at_most_all_there_is(self) -> None:
        assert averaging_factor([np.array([1.0, -1.0])], [np.array([9.0, -9.0])], groups=5) == pytest.approx(5)

    def test_ratio_of_slopes(self) -> None:
        # signal 1, noise 2 a group: slopes of labels on means of one and of five
        rng = np.random.default_rng(6)
        signal = rng.normal(size=40_000)
        groups = signal + math.sqrt(2) * rng.normal(size=(5, 40_000))
        factor = averaging_factor([groups[0]], [groups[1] - groups[2], groups[3] - groups[4]], groups=5)
        assert factor == pytest.approx(3 / 1.4, rel=0.02)
        slopes = [np.polyfit(mean, signal, 1)[0] for mean in (groups[0], groups.mean(0))]
        assert slopes[1] / slopes[0] == pytest.approx(factor, rel=0.03)

    def test_levels_of_lines_are_no_noise(self) -> None:
        rng = np.random.default_rng(7)
        means, differences = list(rng.normal(size=(3, 1000))), list(rng.normal(size=(2, 500)))
        moved = [mean + 10 * number for number, mean in enumerate(means)], [found - 4 for found in differences]
        assert averaging_factor(*moved, groups=6) == pytest.approx(averaging_factor(means, differences, groups=6))

    def test_a_line_of_one_class_moves_nothing(self) -> None:
        lines = [cells("a", [(0.0, 10, 40), (1.0, 20, 30)]), cells("b", [(0.0, 30, 20), (2.0, 10, 10)])]
        assert fit_scale([*lines, cells("c", [(1.0, 0, 500)])]) == fit_scale(lines)
        pooled = fit_scale([cells("c", [(1.0, 0, 30), (0.0, 0, 20)]), cells("d", [(1.0, 20, 0), (0.0, 30, 0)])])
        assert pooled.prevalence == pytest.approx(0.5)

    def test_the_mean_of_the_table_stays(self) -> None:
        lines = [cells("a", [(0.0, 10, 40), (1.0, 20, 30)]), cells("b", [(3.0, 60, 90), (1.0, 120, 30)], unknown=9)]
        scale = fit_scale(lines)
        moved = averaged_scale(scale, lines, 1.5)
        assert moved.slope == pytest.approx(1.5 * scale.slope)
        mean = (50 / 200 * 0 + 50 / 200 * 1 + 150 / 400 * 3 + 150 / 400 * 1) / (100 / 200 + 300 / 400)
        assert moved.logit(np.array([mean])) == pytest.approx(scale.logit(np.array([mean])))
        assert moved.prevalence == scale.prevalence

    @pytest.mark.parametrize("wrong", [np.array([math.nan, 1.0]), np.array([math.inf, 1.0])])
    def test_wrong_input(self, wrong: np.ndarray) -> None:
        for means, differences in (([wrong], []), ([np.ones(2)], [wrong])):
            with pytest.raises(ValueError, match="finite"):
                averaging_factor(means, differences, groups=2)


def by_evidence(found: Regression, records: tuple[np.ndarray, ...], prior: SlopePrior) -> tuple[np.ndarray, ...]:
    """Moments of the coefficients from the 40 marginal densities and dense covariances, one after another."""
    level, level_se, reading, se = records
    rows, noise = found.scaling.regressors(reading, se)
    columns, parts = rows.shape[1], []
    for (centre, sd, share), tau, sigma in product(
        ((0.0, 0.0, prior.null), (1.0, prior.sd, 1 - prior.null)), (0, 0.25, 0.5, 1), (0.05, 0.1, 0.2, 0.4, 0.8)
    ):
        mean = np.array([0.0, centre, *[0.0] * (columns - 2)])
        covariance = np.diag([0.25, sd**2, *[tau**2] * (columns - 2)])
        own = level_se**2 + sigma**2 + noise @ np.array([0, centre**2 + sd**2, *[tau**2] * (columns - 2)])
        total = rows @ covariance @ rows.T + np.diag(own)
        gain = covariance @ rows.T @ np.linalg.inv(total)
        evidence = share * multivariate_normal(rows @ mean, total).pdf(level)
        parts.append((evidence, mean + gain @ (level - rows @ mean), covariance - gain @ rows @ covariance, sigma))
    weight = np.array([part[0] for part in parts])
    weight /= weight.sum()
    means = np.array([part[1] for part in parts])
    mean = weight @ means
    second = sum(w * (part[2] + np.outer(part[1], part[1])) for w, part in zip(weight, parts, strict=True))
    return mean, second - np.outer(mean, mean), weight @ np.array([part[3] ** 2 for part in parts]), weight[20:].sum()


class TestRegression:
    @pytest.mark.parametrize("prior", [NATURAL, SlopePrior(null=0.5, sd=0.5)])
    @pytest.mark.parametrize(("lines", "axes"), [(2, 1), (7, 3), (5, 0)])
    def test_equals_dense_posteriors(self, lines: int, axes: int, prior: SlopePrior) -> None:
        rng = np.random.default_rng(lines)
        records = (
            rng.normal(size=lines),
            rng.uniform(0.05, 0.3, lines),
            rng.normal(size=(lines, 1 + axes)),
            rng.uniform(0.05, 0.5, (lines, 1 + axes)),
        )
        found = fit_regression(*records, prior=prior)
        mean, covariance, residual, gate = by_evidence(found, records, prior)
        np.testing.assert_allclose(found.coefficient, mean, atol=1e-9)
        np.testing.assert_allclose(found.covariance, covariance, atol=1e-9)
        assert (found.residual, found.gate) == (pytest.approx(residual), pytest.approx(gate))

    def test_many_fits_at_once_equal_single_ones(self) -> None:
        rng = np.random.default_rng(8)
        level, reading = rng.normal(size=(3, 6)), rng.normal(size=(3, 6, 3))
        level_se, se = rng.uniform(0.1, 0.3, 6), rng.uniform(0.1, 0.3, (6, 3))
        together = fit_regression(level, level_se, reading, se, prior=NATURAL)
        query = (np.array([0.7, 0.3, -1.0]), np.array([0.2, 0.1, 0.1]))
        for index in range(3):
            alone = fit_regression(level[index], level_se, reading[index], se, prior=NATURAL)
            mean, variance = together.predict(*query)
            assert (mean[index], variance[index]) == pytest.approx(alone.predict(*query))

    def test_scaling_by_hand(self) -> None:
        reading, se = np.array([[-1.0, 1.0], [0.0, 3.0], [4.0, 5.0]]), np.tile([0.5, 1.0], (3, 1))
        found = fit_scaling(reading, se)
        assert found.mean.tolist() == [1.0, 3.0]
        assert found.limit.tolist() == [3 * 3.0, 1.5 * 2.0]
        # squares 4 + 1 + 9, one line's worth of prior .5 with noise .25 added, over 3; then the noise taken off
        shift, axis = (14 + 0.5 + 0.25) / 3 - 0.25, 4 - 1
        # products 4 + 0 + 6; two lines more that show no correlation, beside two degrees of freedom
        together = 10 / math.sqrt(14 * 8) * 2 / 4 * math.sqrt(shift * axis)
        np.testing.assert_allclose(found.between, [[shift, together], [together, axis]])
        np.testing.assert_allclose(found.unit, [1.0, math.sqrt((1 - 1 / 4) / axis)])

    def test_readings_of_two_lines_are_not_held_to_be_one(self) -> None:
        # two lines always lie on a line: the correlation is drawn to 1 / 3, and the shift's variance is not 0
        found = fit_scaling(np.array([[0.0, 0.0], [2.0, -3.0]]), np.full((2, 2), 0.1))
        correlation = found.between[0, 1] / math.sqrt(found.between[0, 0] * found.between[1, 1])
        assert correlation == pytest.approx(-1 / 3)

    def test_lines_that_read_alike_have_a_scaling(self) -> None:
        found = fit_scaling(np.ones((4, 3)), np.full((4, 3), 0.2))
        rows, noise = found.regressors(np.array([[1.0, 1.0, 7.0]]), np.array([[0.2, 0.2, np.inf]]))
        assert np.isfinite(rows).all() and np.isfinite(noise).all()
        np.testing.assert_allclose(rows[0, 2:], 0, atol=1e-6)
        np.testing.assert_allclose(noise[0, 2:], 0, atol=1e-6)


class TestAxes:
    def test_finds_the_direction_that_lines_differ_in(self) -> None:
        rng = np.random.default_rng(9)
        lines = []
        for index in range(8):
            composition = rng.normal(size=(2_000, 5))
            composition[:, 1] = 3 * (composition[:, 1] + index / 4)
            composition[:, 3] = 5.0
            lines.append(replace(cells(f"{index}", [(0.0, 1_000, 1_000)]), composition=composition.astype(np.float32)))
        axes = fit_axes(lines, 4)
        assert axes.vectors.shape == (5, 4)
        # lines lie 1/4 apart in standard deviations of a pair: the channel's own sd, 3, is divided out
        place = [float(((line.composition.mean(axis=0) - axes.centre) @ axes.vectors)[0]) for line in lines]
        steps = np.diff(place) * np.sign(place[-1])
        np.testing.assert_allclose(steps, 0.25, atol=0.08)
        np.testing.assert_array_equal(axes.vectors[3], 0)
        assert fit_axes(lines[:2], 4).vectors.shape == (5, 1)
        assert fit_axes(lines[:1], 4).vectors.shape == (5, 0)

    def test_channels_that_differ_by_chance_get_no_weight(self) -> None:
        rng = np.random.default_rng(10)
        lines = [
            replace(cells(f"{index}", [(0.0, 1, 1)] * 200), composition=rng.normal(size=(400, 30)).astype(np.float32))
            for index in range(12)
        ]
        clear = [replace(line, composition=line.composition + np.float32(index)) for index, line in enumerate(lines)]
        by_chance, kept = (np.abs(fit_axes(same, 1).vectors).sum() for same in (lines, clear))
        assert by_chance < 0.5 * kept

    def test_pairs_of_one_locus_are_no_evidence(self) -> None:
        # the same pairs fifty times over: without the clustering their variance would count as that of a line
        rng = np.random.default_rng(11)
        lines = []
        for index in range(10):
            few = rng.normal(size=(8, 20))
            line = replace(
                cells(f"{index}", [(0.0, 1, 1)] * 200), composition=np.repeat(few, 50, axis=0).astype(np.float32)
            )
            lines.append(replace(line, clusters=own_clusters(400, np.repeat(np.arange(8), 50))))
        clustered = np.count_nonzero(fit_axes(lines, 1).vectors)
        apart = np.count_nonzero(fit_axes([replace(line, clusters=own_clusters(400)) for line in lines], 1).vectors)
        assert apart == 20 and clustered < 20


class TestRecords:
    def test_levels_are_those_simulated(self) -> None:
        lines = lines_of("both", 8, seed=12)
        views = by_view(lines)
        records, offsets = make_records(
            views, {view: fit_scale(same) for view, same in views.items()}, fit_axes(views["new"], 4)
        )
        true = np.array([line.level for line in lines])
        error = (records.level - true) - (records.level - true).mean()
        assert np.abs(error / records.level_se).max() < 3
        assert set(offsets) == {"shared", "new"} and offsets["new"].level == 0

    def test_level_is_the_best_and_its_error_fisher_s(self) -> None:
        view: View = "new"
        lines = by_view(lines_of("both", 3, seed=52))[view]
        scale = fit_scale(lines)
        records, _ = make_records({view: lines}, {view: scale}, fit_axes(lines, 2))
        for line, level, level_se in zip(lines, records.level, records.level_se, strict=True):
            probability = 1 / (1 + np.exp(-scale.logit(line.potential) - level))
            assert (line.label - probability).sum() == pytest.approx(0, abs=1e-6)
            assert level_se == pytest.approx(1 / math.sqrt((probability * (1 - probability)).sum()))

    def test_views_are_pooled_by_their_information(self) -> None:
        views = by_view(lines_of("both", 4, seed=53))
        scales, axes = {view: fit_scale(same) for view, same in views.items()}, fit_axes(views["new"], 2)
        scales["shared"] = replace(scales["shared"], intercept=scales["shared"].intercept + 0.9)
        pooled, offsets = make_records(views, scales, axes)
        new, shared = (make_records({view: views[view]}, scales, axes)[0] for view in ("new", "shared"))
        weight = [1 / new.level_se**2, 1 / shared.level_se**2]
        level = np.average([new.level, shared.level - offsets["shared"].level], axis=0, weights=weight)
        np.testing.assert_allclose(pooled.level, level, atol=1e-9)
        np.testing.assert_allclose(pooled.level_se, 1 / np.sqrt(sum(weight)), rtol=1e-6)
        here, there = ([raw(line, scales[view], axes).numbers for line in views[view]] for view in ("new", "shared"))
        place, place_se = (np.array([[view[part] for view in both] for both in (here, there)]) for part in (0, 1))
        apart = np.array([offsets["shared"].shift, 0, 0])
        assert apart[0] > 0.1
        reading = np.average([place[0], place[1] - apart], axis=0, weights=1 / place_se**2)
        np.testing.assert_allclose(np.column_stack([pooled.shift, pooled.axes]), reading, atol=1e-6)
        # what the errors of two lines have in common is no part of a record's own: the variance of a mean of four is
        # a quarter of a line's and three quarters of that; a tenth stays a line's own
        both_variance = 1 / (1 / place_se**2).sum(axis=0)
        common = np.append(offsets["new"].shift_se, offsets["new"].axes_se)
        shared = np.maximum(0, (4 * common**2 - both_variance.mean(axis=0)) / 3)
        own = np.maximum(both_variance - shared, 0.1 * both_variance)
        np.testing.assert_allclose(np.column_stack([pooled.shift_se, pooled.axes_se]), np.sqrt(own), rtol=1e-6)

    def test_level_between_views_by_hand(self) -> None:
        # one line, scores that say nothing: levels 0 and log 3, of variance 1 / ((n - 1) p (1 - p)) by their pairs
        scales: dict[View, Scale] = {"new": Scale(1.0, 0.0, 0.5), "shared": Scale(1.0, 0.0, 0.5)}
        axes = Axes(np.zeros(1), np.zeros((1, 0)))
        views: dict[View, list[LineScores]] = {
            "new": [cells("a", [(0.0, 30, 30)], unknown=0)],
            "shared": [cells("a", [(0.0, 60, 20)], unknown=0)],
        }
        variance = 1 / (59 / 4) + 1 / (79 * 3 / 16)
        offset = make_records(views, scales, axes)[1]["shared"]
        assert offset.level == pytest.approx(math.log(3) - variance / math.log(3), abs=1e-6)
        alike: dict[View, list[LineScores]] = {**views, "shared": [cells("a", [(0.0, 41, 39)])]}
        assert make_records(alike, scales, axes)[1]["shared"].level == 0

    def test_offset_between_views(self) -> None:
        lines = lines_of("label", 6, seed=13)
        views = by_view(lines)
        scales = {view: fit_scale(same) for view, same in views.items()}
        axes = fit_axes(views["new"], 2)
        new, shared = (make_records({view: views[view]}, scales, axes)[0] for view in ("new", "shared"))
        precision = 1 / (new.level_se**2 + shared.level_se**2)
        apart = np.average(shared.level - new.level, weights=precision)
        assert abs(apart) < 0.2
        before, _ = make_records({"new": views["new"], "shared": views["shared"]}, scales, axes)
        taken = []
        for constant in (0.6, 1.2, 2.4):
            moved = {**scales, "shared": replace(scales["shared"], intercept=scales["shared"].intercept + constant)}
            after, offsets = make_records(views, moved, axes)
            taken.append((apart - constant - offsets["shared"].level) * (apart - constant))
            # of the constant that much remains which chance would make of none
            assert np.abs(after.level - before.level).max() < abs(apart) + taken[-1] / constant
            assert offsets["new"].level == offsets["new"].shift == 0
        np.testing.assert_allclose(taken, taken[0], rtol=1e-4)
        # pairs of these lines are independent but for their scores: the clustered variance is about Fisher's
        assert taken[0] == pytest.approx(1 / precision.sum(), rel=0.3)

    def test_the_error_that_lines_have_in_common_by_hand(self) -> None:
        # two loci of 20 pairs at +1 and -1: sums of 20 / 40 a locus, so a mean of variance (1/4 + 1/4) * 2. A promoter
        # a pair adds nothing to that, for its pairs lie at one locus. The shift of scores that say nothing has no pull
        scale, axes = Scale(1.0, 0.0, 0.5), Axes(np.zeros(1), np.ones((1, 1)))

        def line(name: str, locus: int) -> LineScores:
            found = replace(cells(name, [(0.0, 20, 20)]), clusters=own_clusters(40, locus + np.arange(40) // 20))
            return replace(found, composition=np.repeat([[1.0], [-1.0]], 20, axis=0).astype(np.float32))

        alike, same = make_records({"new": [line("a", 0), line("b", 0)]}, {"new": scale}, axes)
        assert same["new"].axes_se == pytest.approx([1.0])
        np.testing.assert_allclose(alike.axes_se, math.sqrt(0.1))  # all is common: a tenth is kept
        assert same["new"].shift_se == pytest.approx(0, abs=1e-12)
        np.testing.assert_allclose(alike.shift_se, 1.5)
        # of one locus in common, sums of 1/2, -1/4 and -1/4: 3/8 * 3 / 2
        chained, one = make_records({"new": [line("a", 0), mirrored(line("b", 1))]}, {"new": scale}, axes)
        assert one["new"].axes_se == pytest.approx([math.sqrt(6 / 16 * 3 / 2)])
        np.testing.assert_allclose(chained.axes_se, math.sqrt(1 - (2 * 9 / 16 - 1)))

    def test_the_error_in_common_is_that_of_new_loci_alone(self) -> None:
        rng = np.random.default_rng(54)
        loci = simulated_loci("train", rng, 20, composition=1.0, score=0.5)
        lines = [simulated_line(f"line {index}", rng, rows=600, loci=loci) for index in range(6)]
        views = by_view(lines)
        scales, axes = fit_scales(views), fit_axes(views["new"], 2)
        records, offsets = make_records(views, scales, axes)
        assert offsets["new"].shift_se > 0.03 and (offsets["new"].axes_se > 0).all()
        assert offsets["shared"].shift_se == 0 and (offsets["shared"].axes_se == 0).all()
        form = fit_closed_form(views, seed=0)
        assert form.offsets["new"].shift_se > 0
        reading = replace(records.reading(0), size=9, axes=np.zeros(form.vectors.shape[1]))
        reading = replace(reading, axes_se=np.full(form.vectors.shape[1], 0.05))
        blind = replace(
            form, offsets={view: replace(o, shift_se=0.0, axes_se=0 * o.axes_se) for view, o in form.offsets.items()}
        )
        assert form.forecast(reading, "new").sd > blind.forecast(reading, "new").sd
        assert form.forecast(reading, "shared") == blind.forecast(reading, "shared")

    def test_readings_at_loci_of_their_own_err_by_what_is_told(self) -> None:
        # lines that do not differ: between training lines readings vary by their own error, at other loci by both
        among, told, full, elsewhere, new = [], [], [], [], []
        axes = Axes(np.zeros(CHANNELS), np.random.default_rng(0).normal(size=(CHANNELS, 2)))
        scale = Scale(2.5, -1.125 + math.log(3 / 7), 0.3)

        def line(name: str, rng: np.random.Generator, loci: Loci) -> LineScores:
            return simulated_line(name, rng, shown=0.0, loci=loci).scores["new"]

        for seed in range(100):
            rng = np.random.default_rng([55, seed])
            train, test = (simulated_loci(name, rng, 25, composition=1.0, score=0.5) for name in ("train", "test"))
            lines = [line(f"line {index}", rng, train) for index in range(6)]
            records, offsets = make_records({"new": lines}, {"new": scale}, axes)
            reading = np.column_stack([records.shift, records.axes])
            own = np.column_stack([records.shift_se, records.axes_se])
            found, se = raw(line("new", rng, test), scale, axes).numbers
            common = np.append(offsets["new"].shift_se, offsets["new"].axes_se)
            among.append(np.square(reading - reading.mean(axis=0)).mean(axis=0))
            told.append(np.square(own).mean(axis=0))
            full.append(np.mean([raw(line, scale, axes).numbers[1] ** 2 for line in lines], axis=0))
            elsewhere.append(np.square(found - reading.mean(axis=0)))
            new.append(se**2 + common**2)
        spread, told, full, elsewhere, new = (np.mean(part, axis=0) for part in (among, told, full, elsewhere, new))
        between, without = np.sqrt(spread / told), np.sqrt(spread / full)
        assert (between > 0.75).all() and (between < 1.15).all() and (without < 0.65).all()
        apart, alone = np.sqrt(elsewhere / new), np.sqrt(elsewhere / full)
        assert (apart > 0.85).all() and (apart < 1.15).all() and (alone > 1.15).all()


class TestBeyondChance:
    def test_by_hand(self) -> None:
        difference, variance = [2.0, -2.0, 1.0, 0.5, 3.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
        found = beyond_chance(difference, variance)
        np.testing.assert_allclose(found, [1.5, -1.5, 0.0, 0.0, 3.0, 0.0, 0.0])
        assert beyond_chance(5.0, np.inf) == 0

    def test_errs_less_than_the_difference(self) -> None:
        # where there is no difference; a large one keeps its error
        noise = np.random.default_rng(56).normal(size=20_000)
        assert np.square(beyond_chance(noise, np.ones(20_000))).mean() < 0.7
        assert np.square(beyond_chance(noise + 20, np.ones(20_000)) - 20).mean() == pytest.approx(1, rel=0.04)


class TestScales:
    def two(self, shared: Sequence[tuple[float, int, int]], new: Sequence[tuple[float, int, int]]) -> Any:
        views: dict[View, list[LineScores]] = {"shared": [cells("a", shared)], "new": [cells("a", new)]}
        return fit_scales(views), {view: fit_scale(lines) for view, lines in views.items()}

    def test_views_that_agree_up_to_noise_become_one(self) -> None:
        both, alone = self.two([(0.0, 100, 400), (1.0, 200, 300)], [(0.0, 12, 38), (1.0, 19, 31)])
        assert both["shared"].slope == pytest.approx(both["new"].slope)
        assert both["shared"].intercept == pytest.approx(both["new"].intercept)
        assert both["shared"].prevalence == pytest.approx(both["new"].prevalence)
        # log-odds of a prevalence have variance 1 / ((n - 1) p (1 - p)), a slope through two cells the sum of theirs
        information = np.array([999 * 0.3 * 0.7, 99 * 0.31 * 0.69])
        odds = np.average([math.log(0.3 / 0.7), math.log(0.31 / 0.69)], weights=information)
        assert both["new"].prevalence == pytest.approx(1 / (1 + math.exp(-odds)), abs=1e-9)
        large, small = slope_variance((100, 400), (200, 300)), slope_variance((12, 38), (19, 31))
        slopes = [alone["shared"].slope, alone["new"].slope]
        assert both["new"].slope == pytest.approx(np.average(slopes, weights=[1 / large, 1 / small]), abs=1e-5)
        # the likelihood ratio at the mean score, 1/2: the mean log-odds of both cells, less those of the prevalence
        ratio = {}
        for view, cell in (("shared", ((100, 400), (200, 300))), ("new", ((12, 38), (19, 31)))):
            size, positive = sum(map(sum, cell)), sum(one for one, _ in cell)
            even = positive / size
            squares = 0.0
            for one, none in cell:
                rate, pull = one / (one + none), 0.5 / (one + none)
                for label, count in ((1, one), (0, none)):
                    own, all_pairs = (label - rate) / (rate * (1 - rate)), (label - even) / (even * (1 - even))
                    squares += count * (own * pull - all_pairs / size) ** 2
            level = sum(math.log(one / none) for one, none in cell) / 2 - math.log(even / (1 - even))
            ratio[view] = (level, size / (size - 1) * squares)
        (level, variance), (other, other_variance) = ratio.values()
        pooled = np.average([level, other], weights=[1 / variance, 1 / other_variance])
        assert both["new"].logit(np.array([0.5]))[0] - odds == pytest.approx(pooled, abs=1e-6)

    def test_views_that_differ_by_much_stay(self) -> None:
        both, alone = self.two([(0.0, 100, 400), (1.0, 200, 300)], [(0.0, 350, 150), (1.0, 490, 10)])
        variance = slope_variance((100, 400), (200, 300)) + slope_variance((350, 150), (490, 10))
        apart = alone["new"].slope - alone["shared"].slope
        assert both["new"].slope - both["shared"].slope == pytest.approx(apart - variance / apart, abs=1e-5)
        odds = [math.log(scale.prevalence / (1 - scale.prevalence)) for scale in both.values()]
        far = math.log(840 / 160) - math.log(3 / 7)
        noise = 1 / (999 * 0.3 * 0.7) + 1 / (999 * 0.84 * 0.16)
        assert abs(odds[0] - odds[1]) == pytest.approx(far - noise / far, abs=1e-6)
        for view, scale in both.items():
            assert 0 < abs(scale.slope - alone[view].slope) < variance / apart
            assert scale.prevalence == pytest.approx(alone[view].prevalence, abs=0.002)
            at = np.array([0.0, 1.0])
            np.testing.assert_allclose(scale.logit(at), alone[view].logit(at), atol=0.1)

    def test_pairs_of_few_loci_are_little_evidence(self) -> None:
        # of the same pairs, some at few loci: the scale is drawn to the view of many
        rng = np.random.default_rng(57)
        shared, new = (simulated_line("a", rng, rows=2_700).scores[view] for view in ("shared", "new"))
        few = replace(new, clusters=own_clusters(900, np.argsort(np.argsort(new.potential + new.label)) // 225))
        alone = {view: fit_scale([line]) for view, line in (("shared", shared), ("new", new))}
        by_many, by_few = (fit_scales({"shared": [shared], "new": [line]})["new"] for line in (new, few))
        odds = [math.log(s.prevalence / (1 - s.prevalence)) for s in (alone["shared"], by_few, by_many, alone["new"])]
        assert abs(odds[1] - odds[0]) < 0.5 * abs(odds[2] - odds[0])

    def test_a_single_locus_is_none(self) -> None:
        lines = by_view(lines_of("label", 3, seed=58))
        lone = [replace(line, clusters=0 * line.clusters) for line in lines["new"]]
        found = fit_scales({"shared": lines["shared"], "new": lone})
        alone = fit_scale(lines["shared"])
        for scale in found.values():
            assert (scale.slope, scale.intercept) == pytest.approx((alone.slope, alone.intercept), rel=1e-6)
            assert scale.prevalence == pytest.approx(alone.prevalence, rel=1e-6)
        nowhere = [replace(line, clusters=0 * line.clusters) for line in lines["shared"]]
        halfway = fit_scales({"shared": nowhere, "new": lone})
        slopes = [fit_scale(same).slope for same in (nowhere, lone)]
        assert halfway["new"].slope == halfway["shared"].slope == pytest.approx(np.mean(slopes))

    def test_labels_that_are_even_in_all_loci(self) -> None:
        # no variance between loci at all: what differs stays
        def even(pairs: int) -> LineScores:
            line = cells("a", [(0.0, 1, 3), (1.0, 3, 1)] * pairs)
            return replace(line, clusters=np.column_stack([np.arange(8 * pairs) // 8] * 2))

        one, other = even(5), replace(even(7), potential=2 * even(7).potential)
        found = fit_scales({"shared": [one], "new": [other]})
        assert found["shared"].slope == pytest.approx(2 * math.log(3), abs=1e-5)
        assert found["new"].slope == pytest.approx(math.log(3), abs=1e-5)
        assert [scale.prevalence for scale in found.values()] == pytest.approx([0.5, 0.5])

    def test_scores_that_are_constant(self) -> None:
        both, _ = self.two([(2.0, 30, 30)], [(2.0, 29, 31)])
        for scale in both.values():
            assert scale.logit(np.array([2.0])) == pytest.approx(math.log(59 / 61), abs=0.02)

    def test_where_nothing_transfers_the_mark_stays(self) -> None:
        both, alone = self.two([(0.0, 1000, 4000), (1.0, 2000, 3000)], [(0.0, 300, 200), (1.0, 200, 300)])
        assert alone["new"].nothing_transfers and not alone["shared"].nothing_transfers
        assert [scale.nothing_transfers for scale in both.values()] == [True, False]
        assert 0.02 <= both["new"].slope < both["shared"].slope

    def test_where_nothing_transfers_at_all_chance_does_not_set_the_views_apart(self) -> None:
        both, alone = self.two([(0.0, 110, 390), (1.0, 100, 400)], [(0.0, 12, 38), (1.0, 11, 39)])
        assert [scale.nothing_transfers for scale in both.values()] == [True, True]
        assert alone["new"].intercept != pytest.approx(alone["shared"].intercept, abs=0.02)
        assert both["new"].intercept == pytest.approx(both["shared"].intercept, abs=1e-6)
        assert [scale.slope for scale in both.values()] == pytest.approx([0.02, 0.02])

    def test_one_view_stays(self) -> None:
        line = cells("a", [(0.0, 10, 40), (1.0, 20, 30)])
        assert fit_scales({"new": [line]}) == {"new": fit_scale([line])}

    def test_order_does_not_matter(self) -> None:
        views, rng = by_view(lines_of("both", 5, seed=59)), np.random.default_rng(60)
        found = fit_scales(views)
        assert fit_scales({"new": views["new"][::-1], "shared": views["shared"][::-1]}) == found
        rows = fit_scales({view: [shuffled(line, rng) for line in same] for view, same in views.items()})
        for view, scale in found.items():
            assert (rows[view].slope, rows[view].intercept) == pytest.approx((scale.slope, scale.intercept), rel=1e-5)

    def test_a_constant_and_a_factor_of_all_potentials_change_nothing(self) -> None:
        views = by_view(lines_of("both", 4, seed=61))
        moved = {
            view: [replace(line, potential=3 * line.potential - 7) for line in same] for view, same in views.items()
        }
        found, again = fit_scales(views), fit_scales(moved)
        for view, scale in found.items():
            for line, other in zip(views[view], moved[view], strict=True):
                np.testing.assert_allclose(again[view].logit(other.potential), scale.logit(line.potential), atol=1e-4)


class TestFit:
    @pytest.mark.parametrize("kind", ["label", "both", "concept"])
    def test_unseen_lines(self, kind: str) -> None:
        form = fit_closed_form(by_view(lines_of(kind, 16, seed=16)), seed=0)
        unseen = lines_of(kind, 30, seed=17)
        true = np.array([line.level for line in unseen])
        for view in form.scales:
            level, _ = forecasts(form, unseen, view)
            explained = 1 - np.mean((level - true - np.mean(level - true)) ** 2) / np.var(true)
            assert explained > 0.6
            assert abs(np.mean(level - true)) < 0.25

    def test_the_gate(self) -> None:
        label, misleading = (
            fit_closed_form(by_view(lines_of(kind, 16, 18)), seed=0) for kind in ("label", "misleading")
        )
        assert label.model is not None and misleading.model is not None
        assert label.model.natural.gate > 0.99 and label.model.natural.coefficient[1] > 0.7
        assert misleading.model.natural.gate < 0.2 and abs(misleading.model.natural.coefficient[1]) < 0.1

    def test_coverage_of_unseen_lines(self) -> None:
        inside: list[bool] = []
        for seed, kind in enumerate(("label", "both", "concept", "misleading")):
            form = fit_closed_form(by_view(lines_of(kind, 10, seed=20 + seed)), seed=0)
            unseen = lines_of(kind, 30, seed=30 + seed)
            level, half_width = forecasts(form, unseen)
            inside.extend(np.abs(level - [line.level for line in unseen]) <= half_width)
            assert 0.8 <= form.left_out.coverage <= 1
        assert 0.85 <= np.mean(inside) <= 0.99

    def test_coverage_at_loci_that_no_training_line_has(self) -> None:
        # training lines share eight loci, which read alike in all of them; each unseen line has eight of its own
        inside: list[bool] = []
        wider: list[float] = []
        for seed in range(8):
            rng = np.random.default_rng([62, seed])
            train, *own = (simulated_loci(f"{number}", rng, 8, composition=2.0, score=0.5) for number in range(13))
            lines = [
                simulated_line(f"line {index}", rng, concept=0.8, noise=0.05, shown=1.0, loci=loci)
                for index, loci in enumerate([train] * 8 + own)
            ]
            form, unseen = fit_closed_form(by_view(lines[:8]), seed=0), lines[8:]
            level, half_width = forecasts(form, unseen)
            inside.extend(np.abs(level - [line.level for line in unseen]) <= half_width)
            none = {view: replace(one, shift_se=0.0, axes_se=0 * one.axes_se) for view, one in form.offsets.items()}
            wider.extend(half_width / forecasts(replace(form, offsets=none), unseen)[1])
        assert 0.85 <= np.mean(inside) <= 0.98
        assert np.median(wider) > 1.04

    def test_a_shift_outside_the_training_range(self) -> None:
        # five lines of equal prevalence, then lines shifted by 1.4: training alone has no evidence for it
        rng = np.random.default_rng(40)
        train = [simulated_line(f"line {index}", rng, noise=0.05) for index in range(5)]
        unseen = [simulated_line(f"new {index}", rng, score_shift=1.4, noise=0.05) for index in range(8)]
        form = fit_closed_form(by_view(train), seed=0)
        assert form.model is not None and form.model.outside_prior > 0.8
        assert form.model.transfer == pytest.approx(0.9, abs=0.15)
        alone = fit_closed_form({"new": by_view(train)["new"]}, seed=0)
        cases: tuple[tuple[ClosedForm, View], ...] = ((form, "shared"), (alone, "new"))
        for one, view in cases:
            level, half_width = forecasts(one, unseen, view)
            assert (level > 0.9).all() and level.mean() == pytest.approx(1.4, abs=0.25)
            assert (np.abs(level - [line.level for line in unseen]) < half_width).all()
            stayed, _ = forecasts(one, [simulated_line(f"as before {index}", rng) for index in range(8)], view)
            assert np.abs(stayed).mean() < 0.25
        # with both views, scores at new loci may have shifted by themselves
        natural = replace(form, model=replace(form.model, outside_prior=0.0))
        level, half_width = forecasts(form, unseen)
        assert (level < 0.7).all() and (np.abs(level - [line.level for line in unseen]) < half_width).all()
        np.testing.assert_array_equal(level, forecasts(natural, unseen)[0])

    def test_spread_prevalences_make_a_move_outside_unlikely(self) -> None:
        form = fit_closed_form(by_view(lines_of("label", 12, seed=41)), seed=0)
        assert form.model is not None and form.model.outside_prior < 0.3

    def test_order_does_not_matter(self) -> None:
        lines = lines_of("both", 6, seed=42)
        views, rng = by_view(lines), np.random.default_rng(43)
        form = fit_closed_form(views, seed=0)
        backwards: dict[View, list[LineScores]] = {"new": views["new"][::-1], "shared": views["shared"][::-1]}
        again = fit_closed_form(backwards, seed=0).arrays()
        for name, array in form.arrays().items():
            np.testing.assert_array_equal(again[name], array)
        rows = fit_closed_form({view: [shuffled(line, rng) for line in same] for view, same in views.items()}, seed=0)
        for name, array in form.arrays().items():
            np.testing.assert_allclose(rows.arrays()[name], array, rtol=1e-5, atol=1e-6, err_msg=name)

    def test_the_seed_moves_the_draws_alone(self) -> None:
        views = by_view(lines_of("both", 6, seed=44))
        one, other = (fit_closed_form(views, seed=seed).arrays() for seed in (0, 1))
        differ = {name for name in one if not np.array_equal(one[name], other[name])}
        assert "resampled.coefficient" in differ
        assert not any(name.startswith(("natural", "model", "scale", "vectors")) for name in differ)

    def test_a_constant_in_all_potentials_changes_nothing(self) -> None:
        lines = lines_of("label", 5, seed=45)
        views = by_view(lines)
        moved: dict[View, list[LineScores]] = {
            view: [replace(line, potential=line.potential - 4.0) for line in same] for view, same in views.items()
        }
        form, other = fit_closed_form(views, seed=0), fit_closed_form(moved, seed=0)
        for view, line in product(views, range(2)):
            one, two = views[view][line], moved[view][line]
            expected = form.forecast(form.read(view, one.potential, one.composition, one.clusters), view)
            found = other.forecast(other.read(view, two.potential, two.composition, two.clusters), view)
            assert (found.level, found.sd) == pytest.approx((expected.level, expected.sd), abs=1e-5)

    def test_left_out_lines_are_forecast_by_the_others(self) -> None:
        lines = lines_of("label", 5, seed=46)
        views = by_view(lines)
        scales = {view: fit_scale(same) for view, same in views.items()}
        form = fit_closed_form(views, scales=scales, seed=0)
        changed = {
            view: [
                replace(line, label=np.where(line.label == 1, 0, 1).astype(np.int8)) if index == 2 else line
                for index, line in enumerate(same)
            ]
            for view, same in views.items()
        }
        other = fit_closed_form(changed, scales=scales, seed=0)
        assert abs(other.left_out.level[2] - form.left_out.level[2]) > 0.5
        # offsets between the views and the pooled shifts read no labels but through levels
        assert other.left_out.forecast[2] == pytest.approx(form.left_out.forecast[2], abs=0.05)
        assert other.inflation > form.inflation
        assert form.left_out.environment == tuple(f"line {index:02d}" for index in range(5))

    def test_one_and_two_lines(self) -> None:
        lines = lines_of("label", 2, seed=47)
        one, two = (fit_closed_form(by_view(lines[:count]), seed=0) for count in (1, 2))
        assert (one.lines, one.model, one.vectors.shape[1]) == (1, None, 0)
        level, half_width = forecasts(one, lines)
        assert (level == 0).all() and half_width == pytest.approx(1.5 * 1.644853627)
        assert (two.lines, two.vectors.shape[1]) == (2, 1)
        level, half_width = forecasts(two, lines_of("label", 6, seed=48))
        assert np.isfinite(level).all() and (half_width <= 1.5 * 1.6449).all() and (half_width > 0.2).all()

    def test_one_view_and_no_channel(self) -> None:
        lines = [
            replace(line.scores["shared"], composition=np.zeros((len(line.scores["shared"].label), 0), np.float32))
            for line in lines_of("label", 6, seed=49)
        ]
        form = fit_closed_form({"shared": lines}, seed=0)
        found = form.read("shared", lines[0].potential, lines[0].composition, lines[0].clusters)
        assert found.axes.shape == (0,)
        assert form.forecast(found, "shared").level == pytest.approx(form.left_out.level[0], abs=0.3)

    def test_round_trip(self) -> None:
        lines = lines_of("both", 5, seed=50)
        form = fit_closed_form(by_view(lines), seed=0)
        again = ClosedForm.from_arrays(form.arrays())
        np.testing.assert_array_equal(forecasts(again, lines), forecasts(form, lines))

    def test_wrong_views(self) -> None:
        line = lines_of("label", 1, seed=51)[0].scores["new"]
        with pytest.raises(ValueError, match="no line"):
            fit_closed_form({"new": []}, seed=0)
        with pytest.raises(ValueError, match="'line 00' occurs twice"):
            fit_closed_form({"new": [line, line]}, seed=0)
        large = cells("large", [(0.0, 8_193, 8_192)])
        with pytest.raises(ValueError, match="'large' has 16385 pairs, at most 16384"):
            fit_closed_form({"new": [large]}, seed=0)
        with pytest.raises(ValueError, match=r"channels differ: \[1, 12\]"):
            fit_closed_form({"new": [line, cells("other", [(0.0, 1, 1)])]}, seed=0)
