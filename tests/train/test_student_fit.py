import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from episode.inference.closed_form import ClosedForm, View
from episode.inference.level_model import Regression
from episode.train.student_fit import LineScores, averaged_scale, averaging_factor, fit_closed_form, fit_scale
from episode.train.student_records import fit_axes, make_records
from episode.train.student_regression import NATURAL, SlopePrior, fit_regression
from simulated_lines import Line, by_view, simulated_line


def cells(name: str, counts: Sequence[tuple[float, int, int]], unknown: int = 0) -> LineScores:
    """A line with (score, positives, negatives), and unlabelled pairs at a score far away."""
    potential = [score for score, positive, negative in counts for _ in range(positive + negative)]
    label = [label for _, positive, negative in counts for label in [1] * positive + [0] * negative]
    size = len(label) + unknown
    return LineScores(
        environment=name,
        potential=np.array(potential + [50.0] * unknown),
        label=np.array(label + [-1] * unknown, dtype=np.int8),
        locus=np.arange(size, dtype=np.int64),
        composition=np.zeros((size, 1), dtype=np.float32),
    )


def shuffled(line: LineScores, rng: np.random.Generator) -> LineScores:
    order = rng.permutation(len(line.potential))
    return LineScores(
        line.environment, line.potential[order], line.label[order], line.locus[order], line.composition[order]
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
        found.append(form.forecast(form.read(view, scores.potential, scores.composition, scores.locus), view))
    return np.array([result.level for result in found]), np.array([result.half_width for result in found])


class TestScale:
    def test_two_cells_by_hand(self) -> None:
        # a saturated fit: log-odds 1/4 at 0, 3/4 at 1; unlabelled pairs take no part
        scale = fit_scale([cells("a", [(0.0, 1, 3), (1.0, 3, 1)], unknown=5)])
        assert scale.slope == pytest.approx(2 * math.log(3), abs=1e-6)
        assert scale.intercept == pytest.approx(-math.log(3), abs=1e-6)
        assert (scale.prevalence, scale.nothing_transfers) == (0.5, False)

    def test_weights_of_lines_by_hand(self) -> None:
        # 100 pairs weigh 1/200 each, 300 pairs 1/400
        small, large = cells("a", [(0.0, 10, 40), (1.0, 20, 30)]), cells("b", [(0.0, 60, 90), (1.0, 120, 30)])
        low = (10 / 200 + 60 / 400) / (50 / 200 + 150 / 400)
        high = (20 / 200 + 120 / 400) / (50 / 200 + 150 / 400)
        scale = fit_scale([small, large])
        assert scale.intercept == pytest.approx(math.log(low / (1 - low)), abs=1e-6)
        assert scale.slope == pytest.approx(math.log(high / (1 - high)) - scale.intercept, abs=1e-6)
        assert scale.prevalence == pytest.approx((low + high) / 2)
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
        # variance between the two members .5 in every pair, and no more in their mean than that explains
        potential = np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])
        assert averaging_factor([potential], members=4) == pytest.approx(2)
        assert averaging_factor([potential], members=2) == pytest.approx(1)

    def test_members_that_agree_but_for_their_level(self) -> None:
        potential = np.random.default_rng(5).normal(size=50)
        assert averaging_factor([np.stack([potential, potential + 3])], members=9) == pytest.approx(1)
        assert averaging_factor([potential[None]], members=2) == 1.0
        assert averaging_factor([np.ones((3, 4))], members=5) == 1.0

    def test_ratio_of_slopes(self) -> None:
        # signal 1, noise 2 a member: the mean of two has variance 2, the mean of ten 1.2
        rng = np.random.default_rng(6)
        potential = rng.normal(size=40_000) + math.sqrt(2) * rng.normal(size=(2, 40_000))
        assert averaging_factor([potential], members=10) == pytest.approx(2 / 1.2, rel=0.02)

    def test_levels_of_lines_are_no_noise(self) -> None:
        rng = np.random.default_rng(7)
        lines = [rng.normal(size=1000) + rng.normal(size=(2, 1000)) for _ in range(3)]
        moved = [potential + 10 * number for number, potential in enumerate(lines)]
        assert averaging_factor(moved, members=6) == pytest.approx(averaging_factor(lines, members=6))

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

    @pytest.mark.parametrize("shapes", [[(3,)], [(0, 4)], [], [(2, 4), (3, 4)], [(3, 4)]])
    def test_wrong_input(self, shapes: list[tuple[int, ...]]) -> None:
        with pytest.raises(ValueError, match="potentials"):
            averaging_factor([np.zeros(shape) for shape in shapes], members=2)


