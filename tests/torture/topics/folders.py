"""Damaged folders: every file of a run, a dataset, a store, an evaluation and a comparison, then fields and columns.

What is damaged is refused, or, where the command rightly does not read it, the result is that of the sound folder.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file, save_file

from torture.case import Case, Must
from torture.oracles import Oracle, has, same_tree

TOPIC = "folders"
DEEP, DIGITS = "[" * 100_000 + "]" * 100_000, "9" * 5000
Damage = Callable[[Path], object]


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the content of a file."""
    path.write_bytes(change(path.read_bytes()))


def with_loop(path: Path) -> None:
    """A link to itself in place of a file."""
    path.unlink()
    path.symlink_to(path.name)


def with_folder(path: Path) -> None:
    """A folder in place of a file."""
    path.unlink()
    path.mkdir()


def replaced_by(data: bytes) -> Damage:
    """Another content."""
    return lambda path: rewrite(path, lambda _: data)


def flip(share: float) -> Damage:
    """One byte changed, so far into the file."""

    def change(data: bytes) -> bytes:
        at = min(len(data) - 1, int(len(data) * share))
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return lambda path: rewrite(path, change)


DAMAGES: dict[str, Damage] = {
    "deleted": Path.unlink,
    "empty": lambda path: rewrite(path, lambda data: b""),
    "halved": lambda path: rewrite(path, lambda data: data[: len(data) // 2]),
    "last byte lost": lambda path: rewrite(path, lambda data: data[:-1]),
    "of zeros": lambda path: rewrite(path, lambda data: bytes(len(data))),
    "a folder": with_folder,
    "a loop": with_loop,
    "flipped early": flip(0.05),
    "flipped midway": flip(0.5),
    "flipped late": flip(0.98),
}
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "predict": (("predict", "run", "rows.tsv", "--genome", "genome.fa"), ("run", "rows.tsv", "genome.fa")),
    "evaluate": (("evaluate", "run", "ds", "--split", "test"), ("run", "ds")),
    "explain": (("explain", "run", "ds", "--split", "test", "--pairs", "1", "--figures", "0"), ("run", "ds")),
    "report": (("report", "ev"), ("ev",)),
    "report cmp": (("report", "cmp"), ("cmp",)),
    "compare": (
        ("compare", "protocol.toml", "ds", "--methods", "distance,promoter_degree", "--workers", "1"),
        ("protocol.toml", "ds", "cmp"),
    ),
}
RESULT = {"predict": "pr", "evaluate": "ev", "explain": "ex", "compare": "cmp"}
READERS = (
    ("run", "predict"),
    ("ds", "evaluate"),
    ("ds/store", "evaluate"),
    ("ev", "report"),
    ("cmp", "report cmp"),
    ("cmp/scores", "compare"),
)
"""Folder and the command that reads it."""


def damaged(
    name: str, command: str, path: str, damage: Damage, bases: Mapping[str, Path], must: Must = "either"
) -> Case:
    """A command that meets a damaged file."""
    argv, needs = COMMANDS[command]
    oracle: Oracle = has(f"{'cmp' if 'cmp' in needs else 'ev'}/index.html")
    out: tuple[str, ...] = (
        ("--out", "cmp") if command == "compare" else () if command.startswith("report") else ("--out", "out")
    )
    if command in RESULT:
        oracle = same_tree(bases[RESULT[command]], out=out[-1])
    leaves = r"^cmp/(\.lock|scores)" if command == "compare" else r"$^"
    return Case(
        TOPIC,
        f"{command}: {path} {name}",
        (*argv, *out),
        needs,
        lambda folder: damage(folder / path),
        must,
        oracle=oracle,
        leaves=leaves,
        words=(f"{Path(path).parts[0]}|dataset",),
    )


def cases(bases: Mapping[str, Path]) -> Iterator[Case]:
    """Whole files, then JSON fields, then columns of Parquet, then weights, then what must be tied together."""
    for top, command in READERS:
        root = bases[top.split("/")[0]]
        inside = [path for path in sorted((root.parent / top).rglob("*")) if path.is_file() and path.name != "lock"]
        for path in inside:
            relative = str(path.relative_to(root.parent))
            if top in ("ds", "cmp") and "/s" in relative.replace("/summary", ""):
                continue
            read = path.suffix in (".json", ".safetensors", ".npy", ".parquet") and path.name != "predictions.parquet"
            names = list(DAMAGES)[: 8 if command.startswith("report") else None] if read else ["deleted", "of zeros"]
            for name in names[::2] if top in ("cmp/scores", "cmp", "ds/store") else names:
                if command.startswith("report") and name.startswith("flipped"):
                    continue
                yield damaged(name, command, relative, DAMAGES[name], bases)
    yield from _fields(bases)
    yield from _columns(bases)
    yield from _weights(bases)
    yield from _ties(bases)


FIELDS: dict[str, Any] = {
    "dropped": ...,
    "null": None,
    "text": "x",
    "-1": -1,
    "a list": [],
    "a table": {},
    "1e300": 1e300,
}


READ_FIELDS = (
    *(("run/run.json", "predict", 40), ("run/alarms.json", "predict", 4), ("ds/manifest.json", "evaluate", 18)),
    *(("ev/metrics.json", "report", 20), ("ev/figures.json", "report", 14), ("cmp/identity.json", "compare", 10)),
    *(("cmp/results.json", "report cmp", 20), ("cmp/figures.json", "report cmp", 10)),
)
"""File, the command that reads it, number of fields."""


def paths_of(content: Any, depth: int = 3) -> Iterator[tuple[str | int, ...]]:
    """Paths of keys and of first entries."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(content, dict):
        items = list(content.items())
    elif isinstance(content, list) and content:
        items = [(0, content[0])]
    for key, value in items:
        yield (key,)
        if depth > 1:
            yield from ((key, *rest) for rest in paths_of(value, depth - 1))


def set_field(path: tuple[str | int, ...], value: Any) -> Damage:
    """Give a field of a JSON file another value, or take it away."""

    def change(data: bytes) -> bytes:
        content = json.loads(data)
        place = content
        for key in path[:-1]:
            place = place[key]
        if value is ...:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        return json.dumps(content).encode()

    return lambda file: rewrite(file, change)


def _fields(bases: Mapping[str, Path]) -> Iterator[Case]:
    rng = random.Random(5)
    for file, command, count in READ_FIELDS:
        content = json.loads((bases[file.split("/")[0]].parent / file).read_text())
        paths = [path for path in paths_of(content) if path[0] != "bank" or len(path) < 3]
        top = [path for path in paths if len(path) == 1]
        rest = rng.sample([path for path in paths if len(path) > 1], max(0, min(count, len(paths)) - len(top)))
        for number, path in enumerate((top + rest)[:count]):
            name = list(FIELDS)[number % len(FIELDS)]
            field = ".".join(map(str, path))
            yield damaged(f"{field} {name}", command, file, set_field(path, FIELDS[name]), bases)
        for name, text in WHOLES.items():
            data = text.encode("utf-8", "surrogateescape")
            yield damaged(name, command, file, replaced_by(data), bases)
            if text in (DEEP, DIGITS):
                whole = json.dumps(content)[:-1].encode() + b', "more": ' + data + b"}"
                yield damaged(f"a field {name}", command, file, replaced_by(whole), bases)


WHOLES = {"deep": DEEP, "of digits": DIGITS, "of text": '"x"', "NaN": "NaN", "latin": '"\udce9"'}


def _columns(bases: Mapping[str, Path]) -> Iterator[Case]:
    def change(column: str, name: str) -> Damage:
        def damage(path: Path) -> None:
            table = pq.read_table(path, use_threads=False)
            at = table.column_names.index(column)
            values = table[column].to_pylist()
            path.unlink()
            if name == "dropped":
                pq.write_table(table.remove_column(at), path)
                return
            odd = {
                "as text": lambda: pa.array([str(value) for value in values]),
                "with nulls": lambda: pa.array([None, *values[1:]], table[column].type),
                "in reverse": lambda: pa.array(values[::-1], table[column].type),
                "as floats": lambda: pa.array([float(hash(str(value)) % 7) + 0.5 for value in values]),
            }[name]()
            pq.write_table(table.set_column(at, column, odd), path)

        return damage

    names = ("dropped", "as text", "with nulls", "in reverse", "as floats")
    for file in ("pairs.parquet", "elements.parquet"):
        for turn, column in enumerate(pq.read_schema(bases["ds"] / file).names):
            for name in names[turn % 2 :: 3]:
                yield damaged(f"{column} {name}", "evaluate", f"ds/{file}", change(column, name), bases)


def _weights(bases: Mapping[str, Path]) -> Iterator[Case]:
    def changed(change: Callable[[dict[str, np.ndarray]], object]) -> Damage:
        def damage(path: Path) -> None:
            tensors = {name: array.copy() for name, array in load_file(path).items()}
            path.unlink()
            change(tensors)
            save_file(tensors, path)

        return damage

    def first(tensors: dict[str, np.ndarray]) -> str:
        return next(name for name, array in sorted(tensors.items()) if array.dtype == np.float32 and array.size > 4)

    def put(value: float) -> Callable[[dict[str, np.ndarray]], object]:
        return lambda t: t[first(t)].reshape(-1).__setitem__(0, value)

    changes: dict[str, Callable[[dict[str, np.ndarray]], object]] = {
        "NaN": put(np.nan),
        "infinite": put(np.inf),
        "huge": put(1e38),
        "a little other": put(0.123),
        "float16": lambda t: t.update({first(t): t[first(t)].astype(np.float16)}),
        "float64": lambda t: t.update({first(t): t[first(t)].astype(np.float64)}),
        "int": lambda t: t.update({first(t): t[first(t)].astype(np.int32)}),
        "of another shape": lambda t: t.update({first(t): t[first(t)].reshape(-1)}),
        "longer": lambda t: t.update({first(t): np.concatenate([t[first(t)]] * 2)}),
        "missing": lambda t: t.pop(first(t)),
        "more": lambda t: t.update(more=np.zeros(3, np.float32)),
        "none": dict.clear,
    }
    for command in ("predict", "evaluate"):
        for name, change in list(changes.items())[:: 1 if command == "predict" else 3]:
            yield damaged(f"weights {name}", command, "run/model.safetensors", changed(change), bases, "refuse")
    heads = {"too long": b"\xff" * 8, "of nothing": bytes(8), "of text": b"\x05" + bytes(7) + b"hello"}
    for name, head in heads.items():
        yield damaged(
            f"header {name}", "predict", "run/model.safetensors", replaced_by(head + bytes(99)), bases, "refuse"
        )


def _ties(bases: Mapping[str, Path]) -> Iterator[Case]:
    """Files that are each valid but do not belong together."""

    def half(data: bytes) -> bytes:
        head = len(data) // 2
        return data[:head] + bytes((code + 1) % 4 for code in data[head:])

    def reordered(data: bytes) -> bytes:
        content = json.loads(data)
        content["environments"] = content["environments"][::-1]
        return json.dumps(content).encode()

    yield damaged("half other bases", "evaluate", "ds/codes.npy", lambda path: rewrite(path, half), bases, "refuse")
    yield damaged(
        "environments reordered", "predict", "run/run.json", lambda path: rewrite(path, reordered), bases, "refuse"
    )
    for key in (
        ("windows", "enhancer"),
        ("windows", "promoter"),
        ("calibration", "temperature"),
        ("calibration", "offset"),
    ):
        yield damaged(f"{'.'.join(key)} edited", "predict", "run/run.json", set_field(key, 500), bases, "refuse")
    yield damaged(
        "windows edited", "evaluate", "ds/manifest.json", set_field(("windows", "enhancer"), 500), bases, "refuse"
    )

    def exchanged(path: Path) -> None:
        shutil.copy2(bases["ev"] / "predictions.parquet", path)

    yield damaged("of an evaluation", "evaluate", "ds/pairs.parquet", exchanged, bases, "refuse")

    def whole(kind: str, other: str) -> Damage:
        def damage(path: Path) -> None:
            shutil.rmtree(path)
            shutil.copytree(bases[other], path)

        return damage

    for command, kind, other in EXCHANGED:
        yield damaged(f"is a {other}", command, kind, whole(kind, other), bases, "refuse")


EXCHANGED = (
    *(("predict", "run", "ds"), ("evaluate", "ds", "run"), ("evaluate", "run", "ev"), ("report", "ev", "pr")),
    *(("report", "ev", "run"), ("evaluate", "ds", "pr"), ("explain", "run", "ds"), ("explain", "ds", "ev")),
)
"""A command, a folder that it reads, and what lies in its place."""
