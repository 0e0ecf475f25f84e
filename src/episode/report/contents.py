"""What a page shows, in order: findings at the top, then sections of text, tables and figures.

Plain data. Nothing in here knows HTML, nor where the numbers come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import JsonValue

from episode.figure_style import Drawing
from episode.report.findings import Findings
from episode.report.tables import Note, Table

__all__ = ["Contents", "Gallery", "Notes", "Part", "Section", "Text", "make_section", "provenance_lines"]


@dataclass(frozen=True)
class Text:
    """Paragraphs of plain text; `` `code` `` is set as code."""

    paragraphs: tuple[str, ...]
    kind: ClassVar[Literal["text"]] = "text"


@dataclass(frozen=True)
class Notes:
    """The remarks that the cells of a table link to, in the order of their numbers."""

    notes: tuple[Note, ...]
    kind: ClassVar[Literal["notes"]] = "notes"


@dataclass(frozen=True)
class Gallery:
    """Figures side by side where there is room."""

    drawings: tuple[Drawing, ...]
    kind: ClassVar[Literal["gallery"]] = "gallery"


Part = Text | Notes | Table | Gallery


@dataclass(frozen=True)
class Section:
    """A titled part of the page.

    Parameters
    ----------
    title : str
        Plain text.
    anchor : str
        Where links lead; unique on the page.
    """

    title: str
    anchor: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Contents:
    """All that a page shows.

    Parameters
    ----------
    title : str
        Heading, if the user gives none.
    lead : str
        Plain text below it; may be empty.
    provenance : tuple of (str, str)
        Names and values, shown last.
    """

    title: str
    lead: str
    findings: Findings
    sections: tuple[Section, ...]
    provenance: tuple[tuple[str, str], ...]

    def drawings(self) -> Iterable[Drawing]:
        """Yield every figure in reading order."""
        for section in self.sections:
            for part in section.parts:
                if isinstance(part, Gallery):
                    yield from part.drawings


def make_section(title: str, anchor: str, *parts: Part | Drawing | None) -> Section | None:
    """Make a section of what is there; None where nothing is. Figures that follow each other make one gallery."""
    kept: list[Part] = []
    for part in parts:
        if isinstance(part, Drawing):
            last = kept[-1] if kept else None
            if isinstance(last, Gallery):
                kept[-1] = Gallery((*last.drawings, part))
            else:
                kept.append(Gallery((part,)))
        elif part is not None:
            kept.append(part)
    return Section(title, anchor, tuple(kept)) if kept else None


def provenance_lines(content: JsonValue, path: str = "") -> Iterable[tuple[str, str]]:
    """Yield nested values as names and values; a list of plain values is one line."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from provenance_lines(value, f"{path} › {key}" if path else str(key))
    elif isinstance(content, list) and any(isinstance(item, dict | list) for item in content):
        for place, item in enumerate(content, start=1):
            yield from provenance_lines(item, f"{path} {place}")
    elif isinstance(content, list):
        yield path, ", ".join(map(str, content)) or "–"
    else:
        yield path, "–" if content is None else str(content)
