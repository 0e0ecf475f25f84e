"""Readers of pair tables, one file a format, and what calls them: `read_pairs`.

Files become a validated `PairTable`; problems of all tables are reported together. Knows nothing about
genomes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from episode.data.findings import Findings, dropped_rows
from episode.data.pairs import CANONICAL_DTYPES, SIDES, PairTable, Source, empty_dropped, has_sequence
from episode.data.readers.bedpe import read_bedpe
from episode.data.readers.bengi import read_bengi
from episode.data.readers.content import read_content
from episode.data.readers.detect import FORMATS, detect_format, find_layout, format_of_name
from episode.data.readers.domain_kl import read_domain_kl
from episode.data.readers.text import RawTable, TextTable, read_parquet, read_text
from episode.data.readers.tidy import check_columns, name_columns
from episode.data.validation import Validated, conflicting_labels, validate
from episode.errors import EpisodeError, InputError, Problem

__all__ = ["FORMATS", "OnInvalid", "detect_format", "read_pairs", "read_valid_pairs"]

OnInvalid = Literal["error", "drop"]
Given = Mapping[str, frozenset[int]]
"""Of each side, the tables that bring sequences, see `PairTable`."""
_log = logging.getLogger("episode")


def read_pairs(
    paths: Sequence[Path | str] | Path | str,
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    cell_line: str | None = None,
    assay: str | None = None,
    on_invalid: OnInvalid = "error",
    labels: bool = True,
    promoter_flank: int = 0,
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
        Labels will be read: a pair that has both breaks a rule, and repeated rows are merged. Otherwise every row stays
        as it is, and no label is judged.
    promoter_flank : int
        See `episode.data.validation.validate`.

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
    table = read_valid_pairs(
        paths,
        format=format,
        columns=columns,
        cell_line=cell_line,
        assay=assay,
        labels=labels,
        promoter_flank=promoter_flank,
        drop=on_invalid == "drop",
    )
    if table.problems and (on_invalid == "error" or table.frame.empty):
        raise InputError(table.problems, "no row is left" if on_invalid == "drop" else None)
    return table


def read_valid_pairs(
    paths: Sequence[Path | str] | Path | str,
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    cell_line: str | None = None,
    assay: str | None = None,
    labels: bool = True,
    promoter_flank: int = 0,
    drop: bool = True,
) -> PairTable:
    """Read the rows that meet the rules, perhaps none; `PairTable.problems` says what is wrong with the others.

    Without `drop` these are not listed in `PairTable.dropped`. Otherwise as `read_pairs`.
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
    parts = [validate(raw, labels=labels, promoter_flank=promoter_flank) for raw in raws]
    sequences = {side: _join_sequences(raws, parts, side, fatal) for side in SIDES}
    bring = {side: frozenset(i for i, part in enumerate(parts) if part.sequences[side]) for side in SIDES}
    assemblies = sorted({raw.assembly for raw in raws if raw.assembly})
    if len(assemblies) > 1:
        here = next(raw.text.file for raw in raws if raw.assembly == assemblies[1])
        fatal.append(Problem(here, f"is {assemblies[1]} where another table is {assemblies[0]}; needs one build"))
    frame = _join_frames(parts)
    conflicts = Findings([raw.text.file for raw in raws], frame["row"].to_numpy(), frame["source"].to_numpy())
    repeated = np.zeros(len(frame), dtype=bool)
    if labels:
        keys = _pair_keys(frame, bring)
        _find_conflicts(conflicts, frame, keys)
        repeated = keys.assign(split=frame["split"], label=frame["label"]).duplicated().to_numpy(copy=True)
    conflicting = conflicts.broken()
    repeated &= ~conflicting
    # A sequence file that two parts share is checked once for each.
    unreadable = list(dict.fromkeys(problem for raw in raws for problem in raw.text.problems))
    findings = [*(part.findings for part in parts), conflicts]
    order = {raw.text.file: number for number, raw in reversed(list(enumerate(raws)))}
    problems = sorted(
        [*unreadable, *(problem for found in findings for problem in found.problems())],
        key=lambda problem: (order.get(problem.file, len(order)), problem.file, problem.row or 0),
    )
    if fatal:
        raise InputError(fatal + problems)
    lists = [dropped_rows(unreadable), *(found.dropped() for found in findings)] if drop else []
    lists = [table for table in lists if len(table)]
    return PairTable(
        frame=frame[~repeated & ~conflicting].reset_index(drop=True),
        sources=_sources(raws),
        sequences=sequences,
        assembly=assemblies[0] if assemblies else "",
        dropped=pd.concat(lists, ignore_index=True) if lists else empty_dropped(),
        merged=int(repeated.sum()),
        given=bring,
        problems=tuple(problems),
    )


