"""The first pass of a prediction: tables to staged parts, distinct elements, support sets, one estimate an environment.

Does not score pairs. Each step resumes where an interruption stopped it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from episode.checkpoint import Alarm, Run, load_run
from episode.data.build import build_dataset, check_group
from episode.data.dataset import Dataset
from episode.data.genome import Genome
from episode.data.outside import genome_hint, mostly_outside
from episode.data.readers.content import fail
from episode.encode.store import ElementStore, build_store
from episode.errors import EpisodeError, GenomeError, InputError, Problem, group_problems
from episode.predict.alarms import alarm_names
from episode.predict.impedance import EnvironmentEstimate, estimate_environment
from episode.predict.pairs import EnvironmentFacts, distance_warning, environment_frame, genome_warning
from episode.predict.request import Request
from episode.predict.streaming.blocks import Part, Staging, plan_parts, stage_dataset, write_lines
from episode.predict.streaming.elements import CATALOGUE, Catalogue, collect_elements, write_elements
from episode.predict.streaming.summary import Survey
from episode.predict.student import Prevalence, support_size
from episode.schema import Model

__all__ = ["Opened", "Plan", "Report", "make_plan", "read_labels", "read_support", "read_tables"]

NAMED = 3
"""Most environments that a track names."""
Report = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is (0: not known)."""


class Plan(Model):
    """What the first pass found: `plan.json`."""

    parts: tuple[Part, ...]
    outputs: dict[str, int]
    """Name of each result, without its ending, and the file of the parts that it is made of."""
    environments: tuple[EnvironmentFacts, ...]
    """Sorted by name, as `estimates`."""
    estimates: tuple[EnvironmentEstimate, ...]
    pairs: int
    """Pairs to score."""
    dropped: int
    """Rows left out, of the support table too."""
    unplaced: int
    """Pairs without coordinates."""
    genome_warning: str | None
    distance_warning: str | None
    alarms: tuple[Alarm, ...] = ()
    """Of the run."""

    @property
    def table(self) -> pd.DataFrame:
        """Environments, one row each."""
        return environment_frame(self.environments, self.estimates, self.alarms)

    @property
    def description(self) -> str:
        """What a track of the result says of itself."""
        names = ", ".join(estimate.environment for estimate in self.estimates[:NAMED])
        more = f" and {len(self.estimates) - NAMED} more" if len(self.estimates) > NAMED else ""
        raised = ", ".join(alarm_names(self.alarms))
        alarms = f"ALARMS: {raised}; " if raised else ""
        return f"{alarms}predicted enhancer-promoter interactions: {names}{more}"


class Opened:
    """What a job reads besides its parts: the run, the elements and their tokens, each opened once, when asked for.

    Parameters
    ----------
    progress : bool
        Show a bar on standard error while elements are encoded.
    run : Run, optional
        If it is open already.
    """

    def __init__(self, folder: Path, request: Request, *, progress: bool = False, run: Run | None = None) -> None:
        self.folder, self.request, self.progress = folder, request, progress
        if run is not None:
            self.run = run

    @cached_property
    def run(self) -> Run:
        """The trained run."""
        return load_run(Path(self.request.run_folder))

    @cached_property
    def catalogue(self) -> Catalogue:
        """Every distinct element; written by `read_tables`."""
        return Catalogue.load(self.folder)

    @cached_property
    def store(self) -> ElementStore:
        """The usable elements, encoded."""
        cache = self.folder / "store" if self.request.cache is None else Path(self.request.cache)
        if self.request.cache is None:
            cache.mkdir(exist_ok=True)  # not its parents: where the job is finished, nothing of it comes back
        return build_store(self.catalogue, self.run.bank, self.run.facts.config.stem, cache, progress=self.progress)

    def close(self) -> None:
        """Close what is open in the folder."""
        for name in ("catalogue", "store"):
            self.__dict__.pop(name, None)


def read_labels(request: Request, run: Run, genome: Genome | None) -> Dataset | None:
    """Read the labels that refine the estimates; rows without one are left out.

    Raises
    ------
    InputError
        If there is none.
    """
    if request.support_labels is None:
        return None
    few = _dataset(request, run, genome, [request.support_labels], labels=True)
    labelled = (few.pairs["label"] >= 0).to_numpy()
    if not labelled.any():
        raise _no_labels(request, "" if request.only is None else f" of {request.only}")
    return few.select(labelled)


