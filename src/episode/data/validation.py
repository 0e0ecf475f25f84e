"""The rules that every pair must meet, applied to a whole table at once.

A row of a raw table (text under canonical names) becomes a row of the pair frame if

- `cell_line` is a name: neither empty nor a word for a missing value, and without ":" (which joins cell line and assay
  in environment names);
- names, and what is carried through, hold no control characters (`episode.text`);
- `label` is 0, 1 or empty (unknown), and `split` is empty, train, val or test; neither is read of pairs to predict;
- each start and end is a whole number written with all its digits, 0-based half-open, `start` at least 0 and `end` past
  `start`;
- enhancer and promoter lie on one chromosome;
- `distance` is empty or a finite number of at least 0;
- given sequences hold bases only (A, C, G, T and the IUPAC codes, in either case), one sequence a name;
- each name that must have a sequence has one.

All but the last two are judged row by row: neighbours change nothing. Between rows of all tables: no pair of one
environment has two labels (`conflicting_labels`). Whether an interval lies on the genome is decided where the genome is
read (`episode.data.dataset`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.data.findings import Findings
from episode.data.given_sequences import check_names, read_inline
from episode.data.pairs import CANONICAL_DTYPES, SIDES, SPLITS, interval_names, parse_intervals
from episode.data.positions import read_coordinates, read_distances
from episode.limits import NAME_LENGTH
from episode.text import forbidden_characters, names_with_problems, text_problem

if TYPE_CHECKING:
    from episode.data.readers.text import RawTable

__all__ = ["Validated", "conflicting_labels", "validate"]

RESERVED = frozenset(
    {
        *CANONICAL_DTYPES,
        "environment",
        "enhancer_id",
        "promoter_id",
        "locus",
        "mirrored",
        "has_coordinates",
        *("potential", "impedance", "logit", "probability", "probability_low", "probability_high"),
    }
)
"""Names of the library's own columns; a carried-through column of such a name gets `_given` added, until it is new."""

_MISSING = ("nan", "na", "n/a", "#n/a", "<na>", "none", "null")
"""What programs write for a missing value, in lower case."""


@dataclass(frozen=True)
class Validated:
    """The rows of one table that meet the rules, and what is wrong with the others."""

    frame: pd.DataFrame
    findings: Findings
    sequences: dict[str, dict[str, str]]
    """Of each side, DNA by name."""


