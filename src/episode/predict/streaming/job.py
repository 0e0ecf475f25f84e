"""A prediction as a job in a folder: begun, scored part by part by anyone who opens the folder, finished.

The first pass reads the tables once, chooses the support sets and estimates every environment. The second scores the
parts, in any order, in any process. All of it appears by renaming, so a kill at any point leaves a job that can be
resumed: `open_job` reads OUT.unfinished/ again.

    job.json, plan.json        the request; the parts and the estimate of each environment
    rows/, elements/, facts/   staged blocks of pairs and the elements that they need
    dropped/, scored/          rows left out; parts that are done

This module does NOT know how pairs are scored, nor who calls it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from pydantic import ConfigDict

from episode import __version__
from episode.data.genome import open_genome
from episode.data.pairs import DROPPED_COLUMNS
from episode.errors import EpisodeError, GenomeError, InputError
from episode.files import (
    atomic_file,
    fsync,
    locked,
    refuse_existing,
    refuse_shared,
    refuse_unwritable,
    remove_folder,
    remove_leftovers,
)
from episode.identity import Identity
from episode.inference.element_cache import ElementCache
from episode.inference.members import member_caches
from episode.lines import first_line, write_tsv
from episode.predict.pairs import score_pairs
from episode.predict.request import Request, check_same
from episode.predict.streaming.blocks import Part, refuse_inside
from episode.predict.streaming.first_pass import Opened, Plan, Report, make_plan, read_labels, read_support, read_tables
from episode.predict.streaming.summary import read_staged
from episode.predict.writers import join_parquet, open_parquet, open_text, prediction_table, whole_parquet
from episode.schema import Model, read_model, write_model

__all__ = ["Job", "Part", "Plan", "Request", "open_job", "result_folder", "resumable", "work_folder"]

M = TypeVar("M", bound=Model)
LOCK = "lock"
BEGUN = "job.json"
"""File of the work folder: once it is there, the prediction is begun."""
RESULT = "prediction.json"
"""File of the result that holds what was asked for and what was found."""


def result_folder(out: Path) -> Path:
    """Resolve a folder of results that was asked for.

    Raises
    ------
    EpisodeError
        If no other folder could be given its place.
    """
    if not out.is_dir():
        refuse_unwritable(out)
    found = out.resolve()
    if found == Path.cwd() or os.path.ismount(found):
        what = "is where a file system begins" if os.path.ismount(found) else "is the folder this command runs in"
        raise EpisodeError(
            f"{out}: {what}, so nothing can take its place; give a new folder, such as {out / 'predicted'}"
        )
    return found


def work_folder(out: Path) -> Path:
    """Folder of the job that will become `out`."""
    return out.with_name(f"{out.name}.unfinished")


class Begun(Model):
    """What a prediction was begun as: `job.json`."""

    identity: Identity
    """See `episode.predict.request.Request.identity`."""
    order: Request


class Finished(Model):
    """What a prediction was begun as, and what was found: `prediction.json`."""

    episode_version: str
    identity: Identity
    found: Plan
    """Without its parts."""


@dataclass(frozen=True)
class Job:
    """A prediction whose first pass is done.

    Parameters
    ----------
    opened : Opened
        What scoring reads besides the parts.
    held : ExitStack
        What is held until the job is finished: the lock of the process that opened it, see `open_job`.
    """

    folder: Path
    request: Request
    plan: Plan
    opened: Opened = field(repr=False, compare=False)
    held: ExitStack = field(default_factory=ExitStack, repr=False, compare=False)

    @classmethod
    def load(cls, folder: Path | str) -> Job:
        """Open a job whose first pass is done from its folder alone.

        Raises
        ------
        EpisodeError
            If it is not there.
        """
        folder = Path(folder)
        request = _read(folder / BEGUN, Begun).order
        return cls(folder, request, _read(folder / "plan.json", Plan), Opened(folder, request))

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
        scores = score_pairs(
            self.opened.run, self._codes, rows, environment, self.plan.estimates, batch=self.request.batch
        )
        with open_parquet(scored, parents=False) as write:
            write(prediction_table(frame.assign(**scores.columns)))

    def finish(self, report: Report | None = None) -> Plan:
        """Put the scored parts together, and give the result its place; return the plan.

        `report` is called with the progress.

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
        for name in ("_codes", "_ids"):
            self.__dict__.pop(name, None)
        self.opened.close()
        self.held.close()

    @property
    def out(self) -> Path:
        """Folder of the result."""
        return self.folder.with_name(self.folder.name.removesuffix(".unfinished"))

    @cached_property
    def _ids(self) -> np.ndarray:
        return self.opened.catalogue.table["id"].to_numpy()

    @cached_property
    def _codes(self) -> list[ElementCache]:
        return member_caches(self.opened.run.members, self.opened.store, self.folder / "codes")

    def _scored(self, part: Part) -> Path:
        return self.folder / "scored" / f"{part.name}.parquet"

    def _write(self, result: Path, report: Report) -> None:
        """Write every file of the result."""
        import pyarrow.parquet as pq

        joined, total = 0, len(self.parts) * len(self.request.formats)

        def scored(parts: list[Part]) -> Iterator[Path]:
            nonlocal joined
            for part in parts:
                yield self._scored(part)
                joined += 1
                report("join parts", joined, total)

        parts = {file: list(mine) for file, mine in groupby(self.parts, lambda part: part.file)}
        for name, file in self.plan.outputs.items():
            for format in self.request.formats:
                path = result / f"{name}.{format}"
                if format == "parquet":
                    join_parquet(scored(parts[file]), path)
                    continue
                with open_text(format, path, description=self.plan.description) as write:
                    for part in scored(parts[file]):
                        write(pq.read_table(part))
        with atomic_file(result / "environments.tsv") as temporary:
            write_tsv(self.plan.table, temporary)
        if self.plan.dropped:
            with atomic_file(result / "dropped.tsv") as temporary, temporary.open("wb") as stream:
                stream.write(first_line(list(DROPPED_COLUMNS)))
                for lines in self._dropped():
                    stream.write(lines.read_bytes())
        identity, found = _read(self.folder / BEGUN, Begun).identity, self.plan.changed(parts=())
        write_model(result / RESULT, Finished(episode_version=__version__, identity=identity, found=found))

    def _dropped(self) -> Iterator[Path]:
        for kind in ("dropped", "outside", "support/dropped", "support/outside"):
            yield from sorted((self.folder / kind).rglob("[!.]*.tsv"))


