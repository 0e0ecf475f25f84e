from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from episode.report.findings.evaluation import find_evaluation as find
from episode.report.findings.evaluation import macro_auroc_interval
from episode.report.load import Evaluation, load_folder
from episode.report.tables.evaluation import headline_table
from report_drafts import EvaluationDraft


def without_blocks(evaluation: EvaluationDraft) -> None:
    evaluation.metrics["intervals"] = {}


def test_a_good_run(evaluation: EvaluationDraft) -> None:
    findings = find(evaluation.load())
    assert findings.ranking.text.startswith("Inside an environment the potential U_I ranks pairs better than chance")
    assert "AUPR is above chance in 8 of 8 environments" in findings.ranking.details[0]
    assert f"{evaluation.metrics['macro']['aupr_potential']:.3f}" in findings.ranking.details[0]
    assert findings.impedance.text == "The impedance helps the pooled ranking and the probabilities."
    assert "cannot change the ranking" in findings.impedance.details[-1]
    assert findings.alarms == () and findings.leak == ""
    assert any("The prediction itself warned about cell03" in text for text in findings.cautions)


def test_a_spectrum_is_said_to_re_rank(evaluation: EvaluationDraft) -> None:
    evaluation.metrics["provenance"]["config"] = {"impedance": {"channels": 2}}
    evaluation.metrics["macro"] |= {"aupr": 0.456, "aupr_potential": 0.345}
    evaluation.metrics["intervals"]["gain"]["aupr"] = {"value": 0.111, "low": 0.1, "high": 0.12}
    findings = find(evaluation.load())
    assert findings.ranking.text.startswith("Inside an environment the full model ranks pairs better than chance")
    last = findings.impedance.details[-1]
    assert "its 2 impedances can re-rank pairs: mean AUPR 0.456, by U_I alone 0.345" in last
    assert "+0.100" in last and "cannot change" not in last
    table = headline_table(evaluation.load())
    assert "where a single impedance changes nothing" in table.caption
    shown = [cell.text for row in table.rows for cell in row]
    assert shown.count("0.456") == 2 * shown.count("0.345") > 0, "the oracle shifts all pairs of the full model alike"


def test_macro_interval_is_that_of_the_blocks_where_there_are_any(evaluation: EvaluationDraft) -> None:
    evaluation.metrics["intervals"]["macro"]["auroc"] = {"value": 0.6, "low": 0.55, "high": 0.65}
    assert macro_auroc_interval(evaluation.load()) == (0.55, 0.65)


def test_macro_interval_over_environments_by_hand(evaluation: EvaluationDraft) -> None:
    without_blocks(evaluation)
    for entry, value in zip(evaluation.metrics["environments"].values(), [0.6, 0.7, 0.8], strict=False):
        entry["auroc"] = value
    for entry in list(evaluation.metrics["environments"].values())[3:]:
        entry["auroc"] = None
    # mean 0.7, sd 0.1, t(2) = 4.3027: half width 0.1 * 4.3027 / sqrt(3)
    assert macro_auroc_interval(evaluation.load()) == pytest.approx((0.7 - 0.24841, 0.7 + 0.24841), abs=1e-4)


@pytest.mark.parametrize(
    ("low", "high", "said", "alarm"),
    [
        (0.45, 0.55, "does not differ significantly from chance", True),
        (0.3, 0.4, "worse than chance", True),
        (0.51, 0.6, "better", False),
    ],
)
def test_ranking_against_chance(evaluation: EvaluationDraft, low: float, high: float, said: str, alarm: bool) -> None:
    evaluation.metrics["intervals"]["macro"]["auroc"] = {"value": (low + high) / 2, "low": low, "high": high}
    findings = find(evaluation.load())
    assert said in findings.ranking.text
    assert any(text.startswith("Weak potential") for text in findings.alarms) is alarm


def test_collapse_names_the_environments(evaluation: EvaluationDraft) -> None:
    evaluation.metrics["environments"]["cell02"]["collapsed"] = True
    assert any(text.startswith("Collapse") and "cell02" in text for text in find(evaluation.load()).alarms)


