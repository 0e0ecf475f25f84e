"""One epoch of training at the size of domain-kl, from a store that is there.

A step draws tasks, not rows; an epoch is as many steps as bring as many pairs that move the Backbone as there are pairs
at that size. They are counted in the log of the training: every view of a task that has a task loss is a query of
`episodes.query` pairs; support pairs, which are scored as well, are not counted. The time is that of the whole command:
start, one validation, calibration and writing included.
"""

from __future__ import annotations

import json
import math
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from costs.context import Context, entry
from costs.worlds import SEED

PAIRS = 240_000
VIEWS = 4.6
"""Queries that move the Backbone in a step of four tasks, somewhat less than there are on average."""


def measure(context: Context) -> dict[str, Any]:
    """Return the row epoch."""
    dataset, prepared = _dataset(context)
    wanted = context.size(PAIRS, 2_000)
    cache = context.work / "tissues_store"
    found = {}
    for name, settings in (("protocol", protocol_settings()), ("default", {})):
        found[name] = one_epoch(context, dataset, cache, settings, wanted)
    value = {
        "minutes": found["protocol"]["minutes"],
        "peak_gb": found["protocol"]["peak_bytes"] / 1e9,
        "minutes_default": found["default"]["minutes"],
        "peak_gb_default": found["default"]["peak_bytes"] / 1e9,
    }
    return {
        "epoch": entry(
            "one epoch at domain-kl size, store built",
            bar="<= 10 minutes, <= 4 GB",
            value=value,
            met=value["minutes"] <= 10 and value["peak_gb"] <= 4,
            n={"pairs": wanted, "cell_lines": 8},
            raw={"configurations": found, "prepared": prepared},
        )
    }


def one_epoch(context: Context, dataset: Path, cache: Path, settings: dict[str, Any], wanted: int) -> dict[str, Any]:
    """Train for as many steps as an epoch takes, with the store there, and say what it cost."""
    query = settings.get("episodes.query", 256)
    steps = math.ceil(wanted / (VIEWS * query))
    run = context.fresh("tissues_run")
    words = ["train", dataset, "--cache", cache, "--out", run]
    length = {"training.steps": steps, "training.settle_steps": 0, "training.validate_every": steps}
    for key, setting in (settings | length).items():
        words += ["--set", f"{key}={setting}"]
    bin = f"stem.bin={settings.get('stem.bin', 128)}"
    stored = context.run(context.encode(dataset, "--cache", cache, "--set", bin))
    cost = context.run(context.limited(*words))
    graded = query * _graded_views(run / "metrics.jsonl")
    return {
        "settings": settings,
        "steps": steps,
        "graded_pairs": graded,
        "minutes": cost.seconds / 60 * max(1.0, wanted / max(graded, 1)),
        "store_seconds": stored.seconds,
        **cost.facts(),
    }


def protocol_settings() -> dict[str, Any]:
    """Return the settings of the protocol domain-kl, by section.key."""
    text = files("episode.evaluate").joinpath("protocols", "domain-kl.toml").read_text()
    return {
        f"{section}.{key}": value
        for section, content in tomllib.loads(text)["settings"].items()
        for key, value in content.items()
    }


def _graded_views(log: Path) -> int:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return sum("task" in task for line in lines if line["kind"] == "train" for task in line["tasks"])


def _dataset(context: Context) -> tuple[Path, dict[str, float]]:
    """Make the dataset, if it is not there, and say how long its making took."""
    world, dataset = context.work / "tissues", context.work / "tissues_dataset"
    preset = "tiny" if context.quick else "domain-kl"
    seconds = {}
    if not world.exists():
        words = ("simulate", "--preset", preset, "--format", "domain-kl", "--seed", SEED, "--out", world)
        seconds["simulate"] = context.run(context.episode(*words)).seconds
    if not dataset.exists():
        seconds["data build"] = context.run(context.episode("data", "build", world, "--out", dataset)).seconds
    return dataset, seconds
