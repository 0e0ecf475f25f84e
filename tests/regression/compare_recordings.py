"""Compare two recordings, or two folders of results: bytes where bytes are promised, else the values inside.

    python tests/regression/compare_recordings.py BEFORE AFTER [--common]

Words may change: of messages and of the page the numbers and the file names count. What may differ besides stands in
the lists below. Prints what was covered and each difference; exit code 1 if there is one.
"""

from __future__ import annotations

import argparse
import html.parser
import json
import math
import re
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open

from steps import names

__all__ = ["TOLERANCE", "Comparison", "Difference", "compare_folders", "compare_recordings", "compare_said", "main"]

TOLERANCE = 1e-6
"""Greatest difference of two numbers, relative or absolute."""

PRINTED = 1.1e-5
"""The same of numbers written with six digits, where the last one may be rounded otherwise."""

RENAMED_KEYS = {"results.json": {"rows": "methods"}}
"""Keys of BEFORE that may have another name now, at any depth, by file name."""

NEW_KEYS = (
    "format_version",
    "support",
    "columns",
    "max_unknown",
    "promoter_flank",
    "alarms",
    "view",
    "prevalence",
    "prevalence_sd",
    "student",
    "crossfit",
    "keep",
    "epochs",
    "files",
    "content_sha256",
    "sha256",
    "log_sha256",
    "scores_sha256",
)
"""Keys that AFTER may have gained, at any depth."""

GONE_KEYS = ("merged",)
"""Keys that AFTER may lack, at any depth: predictions merge no rows any more."""

NEW_COLUMNS = (
    *(f"{side}_{part}" for side in ("enhancer", "promoter") for part in ("chrom", "start", "end")),
    "view",
    "prevalence",
)
"""Columns that a table of AFTER may have gained."""

RENAMED_FILES = ((r"figures/rows_", "figures/methods_"),)
"""Parts of file names of BEFORE that may have another name now."""

IGNORED_KEYS = (
    ("*", "created_by", "version"),
    ("*", "*episode_version", "version"),
    ("run.json", "format_version", "version"),
    ("manifest.json", "format_version", "version"),
    ("*", "files.*", "hash of a file that holds a version"),
    ("*", "content_sha256", "hash of what holds a version"),
    ("run.json", "provenance.episode", "version"),
    ("run.json", "provenance.torch", "version"),
    ("run.json", "provenance.numpy", "version"),
    ("metrics.json", "provenance.episode", "version"),
    ("metrics.json", "provenance.python", "version"),
    ("metrics.json", "provenance.training versions.*", "version"),
    ("metrics.json", "provenance.time", "time"),
    *(
        ("results.json", f"provenance.{name}", "version")
        for name in ("episode", "python", "torch", "numpy", "scikit-learn", "lightgbm")
    ),
    ("results.json", "provenance.started", "time"),
    ("results.json", "provenance.job_seconds", "seconds"),
    ("results.json", "methods.*.seconds", "seconds"),
    ("identity.json", "episode", "version"),
    ("scores/*.json", "seconds", "seconds"),
    ("scores/*.json", "episode", "version"),
    ("scores/*.json", "scores_sha256", "hash of numbers that may differ in the last bit"),
    ("segment.json", "stamp[[]1]", "time"),
    ("prediction.json", "identity.job_format", "version"),
    ("prediction.json", "identity.written*", "time"),
    ("prediction.json", "identity.run", "hash of a file that holds a version"),
)
"""File, key and why its value is not compared (that it is there is)."""

WORDED = (
    "text",
    "note",
    "notes",
    "warning",
    "warnings",
    "*_warning",
    "title",
    "sentence",
    "reason",
    "caption",
    "alarm",
)
"""Keys and columns whose text may be worded anew: of them the numbers and file names count."""

BYTES = (
    "*.npy",
    "*.fa",
    "e_seq.csv",
    "p_seq.csv",
    "pairs_hg*.csv",
    "*world*/pairs.tsv",
    "predictions.tsv",
    "predictions/*.tsv",
    "*.bedpe",
    "*.interact",
    "lock",
    ".lock",
)
"""Files whose bytes are promised."""

