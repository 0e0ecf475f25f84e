"""What should not be trusted in a comparison, and its alarms, in plain words.

Each is read from ``results.json`` and ``figures.json``. The bounds below are where a reader should be told, not where
anything is decided.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from episode.compare.folds import worst_leak
from episode.compare.methods.registry import seedless_rows
from episode.metrics.metrics import is_collapsed
from episode.report.findings import decimal, listing, percent
from episode.report.load import Comparison, number
from episode.report.methods import rows_of
from episode.train.diagnostics import MIN_SLOPE, impedance_slope

__all__ = ["alarms", "cautions", "collapsed_rows", "leak", "student_slope"]

FEW_POSITIVES = 30
FEW_BLOCKS = 20
FEW_ENVIRONMENTS = 5
WIDE = 0.1


def leak(results: dict[str, Any]) -> str:
    """Say how much of the test rows training has seen; "" where it has seen nothing."""
    audit = results["audit"]
    worst = worst_leak(audit)
    if not audit.get("locus_leak") and not any(worst.values()):
        return ""
    seen = ", ".join(
        f"{percent(share)} of the test rows have {_article(key)} {key}" for key, share in worst.items() if share
    )
    why = "it was allowed on request" if audit.get("allowed") else "it is as its makers split it"
    told = f": in the worst fold {seen} that training has seen" if seen else ""
    return f"This split leaks, and {why}{told}. Every number below flatters whatever can remember."


def cautions(material: Comparison) -> Iterable[str]:
    """Say what a reader should not lean on."""
    results = material.results
    environments, rows = results["environments"], results["rows"]
    blocks = results["intervals"].get("blocks")
    yield (
        f"Intervals resample {blocks} blocks of the genome; they say nothing of other cell lines than these, nor of "
        "other seeds."
    )
    if leak(results):
        yield "The split leaks (in red above)."
    if blocks is not None and blocks < FEW_BLOCKS:
        yield f"Only {blocks} blocks: intervals from so few are rough and tend to be too narrow."
    if len(environments) < FEW_ENVIRONMENTS:
        yield f"Only {len(environments)} environments: the mean over them says little about the next one."
    single = [name for name, entry in environments.items() if entry["positives"] in (0, entry["n"])]
    if single:
        yield f"One class only, so no ranking numbers there, and none of theirs in any mean: {listing(single)}."
    few = [
        f"{name} ({entry['positives']})"
        for name, entry in environments.items()
        if 0 < min(entry["positives"], entry["n"] - entry["positives"]) < FEW_POSITIVES
    ]
    if few:
        yield f"Too few positives (or negatives) to rank methods by: {listing(few)}."
    wide = _wide(results)
    if wide:
        yield (
            f"Wide intervals: macro AUROC is uncertain by more than {WIDE:g} for {listing(wide)}; small "
            "differences there mean nothing."
        )
    once = [row for row, entry in rows.items() if entry.get("seeds") == 1 and row not in seedless_rows()]
    if once:
        yield f"One seed only, so the luck of a single training is not counted: {listing(once)}."
    silent = [row for row in rows if number(rows, row, "macro", "auroc").value is None]
    if silent:
        yield f"Rows without ranking numbers: {listing(silent)}."
    yield (
        "The best rival is picked by its own test numbers, which favours the rival; the paired difference does not "
        "allow for it."
    )


def alarms(material: Comparison) -> Iterable[str]:
    """Say what must be looked at first."""
    results, figures = material.results, material.figures
    potential = number(results["rows"], "episode.potential", "macro", "auroc")
    if potential.low is not None and potential.low <= 0.5:
        yield "Weak potential: the interval of the mean AUROC of U_I holds 0.5 or lies below it."
    collapsed = collapsed_rows(results)
    if collapsed:
        yield (
            f"Collapse: at probability 0.5 nearly every pair gets the same call from {listing(collapsed)}; read F1, "
            "precision and recall at the chosen threshold instead."
        )
    slope = student_slope(figures)
    if slope is not None and slope < MIN_SLOPE:
        yield (
            f"Mean-impedance Student: R_S moves by {decimal(slope, 2)} for each unit that the labels call for (below "
            f"{MIN_SLOPE}); it repeats the average rather than reading the environment."
        )
    runs = [run for run in figures["training"] if run.get("pacing")]
    idle = [
        run for run in runs if not any(any(entry["pull"]) or any(entry["push"]) for entry in run["pacing"].values())
    ]
    if idle:
        yield f"Idle competition: pull-in and push-away stayed at zero in {len(idle)} of {len(runs)} trainings."
    raised: dict[str, list[str]] = {}
    for alarm in figures.get("alarms", []):
        raised.setdefault(str(alarm["name"]), []).append(f"{alarm['fold']}, seed {alarm['seed']}: {alarm['text']}")
    for name, texts in raised.items():
        several = f"in {len(texts)} trainings, the first " if len(texts) > 1 else "in training, "
        yield f"{name.replace('_', ' ').capitalize()}, {several}{texts[0].replace('+-', '±')}."


def collapsed_rows(results: dict[str, Any]) -> list[str]:
    """Return rows that call nearly every pair alike at probability 0.5, over all pairs together."""
    total = sum(entry["n"] for entry in results["environments"].values())
    share = sum(entry["positives"] for entry in results["environments"].values()) / total if total else 0.0
    found = []
    for row in results["rows"]:
        precision, recall = (number(results["rows"], row, "pooled", key).value for key in ("precision", "recall"))
        if precision is None or recall is None:
            continue
        false_calls = recall * share * (1 / precision - 1) / (1 - share) if precision and share < 1 else 0.0
        if is_collapsed(precision, recall, false_calls, share):
            found.append(row)
    return found


def student_slope(figures: dict[str, Any]) -> float | None:
    """Slope of R_S on the oracle impedance within folds, pooled; None where the oracle hardly varies or is too rare."""
    folds: dict[str, list[tuple[float, float, float]]] = {}
    for entry in figures["impedance"]:
        if entry.get("r_oracle") is not None and entry.get("r_student") is not None:
            folds.setdefault(str(entry.get("fold", "")), []).append(
                (entry["r_oracle"], entry["r_student"], entry.get("temperature") or 1.0)
            )
    parts = [np.array(points) for points in folds.values() if len(points) >= 2]
    if not parts:
        return None
    centred = np.concatenate([points[:, :2] - points[:, :2].mean(axis=0) for points in parts])
    temperature = float(np.mean(np.concatenate([points[:, 2] for points in parts])))
    slope = impedance_slope(*centred.T, temperature=temperature)
    return None if np.isnan(slope) else slope


def _wide(results: dict[str, Any]) -> list[str]:
    judged = ["episode.potential", *rows_of(results, "sequence"), *rows_of(results, "shortcut")]
    found = {row: number(results["rows"], row, "macro", "auroc") for row in judged}
    return [
        row
        for row, value in found.items()
        if value.low is not None and value.high is not None and value.high - value.low > WIDE
    ]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
