"""The findings: a method beats another only where the rule for claims says so, and what is doubtful is stated."""

from __future__ import annotations

from typing import Any

import pytest

from episode.metrics.intervals import Estimate
from episode.report.findings import Findings, signed
from episode.report.findings.cautions import collapsed_methods, leak, student_slope
from episode.report.findings.comparison import best_baselines, find_comparison
from episode.report.tables.comparison import difference_table
from report_drafts import ComparisonDraft

SMALL = (-0.0005, -0.0001)
ABOVE, BELOW, ACROSS = (0.01, 0.03), (-0.03, -0.01), (-0.01, 0.02)


@pytest.fixture
def quiet(comparison: ComparisonDraft) -> ComparisonDraft:
    """The comparison without its alarm of a weak potential."""
    comparison.results["alarms"] = []
    return comparison


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


def rename_subset(content: ComparisonDraft, old: str, new: str) -> None:
    results = content.results
    entries = (results["protocol"]["subsets"], *results["methods"].values(), *results["differences"].values())
    for entry in entries:
        entry[new] = entry.pop(old)


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
    def test_place(self, quiet: ComparisonDraft, known: int, place: str) -> None:
        for index, entry in enumerate(quiet.results["environments"].values()):
            entry["known"] = index < known
        assert place in find_comparison(quiet.load()).ranking.text

    def test_verbs(self, quiet: ComparisonDraft) -> None:
        ranked(quiet, "episode.potential-distance", ABOVE, ABOVE)
        ranked(quiet, "episode.potential-promoter_degree", ACROSS, ACROSS)
        text = ranked(quiet, "episode.potential-ctcf_gbm", BELOW, BELOW).ranking.text
        assert text == (
            "On unseen environments U_I ranks pairs better than chance. It beats distance; it shows no measurable gain "
            "over promoter_degree; it was not compared with opportunist; it loses to ctcf_gbm "
            "(best sequence baseline)."
        )

    def test_a_mixed_standing_says_in_what(self, quiet: ComparisonDraft) -> None:
        text = ranked(quiet, "episode.potential-distance", ABOVE, ACROSS).ranking.text
        assert "beats distance in AUROC (no measurable gain in AUPR)" in text
        text = ranked(quiet, "episode.potential-distance", BELOW, ABOVE).ranking.text
        assert "beats distance in AUPR (loses in AUROC)" in text

    @pytest.mark.parametrize(
        ("low", "high", "said"),
        [
            (0.51, 0.6, "ranks pairs better than chance"),
            (0.49, 0.6, "does not differ measurably from chance (the interval includes zero)"),
            (0.5, 0.6, "does not differ measurably from chance (the interval includes zero)"),
            (0.3, 0.4, "ranks pairs worse than chance"),
            (None, None, "has no interval, so nothing is claimed against chance"),
        ],
    )
    def test_chance(self, quiet: ComparisonDraft, low: float | None, high: float | None, said: str) -> None:
        middle = 0.55 if low is None or high is None else (low + high) / 2
        quiet.results["methods"]["episode.potential"]["macro"]["auroc"] = {"value": middle, "low": low, "high": high}
        findings = find_comparison(quiet.load())
        assert f"U_I {said}." in findings.ranking.text
        assert any(text.startswith("Weak potential:") for text in findings.alarms) == (low is not None and low <= 0.5)

    def test_numbers_stand_below(self, quiet: ComparisonDraft) -> None:
        details = find_comparison(quiet.load()).ranking.details
        own = quiet.results["methods"]["episode.potential"]["macro"]["auroc"]
        assert f"{own['value']:.3f} ({own['low']:.3f} to {own['high']:.3f}), chance 0.5" in details[0]
        found = quiet.results["differences"]["episode.potential-distance"]["auroc"]
        assert any(
            line.startswith("Against distance") and signed(found["value"]) in line and signed(found["low"]) in line
            for line in details
        )

    def test_the_best_baselines_by_either_metric(self, quiet: ComparisonDraft) -> None:
        rows = quiet.results["methods"]
        rows["ctcf_gbm"]["macro"]["auroc"]["value"], rows["ctcf_gbm"]["macro"]["aupr"]["value"] = 0.9, 0.1
        rows["motif_gbm"]["macro"]["aupr"]["value"] = 0.8
        assert best_baselines(quiet.load().results) == ["ctcf_gbm", "motif_gbm"]
        for row in ("ctcf_gbm", "motif_gbm"):
            rows[row]["macro"]["auroc"]["value"] = rows[row]["macro"]["aupr"]["value"] = None
        assert best_baselines(quiet.load().results) == ["ctcf_convergence"]

    def test_no_method(self, quiet: ComparisonDraft) -> None:
        quiet.drop_method("episode.potential")
        assert "could not be judged" in find_comparison(quiet.load()).ranking.text


