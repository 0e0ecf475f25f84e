"""The page of a report: one HTML file that opens offline, light or dark, narrow or wide, on screen or paper.

Everything shown comes from `Material`. No script is needed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from episode.files import atomic_file
from episode.report.drawing import COLOURS, Drawing, to_png, to_svg
from episode.report.figures import draw_all
from episode.report.findings import Findings, find
from episode.report.material import Material, load_material
from episode.report.tables import environment_table, headline_table, impedance_table, rich

__all__ = ["page", "write_report"]

DARK = {
    "ink": "#e6e9ed",
    "muted": "#a4adb8",
    "grid": "#323a44",
    "paper": "#14181d",
    "blue": "#5cb8ee",
    "red": "#f48c4a",
    "green": "#3ecf9f",
    "purple": "#d88fd8",
}
"""The colours of `COLOURS` on a dark screen."""


def write_report(folder: Path, *, title: str = "EPIsode evaluation", out: Path | None = None) -> list[Path]:
    """Draw the figures and the page of an evaluation.

    Parameters
    ----------
    folder : Path
        Holds ``metrics.json``, ``predictions.parquet`` and, where there was a training, ``training.jsonl``.
    title : str
        Heading of the page.
    out : Path or None
        Where ``index.html`` and ``figures/`` go; None for `folder` itself. Earlier files of these names are
        replaced.

    Returns
    -------
    list of Path
        What was written, the page first.

    Raises
    ------
    EpisodeError
        If the folder lacks a file or a file is damaged; nothing is written then.
    """
    material = load_material(folder)
    target = folder if out is None else out
    drawings = draw_all(material)
    written = [target / "index.html"]
    for drawing in drawings:
        for ending, content in ((".png", to_png(drawing.figure)), (".svg", to_svg(drawing.figure).encode())):
            path = target / "figures" / f"{drawing.name}{ending}"
            _write(path, content)
            written.append(path)
    _write(written[0], page(material, drawings, title).encode())
    return written


def page(material: Material, drawings: Iterable[Drawing], title: str) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    material : Material
    drawings : iterable of Drawing
        Shown in this order.
    title : str
        Plain text.
    """
    summary, findings = material.summary, find(material)
    figures = "\n".join(_figure(drawing) for drawing in drawings)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
{_style()}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
{_headline(findings)}
<div class="headline-table">{headline_table(summary)}</div>
<h2>Figures</h2>
<div class="figures">
{figures}
</div>
<h2>Environments</h2>
{environment_table(summary)}
<h2>Impedances</h2>
{impedance_table(summary)}
<h2>How to read this</h2>
<p>The model is P(interaction) = sigmoid((U<sub>I</sub> − R<sub>E</sub>) / T). U<sub>I</sub>, the
potential, reads the two DNA sequences only. R<sub>E</sub>, the impedance, belongs to the environment: a
cell line, with its assay where one is given. T = {summary["temperature"]:.3f} is one number for all.
One impedance shifts all pairs of an environment alike, so it cannot change the ranking inside an
environment. It moves the pooled ranking, the probabilities, and every decision at a fixed
threshold.</p>
<p>Numbers called oracle read the labels that they are judged by: what could be had, not what was had.</p>
{_provenance(summary.get("provenance"))}
</body>
</html>
"""


def _headline(findings: Findings) -> str:
    cautions = "".join(f"<li>{rich(text)}</li>" for text in findings.cautions)
    alarms = "".join(f"<li>{rich(text)}</li>" for text in findings.alarms)
    box = "<p>No alarm was raised.</p>"
    if alarms:
        box = f'<div class="alarms" role="note"><h3>Alarms</h3><ul>{alarms}</ul></div>'
    return f"""<section class="headline">
<p>{rich(findings.ranking)}</p>
<p>{rich(findings.impedance)}</p>
</section>
{box}
<h3>What not to trust</h3>
<ul>{cautions}</ul>"""


def _figure(drawing: Drawing) -> str:
    return (
        f"<figure><h3>{rich(drawing.title)}</h3>\n{_inline_svg(drawing)}\n"
        f"<figcaption>{rich(drawing.caption)}</figcaption></figure>"
    )


def _inline_svg(drawing: Drawing) -> str:
    """Return the SVG for embedding: colours and size follow the page, ids are the figure's own."""
    text = to_svg(drawing.figure)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg\b[^>]*?) width="[^"]*" height="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg", f'<svg role="img" aria-label="{html.escape(drawing.title)}"', 1)
    text = re.sub(r'\bid="', f'id="{drawing.name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\1{drawing.name}-", text)
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    return text.strip()


def _style() -> str:
    dark = f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}"
    rules = resources.files("episode.report").joinpath("page.css").read_text(encoding="utf-8")
    return f":root {{ {_variables(COLOURS)} color-scheme: light dark; }}\n{dark}\n{rules}"


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def _provenance(provenance: Any) -> str:
    if not isinstance(provenance, dict) or not provenance:
        return ""
    rows = "".join(
        f"<dt>{html.escape(str(key))}</dt><dd>{html.escape(str(value))}</dd>" for key, value in provenance.items()
    )
    return f"<h2>Provenance</h2>\n<dl>{rows}</dl>"


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