def read_tables(opened: Opened, genome: Genome | None, report: Report) -> tuple[Read, Survey]:
    """Do all of the first pass that can find a problem in what the user gave.

    Raises
    ------
    InputError
        With the problems of reading and of placing on the genome together.
    EpisodeError
        If an option does not fit the tables.
    """
    request = opened.request
    if request.parquet is None:
        read = _read_whole(opened, genome)
    else:
        read = _read_blocks(opened, genome, request.parquet, report)
    survey = Survey(support_size(opened.run), request.seed)
    for done, _ in enumerate(survey.run(opened.folder, read.parts, opened.catalogue, read.files, genome), start=1):
        report("survey blocks", done, len(read.parts))
    read.check(survey, opened.catalogue, request, genome)
    return read, survey


def read_support(opened: Opened, genome: Genome | None, survey: Survey, report: Report) -> Candidates | None:
    """Read the table of candidates that are not scored, as if it were what is predicted.

    Raises
    ------
    InputError, EpisodeError
        As `read_tables`, or if it has no pair of an environment that is predicted.
    """
    request = opened.request
    if request.support is None:
        return None
    cache = request.cache or str(opened.folder / "store")
    asked = replace(request, tables=(request.support,), support=None, cache=cache)
    candidates = Opened(opened.folder / "support", asked, progress=opened.progress, run=opened.run)
    read, found = read_tables(candidates, genome, report)
    missing = sorted(set(survey.environments) - set(found.environments))
    if missing:
        need = f"has no pair of {', '.join(missing)}; needs candidates of every cell line that is predicted"
        raise fail(request.support, need)
    return Candidates(candidates, read.dropped + found.outside, found)


def make_plan(
    opened: Opened,
    genome: Genome | None,
    read: Read,
    survey: Survey,
    candidates: Candidates | None,
    few: Dataset | None,
    report: Report,
) -> Plan:
    """Encode the elements and estimate every environment.

    Parameters
    ----------
    candidates, few
        What `read_support` and `read_labels` found.

    Raises
    ------
    InputError
        If no label is of an environment that is predicted.
    """
    run, request = opened.run, opened.request
    if few is not None and not few.pairs["environment"].isin(list(survey.environments)).any():
        raise _no_labels(request, f" of {', '.join(sorted(survey.environments))}")
    labelled = None if few is None else (few, build_store(few, run.bank, run.facts.config.stem))
    store = opened.store  # what is scored is encoded before anyone scores
    drawn = candidates or Candidates(opened, 0, survey)
    if candidates is not None:
        store = candidates.opened.store
    elements = drawn.opened.catalogue.elements
    digests = [text.encode() for text in elements["digest"]]
    supports = drawn.survey.supports(elements)
    told = None if request.prevalence is None else Prevalence(request.prevalence, request.prevalence_sd)
    sources = [store] * len(run.members)
    estimates = []
    for name in sorted(survey.environments):
        rows = supports[name]
        view = None if run.student is None else run.student.view(elements, digests, rows)
        estimates.append(
            estimate_environment(run, sources, rows, name, seed=request.seed, view=view, told=told, labelled=labelled)
        )
        report("estimate environments", len(estimates), len(survey.environments))
    pairs = sum(facts.n for facts in survey.environments.values())
    reasons = read.outside or survey.reasons
    elsewhere = mostly_outside(reasons, pairs + sum(reasons.values()), genome)
    from_genome = opened.catalogue.from_genome or drawn.opened.catalogue.from_genome
    read_from = genome.sha256 if genome is not None and from_genome else None
    return Plan(
        parts=read.parts,
        outputs=read.outputs,
        environments=tuple(survey.environments[name] for name in sorted(survey.environments)),
        estimates=tuple(estimates),
        pairs=pairs,
        dropped=read.dropped + survey.outside + drawn.dropped,
        unplaced=survey.unplaced,
        genome_warning="; ".join(filter(None, (genome_warning(run, read_from), elsewhere))) or None,
        distance_warning=distance_warning(run, survey.undistanced, pairs),
        alarms=run.alarms,
    )


@dataclass(frozen=True)
class Candidates:
    """What support sets are drawn from: where it is staged, number of rows left out of it, and what it holds."""

    opened: Opened
    dropped: int
    survey: Survey


