"""The work of a comparison: one job for each runner, seed and fold, in processes of their own, kept in files.

    OUT/identity.json                          what the scores belong to (`Identity`)
    OUT/scores/RUNNER/seedK/FOLD.parquet       row (of the dataset), name (of the method), score, logit, call
    OUT/scores/RUNNER/seedK/FOLD.json          what the runner took and keeps (`JobOutcome`)
    OUT/runs/RUNNER/seedK/FOLD/                the runner's own

A job that is there is not done again, so a comparison that was stopped, or is asked for more methods or seeds, goes on.
`blind` hides all test labels but those of `FewLabels`. This module does not know what the scores are worth.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, JsonValue

from episode import __version__
from episode.compare.folds import Fold, collapse, make_folds
from episode.compare.methods.base import FewLabels, FoldTask, RunnerResult
from episode.compare.methods.registry import EPISODE_RUNNER, FEW_LABELS, RUNNERS, RunnerSpec
from episode.compare.protocol import CollapseConfig, HoldoutConfig, Protocol, SelectionConfig
from episode.config import Config, WindowConfig
from episode.data.dataset import Dataset
from episode.data.storage import load_dataset
from episode.documents import read_json
from episode.encode.motifs import MotifBank, load_bank
from episode.encode.store import ElementStore, build_store
from episode.errors import EpisodeError
from episode.evaluate.figures import RunFigures
from episode.files import atomic_file, file_sha256, finite, locked
from episode.frames import read_frame
from episode.identity import check_identity
from episode.schema import Model, absent, read_model, write_model
from episode.seeds import generator

__all__ = [
    "Identity",
    "Job",
    "JobOutcome",
    "Work",
    "alone",
    "blind",
    "few_labels",
    "open_work",
    "read_outcome",
    "read_scores",
    "run_jobs",
]

COLUMNS = {"row": "int64", "name": "str", "score": "float64", "logit": "float64", "call": "float64"}
LOCK = ".lock"


@dataclass(frozen=True)
class Work:
    """A comparison under way: everything that its jobs have in common.

    Parameters
    ----------
    folder : Path
        OUT.
    config : Config
        Settings of EPIsode.
    collapsed : bool
        Transcripts of one gene are one row.
    label_seed : int
        Decides which labels the few-label methods are shown.
    """

    folder: Path
    dataset_folder: Path
    store_folder: Path
    protocol: Protocol
    config: Config
    collapsed: bool
    label_seed: int

    def dataset(self) -> Dataset:
        """Open the dataset, with its labels."""
        dataset = load_dataset(self.dataset_folder)
        return collapse(self.protocol, dataset) if self.collapsed else dataset


@dataclass(frozen=True)
class Job:
    """One runner on one fold with one seed."""

    runner: str
    seed: int
    fold: str

    def path(self, folder: Path, ending: str) -> Path:
        """File of the job's outcome."""
        return folder / "scores" / self.runner / f"seed{self.seed}" / f"{self.fold}{ending}"


class Identity(Model):
    """What the scores in a folder belong to; the rest of a protocol may change, for scores do not depend on it."""

    format_version: Literal[1] = 1
    episode: str
    """Version."""
    holdout: HoldoutConfig
    selection: SelectionConfig
    collapse: CollapseConfig
    config: Config
    collapsed: bool
    label_seed: int
    pairs: str
    """Hash of the table of pairs."""
    windows: WindowConfig
    sources: list[str]
    """Hashes of the files that the dataset was built from."""
    genome: str | None


class JobOutcome(Model):
    """What a job leaves beside its scores."""

    format_version: Literal[1] = 1
    seconds: float
    pairs_drawn: int | None = Field(default=None, exclude_if=absent)
    """See `RunnerResult`; absent where nothing is learned, and in files of older versions."""
    episode: str
    """Version."""
    scores_sha256: str | None = Field(default=None, exclude_if=absent)
    """Of the Parquet file beside it; absent in files of older versions."""
    extras: dict[str, JsonValue]
    """What the runner keeps: of a training run of EPIsode the content of `RunFigures`."""