def test_a_student_that_repeats_the_average(evaluation: EvaluationDraft) -> None:
    for index, entry in enumerate(evaluation.metrics["environments"].values()):
        entry["r_student"] = 2.0 + 0.01 * index
    assert any(text.startswith("Mean-impedance Student") for text in find(evaluation.load()).alarms)
    for entry in evaluation.metrics["environments"].values():
        entry["r_oracle"] = 2.0  # nothing to follow: not judged
    assert not any(text.startswith("Mean-impedance Student") for text in find(evaluation.load()).alarms)


def test_idle_competition(evaluation: EvaluationDraft) -> None:
    for entry in evaluation.figures["training"][0]["pacing"].values():
        entry.update(pull=[0.0] * len(entry["pull"]), push=[0.0] * len(entry["push"]))
    assert any(text.startswith("Idle competition") for text in find(evaluation.load()).alarms)
    next(iter(evaluation.figures["training"][0]["pacing"].values()))["push"][7] = 1e-6
    assert not any(text.startswith("Idle competition") for text in find(evaluation.load()).alarms)


def test_alarms_of_training_are_stated_once(evaluation: EvaluationDraft) -> None:
    evaluation.metrics["training_alarms"] = [
        {"name": "shortcut_dependence", "text": "0.03 +- 0.01 nats"},
        {"name": "idle_competition", "text": "is judged from the figures"},
        {"name": "idle_spectrum", "text": "no direction"},
    ]
    assert list(find(evaluation.load()).alarms) == [
        "Shortcut dependence, in training: 0.03 ± 0.01 nats.",
        "Idle spectrum, in training: no direction.",
    ]


GAINS = {"better": (0.01, 0.03), "open": (-0.01, 0.03), "worse": (-0.03, -0.01), "no interval": (None, None)}


@pytest.mark.parametrize(
    ("ranking", "loss", "said"),
    [
        ("better", "open", "that it helps the probabilities cannot be shown"),
        ("open", "better", "that it helps the pooled ranking cannot be shown"),
        ("open", "open", "That the impedance helps cannot be shown"),
        ("no interval", "no interval", "That the impedance helps cannot be shown"),
        ("worse", "worse", "harms both"),
        ("better", "worse", "helps the pooled ranking and harms the probabilities"),
    ],
)
def test_nothing_is_claimed_where_the_interval_includes_zero(
    evaluation: EvaluationDraft, ranking: str, loss: str, said: str
) -> None:
    low, high = GAINS[ranking]
    pooled = evaluation.metrics["intervals"]["gain"]["pooled"]
    pooled["aupr"] = {"value": 0.01, "low": low, "high": high}
    low, high = GAINS[loss]  # a gain is a lower log-loss
    pooled["log_loss"] = {"value": -0.01, "low": None if high is None else -high, "high": None if low is None else -low}
    assert said in find(evaluation.load()).impedance.text


def test_little_to_correct(evaluation: EvaluationDraft) -> None:
    evaluation.metrics["oracle"]["aupr"] = evaluation.metrics["pooled"]["aupr_potential"] + 0.001
    evaluation.metrics["oracle"]["gain_share"] = None
    assert "there is little to correct" in find(evaluation.load()).impedance.details[0]


def test_cautions(evaluation: EvaluationDraft) -> None:
    evaluation.metrics["oracle"]["interval_coverage"] = 0.4
    evaluation.metrics["pooled"]["calibration_slope"] = 0.5
    evaluation.metrics["environments"]["cell01"]["aupr"] = None
    text = " ".join(find(evaluation.load()).cautions)
    assert "40 % of environments: too narrow" in text
    assert "overconfident" in text and "0.50" in text
    assert "one class or all labels are missing: cell01" in text
    assert "30 blocks of the genome" in text and "rough" not in text
    evaluation.metrics["intervals"]["blocks"] = 8
    assert "8 blocks of the genome; from so few they are rough" in " ".join(find(evaluation.load()).cautions)
    without_blocks(evaluation)
    assert "no intervals over the genome" in " ".join(find(evaluation.load()).cautions)


def test_few_environments(make_folder: Callable[..., Path]) -> None:
    loaded = load_folder(make_folder(environments=2, pairs=200))
    assert isinstance(loaded, Evaluation)
    findings = find(replace(loaded, results=loaded.results.changed(intervals=None)))
    assert findings.ranking.text.startswith("2 environments cannot tell whether")
    assert any("Only 2 environments could be ranked" in text for text in findings.cautions)
