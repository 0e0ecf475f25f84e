"""Killed at random times: build, train, predict, each started again until it ends.

Every trial is a command in a folder of its own that gets SIGKILL at a time drawn uniformly from what the uninterrupted
command takes, and is then started again, as a user would. What it leaves in the end is compared with what the
uninterrupted command left: the same files with the same content, no other file, no process. Times are drawn until
enough trials were killed: one that ended before its time came counts as none, but must be right as well, and no later
time is drawn after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from costs.context import Context, entry
from costs.worlds import SEED, Elements, small_dataset, small_run, write_genome, write_pairs
from episode.data.storage import load_dataset
from episode.encode.bins import bin_count
from episode.encode.segments import DIGEST, Recipe, SegmentFolder
from episode.encode.store import ElementStore
from episode.files import file_sha256
from episode.schema import read_model
from episode.seeds import generator

KILLS = 20
TRIES = 3
"""Trials for each kill that is wanted, at most."""
PATIENCE = 600
GRACE = 10
"""Seconds in which workers of a killed process must be gone."""
SEGMENT = re.compile("[0-9a-f]{32}")
SEGMENT_FILES = {"index.npy", "rows.npy"}
Content = dict[str, str]


@dataclass(frozen=True)
class Command:
    """What is killed.

    Parameters
    ----------
    name : str
    first : callable
        From the folder of a trial to the command line.
    again : tuple of str
        What is added to the command line to go on, whatever the kill has left.
    content : callable
        From that folder to what must be the same in the end: names of files and folders, and checksums. Changes
        nothing there; raises RuntimeError where something is missing that must be there.
    """

    name: str
    first: Callable[[Path], list[str]]
    again: tuple[str, ...]
    content: Callable[[Path], Content]


@dataclass(frozen=True)
class Trial:
    """What came of one kill.

    Parameters
    ----------
    after : float
        Seconds at which it was to be killed.
    killed : bool
        It had not ended by then.
    left : tuple of str
        Files that the killed process left.
    code : int
        Exit code of the restart.
    same, clean : bool
        All that there should be, with the same content; nothing else, and no process.
    seconds : float
        From the restart to the end.
    said : str
        The last words of a restart that failed, or what its folder lacks.
    """

    after: float
    killed: bool
    left: tuple[str, ...]
    code: int
    same: bool
    clean: bool
    seconds: float
    said: str


def measure(context: Context) -> dict[str, Any]:
    """Return the row kills."""
    kills = context.size(KILLS, 2)
    found = {}
    for command in _commands(replace(context, threads=1)):
        found[command.name] = _Harness(context, command).measure(kills)
    value = {name: count(raw["trials"]) | {"of": kills} for name, raw in found.items()}
    return {
        "kills": entry(
            f"killed {kills} times at random points: build, train, predict",
            bar="every restart ends with the same result, nothing left behind",
            value=value,
            met=all(v["killed"] == kills and v["good"] == v["tries"] for v in value.values()),
            n={"kills_each": kills},
            raw=found,
        )
    }


def count(trials: list[dict[str, Any]]) -> dict[str, int]:
    """Count trials: all, those that were right in the end, those that were killed, and of these what came of them."""
    killed = [trial for trial in trials if trial["killed"]]
    return {
        "tries": len(trials),
        "good": sum(trial["same"] and trial["clean"] for trial in trials),
        "killed": len(killed),
        "killed_after_first_file": sum(bool(trial["left"]) for trial in killed),
        "same_result_nothing_left": sum(trial["same"] and trial["clean"] for trial in killed),
    }


class _Harness:
    """One command in many folders, as many at once as the benchmark has threads."""

    def __init__(self, context: Context, command: Command) -> None:
        self.context, self.command = context, command
        self.base = context.fresh(f"kills/{command.name}")
        self.wanted: Content = {}

    def measure(self, kills: int) -> dict[str, Any]:
        """Run the command uninterrupted, then kill it so many times, or as often as the tries allow."""
        self.base.mkdir()
        with ThreadPoolExecutor(self.context.threads) as pool:
            whole = [self.base / f"whole{i}" for i in range(max(2, self.context.threads))]
            uninterrupted = seconds = max(pool.map(self._uninterrupted, whole))
            self.wanted = self.command.content(whole[0])
            if any(self.command.content(folder) != self.wanted for folder in whole[1:]):
                raise RuntimeError(f"{self.command.name}: two uninterrupted runs differ")
            draw = generator(SEED, "kill", self.command.name)
            trials: list[Trial] = []
            while (missing := kills - sum(trial.killed for trial in trials)) and len(trials) < TRIES * kills:
                times = draw.uniform(0, seconds, size=min(missing, TRIES * kills - len(trials)))
                trials += pool.map(self._trial, range(len(trials), len(trials) + len(times)), times.tolist())
                seconds = min([seconds, *(trial.after for trial in trials if not trial.killed)])
        for folder in whole:
            shutil.rmtree(folder)
        return {
            "uninterrupted_seconds": uninterrupted,
            "compared": len(self.wanted),
            "trials": [vars(trial) for trial in trials],
        }

    def _uninterrupted(self, folder: Path) -> float:
        folder.mkdir()
        start = time.perf_counter()
        code, said = self._finish(self.command.first(folder), folder)
        if code:
            raise RuntimeError(f"{self.command.name}: {said}")
        return time.perf_counter() - start

    def _trial(self, number: int, after: float) -> Trial:
        folder = self.base / f"kill{number}"
        folder.mkdir()
        first = self.command.first(folder)
        with _log(folder).open("wb") as log:
            process = subprocess.Popen(
                first, stdout=log, stderr=log, start_new_session=True, env=self.context.environment()
            )
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            killed = process.wait() == -signal.SIGKILL
        left = tuple(sorted(_files(folder)))
        start = time.perf_counter()
        code, said = self._finish([*first, *self.command.again], folder)
        seconds = time.perf_counter() - start
        content: Content = {}
        if code == 0:
            try:
                content, said = self.command.content(folder), ""
            except RuntimeError as error:
                said = str(error)
        same = bool(content) and all(content.get(name) == checksum for name, checksum in self.wanted.items())
        clean = set(content) <= set(self.wanted) and _all_gone(process.pid)
        if same and clean:
            shutil.rmtree(folder)
        return Trial(after, killed, left, code, same, clean, seconds, said)

    def _finish(self, words: list[str], folder: Path) -> tuple[int, str]:
        """Run a command to its end; return its code and the end of what it said."""
        with _log(folder).open("wb") as log:
            environment = self.context.environment()
            code = subprocess.run(words, stdout=log, stderr=log, timeout=PATIENCE, env=environment).returncode
        return code, " / ".join(_log(folder).read_text(errors="replace").splitlines()[-3:])


def _log(folder: Path) -> Path:
    return folder.with_suffix(".log")


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()]


def everything(folder: Path) -> Content:
    """Return the checksum of every file, and every folder, by its path."""
    found = {name: file_sha256(folder / name) for name in _files(folder)}
    return found | {f"{path.relative_to(folder)}/": "" for path in folder.rglob("*") if path.is_dir()}


def _all_gone(session: int) -> bool:
    """Wait until no process of a session is left; end those that stay, and say so."""
    deadline = time.perf_counter() + GRACE
    while left := _of_session(session):
        if time.perf_counter() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            return False
        time.sleep(0.1)
    return True


def _of_session(session: int) -> list[int]:
    """Return the processes of a session, zombies left out."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                fields = (process / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(process.name))
    return found


