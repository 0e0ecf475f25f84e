"""Read the committed results out: every results file of a folder becomes a section of its README.md.

    python benchmarks/read_out.py benchmarks/results

Sentences and tables are made from the JSON files alone; what they mean is said in benchmarks/README.md.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

from compact import read_compact
from episode.compare.folds import worst_leak
from episode.files import atomic_file
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
SHOWN = (("macro", "auroc", "macro AUROC"), ("macro", "aupr", "macro AUPR"))
LOSS = (("pooled", "log_loss", "pooled log-loss"), ("pooled", "ece", "pooled ECE"))


def main(folder: Path) -> None:
    """Write README.md into a folder of results."""
    paths = {name: folder / f"{name}.json.gz" for name in ORDER}
    sections = [_section(name, read_compact(path)) for name, path in paths.items() if path.exists()]
    head = "# Results, read out\n\n" + _text(
        "Made from the JSON files here by `benchmarks/read_out.py`; do not edit. In brackets 95 % intervals over "
        "blocks of the genome. What they mean, and how to make them again: [../README.md](../README.md)."
    )
    with atomic_file(folder / "README.md") as temporary:
        temporary.write_text("\n".join([head, *sections]))


def _section(name: str, results: dict[str, Any]) -> str:
    protocol, provenance = results["protocol"], results["provenance"]
    figures = {"impedance": [], "training": [], "few_labels": [], "alarms": results["alarms"]}
    findings = find_comparison(Comparison(results, figures))
    alarms = "".join(_text(text, "- ") for text in findings.alarms)
    cautions = "".join(_text(text, "- ") for text in findings.cautions)
    parts = [
        f"## {name}\n",
        _text(
            f"{protocol['title']}. {protocol['sentence']} {provenance['pairs']:,} pairs, seeds "
            f"{', '.join(map(str, provenance['seeds']))}, {results['intervals']['blocks']} blocks, "
            f"{provenance['job_seconds'] / 60:.0f} core-minutes."
        ),
        *([_text(f"**{findings.leak}**")] if findings.leak else []),
        _text(f"**Ranking.** {findings.ranking.text}"),
        _text(f"**Impedance.** {findings.impedance.text}"),
        f"**What should not be trusted.**\n\n{cautions}",
        *([f"**Alarms.**\n\n{alarms}"] if alarms else []),
        _text(_audit(results)),
        _rows(results),
        _differences(results),
        _environments(results),
    ]
    return "\n".join(parts)


def _text(text: str, bullet: str = "") -> str:
    """Fill a paragraph, or a point of a list."""
    wide = textwrap.TextWrapper(
        120,
        initial_indent=bullet,
        subsequent_indent=" " * len(bullet),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wide.fill(text) + "\n"


def _audit(results: dict[str, Any]) -> str:
    """Say how much of the test rows training has seen, in the worst fold."""
    audit = results["audit"]
    shares = ", ".join(f"{key} {share:.1%}" for key, share in worst_leak(audit).items())
    return f"Test rows that training has seen, in the worst of {len(audit['folds'])} folds: {shares}."


def _rows(results: dict[str, Any]) -> str:
    subsets = [name for name in results["protocol"]["subsets"] if name in next(iter(results["rows"].values()))]
    columns = [
        *SHOWN,
        *((name, metric, f"{name} {metric.upper()}") for name in subsets for metric in ("auroc", "aupr")),
        *LOSS,
    ]
    lines = ["| row | " + " | ".join(title for *_, title in columns) + " |", "|---|" + "---|" * len(columns)]
    for name, entry in results["rows"].items():
        lines.append(f"| `{name}` | " + " | ".join(_cell(entry, scope, metric) for scope, metric, _ in columns) + " |")
    return "\n".join(lines) + "\n"


def _differences(results: dict[str, Any]) -> str:
    columns = [*SHOWN, *LOSS]
    lines = [
        "Differences, on the same pairs and draws:\n",
        "| difference | " + " | ".join(title for *_, title in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for name, entry in results["differences"].items():
        cells = []
        for scope, metric, _ in columns:
            found = number(entry, metric) if scope == "macro" else number(entry, scope, metric)
            cells.append("–" if found.value is None else spell(found, sign=True))
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _environments(results: dict[str, Any]) -> str:
    lines = [
        "Environments, AUROC of U_I alone:\n",
        "| environment | pairs | positives | AUROC | AUPR |",
        "|---|---|---|---|---|",
    ]
    for name, entry in results["environments"].items():
        row = entry["rows"].get("episode.potential", {})
        lines.append(
            f"| {name} | {entry['n']:,} | {entry['positives']:,} | {_cell({'x': row}, 'x', 'auroc')} | "
            f"{_cell({'x': row}, 'x', 'aupr')} |"
        )
    return "\n".join(lines) + "\n"


def _cell(entry: dict[str, Any], scope: str, metric: str) -> str:
    found = number(entry, scope, metric)
    return "–" if found.value is None else spell(found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
