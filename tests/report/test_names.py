"""Names of cell lines as people have them: drawn and written as they are, whatever they hold."""

from __future__ import annotations

import html
import json
import re
import warnings
from pathlib import Path

import pytest
from markupsafe import escape

import fabricated_folders
from episode.figure_style import new_figure, short, to_svg
from episode.report.evaluation import evaluation_contents
from episode.report.findings import listing, verbatim, words
from episode.report.load import Evaluation, load_folder
from episode.report.rendering import page, rich

NAMES = [
    "a$^$b",
    "$",
    "$$\\frac{$",
    "\\",
    "_x_^{%&",
    "<script>alert(1)</script>",
    "\u7ec6\u80de\U0001f600",
    "x" * 300 + "1",
    "\u05d0\u05d1\u05d2 R_S `code`",
    "macro",
    "pooled",
    "nan",
    '"quoted\' name"',
    "K562",
    "k562",
    "-->",
]


def drawn(name: str) -> str:
    """The text that a figure shows, as its SVG holds it in a comment beside the outlines."""
    figure, axes = new_figure(2)
    axes.set_title(short(name))
    axes.set_yticks([0.5], [short(name)])
    return to_svg(figure)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_drawn_as_it_is(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = drawn(name)
    assert "<script" not in svg.split("<svg", 1)[1]


@pytest.mark.parametrize("name", ["a$^$b", "$", "a\\$b$", "$x_1$"])
def test_a_dollar_begins_no_formula(name: str) -> None:
    assert f"<!-- {html.escape(name, quote=False)} -->" in drawn(name)


def test_short() -> None:
    assert short("K562") == "K562" and short("x" * 24) == "x" * 24
    assert short("x" * 300 + "1") == "x" * 15 + "…" + "x" * 7 + "1"
    assert short("x" * 300 + "1") != short("x" * 300 + "2")
    assert short("a$b") == r"a\$b"
    assert short("\u80de") == "[U+80DE]" and short("\u05d0") == "\u05d0"


def test_a_name_on_a_page_is_shown_letter_by_letter() -> None:
    assert rich(verbatim("R_S `x` <b>")) == "<bdi>R_S `x` &lt;b&gt;</bdi>"
    assert rich(f"R_S of {verbatim('U_I')}") == "R<sub>S</sub> of <bdi>U_I</bdi>"
    assert verbatim("K562") == "K562" and verbatim("a_U_Ib") == "a_U_Ib"
    assert words(listing(["R_S", "b"])) == "R_S and b"


def shown(content: str) -> str:
    """The text of a page without its markup, drawings and scripts."""
    content = re.sub(r"<(script|svg|style)\b.*?</\1>", "", content, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", "", content))


def test_every_name_in_one_evaluation(tmp_path: Path) -> None:
    folder = fabricated_folders.evaluation(tmp_path / "evaluation", environments=len(NAMES), pairs=60)
    for file in ("metrics.json", "figures.json"):
        text = (folder / file).read_text()
        for number, name in enumerate(NAMES):
            if name == "pooled" and file == "figures.json":  # as `episode evaluate` calls its curves
                text = text.replace(f'"cell{number:02d}":', '"pooled (environment)":')
            text = text.replace(f'"cell{number:02d}"', json.dumps(name))
        (folder / file).write_text(text)
    loaded = load_folder(folder)
    assert isinstance(loaded, Evaluation)
    contents = evaluation_contents(loaded)
    content = page(contents, {drawing.name: "<svg></svg>" for drawing in contents.drawings()}, "names")
    text = shown(content)
    for name in NAMES:
        assert name in text, name
        assert f'data-order="{escape(name)}"' in content
    assert "alert(1)</script>" not in content
    (inside,) = (drawing for drawing in contents.drawings() if drawing.name == "potential_by_environment")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "a$^$b" in to_svg(inside.figure)