def _commands(context: Context) -> list[Command]:
    """Return the three commands, of a few seconds each, with one thread."""
    return [_build(context), _train(context), _predict(context)]


def _build(context: Context) -> Command:
    """A store in narrow bins, so that it has several segments; where one ends depends on where a kill came.

    So segments are not compared by name, but by the rows of every element; and each must be whole, with nothing beside.
    """
    elements, genome = Elements(*[context.size(2000, 100)] * 2), context.work / "kills_build.fa"
    table, dataset = context.work / "tables" / "kills_build.parquet", context.fresh("kills_dataset")
    write_genome(genome, elements)
    write_pairs(table, elements, elements.enhancers, lines=1)
    context.run(context.episode("data", "build", table, "--genome", genome, "--out", dataset))
    bin = f"stem.bin={context.size(32, 128)}"

    def words(folder: Path) -> list[str]:
        return context.encode(dataset, "--cache", folder / "cache", "--set", bin)

    return Command("build", words, (), lambda folder: stored(folder, dataset))


def stored(folder: Path, dataset: Path) -> Content:
    """Return what a folder of stores holds of a dataset: its files, then the rows of every element; only reads.

    Raises
    ------
    RuntimeError
        If a segment is not what its checksums say, or a store has no rows of some element.
    """
    found = everything(folder)
    content: Content = {}
    for name, checksum in found.items():
        path = folder / name
        if not SEGMENT.search(name):
            content[name] = checksum
            continue
        content[SEGMENT.sub("SEGMENT", name)] = ""
        if name.endswith("/") and SEGMENT.fullmatch(path.name):
            _check_segment(path, {file: found.get(f"{name}{file}") for file in SEGMENT_FILES})
    recipes = sorted(folder.rglob("recipe.json"))
    if not recipes:
        raise RuntimeError(f"{folder}: holds no store")
    data = load_dataset(dataset)
    digests = np.array([bytes.fromhex(text.decode()) for text in data.digests], dtype=DIGEST)
    wanted, first = np.unique(digests, return_index=True)
    lengths = data.elements["length"].to_numpy()[first]
    for path in recipes:
        recipe = read_model(path, Recipe)
        rows = SegmentFolder(path.parent, recipe).find(wanted)
        if (rows.start < 0).any():
            raise RuntimeError(f"{path.parent}: lacks {int((rows.start < 0).sum())} of {len(wanted)} elements")
        store, digest = ElementStore(rows.rows, rows.start, bin_count(lengths, recipe.bin), ""), hashlib.sha256()
        for element in range(len(store)):
            digest.update(store.rows(element).tobytes())
        content[f"rows of {path.parent.name}"] = digest.hexdigest()
    return content


