"""One epoch of training at the size of domain-kl, from a store that is there.

A step draws tasks, not rows; an epoch is as many steps as query, with their labels, as many pairs as there are to learn
from. The training counts them itself (`epochs`); support pairs, which are scored as well, are not counted. The time is
that of the whole command: start, one validation, calibration and writing included, settling left out. The peak is the
greater of that training's and a short one's that settles too, on the frozen outputs of all pairs.
"""

from __future__ import annotations

import json
import math
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from costs.context import Context, Cost, entry
from costs.worlds import SEED
from episode.config import Config

PAIRS = 240_000
VIEWS = 4.6
"""Queries that move the Backbone in a step of four tasks, somewhat less than there are on average."""
SETTLING = {"training.steps": 4, "training.settle_steps": 4, "training.validate_every": 4}
"""Of the training that is there for its peak alone."""


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
            n={"pairs_aimed_at": wanted, "cell_lines": 8},
            raw={"configurations": found, "prepared": prepared},
        )
    }


def one_epoch(context: Context, dataset: Path, cache: Path, settings: dict[str, Any], wanted: int) -> dict[str, Any]:
    """Train for as many steps as an epoch should take, with the store there, then settle; say what it cost."""
    defaults = Config()
    query = settings.get("episodes.query", defaults.episodes.query)
    steps = math.ceil(wanted / (VIEWS * query))

    def train(length: dict[str, int]) -> Cost:
        words: list[str | Path] = ["train", dataset, "--cache", cache, "--out", context.fresh("tissues_run"), "--json"]
        words += [word for key, value in (settings | length).items() for word in ("--set", f"{key}={value}")]
        return context.run(context.limited(*words))

    bin = f"stem.bin={settings.get('stem.bin', defaults.stem.bin)}"
    stored = context.run(context.encode(dataset, "--cache", cache, "--set", bin))
    cost = train({"training.steps": steps, "training.settle_steps": 0, "training.validate_every": steps})
    settled = train(SETTLING)
    epochs = json.loads(cost.out)["epochs"]
    return {
        "settings": settings,
        "steps": steps,
        "epochs": epochs,
        "minutes": minutes_for_an_epoch(cost.seconds, epochs),
        "store_seconds": stored.seconds,
        **cost.facts(),
        "peak_bytes": max(cost.peak_bytes, settled.peak_bytes),
        "peak_bytes_learning": cost.peak_bytes,
        "settling": settled.facts(),
    }


def minutes_for_an_epoch(seconds: float, epochs: float) -> float:
    """Scale the time of a training up to one epoch; never down, for starting and closing do not shrink."""
    return seconds / 60 * max(1.0, 1 / epochs)


def protocol_settings() -> dict[str, Any]:
    """Return the settings of the protocol domain-kl, by section.key."""
    text = files("episode.evaluate").joinpath("protocols", "domain-kl.toml").read_text()
    return {
        f"{section}.{key}": value
        for section, content in tomllib.loads(text)["settings"].items()
        for key, value in content.items()
    }


def _dataset(context: Context) -> tuple[Path, dict[str, float]]:
    """Make the dataset, if it is not there, and say how long its making took."""
    world, dataset = context.work / "tissues", context.work / "tissues_dataset"
    preset = "tiny" if context.quick else "domain-kl"
    seconds = {}
    if not world.exists():
        words = ("simulate", "--preset", preset, "--format", "domain-kl", "--seed", str(SEED), "--out", world)
        seconds["simulate"] = context.run(context.episode(*words)).seconds
    if not dataset.exists():
        seconds["data build"] = context.run(context.episode("data", "build", world, "--out", dataset)).seconds
    return dataset, seconds
