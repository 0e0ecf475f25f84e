from collections.abc import Callable
from pathlib import Path

import pytest

from episode.report.findings import find, macro_auroc_interval
from episode.report.material import Material, load_material

MakeFolder = Callable[..., Path]


@pytest.fixture
def material(make_folder: MakeFolder) -> Material:
    return load_material(make_folder(environments=8, pairs=500))


def test_a_good_run(material: Material):
    findings = find(material)
    assert findings.ranking.startswith("Inside an environment the potential U_I ranks pairs better than chance")
    assert "AUPR is above chance in 8 of 8 environments" in findings.ranking
    assert f"{material.summary['macro']['aupr_potential']:.3f}" in findings.ranking
    assert findings.impedance.startswith("The impedance helps: over all")
    assert "cannot change the ranking" in findings.impedance
    assert findings.alarms == ()
    assert any("Warned of by the prediction itself: cell03" in text for text in findings.cautions)


def test_macro_interval_by_hand(material: Material):
    for entry, value in zip(material.summary["environments"].values(), [0.6, 0.7, 0.8], strict=False):
        entry["auroc"] = value
    for entry in list(material.summary["environments"].values())[3:]:
        entry["auroc"] = None
    # mean 0.7, sd 0.1, t(2) = 4.3027: half width 0.1 * 4.3027 / sqrt(3)
    assert macro_auroc_interval(material.summary) == pytest.approx((0.7 - 0.24841, 0.7 + 0.24841), abs=1e-4)


def test_ranking_by_chance_raises_the_alarm(material: Material):
    for index, entry in enumerate(material.summary["environments"].values()):
        entry["auroc"] = 0.5 + 0.02 * (-1) ** index
    findings = find(material)
    assert "cannot be told from chance" in findings.ranking
    assert any(text.startswith("Weak potential") for text in findings.alarms)


def test_ranking_backwards_is_said(material: Material):
    for index, entry in enumerate(material.summary["environments"].values()):
        entry["auroc"] = 0.3 + 0.01 * (-1) ** index
    findings = find(material)
    assert "worse than chance" in findings.ranking
    assert any(text.startswith("Weak potential") for text in findings.alarms)


def test_collapse_names_the_environments(material: Material):
    material.summary["environments"]["cell02"]["collapsed"] = True
    assert any(text.startswith("Collapse") and "cell02" in text for text in find(material).alarms)


def test_a_student_that_repeats_the_average(material: Material):
    for index, entry in enumerate(material.summary["environments"].values()):
        entry["r_student"] = 2.0 + 0.01 * index
    assert any(text.startswith("Mean-impedance Student") for text in find(material).alarms)
    for entry in material.summary["environments"].values():
        entry["r_oracle"] = 2.0  # nothing to follow: not judged
    assert not any(text.startswith("Mean-impedance Student") for text in find(material).alarms)


def test_idle_competition(material: Material):
    for line in material.training:
        line.update({key: 0.0 for key in ("pull_in", "push_away") if key in line})
    assert any(text.startswith("Idle competition") for text in find(material).alarms)


@pytest.mark.parametrize(
    ("aupr", "loss", "said"),
    [
        (0.1, 0.1, "helps the probabilities but not the pooled ranking"),
        (0.9, 9.0, "helps the pooled ranking but not the probabilities"),
        (0.1, 9.0, "does not help"),
    ],
)
def test_an_impedance_that_does_not_help_is_said_not_to(material: Material, aupr: float, loss: float, said: str):
    material.summary["pooled"].update(aupr=aupr, log_loss=loss)
    sentence = find(material).impedance
    assert f"The impedance {said}:" in sentence
    assert ("oracle impedance would reach" in sentence) == (aupr < 0.5)


def test_little_to_correct(material: Material):
    material.summary["oracle"]["aupr"] = material.summary["pooled"]["aupr_potential"] + 0.001
    material.summary["oracle"]["gain_share"] = None
    assert "there is little to correct" in find(material).impedance


def test_cautions(material: Material):
    material.summary["oracle"]["interval_coverage"] = 0.4
    material.summary["pooled"]["calibration_slope"] = 0.5
    material.summary["environments"]["cell01"]["aupr"] = None
    text = " ".join(find(material).cautions)
    assert "40 % of environments: too narrow" in text
    assert "too bold" in text and "0.50" in text
    assert "one class or all labels are missing: cell01" in text


def test_few_environments(make_folder: MakeFolder):
    findings = find(load_material(make_folder(environments=2, pairs=200)))
    assert findings.ranking.startswith("2 environments cannot tell whether")
    assert any("Only 2 environments could be ranked" in text for text in findings.cautions)
