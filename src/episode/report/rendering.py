"""The HTML of a page: Jinja2 templates over its contents, everything escaped unless it is made here.

One file that opens offline, light or dark, narrow or wide, on screen or paper. Readable without a script; the one
script on it, DataTables as the itables package ships it, sorts tables. This module does not know where numbers come
from nor where files go.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Mapping
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from episode.figure_style import COLOURS, Drawing
from episode.report.contents import Contents
from episode.report.findings import MARKS

__all__ = ["page", "rich"]

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


def page(contents: Contents, vectors: Mapping[str, str], title: str) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    vectors : mapping of str to str
        SVG of each figure by its name.
    title : str
        Plain text.
    """
    return (
        _environment()
        .get_template("page.html")
        .render(
            contents=contents,
            vectors=vectors,
            title=title,
            light=COLOURS | ALERT[0],
            dark=DARK | ALERT[1],
            sorting_module=_sorting_module(),
        )
    )


def rich(words: str) -> Markup:
    """Escape plain text; set U_I, R_E, R_S and R_T with their index, and `` `code` `` as code, but no marked name."""
    found = re.split(f"{MARKS[0]}(.*?){MARKS[1]}", words, flags=re.DOTALL)
    parts = [f"<bdi>{escape(part)}</bdi>" if place % 2 else _set(part) for place, part in enumerate(found)]
    return Markup("".join(parts))


def _set(words: str) -> str:
    text = re.sub(
        r"\b(U_I|R_[EST])\b", lambda found: "{}<sub>{}</sub>".format(*found[0].split("_")), str(escape(words))
    )
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("episode.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(rich=rich, breakable=_breakable, inline=_inline_svg)
    return environment


@functools.cache
def _sorting_module() -> str:
    """Return the script that sorts tables as a data URL, about 0.8 MB."""
    bundle = resources.files("itables").joinpath("html", "dt_bundle.js").read_bytes()
    return f"data:text/javascript;base64,{base64.b64encode(bundle).decode()}"


def _breakable(words: Markup) -> Markup:
    """Let a name break after a dot, colon or underscore rather than anywhere."""
    return Markup(re.sub(r"(?<=\w)([._:])(?=\w)", r"\1<wbr>", str(words)))


def _inline_svg(svg: str, drawing: Drawing) -> Markup:
    """Return the SVG for embedding: colours and size follow the page, ids are the figure's own."""
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg\b[^>]*?) width="[^"]*" height="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg", f'<svg role="img" aria-label="{escape(drawing.title)}"', 1)
    text = re.sub(r'\bid="', f'id="{drawing.name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\1{drawing.name}-", text)
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    return Markup(text.strip())
