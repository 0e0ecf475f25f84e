"""Readers of pair tables, one file a format, and what calls them: `read_pairs`.

Files become a validated `PairTable`; problems of all tables are reported together. Knows nothing about
genomes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from episode.data.pairs import CANONICAL_DTYPES, DROPPED_COLUMNS, SIDES, PairTable, Source, empty_dropped
from episode.data.readers.bedpe import read_bedpe
from episode.data.readers.bengi import read_bengi
from episode.data.readers.detect import FORMATS, detect_format
from episode.data.readers.domain_kl import read_domain_kl
from episode.data.readers.text import RawTable, TextTable
from episode.data.readers.tidy import check_columns, read_tidy
from episode.data.validation import Validated, conflicting_labels, validate
from episode.errors import EpisodeError, InputError, Problem

__all__ = ["FORMATS", "OnInvalid", "detect_format", "dropped_rows", "read_pairs"]

OnInvalid = Literal["error", "drop"]


def read_pairs(
    paths: Sequence[Path | str] | Path | str,
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    cell_line: str | None = None,
    assay: str | None = None,
    on_invalid: OnInvalid = "error",
    labels: bool = True,
) -> PairTable:
    """Read and validate one or more pair tables.

    Parameters
    ----------
    paths : path or sequence of paths
        Files, or domain-kl folders.
    format : str, optional
        One of `FORMATS`; by default found for each path on its own.
    columns : mapping of str to str, optional
        Canonical column name to the file's name, for tidy and BEDPE tables.
    cell_line, assay : str, optional
        For tables without such a column; for BENGI tables they take precedence over the file name.
    on_invalid : {"error", "drop"}
        What to do about rows that break a rule: raise, or leave them out and list them in
        `PairTable.dropped`. Problems of a whole file (no such column, truncated) always raise.
    labels : bool
        Labels will be read: a pair that has both breaks a rule, and rows that repeat an earlier one are merged into it.
        Otherwise every row stays as it is.

    Returns
    -------
    PairTable

    Raises
    ------
    InputError
        With every problem of every table.
    EpisodeError
        If an option is unknown.
    """
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not given:
        raise EpisodeError("no pair table was given; needs at least one")
    if format is not None and format not in FORMATS:
        raise EpisodeError(f"--format {format!r} is unknown; needs one of {', '.join(FORMATS)}")
    check_columns(columns or {})
    raws: list[RawTable] = []
    fatal: list[Problem] = []
    for path in map(Path, given):
        try:
            raws.extend(_read_raw(path, format, columns or {}, cell_line, assay))
        except InputError as error:
            fatal.extend(error.problems)
    parts = [validate(raw) for raw in raws]
    sequences = {side: _join_sequences(raws, parts, side, fatal) for side in SIDES}
    assemblies = sorted({raw.assembly for raw in raws if raw.assembly})
    if len(assemblies) > 1:
        here = next(raw.text.file for raw in raws if raw.assembly == assemblies[1])
        fatal.append(Problem(here, f"is {assemblies[1]} where another table is {assemblies[0]}; needs one build"))
    frame = _join_frames(parts)
    files = [raw.text.file for raw in raws]
    conflict, conflict_problems = _conflicts(frame, sequences, files) if labels else (np.zeros(len(frame), bool), [])
    # A sequence file that two parts share is checked once for each.
    row_problems = [*dict.fromkeys(problem for part in parts for problem in part.problems), *conflict_problems]
    if fatal or (row_problems and on_invalid == "error"):
        raise InputError(fatal + row_problems)
    frame = frame[~conflict].reset_index(drop=True)
    if frame.empty:
        raise InputError(row_problems, "no row is left")
    repeated = pd.Series(False, index=frame.index)
    if labels:
        repeated = _pair_keys(frame, sequences).assign(split=frame["split"], label=frame["label"]).duplicated()
    return PairTable(
        frame=frame[~repeated.to_numpy()].reset_index(drop=True),
        sources=_sources(raws),
        sequences=sequences,
        assembly=assemblies[0] if assemblies else "",
        dropped=dropped_rows(row_problems),
        merged=int(repeated.sum()),
    )


def _read_raw(
    path: Path, format: str | None, columns: Mapping[str, str], cell_line: str | None, assay: str | None
) -> list[RawTable]:
    if not path.exists():
        raise InputError([Problem(str(path), "no such file")])
    kind = format or detect_format(path)
    if kind == "domain-kl":
        return read_domain_kl(path, cell_line=cell_line, assay=assay)
    if kind == "bengi":
        return read_bengi(path, cell_line=cell_line, assay=assay)
    if kind == "bedpe":
        return read_bedpe(path, columns=columns, cell_line=cell_line, assay=assay)
    return read_tidy(path, columns=columns, cell_line=cell_line, assay=assay)


def _join_frames(parts: list[Validated]) -> pd.DataFrame:
    """Stack the tables; a carried-through column that a table lacks is empty there."""
    frames = [part.frame.assign(source=np.int32(i)) for i, part in enumerate(parts)]
    if not frames:
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in CANONICAL_DTYPES.items()})
    joined = pd.concat(frames, ignore_index=True)
    carried = [name for name in joined.columns if name not in CANONICAL_DTYPES]
    joined[carried] = joined[carried].fillna("")
    return joined.astype({"source": "int32"})


def _join_sequences(raws: list[RawTable], parts: list[Validated], side: str, fatal: list[Problem]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw, part in zip(raws, parts, strict=True):
        for name, sequence in part.sequences[side].items():
            if joined.setdefault(name, sequence) != sequence:
                need = f"gives {side} {name!r} another sequence than an earlier table does"
                fatal.append(Problem(raw.text.file, need))
    return joined


def _pair_keys(frame: pd.DataFrame, sequences: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Return what makes two rows one pair: environment and, of each element, interval or (with DNA) name."""
    keys = {"cell_line": frame["cell_line"], "assay": frame["assay"]}
    for side in SIDES:
        named = frame[f"{side}_name"].isin(list(sequences[side]))
        keys[f"{side}_name"] = frame[f"{side}_name"].where(named, "")
        keys[f"{side}_chrom"] = frame[f"{side}_chrom"].where(~named, "")
        for part in ("start", "end"):
            keys[f"{side}_{part}"] = frame[f"{side}_{part}"].where(~named, -1)
    return pd.DataFrame(keys)


