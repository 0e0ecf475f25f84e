"""Write the committed results as a page: every results file of a folder becomes a section of its README.md.

    python benchmarks/read_out.py benchmarks/results

Sentences and tables are made from the JSON files alone; benchmarks/README.md discusses them.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from episode.compare.folds import worst_leak
from episode.files import atomic_file, read_json
from episode.report.findings import spell
from episode.report.findings.comparison import find_comparison
from episode.report.load import Comparison, number

ORDER = (
    "protocol_l",
    "protocol_l_channels_2",
    "protocol_b",
    "world_label",
    "world_concept",
    "world_both",
    "world_rerank",
    "domain_kl_simulated",
)
RANKING = ("auroc", "aupr")
CALIBRATION = ("log_loss", "ece")
TITLES = {"auroc": "AUROC", "aupr": "AUPR", "log_loss": "log-loss", "ece": "ECE"}
WIDTH = 120


def main(folder: Path) -> None:
    """Write README.md into a folder of results."""
    paths = {name: folder / f"{name}.json" for name in ORDER}
    sections = [_section(name, read_json(path)) for name, path in paths.items() if path.exists()]
    head = [
        "# Results",
        _text(
            "Made from the JSON files here by `benchmarks/read_out.py`; do not edit. Brackets hold 95 % intervals over "
            "blocks of the genome. What the numbers mean, and how to make them again: [../README.md](../README.md)."
        ),
    ]
    with atomic_file(folder / "README.md") as temporary:
        temporary.write_text("\n\n".join([*head, *sections]) + "\n")


def _text(text: str, indent: str = "") -> str:
    """Fill a paragraph, or an item of a list."""
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _list(texts: Iterable[str]) -> str:
    return "\n".join(_text(f"- {text}", "  ") for text in texts)


def _grid(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    names = list(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in (names, ["---"] * len(names), *lines))


def _section(name: str, results: dict[str, Any]) -> str:
    protocol, provenance = results["protocol"], results["provenance"]
    figures = {"impedance": [], "training": [], "few_labels": [], "alarms": results["alarms"]}
    findings = find_comparison(Comparison(results, figures))
    parts = [
        f"## {name}",
        _text(
            f"{protocol['title']}. {protocol['sentence']} {provenance['pairs']:,} pairs, seeds "
            f"{', '.join(map(str, provenance['seeds']))}, {results['intervals']['blocks']} blocks, "
            f"{provenance['job_seconds'] / 60:.0f} core-minutes."
        ),
        *([_text(f"**{findings.leak}**")] if findings.leak else []),
        _text(f"**Ranking.** {findings.ranking.text}"),
        _text(f"**Impedance.** {findings.impedance.text}"),
        "**What should not be trusted.**",
        _list(findings.cautions),
        *(["**Alarms.**", _list(findings.alarms)] if findings.alarms else []),
        _audit(results),
        *_methods(results),
        *_differences(results),
        *_environments(results),
    ]
    return "\n\n".join(parts)


def _audit(results: dict[str, Any]) -> str:
    """Say which fraction of the test pairs training has seen, in the worst fold."""
    audit = results["audit"]
    fractions = ", ".join(f"{key} {fraction:.1%}" for key, fraction in worst_leak(audit).items())
    return _text(f"Test pairs that training has seen, in the worst of {len(audit['folds'])} folds: {fractions}.")


def _methods(results: dict[str, Any]) -> list[str]:
    """Make a table for each scope: the ranking over environments and in each subset, then pooled calibration."""
    rows = results["rows"]
    subsets = [name for name in results["protocol"]["subsets"] if name in next(iter(rows.values()))]
    return [
        _grid(
            ["method", *(f"{scope} {TITLES[metric]}" for metric in metrics)],
            ([f"`{name}`", *(_cell(entry, scope, metric) for metric in metrics)] for name, entry in rows.items()),
        )
        for scope, metrics in (*((scope, RANKING) for scope in ("macro", *subsets)), ("pooled", CALIBRATION))
    ]


def _differences(results: dict[str, Any]) -> list[str]:
    tables = []
    for scope, metrics in (("macro", RANKING), ("pooled", CALIBRATION)):
        lines = []
        for name, entry in results["differences"].items():
            found = [number(entry, *([] if scope == "macro" else [scope]), metric) for metric in metrics]
            lines.append([f"`{name}`", *("–" if x.value is None else spell(x, sign=True) for x in found)])
        tables.append(_grid(["difference", *(f"{scope} {TITLES[metric]}" for metric in metrics)], lines))
    return ["Differences, on the same pairs and draws:", *tables]


def _environments(results: dict[str, Any]) -> list[str]:
    lines = [
        [
            name,
            f"{entry['n']:,}",
            f"{entry['positives']:,}",
            *(_cell(entry["rows"], "episode.potential", metric) for metric in RANKING),
        ]
        for name, entry in results["environments"].items()
    ]
    return ["Environments, AUROC of U_I alone:", _grid(["environment", "pairs", "positives", "AUROC", "AUPR"], lines)]


def _cell(entry: dict[str, Any], scope: str, metric: str) -> str:
    found = number(entry, scope, metric)
    return "–" if found.value is None else spell(found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