EXACT = ("pairs.parquet", "elements.parquet", "sites.parquet")
"""Parquet files whose numbers must be the same to the bit."""

UNSEEN = ("script", "style", "title", "head")
"""Elements of a page that show no text."""

NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
FILE = re.compile(
    r"[\w.-]+\.(?:tsv|csv|parquet|jsonl?|fa|gz|2bit|bed|bedpe|interact|html|png|svg|safetensors|npy|toml)(?!\w)"
)
PASSING = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[-+]\d\d:?\d\d| UTC)?"  # a time of day
    r"|\d+(?:\.\d+)? (?:s|seconds)(?!\w)"
    r"|(?<!\w)job[_ ]seconds\s+\d+(?:\.\d+)?"  # of the page of a comparison
    r'|"format_version": \d+'
    r"|(?<![\w.])v?\d+\.\d+\.\d+(?:\+\w+)?(?!\w)"  # a version
)
"""Parts of text that are not compared: times, seconds, versions."""


@dataclass(frozen=True)
class Difference:
    """One difference: where it is, and both values in short."""

    file: str
    key: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.before} -> {self.after}"


@dataclass
class Comparison:
    """What was compared, and what differs.

    Parameters
    ----------
    tolerance : float
        Greatest difference of two numbers, relative or absolute.
    replaced : tuple of dict
        Folders to write as a name in the text of the one and of the other side.
    promised : bool
        Compare bytes where they are promised, and the order of lines. Else, as under another machine's rounding, the
        cells of text, to the digits that are written, and lines in the order of their first cells.
    """

    tolerance: float = TOLERANCE
    replaced: tuple[dict[str, str], dict[str, str]] = ({}, {})
    promised: bool = True
    differences: list[Difference] = field(default_factory=list)
    files: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    steps: int = 0

    def differ(self, file: str, key: str, before: object, after: object) -> None:
        """Note a difference."""
        self.differences.append(Difference(file, key, _short(before), _short(after)))

    def close(self, before: float, after: float, tolerance: float | None = None) -> bool:
        """Tell whether two numbers are the same."""
        tolerance = self.tolerance if tolerance is None else tolerance
        if before == after or (math.isnan(before) and math.isnan(after)):
            return True
        return abs(before - after) <= tolerance * max(1.0, abs(before), abs(after))

    def plain(self, text: str, side: int) -> str:
        """Text without the places of its recording."""
        for folder, name in sorted(self.replaced[side].items(), key=lambda item: -len(item[0])):
            text = text.replace(folder, name)
        return text

    def summary(self) -> str:
        """What was covered, one line a kind."""
        lines = [f"{self.steps} steps, {self.files.total()} files, {self.counted.total():,} values"]
        lines += [f"  {kind:12s}{count:6d} files {self.counted[kind]:12,} values" for kind, count in self.files.items()]
        return "\n".join(lines)


def _short(value: object) -> str:
    text = repr(value) if not isinstance(value, str) else value
    return text if len(text) <= 160 else text[:157] + "..."


def _ignored(file: str, key: str) -> bool:
    return any(_named(file, name) and fnmatchcase(key, pattern) for name, pattern, _ in IGNORED_KEYS)


def _named(file: str, pattern: str) -> bool:
    return fnmatchcase(file, pattern) or fnmatchcase(file, f"*/{pattern}")


def _worded(key: str) -> bool:
    parts = [re.sub(r"\[\d+\]", "", part) for part in key.split(".")]
    return any(fnmatchcase(part, pattern) for part in parts[-1:] for pattern in WORDED)


def _numbers(text: str) -> list[float]:
    found = NUMBER.findall(PASSING.sub(" ", text))
    return sorted(float(word.replace(",", "").replace("−", "-")) for word in found)