def by_evidence(found: Regression, records: tuple[np.ndarray, ...], prior: SlopePrior) -> tuple[np.ndarray, ...]:
    """Moments of the coefficients from the 40 marginal densities and dense covariances, one after another."""
    level, level_se, shift, shift_se, axes, axes_se = records
    rows, noise = found.scaling.regressors(shift, shift_se, axes, axes_se)
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
            rng.normal(size=lines),
            rng.uniform(0.05, 0.5, lines),
            rng.normal(size=(lines, axes)),
            rng.uniform(0.05, 0.4, (lines, axes)),
        )
        found = fit_regression(*records, prior=prior)
        mean, covariance, residual, gate = by_evidence(found, records, prior)
        np.testing.assert_allclose(found.coefficient, mean, atol=1e-9)
        np.testing.assert_allclose(found.covariance, covariance, atol=1e-9)
        assert (found.residual, found.gate) == (pytest.approx(residual), pytest.approx(gate))

    def test_many_fits_at_once_equal_single_ones(self) -> None:
        rng = np.random.default_rng(8)
        level, shift, axes = rng.normal(size=(3, 6)), rng.normal(size=(3, 6)), rng.normal(size=(3, 6, 2))
        level_se, shift_se, axes_se = rng.uniform(0.1, 0.3, 6), rng.uniform(0.1, 0.3, 6), rng.uniform(0.1, 0.3, (6, 2))
        together = fit_regression(level, level_se, shift, shift_se, axes, axes_se, prior=NATURAL)
        query = (0.7, 0.2, np.array([0.3, -1.0]), np.array([0.1, 0.1]))
        for index in range(3):
            alone = fit_regression(level[index], level_se, shift[index], shift_se, axes[index], axes_se, prior=NATURAL)
            mean, variance = together.predict(*query)
            assert (mean[index], variance[index]) == pytest.approx(alone.predict(*query))

    def test_scaling_by_hand(self) -> None:
        shift, axes = np.array([-1.0, 0.0, 4.0]), np.array([[1.0], [3.0], [5.0]])
        found = fit_regression(
            np.zeros(3), np.ones(3), shift, np.full(3, 0.5), axes, np.ones((3, 1)), prior=NATURAL
        ).scaling
        assert (found.shift_mean, found.shift_range) == (1.0, 3.0)
        # squares 4 + 1 + 9, one line's worth of prior .5 with noise .25 added, over 3; then the noise taken off
        assert found.shift_signal == pytest.approx((14 + 0.5 + 0.25) / 3 - 0.25)
        assert (found.axes_mean, found.axes_range) == (3.0, 2.0)
        assert (found.axes_signal, found.axes_reliability) == (pytest.approx(4 - 1), pytest.approx(1 - 1 / 4))


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
            lines.append(replace(line, locus=np.repeat(np.arange(8), 50)))
        clustered = np.count_nonzero(fit_axes(lines, 1).vectors)
        apart = np.count_nonzero(fit_axes([replace(line, locus=np.arange(400)) for line in lines], 1).vectors)
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
        pooled, offsets = make_records(views, scales, axes)
        new, shared = (make_records({view: views[view]}, scales, axes)[0] for view in ("new", "shared"))
        assert offsets["shared"].shift == pytest.approx(np.mean(shared.shift - new.shift))
        weight = [1 / new.level_se**2, 1 / shared.level_se**2]
        level = np.average([new.level, shared.level - offsets["shared"].level], axis=0, weights=weight)
        np.testing.assert_allclose(pooled.level, level, atol=1e-9)
        np.testing.assert_allclose(pooled.level_se, 1 / np.sqrt(sum(weight)), rtol=1e-6)
        axes_weight = [1 / new.axes_se**2, 1 / shared.axes_se**2]
        place = np.average([new.axes, shared.axes], axis=0, weights=axes_weight)
        np.testing.assert_allclose(pooled.axes, place, atol=1e-6)

    def test_offset_between_views(self) -> None:
        lines = lines_of("label", 6, seed=13)
        views = by_view(lines)
        scales = {view: fit_scale(same) for view, same in views.items()}
        axes = fit_axes(views["new"], 2)
        moved = {**scales, "shared": replace(scales["shared"], intercept=scales["shared"].intercept + 0.3)}
        before, offset = make_records(views, scales, axes)
        after, with_constant = make_records(views, moved, axes)
        assert with_constant["shared"].level == pytest.approx(offset["shared"].level - 0.3, abs=1e-6)
        np.testing.assert_allclose(after.level, before.level, atol=1e-6)

    def test_resampling_is_a_weighting(self) -> None:
        # at the line's own prevalence nothing moves; to others, scores follow and levels are known
        views = by_view(lines_of("label", 5, seed=14))
        records, _ = make_records(views, {view: fit_scale(views[view]) for view in views}, fit_axes(views["new"], 2))
        np.testing.assert_allclose(records.shift_moved[:, 2], 0, atol=1e-9)
        np.testing.assert_allclose(records.axes_moved[:, 2], 0, atol=1e-9)
        assert (np.diff(records.shift_moved, axis=1) > 0.3).all()
        np.testing.assert_allclose(np.median(records.shift_moved, axis=0), [-1.8, -0.8, 0, 0.8, 1.8], atol=0.4)

    def test_which_lines_give_a_record(self) -> None:
        rng = np.random.default_rng(15)
        good = [simulated_line(f"good {index}", rng).scores["new"] for index in range(3)]
        few = cells("few", [(0.0, 10, 5), (1.0, 10, 4)], unknown=100)
        enough = cells("enough", [(0.0, 10, 5), (1.0, 10, 5)], unknown=100)
        one_class = cells("one class", [(0.0, 0, 40), (1.0, 0, 40)])
        one_locus = replace(cells("one locus", [(0.0, 20, 20), (1.0, 20, 20)]), locus=np.zeros(80, dtype=np.int64))
        wide = [
            replace(line, composition=np.zeros((len(line.label), good[0].composition.shape[1]), dtype=np.float32))
            for line in (few, enough, one_class, one_locus)
        ]
        form = fit_closed_form({"new": [*wide, *good]}, seed=0)
        assert form.left_out.environment == ("enough", "good 0", "good 1", "good 2")
        assert form.lines == 4 and form.vectors.shape[1] == 3

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"potential": np.array([0.0, np.inf])}, "not finite"),
            ({"label": np.array([0, 2], dtype=np.int8)}, "none of -1, 0, 1"),
            ({"locus": np.zeros(3, dtype=np.int64)}, "shapes differ"),
            ({"composition": np.zeros(2, dtype=np.float32)}, r"composition \(n, F\)"),
        ],
    )
    def test_wrong_lines(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=f"K562: .*{message}"):
            replace(cells("K562", [(0.0, 1, 1)]), **change)


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

    def test_a_shift_outside_the_training_range(self) -> None:
        # five lines of equal prevalence, then lines shifted by 1.4: training alone has no evidence for it
        rng = np.random.default_rng(40)
        train = [simulated_line(f"line {index}", rng, noise=0.05) for index in range(5)]
        unseen = [simulated_line(f"new {index}", rng, score_shift=1.4, noise=0.05) for index in range(8)]
        form = fit_closed_form(by_view(train), seed=0)
        assert form.model is not None and form.model.outside_prior > 0.8
        assert form.model.transfer == pytest.approx(0.9, abs=0.15)
        level, half_width = forecasts(form, unseen)
        assert (level > 0.9).all() and level.mean() == pytest.approx(1.4, abs=0.25)
        assert (np.abs(level - [line.level for line in unseen]) < half_width).all()
        natural = replace(form, model=replace(form.model, outside_prior=0.0))
        assert (forecasts(natural, unseen)[0] < 0.7).all()
        stayed, _ = forecasts(form, [simulated_line(f"as before {index}", rng) for index in range(8)])
        assert np.abs(stayed).mean() < 0.25

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
            expected = form.forecast(form.read(view, one.potential, one.composition, one.locus), view)
            found = other.forecast(other.read(view, two.potential, two.composition, two.locus), view)
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
        found = form.read("shared", lines[0].potential, lines[0].composition, lines[0].locus)
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