def open_work(work: Work, dataset: Dataset) -> None:
    """Make the folder of a comparison, or make sure that the scores in an existing one are of these data and settings.

    Raises
    ------
    EpisodeError
        If the folder holds a comparison of something else.
    """
    hashed = pd.util.hash_pandas_object(dataset.pairs.drop(columns=["source", "row"], errors="ignore"), index=False)
    identity = Identity(
        episode=__version__,
        holdout=work.protocol.holdout.changed(test_cell_lines=[]),  # a fold is the same whichever others are tested
        selection=work.protocol.selection,
        collapse=work.protocol.collapse,
        config=work.config,
        collapsed=work.collapsed,
        label_seed=work.label_seed,
        pairs=hashlib.sha256(hashed.to_numpy().tobytes()).hexdigest(),
        windows=dataset.manifest.windows,
        sources=sorted(source.sha256 for source in dataset.manifest.sources),
        genome=dataset.genome_hash,
    )
    path = work.folder / "identity.json"
    if path.exists():
        where, need = f"{work.folder}: holds a comparison with", "give a new folder for this one"
        held = read_json(path)
        if not isinstance(held, dict):
            raise EpisodeError(f"{path}: damaged, it holds no object; give a new folder")
        check_identity(held, identity.model_dump(mode="json"), where=where, need=need)
    else:
        write_model(path, identity)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep every other comparison out of a folder while the block runs; a process that dies leaves no lock.

    Raises
    ------
    EpisodeError
        If another process runs there.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def refuse() -> None:
        raise EpisodeError(f"{folder}: another process is running here; wait for it, or give a new folder")

    with locked(folder / LOCK, refuse):
        try:
            yield
        finally:
            if [entry.name for entry in folder.iterdir()] == [LOCK]:  # nothing came of it
                (folder / LOCK).unlink()
                folder.rmdir()


def run_jobs(work: Work, dataset: Dataset, jobs: Sequence[Job], *, workers: int, report: Callable[[str], None]) -> None:
    """Do the jobs whose outcome is not there yet.

    Parameters
    ----------
    dataset : Dataset
        As `work` has it; its store is built here, once, before the processes open it.
    jobs : sequence of Job
        Begun in this order.
    workers : int
        Processes, of one thread each.
    report : callable
        Called with a line after each job.

    Raises
    ------
    EpisodeError
        If a job failed; the others are finished first, and their outcome is kept.
    """
    todo = [job for job in jobs if not job.path(work.folder, ".json").exists()]
    if not todo:
        return
    _stores(work, dataset)
    context = multiprocessing.get_context("spawn")
    failed: list[str] = []
    done = 0
    pool = ProcessPoolExecutor(min(workers, len(todo)), mp_context=context, initializer=_begin, initargs=(work,))
    try:
        running: dict[Future[float], Job] = {pool.submit(_run, job): job for job in todo}
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                job = running.pop(future)
                done += 1
                where = f"{job.runner}, seed {job.seed}, {job.fold}"
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    raise EpisodeError(
                        f"{where}: its process died, perhaps out of memory; what was done is kept, so call again, "
                        "with fewer --workers or --methods"
                    )
                if error is None:
                    report(f"[{done}/{len(todo)}] {where}: {future.result():.0f} s")
                else:
                    failed.append(f"{where}: {error}")
                    report(f"[{done}/{len(todo)}] {where}: FAILED ({error})")
    finally:
        pool.shutdown(wait=not running, cancel_futures=True)
    if failed:
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise EpisodeError(f"{len(failed)} of {len(todo)} jobs failed: {failed[0]}{more}; the others are kept")


def read_outcome(path: Path) -> JobOutcome:
    """Read what a job leaves beside its scores."""
    return read_model(path, JobOutcome, error=EpisodeError)


def read_scores(work: Work, job: Job, outcome: JobOutcome, pairs: int) -> pd.DataFrame:
    """Read the scores of a job, with the columns `COLUMNS`; `row` is less than the number of `pairs`.

    Raises
    ------
    EpisodeError
        If they cannot be read, or are not those that belong to the outcome.
    """
    path = job.path(work.folder, ".parquet")
    redo = f"remove {path.with_suffix('.json')} to redo it"
    try:
        if outcome.scores_sha256 not in (None, file_sha256(path)):
            raise EpisodeError(f"{path}: was changed after it was written")
        scores = read_frame(path, COLUMNS)
        if not scores["row"].between(0, pairs - 1).all():
            raise EpisodeError(f"{path}: row points outside the {pairs:,} pairs of the dataset")
    except FileNotFoundError:
        raise EpisodeError(f"{path}: no such file; {redo}") from None
    except EpisodeError as error:
        raise EpisodeError(f"{error}; {redo}") from None
    return scores


def blind(dataset: Dataset, fold: Fold) -> Dataset:
    """Return the dataset as runners see it: no label but the learnable ones, and the split of the fold."""
    pairs = dataset.pairs
    split = np.full(len(pairs), "test", dtype=object)
    split[fold.train] = "train"
    split[fold.gap] = "skip"
    split[fold.held_out | fold.selection] = "val"
    label = np.where(fold.learnable, pairs["label"].to_numpy(), -1).astype(np.int8)
    return replace(dataset, pairs=pairs.assign(label=label, split=split))


