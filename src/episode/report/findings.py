"""What the numbers say, in plain words: three sentences, what not to trust, alarms.

Sentences are made from ``metrics.json`` and the training log alone. A sentence claims no more than its
numbers: the interval named here is over environments only. This module does not know how the words are shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from episode.report.material import Material

__all__ = ["Findings", "find", "macro_auroc_interval"]

COVERAGE = (0.80, 0.97)
SLOPE = (0.8, 1.25)
FEW_ENVIRONMENTS = 5
LEAST_STUDENT_SLOPE = 0.3
LEAST_SPREAD = 0.1
LITTLE_TO_CORRECT = 0.005
NAMES_SHOWN = 5
TRAINING_ONLY = ("shortcut_dependence", "collapse", "weak_potential", "mean_impedance_student")
"""Alarms that the training raised on its own validation environments."""


@dataclass(frozen=True)
class Findings:
    """The words of a report.

    Parameters
    ----------
    ranking : str
        Does the potential rank above chance inside environments?
    impedance : str
        Does the impedance help, pooled and in log-loss?
    cautions : tuple of str
        What should not be trusted.
    alarms : tuple of str
        What must be looked at first.
    """

    ranking: str
    impedance: str
    cautions: tuple[str, ...]
    alarms: tuple[str, ...]


def find(material: Material) -> Findings:
    """Put a report's numbers into words."""
    return Findings(
        ranking=_ranking(material.summary),
        impedance=_impedance(material.summary),
        cautions=tuple(_cautions(material.summary)),
        alarms=tuple(_alarms(material)),
    )


def macro_auroc_interval(summary: dict[str, Any]) -> tuple[float, float] | None:
    """95 % interval of the mean AUROC over environments (Student's t); None with fewer than three."""
    values = np.array([entry["auroc"] for entry in _ranked(summary)])
    if values.size < 3:
        return None
    half = float(student_t.ppf(0.975, values.size - 1) * values.std(ddof=1) / math.sqrt(values.size))
    return float(values.mean()) - half, float(values.mean()) + half


def _ranking(summary: dict[str, Any]) -> str:
    entries = _ranked(summary)
    if not entries:
        return "Ranking could not be judged: no environment has labelled pairs of both classes."
    count, macro = len(entries), summary["macro"]
    interval = macro_auroc_interval(summary)
    chance = float(np.mean([entry["share_positive"] for entry in entries]))
    above = sum(entry["aupr_potential"] > entry["share_positive"] for entry in entries)
    if interval is None:
        verdict = f"{_environments(count)} cannot tell whether the potential U_I ranks better than chance"
    elif interval[0] > 0.5:
        verdict = "Inside an environment the potential U_I ranks pairs better than chance"
    elif interval[1] < 0.5:
        verdict = "Inside an environment the potential U_I ranks pairs worse than chance"
    else:
        verdict = "Inside an environment the potential U_I cannot be told from chance"
    within = "" if interval is None else f" (95 % interval over environments {interval[0]:.3f} to {interval[1]:.3f})"
    bayes = summary.get("truth", {}).get("aupr_bayes_macro")
    best = "" if bayes is None else f" The best possible mean AUPR in this planted world is {bayes:.3f}."
    return (
        f"{verdict}: mean AUPR {macro['aupr_potential']:.3f} where chance is {chance:.3f}, mean AUROC "
        f"{macro['auroc']:.3f}{within}; AUPR is above chance in {above} of {_environments(count)}.{best}"
    )


def _impedance(summary: dict[str, Any]) -> str:
    pooled, oracle, mean = summary["pooled"], summary["oracle"], summary["mean_impedance"]
    if pooled["aupr"] is None or mean["log_loss"] is None:
        return "Whether the impedance helps could not be judged: it takes labelled pairs of both classes."
    gain, lost = pooled["aupr"] - pooled["aupr_potential"], pooled["log_loss"] - mean["log_loss"]
    verdict = {
        (True, True): "The impedance helps",
        (True, False): "The impedance helps the pooled ranking but not the probabilities",
        (False, True): "The impedance helps the probabilities but not the pooled ranking",
        (False, False): "The impedance does not help",
    }[gain > 0, lost < 0]
    share = oracle["gain_share"]
    if oracle["aupr"] - pooled["aupr_potential"] < LITTLE_TO_CORRECT:
        against = f"even the oracle impedance reaches only {oracle['aupr']:.3f}, so there is little to correct"
    elif gain <= 0:
        against = f"the oracle impedance would reach {oracle['aupr']:.3f}"
    else:
        against = f"{_percent(share)} of what the oracle impedance adds, {oracle['aupr']:.3f}"
    return (
        f"{verdict}: over all environments together AUPR goes from {pooled['aupr_potential']:.3f} with U_I "
        f"alone to {pooled['aupr']:.3f} ({against}), and log-loss from {mean['log_loss']:.3f} with the "
        f"training mean everywhere to {pooled['log_loss']:.3f} nats. Inside an environment one impedance "
        "cannot change the ranking."
    )


