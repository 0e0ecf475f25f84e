"""The words of an evaluation: does U_I rank, does the impedance help, what not to trust, alarms.

See `episode.report.findings`. Intervals are those of blocks of the genome where the evaluation has them, else over
environments; on the latter nothing is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from scipy.stats import binom
from scipy.stats import t as student_t

from episode.evaluate.results import EnvironmentSummary, EvaluationResults
from episode.metrics.claims import MIN_BLOCKS, MIN_ENVIRONMENTS, MIN_SIZE, Ground, Verdict, judge, lead
from episode.metrics.intervals import Estimate
from episode.report.findings import BARRED, Claim, Findings, barred_by, environments, listing, percent, signed, within
from episode.report.load import Evaluation
from episode.train.diagnostics import MIN_SLOPE, NO_SKILL, impedance_slope

__all__ = ["find_evaluation", "lead_sentence", "macro_auroc_interval"]

COVERAGE = 0.90
"""Of the oracle, that the intervals of R_S claim."""
UNLIKELY = 0.05
"""Probability below which another coverage is not put down to the number of environments."""
SLOPE = (0.8, 1.25)
FEW_BLOCKS = 20
FEW_ENVIRONMENTS = 5


def find_evaluation(evaluation: Evaluation) -> Findings:
    """Put an evaluation into words."""
    raised = list(_raised(evaluation))
    names = {name for name, _ in raised}
    student = evaluation.results.student
    lost = student is not None and bool(set(student.nothing_transfers) & set(student.views.values()))
    return Findings(
        ranking=_ranking(evaluation, barred_by("ranking", names) or ("nothing transfers" if lost else "")),
        impedance=_impedance(evaluation, barred_by("impedance", names)),
        cautions=tuple(_cautions(evaluation)),
        alarms=tuple(text for _, text in raised),
    )


def lead_sentence(results: EvaluationResults) -> str:
    """Say first what the page cannot have for lack of labels, classes or environments; "" where it has all."""
    pooled = results.pooled
    if not results.labelled:
        return "No pair of this dataset is labelled: this page has no scores, only R_S and the warnings."
    if pooled.positives in (0, pooled.n):
        kind = "positive" if pooled.positives else "negative"
        return f"All {pooled.n:,} labelled pairs are {kind}: this page has no ranking, only probabilities and R_S."
    if len(_ranked(results)) == 1:
        return "One environment has labels of both classes: nothing on this page is claimed of others."
    return ""


def macro_auroc_interval(evaluation: Evaluation) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean AUROC over environments.

    By blocks of the genome where the evaluation has it, else over environments (Student's t); None with fewer than
    three of them.
    """
    blocks = evaluation.used("macro", "auroc")
    if blocks.low is not None and blocks.high is not None:
        return blocks.low, blocks.high
    values = np.array([entry.auroc for entry in _ranked(evaluation.results)], dtype=np.float64)
    if values.size < 3:
        return None
    half = float(student_t.ppf(0.975, values.size - 1) * values.std(ddof=1) / math.sqrt(values.size))
    return float(values.mean()) - half, float(values.mean()) + half


def _ranking(evaluation: Evaluation, bar: str) -> Claim:
    results = evaluation.results
    if not results.labelled:
        return Claim("No pair of this dataset is labelled, so nothing could be scored.")
    entries, macro = _ranked(results), results.macro
    if not entries:
        return Claim("Ranking could not be judged: no environment has labelled pairs of both classes.")
    interval = macro_auroc_interval(evaluation)
    prevalence = [entry.share_positive or 0.0 for entry in entries]
    if results.channels == 1:
        ranker, mean, aupr = "the potential U_I", macro.aupr_potential, [entry.aupr_potential for entry in entries]
    else:
        ranker, mean, aupr = "the full model", macro.aupr, [entry.aupr for entry in entries]
    above = sum((value or 0.0) > chance for value, chance in zip(aupr, prevalence, strict=True))
    found = judge(lead(evaluation.used("macro", "auroc"), NO_SKILL), "auroc", _ground(results))
    where = "Inside an environment"
    verdict = {
        "better": f"{where} {ranker} ranks pairs better than chance.",
        "worse": f"{where} {ranker} ranks pairs worse than chance.",
        "open": f"{where} {ranker} does not differ measurably from chance: {found.why}.",
        "unknown": f"{environments(len(entries))} cannot tell whether {ranker} ranks better than chance: there is no "
        "interval over blocks of the genome.",
    }[found.standing]
    if bar and found.standing == "better":
        verdict = f"{where} {ranker} claims no gain over chance: the alarm {bar} speaks against it."
    between = "" if interval is None else f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})"
    bayes = None if results.truth is None else results.truth.aupr_bayes_macro
    best = "" if bayes is None else f" The best possible mean AUPR in this simulated world is {bayes:.3f}."
    return Claim(
        verdict,
        (
            f"Mean AUPR {mean:.3f} where chance is {np.mean(prevalence):.3f}, mean AUROC {macro.auroc:.3f}"
            f"{between}; AUPR lies above the prevalence in {above} of {environments(len(entries))}.{best}",
        ),
    )


