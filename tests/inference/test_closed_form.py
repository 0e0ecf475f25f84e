import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from scipy.special import logit as log_odds
from scipy.stats import norm
from scipy.stats import t as student_t

from episode.inference.closed_form import (
    ClosedForm,
    LeftOut,
    Scale,
    SupportReading,
    View,
    ViewOffset,
    project,
    read_support,
    shift_pull,
)
from episode.inference.level_model import LevelModel, Regression, Scaling
from episode.metrics.label_shift import map_shift


def regression(beta: float, *, draws: int | None = None, residual: float = 0.04) -> Regression:
    """Level = 0.1 + beta shift + 0.3 axis, with covariance 0.01 on the diagonal; one axis."""
    shape = () if draws is None else (draws,)
    scaling = Scaling(
        mean=np.broadcast_to([0.5, 2.0], (*shape, 2)),
        limit=np.broadcast_to([3.0, 3.0], (*shape, 2)),
        between=np.broadcast_to(np.diag([1.0, 4.0]), (*shape, 2, 2)),
        unit=np.broadcast_to([1.0, 0.45], (*shape, 2)),
    )
    return Regression(
        scaling=scaling,
        coefficient=np.broadcast_to(np.array([0.1, beta, 0.3]), (*shape, 3)).copy(),
        covariance=np.broadcast_to(0.01 * np.eye(3), (*shape, 3, 3)).copy(),
        residual=np.full(shape, residual),
        gate=np.full(shape, 0.5),
    )


def level_model(lines: int = 5, **changes: float) -> LevelModel:
    numbers = {"shift_mean": 0.5, "shift_variance": 0.25, "transfer": 0.9, "outside_prior": 0.5} | changes
    return LevelModel(lines=lines, natural=regression(0.0), resampled=regression(0.8, draws=2), **numbers)


def closed_form(model: LevelModel | None, *, lines: int = 5, inflation: float = 1.5) -> ClosedForm:
    return ClosedForm(
        scales={"new": Scale(0.8, -1.0, 0.3), "shared": Scale(1.25, -0.9, 0.31, nothing_transfers=True)},
        offsets={
            "new": ViewOffset(level=0.0, shift=0.0, shift_se=0.4, axes_se=np.array([1.2])),
            "shared": ViewOffset(level=0.2, shift=0.1, shift_se=0.0, axes_se=np.zeros(1)),
        },
        centre=np.array([0.5, 0.25]),
        vectors=np.array([[2.0], [-4.0]]),
        lines=lines,
        inflation=inflation,
        model=model,
        left_out=LeftOut(("b\u03b2", "line 2"), *np.arange(12.0).reshape(6, 2)),
    )


def reading(shift: float = 1.0, se: float = 0.3, axis: float = 3.0, axis_se: float = 0.5) -> SupportReading:
    return SupportReading(100, shift, se, np.array([axis]), np.array([axis_se]))


def own(locus: np.ndarray) -> np.ndarray:
    """Clusters of pairs at these loci, with a promoter each."""
    return np.column_stack([locus, np.arange(len(locus))])