def _compare_text(result: Comparison, file: str, key: str, texts: tuple[str, str], *, files: bool = True) -> int:
    """Compare the numbers of two texts and the files they name; returns how many."""
    before, after = (_numbers(text) for text in texts)
    lost, new = _unmatched(result, before, after)
    if lost or new:
        result.differ(file, f"{key} numbers", f"only before {lost}", f"only after {new}")
    found = [set(FILE.findall(text)) if files else set() for text in texts]
    if found[0] != found[1]:
        result.differ(file, f"{key} file names", sorted(found[0] - found[1]), sorted(found[1] - found[0]))
    return len(before) + len(found[0])


def _unmatched(result: Comparison, before: list[float], after: list[float]) -> tuple[list[float], list[float]]:
    """Pair off two sorted lists; returns what has no partner."""
    lost, new, i, j = [], [], 0, 0
    while i < len(before) and j < len(after):
        if result.close(before[i], after[j]):
            i, j = i + 1, j + 1
        elif before[i] < after[j]:
            lost.append(before[i])
            i += 1
        else:
            new.append(after[j])
            j += 1
    return lost + before[i:], new + after[j:]


def _renamed(content: Any, file: str) -> Any:
    names = next((names for name, names in RENAMED_KEYS.items() if _named(file, name)), {})
    if not names:
        return content
    if isinstance(content, dict):
        return {names.get(key, key): _renamed(value, file) for key, value in content.items()}
    return [_renamed(value, file) for value in content] if isinstance(content, list) else content


def _compare_content(result: Comparison, file: str, key: str, before: Any, after: Any) -> int:
    """Compare parsed JSON; returns the number of values."""
    if _ignored(file, key):
        return 0
    if isinstance(before, dict) and isinstance(after, dict):
        after = {name: value for name, value in after.items() if name in before or name not in NEW_KEYS}
        before = {name: value for name, value in before.items() if name in after or name not in GONE_KEYS}
        for name in sorted(before.keys() ^ after.keys()):
            side = "before" if name in before else "after"
            result.differ(file, f"{key}.{name}".strip("."), *(("there", "missing")[:: 1 if side == "before" else -1]))
        shared = [name for name in before if name in after]
        if shared != [name for name in after if name in before]:
            result.differ(file, f"{key} order of keys", list(before), list(after))
        return sum(
            _compare_content(result, file, f"{key}.{name}".strip("."), before[name], after[name]) for name in shared
        )
    if isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            result.differ(file, f"{key} length", len(before), len(after))
        pairs = enumerate(zip(before, after, strict=False))
        return sum(_compare_content(result, file, f"{key}[{place}]", *pair) for place, pair in pairs)
    if isinstance(before, str) and isinstance(after, str):
        texts = (result.plain(before, 0), result.plain(after, 1))
        if _worded(key):
            return _compare_text(result, file, key, texts)
        if texts[0] != texts[1]:
            result.differ(file, key, *texts)
    elif type(before) is not type(after) or (
        not result.close(before, after) if isinstance(before, float) else before != after
    ):
        result.differ(file, key, before, after)
    return 1


def _load_json(path: Path) -> Any:
    return _renamed(json.loads(path.read_text()), path.name)


def compare_json(result: Comparison, file: str, before: Path, after: Path) -> int:
    """Nested keys and values."""
    return _compare_content(result, file, "", _load_json(before), _load_json(after))


def compare_lines(result: Comparison, file: str, before: Path, after: Path) -> int:
    """One JSON document a line."""
    sides = ([json.loads(line) for line in path.read_text().splitlines()] for path in (before, after))
    return _compare_content(result, file, "", *sides)


def compare_bytes(result: Comparison, file: str, before: Path, after: Path) -> int:
    """Every byte."""
    sides = before.read_bytes(), after.read_bytes()
    if sides[0] != sides[1]:
        place = next((i for i, (a, b) in enumerate(zip(*sides, strict=False)) if a != b), min(map(len, sides)))
        parts = (side[max(place - 20, 0) : place + 20] for side in sides)
        result.differ(file, f"byte {place} of {len(sides[0])} and {len(sides[1])}", *parts)
    return len(sides[0])


