"""What is wrong with a result, found by plain readings of its files that share nothing with the package."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from safetensors import safe_open

from torture.world import Row, bases

__all__ = ["Oracle", "all_of", "digest", "finite_run", "has", "predicted", "same_tree", "stored"]

Oracle = Callable[[Path], str | None]
PLACE = tuple(f"{side}_{part}" for side in ("enhancer", "promoter") for part in ("chrom", "start", "end"))
VOLATILE = {"seconds", "job_seconds", "started", "created", "provenance", "time", "out", "run", "dataset", "finished"}
"""Keys of JSON files that differ between two runs of one command."""


def table(path: Path) -> list[dict[str, Any]]:
    """Rows of a Parquet file."""
    return list(pq.read_table(path, use_threads=False).to_pylist())


def all_of(*oracles: Oracle) -> Oracle:
    """Ask several oracles; the first complaint counts."""
    return lambda folder: next((wrong for oracle in oracles if (wrong := oracle(folder))), None)


def has(*paths: str) -> Oracle:
    """Ask for files that hold something."""

    def oracle(folder: Path) -> str | None:
        missing = [path for path in paths if not (folder / path).is_file() or not (folder / path).stat().st_size]
        return f"{missing[0]} is missing or empty" if missing else None

    return oracle


def stored(rows: Sequence[Row], *, out: str = "out", dna: bool = True) -> Oracle:
    """Ask that a dataset holds these rows and no others, with the bases of the tiny genome."""

    def oracle(folder: Path) -> str | None:
        found = table(folder / out / "pairs.parquet")
        keys = [name for name in rows[0] if name in found[0]]
        lost = [name for name in rows[0] if name not in found[0]]
        if lost:
            return f"column {lost[0]} is lost; there are {sorted(found[0])}"
        want, have = (sorted(tuple(map(_plain, (row[key] for key in keys))) for row in part) for part in (rows, found))
        if want != have:
            odd = next((row for row in have if row not in want), next((row for row in want if row not in have), None))
            return f"{len(have)} rows for {len(want)}; {dict(zip(keys, odd or (), strict=False))}"
        return _wrong_bases(folder / out, found) if dna else None

    return oracle


def _plain(value: object) -> str:
    if value is None or value == "" or value == -1:
        return "-1"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _wrong_bases(folder: Path, pairs: list[dict[str, Any]]) -> str | None:
    codes, elements = np.load(folder / "codes.npy"), table(folder / "elements.parquet")
    for row in pairs:
        for side in ("enhancer", "promoter"):
            element = elements[row[f"{side}_id"]]
            held = codes[element["offset"] : element["offset"] + element["length"]]
            want = bases(*(row[f"{side}_{part}"] for part in ("chrom", "start", "end")))
            if "".join("ACGTN"[code] for code in held) != want:
                return f"row {row['row']}: other bases of the {side} are stored"
    return None


def predicted(rows: Sequence[Row], reference: Path | None = None, *, out: str = "out") -> Oracle:
    """Ask for these rows in their order in every format, and for the potentials that a sound run gives them."""

    def oracle(folder: Path) -> str | None:
        found = table(folder / out / "predictions.parquet")
        keys = [key for key in rows[0] if key != "label"]
        for number, (want, have) in enumerate(zip(rows, found, strict=False), start=1):
            wrong = [key for key in keys if _plain(want[key]) != _plain(have.get(key))]
            if wrong:
                return f"row {number}: {wrong[0]} is {have.get(wrong[0])!r} for {want[wrong[0]]!r}"
            if not all(math.isfinite(have[key]) for key in ("potential", "impedance", "probability")):
                return f"row {number}: a prediction is not finite"
        if len(found) != len(rows):
            return f"{len(found)} rows for {len(rows)}"
        wrong_text = next(filter(None, (_wrong_text(folder / out, name, found) for name in _TEXT)), None)
        return wrong_text or (None if reference is None else _wrong_potential(found, table(reference)))

    return oracle


_TEXT = ("tsv", "bedpe", "interact")


def _wrong_text(out: Path, name: str, found: list[dict[str, Any]]) -> str | None:
    """Hold a text format against the Parquet file, field by field."""
    path = out / f"predictions.{name}"
    if not path.exists():
        return None
    lines = path.read_bytes().decode("utf-8").split("\n")
    if lines.pop() != "":
        return f"{path.name}: no line end at the end"
    titles = 1 if name == "tsv" else next((i for i, x in enumerate(lines) if not x.startswith(("#chrom", "track"))), 0)
    head, body = lines[:titles], [line.split("\t") for line in lines[titles:]]
    if len(body) != len(found) or len(set(map(len, body))) != 1:
        return f"{path.name}: {len(body)} records of {sorted(set(map(len, body)))} fields for {len(found)} rows"
    names = head[-1].lstrip("#").split("\t") if head else []
    for fields, row in zip(body, found, strict=True):
        if name == "tsv":
            for column in (*PLACE, "cell_line", "enhancer_name", "promoter_name"):
                if fields[names.index(column)] != str(row[column]):
                    return f"{path.name}: {column} is {fields[names.index(column)]!r} for {row[column]!r}"
            if float(fields[names.index("distance")]) != row["distance"]:
                return f"{path.name}: distance {fields[names.index('distance')]} for {row['distance']!r}"
        elif name == "bedpe" and fields[:6] != [str(row[column]) for column in PLACE]:
            return f"{path.name}: {fields[:6]} for {[row[column] for column in PLACE]}"
    return None


def _wrong_potential(found: list[dict[str, Any]], sound: list[dict[str, Any]]) -> str | None:
    known = {tuple(row[key] for key in PLACE): row["potential"] for row in sound}
    for row in found:
        want = known.get(tuple(row[key] for key in PLACE))
        if want is not None and abs(want - row["potential"]) > 1e-4:
            return f"potential {row['potential']:.5f} for {want:.5f}"
    return None


def digest(folder: Path) -> dict[str, str]:
    """Hash the files of a result, without what differs between two runs of one command."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or {"store", "scores"} & set(path.parts) or path.suffix in (".png", ".svg", ".html"):
            continue
        data = path.read_bytes()
        if path.suffix == ".json":
            data = json.dumps(_steady(json.loads(data)), sort_keys=True).encode()
        found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


def _steady(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _steady(value) for key, value in content.items() if key not in VOLATILE}
    return [_steady(value) for value in content] if isinstance(content, list) else content


def same_tree(reference: Path, *, out: str = "out") -> Oracle:
    """Ask for the result of a sound command, file by file."""

    def oracle(folder: Path) -> str | None:
        want, have = digest(reference), digest(folder / out)
        other = sorted(name for name in {*want, *have} if want.get(name) != have.get(name))
        return f"{', '.join(other[:4])} differ from the sound result" if other else None

    return oracle


def finite_run(out: str = "out") -> Oracle:
    """Ask for a run whose weights are finite."""

    def oracle(folder: Path) -> str | None:
        with safe_open(folder / out / "model.safetensors", framework="np") as stream:
            bad = [name for name in set(stream.keys()) if not np.isfinite(stream.get_tensor(name)).all()]
        return f"{bad[0]} is not finite" if bad else None

    return oracle
