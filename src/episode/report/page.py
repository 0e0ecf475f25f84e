"""The files of a report: one page and its figures, drawn from a folder that an evaluation or a comparison wrote.

This module does not know what is on the page (`episode.report.evaluation`, `episode.report.comparison`) nor how HTML
is written (`episode.report.rendering`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from episode.figure_style import to_png, to_svg
from episode.files import atomic_file, refuse_unwritable
from episode.report.comparison import comparison_contents
from episode.report.evaluation import evaluation_contents
from episode.report.findings import words
from episode.report.load import Comparison, Evaluation, load_folder
from episode.report.rendering import page

__all__ = ["write_report"]


def write_report(
    folder: Path,
    *,
    title: str | None = None,
    out: Path | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> list[Path]:
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
    warn : callable
        Called with each alarm on the page, and with what it cannot have for lack of labels.

    Returns
    -------
    list of Path
        What was written, the page first.

    Raises
    ------
    EpisodeError
        If the folder lacks a file or a file is damaged; nothing is written then.
    """
    data = load_folder(folder)
    refuse_unwritable(folder if out is None else out)
    if isinstance(data, Comparison):
        contents = comparison_contents(data)
    else:
        contents = evaluation_contents(data)
    lead = [contents.lead] if isinstance(data, Evaluation) and contents.lead else []
    for text in (*contents.findings.alarms, *lead):
        warn(words(text))
    target = folder if out is None else out
    figures = target / "figures"
    made = [folder for folder in (figures, target) if not folder.exists()]
    written = {target / "index.html": b""}
    vectors = {}
    for drawing in contents.drawings():
        vectors[drawing.name] = to_svg(drawing.figure)
        for ending, content in ((".svg", vectors[drawing.name].encode()), (".png", to_png(drawing.figure))):
            written[figures / f"{drawing.name}{ending}"] = content
    text = page(contents, vectors, contents.title if title is None else title)
    written[target / "index.html"] = text.encode()
    try:
        with contextlib.ExitStack() as stack:  # all are written before the first is given its name
            for path, content in written.items():
                stack.enter_context(atomic_file(path)).write_bytes(content)
    except OSError:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    return list(written)
