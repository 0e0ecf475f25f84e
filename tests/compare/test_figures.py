"""Content of figures.json of a comparison: which parts, and the references of the impedances by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from episode.compare.figures import comparison_figures
from episode.compare.results import ComparisonResults, MethodResults
from episode.evaluate.curves import impedance_records, training_series
from episode.evaluate.figures import ComparisonFigures, FoldAlarm, RunFigures
from episode.evaluate.results import EnvironmentSummary
from episode.metrics.intervals import METRICS, ByMetric, Estimate
from episode.metrics.metrics import oracle_impedance

# Two environments; "b" is tested in two folds; one environment has a simulated impedance.
LABEL = np.tile([1, 0, 1, 0], 10)
NAMES = np.repeat(["a", "b"], 20)
FOLD = np.repeat(["f1", "f1", "f2", "f2"], [20, 8, 8, 4])
POTENTIAL = np.tile([2.0, 1.0, 0.5, -1.0], 10)
"""(U_I - level) / T, T = 2."""
LEVEL = {"f1": 3.0, "f2": -1.0}


def runs(seed: int = 0) -> list[RunFigures]:
    entry = EnvironmentSummary.model_construct(known=False, support_size=9, r_student=1.0)
    return [
        RunFigures(
            impedance=impedance_records(dict.fromkeys(held, entry), fold=fold),
            temperature=2.0,
            offset=0.0,
            alarms=[],
            roles={},
            training=training_series([], fold=fold, seed=seed),
            level=LEVEL[fold],
        )
        for fold, held in (("f1", ("a", "b")), ("f2", ("b",)))
    ]


def figures(truth: pd.DataFrame | None = None) -> ComparisonFigures:
    silent = np.full(40, math.nan)
    methods = {"episode.potential": (POTENTIAL, silent), "episode.student": (POTENTIAL, POTENTIAL - 1)}
    numbers = ByMetric[Estimate](**{metric: Estimate() for metric in METRICS})
    pooled = numbers.model_copy(update={"log_loss": Estimate(value=0.5)})
    names = ("episode.few_label_32", "episode.few_label_8", "distance")
    results = ComparisonResults.model_construct(
        methods={name: MethodResults.model_construct(pooled=pooled) for name in names},
        alarms=[FoldAlarm(fold="f2", seed=1, name="collapse", text="x")],
    )
    return comparison_figures(LABEL, NAMES, methods, runs(1) + runs(0), results, fold=FOLD, truth=truth)


def test_parts() -> None:
    found = figures()
    assert ComparisonFigures.model_validate_json(found.model_dump_json()) == found
    assert set(found.precision_recall) == {"episode.potential", "episode.student"}
    assert set(found.reliability) == {"episode.student"}  # U_I alone claims no probability
    assert set(found.potential) == {"a", "b"}
    assert [entry.labels for entry in found.few_labels] == [8, 32]
    assert found.few_labels[0].log_loss.value == 0.5
    assert len(found.training) == 4
    assert [(entry.fold, entry.seed) for entry in found.alarms] == [("f2", 1)]


def test_oracle_in_the_units_of_the_potential() -> None:
    truth = pd.DataFrame({"cell_line": ["a"], "impedance": [3.5]})
    records = {(r.environment, r.fold): r for r in figures(truth).impedance}
    assert set(records) == {("a", "f1"), ("b", "f1"), ("b", "f2")}  # the first seed only
    for record, here in ((("a", "f1"), slice(20)), (("b", "f2"), slice(28, 40))):
        in_units = POTENTIAL[here] * 2 + LEVEL[record[1]]
        wanted = oracle_impedance(in_units, LABEL[here], 2.0)
        assert records[record].r_oracle == pytest.approx(wanted)
        assert records[record].level == LEVEL[record[1]] and records[record].temperature == 2.0
    assert (records["a", "f1"].r_true, records["b", "f1"].r_true) == (3.5, None)
