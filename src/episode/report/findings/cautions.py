"""What should not be trusted in a comparison, and its alarms, in plain words.

The bounds below are where a reader should be warned; what may be claimed is decided in `episode.metrics.claims`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from episode.compare.methods.registry import SEQUENCE, SHORTCUT, find_method
from episode.compare.protocol import UNSEEN_LOCI
from episode.compare.results import Audit, ComparisonResults
from episode.evaluate.figures import Figures
from episode.metrics.claims import MIN_BLOCKS, MIN_DRAWS, MIN_ENVIRONMENTS
from episode.metrics.metrics import is_collapsed
from episode.report.findings import decimal, listing, percent, verbatim
from episode.report.findings import environments as count
from episode.report.load import Comparison
from episode.report.methods import methods_of
from episode.train.diagnostics import MIN_SLOPE, NO_SKILL, impedance_slope

__all__ = ["cautions", "collapsed_methods", "leak", "raised", "student_slope"]

FEW_POSITIVES = 30
FEW_BLOCKS = 20
FEW_ENVIRONMENTS = 5
WIDE = 0.1


def leak(audit: Audit) -> str:
    """Describe how much of the test pairs training has seen; "" where it has seen nothing."""
    worst = audit.worst()
    if not audit.locus_leak and not any(worst.values()):
        return ""
    seen = ", ".join(
        f"{percent(fraction)} of the test pairs have {_article(key)} {key}"
        for key, fraction in worst.items()
        if fraction
    )
    why = "it was allowed on request" if audit.allowed else "its protocol audits leaks, it does not refuse them"
    where = f": in the worst fold {seen} that training has seen" if seen else ""
    return f"This split leaks, and {why}{where}. Every number below is too optimistic for a method that can remember."


def cautions(results: ComparisonResults) -> Iterable[str]:
    """Say what a reader should not rely on."""
    environments, blocks = results.environments, results.intervals.blocks
    yield (
        f"Intervals resample {blocks} blocks of the genome; they do not cover other cell lines than these, nor other "
        "seeds."
    )
    if leak(results.audit):
        beside = UNSEEN_LOCI in results.protocol.subsets
        yield "The split leaks (in red above)" + (f"; the subset {UNSEEN_LOCI} has no seen locus." if beside else ".")
    if blocks < FEW_BLOCKS:
        nothing = f" Nothing is claimed from fewer than {MIN_BLOCKS}." if blocks < MIN_BLOCKS else ""
        yield f"Only {blocks} blocks: intervals from so few are rough and tend to be too narrow.{nothing}"
    if results.intervals.draws < MIN_DRAWS:
        yield f"Only {results.intervals.draws} draws: nothing is claimed from fewer than {MIN_DRAWS}."
    if len(environments) < FEW_ENVIRONMENTS:
        nothing = " Nothing is claimed from one." if len(environments) < MIN_ENVIRONMENTS else ""
        yield f"Only {count(len(environments))}: the mean over them says little about the next one.{nothing}"
    single = [name for name, entry in environments.items() if entry.positives in (0, entry.n)]
    if single:
        yield f"One class only, so no ranking numbers there, and none of theirs in any mean: {listing(single)}."
    few = [
        f"{verbatim(name)} ({entry.positives})"
        for name, entry in environments.items()
        if 0 < min(entry.positives, entry.n - entry.positives) < FEW_POSITIVES
    ]
    if few:
        yield f"Too few positives (or negatives) to rank methods by: {listing(few)}."
    wide = _wide(results)
    if wide:
        yield (
            f"Wide intervals: macro AUROC is uncertain by more than {WIDE:g} for {listing(wide)}; small "
            "differences there mean nothing."
        )
    once = [name for name, entry in results.methods.items() if entry.seeds == 1 and find_method(name).random]
    if once:
        yield f"One seed only, so the variation between seeds is not included: {listing(once)}."
    silent = [name for name, entry in results.methods.items() if entry.macro.auroc.value is None]
    if silent:
        yield f"Methods without ranking numbers: {listing(silent)}."
    yield (
        "The best baseline is chosen by its own test numbers, which favours it; the paired difference does not correct "
        "for that."
    )


def raised(comparison: Comparison) -> Iterable[tuple[str, str]]:
    """Yield each alarm, what must be looked at first, as its name and a sentence."""
    results, figures = comparison.results, comparison.figures
    potential = results.estimate("episode.potential", "macro", "auroc")
    if potential.low is not None and potential.low <= NO_SKILL:
        yield (
            "weak_potential",
            "Weak potential: the interval of the mean AUROC of U_I includes 0.5 or lies below it.",
        )
    collapsed = collapsed_methods(results)
    if collapsed:
        yield (
            "collapse",
            f"Collapse: at probability 0.5 nearly every pair gets the same call from {listing(collapsed)}; read F1, "
            "precision and recall at the chosen threshold instead.",
        )
    slope = student_slope(figures)
    if slope is not None and slope < MIN_SLOPE:
        yield (
            "mean_impedance_student",
            f"Mean-impedance Student: R_S moves by {decimal(slope, 2)} for each unit that the labels call for (below "
            f"{MIN_SLOPE}); it repeats the average rather than reading the environment.",
        )
    runs = [run for run in figures.training if run.pacing]
    idle = [run for run in runs if not any(any(entry.pull) or any(entry.push) for entry in run.pacing.values())]
    if idle:
        yield (
            "idle_competition",
            f"Idle competition: pull-in and push-away stayed at zero in {len(idle)} of {len(runs)} training runs.",
        )
    by_name: dict[str, list[str]] = {}
    for alarm in results.alarms:
        by_name.setdefault(alarm.name, []).append(f"{alarm.fold}, seed {alarm.seed}: {alarm.text}")
    for name, texts in by_name.items():
        several = f"in {len(texts)} training runs, the first " if len(texts) > 1 else "in training, "
        yield name, f"{name.replace('_', ' ').capitalize()}, {several}{texts[0].replace('+-', '±')}."


def collapsed_methods(results: ComparisonResults) -> list[str]:
    """Return methods that call nearly every pair alike at probability 0.5, over all pairs together."""
    total = sum(entry.n for entry in results.environments.values())
    prevalence = sum(entry.positives for entry in results.environments.values()) / total if total else 0.0
    found = []
    for method, entry in results.methods.items():
        precision, recall = entry.pooled.precision.value, entry.pooled.recall.value
        if precision is None or recall is None:
            continue
        odds = prevalence / (1 - prevalence) if prevalence < 1 else 0.0
        false_positive_rate = recall * odds * (1 / precision - 1) if precision else 0.0
        if is_collapsed(precision, recall, false_positive_rate, prevalence):
            found.append(method)
    return found


def student_slope(figures: Figures) -> float | None:
    """Slope of R_S on the oracle impedance within folds, pooled; None where the oracle hardly varies or is too rare."""
    folds: dict[str, list[tuple[float, float, float]]] = {}
    for entry in figures.impedance:
        if entry.r_oracle is not None and entry.r_student is not None:
            folds.setdefault(entry.fold, []).append((entry.r_oracle, entry.r_student, entry.temperature or 1.0))
    parts = [np.array(points) for points in folds.values() if len(points) >= 2]
    if not parts:
        return None
    centred = np.concatenate([points[:, :2] - points[:, :2].mean(axis=0) for points in parts])
    temperature = float(np.mean(np.concatenate([points[:, 2] for points in parts])))
    slope = impedance_slope(*centred.T, temperature=temperature)
    return None if np.isnan(slope) else slope


def _wide(results: ComparisonResults) -> list[str]:
    """Return the methods whose ranking is uncertain."""
    judged = ["episode.potential", *methods_of(results, SEQUENCE), *methods_of(results, SHORTCUT)]
    found = {method: results.estimate(method, "macro", "auroc") for method in judged}
    return [
        method
        for method, number in found.items()
        if number.low is not None and number.high is not None and number.high - number.low > WIDE
    ]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