def compare_table(result: Comparison, file: str, before: Path, after: Path) -> int:
    """Cells of tab or comma separated text, by row and column."""
    mark = "," if before.suffix == ".csv" else "\t"
    rows, others = ([line.split(mark) for line in path.read_text().split("\n")] for path in (before, after))
    kept = [number for number, name in enumerate(others[0]) if name in rows[0] or name not in NEW_COLUMNS]
    if len(kept) < len(others[0]):
        others = [[row[number] for number in kept if number < len(row)] for row in others]
    if not result.promised:
        rows, others = rows[:1] + sorted(rows[1:]), others[:1] + sorted(others[1:])
    if len(rows) != len(others):
        result.differ(file, "number of lines", len(rows), len(others))
    head, count = rows[0], 0
    for place, (row, other) in enumerate(zip(rows, others, strict=False), 1):
        if len(row) != len(other):
            result.differ(file, f"line {place} cells", len(row), len(other))
        for number, texts in enumerate(zip(row, other, strict=False)):
            count += 1
            column = head[number] if number < len(head) else str(number)
            one, two = result.plain(texts[0], 0), result.plain(texts[1], 1)
            if one == two or _same_number(result, one, two):
                continue
            if one.startswith("track ") or (place > 1 and _worded(column)):
                _compare_text(result, file, f"line {place} {column}", (one, two))
            else:
                result.differ(file, f"line {place} {column}", one, two)
    return count


def _same_number(result: Comparison, one: str, two: str) -> bool:
    try:
        return result.close(float(one), float(two), result.tolerance if result.promised else PRINTED)
    except ValueError:
        return False


def compare_parquet(result: Comparison, file: str, before: Path, after: Path) -> int:
    """Columns, their types, and values."""
    tables = [pq.ParquetFile(path).read() for path in (before, after)]
    schemas = [{name: str(kind) for name, kind in zip(t.schema.names, t.schema.types, strict=True)} for t in tables]
    if list(schemas[0].items()) != list(schemas[1].items()):
        result.differ(file, "columns", *(sorted(one.items() - two.items()) for one, two in (schemas, schemas[::-1])))
    if tables[0].num_rows != tables[1].num_rows:
        result.differ(file, "rows", *(table.num_rows for table in tables))
        return 0
    exact = any(_named(file, name) for name in EXACT)
    shared = [name for name in schemas[0] if name in schemas[1]]
    for name in shared:
        one, two = (table.column(name).combine_chunks() for table in tables)
        row = _first_difference(one, two, 0.0 if exact else result.tolerance)
        if row is not None:
            result.differ(file, f"{name}, row {row}", one[row].as_py(), two[row].as_py())
    return len(shared) * tables[0].num_rows


def _first_difference(one: pa.Array, two: pa.Array, tolerance: float) -> int | None:
    if pa.types.is_floating(one.type) and pa.types.is_floating(two.type):
        before, after = (np.asarray(side.to_numpy(zero_copy_only=False), dtype=np.float64) for side in (one, two))
        return _first_apart(before, after, tolerance)
    if one.equals(two):
        return None
    return next((row for row, (a, b) in enumerate(zip(one.to_pylist(), two.to_pylist(), strict=True)) if a != b), None)