def _check_segment(path: Path, checksums: dict[str, str | None]) -> None:
    told = path / "segment.json"
    if not told.exists() or json.loads(told.read_text())["sha256"] != checksums:
        raise RuntimeError(f"{path}: is not what its checksums say")


def _train(context: Context) -> Command:
    """A training of many short steps, which saves its state every few of them."""
    dataset, steps = small_dataset(context), context.size(48, 8)
    settings = {
        "training.steps": steps,
        "training.settle_steps": steps,
        "training.validate_every": 4,
        "training.tasks_per_step": 2,
        "episodes.query": 64,
        "episodes.support_max": 128,
    }
    words: list[str | Path] = ["train", dataset, "--cache", context.work / "kills_store"]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]

    def first(folder: Path) -> list[str]:
        return context.limited(*words, "--out", folder / "run")

    return Command("train", first, ("--resume",), everything)


def _predict(context: Context) -> Command:
    """A prediction of many parts."""
    elements, genome = Elements(*[context.size(1000, 100)] * 2), context.work / "kills_predict.fa"
    run, table = small_run(context), context.work / "tables" / "kills_predict.parquet"
    write_genome(genome, elements)
    write_pairs(table, elements, context.size(100_000, 4_000), row_group=context.size(5_000, 500))

    def first(folder: Path) -> list[str]:
        return context.limited("predict", run, table, "--genome", genome, "--out", folder / "out")

    return Command("predict", first, ("--resume",), everything)
