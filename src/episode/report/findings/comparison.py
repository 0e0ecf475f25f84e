"""The words of a comparison: does the ranking beat its baselines, does the impedance help.

A method beats another only where `episode.metrics.claims` says so of their paired difference, and no alarm speaks
against it. What should not be trusted is in `episode.report.findings.cautions`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from episode.compare.methods.registry import MATCHED_BUDGET, ORACLE, SEQUENCE, SHORTCUT, WITH_DISTANCE
from episode.compare.results import ComparisonResults
from episode.metrics.claims import judge, lead
from episode.report.findings import BARRED, Claim, Findings, barred_by, decimal, listing, signed, spell, within
from episode.report.findings.cautions import cautions, leak, raised
from episode.report.load import Comparison
from episode.report.methods import METRICS, best, ground, judged, methods_of
from episode.train.diagnostics import NO_SKILL

__all__ = ["best_baselines", "chance_aupr", "claimed", "correction_method", "find_comparison"]

POTENTIAL = "episode.potential"
CORRECTIONS = ("episode.student", "episode.fused")
SUBJECTS = {POTENTIAL: "ranking", **dict.fromkeys(CORRECTIONS, "impedance")}
CORRECTION_BASELINES = ("mean_impedance", "em", "bbse")

Measure = tuple[str, str]
"""Scope ("macro", "pooled") and metric."""
RANKING: tuple[Measure, ...] = (("macro", "auroc"), ("macro", "aupr"))
CORRECTION: tuple[Measure, ...] = (("pooled", "log_loss"), ("macro", "log_loss"), ("pooled", "ece"))
VERBS = {
    "better": ("beats", ""),
    "worse": ("loses to", "loses in {}"),
    BARRED: ("claims no gain over", "claims no gain in {}"),
    "open": ("shows no measurable gain over", "no measurable gain in {}"),
    "even": ("shows no measurable difference from", "no measurable difference in {}"),
    "unknown": ("was not compared with", "not compared in {}"),
}
"""How a standing is said of a baseline and, after another, of a measure; first what matters most."""


def find_comparison(comparison: Comparison) -> Findings:
    """Put a comparison into words."""
    results, found = comparison.results, list(raised(comparison))
    names = {name for name, _ in found}
    return Findings(
        ranking=_ranking(results, barred_by("ranking", names)),
        impedance=_impedance(results, barred_by("impedance", names)),
        cautions=tuple(cautions(results)),
        alarms=tuple(text for _, text in found),
        leak=leak(results.audit),
    )


def claimed(results: ComparisonResults, pair: str, measure: Measure, alarms: Collection[str]) -> bool:
    """Whether a difference, by its name "a-b", is a gain or a loss; a gain yields to the alarms, given by name."""
    first, _, second = pair.partition("-")
    found = judged(results, first, second, *measure).standing
    barred = first in SUBJECTS and bool(barred_by(SUBJECTS[first], alarms))
    return found == "worse" or (found == "better" and not barred)


def best_baselines(results: ComparisonResults) -> list[str]:
    """Return the best sequence baseline by macro AUROC and, if another, by macro AUPR."""
    names = [*methods_of(results, SEQUENCE), *methods_of(results, MATCHED_BUDGET)]
    found = [best(results, names, metric) for metric in ("auroc", "aupr")]
    return list(dict.fromkeys(method for method in found if method is not None))


def correction_method(results: ComparisonResults) -> str | None:
    """Return the method that represents the impedance: R_S alone, as an unseen environment gets it."""
    return next(
        (method for method in CORRECTIONS if results.estimate(method, "pooled", "log_loss").value is not None), None
    )


def chance_aupr(results: ComparisonResults) -> float | None:
    """Return the AUPR of chance, macro: the mean prevalence where both classes are there."""
    found = [entry.share_positive for entry in results.environments.values() if 0 < entry.share_positive < 1]
    return sum(found) / len(found) if found else None


def _ranking(results: ComparisonResults, bar: str) -> Claim:
    auroc, aupr = (results.estimate(POTENTIAL, *measure) for measure in RANKING)
    if auroc.value is None:
        return Claim(
            "Whether U_I ranks could not be judged: the method episode.potential is missing, or no environment has "
            "both classes."
        )
    found = judge(lead(auroc, NO_SKILL), "auroc", ground(results, *RANKING[0]))
    chance = {
        "better": "claims no gain over chance" if bar else "ranks pairs better than chance",
        "worse": "ranks pairs worse than chance",
        "open": f"does not differ measurably from chance ({found.why})",
        "unknown": "has no interval, so nothing is claimed against chance",
    }[found.standing]
    against = {method: method for method in methods_of(results, SHORTCUT)}
    against |= {method: f"{method} (best sequence baseline)" for method in best_baselines(results)}
    verdict = f" It {_verdict(results, POTENTIAL, against, RANKING, bar)}." if against else ""
    lines = [
        f"Mean over environments: AUROC {spell(auroc)}, chance 0.5; AUPR {spell(aupr)}, chance "
        f"{decimal(chance_aupr(results))}."
    ]
    lines += [_numbers(results, POTENTIAL, baseline, RANKING) for baseline in against]
    lines += [_with_distance(results, method) for method in methods_of(results, WITH_DISTANCE)]
    return Claim(_with_bar(f"{_place(results)} U_I {chance}.{verdict}", bar), tuple(line for line in lines if line))


def _with_distance(results: ComparisonResults, method: str) -> str:
    """Describe a method that is not of sequence only, beside distance alone and sequence alone."""
    auroc, aupr = (results.estimate(method, *measure) for measure in RANKING)
    baselines = {name: name for name in ("distance", POTENTIAL) if name in results.methods}
    verdict = f" It {_verdict(results, method, baselines, RANKING)}." if baselines else ""
    return (
        f"Not a sequence-only method: {method}, whose U_I reads the distance as well, has AUROC {spell(auroc)}, "
        f"AUPR {spell(aupr)}.{verdict}"
    )


def _place(results: ComparisonResults) -> str:
    """Say whether training knew the environments that were tested."""
    known = [entry.known for entry in results.environments.values()]
    if not any(known):
        return "On unseen environments"
    if all(known):
        return "On environments that training knew"
    return f"On {len(known)} environments, {sum(known)} of which training knew,"


def _impedance(results: ComparisonResults, bar: str) -> Claim:
    method = correction_method(results)
    if method is None:
        return Claim("Whether the impedance correction helps could not be judged: no method has its log-loss.")
    baselines = {name: name for name in CORRECTION_BASELINES if name in results.methods}
    if not baselines:
        return Claim("Whether the impedance correction helps could not be judged: none of its baselines was run.")
    own = ", ".join(f"{_name(measure)} {spell(results.estimate(method, *measure))}" for measure in CORRECTION)
    lines = [f"With it: {own}."]
    lines += [_numbers(results, method, baseline, CORRECTION) for baseline in baselines]
    lines.append(_numbers(results, method, POTENTIAL, RANKING).replace("Against", "Inside environments, against", 1))
    oracle = results.estimate(ORACLE.name, "pooled", "log_loss")
    if oracle.value is not None:
        lines.append(
            f"The best impedances, read from the test labels, would give a pooled log-loss of {spell(oracle)}."
        )
    text = f"The impedance correction ({method}) {_verdict(results, method, baselines, CORRECTION, bar)}."
    return Claim(_with_bar(text, bar), tuple(line for line in lines if line))


def _with_bar(text: str, bar: str) -> str:
    """Name the alarm that a claim yields to, if one does."""
    return f"{text} The alarm {bar} speaks against a claim." if VERBS[BARRED][0] in text else text


def _verdict(
    results: ComparisonResults, method: str, baselines: Mapping[str, str], measures: Sequence[Measure], bar: str = ""
) -> str:
    """Say how a method stands against some baselines, those of one standing together; gains yield to an alarm."""
    by_standing: dict[tuple[str, str], list[str]] = {}
    for baseline, label in baselines.items():
        by_standing.setdefault(_stands(results, method, baseline, measures, bar), []).append(label)
    return "; it ".join(f"{verb} {listing(names)}{where}" for (verb, where), names in by_standing.items())


def _stands(
    results: ComparisonResults, method: str, baseline: str, measures: Sequence[Measure], bar: str
) -> tuple[str, str]:
    """Return the verb, and in which measures it holds where it does not hold in all."""
    where: dict[str, list[str]] = {}
    for measure in measures:
        found = judged(results, method, baseline, *measure)
        key: str = found.standing
        if bar and key == "better":
            key = BARRED
        elif key == "open" and found.leans < 0:
            key = "even"
        where.setdefault(key, []).append(_name(measure))
    if "open" in where and "even" in where:
        either = where["even"] + where.pop("open")
        where["even"] = [name for name in map(_name, measures) if name in either]
    order = [key for key in VERBS if key in where]
    if len(order) == 1:
        return VERBS[order[0]][0], ""
    rest = ", ".join(VERBS[key][1].format(listing(where[key])) for key in order[1:])
    return VERBS[order[0]][0], f" in {listing(where[order[0]])} ({rest})"


def _numbers(results: ComparisonResults, method: str, baseline: str, measures: Sequence[Measure]) -> str:
    parts = []
    for measure in measures:
        value, found = results.difference(method, baseline, *measure), judged(results, method, baseline, *measure)
        if value.value is not None:
            interval = within(value, sign=True) if value.bounded else "no interval"
            why = f"; {found.why}" if found.standing == "open" and found.leans else ""
            parts.append(f"{_name(measure)} {signed(value.value)} ({interval}{why})")
    return f"Against {baseline}: {', '.join(parts)}." if parts else ""


def _name(measure: Measure) -> str:
    scope, metric = measure
    name = METRICS[metric].name
    return name if metric in ("auroc", "aupr") else f"{scope} {name}"
