"""What stands on a page, in order: words at the top, then sections of text, tables and figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from episode.figure_style import Drawing
from episode.report.findings import Findings

__all__ = ["Contents", "Section"]


@dataclass(frozen=True)
class Section:
    """A titled part of the page.

    Parameters
    ----------
    title : str
        Plain text.
    anchor : str
        Where links lead; unique on the page.
    parts : tuple of str or Drawing
        HTML as it is, and figures; figures that follow each other stand side by side where there is room.
    """

    title: str
    anchor: str
    parts: tuple[str | Drawing, ...]


@dataclass(frozen=True)
class Contents:
    """A page without its skeleton.

    Parameters
    ----------
    title : str
        Heading, if the user gives none.
    lead : str
        Plain text below it; may be empty.
    findings : Findings
    sections : tuple of Section
    provenance : dict
        Shown last; may be nested.
    """

    title: str
    lead: str
    findings: Findings
    sections: tuple[Section, ...]
    provenance: dict[str, Any]

    def drawings(self) -> Iterable[Drawing]:
        """Yield every figure in reading order."""
        for section in self.sections:
            yield from (part for part in section.parts if isinstance(part, Drawing))