class TestReading:
    def test_by_hand(self) -> None:
        # scores at the prevalence say nothing: the prior's sd remains. Two loci of two pairs each: the axis has mean
        # 3 and sums of deviations -4 and 4 a locus, so variance (16 + 16) * 2 / 1 / 4^2. A promoter a pair adds
        # nothing: two of one promoter lie at one locus
        logit = np.full(4, math.log(0.25 / 0.75))
        found = read_support(logit, 0.25, np.array([[0.0], [2.0], [4.0], [6.0]]), own(np.array([7, 7, 9, 9])))
        assert (found.size, found.shift, found.shift_se) == (4, pytest.approx(0, abs=1e-12), 1.5)
        assert (found.axes.tolist(), found.axes_se.tolist()) == ([3.0], [2.0])

    def test_error_of_the_shift_by_hand(self) -> None:
        # ratios 3 and 1/3 at prevalence 1/2 cancel: the scores are 1/4 * 2 / 2 and 1/4 * (-2/3) / (2/3)
        logit, axes = np.log([3.0, 1 / 3, 3.0, 1 / 3]), np.zeros((4, 0))
        information = 4 / 16 + 1 / 1.5**2
        mixed = read_support(logit, 0.5, axes, own(np.array([0, 0, 1, 1])))
        assert mixed.shift == pytest.approx(0, abs=1e-12)
        assert mixed.shift_se == pytest.approx(1 / math.sqrt(information))
        # the two loci go apart: sums of scores 1/2 and -1/2
        apart = read_support(logit, 0.5, axes, own(np.array([0, 1, 0, 1])))
        assert math.sqrt(2 * 2 / 4) / information > 1 / math.sqrt(information)
        assert apart.shift_se == pytest.approx(math.sqrt(2 * 2 / 4) / information)
        # two promoters that go apart do the same
        promoters = read_support(logit, 0.5, axes, own(np.array([0, 1, 0, 1]))[:, ::-1])
        assert promoters.shift_se == pytest.approx(apart.shift_se)

    def test_pairs_of_one_locus_count_once(self) -> None:
        rng = np.random.default_rng(0)
        logit, axes = rng.normal(size=200), rng.normal(size=(200, 2))
        single = read_support(logit, 0.4, axes, own(np.arange(200)))
        tripled = read_support(np.tile(logit, 3), 0.4, np.tile(axes, (3, 1)), np.tile(own(np.arange(200)), (3, 1)))
        np.testing.assert_allclose(tripled.axes_se, single.axes_se)
        assert tripled.shift_se > 0.9 * single.shift_se

    @pytest.mark.parametrize("side", [0, 1])
    def test_a_single_locus_or_promoter_says_nothing_of_its_error(self, side: int) -> None:
        clusters = own(np.zeros(3, dtype=np.int64))
        clusters = clusters if side == 0 else clusters[:, ::-1]
        found = read_support(np.array([1.0, 2.0, -1.0]), 0.4, np.ones((3, 2)), clusters)
        assert found.shift_se == 1.5
        assert np.isinf(found.axes_se).all()
        result = closed_form(level_model()).forecast(
            replace(found, axes=found.axes[:1], axes_se=found.axes_se[:1]), "new"
        )
        assert math.isfinite(result.level) and math.isfinite(result.sd)

    def test_order_of_pairs_does_not_matter(self) -> None:
        rng = np.random.default_rng(1)
        form, order = closed_form(level_model()), rng.permutation(5_000)
        potential, composition = rng.normal(size=5_000), rng.random((5_000, 2))
        clusters = np.column_stack([rng.integers(0, 300, 5_000), rng.integers(0, 200, 5_000)])
        one = form.read("new", potential, composition, clusters)
        other = form.read("new", potential[order], composition[order], clusters[order])
        np.testing.assert_allclose([other.shift, other.shift_se], [one.shift, one.shift_se], rtol=1e-9)
        np.testing.assert_allclose([other.axes, other.axes_se], [one.axes, one.axes_se], rtol=1e-9)

    def test_scale_and_axes_of_the_view(self) -> None:
        form = closed_form(level_model())
        potential, composition = np.array([0.5, 2.0]), np.array([[1.0, 0.25], [0.5, 0.5]], dtype=np.float32)
        found = form.read("shared", potential, composition, own(np.array([1, 2])))
        by_hand = read_support(1.25 * potential - 0.9, 0.31, np.array([[1.0], [-1.0]]), own(np.array([1, 2])))
        assert (found.shift, found.shift_se) == (by_hand.shift, by_hand.shift_se)
        np.testing.assert_allclose(project(composition, form.centre, form.vectors), [[1.0], [-1.0]])
        assert found.axes == pytest.approx(by_hand.axes, abs=1e-12)

    def test_blocks_of_rows_are_invisible(self) -> None:
        composition = np.random.default_rng(2).random((5_000, 2))
        form = closed_form(None)
        np.testing.assert_allclose(
            project(composition, form.centre, form.vectors), (composition - form.centre) @ form.vectors, atol=1e-12
        )
        assert project(composition[:0], form.centre, form.vectors).shape == (0, 1)

    def test_wrong_input(self) -> None:
        form = closed_form(level_model())
        clusters = own(np.array([0, 1]))
        with pytest.raises(ValueError, match="2 channels are needed"):
            form.read("new", np.zeros(2), np.zeros((2, 3)), clusters)
        for wrong in (clusters[:, 0], clusters[:, :1], clusters[:1]):
            with pytest.raises(ValueError, match="shapes differ: 2 potentials"):
                form.read("new", np.zeros(2), np.zeros((2, 2)), wrong)
        with pytest.raises(ValueError, match="not finite"):
            form.read("new", np.array([0.0, np.nan]), np.zeros((2, 2)), clusters)
        with pytest.raises(ValueError, match="at least one score"):
            form.read("new", np.zeros(0), np.zeros((0, 2)), clusters[:0])
        alone = replace(form, scales={"new": form.scales["new"]})
        with pytest.raises(ValueError, match="'shared', only for"):
            alone.read("shared", np.zeros(2), np.zeros((2, 2)), clusters)

    def test_pull_is_the_influence_of_a_pair(self) -> None:
        # what a little more weight of a pair moves the shift by: its pull, and the mean pull that was taken off and
        # that the prior holds against, over the curvature; the information lacks a term of the curvature that is small
        rng = np.random.default_rng(3)
        logit = 1.5 * rng.normal(1.5 * (rng.random(400) < 0.5)) - 1.125 + log_odds(0.4)
        shift = map_shift(logit, 0.4)
        pull, information = shift_pull(logit, 0.4, shift)
        assert pull.sum() == pytest.approx(0, abs=1e-9)
        mean, moved_prevalence = shift / 1.5**2 / 400, expit(log_odds(0.4) + shift)
        curvature = information - (1 - 2 * moved_prevalence) * shift / 1.5**2
        assert curvature == pytest.approx(information, rel=0.05)
        for pair in (0, 17, 399):
            weight = np.ones(400)
            weight[pair] += 1e-4
            moved = (map_shift(logit, 0.4, weight=weight) - shift) / 1e-4
            assert moved == pytest.approx((pull[pair] + mean) / curvature, rel=1e-3)


