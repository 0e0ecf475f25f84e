"""Options: every option of every command and every key of the configuration, with values that nobody should give."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from torture.bases import SETTINGS
from torture.case import Case, Must
from torture.oracles import Oracle, finite_run, has
from torture.topics.common import encode, put, train

TOPIC = "options"
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Oracle | None]] = {
    "simulate": (("simulate", "--preset", "tiny"), (), has("out/pairs.tsv")),
    "data build": (
        ("data", "build", "rows.tsv", "--genome", "genome.fa"),
        ("rows.tsv", "genome.fa"),
        has("out/pairs.parquet"),
    ),
    "encode": (("encode", "ds", *SETTINGS), ("ds",), None),
    "train": (("train", "ds", *SETTINGS), ("ds",), None),
    "predict": (
        ("predict", "run", "rows.tsv", "--genome", "genome.fa"),
        ("run", "rows.tsv", "genome.fa"),
        has("out/predictions.tsv"),
    ),
    "evaluate": (("evaluate", "run", "ds", "--split", "test"), ("run", "ds"), has("out/metrics.json")),
    "explain": (("explain", "run", "ds", "--pairs", "1", "--figures", "0"), ("run", "ds"), has("out/pairs.tsv")),
    "report": (("report", "ev"), ("ev",), has("out/index.html")),
    "compare": (("compare", "protocol.toml", "ds"), ("protocol.toml", "ds"), None),
    "demo": (("demo",), (), None),
}
"""The command, what it needs, what a success must leave."""
NO_NUMBER = ("nan", "inf", "x", "", "1,5", "0x10")
NO_INTEGER = ("1.5", "1e18", "NaN")
LARGE = ("1000000000000000000", "99999999999999999999999999")
SLOW = {"demo", "compare"}
"""Commands of which only refusals are asked for."""
TEXTS: dict[str, dict[str, Must]] = {
    "--cell-lines": {
        "nobody": "refuse",
        "": "refuse",
        ",": "refuse",
        "cell8,nobody": "refuse",
        "CELL8": "refuse",
        "cell8\n": "either",
    },
    "--chromosomes": {"chrZ": "refuse", "": "refuse", "1": "refuse", "chr1,chrZ": "refuse"},
    "--methods": {"nothing": "refuse", "": "refuse", "distance,nothing": "refuse"},
    "--seeds": {"": "refuse", "x": "refuse", "1.5": "refuse", "nan": "refuse", ",": "refuse", "0,": "refuse"},
    "--write": {"": "refuse", "csv": "refuse", "TSV": "refuse", "tsv,tsv": "either", "tsv,": "either"},
    "--split": {"": "refuse", "TEST": "refuse", "all": "refuse"},
    "--format": {"": "refuse", "csv": "refuse", "BEDPE": "refuse"},
    "--on-invalid": {"": "refuse", "ignore": "refuse"},
    "--outside-genome": {"": "refuse", "drop": "refuse"},
    "--column": {
        "": "refuse",
        "=": "refuse",
        "label": "refuse",
        "label=": "refuse",
        "nothing=label": "refuse",
        "label=nothing": "refuse",
    },
    "--genome": {"": "refuse", "nowhere.fa": "refuse", ".": "refuse", "/dev/null": "refuse", "x\ny": "refuse"},
    "--config": {"": "refuse", "nowhere.toml": "refuse", ".": "refuse", "/dev/null": "either"},
    "--truth": {"": "refuse", "nowhere": "refuse", "/dev/null": "refuse"},
    "--only": {"": "refuse", "nowhere": "refuse", "/dev/null": "refuse", ".": "refuse"},
    "--support-labels": {"": "refuse", "nowhere": "refuse", "/dev/null": "refuse", ".": "refuse"},
    "--run": {"": "refuse", "nowhere": "refuse", "/dev/null": "refuse", "ds": "refuse"},
    "--cache": {"/dev/null": "refuse", "/proc/nothing": "refuse"},
    "--assay": {"a\nb": "refuse", "a:b": "either", "": "either"},
    "--ray-address": {"nowhere:1": "refuse"},
    "--engine": {"spark": "refuse"},
    "--world": {"": "refuse", "none": "refuse"},
    "--preset": {"": "refuse", "huge": "refuse"},
    "--choose": {"": "refuse", "best": "refuse"},
    "--bases": {"": "refuse", "all": "refuse"},
    "--set": {
        **dict.fromkeys(
            ("", "=", "training", "training.steps", "steps=3", "training.steps=", "training.=3", ".steps=3"), "refuse"
        ),
        **dict.fromkeys(
            ("training.stepz=3", "trainin.steps=3", "training.steps=5\ny=3", "training.steps=[3]"), "refuse"
        ),
        **dict.fromkeys(
            ("training={}", "training.steps.x=3", "training.steps=3 # x", "training.steps=1979-05-27"), "refuse"
        ),
        **dict.fromkeys(("training.steps=" + "9" * 5000, "training.steps=" + "[" * 50_000, "a\udcffb=1"), "refuse"),
    },
}
"""Values of options that are text."""
CONFIGS: dict[str, tuple[str | bytes, Must]] = {
    "c.toml": ("[training]\nsteps = 2\nsettle_steps = 2\n", "accept"),
    "c.json": ('{"training": {"steps": 2, "settle_steps": 2}}', "accept"),
    "mark.toml": ("\ufeff[training]\nsteps = 2\nsettle_steps = 2\n", "either"),
    "utf16.toml": ("[training]\nsteps = 2\n".encode("utf-16"), "refuse"),
    "latin.toml": (b"[training]\nsteps = 2 # \xe9\n", "refuse"),
    "unknown.toml": ("[training]\nstepz = 2\n", "refuse"),
    "section.toml": ("[trainings]\nsteps = 2\n", "refuse"),
    "top.toml": ("steps = 2\n", "refuse"),
    "twice.toml": ("[training]\nsteps = 2\nsteps = 3\n", "refuse"),
    "twice.json": ('{"training": {"steps": 2, "steps": 3}}', "refuse"),
    "open.toml": ("[training\nsteps = 2\n", "refuse"),
    "list.json": ("[1]", "refuse"),
    "number.json": ("3", "refuse"),
    "null.json": ("null", "refuse"),
    "nan.json": ('{"training": {"clip": NaN}}', "refuse"),
    "large.json": ('{"training": {"clip": 1e999}}', "refuse"),
    "digits.json": ('{"training": {"steps": ' + "9" * 5000 + "}}", "refuse"),
    "digits.toml": ("[training]\nsteps = " + "9" * 5000, "refuse"),
    "deep.json": ('{"training": ' + "[" * 100_000 + "]" * 100_000 + "}", "refuse"),
    "deep.toml": ("x = " + "[" * 100_000 + "]" * 100_000, "refuse"),
    "deep2.toml": (".".join("a" * 20_000) + " = 1\n", "refuse"),
    "empty.json": ("", "refuse"),
    "yaml.toml": ("training:\n  steps: 2\n", "refuse"),
    "zero.toml": (b"[training]\nsteps = 2\0\n", "refuse"),
}


def walk(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.Action]]:
    """All options that take a value, with the command that has them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, part in action.choices.items():
                yield from walk(part, f"{name} {verb}".strip())
        elif action.option_strings and action.nargs != 0:
            yield name, action


