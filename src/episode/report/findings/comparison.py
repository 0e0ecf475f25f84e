"""The words of a comparison: does the ranking beat its rivals, does the impedance help.

A row beats another only where the paired interval of their difference leaves zero out; see `episode.report.findings`.
What should not be trusted is said in `episode.report.findings.cautions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from episode.report.findings import Claim, Findings, decimal, listing, signed, spell, within
from episode.report.findings.cautions import alarms, cautions, leak
from episode.report.load import Comparison, Number, number
from episode.report.methods import METRICS, SHORTCUT, WITH_DISTANCE, best, rows_of

__all__ = ["best_rivals", "chance_aupr", "correction_row", "difference", "find_comparison", "standing"]

POTENTIAL = "episode.potential"
CORRECTIONS = ("episode.student", "episode.fused")
CORRECTION_RIVALS = ("mean_impedance", "em", "bbse")

Measure = tuple[str, str]
"""Level ("macro", "pooled") and metric."""
RANKING: tuple[Measure, ...] = (("macro", "auroc"), ("macro", "aupr"))
CORRECTION: tuple[Measure, ...] = (("pooled", "log_loss"), ("macro", "log_loss"), ("pooled", "ece"))


def find_comparison(material: Comparison) -> Findings:
    """Put a comparison into words."""
    return Findings(
        ranking=_ranking(material.results),
        impedance=_impedance(material.results),
        cautions=tuple(cautions(material)),
        alarms=tuple(alarms(material)),
        leak=leak(material.results),
    )


def difference(results: dict[str, Any], a: str, b: str, level: str, metric: str) -> Number:
    """Return the paired difference a - b, also where the file holds b - a; not defined where it holds neither."""
    keys = (metric,) if level == "macro" else (level, metric)
    found = number(results["differences"], f"{a}-{b}", *keys)
    return found if found.value is not None else -number(results["differences"], f"{b}-{a}", *keys)


def standing(found: Number, metric: str) -> str:
    """Say where a difference stands: "better", "worse", "open" (zero lies in the interval) or "unknown"."""
    if found.low is None or found.high is None:
        return "unknown"
    low, high = (found.low, found.high) if METRICS[metric].better > 0 else (-found.high, -found.low)
    return "better" if low > 0 else "worse" if high < 0 else "open"


def best_rivals(results: dict[str, Any]) -> list[str]:
    """Return the best sequence rival by macro AUROC and, if another, by macro AUPR."""
    names = rows_of(results, "sequence")
    found = [best(results, names, metric) for metric in ("auroc", "aupr")]
    return list(dict.fromkeys(row for row in found if row is not None))


def correction_row(results: dict[str, Any]) -> str | None:
    """Return the row that speaks for the impedance: R_S alone, as an unseen environment gets it."""
    return next(
        (row for row in CORRECTIONS if number(results["rows"], row, "pooled", "log_loss").value is not None), None
    )


def chance_aupr(results: dict[str, Any]) -> float | None:
    """Return the AUPR of chance, macro: the mean share of positives where both classes are there."""
    shares = [
        entry["share_positive"]
        for entry in results["environments"].values()
        if entry.get("share_positive") is not None and 0 < entry["share_positive"] < 1
    ]
    return sum(shares) / len(shares) if shares else None


def _ranking(results: dict[str, Any]) -> Claim:
    auroc = number(results["rows"], POTENTIAL, "macro", "auroc")
    aupr = number(results["rows"], POTENTIAL, "macro", "aupr")
    if auroc.value is None:
        return Claim(
            "Whether U_I ranks could not be judged: the row episode.potential is missing, or no environment has both "
            "classes."
        )
    if auroc.low is None or auroc.high is None:
        chance = "has no interval, so nothing is claimed against chance"
    elif auroc.low > 0.5:
        chance = "ranks pairs better than chance"
    elif auroc.high < 0.5:
        chance = "ranks pairs worse than chance"
    else:
        chance = "cannot be told from chance"
    rivals = {row: f"{row} (best sequence rival)" for row in best_rivals(results)}
    against = {row: row for row in rows_of(results, SHORTCUT)} | rivals
    verdict = f" It {_verdict(results, POTENTIAL, against, RANKING)}." if against else ""
    own = f"Mean over environments: AUROC {spell(auroc)}, chance 0.5; AUPR {spell(aupr)}, chance "
    lines = [own + f"{decimal(chance_aupr(results))}."]
    lines += [_numbers(results, POTENTIAL, rival, RANKING) for rival in against]
    lines += [_with_distance(results, row) for row in rows_of(results, WITH_DISTANCE)]
    return Claim(f"{_place(results)} U_I {chance}.{verdict}", tuple(line for line in lines if line))


def _with_distance(results: dict[str, Any], row: str) -> str:
    """Say what a row reaches that is not of sequence only, beside distance alone and sequence alone."""
    auroc, aupr = (number(results["rows"], row, *measure) for measure in RANKING)
    rivals = {rival: rival for rival in ("distance", POTENTIAL) if rival in results["rows"]}
    verdict = f" It {_verdict(results, row, rivals, RANKING)}." if rivals else ""
    return (
        f"Not a sequence-only row: {row}, whose U_I reads the distance as well, has AUROC {spell(auroc)}, "
        f"AUPR {spell(aupr)}.{verdict}"
    )


def _place(results: dict[str, Any]) -> str:
    """Say whether training knew the environments that were tested."""
    known = [bool(entry.get("known")) for entry in results["environments"].values()]
    if not any(known):
        return "On unseen environments"
    if all(known):
        return "On environments that training knew"
    return f"On {len(known)} environments, {sum(known)} of which training knew,"


def _impedance(results: dict[str, Any]) -> Claim:
    row = correction_row(results)
    if row is None:
        return Claim("Whether the impedance correction helps could not be judged: no row has its log-loss.")
    rivals = {rival: rival for rival in CORRECTION_RIVALS if rival in results["rows"]}
    if not rivals:
        return Claim("Whether the impedance correction helps could not be judged: none of its rivals was run.")
    own = {measure: number(results["rows"], row, *measure) for measure in CORRECTION}
    lines = ["With it: " + ", ".join(f"{_name(measure)} {spell(value)}" for measure, value in own.items()) + "."]
    lines += [_numbers(results, row, rival, CORRECTION) for rival in rivals]
    lines.append(_numbers(results, row, POTENTIAL, RANKING).replace("Against", "Inside environments, against", 1))
    oracle = number(results["rows"], "oracle", "pooled", "log_loss")
    if oracle.value is not None:
        lines.append(
            f"The best impedances, read from the test labels, would give a pooled log-loss of {spell(oracle)}."
        )
    text = f"The impedance correction ({row}) {_verdict(results, row, rivals, CORRECTION)}."
    return Claim(text, tuple(line for line in lines if line))


def _verdict(results: dict[str, Any], row: str, rivals: dict[str, str], measures: Sequence[Measure]) -> str:
    """Say how a row stands against some rivals, those of one standing together."""
    said: dict[tuple[str, str], list[str]] = {}
    for rival, label in rivals.items():
        said.setdefault(_stands(results, row, rival, measures), []).append(label)
    return "; it ".join(f"{verb} {listing(names)}{where}" for (verb, where), names in said.items())


def _stands(results: dict[str, Any], row: str, rival: str, measures: Sequence[Measure]) -> tuple[str, str]:
    """Return the verb, and in which measures it holds where it does not hold in all."""
    where: dict[str, list[str]] = {}
    for level, metric in measures:
        found = standing(difference(results, row, rival, level, metric), metric)
        where.setdefault(found, []).append(_name((level, metric)))
    verbs = {
        "better": "beats",
        "worse": "loses to",
        "open": "cannot be told from",
        "unknown": "was not compared with",
    }
    order = [key for key in verbs if key in where]
    if len(order) == 1:
        return verbs[order[0]], ""
    also = {"worse": "loses in {}", "open": "undecided in {}", "unknown": "not compared in {}"}
    rest = ", ".join(also[key].format(listing(where[key])) for key in order[1:])
    return verbs[order[0]], f" in {listing(where[order[0]])} ({rest})"


def _numbers(results: dict[str, Any], row: str, rival: str, measures: Sequence[Measure]) -> str:
    found = [(measure, difference(results, row, rival, *measure)) for measure in measures]
    text = ", ".join(
        f"{_name(measure)} {signed(value.value)} ({within(value, sign=True) if value.bounded else 'no interval'})"
        for measure, value in found
        if value.value is not None
    )
    return f"Against {rival}: {text}." if text else ""


def _name(measure: Measure) -> str:
    level, metric = measure
    name = METRICS[metric].name
    return name if metric in ("auroc", "aupr") else f"{level} {name}"
