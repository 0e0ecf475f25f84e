"""The words of an evaluation: does U_I rank, does the impedance help, what not to trust, alarms.

See `episode.report.findings`. Intervals are those of blocks of the genome where the evaluation has them, else over
environments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from episode.report.findings import Claim, Findings, environments, listing, percent, signed, within
from episode.report.load import Evaluation, Number, number
from episode.train.diagnostics import MIN_SLOPE, impedance_slope

__all__ = ["find_evaluation", "macro_auroc_interval"]

COVERAGE = (0.80, 0.97)
SLOPE = (0.8, 1.25)
FEW_BLOCKS = 20
FEW_ENVIRONMENTS = 5
LITTLE_TO_CORRECT = 0.005
TRAINING_ONLY = ("shortcut_dependence", "collapse", "weak_potential", "mean_impedance_student", "idle_spectrum")
"""Alarms that the training raised on its own validation environments."""


def find_evaluation(material: Evaluation) -> Findings:
    """Put an evaluation into words."""
    return Findings(
        ranking=_ranking(material.summary),
        impedance=_impedance(material.summary),
        cautions=tuple(_cautions(material.summary)),
        alarms=tuple(_alarms(material)),
    )


def macro_auroc_interval(summary: dict[str, Any]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean AUROC over environments.

    By blocks of the genome where the evaluation has it, else over environments (Student's t); None with fewer than
    three of them.
    """
    blocks = number(summary.get("intervals", {}), "macro", "auroc")
    if blocks.low is not None and blocks.high is not None:
        return blocks.low, blocks.high
    values = np.array([entry["auroc"] for entry in _ranked(summary)])
    if values.size < 3:
        return None
    half = float(student_t.ppf(0.975, values.size - 1) * values.std(ddof=1) / math.sqrt(values.size))
    return float(values.mean()) - half, float(values.mean()) + half


def _ranking(summary: dict[str, Any]) -> Claim:
    entries = _ranked(summary)
    if not entries:
        return Claim("Ranking could not be judged: no environment has labelled pairs of both classes.")
    count, macro = len(entries), summary["macro"]
    interval = macro_auroc_interval(summary)
    chance = float(np.mean([entry["share_positive"] for entry in entries]))
    scalar = _channels(summary) == 1
    ranker, aupr = ("the potential U_I", "aupr_potential") if scalar else ("the full model", "aupr")
    above = sum(entry[aupr] > entry["share_positive"] for entry in entries)
    if interval is None:
        verdict = f"{environments(count)} cannot tell whether {ranker} ranks better than chance."
    elif interval[0] > 0.5:
        verdict = f"Inside an environment {ranker} ranks pairs better than chance."
    elif interval[1] < 0.5:
        verdict = f"Inside an environment {ranker} ranks pairs worse than chance."
    else:
        verdict = f"Inside an environment {ranker} cannot be told from chance."
    between = "" if interval is None else f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})"
    bayes = summary.get("truth", {}).get("aupr_bayes_macro")
    best = "" if bayes is None else f" The best possible mean AUPR in this planted world is {bayes:.3f}."
    return Claim(
        verdict,
        (
            f"Mean AUPR {macro[aupr]:.3f} where chance is {chance:.3f}, mean AUROC {macro['auroc']:.3f}"
            f"{between}; AUPR is above chance in {above} of {environments(count)}.{best}",
        ),
    )


def _impedance(summary: dict[str, Any]) -> Claim:
    pooled, oracle, mean = summary["pooled"], summary["oracle"], summary["mean_impedance"]
    if pooled["aupr"] is None or mean["log_loss"] is None:
        return Claim("Whether the impedance helps could not be judged: it takes labelled pairs of both classes.")
    gained = _judge(number(summary.get("intervals", {}), "gain", "pooled", "aupr"), 1)
    eased = _judge(number(summary.get("intervals", {}), "gain", "pooled", "log_loss"), -1)
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
    }[gained, eased]
    gain = pooled["aupr"] - pooled["aupr_potential"]
    share = oracle["gain_share"]
    if oracle["aupr"] - pooled["aupr_potential"] < LITTLE_TO_CORRECT:
        against = f"even the oracle impedance reaches only {oracle['aupr']:.3f}, so there is little to correct"
    elif gain <= 0:
        against = f"the oracle impedance would reach {oracle['aupr']:.3f}"
    else:
        against = f"that is {percent(share)} of what the oracle impedance adds ({oracle['aupr']:.3f})"
    gains = summary.get("intervals", {}).get("gain", {})
    return Claim(
        verdict,
        (
            f"Over all environments together AUPR goes from {pooled['aupr_potential']:.3f} with U_I alone to "
            f"{pooled['aupr']:.3f}{_change(number(gains, 'pooled', 'aupr'))}; {against}.",
            f"Log-loss goes from {mean['log_loss']:.3f} with the training mean everywhere to {pooled['log_loss']:.3f} "
            f"nats{_change(number(gains, 'pooled', 'log_loss'))}.",
            _inside(summary),
        ),
    )


