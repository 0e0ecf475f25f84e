"""Every bound stands in the documents with its value."""

from __future__ import annotations

import re
from pathlib import Path

from episode import limits

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
UNITS = {"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def value(text: str) -> int:
    """Read a number as the page writes it."""
    power = re.fullmatch(r"2\^(\d+)( - 1)?", text)
    if power:
        return 2 ** int(power[1]) - (power[2] is not None)
    number, _, unit = text.replace(",", "").partition(" ")
    return int(number) * UNITS.get(unit, 1)


def test_the_page_of_reliability_lists_every_bound() -> None:
    rows = re.findall(r"^\| ([A-Z_]+) \| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: value(text) for name, text in rows} == {name: getattr(limits, name) for name in limits.__all__}
