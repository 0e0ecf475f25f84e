"""The Student fitted on pairs that no member learned from: what is kept, and what is said where nothing ranks."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from episode.checkpoint import MemberFacts
from episode.data.places import Places
from episode.episodes.sampler import EnvironmentPool
from episode.errors import DatasetError
from episode.inference.closed_form import View
from episode.inference.members import Member
from episode.metrics.metrics import calibration_line, log_loss
from episode.train import unseen
from episode.train.student_records import LineScores
from episode.train.unseen import FittedStudent, drawn, fit_student, left_out_level, level_of

ROWS = 200
NOWHERE = Places.of(pd.DataFrame({"chrom": [], "start": [], "end": []}), [])


def line(name: str, sign: float, *, seed: int, rows: int = ROWS) -> LineScores:
    """Pairs whose labels follow ``2 * sign * u``; the last tenth is unlabelled."""
    rng = np.random.default_rng(seed)
    potential = rng.normal(size=rows)
    label = (rng.random(rows) < expit(2 * sign * potential)).astype(np.int8)
    label[-(rows // 10) :] = -1
    composition = rng.random((rows, 3)).astype(np.float32)
    return LineScores(name, potential, label, np.column_stack([np.arange(rows) // 2, np.arange(rows)]), composition)


def fit(sign: float = 1.0, views: tuple[View, ...] = ("shared", "new"), **changes: Any) -> FittedStudent:
    lines = {
        view: [line(name, sign, seed=number + 7 * place) for number, name in enumerate("abc")]
        for place, view in enumerate(views)
    }
    lines |= changes.pop("lines", {})
    member = Member(cast(Any, None), 0.5, 2.0, ("a",))
    facts = MemberFacts(name="g0s0", left_out=("b",), level=0.5, temperature=2.0)
    options: dict[str, Any] = {"factor": 1.0, "judged": ("shared", "new")} | changes
    return fit_student(lines, (facts,), (member,), NOWHERE, seed=0, **options)


def test_labelled_pairs_are_kept_with_the_forecast_of_their_line() -> None:
    found = fit()
    fitted, table = found.student.fitted, found.unseen
    assert len(table) == found.calibration.pairs == 2 * 3 * ROWS * 9 // 10
    assert set(table["label"]) == {0, 1}
    for place, name in enumerate(fitted.left_out.environment):
        for view, offset in fitted.offsets.items():
            rows = table[(table["environment"] == name) & (table["view"] == view)]
            np.testing.assert_allclose(rows["level"], fitted.left_out.forecast[place] + offset.level)
    assert fitted.left_out.environment == ("a", "b", "c")
    logit, label = table["logit"] + table["level"], table["label"].to_numpy()
    assert found.calibration.log_loss == log_loss(label, logit)
    slope = calibration_line(label, logit)
    assert slope is not None and found.calibration.residual_slope == slope.slope
    error = fitted.left_out.forecast - fitted.left_out.level
    assert found.calibration.impedance_error == pytest.approx(max(np.sqrt((error**2).mean()), 1e-3))
    assert (found.calibration.temperature, found.calibration.offset, found.calibration.training_impedance) == (1, 0, 3)


def test_only_the_views_that_are_judged_are_kept() -> None:
    assert set(fit(judged=("new",)).unseen["view"]) == {"new"}
    assert set(fit(judged=("new",)).student.fitted.scales) == {"shared", "new"}


def test_slopes_of_the_mean_are_steeper_and_the_table_stays() -> None:
    plain, steep = fit(), fit(factor=1.5)
    for view, scale in plain.student.fitted.scales.items():
        assert steep.student.fitted.scales[view].slope == pytest.approx(1.5 * scale.slope)
    pd.testing.assert_frame_equal(plain.unseen, steep.unseen)


def test_scores_that_rank_nothing_are_an_alarm() -> None:
    assert fit(1.0).alarms == []
    (alarm,) = fit(-1.0).alarms
    assert alarm.name == "nothing_transfers"
    assert alarm.text.startswith("at new loci and at shared loci U_I ranks nothing in cell lines")
    assert "--prevalence" in alarm.text and "--support-labels" in alarm.text
    mixed = {"new": [line(name, -1.0, seed=number) for number, name in enumerate("abc")]}
    (alarm,) = fit(lines=mixed).alarms
    assert alarm.text.startswith("at new loci U_I ranks nothing")


def test_a_line_without_a_record_has_no_forecast() -> None:
    few = {
        "new": [*(line(name, 1.0, seed=number) for number, name in enumerate("abc")), line("d", 1.0, seed=9, rows=20)]
    }
    found = fit(views=("new",), lines=few)
    assert found.student.fitted.left_out.environment == ("a", "b", "c")
    assert left_out_level(found.student.fitted, "d", "new") == 0.0
    assert (found.unseen.loc[found.unseen["environment"] == "d", "level"] == 0).all()


def test_a_view_of_one_class_is_left_out() -> None:
    one_class = [
        LineScores(one.environment, one.potential, np.minimum(one.label, 0), one.clusters, one.composition)
        for one in (line(name, 1.0, seed=number) for number, name in enumerate("abc"))
    ]
    assert set(fit(lines={"shared": one_class}).student.fitted.scales) == {"new"}
    with pytest.raises(DatasetError, match="that no member learned from lack a class"):
        fit(views=("new",), lines={"new": one_class})
    with pytest.raises(DatasetError, match="that no member learned from lack a class"):
        fit(lines={"new": one_class}, judged=("new",))


def test_the_level_of_pairs_by_hand() -> None:
    """Two pairs at U = 1, one positive: probability one half at R = 1; three of four positive: T log 3 below."""
    assert level_of(np.array([1.0, 1.0]), np.array([1, 0]), 2.0) == pytest.approx(1.0)
    assert level_of(np.ones(5), np.array([1, 1, 1, 0, -1]), 2.0) == pytest.approx(1 - 2 * np.log(3))
    with pytest.raises(DatasetError, match="both labels"):
        level_of(np.ones(2), np.array([1, -1]), 1.0)


def test_pairs_of_lowest_rank_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen, "MAX_PAIRS", 2)
    pool = EnvironmentPool("a", np.array([4, 1, 3]), np.array([40, 10, 30]), np.array([1, 0, -1], dtype=np.int8), None)
    found = drawn(pool, np.array([0, 9, 0, 2, 5]))
    assert (found.rows.tolist(), found.locus.tolist(), found.label.tolist()) == ([3, 4], [30, 40], [-1, 1])
