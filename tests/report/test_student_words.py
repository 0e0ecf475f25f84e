"""Which Student an evaluation is of: members, loci of training, what does not transfer."""

from __future__ import annotations

from typing import Any

import pytest

from episode.report.contents import Text
from episode.report.evaluation import evaluation_contents
from episode.report.findings.evaluation import find_evaluation
from episode.report.guide import student_text, training_text
from episode.report.tables.evaluation import impedance_table
from report_drafts import EvaluationDraft


def put(evaluation: EvaluationDraft, members: int, *lost: str, shared: int = 0, kind: str = "closed_form") -> None:
    """Say which Student an evaluation is of; the first `shared` environments have loci of training."""
    names = list(evaluation.metrics["environments"])
    views = {name: "shared" if place < shared else "new" for place, name in enumerate(names)}
    evaluation.metrics["student"] = {
        "kind": kind,
        "members": members,
        "views": views if kind == "closed_form" else {},
        "nothing_transfers": list(lost),
    }
    if lost:
        alarm = {"name": "nothing_transfers", "text": "at new loci U_I ranks nothing"}
        evaluation.metrics.setdefault("training_alarms", []).append(alarm)


def said(text: Text | None) -> str:
    return "" if text is None else " ".join(text.paragraphs)


def test_members_and_loci_are_said(evaluation: EvaluationDraft) -> None:
    count = len(evaluation.metrics["environments"])
    put(evaluation, 6, shared=1)
    data = evaluation.load()
    words = said(student_text(data.results))
    assert "closed form" in words and "the mean of 6 members" in words
    assert f"1 environment with most pairs at loci shared with training and {count - 1} environment" in words
    assert "transfers" not in words
    assert "has 6 members, each with a training run of its own; shown is the first" in said(training_text(data.results))
    table = impedance_table(data)
    assert table.heads[:3] == ("environment", "status", "loci") and "log-odds" in table.caption
    assert [row[2].text for row in table.rows] == ["shared", *["new"] * (count - 1)]
    assert any("one training run of 6 members" in text for text in find_evaluation(data).cautions)


def test_one_member_is_calibrated_on_loci_held_out_whatever_the_pairs(evaluation: EvaluationDraft) -> None:
    put(evaluation, 1)
    data = evaluation.load()
    words = said(student_text(data.results))
    assert "held out in training, wherever pairs lie." in words and "members" not in words
    assert "loci" not in impedance_table(data).heads
    assert "network that is trained along" in said(training_text(data.results))
    guide = said(evaluation_contents(data).sections[-1].parts[0])  # type: ignore[arg-type]
    assert "T is 1: U_I and R_E are log-odds" in guide


@pytest.mark.parametrize("kind", ["network", None])
def test_a_network_reads_units_of_the_potential(evaluation: EvaluationDraft, kind: str | None) -> None:
    if kind is None:
        evaluation.metrics.pop("student", None)
    else:
        put(evaluation, 1, kind=kind)
    data = evaluation.load()
    assert said(student_text(data.results)).startswith("R_S is read by the network" if kind else "")
    assert training_text(data.results) is None
    assert "Impedances in units of U_I" in impedance_table(data).caption
    guide = said(evaluation_contents(data).sections[-1].parts[0])  # type: ignore[arg-type]
    assert "is one number for all" in guide


@pytest.mark.parametrize(("members", "shared", "where"), [(1, 0, "; nothing transfers"), (4, 1, "(there nothing tran")])
def test_where_nothing_transfers_no_gain_over_chance_is_claimed(
    evaluation: EvaluationDraft, members: int, shared: int, where: str
) -> None:
    assert "ranks pairs better than chance" in find_evaluation(evaluation.load()).ranking.text
    put(evaluation, members, "new", shared=shared)
    found = find_evaluation(evaluation.load())
    assert where in said(student_text(evaluation.load().results))
    assert any(text.startswith("Nothing transfers, in training: at new loci U_I ranks") for text in found.alarms)
    assert "claims no gain over chance: the alarm nothing transfers speaks against it" in found.ranking.text


def test_what_does_not_transfer_elsewhere_does_not_speak_against_this_dataset(evaluation: EvaluationDraft) -> None:
    put(evaluation, 4, "new", shared=len(evaluation.metrics["environments"]))
    found = find_evaluation(evaluation.load())
    assert "ranks pairs better than chance" in found.ranking.text
    assert any(text.startswith("Nothing transfers") for text in found.alarms)


def test_the_log_of_one_member_is_no_idle_competition_of_all(evaluation: EvaluationDraft) -> None:
    run: Any
    for run in evaluation.figures["training"]:
        for entry in run["pacing"].values():
            entry["pull"], entry["push"] = [0.0] * len(entry["pull"]), [0.0] * len(entry["push"])
    assert any(text.startswith("Idle competition") for text in find_evaluation(evaluation.load()).alarms)
    put(evaluation, 4)
    assert not any(text.startswith("Idle competition") for text in find_evaluation(evaluation.load()).alarms)