class TestScaling:
    def scaling(self, between: float) -> Scaling:
        covariance = np.array([[1.0, between], [between, 4.0]])
        return Scaling(mean=np.array([1.0, 2.0]), limit=np.full(2, 50.0), between=covariance, unit=np.ones(2))

    def test_unrelated_readings_are_shrunken_each_by_itself(self) -> None:
        reading, se = np.array([[4.0, 5.0], [0.0, 2.0]]), np.array([[0.5, 3.0], [2.0, 0.0]])
        rows, noise = self.scaling(0.0).regressors(reading, se)
        keep = np.array([[1 / 1.25, 4 / 13], [1 / 5, 1.0]])
        np.testing.assert_allclose(rows, np.column_stack([np.ones(2), (reading - [1.0, 2.0]) * keep]))
        np.testing.assert_allclose(noise, np.column_stack([np.zeros(2), [1.0, 4.0] * (1 - keep)]), atol=1e-12)

    def test_a_reading_that_is_not_known_is_told_by_the_others(self) -> None:
        rows, noise = self.scaling(1.6).regressors(np.array([[-7.0, 5.0]]), np.array([[np.inf, 1.0]]))
        # the axis lies 3 from its mean, and has variance 4 + 1; the other is kept as if it stood alone
        np.testing.assert_allclose(rows, [[1.0, 1.6 / 5 * 3, 4 / 5 * 3]], rtol=1e-6)
        np.testing.assert_allclose(noise, [[0.0, 1 - 1.6**2 / 5, 4 / 5]], rtol=1e-6)
        nothing = self.scaling(1.6).regressors(np.array([[-7.0, 5.0]]), np.full((1, 2), np.inf))
        np.testing.assert_allclose(nothing[0], [[1.0, 0.0, 0.0]], atol=1e-6)
        np.testing.assert_allclose(nothing[1], [[0.0, 1.0, 4.0]], rtol=1e-6)

    def test_a_noisy_reading_is_told_by_a_sharp_one(self) -> None:
        # by hand: (4, 3) from the mean, total covariance ((5, 1.6), (1.6, 4.01)) of determinant 17.49
        rows, noise = self.scaling(1.6).regressors(np.array([[5.0, 5.0]]), np.array([[2.0, 0.1]]))
        gain = np.array([1 * 4.01 - 1.6 * 1.6, -1 * 1.6 + 1.6 * 5]) / (5 * 4.01 - 1.6**2)
        assert rows[0, 1] == pytest.approx(gain @ [4, 3])
        assert noise[0, 1] == pytest.approx(1 - gain @ [1, 1.6])
        alone = self.scaling(0.0).regressors(np.array([[5.0, 5.0]]), np.array([[2.0, 0.1]]))
        assert noise[0, 1] < 0.5 * alone[1][0, 1]

    def test_the_noise_that_is_told_is_the_one_that_is_left(self) -> None:
        rng = np.random.default_rng(4)
        scaling = replace(self.scaling(1.2), unit=np.array([1.0, 0.3]))
        true = rng.multivariate_normal(np.zeros(2), scaling.between, 40_000)
        se = rng.uniform(0.2, 3.0, (40_000, 2))
        rows, noise = scaling.regressors(scaling.mean + true + se * rng.normal(size=se.shape), se)
        z = (rows[:, 1:] - true * scaling.unit) / np.sqrt(noise[:, 1:])
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=0.02)
        np.testing.assert_allclose(z.std(axis=0), 1, atol=0.02)