def _first_apart(before: np.ndarray, after: np.ndarray, tolerance: float) -> int | None:
    """Place of the first pair of numbers that differ, in flattened arrays of one shape."""
    before, after = before.reshape(-1).astype(np.float64), after.reshape(-1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        room = tolerance * np.maximum(1.0, np.maximum(np.abs(before), np.abs(after)))
        same = (before == after) | (np.abs(before - after) <= room) | (np.isnan(before) & np.isnan(after))
    return None if same.all() else int(np.argmin(same))


def compare_tensors(result: Comparison, file: str, before: Path, after: Path) -> int:
    """Tensors by name, and the facts beside them."""
    with safe_open(before, "np") as one, safe_open(after, "np") as two:
        _compare_content(result, file, "metadata", one.metadata() or {}, two.metadata() or {})
        names = sorted(one.keys()), sorted(two.keys())
        if names[0] != names[1]:
            result.differ(file, "tensors", *(sorted(set(a) - set(b)) for a, b in (names, names[::-1])))
        count = 0
        for name in sorted(set(names[0]) & set(names[1])):
            left, right = one.get_tensor(name), two.get_tensor(name)
            count += left.size
            if left.shape != right.shape or left.dtype != right.dtype:
                result.differ(file, name, f"{left.dtype} {left.shape}", f"{right.dtype} {right.shape}")
                continue
            place = _first_apart(left, right, result.tolerance)
            if place is not None:
                result.differ(file, f"{name}[{place}]", left.reshape(-1)[place], right.reshape(-1)[place])
    return count


class _Page(html.parser.HTMLParser):
    """Visible text of a page and the number of its tables and pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.elements: Counter[str] = Counter()
        self._hidden = 0
        self._picture = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in UNSEEN
        if tag in ("table", "tr", "img") or (tag == "svg" and not self._picture):
            self.elements["img or svg" if tag in ("img", "svg") else tag] += 1
        self._picture += tag == "svg"

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in UNSEEN
        self._picture -= tag == "svg"

    def handle_data(self, data: str) -> None:
        if not self._hidden and not self._picture:
            self.text.append(data)


def compare_page(result: Comparison, file: str, before: Path, after: Path) -> int:
    """Numbers in the visible text of a page, and how many tables, rows of tables and pictures it has."""
    pages = _Page(), _Page()
    for page, path in zip(pages, (before, after), strict=True):
        page.feed(path.read_text())
    if pages[0].elements != pages[1].elements:
        result.differ(file, "elements", dict(pages[0].elements), dict(pages[1].elements))
    texts = (result.plain(" ".join(pages[0].text), 0), result.plain(" ".join(pages[1].text), 1))
    return _compare_text(result, file, "text", texts, files=False) + pages[0].elements.total()


def compare_picture(result: Comparison, file: str, before: Path, after: Path) -> int:
    """That there is a picture in both: what is drawn has words in it, its numbers are in JSON."""
    for side, path in enumerate((before, after)):
        content = path.read_bytes()
        if path.suffix == ".png":
            sound = content[:8] == b"\x89PNG\r\n\x1a\n" and min(struct.unpack(">II", content[16:24])) > 0
        else:
            sound = b"<svg" in content and content.rstrip().endswith(b"</svg>")
        if not sound:
            result.differ(file, "picture", *(("sound", "damaged")[:: 1 if side else -1]))
    return 1


Comparer = Callable[[Comparison, str, Path, Path], int]

KINDS: tuple[tuple[str, str, Comparer], ...] = (
    ("*.parquet", "parquet", compare_parquet),
    ("*.jsonl", "json lines", compare_lines),
    ("*.json", "json", compare_json),
    ("*.safetensors", "tensors", compare_tensors),
    ("*.html", "page", compare_page),
    ("*.png", "picture", compare_picture),
    ("*.svg", "picture", compare_picture),
    ("*.tsv", "table", compare_table),
    ("*.csv", "table", compare_table),
    ("*.bed", "table", compare_table),
    ("*.bedpe", "table", compare_table),
    ("*.interact", "table", compare_table),
    ("*", "bytes", compare_bytes),
)


def _kind(result: Comparison, file: str) -> tuple[str, Comparer]:
    if result.promised and any(_named(file, pattern) for pattern in BYTES):
        return "bytes", compare_bytes
    return next((kind, comparer) for pattern, kind, comparer in KINDS if fnmatchcase(file, pattern))


def _files(folder: Path) -> dict[str, Path]:
    """Files below a folder, by their name as it is now."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            for old, new in RENAMED_FILES:
                name = re.sub(old, new, name)
            found[name] = path
    return found


def compare_folders(result: Comparison, before: Path, after: Path, name: str = "") -> None:
    """Compare all files of two folders; `name` goes before theirs."""
    sides = _files(before), _files(after)
    for file in sorted(sides[0].keys() ^ sides[1].keys()):
        result.differ(name + file, "file", *(("there" if file in side else "missing") for side in sides))
    for file in sorted(sides[0].keys() & sides[1].keys()):
        kind, comparer = _kind(result, name + file)
        result.files[kind] += 1
        try:
            result.counted[kind] += comparer(result, name + file, sides[0][file], sides[1][file])
        except Exception as error:  # a file that cannot be read is a difference, not the end
            result.differ(name + file, "cannot be compared", type(error).__name__, str(error))


def compare_said(
    result: Comparison, name: str, folders: tuple[Path, Path], facts: Sequence[str] = (), *, quiet: bool = False
) -> None:
    """Compare what a step said: its facts where it has some, else numbers and file names."""
    said = [{stream: (folder / f"{stream}.txt").read_text() for stream in ("stdout", "stderr")} for folder in folders]
    for fact in facts:
        for side, texts in enumerate(said):
            result.counted["fact"] += 1
            if not names("".join(texts.values()), fact):
                result.differ(name, f"fact {fact!r}", *(("named", "not named")[:: 1 if side else -1]))
    if facts or quiet:
        return
    for stream in ("stdout", "stderr"):
        said_now = (result.plain(said[0][stream], 0), result.plain(said[1][stream], 1))
        result.files[stream] += 1
        contents = [_parsed(text) for text in said_now]
        if contents[0] is not None and contents[1] is not None:
            file = f"{name}/{_as_file(contents[0]) or stream + '.json'}"
            sides = (_renamed(content, file) for content in contents)
            result.counted[stream] += _compare_content(result, file, "", *sides)
        else:
            result.counted[stream] += _compare_text(result, f"{name}/{stream}", "text", said_now)


def _as_file(content: dict[str, Any]) -> str | None:
    """Name of the file that holds what a command printed as JSON."""
    return next(
        (file for key, file in (("protocol", "results.json"), ("macro", "metrics.json")) if key in content), None
    )


def _parsed(text: str) -> Any:
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _steps(before: Path, after: Path) -> Iterator[tuple[str, dict[str, Any] | None, dict[str, Any] | None]]:
    """Name of each step and what was noted of it on both sides."""
    names = {path.parent.name: None for folder in (before, after) for path in sorted(folder.glob("*/step.json"))}
    for name in names:
        one, two = (
            json.loads(path.read_text()) if (path := folder / name / "step.json").is_file() else None
            for folder in (before, after)
        )
        yield name, one, two


def _roots(step: dict[str, Any]) -> dict[str, str]:
    """Folders of a recording and what they are called in text."""
    return {path: role.upper() for role, path in step["roots"].items()}


def compare_recordings(before: Path, after: Path, *, common: bool = False) -> Comparison:
    """Compare two folders that `record.py` wrote; with `common` only the steps that both have."""
    result = Comparison()
    for name, one, two in _steps(before, after):
        if one is None or two is None:
            if common:
                continue
            result.differ(name, "step", *("missing" if side is None else "there" for side in (one, two)))
            continue
        result.steps += 1
        result.replaced = _roots(one), _roots(two)
        for key in ("words", "code"):
            if one[key] != two[key]:
                result.differ(name, key, one[key], two[key])
        folders = before / name, after / name
        compare_said(result, name, folders, two["facts"], quiet=two["quiet"])
        compare_folders(result, folders[0] / "out", folders[1] / "out", f"{name}/")
    if common:  # the store of a dataset has what all steps put there
        result.differences = [
            found for found in result.differences if "/store/" not in found.file or found.key != "file"
        ]
    if not result.steps:
        result.differ(str(before), "steps", 0, 0)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--common", action="store_true", help="only the steps that both recordings have")
    args = parser.parse_args(arguments)
    result = compare_recordings(args.before, args.after, common=args.common)
    for difference in result.differences:
        print(difference)
    print(result.summary())
    print(f"{len(result.differences)} differences")
    return 1 if result.differences else 0


if __name__ == "__main__":
    sys.exit(main())