def _read_raw(
    path: Path, format: str | None, columns: Mapping[str, str], cell_line: str | None, assay: str | None
) -> list[RawTable]:
    named = format_of_name(path)
    if (format or named) == "domain-kl":
        return read_domain_kl(path, cell_line=cell_line, assay=assay)
    if (format or named) == named == "tidy":
        return [name_columns(read_parquet(path), columns=columns, cell_line=cell_line, assay=assay)]
    content = read_content(path)
    layout = find_layout(content, format=format, asked=columns.values())
    text, header = read_text(content, layout), layout.header is not None
    if layout.format == "bengi":
        raw = read_bengi(text, cell_line=cell_line, assay=assay)
    elif layout.format == "bedpe":
        raw = read_bedpe(text, header=header, columns=columns, cell_line=cell_line, assay=assay)
    else:
        raw = name_columns(text, columns=columns, cell_line=cell_line, assay=assay)
    for note in raw.notes:
        _log.warning("%s: %s", path, note)
    return [raw]


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


def _pair_keys(frame: pd.DataFrame, bring: Given) -> pd.DataFrame:
    """Return what makes two rows one pair: environment and, of each element, interval or (with DNA) name."""
    keys = {"cell_line": frame["cell_line"], "assay": frame["assay"]}
    for side in SIDES:
        named = has_sequence(frame, bring[side])
        keys[f"{side}_name"] = frame[f"{side}_name"].where(named, "")
        keys[f"{side}_chrom"] = frame[f"{side}_chrom"].where(~named, "")
        for part in ("start", "end"):
            keys[f"{side}_{part}"] = frame[f"{side}_{part}"].where(~named, -1)
    return pd.DataFrame(keys)


def _find_conflicts(conflicts: Findings, frame: pd.DataFrame, keys: pd.DataFrame) -> None:
    """Find the rows of pairs with two labels; each problem names the first row that says otherwise."""
    conflict = conflicting_labels(keys, frame["label"])
    if not conflict.any():
        return
    group = keys[conflict].groupby(list(keys.columns), sort=False).ngroup().to_numpy()
    at, label = np.flatnonzero(conflict), frame["label"].to_numpy()[conflict]
    first = np.zeros((2, group.max() + 1), dtype=np.int64)
    first[label[::-1], group[::-1]] = at[::-1]
    other = np.zeros(len(frame), dtype=np.int64)
    other[at] = first[1 - label, group]

    def need(position: int) -> str:
        source, row = frame["source"].iloc[other[position]], frame["row"].iloc[other[position]]
        where = f"{conflicts.files[source]}:{row}"
        return (
            f"conflicts with {1 - frame['label'].iloc[position]} for the same pair at {where}; a pair needs one label"
        )

    conflicts.add(conflict, "label", need, frame["label"])


def _sources(raws: list[RawTable]) -> tuple[Source, ...]:
    """List the pair files in the order of the frame's `source`, then the sequence files, each once."""
    pair_files, others = (raw.text for raw in raws), (text for raw in raws for text in raw.sequence_sources)

    def listed(texts: Iterable[TextTable]) -> list[Source]:
        return [Source(path=text.file, sha256=text.sha256, rows=len(text.frame)) for text in texts]

    return (*listed(pair_files), *dict.fromkeys(listed(others)))
