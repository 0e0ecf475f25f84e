"""A prediction as a job in a folder: begun, scored part by part by anyone who opens the folder, finished.

The first pass reads the tables once, chooses the support sets and estimates every environment. The second scores the
parts, in any order, in any process. All of it appears by renaming, so a kill at any point leaves a job that goes on.
What lies in the folder is listed in docs/prediction.md.
This module does NOT know how pairs are scored, nor who calls it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from episode import __version__
from episode.checkpoint import Run, load_run
from episode.data.genome import open_genome
from episode.data.pairs import DROPPED_COLUMNS
from episode.errors import EpisodeError, GenomeError, InputError
from episode.files import (
    atomic_file,
    fsync,
    locked,
    read_json,
    refuse_existing,
    remove_folder,
    remove_leftovers,
    write_json,
)
from episode.inference.element_cache import ElementCache
from episode.predict.pairs import score_pairs
from episode.predict.request import Order, check_same
from episode.predict.streaming.blocks import Part, parquet_files, refuse_inside
from episode.predict.streaming.elements import Catalogue
from episode.predict.streaming.first_pass import Plan, Report, make_plan, open_store, read_labels, read_tables
from episode.predict.streaming.summary import read_staged
from episode.predict.writers import FORMATS, join_parquet, open_parquet, whole_parquet

__all__ = ["Job", "Order", "Part", "Plan", "open_job", "result_folder", "resumable", "work_folder"]

T = TypeVar("T")
LOCK = "lock"
RESULT = "prediction.json"
"""File of the result that says what was asked for and what was found."""


def result_folder(out: Path) -> Path:
    """Resolve a folder of results that was asked for.

    Raises
    ------
    EpisodeError
        If no other folder could be given its place.
    """
    found = out.resolve()
    if found == Path.cwd() or os.path.ismount(found):
        what = "is where a file system begins" if os.path.ismount(found) else "is the folder this command runs in"
        raise EpisodeError(f"{out}: {what}, so nothing can take its place; give a new folder")
    return found


def work_folder(out: Path) -> Path:
    """Folder of the job that will become `out`."""
    return out.with_name(f"{out.name}.unfinished")


@dataclass(frozen=True)
class Job:
    """A prediction whose first pass is done.

    Parameters
    ----------
    folder : Path
        Work folder.
    order : Order
    plan : Plan
    held : ExitStack
        What is held until the job is finished: the lock of the process that opened it, see `open_job`.
    opened : Run, optional
        The trained run, where it is open already.
    """

    folder: Path
    order: Order
    plan: Plan
    held: ExitStack = field(default_factory=ExitStack, repr=False, compare=False)
    opened: Run | None = field(default=None, repr=False, compare=False)

    @classmethod
    def load(cls, folder: Path | str) -> Job:
        """Open a job whose first pass is done from its folder alone.

        Raises
        ------
        EpisodeError
            If it is not there.
        """
        folder = Path(folder)
        order = _read(folder / "job.json", lambda content: _order(content["order"]))
        return cls(folder, order, _read(folder / "plan.json", Plan.from_dict))

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is to be scored."""
        return self.plan.parts

    def make_folders(self) -> None:
        """Make the folders of scored parts; scoring makes none, so that a job that is finished does not come back."""
        for folder in {self._scored(part).parent for part in self.parts}:
            folder.mkdir(parents=True, exist_ok=True)

    def missing(self) -> list[Part]:
        """Parts that are not scored yet."""
        return [part for part in self.parts if not self._scored(part).exists()]

    def score(self, part: Part) -> None:
        """Score a part, unless that is done or the job is finished; it appears whole or not at all."""
        scored = self._scored(part)
        try:
            if not scored.exists():
                self._score(part, scored)
        except FileNotFoundError:
            if scored.parent.exists() and not scored.exists():
                raise
            return  # another process was first, or has finished the job
        (self.folder / "rows" / f"{part.name}.parquet").unlink(missing_ok=True)

    def _score(self, part: Part, scored: Path) -> None:
        staged = read_staged(self.folder, part)
        keep = np.flatnonzero(staged.usable(self._ids))
        frame = staged.frame.iloc[keep].reset_index(drop=True)
        names = [estimate.environment for estimate in self.plan.estimates]
        environment = pd.Index(names).get_indexer(pd.Index(frame["environment"]))
        rows = staged.rows(self._ids, keep)
        scores = score_pairs(self.run, self._codes, rows, environment, self.plan.estimates, batch=self.order.batch)
        with open_parquet(scored, parents=False) as write:
            write(frame.assign(**scores.columns))

    def finish(self, report: Report | None = None) -> Plan:
        """Put the scored parts together, and give the result its place; return the plan.

        `report` is told of the progress.

        Raises
        ------
        EpisodeError
            If parts are missing.
        """
        if not self.folder.exists():
            return self.plan
        missing = self.missing()
        if missing:
            raise EpisodeError(f"{self.folder}: {len(missing)} of {len(self.parts)} parts are not scored yet")
        result = self.folder / "result"
        shutil.rmtree(result, ignore_errors=True)
        self._write(result, report or _silent)
        for path in result.rglob("*"):
            if path.is_file():
                fsync(path)
        if self.out.exists():
            self.out.rmdir()
        os.replace(result, self.out)
        remove_folder(self.folder, self._close)
        return self.plan

    def remove_damaged(self) -> None:
        """Remove scored parts that a loss of power has cut short, so that they are missing."""
        for part in self.parts:
            path = self._scored(part)
            if path.exists() and not whole_parquet(path):
                path.unlink()

    def _close(self) -> None:
        """Close what is open in the folder."""
        for name in ("_codes", "_catalogue", "_ids"):
            self.__dict__.pop(name, None)
        self.held.close()

    @property
    def out(self) -> Path:
        """Folder of the result."""
        return self.folder.with_name(self.folder.name.removesuffix(".unfinished"))

    @cached_property
    def run(self) -> Run:
        """The trained run."""
        return self.opened or load_run(Path(self.order.run_folder))

    @cached_property
    def _catalogue(self) -> Catalogue:
        return Catalogue.load(self.folder)

    @cached_property
    def _ids(self) -> np.ndarray:
        return self._catalogue.table["id"].to_numpy()

    @cached_property
    def _codes(self) -> ElementCache:
        store = open_store(self.folder, self.order, self.run, self._catalogue)
        return ElementCache(self.run.system.backbone, store, self.folder / "codes")

    def _scored(self, part: Part) -> Path:
        return self.folder / "scored" / f"{part.name}.parquet"

    def _write(self, result: Path, report: Report) -> None:
        """Write every file of the result."""
        joined, total = 0, len(self.parts) * len(self.order.formats)

        def scored(parts: list[Part]) -> Iterator[Path]:
            nonlocal joined
            for part in parts:
                yield self._scored(part)
                joined += 1
                report("join parts", joined, total)

        parts = {file: list(mine) for file, mine in groupby(self.parts, lambda part: part.file)}
        for name, file in self.plan.outputs.items():
            for format in self.order.formats:
                path = result / f"{name}.{format}"
                if format == "parquet":
                    join_parquet(scored(parts[file]), path)
                    continue
                with FORMATS[format](path) as write:
                    for part in scored(parts[file]):
                        write(pd.read_parquet(part))
        with atomic_file(result / "environments.tsv") as temporary:
            self.plan.table.to_csv(temporary, sep="\t", index=False, float_format="%.6g")
        if self.plan.dropped:
            with atomic_file(result / "dropped.tsv") as temporary, temporary.open("wb") as stream:
                stream.write(("\t".join(DROPPED_COLUMNS) + "\n").encode())
                for lines in self._dropped():
                    stream.write(lines.read_bytes())
        facts = self.plan.to_dict() | {"parts": []}
        identity = read_json(self.folder / "job.json")["identity"]
        write_json(result / RESULT, {"episode_version": __version__, "identity": identity, "found": facts})

    def _dropped(self) -> Iterator[Path]:
        for kind in ("dropped", "outside"):
            yield from sorted((self.folder / kind).rglob("[!.]*.tsv"))


