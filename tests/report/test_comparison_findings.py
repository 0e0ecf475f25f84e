"""The findings: a method beats another only where the paired interval shows it, and what is doubtful is stated."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from episode.metrics.intervals import Estimate
from episode.report.findings import Findings, signed
from episode.report.findings.cautions import collapsed_methods, leak, student_slope
from episode.report.findings.comparison import best_baselines, find_comparison
from episode.report.methods import standing
from report_drafts import ComparisonDraft

ABOVE, BELOW, ACROSS = (0.01, 0.03), (-0.03, -0.01), (-0.01, 0.02)


def put(content: ComparisonDraft, pair: str, scope: str, metric: str, ends: tuple[float | None, float | None]) -> None:
    """Set the ends of one difference, and its value to their middle."""
    low, high = ends
    content.put_difference(pair, scope, metric, 0.0 if low is None or high is None else (low + high) / 2, low, high)


def ranked(content: ComparisonDraft, pair: str, auroc: tuple[Any, Any], aupr: tuple[Any, Any]) -> Findings:
    put(content, pair, "macro", "auroc", auroc)
    put(content, pair, "macro", "aupr", aupr)
    return find_comparison(content.load())


def corrected(content: ComparisonDraft, baseline: str, *ends: tuple[Any, Any]) -> str:
    measures = (("pooled", "log_loss"), ("macro", "log_loss"), ("pooled", "ece"))
    for measure, pair in zip(measures, ends, strict=True):
        put(content, f"episode.student-{baseline}", *measure, pair)
    return find_comparison(content.load()).impedance.text


@given(st.floats(-1, 1), st.floats(0, 1))
def test_standing_never_claims_across_zero(low: float, width: float) -> None:
    number = Estimate(value=low + width / 2, low=low, high=low + width)
    for metric in ("auroc", "log_loss"):
        assert (standing(number, metric) == "open") == (low <= 0 <= low + width)
    opposite = {"better": "worse", "worse": "better", "open": "open"}
    assert standing(number, "log_loss") == opposite[standing(number, "auroc")]
    assert standing(-number, "auroc") == opposite[standing(number, "auroc")]
    assert standing(Estimate(value=low), "auroc") == "unknown"


def test_differences_are_found_from_either_side(comparison: ComparisonDraft) -> None:
    comparison.results["differences"] = {}
    comparison.put_difference("b-a", "macro", "auroc", 0.2, 0.1, 0.4)
    results = comparison.load().results
    assert results.difference("a", "b", "macro", "auroc") == Estimate(value=-0.2, low=-0.4, high=-0.1)
    assert results.difference("b", "a", "macro", "auroc") == Estimate(value=0.2, low=0.1, high=0.4)
    assert results.difference("a", "c", "pooled", "auroc") == Estimate()


class TestRanking:
    @pytest.mark.parametrize(
        ("known", "place"),
        [
            (0, "On unseen environments U_I "),
            (1, "environments, 1 of which training knew, U_I "),
            (99, "On environments that training knew U_I "),
        ],
    )
    def test_place(self, comparison: ComparisonDraft, known: int, place: str) -> None:
        for index, entry in enumerate(comparison.results["environments"].values()):
            entry["known"] = index < known
        assert place in find_comparison(comparison.load()).ranking.text

    def test_verbs(self, comparison: ComparisonDraft) -> None:
        ranked(comparison, "episode.potential-distance", ABOVE, ABOVE)
        ranked(comparison, "episode.potential-promoter_degree", ACROSS, ACROSS)
        text = ranked(comparison, "episode.potential-ctcf_gbm", BELOW, BELOW).ranking.text
        assert text == (
            "On unseen environments U_I ranks pairs better than chance. It beats distance; it does not differ "
            "significantly from promoter_degree; it was not compared with opportunist; it loses to ctcf_gbm "
            "(best sequence baseline)."
        )

    def test_a_mixed_standing_says_in_what(self, comparison: ComparisonDraft) -> None:
        text = ranked(comparison, "episode.potential-distance", ABOVE, ACROSS).ranking.text
        assert "beats distance in AUROC (undecided in AUPR)" in text
        text = ranked(comparison, "episode.potential-distance", BELOW, ABOVE).ranking.text
        assert "beats distance in AUPR (loses in AUROC)" in text

    @pytest.mark.parametrize(
        ("low", "high", "said"),
        [
            (0.51, 0.6, "ranks pairs better than chance"),
            (0.49, 0.6, "does not differ significantly from chance"),
            (0.5, 0.6, "does not differ significantly from chance"),
            (0.3, 0.4, "ranks pairs worse than chance"),
            (None, None, "has no interval, so nothing is claimed against chance"),
        ],
    )
    def test_chance(self, comparison: ComparisonDraft, low: float | None, high: float | None, said: str) -> None:
        comparison.results["methods"]["episode.potential"]["macro"]["auroc"] = {"value": 0.55, "low": low, "high": high}
        findings = find_comparison(comparison.load())
        assert f"U_I {said}." in findings.ranking.text
        assert any(text.startswith("Weak potential:") for text in findings.alarms) == (low is not None and low <= 0.5)

    def test_numbers_stand_below(self, comparison: ComparisonDraft) -> None:
        details = find_comparison(comparison.load()).ranking.details
        own = comparison.results["methods"]["episode.potential"]["macro"]["auroc"]
        assert f"{own['value']:.3f} ({own['low']:.3f} to {own['high']:.3f}), chance 0.5" in details[0]
        found = comparison.results["differences"]["episode.potential-distance"]["auroc"]
        assert any(
            line.startswith("Against distance") and signed(found["value"]) in line and signed(found["low"]) in line
            for line in details
        )

    def test_the_best_baselines_by_either_metric(self, comparison: ComparisonDraft) -> None:
        rows = comparison.results["methods"]
        rows["ctcf_gbm"]["macro"]["auroc"]["value"], rows["ctcf_gbm"]["macro"]["aupr"]["value"] = 0.9, 0.1
        rows["motif_gbm"]["macro"]["aupr"]["value"] = 0.8
        assert best_baselines(comparison.load().results) == ["ctcf_gbm", "motif_gbm"]
        for row in ("ctcf_gbm", "motif_gbm"):
            rows[row]["macro"]["auroc"]["value"] = rows[row]["macro"]["aupr"]["value"] = None
        assert best_baselines(comparison.load().results) == ["ctcf_convergence"]

    def test_no_method(self, comparison: ComparisonDraft) -> None:
        comparison.drop_method("episode.potential")
        assert "could not be judged" in find_comparison(comparison.load()).ranking.text


class TestImpedance:
    def test_lower_log_loss_beats(self, comparison: ComparisonDraft) -> None:
        assert "beats em" in corrected(comparison, "em", BELOW, BELOW, BELOW)
        assert "loses to em" in corrected(comparison, "em", ABOVE, ABOVE, ABOVE)
        assert "does not differ significantly from em" in corrected(comparison, "em", ACROSS, ACROSS, ACROSS)
        assert "was not compared with em" in corrected(comparison, "em", *[(None, None)] * 3)

    def test_pooled_alone(self, comparison: ComparisonDraft) -> None:
        text = corrected(comparison, "mean_impedance", BELOW, ACROSS, ABOVE)
        assert "beats mean_impedance in pooled log-loss (loses in pooled ECE, undecided in macro log-loss)" in text

    def test_without_a_student_the_fused_method_speaks(self, comparison: ComparisonDraft) -> None:
        comparison.results["methods"]["episode.student"]["pooled"]["log_loss"]["value"] = None
        assert find_comparison(comparison.load()).impedance.text.startswith("The impedance correction (episode.fused)")

    def test_nothing_to_judge_by(self, comparison: ComparisonDraft) -> None:
        for row in ("em", "bbse", "mean_impedance"):
            comparison.drop_method(row)
        assert "none of its baselines" in find_comparison(comparison.load()).impedance.text
        for row in ("episode.student", "episode.fused"):
            comparison.drop_method(row)
        assert "no method has its log-loss" in find_comparison(comparison.load()).impedance.text


class TestDoubt:
    def test_what_the_fixture_holds(self, comparison: ComparisonDraft) -> None:
        cautions = " ".join(find_comparison(comparison.load()).cautions)
        assert "17 blocks" in cautions and "Only 17 blocks" in cautions
        assert "One class only" in cautions and "IMR90" in cautions
        assert "NHEK:CTCF (5)" in cautions
        assert "One seed only" in cautions
        assert "Methods without ranking numbers: episode.teacher" in cautions
        assert "The split leaks" in cautions

    def test_wide_intervals_and_few_environments(self, comparison: ComparisonDraft) -> None:
        comparison.results["methods"]["distance"]["macro"]["auroc"] = {"value": 0.5, "low": 0.3, "high": 0.7}
        kept = dict(list(comparison.results["environments"].items())[:2])
        comparison.results["environments"] = kept
        cautions = " ".join(find_comparison(comparison.load()).cautions)
        assert "uncertain by more than 0.1 for" in cautions and "distance" in cautions
        assert "Only 2 environments" in cautions

    def test_leak(self, comparison: ComparisonDraft) -> None:
        audit = comparison.results["audit"]
        assert "allowed on request" in leak(comparison.load().results.audit)
        assert "31 % of the test pairs have an enhancer, 62 % of the test pairs have a promoter" in leak(
            comparison.load().results.audit
        )
        audit.update(allowed=False, policy="audit")
        assert "as its makers split it" in leak(comparison.load().results.audit)
        audit["locus_leak"] = False
        for fold in audit["folds"]:
            fold.update(enhancer=0.0, promoter=0.0, locus=0.0)
        assert leak(comparison.load().results.audit) == ""
        assert not any("leaks" in text for text in find_comparison(comparison.load()).cautions)
        audit["folds"][0]["pair"] = 0.004
        assert "0.4 % of the test pairs have a pair" in leak(comparison.load().results.audit)

    def test_collapse(self, comparison: ComparisonDraft) -> None:
        rows, entries = comparison.results["methods"], comparison.results["environments"].values()
        share = sum(entry["positives"] for entry in entries) / sum(entry["n"] for entry in entries)
        for row in rows:
            rows[row]["pooled"]["precision"]["value"] = rows[row]["pooled"]["recall"]["value"] = 0.5
        assert collapsed_methods(comparison.load().results) == []
        rows["em"]["pooled"]["recall"]["value"], rows["em"]["pooled"]["precision"]["value"] = 0.99, share + 0.01
        rows["sept"]["pooled"]["recall"]["value"], rows["sept"]["pooled"]["precision"]["value"] = 0.01, 0.9
        rows["bbse"]["pooled"]["recall"]["value"], rows["bbse"]["pooled"]["precision"]["value"] = 0.99, share + 0.05
        assert sorted(collapsed_methods(comparison.load().results)) == ["em", "sept"]
        assert any(text.startswith("Collapse") for text in find_comparison(comparison.load()).alarms)

    def test_degenerate_student_by_hand(self, comparison: ComparisonDraft) -> None:
        # two folds, each with a level of its own; slopes 0.1 and 0.3 over equal spreads: 0.2
        points = [("f", 1.0, 5.0), ("f", 3.0, 5.2), ("g", 1.0, 0.0), ("g", 3.0, 0.6)]
        record = comparison.figures["impedance"][0]
        comparison.figures["impedance"] = [
            record | {"fold": fold, "r_oracle": oracle, "r_student": student, "temperature": 1.0}
            for fold, oracle, student in points
        ]
        assert student_slope(comparison.load().figures) == pytest.approx(0.2)
        assert any(text.startswith("Mean-impedance Student") for text in find_comparison(comparison.load()).alarms)
        for entry in comparison.figures["impedance"]:
            entry["r_oracle"] = 2.0
        assert student_slope(comparison.load().figures) is None

    def test_training_alarms_and_idle_competition(self, comparison: ComparisonDraft) -> None:
        alarms = find_comparison(comparison.load()).alarms
        assert "Weak potential, in training, k562, seed 0: macro AUROC 0.52 ± 0.05." in alarms
        assert not any(text.startswith("Idle") for text in alarms)
        for entry in comparison.figures["training"][1]["pacing"].values():
            entry.update(pull=[0.0], push=[0.0])
        assert any(
            "stayed at zero in 1 of 3 training runs" in text for text in find_comparison(comparison.load()).alarms
        )
