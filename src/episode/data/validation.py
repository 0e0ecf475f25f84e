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

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from episode.data.findings import Findings
from episode.data.pairs import CANONICAL_DTYPES, SIDES, SPLITS, interval_names, parse_intervals
from episode.data.readers.text import RawTable
from episode.dna import DNA_ALPHABET
from episode.limits import ELEMENT_BASES, NAME_LENGTH, POSITION
from episode.text import forbidden_characters, names_with_problems, text_problem

__all__ = ["Validated", "conflicting_labels", "fingerprint", "sequence_problem", "validate"]

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

_DNA_BYTES = (DNA_ALPHABET + DNA_ALPHABET.lower()).encode()
_MISSING = ("nan", "na", "n/a", "#n/a", "<na>", "none", "null")
"""What programs write for a missing value, in lower case."""
_WHOLE = r"-?[0-9]{1,15}(\.0*)?"
_SCIENTIFIC = r"[-+]?[0-9.]+[eE][-+]?[0-9]+"
_NUMBER = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"


@dataclass(frozen=True)
class Validated:
    """The rows of one table that meet the rules, and what is wrong with the others."""

    frame: pd.DataFrame
    findings: Findings
    sequences: dict[str, dict[str, str]]
    """Of each side, DNA by name."""


def fingerprint(sequence: str) -> bytes:
    """Return 16 bytes that two sequences share only if they are equal."""
    return hashlib.blake2b(sequence.encode(), digest_size=16).digest()


def sequence_problem(sequence: str) -> str | None:
    """Return what is wrong with a DNA sequence, None if nothing is."""
    if not sequence:
        return "is empty; needs a DNA sequence"
    if len(sequence) > ELEMENT_BASES:
        return f"has {len(sequence):,} bases; needs at most {ELEMENT_BASES:,}"
    left = sequence.encode("utf-8").translate(None, _DNA_BYTES).decode("utf-8")
    if not left:
        return None
    letter = left[0]
    return f"holds {letter!r} at base {sequence.index(letter) + 1}; needs bases (ACGT, N and IUPAC codes)"


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
    for column in text:
        _check_text(text[column], column, named(str(column)), findings)
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
            _check_names(given, raw, side, named(f"{side}_name"), findings)
            continue
        if f"{side}_chrom" in text:
            _coordinates(text, side, named, findings, columns, promoter_flank if side == "promoter" else 0)
        else:
            empty = pd.Series(np.full(n, -1), dtype="int64")
            columns[f"{side}_chrom"] = pd.Series([""] * n, dtype="str")
            columns[f"{side}_start"], columns[f"{side}_end"] = empty, empty
        names = given.where(given != "", interval_names(pd.DataFrame(columns), side))
        sequences[side] = {}
        if f"{side}_sequence" in text:
            before = {} if known is None else known[side]
            column = named(f"{side}_sequence")
            names, sequences[side] = _inline(text[f"{side}_sequence"], names, column, findings, before)
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
    columns["distance"] = _distances(text.get("distance"), named("distance"), findings, columns)
    columns["source"] = pd.Series(np.zeros(n), dtype="int32")
    columns["row"] = pd.Series(raw.text.row)

    frame = pd.DataFrame({name: columns[name] for name in CANONICAL_DTYPES}).astype(CANONICAL_DTYPES)
    inline = {f"{side}_sequence" for side in SIDES}
    for name in text.columns:
        if (name not in CANONICAL_DTYPES and name not in inline) or (name == "label" and not labels):
            frame[_own_name(name, text)] = text[name]
    keep = np.ones(n, dtype=bool)
    keep[findings.rows()] = False
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


def _coordinates(
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
    long = (known & (end - start > ELEMENT_BASES)).to_numpy()
    findings.add(long, display["end"], f"is more than {ELEMENT_BASES:,} bp past {display['start']}", given["end"])
    columns[f"{side}_chrom"], columns[f"{side}_start"], columns[f"{side}_end"] = given["chrom"], start, end


def _distances(text: pd.Series | None, name: str, findings: Findings, columns: dict[str, pd.Series]) -> pd.Series:
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


def _check_names(names: pd.Series, raw: RawTable, side: str, column: str, findings: Findings) -> None:
    file = "e_seq.csv" if side == "enhancer" else "p_seq.csv"
    spoilt = names.isin(list(raw.bad_sequences)).to_numpy()
    missing = ~names.isin(list(raw.sequences[side])).to_numpy() & ~spoilt
    findings.add(missing, column, f"is not among the regions of {file}", names)
    findings.add(spoilt, column, f"has a sequence in {file} that is not DNA", names)


def _inline(
    sequences: pd.Series, names: pd.Series, column: str, findings: Findings, known: Mapping[str, bytes]
) -> tuple[pd.Series, dict[str, str]]:
    """Check sequences given in the table itself; nameless ones are named after their bases."""
    # Letters outside ASCII are no DNA, though their capitals may be.
    codes, distinct = pd.factorize(sequences.str.upper().where(sequences.str.isascii(), sequences))
    needs = [sequence_problem(sequence) for sequence in distinct]
    empty = (sequences == "").to_numpy()
    bad = np.array([need is not None for need in needs], dtype=bool)[codes]
    for kind in (bad & empty, bad & ~empty):
        findings.add(kind, column, lambda at: needs[codes[at]] or "", sequences)
    hashes = [f"seq-{hashlib.sha256(sequence.encode()).hexdigest()[:16]}" for sequence in distinct]
    names = names.where(names != "", pd.Series([hashes[code] for code in codes], dtype="str"))
    first = pd.DataFrame({"name": names, "code": codes})[~bad].drop_duplicates("name").set_index("name")["code"]
    again = [name for name in first.index if name in known]
    if again:
        place = {fingerprint(distinct[code]): code for code in np.unique(codes[~bad])}
        first[again] = [place.get(known[name], -1) for name in again]
    differs = ~bad & (names.map(first).to_numpy() != codes)
    findings.add(differs, column, "differs from the sequence of an earlier row of the same name", sequences)
    return names, {str(name): str(distinct[code]) for name, code in first.items() if code >= 0}


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
