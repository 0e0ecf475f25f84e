"""The rules that every pair must meet, applied to a whole table at once.

A row of a raw table (text under canonical names) becomes a row of the pair frame if

- `cell_line` is neither empty nor NaN, and holds no ":" (which joins cell line and assay in environment
names);
- `label` is 0, 1 or empty (unknown);
- each start and end is a whole number, 0-based half-open, `start` at least 0 and `end` past `start`;
- enhancer and promoter lie on one chromosome;
- `distance` is empty or a finite number of at least 0;
- `split` is empty, train, val or test;
- given sequences hold bases only (A, C, G, T and the IUPAC codes, in either case), one sequence a name;
- each name that must have a sequence has one.

Between rows: no pair of one environment has two labels. A row that repeats an earlier one is merged into it.
Whether an interval lies on the genome is decided where the genome is read (`episode.data.dataset`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.data.pairs import CANONICAL_DTYPES, SIDES, SPLITS, interval_names, parse_intervals
from episode.data.readers.text import RawTable
from episode.dna import DNA_ALPHABET
from episode.errors import Problem

__all__ = ["Findings", "Validated", "conflicting_labels", "fingerprint", "sequence_problem", "validate"]

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
_SHOWN_VALUE = 60


@dataclass
class Findings:
    """Problems of single rows, by position in the table."""

    entries: list[tuple[int, str | None, str | None, str]] = field(default_factory=list)

    def add(
        self,
        bad: npt.NDArray[np.bool_],
        column: str | None,
        need: str | list[str],
        values: pd.Series | None = None,
    ) -> None:
        """Note a problem for every row where `bad`; `need` is one text, or one text a row."""
        for position in np.flatnonzero(bad):
            value = None if values is None else shorten(str(values.iloc[position]))
            self.entries.append((int(position), column, value, need if isinstance(need, str) else need[position]))

    def rows(self) -> npt.NDArray[np.int64]:
        """Return the positions with a problem, sorted, each once."""
        return np.unique(np.array([entry[0] for entry in self.entries], dtype=np.int64))

    def problems(self, file: str, row: npt.NDArray[np.int64]) -> list[Problem]:
        """Return the problems in row order."""
        ordered = sorted(self.entries, key=lambda entry: entry[0])
        return [Problem(file, need, int(row[at]), column, value) for at, column, value, need in ordered]


@dataclass(frozen=True)
class Validated:
    """The rows of one table that meet the rules, and what is wrong with the others."""

    frame: pd.DataFrame
    problems: list[Problem]
    sequences: dict[str, dict[str, str]]
    """Of each side, DNA by name."""


def shorten(value: str) -> str:
    """Cut a value for a message."""
    return value if len(value) <= _SHOWN_VALUE else f"{value[:_SHOWN_VALUE]}... ({len(value)} characters)"


def fingerprint(sequence: str) -> bytes:
    """Return 16 bytes that two sequences share only if they are equal."""
    return hashlib.blake2b(sequence.encode(), digest_size=16).digest()


def sequence_problem(sequence: str) -> str | None:
    """Return what is wrong with a DNA sequence, None if nothing is."""
    if not sequence:
        return "is empty; needs a DNA sequence"
    left = sequence.encode("utf-8").translate(None, _DNA_BYTES).decode("utf-8")
    if not left:
        return None
    letter = left[0]
    return f"holds {letter!r} at base {sequence.index(letter) + 1}; needs bases (ACGT, N and IUPAC codes)"


def validate(raw: RawTable, known: Mapping[str, Mapping[str, bytes]] | None = None) -> Validated:
    """Check a table against the rules of this module.

    Parameters
    ----------
    raw : RawTable
        Needs column `cell_line`; for each side either `<side>_chrom`, `_start` and `_end`, or
        `<side>_sequence`, or `<side>_name` with sequences by name.
    known : mapping, optional
        Of a block of a table: for each side the `fingerprint` of each name's sequence in the blocks before it.

    Returns
    -------
    Validated
        `frame` has the columns of `CANONICAL_DTYPES` (`source` all 0) and the carried-through ones.
    """
    text = raw.text.frame
    n = len(text)
    findings = Findings()
    columns: dict[str, pd.Series] = {}

    def named(column: str) -> str:
        return raw.named.get(column, column)

    def get(column: str) -> pd.Series:
        return text[column] if column in text else pd.Series([""] * n, dtype="str")

    cell_line, split = get("cell_line"), get("split")
    columns |= {"cell_line": cell_line, "assay": get("assay"), "split": split}
    findings.add((cell_line == "").to_numpy(), named("cell_line"), "is empty; needs the name of a cell line")
    nan = (cell_line.str.lower() == "nan").to_numpy()
    findings.add(nan, named("cell_line"), "is not the name of a cell line", cell_line)
    colon = cell_line.str.contains(":", regex=False).to_numpy()
    findings.add(colon, named("cell_line"), "holds ':', which is kept for cell_line:assay", cell_line)
    columns["label"] = _labels(get("label"), named("label"), findings)
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
            _coordinates(text, side, named, findings, columns)
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
    needs: str | list[str] = ""
    if apart.any():
        needs = [f"differs from {named('enhancer_chrom')} {name!r}; a pair needs one chromosome" for name in here]
    findings.add(apart, named("promoter_chrom"), needs, there)
    columns["distance"] = _distances(get("distance"), named("distance"), findings, columns)
    columns["source"] = pd.Series(np.zeros(n), dtype="int32")
    columns["row"] = pd.Series(raw.text.row)

    frame = pd.DataFrame({name: columns[name] for name in CANONICAL_DTYPES}).astype(CANONICAL_DTYPES)
    inline = {f"{side}_sequence" for side in SIDES}
    for name in text.columns:
        if name not in CANONICAL_DTYPES and name not in inline:
            frame[_own_name(name, text)] = text[name]
    problems = sorted(
        [*raw.text.problems, *findings.problems(raw.text.file, raw.text.row)],
        key=lambda problem: (problem.file != raw.text.file, problem.file, problem.row or 0),
    )
    keep = np.ones(n, dtype=bool)
    keep[findings.rows()] = False
    frame = frame[keep].reset_index(drop=True)
    return Validated(frame, problems, sequences)


def _own_name(name: str, text: pd.DataFrame) -> str:
    """Name a carried-through column."""
    if name not in RESERVED:
        return name
    while name in RESERVED or name in text:
        name += "_given"
    return name


def _labels(text: pd.Series, name: str, findings: Findings) -> pd.Series:
    number = pd.to_numeric(text, errors="coerce")
    empty = (text == "").to_numpy()
    findings.add(~(number.isin([0, 1]).to_numpy() | empty), name, "is not 0, 1 or empty (unknown)", text)
    return number.where(number.isin([0, 1]), -1).astype("int8")


def _coordinates(
    text: pd.DataFrame,
    side: str,
    named: Callable[[str], str],
    findings: Findings,
    columns: dict[str, pd.Series],
) -> None:
    """Fill `<side>_chrom`, `_start` and `_end`; a row with a problem gets the unknown values."""
    display = {part: named(f"{side}_{part}") for part in ("chrom", "start", "end")}
    chrom = text[f"{side}_chrom"]
    findings.add((chrom == "").to_numpy(), display["chrom"], "is empty; needs a chromosome name")
    whole: dict[str, npt.NDArray[np.bool_]] = {}
    position: dict[str, pd.Series] = {}
    for part in ("start", "end"):
        values = text[f"{side}_{part}"]
        number = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
        with np.errstate(invalid="ignore"):
            whole[part] = np.isfinite(number) & (number == np.floor(number)) & (np.abs(number) < 2**40)
        findings.add(~whole[part], display[part], "is not a whole number (0-based position)", values)
        position[part] = pd.Series(np.where(whole[part], number, -1).astype(np.int64))
    start, end = position["start"], position["end"]
    negative = whole["start"] & (start < 0).to_numpy()
    findings.add(negative, display["start"], "is negative; positions are 0-based", text[f"{side}_start"])
    reversed_ = whole["start"] & whole["end"] & ~negative & (start >= end).to_numpy()
    needs = [f"is not past {display['start']} {value}" for value in text[f"{side}_start"]] if reversed_.any() else ""
    findings.add(reversed_, display["end"], needs, text[f"{side}_end"])
    columns[f"{side}_chrom"], columns[f"{side}_start"], columns[f"{side}_end"] = chrom, start, end


def _distances(text: pd.Series, name: str, findings: Findings, columns: dict[str, pd.Series]) -> pd.Series:
    """Take the given distance, else the distance between midpoints (bp), else NaN."""
    number = pd.to_numeric(text, errors="coerce")
    empty = (text == "").to_numpy()
    with np.errstate(invalid="ignore"):
        good = np.isfinite(number.to_numpy(dtype=np.float64)) & (number >= 0).to_numpy()
    findings.add(~(good | empty), name, "is not a number of at least 0 (bp), or empty", text)
    middle = {side: (columns[f"{side}_start"] + columns[f"{side}_end"]) / 2 for side in SIDES}
    between = (middle["promoter"] - middle["enhancer"]).abs()
    unknown = (columns["enhancer_chrom"] == "") | (columns["promoter_chrom"] == "")
    return number.astype("float64").where(good, between.where(~unknown))


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
    codes, distinct = pd.factorize(sequences.str.upper())
    needs = [sequence_problem(sequence) for sequence in distinct]
    bad = np.array([need is not None for need in needs], dtype=bool)[codes]
    findings.add(bad, column, [needs[code] or "" for code in codes] if bad.any() else "", sequences)
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
