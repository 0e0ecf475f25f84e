"""Content of figures.json: hand-computed curves, what is left out, and what thinning keeps."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from episode.evaluate.curves import (
    POOLED,
    comparison_figures,
    evaluation_figures,
    impedance_records,
    potential_histograms,
    precision_recall_curves,
    reliability_curves,
    training_series,
)
from episode.metrics.metrics import oracle_impedance, reliability_curve


def test_precision_recall_by_hand() -> None:
    curves = precision_recall_curves([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], ["a"] * 4)
    # thresholds .9: 1/1, recall 1/2; .8: 1/2, 1/2; .7: 2/3, 1; .1: 2/4, 1
    assert curves["a"]["recall"] == [0.5, 0.5, 1.0, 1.0]
    assert sorted(curves["a"]["precision"][:2]) == [0.5, 1.0]
    assert sorted(curves["a"]["precision"][2:]) == [0.5, pytest.approx(2 / 3, abs=1e-5)]
    assert curves["a"]["share"] == 0.5
    assert curves["a"] == curves[POOLED]


def test_environments_of_one_class_have_no_precision_recall_but_are_pooled() -> None:
    label, score, names = [1, 1, 0, 1], [3.0, 2.0, 1.0, 0.0], ["one", "one", "both", "both"]
    curves = precision_recall_curves(label, score, names)
    assert set(curves) == {"both", POOLED}
    assert curves[POOLED]["share"] == 0.75
    assert set(reliability_curves(label, [0.9, 0.8, 0.2, 0.1], names)) == {"one", "both", POOLED}


def test_unknown_labels_and_silent_rows_are_left_out() -> None:
    label, score, names = [1, 0, -1, 1], [2.0, 1.0, 5.0, math.nan], ["a", "a", "a", "a"]
    assert precision_recall_curves(label, score, names)["a"] == {
        "recall": [1.0, 1.0],
        "precision": [1.0, 0.5],
        "share": 0.5,
    }
    assert reliability_curves(label, [0.9, 0.1, 0.5, math.nan], names)["a"]["count"] == [2]
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
    recall, precision = np.array(curve["recall"]), np.array(curve["precision"])
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
    assert curves["a"]["count"] == wanted.count.tolist()
    np.testing.assert_allclose(curves["a"]["observed"], wanted.observed, rtol=1e-4)
    np.testing.assert_allclose(curves["a"]["probability"], wanted.probability, rtol=1e-4)
    assert sum(curves[POOLED]["count"]) == 500


def test_histograms_count_every_labelled_row_in_shared_bins() -> None:
    rng = np.random.default_rng(1)
    potential = np.r_[rng.normal(size=998), 1e6, -1e6]
    label = np.r_[rng.integers(0, 2, 999), -1]
    names = np.where(np.arange(1000) % 2 == 0, "even", "odd")
    drawn = potential_histograms(label, potential, names)
    assert set(drawn) == {"even", "odd"}
    assert drawn["even"]["edges"] == drawn["odd"]["edges"] and len(drawn["even"]["edges"]) == 31
    assert drawn["even"]["edges"][-1] < 10
    for name, value in (("positive", 1), ("negative", 0)):
        assert sum(sum(entry[name]) for entry in drawn.values()) == (label == value).sum()
    assert all(len(entry["positive"]) == len(entry["negative"]) == 30 for entry in drawn.values())


def test_a_potential_that_never_moves_has_a_histogram() -> None:
    drawn = potential_histograms([1, 0, 0], [2.0, 2.0, 2.0], ["a"] * 3)["a"]
    assert drawn["edges"][0] == 1.5 and drawn["edges"][-1] == 2.5
    assert (sum(drawn["positive"]), sum(drawn["negative"])) == (1, 2)


def test_impedance_records() -> None:
    entry = {"known": False, "support_size": 64, "r_student": 1.5, "r_teacher": math.nan, "r_oracle": None, "aupr": 0.4}
    (record,) = impedance_records({"HMEC": entry}, fold="fold 1")
    assert record["environment"] == "HMEC" and record["fold"] == "fold 1" and record["known"] is False
    assert (record["r_student"], record["r_teacher"], record["r_oracle"], record["r_true"]) == (1.5, None, None, None)
    assert record["support_size"] == 64 and "aupr" not in record
    json.dumps(record, allow_nan=False)


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
        assert (series["fold"], series["seed"]) == ("f", 2)
        assert series["losses"] == {"task": {"step": [3.0], "value": [0.5]}}
        assert series["pacing"] == {"a": {"step": [3.0], "pull": [0.25], "push": [0.0], "ratio": [1.0]}}
        assert series["validation"] == [
            {"step": 4, "stage": "settle", "task": 0.4, "log_loss": 0.3, "aupr": None, "slope": None}
        ]

    def test_one_push_among_thousands_still_shows(self) -> None:
        lines = [self.line(step, push_away=1.0 if step == 1234 else 0.0) for step in range(3000)]
        series = training_series(lines)
        push = series["pacing"]["a"]["push"]
        assert len(push) == 100 and max(push) == pytest.approx(1 / 30, rel=1e-4)
        assert np.mean(push) == pytest.approx(1 / 3000, rel=1e-3)
        assert len(series["losses"]["task"]["step"]) == 200

    def test_nothing_logged(self) -> None:
        assert training_series([]) == {"fold": "", "seed": 0, "validation": [], "losses": {}, "pacing": {}}


class TestComparison:
    """Two environments; "b" is tested in two folds; one environment has a planted impedance."""

    label = np.tile([1, 0, 1, 0], 10)
    names = np.repeat(["a", "b"], 20)
    fold = np.repeat(["f1", "f1", "f2", "f2"], [20, 8, 8, 4])
    potential = np.tile([2.0, 1.0, 0.5, -1.0], 10)
    """(U_I - level) / T, T = 2."""
    level = {"f1": 3.0, "f2": -1.0}  # noqa: RUF012

    def extras(self, seed: int = 0) -> list[dict[str, object]]:
        entry = {"known": False, "support_size": 9, "r_student": 1.0}
        made = []
        for fold, held in (("f1", ("a", "b")), ("f2", ("b",))):
            training = training_series([], fold=fold, seed=seed)
            records = impedance_records(dict.fromkeys(held, entry), fold=fold)
            alarms = [{"name": "collapse", "text": "x"}] if fold == "f2" else []
            made.append(
                {
                    "impedance": records,
                    "temperature": 2.0,
                    "level": self.level[fold],
                    "training": training,
                    "alarms": alarms,
                }
            )
        return made

    def figures(self, **options: Any) -> dict[str, Any]:
        silent = np.full(40, math.nan)
        rows = {"episode.potential": (self.potential, silent), "episode.student": (self.potential, self.potential - 1)}
        pooled = {"pooled": {"log_loss": {"value": 0.5, "low": None, "high": None}}}
        results = {"rows": {f"episode.few_label_{count}": pooled for count in (32, 8)} | {"distance": pooled}}
        extras = self.extras(1) + self.extras(0)
        return comparison_figures(self.label, self.names, rows, extras, results, **options)

    def test_parts(self) -> None:
        figures = self.figures()
        json.dumps(figures, allow_nan=False)
        assert set(figures["precision_recall"]) == {"episode.potential", "episode.student"}
        assert set(figures["reliability"]) == {"episode.student"}  # U_I alone claims no probability
        assert set(figures["potential"]) == {"a", "b"}
        assert [entry["labels"] for entry in figures["few_labels"]] == [8, 32]
        assert figures["few_labels"][0]["log_loss"]["value"] == 0.5
        assert len(figures["training"]) == 4
        assert [(entry["fold"], entry["seed"]) for entry in figures["alarms"]] == [("f2", 1), ("f2", 0)]

    def test_oracle_in_the_units_of_the_potential(self) -> None:
        truth = pd.DataFrame({"cell_line": ["a"], "impedance": [3.5]})
        records = {(r["environment"], r["fold"]): r for r in self.figures(fold=self.fold, truth=truth)["impedance"]}
        assert set(records) == {("a", "f1"), ("b", "f1"), ("b", "f2")}  # the first seed only
        for record, here in ((("a", "f1"), slice(20)), (("b", "f2"), slice(28, 40))):
            in_units = self.potential[here] * 2 + self.level[record[1]]
            wanted = oracle_impedance(in_units, self.label[here], 2.0)
            assert records[record]["r_oracle"] == pytest.approx(wanted)
            assert records[record]["level"] == self.level[record[1]]
        assert (records["a", "f1"]["r_true"], records["b", "f1"]["r_true"]) == (3.5, None)

    def test_without_folds_an_environment_of_two_folds_has_no_oracle(self) -> None:
        records = self.figures()["impedance"]
        assert [(r["environment"], r["r_oracle"] is None) for r in records] == [("a", False), ("b", True), ("b", True)]


def test_evaluation_by_hand() -> None:
    label = np.tile([1, 0], 30)
    potential = np.tile([2.0, 1.0], 30)
    names = np.repeat(["a", "b"], 30)
    predictions = pd.DataFrame({"environment": names, "label": label, "potential": potential, "logit": potential - 1})
    entry = {"known": True, "support_size": 3, "r_student": 0.5}
    summary = {
        "temperature": 2.0,
        "environments": {"a": entry | {"r_oracle": 1.5}, "b": entry | {"r_oracle": None}},
        "mean_impedance": {"impedance": 1.0},
    }
    figures = evaluation_figures(predictions, summary, [])
    assert set(figures["precision_recall"]) == {"episode.fused", "episode.potential", "oracle"}
    flat = figures["reliability"]["mean_impedance"]["a"]["probability"]
    assert flat == [pytest.approx((1 / (1 + math.exp(-0.5)) + 0.5) / 2, rel=1e-4)]
    assert figures["reliability"]["oracle"]["b"] == figures["reliability"]["episode.fused"]["b"]
    assert figures["reliability"]["oracle"]["a"] != figures["reliability"]["episode.fused"]["a"]
    assert figures["potential"]["a"]["edges"][0] == 0.0 and figures["potential"]["a"]["edges"][-1] == 0.5
    assert figures["impedance"][1]["r_oracle"] is None and figures["few_labels"] == []
    without = evaluation_figures(predictions, summary | {"mean_impedance": {"impedance": None}}, [])
    assert without["potential"] == {} and without["reliability"]["mean_impedance"] == {}
