"""A comparison: every row of the table on the same folds, judged by the same numbers on the same draws of blocks.

    OUT/results.json    what the table says (see `episode.metrics.intervals`)
    OUT/figures.json    what is drawn of it (see `episode.evaluate.curves`)

This module does not know how any row gets its scores.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from episode import __version__
from episode.compare.folds import Fold, audit_folds, make_folds, subset_masks
from episode.compare.jobs import Job, Work, open_work, read_scores, run_jobs
from episode.compare.methods.registry import BAYES, ORACLE, FamilySpec, row_group, row_notes, row_order
from episode.compare.protocol import MATCHED
from episode.data.dataset import Dataset
from episode.evaluate.curves import comparison_figures
from episode.evaluate.summary import Truth, check_truth, true_logit
from episode.files import finite, read_json, write_json
from episode.metrics.bootstrap import block_ids
from episode.metrics.intervals import FORMAT_VERSION, RowScores, summarise_rows
from episode.metrics.metrics import oracle_impedance
from episode.seeds import generator

__all__ = ["CLAIMS", "SPECTRUM_CLAIMS", "compare"]

CLAIMS = (
    *(
        ("episode.potential", rival)
        for rival in (
            "ctcf_convergence",
            "ctcf_gbm",
            "motif_gbm",
            "kmer_lr",
            "cross_attention",
            "decoupled",
            "epivan",
            "sept",
            "distance",
            "promoter_degree",
            "opportunist",
        )
    ),
    ("episode_distance", "distance"),
    ("episode_distance", "episode.potential"),
    ("episode.student", "mean_impedance"),
    ("episode.student", "em"),
    ("episode.student", "bbse"),
    ("episode.student", "oracle"),
    ("episode.fused", "episode.student"),
    ("episode.fused", "episode.teacher"),
    ("episode.fused", "mean_impedance"),
    *((f"episode.few_label_{count}", "episode.few_label_0") for count in (8, 32, 128)),
    *(
        ("episode.fused", f"ablation.{name}")
        for name in ("no_competition", "no_distillation", "no_pseudo_ood", "no_prior_shift", "single_pool")
    ),
)
"""Pairs of rows whose difference is given with its paired interval."""

SPECTRUM_CLAIMS = (("episode.student", "episode.potential"), ("episode.fused", "episode.potential"))
"""The same where there are several impedance channels: with one, both rank alike inside an environment."""


@dataclass(frozen=True)
class _Table:
    """The scores of every row whose jobs are all done, over the test rows of all folds."""

    rows: dict[str, RowScores]
    seconds: dict[str, float]
    extras: list[tuple[Job, dict[str, Any]]]


def compare(
    work: Work,
    families: Sequence[FamilySpec],
    *,
    seeds: Sequence[int],
    workers: int,
    allow_leakage: bool = False,
    truth: Truth | None = None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Run the families that have not run yet, then judge every row that is complete; writes the two files above.

    Parameters
    ----------
    work : Work
    families : sequence of FamilySpec
        What to run now; rows of earlier calls stay in the table.
    seeds : sequence of int
        Of the families that have a use for one; the others run once.
    workers : int
        Processes of one thread each.
    allow_leakage : bool
        Go on with a split that leaks, and mark the results.
    truth : Truth, optional
        What a simulator planted; adds the row `BAYES`.
    say : callable
        Called with a line of progress.

    Returns
    -------
    dict
        Content of ``results.json``.

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
    subsets = subset_masks(work.protocol, dataset, tested, seed=work.label_seed)
    if truth is not None:
        check_truth(dataset.pairs[tested], truth)
    open_work(work, dataset)
    jobs = [
        Job(family.name, seed, fold.name)
        for family in families
        for seed in (seeds if family.random else [work.label_seed])
        for fold in folds
    ]
    run_jobs(work, dataset, jobs, workers=workers, say=say)
    say("judge all rows on the same draws of blocks")
    test = np.flatnonzero(tested & (dataset.pairs["label"].to_numpy() >= 0))
    table = _collect(work, dataset, folds, test, truth)
    results = _judge(work, dataset, test, table, audit, subsets)
    for name, entry in results["environments"].items():
        entry["known"] = _known(dataset, folds, name)
    results["alarms"] = [
        {"fold": job.fold, "seed": job.seed, **alarm}
        for job, extras in table.extras
        if job.family == "episode"
        for alarm in extras["alarms"]
    ]
    results["provenance"] = _provenance(work, dataset, table, started)
    write_json(work.folder / "results.json", finite(results))
    names = np.full(len(dataset.pairs), "", dtype=object)
    for fold in folds:
        names[fold.test] = fold.name
    figures = comparison_figures(
        label=dataset.pairs["label"].to_numpy()[test],
        environment=dataset.pairs["environment"].to_numpy()[test].astype(str),
        rows={name: (scores.score[0], scores.logit[0]) for name, scores in table.rows.items()},
        extras=[extras for job, extras in table.extras if job.family == "episode"],
        results=results,
        truth=None if truth is None else truth.environments,
        fold=names[test].astype(str),
    )
    write_json(work.folder / "figures.json", finite(figures))
    return results


def _collect(work: Work, dataset: Dataset, folds: Sequence[Fold], test: np.ndarray, truth: Truth | None) -> _Table:
    """Read every job that is done; a row with a seed whose folds are not all done waits."""
    place = np.full(len(dataset.pairs), -1, dtype=np.int64)
    place[test] = np.arange(len(test))
    found: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, float] = {}
    extras = []
    for folder in sorted((work.folder / "scores").glob("*/seed*")):
        family, seed = folder.parent.name, int(folder.name.removeprefix("seed"))
        jobs = [Job(family, seed, fold.name) for fold in folds]
        if not all(job.path(work.folder, ".json").exists() for job in jobs):
            continue
        values: dict[str, np.ndarray] = {}
        for job in jobs:
            scores, words = read_scores(work, job)
            extras.append((job, words["extras"]))
            for name, part in scores.groupby("name"):
                target = values.setdefault(str(name), np.full((3, len(test)), np.nan))
                index = place[part["row"].to_numpy()]
                known = index >= 0
                target[:, index[known]] = part[["score", "logit", "call"]].to_numpy(np.float64).T[:, known]
                seconds[str(name)] = seconds.get(str(name), 0.0) + words["seconds"]
        for name, target in values.items():
            found.setdefault(name, []).append(target)
    rows = {}
    for name, parts in found.items():
        stacked = np.stack(parts, axis=1)
        rows[name] = RowScores(score=stacked[0], logit=stacked[1], call=stacked[2])
        seconds[name] /= len(parts)
    if "episode.potential" in rows:
        rows[ORACLE] = _oracle(dataset, folds, test, rows["episode.potential"], rows["mean_impedance"])
    if truth is not None:
        logit = true_logit(dataset.pairs.iloc[test], truth)[None]
        rows[BAYES] = RowScores(score=logit, logit=logit, call=np.full_like(logit, np.nan))
    return _Table({name: rows[name] for name in row_order() if name in rows}, seconds, extras)


def _oracle(
    dataset: Dataset, folds: Sequence[Fold], test: np.ndarray, potential: RowScores, mean: RowScores
) -> RowScores:
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
    return RowScores(score=logit, logit=logit, call=np.full_like(logit, np.nan))


def _known(dataset: Dataset, folds: Sequence[Fold], environment: str) -> bool:
    """Whether labelled pairs of an environment are learned from in a fold that tests it."""
    here = (dataset.pairs["environment"] == environment).to_numpy() & (dataset.pairs["label"] >= 0).to_numpy()
    return any((here & fold.test).any() and (here & fold.learnable).any() for fold in folds)


def _judge(
    work: Work,
    dataset: Dataset,
    test: np.ndarray,
    table: _Table,
    audit: dict[str, Any],
    subsets: dict[str, np.ndarray],
) -> dict[str, Any]:
    protocol, pairs = work.protocol, dataset.pairs
    claims = CLAIMS + (SPECTRUM_CLAIMS if work.config.impedance.channels > 1 else ())
    content = summarise_rows(
        label=pairs["label"].to_numpy()[test],
        environment=pairs["environment"].to_numpy()[test].astype(str),
        blocks=block_ids(pairs, protocol.bootstrap.block)[test],
        table=table.rows,
        subsets={name: mask[test] for name, mask in subsets.items()},
        claims=[claim for claim in claims if set(claim) <= set(table.rows)],
        draws=protocol.bootstrap.draws,
        rng=generator(work.label_seed, "blocks"),
    )
    content["intervals"]["block_bp"] = protocol.bootstrap.block
    content["intervals"]["unplaced"] = int((~pairs["has_coordinates"].to_numpy()[test]).sum())
    notes = row_notes()
    for name, entry in content["rows"].items():
        entry["group"] = row_group(name)
        entry["note"] = notes.get(name, "")
        entry["seconds"] = table.seconds.get(name)
    titles = {name: subset.title for name, subset in protocol.subsets.items()}
    if protocol.distance_matched.bins:
        titles[MATCHED] = "as many negatives as positives in each bin of log distance"
    return {
        "format_version": FORMAT_VERSION,
        "protocol": {
            "name": protocol.name,
            "title": protocol.title,
            "sentence": protocol.sentence,
            "subsets": titles,
        },
        **content,
        "audit": audit,
    }


def _provenance(work: Work, dataset: Dataset, table: _Table, started: datetime) -> dict[str, Any]:
    seeds = sorted({job.seed for job, _ in table.extras})
    return {
        "episode": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "numpy", "scikit-learn", "lightgbm")},
        "started": started.isoformat(timespec="seconds"),
        "job_seconds": round(sum(_seconds(work)), 1),
        "seeds": seeds,
        "sources": [asdict(source) | {"path": Path(source.path).name} for source in dataset.manifest.sources],
        "genome SHA-256": dataset.genome_hash,
        "pairs": len(dataset.pairs),
        "collapsed to genes": work.collapsed,
        "protocol": work.protocol.model_dump(),
        "config": work.config.model_dump(),
    }


def _seconds(work: Work) -> list[float]:
    return [float(read_json(path)["seconds"]) for path in sorted((work.folder / "scores").glob("*/seed*/*.json"))]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