class TestImpedance:
    def test_lower_log_loss_beats(self, quiet: ComparisonDraft) -> None:
        assert "beats em" in corrected(quiet, "em", BELOW, BELOW, BELOW)
        assert "loses to em" in corrected(quiet, "em", ABOVE, ABOVE, ABOVE)
        assert "shows no measurable gain over em" in corrected(quiet, "em", ACROSS, ACROSS, ACROSS)
        assert "was not compared with em" in corrected(quiet, "em", *[(None, None)] * 3)

    def test_pooled_alone(self, quiet: ComparisonDraft) -> None:
        text = corrected(quiet, "mean_impedance", BELOW, ACROSS, ABOVE)
        assert (
            "beats mean_impedance in pooled log-loss (loses in pooled ECE, no measurable gain in macro log-loss)"
            in text
        )

    def test_without_a_student_the_fused_method_speaks(self, quiet: ComparisonDraft) -> None:
        quiet.results["methods"]["episode.student"]["pooled"]["log_loss"]["value"] = None
        assert find_comparison(quiet.load()).impedance.text.startswith("The impedance correction (episode.fused)")

    def test_nothing_to_judge_by(self, quiet: ComparisonDraft) -> None:
        for row in ("em", "bbse", "mean_impedance"):
            quiet.drop_method(row)
        assert "none of its baselines" in find_comparison(quiet.load()).impedance.text
        for row in ("episode.student", "episode.fused"):
            quiet.drop_method(row)
        assert "no method has its log-loss" in find_comparison(quiet.load()).impedance.text


class TestSmallGains:
    """A Student that gains 0.0003 nats."""

    def test_no_measurable_gain(self, quiet: ComparisonDraft) -> None:
        quiet.results["intervals"].update(blocks=2, draws=100)
        text = corrected(quiet, "mean_impedance", SMALL, SMALL, SMALL)
        assert "shows no measurable gain over mean_impedance" in text and "beats" not in text
        assert any("Nothing is claimed from fewer than 10." in line for line in find_comparison(quiet.load()).cautions)

    def test_no_measurable_loss(self, quiet: ComparisonDraft) -> None:
        above = (0.0001, 0.0005)
        text = corrected(quiet, "mean_impedance", above, above, above)
        assert "shows no measurable difference from mean_impedance" in text and "loses to mean_impedance" not in text

    def test_the_line_below_says_why(self, quiet: ComparisonDraft) -> None:
        corrected(quiet, "mean_impedance", SMALL, BELOW, BELOW)
        details = " ".join(find_comparison(quiet.load()).impedance.details)
        assert "pooled log-loss 0.000 (−0.001 to 0.000; smaller than 0.002), macro log-loss −0.020 (" in details

    def test_a_tenth_of_what_the_oracle_gains(self, quiet: ComparisonDraft) -> None:
        methods = quiet.results["methods"]
        methods["mean_impedance"]["pooled"]["log_loss"]["value"] = 0.5
        for oracle, said in ((0.31, "beats mean_impedance"), (0.29, "no measurable gain in pooled log-loss")):
            methods["oracle"]["pooled"]["log_loss"]["value"] = oracle  # a gain of 0.19 and of 0.21 nats
            assert said in corrected(quiet, "mean_impedance", BELOW, BELOW, BELOW)

    def test_a_bold_difference_is_a_claim(self, quiet: ComparisonDraft) -> None:
        corrected(quiet, "mean_impedance", SMALL, (-0.5, -0.3), ABOVE)

        def bold(*alarms: str) -> dict[str, bool]:
            table = difference_table(quiet.load().results, alarms)
            (row,) = (row for row in table.rows if row[0].text == "episode.student − mean_impedance")
            return {head: cell.strong for head, cell in zip(table.heads, row, strict=True)}

        found = bold()
        assert not found["pooled log-loss (nats)"] and found["macro log-loss (nats)"] and found["pooled ECE"]
        found = bold("mean_impedance_student")
        assert not found["macro log-loss (nats)"], "a gain yields to the alarm"
        assert found["pooled ECE"], "a loss does not"