def _conflicts(
    frame: pd.DataFrame, sequences: Mapping[str, Mapping[str, str]], files: list[str]
) -> tuple[np.ndarray, list[Problem]]:
    """Find the rows of pairs with two labels; each problem names the first row that says otherwise."""
    keys = _pair_keys(frame, sequences)
    conflict = conflicting_labels(keys, frame["label"])
    if not conflict.any():
        return conflict, []
    part = frame.loc[conflict, ["source", "row", "label"]].assign(
        group=keys[conflict].groupby(list(keys.columns), sort=False).ngroup()
    )
    first = part.drop_duplicates(["group", "label"]).set_index(["group", "label"])
    problems = []
    for source, row, label, group in part.itertuples(index=False):
        other = first.loc[(group, 1 - label)]
        where = f"{files[int(other['source'])]}:{int(other['row'])}"
        need = f"conflicts with {1 - label} for the same pair at {where}; a pair needs one label"
        problems.append(Problem(files[source], need, int(row), "label", str(label)))
    return conflict, problems


def _sources(raws: list[RawTable]) -> tuple[Source, ...]:
    """List the pair files in the order of the frame's `source`, then the sequence files, each once."""
    pair_files, others = (raw.text for raw in raws), (text for raw in raws for text in raw.sequence_sources)

    def listed(texts: Iterable[TextTable]) -> list[Source]:
        return [Source(path=text.file, sha256=text.sha256, rows=len(text.frame)) for text in texts]

    return (*listed(pair_files), *dict.fromkeys(listed(others)))


def dropped_rows(problems: Sequence[Problem]) -> pd.DataFrame:
    """Turn problems of rows into a table, one line a row; several of a row are joined by a semicolon."""
    if not problems:
        return empty_dropped()
    rows = [(p.file, p.row or 0, p.column or "", p.value or "", p.need) for p in problems]
    frame = pd.DataFrame(rows, columns=list(DROPPED_COLUMNS))
    return frame.groupby(["file", "row"], sort=False, as_index=False).agg("; ".join)