def _impedance(evaluation: Evaluation, bar: str) -> Claim:
    results = evaluation.results
    pooled, oracle, mean = results.pooled, results.oracle, results.mean_impedance
    if not results.labelled:
        return Claim(_unscored(results))
    if pooled.aupr is None or pooled.aupr_potential is None or oracle.aupr is None or mean.log_loss is None:
        return Claim("Whether the impedance helps could not be judged: it takes labelled pairs of both classes.")
    aupr, log_loss = evaluation.gain("pooled", "aupr"), evaluation.gain("pooled", "log_loss")
    ground = _ground(results)
    found = [judge(aupr, "aupr", ground), judge(log_loss, "log_loss", ground)]
    if oracle.gain_share is None or oracle.aupr - pooled.aupr_potential < MIN_SIZE["aupr"]:
        against = f"even the oracle impedance reaches only {oracle.aupr:.3f}, so there is little to correct"
    elif pooled.aupr <= pooled.aupr_potential:
        against = f"the oracle impedance would reach {oracle.aupr:.3f}"
    else:
        against = f"that is {percent(oracle.gain_share)} of what the oracle impedance adds ({oracle.aupr:.3f})"
    return Claim(
        _helps(dict(zip(("the pooled ranking", "the probabilities"), found, strict=True)), bar),
        (
            f"Over all environments together AUPR goes from {pooled.aupr_potential:.3f} with U_I alone to "
            f"{pooled.aupr:.3f}{_change(aupr, found[0])}; {against}.",
            f"Log-loss goes from {mean.log_loss:.3f} with the training mean everywhere to {pooled.log_loss:.3f} "
            f"nats{_change(log_loss, found[1])}.",
            _inside(evaluation),
        ),
    )


def _unscored(results: EvaluationResults) -> str:
    """Say what is known of impedances without a label."""
    count, known = len(results.environments), sum(entry.known for entry in results.environments.values())
    teacher = f" (and R_T of {known} that the Teacher knows)" if known else ""
    return (
        f"What can still be read: R_S of {environments(count)} with its interval{teacher}, and the warnings of the "
        "prediction, below. How far R_S is right takes labels."
    )


def _helps(verdicts: Mapping[str, Verdict], bar: str) -> str:
    """Say what the impedance does to the ranking and to the probabilities; gains yield to an alarm."""
    parts: dict[str, list[str]] = {}
    for what, found in verdicts.items():
        key = BARRED if bar and found.standing == "better" else found.standing
        parts.setdefault(key, []).append(what)
    words = {
        "better": "helps {}",
        "worse": "harms {}",
        BARRED: "claims no gain in {} (the alarm " + bar + " speaks against it)",
        "open": "brings no measurable gain in {}",
        "unknown": "cannot be judged in {}, for lack of an interval",
    }
    return f"The impedance {'; it '.join(words[key].format(listing(parts[key])) for key in words if key in parts)}."


def _ground(results: EvaluationResults) -> Ground:
    """Return what the numbers of an evaluation rest on."""
    flat, best, drawn = results.mean_impedance.log_loss, results.oracle.log_loss, results.intervals
    return Ground(
        blocks=0 if drawn is None else drawn.blocks,
        draws=0 if drawn is None else drawn.draws,
        environments=len(_ranked(results)),
        oracle_gain=None if flat is None or best is None else flat - best,
    )


def _inside(evaluation: Evaluation) -> str:
    results = evaluation.results
    if results.channels == 1:
        return "Inside an environment one impedance cannot change the ranking."
    gain = evaluation.gain("macro", "aupr")
    return (
        f"Inside an environment its {results.channels} impedances can re-rank pairs: mean AUPR "
        f"{results.macro.aupr:.3f}, by U_I alone {results.macro.aupr_potential:.3f}"
        f"{_change(gain, judge(gain, 'aupr', _ground(results)))}."
    )


def _change(gain: Estimate, found: Verdict) -> str:
    why = f"; {found.why}" if found.standing == "open" and found.leans else ""
    return f" ({signed(gain.value)}, 95 % interval {within(gain, sign=True)}{why})" if gain.bounded else ""


