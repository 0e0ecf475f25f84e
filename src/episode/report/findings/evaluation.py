"""The words of an evaluation: does U_I rank, does the impedance help, what not to trust, alarms.

See `episode.report.findings`. Intervals are those of blocks of the genome where the evaluation has them, else over
environments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from scipy.stats import t as student_t

from episode.evaluate.results import EnvironmentSummary, EvaluationResults
from episode.metrics.intervals import Estimate
from episode.report.findings import Claim, Findings, environments, listing, percent, signed, within
from episode.report.load import Evaluation
from episode.report.methods import standing
from episode.train.diagnostics import MIN_SLOPE, NO_SKILL, impedance_slope

__all__ = ["find_evaluation", "macro_auroc_interval"]

COVERAGE = (0.80, 0.97)
SLOPE = (0.8, 1.25)
FEW_BLOCKS = 20
FEW_ENVIRONMENTS = 5
LITTLE_TO_CORRECT = 0.005
TRAINING_ONLY = ("shortcut_dependence", "collapse", "weak_potential", "mean_impedance_student", "idle_spectrum")
"""Alarms that the training raised on its own validation environments."""


def find_evaluation(evaluation: Evaluation) -> Findings:
    """Put an evaluation into words."""
    return Findings(
        ranking=_ranking(evaluation),
        impedance=_impedance(evaluation),
        cautions=tuple(_cautions(evaluation)),
        alarms=tuple(_alarms(evaluation)),
    )


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


def _ranking(evaluation: Evaluation) -> Claim:
    results = evaluation.results
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
    if interval is None:
        verdict = f"{environments(len(entries))} cannot tell whether {ranker} ranks better than chance."
    elif interval[0] > NO_SKILL:
        verdict = f"Inside an environment {ranker} ranks pairs better than chance."
    elif interval[1] < NO_SKILL:
        verdict = f"Inside an environment {ranker} ranks pairs worse than chance."
    else:
        verdict = f"Inside an environment {ranker} does not differ significantly from chance."
    between = "" if interval is None else f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})"
    bayes = None if results.truth is None else results.truth.aupr_bayes_macro
    best = "" if bayes is None else f" The best possible mean AUPR in this simulated world is {bayes:.3f}."
    return Claim(
        verdict,
        (
            f"Mean AUPR {mean:.3f} where chance is {np.mean(prevalence):.3f}, mean AUROC {macro.auroc:.3f}"
            f"{between}; AUPR is above chance in {above} of {environments(len(entries))}.{best}",
        ),
    )


def _impedance(evaluation: Evaluation) -> Claim:
    results = evaluation.results
    pooled, oracle, mean = results.pooled, results.oracle, results.mean_impedance
    if pooled.aupr is None or pooled.aupr_potential is None or oracle.aupr is None or mean.log_loss is None:
        return Claim("Whether the impedance helps could not be judged: it takes labelled pairs of both classes.")
    aupr, log_loss = evaluation.gain("pooled", "aupr"), evaluation.gain("pooled", "log_loss")
    verdict = {
        ("better", "better"): "The impedance helps the pooled ranking and the probabilities.",
        ("better", "open"): "The impedance helps the pooled ranking; that it helps the probabilities cannot be shown.",
        ("better", "worse"): "The impedance helps the pooled ranking and harms the probabilities.",
        ("open", "better"): "The impedance helps the probabilities; that it helps the pooled ranking cannot be shown.",
        ("open", "open"): "That the impedance helps cannot be shown with these data.",
        ("open", "worse"): "The impedance harms the probabilities and does not show in the pooled ranking.",
        ("worse", "better"): "The impedance helps the probabilities and harms the pooled ranking.",
        ("worse", "open"): "The impedance harms the pooled ranking and does not show in the probabilities.",
        ("worse", "worse"): "The impedance harms both the pooled ranking and the probabilities.",
    }[_shown(aupr, "aupr"), _shown(log_loss, "log_loss")]
    if oracle.gain_share is None or oracle.aupr - pooled.aupr_potential < LITTLE_TO_CORRECT:
        against = f"even the oracle impedance reaches only {oracle.aupr:.3f}, so there is little to correct"
    elif pooled.aupr <= pooled.aupr_potential:
        against = f"the oracle impedance would reach {oracle.aupr:.3f}"
    else:
        against = f"that is {percent(oracle.gain_share)} of what the oracle impedance adds ({oracle.aupr:.3f})"
    return Claim(
        verdict,
        (
            f"Over all environments together AUPR goes from {pooled.aupr_potential:.3f} with U_I alone to "
            f"{pooled.aupr:.3f}{_change(aupr)}; {against}.",
            f"Log-loss goes from {mean.log_loss:.3f} with the training mean everywhere to {pooled.log_loss:.3f} "
            f"nats{_change(log_loss)}.",
            _inside(evaluation),
        ),
    )


def _inside(evaluation: Evaluation) -> str:
    results = evaluation.results
    if results.channels == 1:
        return "Inside an environment one impedance cannot change the ranking."
    return (
        f"Inside an environment its {results.channels} impedances can re-rank pairs: mean AUPR "
        f"{results.macro.aupr:.3f}, by U_I alone {results.macro.aupr_potential:.3f}"
        f"{_change(evaluation.gain('macro', 'aupr'))}."
    )


def _shown(gain: Estimate, metric: str) -> str:
    return standing(gain, metric).replace("unknown", "open")


def _change(gain: Estimate) -> str:
    return f" ({signed(gain.value)}, 95 % interval {within(gain, sign=True)})" if gain.bounded else ""


def _cautions(evaluation: Evaluation) -> Iterable[str]:
    results, entries = evaluation.results, evaluation.results.environments
    if results.intervals is None or not evaluation.used("macro", "auroc").bounded:
        yield "There are no intervals over the genome: pairs share elements, so they are fewer than they look."
    else:
        blocks = results.intervals.blocks
        few = "; from so few they are rough" if blocks < FEW_BLOCKS else ""
        yield (
            f"Intervals resample {blocks} blocks of the genome{few}. They do not cover other cell lines than these, "
            "nor other seeds: this is one training run."
        )
    ranked = len(_ranked(results))
    if ranked < FEW_ENVIRONMENTS:
        yield f"Only {environments(ranked)} could be ranked: so few say little about the next one."
    unranked = [name for name, entry in entries.items() if entry.aupr is None]
    if unranked:
        yield f"No ranking numbers, because one class or all labels are missing: {listing(unranked)}."
    coverage = results.oracle.interval_coverage
    if coverage is not None and not COVERAGE[0] <= coverage <= COVERAGE[1]:
        wide = "too narrow" if coverage < COVERAGE[0] else "too wide"
        yield f"The 90 % intervals of R_S cover the oracle in {percent(coverage)} of environments: {wide}."
    slope = results.pooled.calibration_slope
    if slope is not None and not SLOPE[0] <= slope <= SLOPE[1]:
        kind = "overconfident" if slope < SLOPE[0] else "underconfident"
        yield f"Probabilities are {kind} as a whole: calibration slope {slope:.2f} (1 is calibrated)."
    warned = [name for name, entry in entries.items() if entry.warnings]
    if warned:
        yield f"The prediction itself warned about {listing(warned)} (see the impedance table)."


def _alarms(evaluation: Evaluation) -> Iterable[str]:
    results = evaluation.results
    collapsed = [name for name, entry in results.environments.items() if entry.collapsed]
    if collapsed:
        yield (
            f"Collapse: at probability 0.5 nearly every pair gets the same call in {listing(collapsed)}; F1, "
            "precision and recall there mean nothing."
        )
    interval = macro_auroc_interval(evaluation)
    if interval is not None and interval[0] <= NO_SKILL:
        yield "Weak potential: the interval of the mean AUROC includes 0.5 or lies below it."
    slope = _student_slope(results)
    if slope < MIN_SLOPE:
        yield (
            f"Mean-impedance Student: R_S moves by {slope:.2f} for each unit that the labels call for (below "
            f"{MIN_SLOPE}); it repeats the average rather than reading the environment."
        )
    competing = [entry for run in evaluation.figures.training for entry in run.pacing.values()]
    if competing and not any(any(entry.pull) or any(entry.push) for entry in competing):
        yield "Idle competition: pull-in and push-away stayed at zero throughout training."
    for alarm in results.training_alarms or []:
        if alarm.name in TRAINING_ONLY:
            yield f"{alarm.name.replace('_', ' ').capitalize()}, in training: {alarm.text.replace('+-', '±')}."


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