class TestRegression:
    def test_by_hand(self) -> None:
        # shift 1 - 0.5, kept 1 / (1 + 0.25); axis (3 - 2) kept 4 / (4 + 1), over the sd 2, times sqrt(0.81)
        shift, axis = 0.5 * 0.8, 1 * 0.8 * 0.9 / 2
        mean, variance = regression(0.8).predict(np.array([1.0, 3.0]), np.array([0.5, 1.0]))
        assert mean == pytest.approx(0.1 + 0.8 * shift + 0.3 * axis)
        left = 1.0 * 0.2 * (0.8**2 + 0.01) + 0.2 * 0.81 * (0.3**2 + 0.01)
        assert variance == pytest.approx(0.01 * (1 + shift**2 + axis**2) + 0.04 + left)

    def test_readings_beyond_training_are_winsorised(self) -> None:
        none = np.zeros(2)
        far = regression(0.8).predict(np.array([50.0, 90.0]), none)
        edge = regression(0.8).predict(np.array([0.5 + 3.0, 2.0 + 3.0]), none)
        np.testing.assert_allclose(far, edge)
        assert edge[0] > regression(0.8).predict(np.array([0.5 + 2.9, 2.0 + 2.9]), none)[0]


class TestLevelModel:
    def test_mixture_by_hand(self) -> None:
        model = level_model()
        found = reading(se=0.6)
        wide = 0.6 / (1 - 0.36 / 2.25)
        near, near_variance = model.natural.predict(np.array([1.0, 3.0]), np.array([0.6, 0.5]))
        far, far_variance = model.resampled.predict(np.array([1.0, 3.0]), np.array([wide, 0.5]))
        weight = model.outside(1.0, wide)
        level, variance, outside = model.predict(found)
        assert outside == weight
        assert level == pytest.approx((1 - weight) * near + weight * far[0])
        within = (1 - weight) * near_variance + weight * far_variance[0]
        assert variance == pytest.approx(within + weight * (1 - weight) * (far[0] - near) ** 2)

    def test_draws_that_differ_widen_the_forecast(self) -> None:
        model = level_model(outside_prior=1.0)
        resampled = model.resampled
        apart = replace(resampled, coefficient=resampled.coefficient + np.array([[0.4, 0, 0], [-0.4, 0, 0]]))
        level, variance, _ = model.predict(reading())
        wider = replace(model, resampled=apart).predict(reading())
        assert wider[0] == pytest.approx(level)
        # constant 0.1 +- 0.4; its square enters no noise, for the constant has none
        assert wider[1] == pytest.approx(variance + 0.16)

    def test_a_move_outside_that_may_not_be_widens(self) -> None:
        model = level_model()
        far = reading(4.0)
        moved, variance, outside = model.predict(far)
        stayed, wider, same = model.predict(far, may_move=False)
        near, _ = model.natural.predict(*far.numbers)
        assert (stayed, same) == (near, outside) and outside > 0.5 and moved > near + 0.5
        assert wider == pytest.approx(variance + (moved - near) ** 2)

    def test_outside_by_numerical_integration(self) -> None:
        model = level_model()
        scale = math.sqrt(0.25 * 1.2 + 0.09)
        moves = np.linspace(-12, 12, 20_001)
        density = student_t.pdf((1.5 - 0.9 * moves) / scale, 5) * norm.pdf(moves, scale=1.5)
        moved, stayed = density.sum() * (moves[1] - moves[0]), student_t.pdf(1.5 / scale, 5)
        assert model.outside(2.0, 0.3) == pytest.approx(moved / (moved + stayed), rel=1e-4)

    def test_outside_grows_with_the_distance(self) -> None:
        weights = [level_model().outside(0.5 + distance, 0.3) for distance in (0.0, 0.5, 1.0, 2.0, 3.0)]
        assert weights == sorted(weights) and weights[0] < 0.4 and weights[-1] > 0.9
        assert level_model().outside(0.5 - 2.0, 0.3) == pytest.approx(weights[3])

    def test_the_prior_stays_where_scores_show_nothing_of_a_move(self) -> None:
        assert level_model(transfer=0.0).outside(3.0, 0.3) == pytest.approx(0.5)
        assert level_model(outside_prior=0.0).outside(9.0, 0.3) == 0.0
        assert level_model(outside_prior=1.0).outside(0.5, 0.3) == 1.0

    def test_a_reading_that_says_nothing_moves_nothing(self) -> None:
        model = replace(level_model(), natural=regression(0.0))
        still, moved = (model.predict(reading(shift, se=1.5)) for shift in (0.5, 3.5))
        assert moved[0] == pytest.approx(still[0], abs=1e-3)
        assert moved[2] == pytest.approx(0.5, abs=1e-3)