@dataclass(frozen=True)
class Read:
    """Tables that are staged; see `Plan`.

    `broken` is how often a row breaks a rule, `problems` which; `outside` counts the rows left out for their place.
    """

    parts: tuple[Part, ...]
    files: Sequence[str]
    outputs: dict[str, int]
    dropped: int
    problems: tuple[Problem, ...] = ()
    broken: int = 0
    outside: Mapping[str, int] = field(default_factory=dict)

    def check(self, survey: Survey, catalogue: Catalogue, request: Request, genome: Genome | None) -> None:
        """Raise what is wrong with rows, and with their place on the genome, together."""
        drop = request.on_invalid == "drop" or request.outside_genome == "report"
        wrong, total = [], 0
        if request.on_invalid == "error":
            wrong, total = list(self.problems), self.broken
        outside = survey.outside > 0 and (not drop or not survey.environments)
        if outside:
            wrong, total = [*wrong, *survey.problems], total + survey.outside
        if total:
            table = catalogue.table
            pairs = survey.outside + sum(facts.n for facts in survey.environments.values())
            chrom, end = table["chrom"], table["given_end"]
            hint = genome_hint(chrom, end, genome, survey.reasons, pairs) if outside else None
            raise InputError(wrong, hint, total)


def _read_whole(opened: Opened, genome: Genome | None) -> Read:
    """Read tables of text formats at once."""
    folder, request = opened.folder, opened.request
    dataset = _dataset(request, opened.run, genome, list(request.tables), labels=False)
    parts = stage_dataset(folder, dataset.pairs)
    write_elements(folder, dataset)
    if len(dataset.dropped):
        write_lines(dataset.dropped, folder / "dropped" / "all.tsv")
    files = [source.path for source in dataset.manifest.sources]
    outside = dataset.manifest.counts.outside_genome
    return Read(parts, files, {"predictions": 0}, len(dataset.dropped), outside=outside)


def _read_blocks(opened: Opened, genome: Genome | None, files: list[str], report: Report) -> Read:
    """Read Parquet files block by block."""
    folder, request = opened.folder, opened.request
    reading = request.reading_pairs
    parts = plan_parts(files, reading.columns)
    outputs = _outputs(request.tables, files)
    total = sum(part.rows for part in parts)
    staging = Staging(folder, files, reading, request.only, genome=genome is not None)
    problems: list[Problem] = []
    broken = dropped = kept = read = 0
    names: set[str] = set()
    for part, facts in staging.run(parts):
        problems = group_problems([*problems, *facts.problems])
        broken, dropped, kept = broken + facts.broken, dropped + facts.dropped, kept + facts.kept
        names.update(facts.cell_lines)
        read += part.rows
        report("read pairs", read, total)
    if broken and (request.on_invalid == "error" and genome is None):
        raise InputError(problems, total=broken)
    if not kept and broken:
        raise InputError(problems, "no row is left" if request.on_invalid == "drop" else None, broken)
    if request.only is not None:
        with _naming(request.tables):
            check_group(request.only, names)
    if not (folder / CATALOGUE).exists():
        for done in collect_elements(folder, parts, genome, opened.run.facts.windows, request.max_unknown):
            report("read elements", done, 0)
    return Read(parts, files, outputs, dropped, tuple(problems), broken)


def _outputs(tables: Sequence[str], files: list[str]) -> dict[str, int]:
    """Name the result of each Parquet file: one file alone is `predictions`, others keep their names."""
    if len(files) == 1 and not Path(tables[0]).is_dir():
        return {"predictions": 0}
    outputs: dict[str, int] = {}
    for number, file in enumerate(files):
        name = f"predictions/{Path(file).stem}"
        if name in outputs:
            other = files[outputs[name]]
            raise fail(file, f"has the file name of {other}, so both would be {name}.parquet; needs names that differ")
        outputs[name] = number
    return outputs


@contextmanager
def _naming(tables: Sequence[str]) -> Iterator[None]:
    """Have an error that concerns tables as a whole name them."""
    try:
        yield
    except (InputError, GenomeError):
        raise
    except EpisodeError as error:
        if str(error).startswith(tuple(tables)):
            raise
        raise EpisodeError(f"{', '.join(tables)}: {error}") from None


def _dataset(request: Request, run: Run, genome: Genome | None, tables: list[str], *, labels: bool) -> Dataset:
    """Read tables at once, keeping the cell line and assay asked for."""
    with _naming(tables):
        reading = request.reading if labels else request.reading_pairs
        return build_dataset(tables, genome, run.facts.windows, reading, labels=labels, only=request.only)


def _no_labels(request: Request, wanted: str) -> InputError:
    need = f"has no pair{wanted} with a label 0 or 1; needed labelled pairs of what is predicted"
    return fail(str(request.support_labels), need)
