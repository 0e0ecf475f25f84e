"""Reader of domain-kl folders: ``{train,val,test}/{ALL or CELL}/`` with pairs and sequences in own files.

Does not judge the values of pairs; sequences are checked here, because they are in other files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from episode.data.given_sequences import sequence_problem
from episode.data.pairs import SIDES, SPLITS
from episode.data.readers.columns import column_list
from episode.data.readers.content import fail, read_content
from episode.data.readers.detect import find_layout
from episode.data.readers.text import RawTable, TextTable, filled, read_text
from episode.data.readers.tidy import rename
from episode.errors import InputError, Problem

__all__ = ["find_pair_files", "read_domain_kl"]

_PAIRS_FILE = re.compile(r"pairs_(?P<assembly>hg19|hg38)\.csv(\.gz)?")
_SEQUENCE_FILE = {"enhancer": "e_seq.csv", "promoter": "p_seq.csv"}
_SEQUENCE_COLUMNS = ("region", "sequence")
_PAIR_COLUMNS = ("enhancer_name", "promoter_name", "cell_line")


def find_pair_files(path: Path) -> list[Path]:
    """List the pairs files under a domain-kl folder, a part of it, or the file itself.

    Raises
    ------
    InputError
        If there is none, or a folder holds two.
    """
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.rglob("pairs_hg*.csv*") if _PAIRS_FILE.fullmatch(p.name))
    if not found:
        raise fail(
            path,
            "holds no pairs_hg19.csv or pairs_hg38.csv; needs {train,val,test}/{ALL or CELL}/pairs_hg19.csv",
        )
    folders = [p.parent for p in found]
    twice = sorted({str(folder) for folder in folders if folders.count(folder) > 1})
    if twice:
        names = " and ".join(p.name for p in found if str(p.parent) == twice[0])
        raise fail(twice[0], f"holds {names}; give the file that is meant in place of the folder")
    return found


def read_domain_kl(path: Path, *, cell_line: str | None, assay: str | None) -> list[RawTable]:
    """Read a domain-kl folder: one raw table for each pairs file.

    Raises
    ------
    InputError
        If a file is missing, cannot be read, or lacks a column.
    """
    raws: list[RawTable] = []
    problems: list[Problem] = []
    cache: dict[Path, _Sequences] = {}
    for file in find_pair_files(path):
        try:
            raws.append(_read_part(file, cell_line, assay, cache))
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(problems)
    return raws


@dataclass(frozen=True)
class _Sequences:
    """DNA by region of one file, and the regions whose sequence is not DNA."""

    text: TextTable
    by_name: dict[str, str]
    bad: frozenset[str]


def _read_part(file: Path, cell_line: str | None, assay: str | None, cache: dict[Path, _Sequences]) -> RawTable:
    found = _PAIRS_FILE.fullmatch(file.name)
    if found is None:
        raise fail(
            file,
            "is not a domain-kl pairs file; needs a folder, or a file named pairs_hg19.csv or pairs_hg38.csv",
        )
    raw = rename(_read(file), {})
    text = raw.text
    frame = filled(text.frame, cell_line=cell_line, assay=assay, split=_split_of(file))
    problems = [
        Problem(str(file), f"has no column {name!r}; it has {column_list(list(text.frame.columns))}")
        for name in _PAIR_COLUMNS
        if name not in frame
    ]
    parts: dict[str, _Sequences] = {}
    for side in SIDES:
        try:
            parts[side] = _read_sequences(file.parent / _SEQUENCE_FILE[side], cache)
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(problems)
    more = [problem for side in SIDES for problem in parts[side].text.problems]
    return replace(
        raw,
        text=replace(text, frame=frame, problems=(*text.problems, *more)),
        sequences={side: parts[side].by_name for side in SIDES},
        bad_sequences=parts["enhancer"].bad | parts["promoter"].bad,
        sequence_sources=tuple(parts[side].text for side in SIDES),
        assembly=found["assembly"],
    )


def _read(path: Path, *asked: str) -> TextTable:
    content = read_content(path)
    return read_text(content, find_layout(content, format="domain-kl", asked=asked))


def _own_name(frame: pd.DataFrame, name: str) -> str:
    """Return the table's own name of a column, which may differ by case if no other does."""
    alike = [own for own in frame.columns if own.casefold() == name]
    return alike[0] if len(alike) == 1 else name


def _split_of(file: Path) -> str:
    """Return the part of the split that a path names: the nearest folder called train, val or test."""
    return next((part for part in reversed(file.absolute().parent.parts) if part in SPLITS), "")


def _read_sequences(path: Path, cache: dict[Path, _Sequences]) -> _Sequences:
    if not path.exists() and path.with_name(f"{path.name}.gz").exists():
        path = path.with_name(f"{path.name}.gz")
    if path in cache:
        return cache[path]
    text = _read(path, *_SEQUENCE_COLUMNS)
    own = {name: _own_name(text.frame, name) for name in _SEQUENCE_COLUMNS}
    missing = [name for name in own if own[name] not in text.frame]
    if missing:
        has = column_list(list(text.frame.columns))
        raise InputError([Problem(str(path), f"has no column {name!r}; it has {has}") for name in missing])
    text = replace(text, frame=text.frame[list(own.values())].set_axis(list(own), axis="columns"))
    by_name: dict[str, str] = {}
    bad: set[str] = set()
    problems = list(text.problems)
    for row, region, sequence in zip(text.row, text.frame["region"], text.frame["sequence"], strict=True):
        need = sequence_problem(sequence)
        if need is not None:
            bad.add(region)
        elif by_name.setdefault(region, sequence.upper()) != sequence.upper():
            need = f"of region {region!r} differs from the one in an earlier row"
        if need is not None:
            problems.append(Problem(str(path), need, int(row), "sequence"))
    for region in bad:
        by_name.pop(region, None)
    # Letters are held once, by name: the text is not kept.
    light = replace(text, frame=text.frame[["region"]], row=np.asarray(text.row), problems=tuple(problems))
    cache[path] = _Sequences(light, by_name, frozenset(bad))
    return cache[path]
