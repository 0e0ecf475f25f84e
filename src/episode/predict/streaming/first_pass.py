"""The first pass of a prediction: tables to staged parts, distinct elements, support sets, one estimate an environment.

Does not score pairs. Each step goes on where an interruption stopped it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from episode.checkpoint import Run
from episode.data.build import build_dataset, check_group
from episode.data.dataset import Dataset
from episode.data.genome import Genome
from episode.data.readers.text import fail
from episode.data.sequences import genome_hint
from episode.encode.store import ElementStore, build_store
from episode.errors import SHOWN, EpisodeError, GenomeError, InputError, Problem
from episode.files import finite
from episode.inference.pairs import pair_rows
from episode.predict.impedance import EnvironmentEstimate, estimate_environment, refine_with_labels
from episode.predict.pairs import EnvironmentFacts, environment_frame, missing_distance, other_genome
from episode.predict.request import Order
from episode.predict.streaming.blocks import Part, Staging, parquet_files, plan_parts, stage_dataset, write_lines
from episode.predict.streaming.elements import CATALOGUE, Catalogue, collect_elements, write_elements
from episode.predict.streaming.summary import Survey

__all__ = ["Plan", "Report", "make_plan", "open_store", "read_labels", "read_tables"]

Report = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is (0: not known)."""


@dataclass(frozen=True)
class Plan:
    """What the first pass found.

    Parameters
    ----------
    parts : tuple of Part
    outputs : dict of str to int
        Name of each result, without its ending, and the file of the parts that it is made of.
    environments : tuple of EnvironmentFacts
        Sorted by name, as `estimates`.
    estimates : tuple of EnvironmentEstimate
    pairs, dropped, merged, unplaced : int
        Pairs to score, rows left out, rows merged into an earlier one, pairs without coordinates.
    genome_warning, distance_warning : str or None
        See `episode.predict.pairs`.
    """

    parts: tuple[Part, ...]
    outputs: dict[str, int]
    environments: tuple[EnvironmentFacts, ...]
    estimates: tuple[EnvironmentEstimate, ...]
    pairs: int
    dropped: int
    merged: int
    unplaced: int
    genome_warning: str | None
    distance_warning: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        content: dict[str, Any] = finite(asdict(self) | {"parts": [list(asdict(part).values()) for part in self.parts]})
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Plan:
        """Rebuild what `to_dict` gave."""
        return cls(
            **content
            | {
                "parts": tuple(Part(*part) for part in content["parts"]),
                "environments": tuple(EnvironmentFacts(**facts) for facts in content["environments"]),
                "estimates": tuple(_estimate(estimate) for estimate in content["estimates"]),
            }
        )

    @property
    def table(self) -> pd.DataFrame:
        """Environments, one row each."""
        return environment_frame(self.environments, self.estimates)


