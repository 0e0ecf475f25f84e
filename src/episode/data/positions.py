"""Positions and distances of a table as exact numbers, and what is wrong with those that are none.

A position is written with all its digits. Knows nothing about names, labels or genomes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa

from episode.data.findings import Findings
from episode.data.pairs import SIDES
from episode.limits import POSITION

__all__ = ["read_coordinates", "read_distances"]

_WHOLE = r"-?[0-9]{1,15}(\.0*)?"
_SCIENTIFIC = r"[-+]?[0-9.]+[eE][-+]?[0-9]+"
_NUMBER = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"


def _cast(text: pd.Series, dtype: str) -> pd.Series:
    """Turn text that is numbers into numbers; pandas takes 25 times as long."""
    return pd.Series(pa.array(text).cast(dtype).to_numpy(), index=text.index)


def _whole_numbers(text: pd.Series, column: str, findings: Findings) -> tuple[pd.Series, pd.Series]:
    """Read positions, digit by digit, and tell which ones are; -1 where one is not."""
    whole = text.str.fullmatch(_WHOLE)
    scientific = ~whole & text.str.fullmatch(_SCIENTIFIC)
    need = "is in scientific notation, so digits may be lost; needs a whole number with all its digits"
    findings.add(scientific.to_numpy(dtype=bool), column, need, text)
    other = (~whole & ~scientific).to_numpy(dtype=bool)
    findings.add(other, column, "is not a whole number (0-based position)", text)
    digits = text.where(whole, "-1")
    if digits.str.contains(".", regex=False).any():
        digits = digits.str.replace(r"\.0*$", "", regex=True)
    number = _cast(digits, "int64")
    large = number > POSITION
    findings.add(large.to_numpy(), column, f"is past any position; needs at most {POSITION}", text)
    return number.where(~large, -1), whole.astype(bool) & ~large


def read_coordinates(
    text: pd.DataFrame,
    side: str,
    named: Callable[[str], str],
    findings: Findings,
    columns: dict[str, pd.Series],
    flank: int,
) -> None:
    """Fill `<side>_chrom`, `_start` and `_end`; `flank` bases are taken on either side of a point, if not 0."""
    display = {part: named(f"{side}_{part}") for part in ("chrom", "start", "end")}
    given = {part: text[f"{side}_{part}"] for part in display}
    findings.add((given["chrom"] == "").to_numpy(), display["chrom"], "is empty; needs a chromosome name")
    start, start_known = _whole_numbers(given["start"], display["start"], findings)
    end, end_known = _whole_numbers(given["end"], display["end"], findings)
    negative = start_known & (start < 0)
    findings.add(negative.to_numpy(), display["start"], "is negative; positions are 0-based", given["start"])
    known = start_known & end_known & ~negative
    point = known & (start == end)
    if flank:
        known &= ~point
        start, end = start.where(~point, (start - flank).clip(lower=0)), end.where(~point, end + flank)
    advice = "; --promoter-flank BP takes BP bases on either side of a point" if side == "promoter" else ""

    def need(at: int) -> str:
        return f"is not past {display['start']} {given['start'].iloc[at]}{advice if point.iloc[at] else ''}"

    findings.add((known & (start >= end)).to_numpy(), display["end"], need, given["end"])
    columns[f"{side}_chrom"], columns[f"{side}_start"], columns[f"{side}_end"] = given["chrom"], start, end


def read_distances(text: pd.Series | None, name: str, findings: Findings, columns: dict[str, pd.Series]) -> pd.Series:
    """Take the given distance, else the distance between midpoints (bp), else NaN."""
    middle = {side: (columns[f"{side}_start"] + columns[f"{side}_end"]) / 2 for side in SIDES}
    between = (middle["promoter"] - middle["enhancer"]).abs()
    between = between.where((columns["enhancer_chrom"] != "") & (columns["promoter_chrom"] != ""))
    if text is None:
        return between
    good = text.str.fullmatch(_NUMBER).astype(bool)
    number = _cast(text.where(good, "-1"), "float64")
    good &= np.isfinite(number)
    findings.add((~good & (text != "")).to_numpy(), name, "is not a number of at least 0 (bp), or empty", text)
    return number.where(good, between)