def _cautions(evaluation: Evaluation) -> Iterable[str]:
    results, entries = evaluation.results, evaluation.results.environments
    warned = [name for name, entry in entries.items() if entry.warnings]
    if warned:
        yield f"The prediction itself warned about {listing(warned)} (see the impedance table)."
    if not results.labelled:
        yield "There are no labels: nothing on this page says whether the predictions are right."
        return
    measures = (("macro", "auroc"), ("pooled", "log_loss"))
    if results.intervals is None or not any(evaluation.used(*measure).bounded for measure in measures):
        yield "There are no intervals over the genome: pairs share elements, so they are fewer than they look."
    else:
        blocks = results.intervals.blocks
        few = "; from so few they are rough" if blocks < FEW_BLOCKS else ""
        few += f", and nothing is claimed from fewer than {MIN_BLOCKS}" if blocks < MIN_BLOCKS else ""
        parts = f" of {results.members} members" if results.members > 1 else ""
        yield (
            f"Intervals resample {blocks} blocks of the genome{few}. They do not cover other cell lines than these, "
            f"nor other seeds: this is one training run{parts}."
        )
    ranked = len(_ranked(results))
    if 0 < ranked < FEW_ENVIRONMENTS:
        nothing = " Nothing is claimed from fewer than two." if ranked < MIN_ENVIRONMENTS else ""
        yield f"Only {environments(ranked)} could be ranked: so few say little about the next one.{nothing}"
    unranked = [name for name, entry in entries.items() if entry.aupr is None]
    if unranked:
        yield f"No ranking numbers, because one class or all labels are missing: {listing(unranked)}."
    yield from _coverage(results)
    slope = results.pooled.calibration_slope
    if slope is not None and not SLOPE[0] <= slope <= SLOPE[1]:
        kind = "overconfident" if slope < SLOPE[0] else "underconfident"
        yield f"Probabilities are {kind} as a whole: calibration slope {slope:.2f} (1 is calibrated)."


def _coverage(results: EvaluationResults) -> Iterable[str]:
    """Say where the intervals of R_S cover the oracle too rarely or too often for the number of environments."""
    coverage = results.oracle.interval_coverage
    judged = sum(entry.r_oracle is not None for entry in results.environments.values())
    if coverage is None or not judged:
        return
    covered = round(coverage * judged)
    wide = ""
    if binom.cdf(covered, judged, COVERAGE) < UNLIKELY:
        wide = "too narrow"
    elif binom.sf(covered - 1, judged, COVERAGE) < UNLIKELY:
        wide = "too wide"
    if wide:
        yield f"The 90 % intervals of R_S cover the oracle in {percent(coverage)} of environments: {wide}."


def _raised(evaluation: Evaluation) -> Iterable[tuple[str, str]]:
    """Yield each alarm as its name and a sentence: those of this evaluation, then those of the run."""
    results = evaluation.results
    collapsed = [name for name, entry in results.environments.items() if entry.collapsed]
    if collapsed:
        yield (
            "collapse",
            f"Collapse: at probability 0.5 nearly every pair gets the same call in {listing(collapsed)}; F1, "
            "precision and recall there mean nothing.",
        )
    interval = macro_auroc_interval(evaluation)
    if interval is not None and interval[0] <= NO_SKILL:
        yield (
            "weak_potential",
            "Weak potential: the interval of the mean AUROC includes 0.5 or lies below it.",
        )
    slope = _student_slope(results)
    if slope < MIN_SLOPE:
        yield (
            "mean_impedance_student",
            f"Mean-impedance Student: R_S moves by {slope:.2f} for each unit that the labels call for (below "
            f"{MIN_SLOPE}); it repeats the average rather than reading the environment.",
        )
    competing = [entry for run in evaluation.figures.training for entry in run.pacing.values()]
    alone = results.members == 1  # else the log is of one member, and what most of them did is an alarm of the run
    idle = alone and bool(competing) and not any(any(entry.pull) or any(entry.push) for entry in competing)
    if idle:
        yield "idle_competition", "Idle competition: pull-in and push-away stayed at zero throughout training."
    texts: dict[str, list[str]] = {}
    for alarm in results.training_alarms or []:
        texts.setdefault(alarm.name, []).append(alarm.text)
    for name, (first, *others) in texts.items():
        if not (idle and name == "idle_competition"):
            more = f" (and {len(others)} more)" if others else ""
            yield name, f"{name.replace('_', ' ').capitalize()}, in training: {_sentence(first + more)}"


def _sentence(text: str) -> str:
    return text.replace("+-", "±").rstrip(".") + "."


def _student_slope(results: EvaluationResults) -> float:
    """Slope of R_S on the oracle impedance; NaN where the oracle hardly varies or is too rare to judge."""
    both = [
        (entry.r_oracle, entry.r_student)
        for entry in results.environments.values()
        if entry.r_oracle is not None and entry.r_student is not None
    ]
    oracle, student = np.array(both).reshape(-1, 2).T
    return impedance_slope(oracle, student, temperature=results.temperature)


def _ranked(results: EvaluationResults) -> list[EnvironmentSummary]:
    return [entry for entry in results.environments.values() if entry.auroc is not None]
