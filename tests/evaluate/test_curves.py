"""Content of figures.json: hand-computed curves, what is left out, and what thinning keeps."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from episode.evaluate.curves import (
    POOLED,
    evaluation_figures,
    impedance_records,
    potential_histograms,
    precision_recall_curves,
    reliability_curves,
    training_series,
)
from episode.evaluate.figures import LossSeries, PacingSeries, PrecisionRecall, TrainingSeries
from episode.evaluate.results import EnvironmentSummary, EvaluationProvenance, EvaluationResults, MeanImpedance
from episode.metrics.metrics import reliability_curve


def test_precision_recall_by_hand() -> None:
    curves = precision_recall_curves([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], ["a"] * 4)
    # thresholds .9: 1/1, recall 1/2; .8: 1/2, 1/2; .7: 2/3, 1; .1: 2/4, 1
    assert curves["a"].recall == [0.5, 0.5, 1.0, 1.0]
    assert sorted(curves["a"].precision[:2]) == [0.5, 1.0]
    assert sorted(curves["a"].precision[2:]) == [0.5, pytest.approx(2 / 3, abs=1e-5)]
    assert curves["a"].share == 0.5
    assert curves["a"] == curves[POOLED]


def test_environments_of_one_class_have_no_precision_recall_but_are_pooled() -> None:
    label, score, names = [1, 1, 0, 1], [3.0, 2.0, 1.0, 0.0], ["one", "one", "both", "both"]
    curves = precision_recall_curves(label, score, names)
    assert set(curves) == {"both", POOLED}
    assert curves[POOLED].share == 0.75
    assert set(reliability_curves(label, [0.9, 0.8, 0.2, 0.1], names)) == {"one", "both", POOLED}


def test_unknown_labels_and_silent_rows_are_left_out() -> None:
    label, score, names = [1, 0, -1, 1], [2.0, 1.0, 5.0, math.nan], ["a", "a", "a", "a"]
    assert precision_recall_curves(label, score, names)["a"] == PrecisionRecall(
        recall=[1.0, 1.0], precision=[1.0, 0.5], share=0.5
    )
    assert reliability_curves(label, [0.9, 0.1, 0.5, math.nan], names)["a"].count == [2]
    assert precision_recall_curves([-1], [0.0], ["a"]) == {}
    assert reliability_curves([], [], []) == {}
    assert potential_histograms([-1], [0.0], ["a"]) == {}


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        precision_recall_curves([1, 0], [0.1], ["a", "a"])


@given(st.integers(0, 1000), st.integers(150, 900))
def test_a_thinned_curve_keeps_to_the_whole_one(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    label = np.r_[0, 1, rng.random(n) < 0.4].astype(int)
    score = rng.normal(size=n + 2) + label
    curve = precision_recall_curves(label, score, np.full(n + 2, "a"))["a"]
    recall, precision = np.array(curve.recall), np.array(curve.precision)
    assert 2 <= recall.size == precision.size <= 200
    assert (np.diff(recall) >= 0).all() and recall[-1] == 1.0
    whole_precision, whole_recall, _ = precision_recall_curve(label, score)
    whole = np.c_[whole_recall, whole_precision]
    for point in np.c_[recall, precision]:
        assert np.abs(whole - point).max(axis=1).min() < 1e-4


def test_reliability_is_that_of_the_metrics() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random(500)
    label = (rng.random(500) < chance).astype(int)
    names = np.where(np.arange(500) < 200, "a", "b")
    curves = reliability_curves(label, chance, names)
    wanted = reliability_curve(label[:200], chance[:200])
    assert curves["a"].count == wanted.count.tolist()
    np.testing.assert_allclose(curves["a"].observed, wanted.observed, rtol=1e-4)
    np.testing.assert_allclose(curves["a"].probability, wanted.probability, rtol=1e-4)
    assert sum(curves[POOLED].count) == 500


def test_histograms_count_every_labelled_row_in_shared_bins() -> None:
    rng = np.random.default_rng(1)
    potential = np.r_[rng.normal(size=998), 1e6, -1e6]
    label = np.r_[rng.integers(0, 2, 999), -1]
    names = np.where(np.arange(1000) % 2 == 0, "even", "odd")
    drawn = potential_histograms(label, potential, names)
    assert set(drawn) == {"even", "odd"}
    assert drawn["even"].edges == drawn["odd"].edges and len(drawn["even"].edges) == 31
    assert drawn["even"].edges[-1] < 10
    for name, value in (("positive", 1), ("negative", 0)):
        assert sum(sum(getattr(entry, name)) for entry in drawn.values()) == (label == value).sum()
    assert all(len(entry.positive) == len(entry.negative) == 30 for entry in drawn.values())


def test_a_potential_that_never_moves_has_a_histogram() -> None:
    drawn = potential_histograms([1, 0, 0], [2.0, 2.0, 2.0], ["a"] * 3)["a"]
    assert drawn.edges[0] == 1.5 and drawn.edges[-1] == 2.5
    assert (sum(drawn.positive), sum(drawn.negative)) == (1, 2)


def test_impedance_records() -> None:
    entry = EnvironmentSummary.model_construct(
        known=False, support_size=64, r_student=1.5, r_teacher=math.nan, r_oracle=None
    )
    (record,) = impedance_records({"HMEC": entry}, fold="fold 1")
    assert record.environment == "HMEC" and record.fold == "fold 1" and record.known is False
    assert (record.r_student, record.r_teacher, record.r_oracle, record.r_true) == (1.5, None, None, None)
    assert record.support_size == 64
    assert not {"temperature", "level"} & set(record.model_dump())


class TestTraining:
    def line(self, step: int, **task: object) -> dict[str, object]:
        tasks = [{"environment": "a", "pull_in": 0.0, "push_away": 0.0, "ratio": 1.0} | task, {"environment": "mixed"}]
        return {"kind": "train", "step": step, "task": 0.5, "distillation": None, "tasks": tasks}

    def test_by_hand(self) -> None:
        check = {
            "kind": "validation",
            "step": 4,
            "stage": "settle",
            "task": 0.4,
            "log_loss": 0.3,
            "aupr": None,
            "alpha": 1,
        }
        series = training_series([self.line(3, pull_in=0.25), check, {"kind": "other", "step": 5}], fold="f", seed=2)
        assert (series.fold, series.seed) == ("f", 2)
        assert series.losses == {"task": LossSeries(step=[3.0], value=[0.5])}
        assert series.pacing == {"a": PacingSeries(step=[3.0], pull=[0.25], push=[0.0], ratio=[1.0])}
        assert [entry.model_dump() for entry in series.validation] == [
            {"step": 4, "stage": "settle", "task": 0.4, "log_loss": 0.3, "aupr": None, "slope": None}
        ]

    def test_one_push_among_thousands_still_shows(self) -> None:
        lines = [self.line(step, push_away=1.0 if step == 1234 else 0.0) for step in range(3000)]
        series = training_series(lines)
        push = series.pacing["a"].push
        assert len(push) == 100 and max(push) == pytest.approx(1 / 30, rel=1e-4)
        assert np.mean(push) == pytest.approx(1 / 3000, rel=1e-3)
        assert len(series.losses["task"].step) == 200

    def test_nothing_logged(self) -> None:
        assert training_series([]) == TrainingSeries(fold="", seed=0, validation=[], losses={}, pacing={})


def test_evaluation_by_hand() -> None:
    label = np.tile([1, 0], 30)
    potential = np.tile([2.0, 1.0], 30)
    names = np.repeat(["a", "b"], 30)
    predictions = pd.DataFrame({"environment": names, "label": label, "potential": potential, "logit": potential - 1})

    def results(mean: float | None) -> EvaluationResults:
        return EvaluationResults.model_construct(
            temperature=2.0,
            environments={
                name: EnvironmentSummary.model_construct(known=True, support_size=3, r_student=0.5, r_oracle=oracle)
                for name, oracle in (("a", 1.5), ("b", None))
            },
            mean_impedance=MeanImpedance(impedance=mean, log_loss=None, ece=None),
            provenance=EvaluationProvenance.model_construct(training_seed=4),
        )

    figures = evaluation_figures(predictions, results(1.0), [])
    assert set(figures.precision_recall) == {"episode.fused", "episode.potential", "oracle"}
    flat = figures.reliability["mean_impedance"]["a"].probability
    assert flat == [pytest.approx((1 / (1 + math.exp(-0.5)) + 0.5) / 2, rel=1e-4)]
    assert figures.reliability["oracle"]["b"] == figures.reliability["episode.fused"]["b"]
    assert figures.reliability["oracle"]["a"] != figures.reliability["episode.fused"]["a"]
    assert figures.potential["a"].edges[0] == 0.0 and figures.potential["a"].edges[-1] == 0.5
    assert figures.impedance[1].r_oracle is None and figures.few_labels == []
    assert [series.seed for series in figures.training] == [4]
    without = evaluation_figures(predictions, results(None), [])
    assert without.potential == {} and without.reliability["mean_impedance"] == {}