def few_labels(dataset: Dataset, fold: Fold, *, seed: int) -> FewLabels:
    """Choose the test pairs whose labels the few-label methods are shown: of each environment at most half.

    Parameters
    ----------
    dataset : Dataset
        With its labels.
    """
    pairs = dataset.pairs
    known = fold.test & (pairs["label"].to_numpy() >= 0)
    environment = pairs["environment"].to_numpy()
    rows: dict[int, list[np.ndarray]] = {count: [] for count in FEW_LABELS}
    for name in np.unique(environment[known]):
        here = np.flatnonzero(known & (environment == name))
        order = generator(seed, "few labels", fold.name, str(name)).permutation(here)
        for count in FEW_LABELS:
            rows[count].append(order[: min(count, len(here) // 2)])
    chosen = {count: np.sort(np.concatenate(parts)).astype(np.int64) for count, parts in rows.items()}
    shown = chosen[max(FEW_LABELS)]
    label = np.full(len(pairs), -1, dtype=np.int8)
    label[shown] = pairs["label"].to_numpy()[shown]
    pair = pd.MultiIndex.from_frame(pairs[["enhancer_id", "promoter_id"]])
    return FewLabels(chosen, label, fold.test & pair.isin(pair[shown]))


_state: dict[str, Any] = {}
"""What a worker process opened once."""


def _stores(work: Work, dataset: Dataset) -> tuple[MotifBank, ElementStore, ElementStore]:
    """Build or open the motif scores that baselines read, with their bank, and what EPIsode's own stem reads."""
    own = work.config.stem
    motif = own.as_motif()
    bank = load_bank(motif)
    store = build_store(dataset, bank, motif, work.store_folder)
    if own.kind == "motif":
        return bank, store, store
    return bank, store, build_store(dataset, load_bank(own), own, work.store_folder)


def _begin(work: Work) -> None:
    import torch

    torch.set_num_threads(1)
    dataset = work.dataset()
    _state["work"], _state["dataset"] = work, dataset
    _state["bank"], _state["store"], _state["own_store"] = _stores(work, dataset)
    _state["folds"] = {fold.name: fold for fold in make_folds(work.protocol, dataset)}


def _run(job: Job) -> float:
    work, dataset = _state["work"], _state["dataset"]
    fold: Fold = _state["folds"][job.fold]
    runner = next(runner for runner in RUNNERS if runner.name == job.runner)
    task = FoldTask(
        dataset=blind(dataset, fold),
        store=_state["store"],
        bank=_state["bank"],
        fold=fold,
        few_labels=few_labels(dataset, fold, seed=work.label_seed),
        config=work.config,
        seed=job.seed,
        folder=work.folder / "runs" / job.runner / f"seed{job.seed}" / job.fold,
        own_store=_state["own_store"],
        budget=_budget(work, job) if runner.matched else None,
    )
    start = time.perf_counter()
    try:
        result = runner.load()(task)
    except EpisodeError:
        raise
    except Exception as error:
        path = task.folder / "error.txt"
        with atomic_file(path) as temporary:
            temporary.write_text(traceback.format_exc(), encoding="utf-8")
        raise EpisodeError(f"{type(error).__name__}: {error} (the whole of it: {path})") from None
    seconds = time.perf_counter() - start
    _write(work, job, runner, fold, result, seconds)
    return seconds


def _budget(work: Work, job: Job) -> int:
    """Return the pairs that the training run of EPIsode on the same fold with the same seed has drawn."""
    path = Job(EPISODE_RUNNER, job.seed, job.fold).path(work.folder, ".json")
    drawn = read_outcome(path).pairs_drawn if path.exists() else None
    if drawn is None:
        raise EpisodeError(
            f"{job.runner} draws as many pairs as the training run of EPIsode, and {path} does not say how many; "
            f"needed --methods {EPISODE_RUNNER} in a folder of this version first"
        )
    return drawn


def _write(work: Work, job: Job, runner: RunnerSpec, fold: Fold, result: RunnerResult, seconds: float) -> None:
    """Write the scores, then the JSON file that says that they are complete."""
    test = np.flatnonzero(fold.test)
    other = {method.name for method in runner.methods} ^ set(result.methods)
    other -= {method.name for method in runner.methods if not method.always}
    if other:
        raise EpisodeError(f"runner {runner.name} fills other methods than listed: {', '.join(sorted(other))}")
    parts = []
    for name, scores in result.methods.items():
        columns = {"score": scores.score, "logit": scores.logit, "call": scores.call}
        for column, values in columns.items():
            if values.shape != test.shape or np.isinf(values).any():
                raise EpisodeError(
                    f"method {name}: {column} has shape {values.shape} or is infinite; needed {test.shape}"
                )
        parts.append(pd.DataFrame({"row": test, "name": name, **columns}))
    path = job.path(work.folder, ".parquet")
    with atomic_file(path) as temporary:
        pd.concat(parts, ignore_index=True).to_parquet(temporary, index=False)
    extras = result.extras
    kept = extras.model_dump(mode="json") if isinstance(extras, RunFigures) else finite(dict(extras))
    outcome = JobOutcome(
        seconds=round(seconds, 1),
        pairs_drawn=result.pairs_drawn,
        episode=__version__,
        scores_sha256=file_sha256(path),
        extras=kept,
    )
    write_model(job.path(work.folder, ".json"), outcome)