class TestForecast:
    @pytest.mark.parametrize("views", [("new",), ("new", "shared")])
    def test_interval_by_hand(self, views: tuple[View, ...]) -> None:
        form = closed_form(level_model())
        form = replace(form, scales={view: form.scales[view] for view in views})
        result = form.forecast(reading(), "new")
        # the error that training lines have in common is added: 0.3 and 0.4 make 0.5, 0.5 and 1.2 make 1.3
        level, variance, outside = level_model().predict(reading(se=0.5, axis_se=1.3), may_move=len(views) == 1)
        assert (result.level, result.outside) == pytest.approx((level, outside))
        assert result.sd == pytest.approx(math.sqrt(variance))
        assert result.half_width == pytest.approx(2.131846786 * 1.5 * result.sd)  # t, 4 degrees of freedom, 0.95

    def test_the_other_view(self) -> None:
        form = closed_form(level_model())
        home = replace(form, scales={"new": form.scales["new"]}).forecast(reading(1.0), "new")
        other = form.forecast(reading(1.1, se=0.5, axis_se=1.3), "shared")
        assert other.level == pytest.approx(home.level + 0.2)
        assert (other.sd, other.outside) == pytest.approx((home.sd, home.outside))

    @pytest.mark.parametrize("lines", [0, 1])
    def test_fewer_than_two_lines(self, lines: int) -> None:
        result = closed_form(None, lines=lines).forecast(reading(shift=3.0), "shared")
        assert (result.level, result.sd, result.outside) == (0.0, 1.5, 0.0)
        assert result.half_width == pytest.approx(1.5 * 1.644853627)

    def test_two_lines_are_capped_by_the_prior(self) -> None:
        model = replace(level_model(lines=2, outside_prior=0.0))
        sharp = closed_form(model, lines=2, inflation=1.0).forecast(reading(), "new")
        assert sharp.half_width == pytest.approx(6.313751515 * sharp.sd)
        wide = replace(model, natural=regression(0.0, residual=9.0))
        result = closed_form(wide, lines=2).forecast(reading(), "new")
        assert (result.sd, result.half_width) == (1.5, pytest.approx(1.5 * 1.644853627))
        three = closed_form(replace(wide, lines=3), lines=3).forecast(reading(), "new")
        assert three.sd > 3 and three.half_width > 10


