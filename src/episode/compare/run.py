"""A comparison: every method on the same folds, judged by the same numbers on the same draws of blocks.

    OUT/results.json    what was found (see `episode.compare.results`)
    OUT/figures.json    what is drawn of it (see `episode.evaluate.figures`)

This module does not know how any method gets its scores.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.special import logit as log_odds

from episode import __version__
from episode.compare.figures import comparison_figures
from episode.compare.folds import Fold, audit_folds, locus_masks, make_folds, subset_masks
from episode.compare.jobs import Job, JobOutcome, Work, open_work, read_outcome, read_scores, run_jobs
from episode.compare.methods.registry import BAYES, CLAIMS, METHODS, ORACLE, SPECTRUM_CLAIMS, TOLD, RunnerSpec
from episode.compare.protocol import MATCHED, SEEN_LOCI, UNSEEN_LOCI
from episode.compare.results import (
    Audit,
    ComparisonProvenance,
    ComparisonResults,
    EnvironmentResults,
    FoldBudget,
    Intervals,
    MethodResults,
    ProtocolHeader,
)
from episode.data.dataset import Dataset
from episode.errors import EpisodeError
from episode.evaluate.figures import FoldAlarm, RunFigures
from episode.evaluate.summary import Truth, check_truth, true_logit
from episode.metrics.bootstrap import block_ids
from episode.metrics.intervals import MethodScores, summarise_methods
from episode.metrics.metrics import oracle_impedance
from episode.schema import parse_model, write_model
from episode.seeds import generator

__all__ = ["compare"]

TITLES = {
    MATCHED: "as many negatives as positives in each bin of log distance",
    UNSEEN_LOCI: "pairs neither of whose elements overlaps one that training in their fold has seen",
    SEEN_LOCI: "pairs of which some element overlaps one that training in their fold has seen",
}
"""What the subsets are that no protocol describes."""


@dataclass(frozen=True)
class _Table:
    """The scores of every method whose jobs are all done, over the test rows of all folds, and what the jobs left."""

    methods: dict[str, MethodScores]
    outcomes: dict[str, dict[str, list[JobOutcome]]]
    """Of each method and fold, one for each seed."""
    seeds: list[int]
    runs: list[tuple[Job, RunFigures]]


def compare(
    work: Work,
    runners: Sequence[RunnerSpec],
    *,
    seeds: Sequence[int],
    workers: int,
    allow_leakage: bool = False,
    truth: Truth | None = None,
    report: Callable[[str], None],
) -> ComparisonResults:
    """Run the runners that have not run yet, then judge every method that is complete; writes the two files above.

    Parameters
    ----------
    runners : sequence of RunnerSpec
        What to run now; methods of earlier calls stay in the table.
    seeds : sequence of int
        Of the runners that have a use for one; the others run once.
    workers : int
        Processes of one thread each.
    allow_leakage : bool
        Continue with a split that leaks, and mark the results.
    truth : Truth, optional
        Of a simulated world; adds the method `BAYES`.
    report : callable
        Called with a line of progress.

    Raises
    ------
    EpisodeError
        If the split leaks, the folder belongs to another comparison, or a job failed.
    """
    started = datetime.now(UTC)
    dataset = work.dataset()
    folds = make_folds(work.protocol, dataset)
    audit = audit_folds(work.protocol, dataset, folds, allow=allow_leakage)
    tested = np.any([fold.test for fold in folds], axis=0)
    subsets = subset_masks(work.protocol, dataset, tested, seed=work.label_seed) | locus_masks(dataset, folds)
    if truth is not None:
        check_truth(dataset.pairs[tested], truth)
    open_work(work, dataset)
    jobs = [
        Job(runner.name, seed, fold.name)
        for runner in runners
        for seed in (seeds if runner.random else [work.label_seed])
        for fold in folds
    ]
    matched = {runner.name for runner in runners if runner.matched}
    for now in ([job for job in jobs if (job.runner in matched) == later] for later in (False, True)):
        run_jobs(work, dataset, now, workers=workers, report=report)
    report("judge all methods on the same draws of blocks")
    test = np.flatnonzero(tested & (dataset.pairs["label"].to_numpy() >= 0))
    table = _collect(work, dataset, folds, test, truth)
    results = _judge(work, dataset, folds, test, table, audit, subsets, started)
    write_model(work.folder / "results.json", results)
    names = np.full(len(dataset.pairs), "", dtype=object)
    for fold in folds:
        names[fold.test] = fold.name
    figures = comparison_figures(
        label=dataset.pairs["label"].to_numpy()[test],
        environment=dataset.pairs["environment"].to_numpy()[test].astype(str),
        methods={name: (scores.score[0], scores.logit[0]) for name, scores in table.methods.items()},
        runs=[run for _, run in table.runs],
        results=results,
        truth=None if truth is None else truth.environments,
        fold=names[test].astype(str),
    )
    write_model(work.folder / "figures.json", figures)
    return results


def _collect(work: Work, dataset: Dataset, folds: Sequence[Fold], test: np.ndarray, truth: Truth | None) -> _Table:
    """Read every job that is done; a method with a seed whose folds are not all done waits."""
    place = np.full(len(dataset.pairs), -1, dtype=np.int64)
    place[test] = np.arange(len(test))
    found: dict[str, list[np.ndarray]] = {}
    outcomes: dict[str, dict[str, list[JobOutcome]]] = {}
    seeds: set[int] = set()
    runs: list[tuple[Job, RunFigures]] = []
    for folder in sorted((work.folder / "scores").glob("*/seed*")):
        if not folder.name.removeprefix("seed").isdecimal():
            continue
        runner, seed = folder.parent.name, int(folder.name.removeprefix("seed"))
        jobs = [Job(runner, seed, fold.name) for fold in folds]
        if not all(job.path(work.folder, ".json").exists() for job in jobs):
            continue
        seeds.add(seed)
        values: dict[str, np.ndarray] = {}
        for job in jobs:
            path = job.path(work.folder, ".json")
            outcome = read_outcome(path)
            scores = read_scores(work, job, outcome, len(place))
            if runner == "episode":
                where = f"{path}: extras"
                runs.append((job, parse_model(outcome.extras, RunFigures, where=where, error=EpisodeError)))
            for name, part in scores.groupby("name"):
                target = values.setdefault(str(name), np.full((3, len(test)), np.nan))
                index = place[part["row"].to_numpy()]
                known = index >= 0
                target[:, index[known]] = part[["score", "logit", "call"]].to_numpy(np.float64).T[:, known]
                outcomes.setdefault(str(name), {}).setdefault(job.fold, []).append(outcome)
        for name, target in values.items():
            found.setdefault(name, []).append(target)
    methods = {}
    for name, parts in found.items():
        stacked = np.stack(parts, axis=1)
        methods[name] = MethodScores(score=stacked[0], logit=stacked[1], call=stacked[2])
    if "episode.potential" in methods:
        methods[ORACLE.name] = _oracle(dataset, folds, test, methods["episode.potential"], methods["mean_impedance"])
        methods[TOLD.name] = _told(dataset, folds, test, methods["mean_impedance"], runs)
    if truth is not None:
        logit = true_logit(dataset.pairs.iloc[test], truth)[None]
        methods[BAYES.name] = MethodScores(score=logit, logit=logit, call=np.full_like(logit, np.nan))
    return _Table({name: methods[name] for name in METHODS if name in methods}, outcomes, sorted(seeds), runs)


def _budget(by_fold: dict[str, list[JobOutcome]]) -> list[FoldBudget]:
    """Return what each fold of a method took, mean over seeds."""
    budget = []
    for fold, outcomes in by_fold.items():
        drawn = [outcome.pairs_drawn for outcome in outcomes if outcome.pairs_drawn is not None]
        budget.append(
            FoldBudget(
                fold=fold,
                pairs_drawn=round(sum(drawn) / len(drawn)) if drawn else None,
                seconds=sum(outcome.seconds for outcome in outcomes) / len(outcomes),
            )
        )
    return budget


def _told(
    dataset: Dataset,
    folds: Sequence[Fold],
    test: np.ndarray,
    mean: MethodScores,
    runs: Sequence[tuple[Job, RunFigures]],
) -> MethodScores:
    """Move the log-odds of each test environment of each fold from the usual prevalence to its own.

    Where it has one class only, the mean impedance stays.
    """
    label = dataset.pairs["label"].to_numpy()[test]
    environment = dataset.pairs["environment"].to_numpy()[test]
    inside = {fold.name: fold.test[test] for fold in folds}
    seeds = list(dict.fromkeys(job.seed for job, _ in runs))
    logit = mean.logit.copy()
    for job, run in runs:
        for name, usual in (run.prevalence or {}).items():
            here = inside[job.fold] & (environment == name)
            share = label[here].mean() if here.any() else 0.0
            if 0 < share < 1:
                logit[seeds.index(job.seed), here] += log_odds(share) - log_odds(usual)
    return MethodScores(score=logit, logit=logit, call=np.full_like(logit, np.nan))


def _oracle(
    dataset: Dataset, folds: Sequence[Fold], test: np.ndarray, potential: MethodScores, mean: MethodScores
) -> MethodScores:
    """Subtract from U_I / T the impedance that the labels of each environment of each fold call for.

    Where one class only makes it infinite, the mean impedance stays.
    """
    label = dataset.pairs["label"].to_numpy()[test]
    environment = dataset.pairs["environment"].to_numpy()[test]
    logit = mean.logit.copy()
    for fold in folds:
        for name in np.unique(environment[fold.test[test]]):
            here = fold.test[test] & (environment == name)
            for seed in range(len(logit)):
                impedance = oracle_impedance(potential.score[seed, here], label[here], 1.0)
                if impedance is not None:
                    logit[seed, here] = potential.score[seed, here] - impedance
    return MethodScores(score=logit, logit=logit, call=np.full_like(logit, np.nan))


def _known(dataset: Dataset, folds: Sequence[Fold], environment: str) -> bool:
    """Whether labelled pairs of an environment are learned from in a fold that tests it."""
    here = (dataset.pairs["environment"] == environment).to_numpy() & (dataset.pairs["label"] >= 0).to_numpy()
    return any((here & fold.test).any() and (here & fold.learnable).any() for fold in folds)


def _judge(
    work: Work,
    dataset: Dataset,
    folds: Sequence[Fold],
    test: np.ndarray,
    table: _Table,
    audit: Audit,
    subsets: dict[str, np.ndarray],
    started: datetime,
) -> ComparisonResults:
    protocol, pairs = work.protocol, dataset.pairs
    claims = CLAIMS + (SPECTRUM_CLAIMS if work.config.impedance.channels > 1 else ())
    found = summarise_methods(
        label=pairs["label"].to_numpy()[test],
        environment=pairs["environment"].to_numpy()[test].astype(str),
        blocks=block_ids(pairs, protocol.bootstrap.block)[test],
        table=table.methods,
        subsets={name: mask[test] for name, mask in subsets.items()},
        claims=[claim for claim in claims if set(claim) <= set(table.methods)],
        draws=protocol.bootstrap.draws,
        rng=generator(work.label_seed, "blocks"),
    )
    titles = {name: subset.title for name, subset in protocol.subsets.items()} | TITLES
    budgets = {name: _budget(table.outcomes.get(name, {})) for name in table.methods}
    return ComparisonResults(
        format_version=1,
        protocol=ProtocolHeader(
            name=protocol.name,
            title=protocol.title,
            sentence=protocol.sentence,
            subsets={name: titles[name] for name in subsets},
        ),
        methods={
            name: MethodResults(
                **dict(numbers),
                group=METHODS[name].group,
                note=METHODS[name].note,
                seconds=sum(fold.seconds for fold in budgets[name]) if budgets[name] else None,
                budget=budgets[name],
            )
            for name, numbers in found.methods.items()
        },
        environments={
            name: EnvironmentResults(**dict(numbers), known=_known(dataset, folds, name))
            for name, numbers in found.environments.items()
        },
        differences=found.differences,
        intervals=Intervals(
            **dict(found.intervals),
            block_bp=protocol.bootstrap.block,
            unplaced=int((~pairs["has_coordinates"].to_numpy()[test]).sum()),
        ),
        audit=audit,
        alarms=[
            FoldAlarm(fold=job.fold, seed=job.seed, name=alarm.name, text=alarm.text)
            for job, run in table.runs
            for alarm in run.alarms
        ],
        provenance=_provenance(work, dataset, table.seeds, started),
    )


def _provenance(work: Work, dataset: Dataset, seeds: list[int], started: datetime) -> ComparisonProvenance:
    return ComparisonProvenance(
        episode=__version__,
        python=platform.python_version(),
        torch=_version("torch"),
        numpy=_version("numpy"),
        scikit_learn=_version("scikit-learn"),
        lightgbm=_version("lightgbm"),
        started=started.isoformat(timespec="seconds"),
        job_seconds=round(sum(_seconds(work)), 1),
        seeds=seeds,
        sources=[source.changed(path=Path(source.path).name) for source in dataset.manifest.sources],
        genome_sha256=dataset.genome_hash,
        pairs=len(dataset.pairs),
        collapsed=work.collapsed,
        protocol=work.protocol.model_dump(mode="json"),
        config=work.config.model_dump(mode="json"),
    )


def _seconds(work: Work) -> list[float]:
    return [read_outcome(path).seconds for path in sorted((work.folder / "scores").glob("*/seed*/*.json"))]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
