"""Write the committed results as a page: every results file of a folder becomes a section of its README.md.

    python benchmarks/read_out.py benchmarks/results

Sentences and tables are made from the JSON files alone; benchmarks/README.md discusses them.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from compact import read_compact
from episode.compare.results import Audit, ComparisonResults, MethodResults
from episode.evaluate.figures import ComparisonFigures
from episode.files import atomic_file
from episode.metrics.intervals import Estimate
from episode.report.findings import spell, words
from episode.report.findings.comparison import find_comparison
from episode.report.load import Comparison
from episode.schema import parse_model

ORDER = (
    "protocol_l",
    "protocol_l_channels_2",
    "protocol_b",
    "protocol_t",
    "shared_loci",
    "shared_loci_loops",
    "world_label",
    "world_concept",
    "world_both",
    "world_rerank",
    "domain_kl_simulated",
)
RANKING = ("auroc", "aupr")
CALIBRATION = ("log_loss", "ece")
TITLES = {"auroc": "AUROC", "aupr": "AUPR", "log_loss": "log-loss", "ece": "ECE"}
BUDGET = ("pairs drawn a fold", "core seconds a fold")
WIDTH = 120


def main(folder: Path) -> None:
    """Write README.md into a folder of results."""
    paths = {name: folder / f"{name}.json.gz" for name in ORDER}
    sections = [_section(name, _results(path)) for name, path in paths.items() if path.exists()]
    head = [
        "# Results",
        _text(
            "Made from the JSON files here by `benchmarks/read_out.py`; do not edit. Brackets hold 95 % intervals over "
            "blocks of the genome. What the numbers mean, and how to make them again: [../README.md](../README.md)."
        ),
    ]
    with atomic_file(folder / "README.md") as temporary:
        temporary.write_text("\n\n".join([*head, *sections]) + "\n")


def _results(path: Path) -> ComparisonResults:
    return parse_model(read_compact(path), ComparisonResults, where=str(path))


def _text(text: str, indent: str = "") -> str:
    """Fill a paragraph, or an item of a list."""
    return textwrap.fill(words(text), WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _list(texts: Iterable[str]) -> str:
    return "\n".join(_text(f"- {text}", "  ") for text in texts)


def _grid(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    names = list(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in (names, ["---"] * len(names), *lines))


def _section(name: str, results: ComparisonResults) -> str:
    protocol, provenance = results.protocol, results.provenance
    findings = find_comparison(Comparison(results, ComparisonFigures()))
    parts = [
        f"## {name}",
        _text(
            f"{protocol.title}. {protocol.sentence} {provenance.pairs:,} pairs, seeds "
            f"{', '.join(map(str, provenance.seeds))}, {results.intervals.blocks} blocks, "
            f"{provenance.job_seconds / 60:.0f} core-minutes."
        ),
        *([_text(f"**{findings.leak}**")] if findings.leak else []),
        _text(f"**Ranking.** {findings.ranking.text}"),
        _text(f"**Impedance.** {findings.impedance.text}"),
        "**What should not be trusted.**",
        _list(findings.cautions),
        *(["**Alarms.**", _list(findings.alarms)] if findings.alarms else []),
        _audit(results.audit),
        *_methods(results),
        *_differences(results),
        *_environments(results),
    ]
    return "\n\n".join(parts)


def _audit(audit: Audit) -> str:
    """Say which fraction of the test pairs training has seen, in the worst fold."""
    fractions = ", ".join(f"{key} {fraction:.1%}" for key, fraction in audit.worst().items())
    return _text(f"Test pairs that training has seen, in the worst of {len(audit.folds)} folds: {fractions}.")


def _methods(results: ComparisonResults) -> list[str]:
    """Make a table for each scope: the ranking over environments and in each subset, then pooled calibration.

    The first has the budget of each method, where the results hold one.
    """
    budget = any(entry.budget for entry in results.methods.values())
    scopes = (*((scope, RANKING) for scope in ("macro", *results.protocol.subsets)), ("pooled", CALIBRATION))
    return [
        _grid(
            [
                "method",
                *(f"{scope} {TITLES[metric]}" for metric in metrics),
                *(BUDGET if budget and scope == "macro" else ()),
            ],
            (
                [
                    f"`{name}`",
                    *(_cell(results.estimate(name, scope, metric)) for metric in metrics),
                    *(_budget(entry) if budget and scope == "macro" else ()),
                ]
                for name, entry in results.methods.items()
            ),
        )
        for scope, metrics in scopes
    ]


def _budget(method: MethodResults) -> tuple[str, str]:
    """Return the pairs drawn and the seconds of a fold."""
    drawn, seconds = method.pairs_a_fold, method.seconds_a_fold
    return "–" if drawn is None else f"{drawn:,}", "–" if seconds is None else f"{seconds:.0f}"


def _differences(results: ComparisonResults) -> list[str]:
    tables = [
        _grid(
            ["difference", *(f"{scope} {TITLES[metric]}" for metric in metrics)],
            (
                [f"`{name}`", *(_cell(entry.estimate(scope, metric), sign=True) for metric in metrics)]
                for name, entry in results.differences.items()
            ),
        )
        for scope, metrics in (("macro", RANKING), ("pooled", CALIBRATION))
    ]
    return ["Differences, on the same pairs and draws:", *tables]


def _environments(results: ComparisonResults) -> list[str]:
    lines = [
        [
            name,
            f"{entry.n:,}",
            f"{entry.positives:,}",
            *(_cell(results.inside(name, "episode.potential", metric)) for metric in RANKING),
        ]
        for name, entry in results.environments.items()
    ]
    return ["Environments, AUROC of U_I alone:", _grid(["environment", "pairs", "positives", "AUROC", "AUPR"], lines)]


def _cell(found: Estimate, *, sign: bool = False) -> str:
    return "–" if found.value is None else spell(found, sign=sign)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