def validate(
    raw: RawTable,
    known: Mapping[str, Mapping[str, bytes]] | None = None,
    *,
    labels: bool = True,
    promoter_flank: int = 0,
) -> Validated:
    """Check a table against the rules of this module.

    Parameters
    ----------
    raw : RawTable
        Needs column `cell_line`; for each side either `<side>_chrom`, `_start` and `_end`, or
        `<side>_sequence`, or `<side>_name` with sequences by name.
    known : mapping, optional
        Of a block of a table: for each side the `fingerprint` of each name's sequence in the blocks before it.
    labels : bool
        Labels and splits will be read. Otherwise both are carried as they are, and a label that is neither 0 nor 1
        counts as unknown.
    promoter_flank : int
        Of a promoter that is a point (`start` = `end`) take as many bases on either side; 0 refuses points.

    Returns
    -------
    Validated
        `frame` has the columns of `CANONICAL_DTYPES` (`source` all 0) and the carried-through ones.
    """
    text = raw.text.frame
    n = len(text)
    findings = Findings([raw.text.file], raw.text.row)
    columns: dict[str, pd.Series] = {}

    def named(column: str) -> str:
        return raw.named.get(column, column)

    def get(column: str) -> pd.Series:
        return text[column] if column in text else pd.Series([""] * n, dtype="str")

    cell_line, split = get("cell_line"), get("split")
    columns |= {"cell_line": cell_line, "assay": get("assay"), "split": split}
    findings.add((cell_line == "").to_numpy(), named("cell_line"), "is empty; needs the name of a cell line")
    colon = cell_line.str.contains(":", regex=False).to_numpy(dtype=bool)
    findings.add(colon, named("cell_line"), "holds ':', which is kept for cell_line:assay", cell_line)
    for column, what in (("cell_line", "a cell line"), ("assay", "an assay")):
        values = columns[column]
        missing = values.str.lower().isin(_MISSING).to_numpy()
        findings.add(missing, named(column), f"is not the name of {what}", values)
    for name in map(str, text):
        _check_text(text[name], name, named(name), findings)
    columns["label"] = label = _labels(get("label"))
    if labels:
        wrong = ((label < 0) & (get("label") != "")).to_numpy()
        findings.add(wrong, named("label"), "is not 0, 1 or empty (unknown)", get("label"))
        findings.add(~split.isin(["", *SPLITS]).to_numpy(), named("split"), "is not train, val, test or empty", split)

    sequences: dict[str, dict[str, str]] = {}
    for side in SIDES:
        given = get(f"{side}_name")
        if side in raw.sequences:
            columns |= {f"{side}_{part}": values for part, values in parse_intervals(given).items()}
            columns[f"{side}_name"], sequences[side] = given, raw.sequences[side]
            check_names(given, raw, side, named(f"{side}_name"), findings)
            continue
        if f"{side}_chrom" in text:
            read_coordinates(text, side, named, findings, columns, promoter_flank if side == "promoter" else 0)
        else:
            empty = pd.Series(np.full(n, -1), dtype="int64")
            columns[f"{side}_chrom"] = pd.Series([""] * n, dtype="str")
            columns[f"{side}_start"], columns[f"{side}_end"] = empty, empty
        names = given.where(given != "", interval_names(pd.DataFrame(columns), side))
        sequences[side] = {}
        if f"{side}_sequence" in text:
            before = {} if known is None else known[side]
            column = named(f"{side}_sequence")
            names, sequences[side] = read_inline(text[f"{side}_sequence"], names, column, findings, before)
        columns[f"{side}_name"] = names

    here, there = columns["enhancer_chrom"], columns["promoter_chrom"]
    apart = ((here != "") & (there != "") & (here != there)).to_numpy()
    chromosome = named("enhancer_chrom")
    findings.add(
        apart,
        named("promoter_chrom"),
        lambda at: f"differs from {chromosome} {here.iloc[at]!r}; a pair needs one chromosome",
        there,
    )
    columns["distance"] = read_distances(text.get("distance"), named("distance"), findings, columns)
    columns["source"] = pd.Series(np.zeros(n), dtype="int32")
    columns["row"] = pd.Series(raw.text.row)

    frame = pd.DataFrame({name: columns[name] for name in CANONICAL_DTYPES}).astype(CANONICAL_DTYPES)
    inline = {f"{side}_sequence" for side in SIDES}
    for name in text.columns:
        if (name not in CANONICAL_DTYPES and name not in inline) or (name == "label" and not labels):
            frame[_own_name(name, text)] = text[name]
    keep = ~findings.broken()
    return Validated(frame if keep.all() else frame[keep].reset_index(drop=True), findings, sequences)


def _own_name(name: str, text: pd.DataFrame) -> str:
    """Name a carried-through column."""
    if name not in RESERVED:
        return name
    while name in RESERVED or name in text:
        name += "_given"
    return name


def _labels(text: pd.Series) -> pd.Series:
    known = text.str.fullmatch(r"[01](\.0*)?").to_numpy(dtype=bool)
    one = text.str.startswith("1").to_numpy(dtype=bool)
    return pd.Series(np.where(known, one, -1), dtype="int8")


def _check_text(values: pd.Series, column: str, display: str, findings: Findings) -> None:
    """Refuse text that outputs could not repeat; what is judged as a number or as DNA is none."""
    kind = column.partition("_")[2] if column.partition("_")[0] in SIDES else column
    if kind in ("start", "end", "sequence", "distance"):
        return
    name = column in ("cell_line", "assay") or (column in CANONICAL_DTYPES and kind in ("name", "chrom"))
    bad = names_with_problems(values) if name else forbidden_characters(values)
    length = NAME_LENGTH if name else None
    findings.add(bad, display, lambda at: str(text_problem(values.iloc[at], length=length)), values)


def conflicting_labels(keys: pd.DataFrame, label: pd.Series) -> npt.NDArray[np.bool_]:
    """Find the rows of pairs that have both labels.

    Parameters
    ----------
    keys : DataFrame, n rows
        Rows that agree in every column are one pair of one environment.
    label : Series of int8, n rows
        1, 0 or -1 (unknown, which conflicts with nothing).

    Returns
    -------
    bool array, shape (n,)
        True for every row with a known label whose pair occurs with the other label.
    """
    group = keys.groupby(list(keys.columns), sort=False).ngroup().to_numpy()
    known = (label >= 0).to_numpy()
    count = int(group.max()) + 1 if len(group) else 0
    positive = np.bincount(group[(label == 1).to_numpy()], minlength=count) > 0
    negative = np.bincount(group[(label == 0).to_numpy()], minlength=count) > 0
    return (positive & negative)[group] & known