def open_job(order: Order, out: Path, *, resume: bool = False, report: Report | None = None) -> Job:
    """Begin a prediction, or go on with it, until its first pass is done.

    Parameters
    ----------
    order : Order
    out : Path
        Folder of the result, new; the work is done in `work_folder(out)`.
    resume : bool
        Go on with what is there, if anything is.
    report : callable, optional
        Told of the progress.

    Raises
    ------
    EpisodeError
        If `out` is in use, an unfinished prediction is there and `resume` was not asked for, or it was begun otherwise.
    """
    out = result_folder(out)
    folder = work_folder(out)
    refuse_inside(order.tables, out)
    if out.parent.exists():
        remove_leftovers(out.parent, folder.name)
    if not (resume and (out / RESULT).exists()):
        _refuse_others(out, folder, resume)
    genome = None if order.genome is None else open_genome(order.genome)
    identity = order.identity(None if genome is None else genome.sha256)
    if resume and (out / RESULT).exists():
        return _finished(order, out, identity)
    if (folder / "job.json").exists():
        _check_begun(folder, identity)
    run = load_run(Path(order.run_folder))
    few = read_labels(order, run, genome)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / LOCK, lambda: _refuse_company(folder)))
        except FileNotFoundError:  # another process has just finished there
            _refuse_company(folder)
        # What was found before may have changed until the lock was had.
        if resume and (out / RESULT).exists():
            return _finished(order, out, identity, held)
        _refuse_others(out, folder, resume)
        if (folder / "job.json").exists():
            _check_begun(folder, identity)
        with resumable(folder):
            write_json(folder / "job.json", {"identity": identity, "order": asdict(order)})
            if not (folder / "plan.json").exists():
                try:
                    tables = read_tables(folder, order, run, genome, report or _silent)
                except GenomeError:
                    raise
                except EpisodeError:
                    remove_folder(folder, held.close)
                    raise
                progress = report is not None
                try:
                    plan = make_plan(folder, order, run, genome, tables, few, report or _silent, progress=progress)
                except InputError:
                    if parquet_files(order.tables, order.format) is None:  # read whole, so there is little to keep
                        remove_folder(folder, held.close)
                    raise
                write_json(folder / "plan.json", plan.to_dict())
            job = Job.load(folder)
            job.make_folders()
            job.remove_damaged()
        return replace(job, held=held.pop_all(), opened=run)


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Add to an error, where the work folder outlives it, that the work can be gone on with.

    Raises
    ------
    EpisodeError
        In place of the error.
    """
    kept = f"what is done so far stays in {folder}; mend this and give --resume to go on"
    try:
        yield
    except OSError as error:
        if not folder.exists():
            raise
        what = str(error) if error.errno is None else os.strerror(error.errno)
        raise EpisodeError(f"{error.filename or folder}: {what}; {kept}") from None
    except EpisodeError as error:
        if not folder.exists() or "--resume" in str(error):
            raise
        raise EpisodeError(f"{error}; {kept}") from None


def _refuse_others(out: Path, folder: Path, resume: bool) -> None:
    """Refuse to work where something else is."""
    refuse_existing(out)
    if (folder / "job.json").exists():
        if not resume:
            raise EpisodeError(
                f"{folder}: an unfinished prediction is there; go on with it by --resume, or remove the folder"
            )
    elif not _empty(folder):
        raise EpisodeError(f"{folder}: is not an unfinished prediction; move it away, or give another --out")


def _empty(folder: Path) -> bool:
    """Nothing is there, or a process that was killed has only just begun."""
    return not folder.exists() or all(path.suffix == ".part" or path.name == LOCK for path in folder.iterdir())


def _check_begun(folder: Path, identity: dict[str, Any]) -> None:
    """Refuse to go on with an unfinished prediction that was begun otherwise."""
    begun = _read(folder / "job.json", lambda content: dict(content["identity"]))
    check_same(begun, identity, folder, planned=(folder / "plan.json").exists())


def _refuse_company(folder: Path) -> None:
    raise EpisodeError(f"{folder}: another process is at work there; wait for it, or give another --out")


def _finished(order: Order, out: Path, identity: dict[str, Any], held: ExitStack | None = None) -> Job:
    """Open a prediction that is finished; remove what a kill left of its work."""
    check_same(_read(out / RESULT, lambda content: dict(content["identity"])), identity, out)
    plan = _read(out / RESULT, lambda content: Plan.from_dict(content["found"]))
    folder = work_folder(out)
    if (folder / "job.json").exists() or _empty(folder):
        remove_folder(folder, None if held is None else held.close)
    return Job(folder, order, plan)


def _order(content: dict[str, Any]) -> Order:
    return Order(**content | {"tables": tuple(content["tables"]), "formats": tuple(content["formats"])})


def _read(path: Path, take: Callable[[Any], T]) -> T:
    """Take something from a JSON file of a prediction."""
    content = read_json(path)
    try:
        return take(content)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise EpisodeError(
            f"{path}: was not written by a prediction of this version, or is damaged; remove its folder, or give "
            "another --out"
        ) from None


def _silent(what: str, done: int, total: int) -> None:
    """Report nothing."""
