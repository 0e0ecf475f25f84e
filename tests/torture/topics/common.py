"""Short ways to the commands that most cases run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torture.bases import SETTINGS, WHOLE
from torture.case import Case
from torture.oracles import predicted, stored
from torture.world import ROWS, Row

__all__ = ["GENOME", "build", "encode", "predict", "train", "write"]

GENOME = ("--genome", "genome.fa")


def write(**files: str | bytes) -> Callable[[Path], None]:
    """Write files; in their names __ stands for a point."""
    return put({name.replace("__", "."): content for name, content in files.items()})


def put(files: Mapping[str, str | bytes]) -> Callable[[Path], None]:
    """Write files by name."""

    def prepare(folder: Path) -> None:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))

    return prepare


def build(
    topic: str,
    name: str,
    content: str | bytes | None,
    *,
    file: str = "table.tsv",
    rows: Sequence[Row] | None = ROWS,
    options: tuple[str, ...] = (),
    genome: tuple[str, ...] = GENOME,
    **more: Any,
) -> Case:
    """``data build`` of one table; `rows` are what must be stored if it is accepted."""
    argv = ("data", "build", file, *genome, *WHOLE, *options, "--out", "out")
    if content is not None:
        more.setdefault("prepare", put({file: content}))
    if rows is not None:
        more.setdefault("oracle", stored(rows))
    return Case(topic, name, argv, ("genome.fa",), **more)


def predict(
    topic: str,
    name: str,
    content: str | bytes | None,
    *,
    file: str = "table.tsv",
    rows: Sequence[Row] | None = ROWS,
    options: tuple[str, ...] = (),
    reference: Path | None = None,
    **more: Any,
) -> Case:
    """``predict`` of one table; `rows` are what must be predicted if it is accepted."""
    argv = ("predict", "run", file, *GENOME, *options, "--out", "out")
    if content is not None:
        more.setdefault("prepare", put({file: content}))
    if rows is not None:
        more.setdefault("oracle", predicted(rows, reference))
    return Case(topic, name, argv, ("genome.fa", "run"), **more)


def train(topic: str, name: str, *options: str, **more: Any) -> Case:
    """``train`` on the tiny dataset."""
    return Case(topic, name, ("train", "ds", *SETTINGS, *options, "--out", "out"), ("ds",), **more)


def encode(topic: str, name: str, *options: str, **more: Any) -> Case:
    """``encode`` of the tiny dataset, which reads every setting."""
    return Case(topic, name, ("encode", "ds", *SETTINGS, *options), ("ds",), **more)
