"""Places of results: files, full folders, links, loops, mount points, missing parents, names that no disk takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from torture.bases import SETTINGS
from torture.case import Case, Must
from torture.oracles import Oracle, has
from torture.topics.common import GENOME
from torture.topics.full import can_mount, mount

TOPIC = "places"
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "build": (("data", "build", "rows.tsv", *GENOME), ("rows.tsv", "genome.fa"), "manifest.json"),
    "train": (("train", "ds", *SETTINGS), ("ds",), "run.json"),
    "predict": (("predict", "run", "rows.tsv", *GENOME), ("run", "rows.tsv", "genome.fa"), "predictions.tsv"),
    "evaluate": (("evaluate", "run", "ds", "--split", "test"), ("run", "ds"), "metrics.json"),
    "explain": (("explain", "run", "ds", "--pairs", "1", "--figures", "0"), ("run", "ds"), "explain.json"),
    "simulate": (("simulate", "--preset", "tiny"), (), "pairs.tsv"),
    "report": (("report", "ev"), ("ev",), "index.html"),
}


def full(folder: Path) -> None:
    """A folder that holds something."""
    (folder / "out").mkdir()
    (folder / "out/mine.txt").write_text("mine")


def link(target: str, name: str = "out") -> Callable[[Path], None]:
    """A symbolic link."""
    return lambda folder: (folder / name).symlink_to(target)


def linked_folder(folder: Path) -> None:
    """A link to an empty folder."""
    (folder / "there").mkdir()
    (folder / "out").symlink_to("there")


def loop_above(folder: Path) -> None:
    """Two links to each other."""
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")


def nothing(folder: Path) -> None:
    """No preparation."""


PLACES: dict[str, tuple[str, Callable[[Path], object], Must]] = {
    "new": ("out", nothing, "accept"),
    "with a slash": ("out/", nothing, "accept"),
    "below new folders": ("a/b/c/out", nothing, "accept"),
    "an empty folder": ("out", lambda folder: (folder / "out").mkdir(), "accept"),
    "a file": ("out", lambda folder: (folder / "out").write_text("mine"), "refuse"),
    "a full folder": ("out", full, "refuse"),
    "below a file": ("out/x", lambda folder: (folder / "out").write_text("mine"), "refuse"),
    "a link to nothing": ("out", link("nowhere"), "either"),
    "a link to a folder": ("out", linked_folder, "either"),
    "a link to itself": ("out", link("out"), "refuse"),
    "below a loop": ("a/out", loop_above, "refuse"),
    "here": (".", nothing, "either"),
    "above": ("..", nothing, "refuse"),
    "nothing": ("", nothing, "either"),
    "the root": ("/", nothing, "refuse"),
    "in /proc": ("/proc/out", nothing, "refuse"),
    "in /sys": ("/sys/out", nothing, "refuse"),
    "/dev/null": ("/dev/null", nothing, "refuse"),
    "/dev/stdout": ("/dev/stdout", nothing, "refuse"),
    "a pipe": ("out", lambda folder: os.mkfifo(folder / "out"), "refuse"),
    "too long": ("x" * 256, nothing, "refuse"),
    "nearly too long": ("x" * 250, nothing, "either"),
    "too deep": ("/".join(["d" * 200] * 30), nothing, "refuse"),
    "not UTF-8": ("o\udcffut", nothing, "either"),
    "with a line end": ("o\nut", nothing, "either"),
    "with spaces": ("o ut ", nothing, "accept"),
    "a dash": ("-", nothing, "either"),
    "a tilde": ("~", nothing, "accept"),
    "hidden": (".out", nothing, "accept"),
    "a part": (".out.part", nothing, "accept"),
}
INPUTS = {
    "build": ("rows.tsv", "genome.fa", "genome.fa/out"),
    "train": ("ds", "ds/pairs.parquet", "ds/store"),
    "predict": ("run", "rows.tsv", "genome.fa", "run/run.json"),
    "evaluate": ("run", "ds", "ds/store"),
    "explain": ("run", "ds", "ds/store"),
    "report": ("ev/metrics.json", "ev/figures.json"),
    "simulate": (),
}
"""Inputs that must not become the place of the result."""


def result(out: str, file: str) -> Oracle:
    """Ask for the result at its place."""
    return has(f"{out}/{file}")


def cases(bases: Mapping[str, Path]) -> Iterator[Case]:
    """Each place for each command; a report goes to a place that is in use, on purpose."""
    for verb, (argv, needs, file) in COMMANDS.items():
        for number, (name, (out, prepare, must)) in enumerate(PLACES.items()):
            costly = verb in ("train", "report", "simulate", "explain")
            if costly and (must != "refuse" or number % 2):
                continue
            need: Must = "either" if verb == "report" and name == "a full folder" else must
            leaves = r"^(a|o.*|~|\.out|x+|there)$|^a/b" if need == "either" else "$^"
            full_argv = (*argv, f"--out={out}")
            yield Case(
                TOPIC, f"{verb}, {name}", full_argv, needs, prepare, need, oracle=result(out, file), leaves=leaves
            )
        for out in INPUTS[verb]:
            yield Case(TOPIC, f"{verb}, the input {out}", (*argv, "--out", out), needs, must="refuse")
        if verb in ("build", "predict", "evaluate") and can_mount():
            prepare = lambda folder: mount(folder / "out", 64 << 20)  # noqa: E731
            yield Case(
                TOPIC, f"{verb}, a mount point", (*argv, "--out", "out"), needs, prepare, oracle=result("out", file)
            )
    argv, needs, file = COMMANDS["predict"]
    for cache in ("out", "run", "rows.tsv", "genome.fa", "."):
        yield Case(
            TOPIC,
            f"predict --cache {cache}",
            (*argv, "--cache", cache, "--out", "out"),
            needs,
            oracle=has("out/predictions.tsv"),
            must="refuse" if cache in ("out", "rows.tsv", "genome.fa") else "either",
            leaves="^scores-|^run/scores-",
        )
    for verb, names in {
        "build": ("--genome", "rows.tsv"),
        "train": ("--config", "ds"),
        "predict": ("--support-labels", "run"),
    }.items():
        argv, needs, _ = COMMANDS[verb]
        yield Case(TOPIC, f"{verb} {names[0]} is an input", (*argv, *names, "--out", "out"), needs, must="refuse")
    for name, extra in {
        "table missing": "no.tsv",
        "table is a folder": "ds",
        "table is a link to nothing": "dead",
        "table a loop": "a",
    }.items():

        def prepare_links(folder: Path) -> None:
            (folder / "dead").symlink_to("nowhere")
            loop_above(folder)

        argv = ("data", "build", extra, *GENOME, "--out", "out")
        yield Case(TOPIC, name, argv, ("genome.fa", "ds"), prepare_links, "refuse", (extra,))
        yield Case(
            TOPIC,
            f"genome: {name}",
            ("data", "build", "rows.tsv", "--genome", extra, "--out", "out"),
            ("rows.tsv", "ds"),
            prepare_links,
            "refuse",
            (extra,),
        )
        yield Case(
            TOPIC,
            f"run: {name}",
            ("predict", extra, "rows.tsv", *GENOME, "--out", "out"),
            ("rows.tsv", "genome.fa", "ds"),
            prepare_links,
            "refuse",
            (extra,),
        )
        yield Case(
            TOPIC,
            f"dataset: {name}",
            ("train", extra if extra != "ds" else "rows.tsv", "--out", "out"),
            ("rows.tsv", "ds"),
            prepare_links,
            "refuse",
        )
