from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from episode.report.evaluation import evaluation_contents
from episode.report.findings.evaluation import find_evaluation as find
from episode.report.findings.evaluation import macro_auroc_interval
from episode.report.load import Evaluation, load_folder
from episode.report.tables import Table
from episode.report.tables.evaluation import headline_table
from report_drafts import EvaluationDraft


def without_blocks(evaluation: EvaluationDraft) -> None:
    evaluation.metrics["intervals"] = {}


def test_a_good_run(evaluation: EvaluationDraft) -> None:
    findings = find(evaluation.load())
    assert findings.ranking.text.startswith("Inside an environment the potential U_I ranks pairs better than chance")
    assert "AUPR lies above the prevalence in 8 of 8 environments" in findings.ranking.details[0]
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
    assert table is not None
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
        (0.45, 0.55, "does not differ measurably from chance: the interval includes zero", True),
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
        "Idle competition, in training: is judged from the figures.",
        "Idle spectrum, in training: no direction.",
    ]


Ends = tuple[float | None, float | None]
GAINS: dict[str, Ends] = {
    "small": (0.0001, 0.0005),
    "better": (0.01, 0.03),
    "open": (-0.01, 0.03),
    "worse": (-0.03, -0.01),
    "no interval": (None, None),
}


def put_gains(evaluation: EvaluationDraft, ranking: Ends, loss: Ends) -> None:
    """Set the gains of the pooled AUPR and of the pooled log-loss, where a gain is a fall."""
    evaluation.metrics["mean_impedance"]["log_loss"] = evaluation.metrics["oracle"]["log_loss"] + 0.1
    pooled = evaluation.metrics["intervals"]["gain"]["pooled"]
    for metric, (low, high), sign in (("aupr", ranking, 1), ("log_loss", loss, -1)):
        if low is None or high is None:
            pooled[metric] = {"value": 0.01, "low": None, "high": None}
        else:
            low, high = sorted((sign * low, sign * high))
            pooled[metric] = {"value": (low + high) / 2, "low": low, "high": high}


@pytest.mark.parametrize(
    ("ranking", "loss", "said"),
    [
        ("better", "open", "helps the pooled ranking; it brings no measurable gain in the probabilities"),
        ("open", "better", "helps the probabilities; it brings no measurable gain in the pooled ranking"),
        ("open", "open", "brings no measurable gain in the pooled ranking and the probabilities"),
        ("small", "small", "brings no measurable gain in the pooled ranking and the probabilities"),
        ("no interval", "no interval", "cannot be judged in the pooled ranking and the probabilities, for lack of an"),
        ("worse", "worse", "harms the pooled ranking and the probabilities"),
        ("better", "worse", "helps the pooled ranking; it harms the probabilities"),
    ],
)
def test_only_what_the_numbers_carry_is_claimed(
    evaluation: EvaluationDraft, ranking: str, loss: str, said: str
) -> None:
    put_gains(evaluation, GAINS[ranking], GAINS[loss])
    assert said in find(evaluation.load()).impedance.text


def test_too_few_blocks_claim_nothing(evaluation: EvaluationDraft) -> None:
    put_gains(evaluation, GAINS["better"], GAINS["better"])
    assert find(evaluation.load()).impedance.text == "The impedance helps the pooled ranking and the probabilities."
    evaluation.metrics["intervals"]["blocks"] = 9
    findings = find(evaluation.load())
    assert "no measurable gain in the pooled ranking and the probabilities" in findings.impedance.text
    assert "does not differ measurably from chance: 9 blocks, a claim needs 10" in findings.ranking.text
    assert any("nothing is claimed from fewer than 10" in text for text in findings.cautions)


def test_one_environment_claims_nothing(evaluation: EvaluationDraft) -> None:
    put_gains(evaluation, GAINS["better"], GAINS["better"])
    for entry in list(evaluation.metrics["environments"].values())[1:]:
        entry["auroc"] = entry["aupr"] = None
    findings = find(evaluation.load())
    assert evaluation_contents(evaluation.load()).lead.startswith("One environment has labels of both classes")
    assert "does not differ measurably from chance: 1 environment, a claim needs 2" in findings.ranking.text
    assert "helps" not in findings.impedance.text
    assert any("Nothing is claimed from fewer than two." in text for text in findings.cautions)