class TestAlarmsAgainstClaims:
    def alarm(self, content: ComparisonDraft, name: str) -> Findings:
        content.results["alarms"] = [{"fold": "k562", "seed": 0, "name": name, "text": "so it is"}]
        return find_comparison(content.load())

    def test_a_student_that_repeats_the_average_beats_nobody(self, quiet: ComparisonDraft) -> None:
        corrected(quiet, "em", ABOVE, ABOVE, ABOVE)
        assert "beats mean_impedance" in corrected(quiet, "mean_impedance", BELOW, BELOW, BELOW)
        text = self.alarm(quiet, "mean_impedance_student").impedance.text
        assert "claims no gain over mean_impedance" in text and "beats" not in text
        assert "loses to em" in text
        assert text.endswith("The alarm mean impedance student speaks against a claim.")

    def test_a_weak_potential_ranks_nothing(self, quiet: ComparisonDraft) -> None:
        ranked(quiet, "episode.potential-distance", ABOVE, ABOVE)
        text = self.alarm(quiet, "weak_potential").ranking.text
        assert "U_I claims no gain over chance. It claims no gain over distance" in text and "beats" not in text
        assert "speaks against a claim" not in self.alarm(quiet, "shortcut_dependence").ranking.text


class TestSmallNumbers:
    def test_one_environment_claims_nothing(self, quiet: ComparisonDraft) -> None:
        kept = dict(list(quiet.results["environments"].items())[:1])
        quiet.results["environments"] = kept
        findings = ranked(quiet, "episode.potential-distance", ABOVE, ABOVE)
        assert "beats" not in findings.ranking.text and "better than chance" not in findings.ranking.text
        assert any(
            "Only 1 environment:" in text and "Nothing is claimed from one." in text for text in findings.cautions
        )

    def test_few_blocks_behind_one_number(self, quiet: ComparisonDraft) -> None:
        ranked(quiet, "episode.potential-distance", ABOVE, ABOVE)
        quiet.results["differences"]["episode.potential-distance"]["auroc"]["blocks"] = 4
        assert "beats distance in AUPR (no measurable gain in AUROC)" in find_comparison(quiet.load()).ranking.text


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
        assert "its protocol audits leaks, it does not refuse them" in leak(comparison.load().results.audit)
        assert "The split leaks (in red above)." in find_comparison(comparison.load()).cautions
        rename_subset(comparison, "hard", "unseen_loci")
        named = "The split leaks (in red above); the subset unseen_loci has no seen locus."
        assert named in find_comparison(comparison.load()).cautions
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
            entry.update(pull=[0.0] * len(entry["step"]), push=[0.0] * len(entry["step"]))
        assert any(
            "stayed at zero in 1 of 3 training runs" in text for text in find_comparison(comparison.load()).alarms
        )