def _inside(summary: dict[str, Any]) -> str:
    channels = _channels(summary)
    if channels == 1:
        return "Inside an environment one impedance cannot change the ranking."
    macro, gains = summary["macro"], summary.get("intervals", {}).get("gain", {})
    return (
        f"Inside an environment its {channels} impedances can re-rank pairs: mean AUPR {macro['aupr']:.3f}, by U_I "
        f"alone {macro['aupr_potential']:.3f}{_change(number(gains, 'aupr'))}."
    )


def _channels(summary: dict[str, Any]) -> int:
    """Impedances of an environment; a summary of an older run says nothing of them and had one."""
    return int(summary.get("provenance", {}).get("config", {}).get("impedance", {}).get("channels", 1))


def _judge(gain: Number, better: int) -> str:
    if gain.low is None or gain.high is None:
        return "open"
    low, high = (gain.low, gain.high) if better > 0 else (-gain.high, -gain.low)
    return "better" if low > 0 else "worse" if high < 0 else "open"


def _change(gain: Number) -> str:
    return f" ({signed(gain.value)}, 95 % interval {within(gain, sign=True)})" if gain.bounded else ""


def _cautions(summary: dict[str, Any]) -> Iterable[str]:
    entries = summary["environments"]
    ranked = len(_ranked(summary))
    blocks = summary.get("intervals", {}).get("blocks")
    if blocks is None or not number(summary["intervals"], "macro", "auroc").bounded:
        yield "There are no intervals over the genome: pairs share elements, so they are fewer than they look."
    else:
        few = "; from so few they are rough" if blocks < FEW_BLOCKS else ""
        yield (
            f"Intervals resample {blocks} blocks of the genome{few}. They say nothing of other cell lines than these, "
            "nor of other seeds: this is one training."
        )
    if ranked < FEW_ENVIRONMENTS:
        yield f"Only {environments(ranked)} could be ranked: so few say little about the next one."
    unranked = [name for name, entry in entries.items() if entry["aupr"] is None]
    if unranked:
        yield f"No ranking numbers, because one class or all labels are missing: {listing(unranked)}."
    coverage = summary["oracle"]["interval_coverage"]
    if coverage is not None and not COVERAGE[0] <= coverage <= COVERAGE[1]:
        wide = "too narrow" if coverage < COVERAGE[0] else "wider than they need be"
        yield f"The 90 % intervals of R_S hold the oracle in {percent(coverage)} of environments: {wide}."
    slope = summary["pooled"]["calibration_slope"]
    if slope is not None and not SLOPE[0] <= slope <= SLOPE[1]:
        kind = "too bold" if slope < SLOPE[0] else "too timid"
        yield f"Probabilities are {kind} as a whole: calibration slope {slope:.2f} (1 is calibrated)."
    warned = [name for name, entry in entries.items() if entry["warnings"]]
    if warned:
        yield f"Warned of by the prediction itself: {listing(warned)} (see the impedance table)."


def _alarms(material: Evaluation) -> Iterable[str]:
    summary = material.summary
    collapsed = [name for name, entry in summary["environments"].items() if entry["collapsed"]]
    if collapsed:
        yield (
            f"Collapse: at probability 0.5 nearly every pair gets the same call in {listing(collapsed)}; F1, "
            "precision and recall there mean nothing."
        )
    interval = macro_auroc_interval(summary)
    if interval is not None and interval[0] <= 0.5:
        yield "Weak potential: the interval of the mean AUROC holds 0.5 or lies below it."
    slope = _student_slope(summary)
    if slope < MIN_SLOPE:
        yield (
            f"Mean-impedance Student: R_S moves by {slope:.2f} for each unit that the labels call for (below "
            f"{MIN_SLOPE}); it repeats the average rather than reading the environment."
        )
    competing = [entry for run in material.figures["training"] for entry in run.get("pacing", {}).values()]
    if competing and not any(any(entry["pull"]) or any(entry["push"]) for entry in competing):
        yield "Idle competition: pull-in and push-away stayed at zero through the whole training."
    for alarm in summary.get("training_alarms", []):
        if alarm["name"] in TRAINING_ONLY:
            yield f"{alarm['name'].replace('_', ' ').capitalize()}, in training: {alarm['text'].replace('+-', '±')}."


def _student_slope(summary: dict[str, Any]) -> float:
    """Slope of R_S on the oracle impedance; NaN where the oracle hardly varies or is too rare to judge."""
    judged = [
        entry
        for entry in summary["environments"].values()
        if entry["r_oracle"] is not None and entry["r_student"] is not None
    ]
    oracle, student = ([entry[key] for entry in judged] for key in ("r_oracle", "r_student"))
    return impedance_slope(oracle, student, temperature=summary["temperature"])


def _ranked(summary: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in summary["environments"].values() if entry["auroc"] is not None]