@pytest.mark.parametrize(
    ("alarm", "said"),
    [
        ("weak_potential", "the potential U_I claims no gain over chance: the alarm weak potential speaks against it."),
        (
            "mean_impedance_student",
            "The impedance claims no gain in the pooled ranking and the probabilities (the alarm mean impedance "
            "student speaks against it).",
        ),
    ],
)
def test_a_claim_yields_to_an_alarm_of_the_run(evaluation: EvaluationDraft, alarm: str, said: str) -> None:
    put_gains(evaluation, GAINS["better"], GAINS["better"])
    evaluation.metrics["training_alarms"] = [{"name": alarm, "text": "so it is"}]
    findings = find(evaluation.load())
    assert said in f"{findings.ranking.text} {findings.impedance.text}"
    assert findings.alarms[-1].endswith(", in training: so it is.")


def unlabelled(evaluation: EvaluationDraft) -> None:
    """Take all labels away, as an evaluation of unlabelled pairs has none."""
    for entry in (*evaluation.metrics["environments"].values(), evaluation.metrics["pooled"]):
        for key in ("aupr", "auroc", "aupr_potential", "log_loss", "brier", "ece", "f1", "precision", "recall"):
            entry[key] = None
        entry.update(n=0, positives=0, share_positive=None, calibration_slope=None, calibration_intercept=None)
    for entry in evaluation.metrics["environments"].values():
        entry.update(r_oracle=None, collapsed=None)
    evaluation.metrics["intervals"] = {}


def test_without_a_label_it_says_so_first_and_what_is_left(evaluation: EvaluationDraft) -> None:
    unlabelled(evaluation)
    findings = find(evaluation.load())
    assert findings.ranking.text == "No pair of this dataset is labelled, so nothing could be scored."
    assert findings.impedance.text.startswith("What can still be read: R_S of 8 environments with its interval")
    assert any("nothing on this page says whether the predictions are right" in text for text in findings.cautions)
    assert any("The prediction itself warned about cell03" in text for text in findings.cautions)
    contents = evaluation_contents(evaluation.load())
    assert contents.lead.startswith("No pair of this dataset is labelled: ")
    assert contents.sections[0].title == "Impedance"
    tables = [part for section in contents.sections for part in section.parts if isinstance(part, Table)]
    assert [table.name for table in tables] == ["impedances"]
    for table in tables:
        assert all(any(row[at].order is not None for row in table.rows) for at in range(len(table.heads)))
    assert "oracle" not in tables[0].heads


def test_one_class_only_is_said_and_what_is_not_defined_is_left_out(evaluation: EvaluationDraft) -> None:
    for entry in (*evaluation.metrics["environments"].values(), evaluation.metrics["pooled"]):
        entry.update(positives=entry["n"], share_positive=1.0)
        for key in ("aupr", "auroc", "aupr_potential", "f1", "precision", "recall"):
            entry[key] = None
    for key in ("aupr", "auroc", "aupr_potential", "f1", "precision", "recall"):
        evaluation.metrics["macro"][key] = None
    evaluation.metrics["oracle"].update(aupr=None, gain_share=None)
    del evaluation.metrics["truth"]
    assert find(evaluation.load()).ranking.text.startswith("Ranking could not be judged: no environment has")
    count = evaluation.metrics["pooled"]["n"]
    lead = evaluation_contents(evaluation.load()).lead
    assert lead == f"All {count:,} labelled pairs are positive: this page has no ranking, only probabilities and R_S."
    table = headline_table(evaluation.load())
    assert table is not None
    assert table.heads == ("impedance", "log-loss (nats)", "ECE")


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


@pytest.mark.parametrize(
    ("environments", "covered", "said"),
    [(1, 1, ""), (8, 8, ""), (8, 7, ""), (8, 6, ""), (8, 4, "too narrow"), (1, 0, ""), (29, 29, "too wide")],
)
def test_coverage_is_judged_only_where_the_number_of_environments_can_tell(
    evaluation: EvaluationDraft, environments: int, covered: int, said: str
) -> None:
    # 0.9 ** 29 = 0.047; P(at most 6 of 8) = 0.19, P(at most 4 of 8) = 0.005; P(0 of 1) = 0.1
    first = next(iter(evaluation.metrics["environments"].values()))
    evaluation.metrics["environments"] = {f"cell{i}": first for i in range(environments)}
    evaluation.metrics["oracle"]["interval_coverage"] = covered / environments
    found = [text for text in find(evaluation.load()).cautions if "intervals of R_S cover" in text]
    assert len(found) == bool(said) and all(said in text for text in found)


def test_few_environments(make_folder: Callable[..., Path]) -> None:
    loaded = load_folder(make_folder(environments=2, pairs=200))
    assert isinstance(loaded, Evaluation)
    findings = find(replace(loaded, results=loaded.results.changed(intervals=None)))
    assert findings.ranking.text.startswith("2 environments cannot tell whether")
    assert "better than chance: there is no interval over blocks of the genome" in findings.ranking.text
    assert any("Only 2 environments could be ranked" in text for text in findings.cautions)