class TestArrays:
    @pytest.mark.parametrize("lines", [1, 5])
    def test_round_trip_is_exact(self, lines: int) -> None:
        form = closed_form(level_model() if lines > 1 else None, lines=lines)
        arrays = form.arrays()
        assert {array.dtype for array in arrays.values()} <= {np.dtype("float64"), np.dtype("int64")}
        again = ClosedForm.from_arrays(arrays)
        for name, array in again.arrays().items():
            np.testing.assert_array_equal(array, arrays[name], strict=True)
        assert set(again.arrays()) == set(arrays)
        assert again.scales == form.scales
        assert (again.lines, again.inflation) == (form.lines, form.inflation)
        assert again.left_out.environment == ("b\u03b2", "line 2")
        views: tuple[View, ...] = ("new", "shared")
        for view in views:
            assert again.forecast(reading(), view) == form.forecast(reading(), view)

    @pytest.mark.parametrize("axes", [0, 1, 3])
    def test_offsets_come_back(self, axes: int) -> None:
        offsets: dict[View, ViewOffset] = {
            "shared": ViewOffset(
                level=0.25, shift=-0.5, shift_se=0.125, axes_se=2.0 + np.arange(axes, dtype=np.float64)
            ),
            "new": ViewOffset(level=-1.5, shift=3.0, shift_se=0.75, axes_se=9.0 + np.arange(axes, dtype=np.float64)),
        }
        form = replace(closed_form(None, lines=1), offsets=offsets, vectors=np.ones((2, axes)))
        again = ClosedForm.from_arrays(form.arrays()).offsets
        assert set(again) == {"shared", "new"}
        for view, offset in offsets.items():
            found = again[view]
            assert (found.level, found.shift, found.shift_se) == (offset.level, offset.shift, offset.shift_se)
            np.testing.assert_array_equal(found.axes_se, offset.axes_se, strict=True)

    def test_a_missing_array(self) -> None:
        arrays = closed_form(level_model()).arrays()
        del arrays["natural.covariance"]
        with pytest.raises(KeyError, match=r"natural\.covariance"):
            ClosedForm.from_arrays(arrays)

    def test_coverage_by_hand(self) -> None:
        level, none = np.array([0.0, 1.0, 2.0, -1.0]), np.zeros(4)
        left_out = LeftOut(("a", "b", "c", "d"), level, none, none, none, none, np.array([0.1, 1.0, 1.9, 1.5]))
        assert left_out.coverage == 0.75
        assert math.isnan(LeftOut((), *[np.zeros(0)] * 6).coverage)