def _cautions(summary: dict[str, Any]) -> Iterable[str]:
    entries = summary["environments"]
    ranked = len(_ranked(summary))
    yield (
        "Differences are without intervals over chromosomes and seeds: pairs share elements, so they are "
        "fewer than they look."
    )
    if ranked < FEW_ENVIRONMENTS:
        yield f"Only {_environments(ranked)} could be ranked: so few say little about the next one."
    unranked = [name for name, entry in entries.items() if entry["aupr"] is None]
    if unranked:
        yield f"No ranking numbers, because one class or all labels are missing: {_names(unranked)}."
    coverage = summary["oracle"]["interval_coverage"]
    if coverage is not None and not COVERAGE[0] <= coverage <= COVERAGE[1]:
        wide = "too narrow" if coverage < COVERAGE[0] else "wider than they need be"
        yield f"The 90 % intervals of R_S hold the oracle in {_percent(coverage)} of environments: {wide}."
    slope = summary["pooled"]["calibration_slope"]
    if slope is not None and not SLOPE[0] <= slope <= SLOPE[1]:
        kind = "too bold" if slope < SLOPE[0] else "too timid"
        yield f"Probabilities are {kind} as a whole: calibration slope {slope:.2f} (1 is calibrated)."
    warned = [name for name, entry in entries.items() if entry["warnings"]]
    if warned:
        yield f"Warned of by the prediction itself: {_names(warned)} (see the impedance table)."


def _alarms(material: Material) -> Iterable[str]:
    summary = material.summary
    collapsed = [name for name, entry in summary["environments"].items() if entry["collapsed"]]
    if collapsed:
        yield (
            f"Collapse: at probability 0.5 nearly every pair gets the same call in {_names(collapsed)}; F1, "
            "precision and recall there mean nothing."
        )
    interval = macro_auroc_interval(summary)
    if interval is not None and interval[0] <= 0.5:
        yield "Weak potential: the interval of the mean AUROC holds 0.5 or lies below it."
    slope = _student_slope(summary)
    if slope is not None and slope < LEAST_STUDENT_SLOPE:
        yield (
            f"Mean-impedance Student: R_S moves by {slope:.2f} for each unit that the labels call for (below "
            f"{LEAST_STUDENT_SLOPE}); it repeats the average rather than reading the environment."
        )
    competing = [line for line in material.training if "pull_in" in line or "push_away" in line]
    if competing and not any(line.get("pull_in") or line.get("push_away") for line in competing):
        yield "Idle competition: pull-in and push-away stayed at zero through the whole training."
    for alarm in summary.get("training_alarms", []):
        if alarm["name"] in TRAINING_ONLY:
            yield f"{alarm['name'].replace('_', ' ').capitalize()}, in training: {alarm['text']}."


def _student_slope(summary: dict[str, Any]) -> float | None:
    """Slope of R_S on the oracle impedance; None where the oracle hardly varies or is too rare to judge."""
    both = [
        (entry["r_oracle"], entry["r_student"])
        for entry in summary["environments"].values()
        if entry["r_oracle"] is not None and entry["r_student"] is not None
    ]
    if len(both) < 3:
        return None
    oracle, student = np.array(both).T
    if oracle.std() / summary["temperature"] < LEAST_SPREAD:
        return None
    return float(np.cov(oracle, student, bias=True)[0, 1] / oracle.var())


def _ranked(summary: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in summary["environments"].values() if entry["auroc"] is not None]


def _environments(count: int) -> str:
    return f"{count} environment{'' if count == 1 else 's'}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _names(names: list[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