def _estimate(content: dict[str, Any]) -> EnvironmentEstimate:
    def restore(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(restore(item) for item in value)
        return math.nan if value is None else value

    return EnvironmentEstimate(**{field.name: restore(content[field.name]) for field in fields(EnvironmentEstimate)})


@dataclass(frozen=True)
class Tables:
    """Tables that are read, checked and surveyed.

    Parameters
    ----------
    read : Read
    catalogue : Catalogue
    survey : Survey
    """

    read: Read
    catalogue: Catalogue
    survey: Survey


def read_labels(order: Order, run: Run, genome: Genome | None) -> Dataset | None:
    """Read the labels that refine the estimates; rows without one are left out.

    Raises
    ------
    InputError
        If there is none.
    """
    if order.support_labels is None:
        return None
    few = _dataset(order, run, genome, [order.support_labels], labels=True)
    labelled = (few.pairs["label"] >= 0).to_numpy()
    if not labelled.any():
        raise _no_labels(order, "" if order.only is None else f" of {order.only}")
    return few.select(labelled)


def read_tables(folder: Path, order: Order, run: Run, genome: Genome | None, report: Report) -> Tables:
    """Do all of the first pass that can find a fault in what the user gave.

    Raises
    ------
    InputError
        With the problems of reading and of placing on the genome together.
    EpisodeError
        If an option does not fit the tables.
    """
    files = parquet_files(order.tables, order.format)
    if files is None:
        read = _read_whole(folder, order, run, genome)
    else:
        read = _read_blocks(folder, order, run, genome, files, report)
    survey = Survey(run.facts.config.episodes.support_max, order.seed)
    catalogue = Catalogue.load(folder)
    for done, _ in enumerate(survey.run(folder, read.parts, catalogue, read.files, genome), start=1):
        report("survey blocks", done, len(read.parts))
    read.check(survey, catalogue, order, genome)
    return Tables(read, catalogue, survey)


def make_plan(
    folder: Path,
    order: Order,
    run: Run,
    genome: Genome | None,
    tables: Tables,
    few: Dataset | None,
    report: Report,
    *,
    progress: bool = False,
) -> Plan:
    """Encode the elements and estimate every environment; `few` is what `read_labels` found.

    Raises
    ------
    InputError
        If no label is of an environment that is predicted.
    """
    read, catalogue, survey = tables.read, tables.catalogue, tables.survey
    if few is not None and not few.pairs["environment"].isin(list(survey.environments)).any():
        raise _no_labels(order, f" of {', '.join(sorted(survey.environments))}")
    store = open_store(folder, order, run, catalogue, progress=progress)
    few_store = None if few is None else build_store(few, run.bank, run.facts.config.stem)
    estimates = []
    for name, rows in survey.supports(catalogue.elements).items():
        estimate = estimate_environment(run, store, rows, name, seed=order.seed)
        if few is not None and few_store is not None:
            mine = few.select(few.pairs["environment"] == name)
            estimate = refine_with_labels(run, estimate, few_store, pair_rows(mine))
        estimates.append(estimate)
        report("estimate environments", len(estimates), len(survey.draws))
    pairs = sum(facts.n for facts in survey.environments.values())
    return Plan(
        parts=read.parts,
        outputs=read.outputs,
        environments=tuple(survey.environments[name] for name in sorted(survey.environments)),
        estimates=tuple(estimates),
        pairs=pairs,
        dropped=read.dropped + survey.outside,
        merged=read.merged,
        unplaced=survey.unplaced,
        genome_warning=other_genome(run, genome.sha256 if genome is not None and catalogue.from_genome else None),
        distance_warning=missing_distance(run, survey.undistanced, pairs),
    )


def open_store(folder: Path, order: Order, run: Run, catalogue: Catalogue, *, progress: bool = False) -> ElementStore:
    """Encode the elements of a job, or open them; `progress` shows a bar on standard error."""
    cache = folder / "store" if order.cache is None else Path(order.cache)
    if order.cache is None:
        cache.mkdir(exist_ok=True)  # not its parents: where the job is finished, nothing of it comes back
    elements = Elements(catalogue.elements, catalogue.codes)
    return build_store(elements, run.bank, run.facts.config.stem, cache, progress=progress)


@dataclass(frozen=True)
class Elements:
    """What a store needs of elements."""

    elements: pd.DataFrame
    codes: np.ndarray


@dataclass(frozen=True)
class Read:
    """Tables that are staged; see `Plan`. `problems` are the first of so many `broken` rows."""

    parts: tuple[Part, ...]
    files: Sequence[str]
    outputs: dict[str, int]
    dropped: int
    merged: int
    problems: tuple[Problem, ...] = ()
    broken: int = 0

    def check(self, survey: Survey, catalogue: Catalogue, order: Order, genome: Genome | None) -> None:
        """Raise what is wrong with rows, and with their place on the genome, together."""
        drop = order.on_invalid == "drop" or order.outside_genome == "report"
        wrong, total = [], 0
        if order.on_invalid == "error":
            wrong, total = list(self.problems), self.broken
        outside = survey.outside > 0 and (not drop or not survey.environments)
        if outside:
            wrong, total = [*wrong, *survey.problems], total + survey.outside
        if total:
            table = catalogue.table
            hint = genome_hint(table["chrom"], table["given_end"], genome) if outside else None
            raise InputError(wrong[:SHOWN], hint, total)


def _read_whole(folder: Path, order: Order, run: Run, genome: Genome | None) -> Read:
    """Read tables of text formats at once."""
    dataset = _dataset(order, run, genome, list(order.tables), labels=False)
    parts = stage_dataset(folder, dataset.pairs)
    write_elements(folder, dataset)
    if len(dataset.dropped):
        write_lines(dataset.dropped, folder / "dropped" / "all.tsv")
    merged = dataset.manifest["counts"]["merged_duplicates"]
    files = [source["path"] for source in dataset.manifest["sources"]]
    return Read(parts, files, {"predictions": 0}, len(dataset.dropped), merged)


def _read_blocks(folder: Path, order: Order, run: Run, genome: Genome | None, files: list[str], report: Report) -> Read:
    """Read Parquet files block by block."""
    parts = plan_parts(files)
    outputs = _outputs(order.tables, files)
    total = sum(part.rows for part in parts)
    staging = Staging(
        folder,
        files,
        order.cell_line,
        order.assay,
        order.only,
        drop=order.on_invalid == "drop",
        genome=genome is not None,
    )
    problems: list[Problem] = []
    broken = dropped = kept = read = 0
    names: set[str] = set()
    for part, facts in staging.run(parts):
        problems += facts.problems[: SHOWN - len(problems)]
        broken, dropped, kept = broken + facts.broken, dropped + facts.dropped, kept + facts.kept
        names.update(facts.cell_lines)
        read += part.rows
        report("read pairs", read, total)
    if broken and (order.on_invalid == "error" and genome is None):
        raise InputError(problems, total=broken)
    if not kept and broken:
        raise InputError(problems, "no row is left" if order.on_invalid == "drop" else None, broken)
    if order.only is not None:
        _check_cell_line(order, names)
    if not (folder / CATALOGUE).exists():
        for done in collect_elements(folder, parts, genome, run.facts.windows):
            report("read elements", done, 0)
    return Read(parts, files, outputs, dropped, 0, tuple(problems), broken)


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


def _check_cell_line(order: Order, names: set[str]) -> None:
    try:
        check_group(str(order.only), names)
    except EpisodeError as error:
        raise EpisodeError(f"{', '.join(order.tables)}: {error}") from None


def _dataset(order: Order, run: Run, genome: Genome | None, tables: list[str], *, labels: bool) -> Dataset:
    """Read tables at once, keeping the cell line and assay asked for."""
    try:
        return build_dataset(
            tables,
            genome,
            run.facts.windows,
            format=order.format,
            cell_line=order.cell_line,
            assay=order.assay,
            on_invalid=order.on_invalid,
            outside_genome=order.outside_genome,
            labels=labels,
            only=order.only,
        )
    except (InputError, GenomeError):
        raise
    except EpisodeError as error:
        if str(error).startswith(tuple(tables)):
            raise
        raise EpisodeError(f"{', '.join(tables)}: {error}") from None


def _no_labels(order: Order, wanted: str) -> InputError:
    need = f"has no pair{wanted} with a label 0 or 1; needed labelled pairs of what is predicted"
    return fail(str(order.support_labels), need)