def cases(bases: Mapping[str, Path]) -> Iterator[Case]:
    """Options of the commands, then keys of the configuration, then files of it."""
    from episode.cli.main import build_parser

    for command, action in walk(build_parser()):
        option, kind = action.option_strings[0], getattr(action.type, "__name__", None)
        argv, needs, oracle = COMMANDS[command]
        texts: dict[str, Must] = {}
        if kind in ("int", "float"):
            turn = len(command + option) % 4
            texts = dict.fromkeys((*NO_NUMBER, *(NO_INTEGER if kind == "int" else ()))[turn::4], "refuse")
            if command not in SLOW:
                texts |= {"-1": "either" if option == "--seed" else "refuse", LARGE[turn % 2]: "either"}
        elif command not in SLOW or option in ("--methods", "--seeds", "--set"):
            texts = TEXTS.get(option, {})
        for text, must in texts.items():
            full = (*argv, f"{option}={text}", *(() if command == "encode" else ("--out", "out")))
            words = (option.lstrip("-").replace("-", "[-_]"),) if must == "refuse" and kind in ("int", "float") else ()
            leaves = r"^out/(\.lock|dataset)|^out$" if command == "compare" else "$^"
            yield Case(
                TOPIC,
                f"{command} {option} {text[:30]!r}",
                full,
                needs,
                must=must,
                words=words,
                oracle=oracle,
                leaves=leaves,
            )
    yield from _keys()
    for file, (content, must) in CONFIGS.items():
        steps = file in ("c.toml", "c.json")
        argv = ("train", "ds", "--config", file, *(SETTINGS if steps else ()), "--out", "out")
        yield Case(
            TOPIC, f"--config {file}", argv, ("ds",), put({file: content}), must, (file,) if must == "refuse" else ()
        )


NONSENSE = ("nan", "inf", "-inf", "[1]", "{}", "", "x", "'1\\n2'", "1_0__0", "0b2")


def _keys() -> Iterator[Case]:
    """Every key: two values that are nonsense, -1, and one that asks for more than any machine has."""
    from episode.config import Config

    number = 0
    for section, field in Config.model_fields.items():
        for key, value in type(field.default).model_fields.items():
            number += 1
            name, is_text = f"{section}.{key}", isinstance(value.default, str)
            for at in (0, 3) if is_text else (0,):
                text = NONSENSE[(number + at) % len(NONSENSE)]
                must: Must = "either" if is_text else "refuse"
                yield encode(TOPIC, f"{name} {text!r}", "--set", f"{name}={text}", must=must, words=(key,))
            if is_text or isinstance(value.default, bool):
                continue
            if number % 3 == 0:
                yield encode(TOPIC, f"{name} -1", "--set", f"{name}=-1", must="refuse", words=(key,))
            large = "1e18" if isinstance(value.default, float) else LARGE[0]
            yield train(
                TOPIC,
                f"{name} {large}",
                "--set",
                f"{name}={large}",
                oracle=finite_run(),
                leaves="^out",
                words=(f"{key}|diverge",),
            )
