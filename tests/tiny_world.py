"""One tiny simulated world, dataset and run for all tests that need a trained model; each made once a session.

Everything is made by the commands themselves, with few steps: the numbers mean nothing, their relations do.
"""

from __future__ import annotations

import contextlib
import functools
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from episode.checkpoint import Run, load_run
from episode.cli.main import main
from episode.config import Config, override
from episode.data.dataset import Dataset, assemble
from episode.data.genome import open_genome
from episode.data.pairs import PairTable
from episode.data.readers import read_pairs
from episode.data.storage import load_dataset
from episode.encode.store import ElementStore, build_store
from episode.predict.pairs import COLUMNS
from made_once import made_once

__all__ = [
    "CLOSED",
    "CROSSFIT",
    "KEY",
    "NUMBERS",
    "SETTINGS",
    "TOLERANCE",
    "Outcome",
    "as_options",
    "closed_folder",
    "config",
    "crossfit_folder",
    "dataset",
    "dataset_folder",
    "episode",
    "lively_run",
    "merged",
    "pairs",
    "read",
    "rows_of",
    "run_folder",
    "shuffled",
    "spectrum_folder",
    "store_of",
    "world",
]


def merged(*settings: str) -> tuple[str, ...]:
    """Settings of which a later one replaces an earlier one of the same name."""
    return tuple({setting.partition("=")[0]: setting for setting in settings}.values())


SETTINGS = (
    "environment.student=network",
    "stem.bin=200",
    "episodes.query=32",
    "episodes.support_max=64",
    "training.steps=6",
    "training.settle_steps=4",
    "training.validate_every=3",
)
"""As given to --set; few steps, small tasks."""
CLOSED = merged(*SETTINGS, "environment.student=closed_form")
"""The same with the closed-form Student."""
CROSSFIT = merged(*CLOSED, "training.steps=3", "training.settle_steps=2", "crossfit.groups=3", "crossfit.seeds=2")
"""Six members of fewer steps."""

KEY = ["environment", "enhancer_name", "promoter_name"]
"""Columns that name a pair in a table of predictions."""
NUMBERS = list(COLUMNS)
"""Columns of what is predicted of a pair."""
TOLERANCE = 1e-5
"""How far predictions differ where the work was cut up in another way."""
LIVELY = {"impedance_error": 0.05, "impedance_environments": 8, "bootstrap_sd": 0.0}
"""Calibration facts under which intervals have a width worth testing."""


@dataclass(frozen=True)
class Outcome:
    """What a command gave back."""

    code: int
    out: str
    err: str


def episode(*arguments: object) -> Outcome:
    """Run a command in this process; a traceback is not caught."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as caught:
            code = int(caught.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue())


def as_options(settings: tuple[str, ...] = SETTINGS) -> list[str]:
    """Settings as command line options."""
    return [part for setting in settings for part in ("--set", setting)]


def config(*settings: str) -> Config:
    """The configuration of the tiny run, with some settings changed."""
    return override(Config(), [*SETTINGS, *settings])


def _made(name: str, *arguments: object) -> Path:
    def make(path: Path) -> None:
        outcome = episode(*arguments, "--out", path)
        assert outcome.code == 0, outcome.err

    return made_once(name, make)


@functools.cache
def world() -> Path:
    """Folder with pairs.tsv, genome.fa and truth/: 8 training and 4 unseen cell lines."""
    return _made("world", "simulate", "--preset", "tiny", "--seed", 0)


@functools.cache
def pairs() -> pd.DataFrame:
    """The pair table of the world, as text."""
    return pd.read_csv(world() / "pairs.tsv", sep="\t", dtype=str)


@functools.cache
def dataset_folder() -> Path:
    """Dataset of the world, whole elements."""
    table, genome = world() / "pairs.tsv", world() / "genome.fa"
    windows = ("--enhancer-window", 0, "--promoter-window", 0)
    return _made("dataset", "data", "build", table, "--genome", genome, *windows)


@functools.cache
def dataset() -> Dataset:
    """The same, loaded."""
    return load_dataset(dataset_folder())


@functools.cache
def run_folder() -> Path:
    """A run of few steps."""
    return _made("run", "train", dataset_folder(), *as_options(), "--threads", 1)


@functools.cache
def closed_folder() -> Path:
    """A run with the closed-form Student and a single member."""
    return _made("closed", "train", dataset_folder(), *as_options(CLOSED), "--threads", 1)


@functools.cache
def crossfit_folder() -> Path:
    """A cross-fitted run: three groups of training cell lines, each left out by two members."""
    return _made("crossfit", "train", dataset_folder(), *as_options(CROSSFIT), "--threads", 1)


@functools.cache
def spectrum_folder() -> Path:
    """The same with three impedance channels."""
    settings = (*SETTINGS, "impedance.channels=3")
    return _made("spectrum", "train", dataset_folder(), *as_options(settings), "--threads", 1)


@functools.cache
def lively_run(channels: int = 1) -> Run:
    """The run, with noise on its weights: environments differ, and so do pairs, more than so few steps achieve.

    One of three channels where `channels` is 3.
    """
    run = load_run(run_folder() if channels == 1 else spectrum_folder())
    noise = torch.Generator().manual_seed(1)
    for parameter in run.system.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise))
    for parameter in run.system.exposure.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=noise))
    facts = run.facts.changed(calibration=run.facts.calibration.changed(**LIVELY))
    return replace(run, facts=facts)


def read(table: pd.DataFrame, folder: Path, name: str = "table.tsv") -> Dataset:
    """Write a table of the world, then read it as prediction does."""
    path = folder / name
    table.to_csv(path, sep="\t", index=False)
    content: PairTable = read_pairs([path])
    return assemble(content, open_genome(world() / "genome.fa"), lively_run().facts.windows)


def store_of(content: Dataset) -> ElementStore:
    """The elements of a dataset, as the run's stem sees them."""
    run = lively_run()
    return build_store(content, run.bank, run.facts.config.stem)


def rows_of(*names: str) -> pd.DataFrame:
    """Rows of some cell lines of the world, without their split."""
    table = pairs()
    chosen = table["cell_line"].isin(names).to_numpy()
    return table[chosen].drop(columns="split").reset_index(drop=True)


def shuffled(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The same rows in another order."""
    return table.iloc[np.random.default_rng(seed).permutation(len(table))]