def open_job(request: Request, out: Path, *, resume: bool = False, report: Report | None = None) -> Job:
    """Begin a prediction, or resume it, until its first pass is done.

    Parameters
    ----------
    out : Path
        Folder of the result, new; the work is done in `work_folder(out)`.

    Raises
    ------
    EpisodeError
        If `out` is in use, an unfinished prediction is there and `resume` was not asked for, or it is another.
    """
    out = result_folder(out)
    folder = work_folder(out)
    cache = None if request.cache is None else Path(request.cache)
    for place in (out, folder):
        refuse_shared(place, cache, Path(request.run_folder), *map(Path, request.all_tables))
    refuse_inside(request.all_tables, out)
    if cache is not None:
        refuse_unwritable(cache)
    if out.parent.exists():
        for place in (out, folder):
            remove_leftovers(out.parent, place.name)
    if (folder / LOCK).exists():
        with suppress(FileNotFoundError), locked(folder / LOCK, lambda: _refuse_company(folder)):
            pass
    if not (resume and (out / RESULT).exists()):
        _refuse_others(out, folder, resume)
    genome = None if request.genome is None else open_genome(request.genome)
    identity = request.identity(None if genome is None else genome.sha256)
    if resume and (out / RESULT).exists():
        return _finished(request, out, identity)
    if (folder / BEGUN).exists():
        _check_begun(folder, identity)
    opened = Opened(folder, request, progress=report is not None)
    few = read_labels(request, opened.run, genome)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / LOCK, lambda: _refuse_company(folder)))
        except FileNotFoundError:  # another process has just finished there
            _refuse_company(folder)
        # What was found before may have changed until the lock was had.
        if resume and (out / RESULT).exists():
            return _finished(request, out, identity, held)
        _refuse_others(out, folder, resume)
        if (folder / BEGUN).exists():
            _check_begun(folder, identity)
        with resumable(folder):
            write_model(folder / BEGUN, Begun(identity=identity, order=request))
            if not (folder / "plan.json").exists():
                try:
                    read, survey = read_tables(opened, genome, report or _silent)
                    candidates = read_support(opened, genome, survey, report or _silent)
                except GenomeError:
                    raise
                except EpisodeError:
                    remove_folder(folder, held.close)
                    raise
                try:
                    plan = make_plan(opened, genome, read, survey, candidates, few, report or _silent)
                except InputError:
                    if request.parquet is None:  # read whole, so there is little to keep
                        remove_folder(folder, held.close)
                    raise
                write_model(folder / "plan.json", plan)
            job = Job.load(folder)
            job.make_folders()
            job.remove_damaged()
        return replace(job, held=held.pop_all(), opened=opened)


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Add to an error, where the work folder outlives it, that the work can be resumed.

    Raises
    ------
    EpisodeError
        In place of the error.
    """
    kept = f"what is done so far stays in {folder}; correct this and give --resume to go on"
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
    if (folder / BEGUN).exists():
        if not resume:
            raise EpisodeError(
                f"{folder}: an unfinished prediction is there; resume it by --resume, or remove the folder"
            )
    elif not _empty(folder):
        raise EpisodeError(f"{folder}: is not an unfinished prediction; move it away, or give another --out")


def _empty(folder: Path) -> bool:
    """Nothing is there, or a process that was killed has only just begun."""
    return not folder.exists() or all(path.suffix == ".part" or path.name == LOCK for path in folder.iterdir())


def _check_begun(folder: Path, identity: Identity) -> None:
    """Refuse to resume an unfinished prediction of another identity."""
    check_same(_read(folder / BEGUN, _Identity).identity, identity, folder, planned=(folder / "plan.json").exists())


def _refuse_company(folder: Path) -> None:
    raise EpisodeError(f"{folder}: another process is writing there; wait for it, or give another --out")


def _finished(request: Request, out: Path, identity: Identity, held: ExitStack | None = None) -> Job:
    """Open a prediction that is finished; remove what a kill left of its work."""
    check_same(_read(out / RESULT, _Identity).identity, identity, out)
    plan = _read(out / RESULT, Finished).found
    folder = work_folder(out)
    if (folder / BEGUN).exists() or _empty(folder):
        remove_folder(folder, None if held is None else held.close)
    return Job(folder, request, plan, Opened(folder, request))


class _Identity(Model):
    """What `Begun` and `Finished` of any version have in common."""

    model_config = ConfigDict(extra="ignore")

    identity: Identity


def _read(path: Path, kind: type[M]) -> M:
    """Read a JSON file of a prediction."""
    try:
        return read_model(path, kind, error=EpisodeError)
    except EpisodeError as error:
        raise EpisodeError(
            f"{path}: was not written by a prediction of this version, or is damaged; remove its folder, or give "
            f"another --out\n{error}"
        ) from None


def _silent(what: str, done: int, total: int) -> None:
    """Report nothing."""
