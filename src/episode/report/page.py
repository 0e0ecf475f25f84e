"""The page of a report: one HTML file that opens offline, light or dark, narrow or wide, on screen or paper.

The skeleton, and the writing of the files. What the page says is put together in `episode.report.evaluation` and
`episode.report.comparison`. Readable without a script; the one script on it sorts tables.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from episode.figure_style import COLOURS, Drawing, to_png, to_svg
from episode.files import atomic_file
from episode.report.comparison import comparison_contents
from episode.report.contents import Contents, Section
from episode.report.evaluation import evaluation_contents
from episode.report.findings import Claim, Findings
from episode.report.load import Comparison, load_material
from episode.report.sorting import sorting_script
from episode.report.tables import rich

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
ALERT = ({"alert": "#b3161b"}, {"alert": "#ff8f86"})
"""The red of what makes all else doubtful, light and dark; never alone, always with words."""


def write_report(folder: Path, *, title: str | None = None, out: Path | None = None) -> list[Path]:
    """Draw the figures and the page of an evaluation or of a comparison.

    Parameters
    ----------
    folder : Path
        Holds ``figures.json`` and either ``metrics.json`` or ``results.json``.
    title : str, optional
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
    if isinstance(material, Comparison):
        contents = comparison_contents(material)
    else:
        contents = evaluation_contents(material)
    target = folder if out is None else out
    written = [target / "index.html"]
    vectors = {}
    for drawing in contents.drawings():
        vectors[drawing.name] = to_svg(drawing.figure)
        for ending, content in ((".svg", vectors[drawing.name].encode()), (".png", to_png(drawing.figure))):
            path = target / "figures" / f"{drawing.name}{ending}"
            _write(path, content)
            written.append(path)
    _write(written[0], page(contents, vectors, contents.title if title is None else title).encode())
    return written


def page(contents: Contents, vectors: Mapping[str, str], title: str) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    contents : Contents
    vectors : mapping of str to str
        SVG of each figure by its name.
    title : str
        Plain text.
    """
    links = "".join(f'<li><a href="#{section.anchor}">{rich(section.title)}</a></li>' for section in contents.sections)
    links += '<li><a href="#provenance">Provenance</a></li>' if contents.provenance else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>
{_style()}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
{f"<p>{rich(contents.lead)}</p>" if contents.lead else ""}
{_top(contents.findings)}
<nav aria-label="Contents"><ul>{links}</ul></nav>
{chr(10).join(_section(section, vectors) for section in contents.sections)}
{_provenance(contents.provenance)}
</main>
{sorting_script()}
</body>
</html>
"""


def _top(findings: Findings) -> str:
    """Write the three sentences, and before them what makes all else doubtful."""
    leak = f'<p class="leak" role="note">{rich(findings.leak)}</p>\n' if findings.leak else ""
    alarms = "<p>No alarm was raised.</p>"
    if findings.alarms:
        items = "".join(f"<li>{rich(text)}</li>" for text in findings.alarms)
        alarms = f'<div class="alarms" role="note"><h2>Alarms</h2><ul>{items}</ul></div>'
    cautions = "".join(f"<li>{rich(text)}</li>" for text in findings.cautions)
    return f"""{leak}<section class="headline" aria-label="What matters">
{_claim(findings.ranking)}
{_claim(findings.impedance)}
<div class="claim"><p><strong>What should not be trusted:</strong></p><ul>{cautions}</ul></div>
</section>
{alarms}"""


def _claim(claim: Claim) -> str:
    details = "".join(f'<p class="detail">{rich(line)}</p>' for line in claim.details)
    return f'<div class="claim"><p><strong>{rich(claim.text)}</strong></p>{details}</div>'


def _section(section: Section, vectors: Mapping[str, str]) -> str:
    parts = [f'<h2 id="{section.anchor}">{rich(section.title)}</h2>']
    gallery: list[str] = []
    for part in [*section.parts, ""]:
        if isinstance(part, Drawing):
            gallery.append(_figure(part, vectors[part.name]))
            continue
        if gallery:
            parts.append('<div class="figures">\n{}\n</div>'.format("\n".join(gallery)))
            gallery = []
        parts.append(part)
    return "\n".join(part for part in parts if part)


def _figure(drawing: Drawing, svg: str) -> str:
    source = f'<span class="source">Drawn from {_code(drawing.source)}</span>'
    return (
        f'<figure id="figure-{drawing.name}"><h3>{rich(drawing.title)}</h3>\n{_inline_svg(drawing, svg)}\n'
        f"<figcaption>{rich(drawing.caption)} {source}</figcaption></figure>"
    )


def _code(source: str) -> str:
    """Set a place in a file as code that may break after a dot."""
    return "<code>{}</code>".format(html.escape(source).replace(".", ".<wbr>"))


def _inline_svg(drawing: Drawing, svg: str) -> str:
    """Return the SVG for embedding: colours and size follow the page, ids are the figure's own."""
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg\b[^>]*?) width="[^"]*" height="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg", f'<svg role="img" aria-label="{html.escape(drawing.title)}"', 1)
    text = re.sub(r'\bid="', f'id="{drawing.name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\1{drawing.name}-", text)
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    return text.strip()


def _style() -> str:
    dark = f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK | ALERT[1])} }} }}"
    rules = resources.files("episode.report").joinpath("page.css").read_text(encoding="utf-8")
    return f":root {{ {_variables(COLOURS | ALERT[0])} color-scheme: light dark; }}\n{dark}\n{rules}"


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def _provenance(provenance: dict[str, Any]) -> str:
    if not provenance:
        return ""
    rows = "".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>" for key, value in _flat(provenance))
    return f'<h2 id="provenance">Provenance</h2>\n<dl>{rows}</dl>'


def _flat(content: Any, path: str = "") -> Iterable[tuple[str, str]]:
    """Lay nested values out as lines; a list of plain values is one line."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _flat(value, f"{path} › {key}" if path else str(key))
    elif isinstance(content, list) and any(isinstance(item, dict | list) for item in content):
        for place, item in enumerate(content, start=1):
            yield from _flat(item, f"{path} {place}")
    elif isinstance(content, list):
        yield path, ", ".join(map(str, content)) or "–"
    else:
        yield path, "–" if content is None else str(content)


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
