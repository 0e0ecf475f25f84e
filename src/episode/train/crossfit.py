"""Cross-fitting: members that each leave a group of training cell lines out, so that every line is unseen once.

    RUN/members/bank.json   the motif bank of all members
    RUN/members/g0s0/       the run folder of the member of group 0, seed 0

Each member is trained by `episode.train.loop.train` on the other lines, less a block of loci. What the members of a
group say of its lines calibrates their mean, and the closed-form Student is fitted on it. Members are independent: the
same command may run in several processes, each of which takes the next member that nobody holds. Knows nothing about
how a step is made.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from episode import __version__
from episode.checkpoint import (
    MEMBERS,
    Alarm,
    Alarms,
    DataIdentity,
    MemberFacts,
    Provenance,
    RoleNames,
    Run,
    RunFacts,
    load_run,
    load_unseen,
    save_members_bank,
    save_run,
)
from episode.config import Config, CrossfitConfig
from episode.data.dataset import Dataset
from episode.data.places import Places
from episode.data.splits import held_out_part
from episode.encode.store import ElementStore
from episode.episodes.roles import BUFFER, SPAN, environment_pools
from episode.errors import EpisodeError, FolderInUse
from episode.files import locked, refuse_unwritable
from episode.inference.closed_form import View
from episode.inference.composition import Composition
from episode.inference.members import Member
from episode.inference.scoring import LiveScorer
from episode.metrics.metrics import average_precision
from episode.schema import write_model
from episode.seeds import derive_seed
from episode.train.data import TrainingData, gather_data
from episode.train.diagnostics import CompetitionTotals, training_alarms
from episode.train.distributed import Processes
from episode.train.finalize import TrainingResult
from episode.train.loop import train as train_member
from episode.train.state import check_same_run
from episode.train.student_fit import averaging_factor
from episode.train.student_records import LineScores
from episode.train.unseen import FittedStudent, drawn, fit_student, level_of, line_scores
from episode.train.validation import mean_of_known, or_nan

__all__ = ["Group", "applied_config", "make_groups", "train"]

ONE_LINE = "one cell line to train on: nothing is left out (crossfit.groups)"
WAIT = 2.0
"""Seconds between two looks at members that other processes train."""


@dataclass(frozen=True)
class Group:
    """Training cell lines that are left out together, and the loci left out with them.

    Parameters
    ----------
    lines : tuple of str
        Sorted.
    learned, block : bool array, shape (n_pairs,)
        Rows that the members of the group learn from, and those of their held-out loci: of the other lines.
    known_loci, new_loci : bool array, shape (n_pairs,)
        Rows of the group's own lines, at loci that its members have learned and at those held out.
    """

    lines: tuple[str, ...]
    learned: np.ndarray
    block: np.ndarray
    known_loci: np.ndarray
    new_loci: np.ndarray


def make_groups(pairs: pd.DataFrame, config: CrossfitConfig, seed: int) -> list[Group]:
    """Divide the training cell lines in groups of about as many labelled pairs, each with a block of loci of its own.

    Blocks are cut from every chromosome, `BUFFER` away from what is learned, `SPAN` of a chromosome at most.

    Parameters
    ----------
    pairs : DataFrame
        Pair table of a dataset, of two cell lines at least; rows of split "test" take no part.

    Returns
    -------
    list of Group
        At most `config.groups`; one for each line where there are fewer lines.
    """
    line, label = pairs["cell_line"].to_numpy(), pairs["label"].to_numpy()
    used = (pairs["split"] != "test").to_numpy()
    size = {str(name): int((used & (line == name) & (label >= 0)).sum()) for name in np.unique(line[used])}
    count = min(config.groups, len(size))
    members: list[list[str]] = [[] for _ in range(count)]
    for name in sorted(size, key=lambda name: (-size[name], name)):
        min(members, key=lambda lines: (sum(size[one] for one in lines), members.index(lines))).append(name)
    groups = []
    for number, lines in enumerate(members):
        at = number / (count - 1)
        block, near = held_out_part(pairs, used, share=config.loci, gap=BUFFER, seed=seed, at=at, span=SPAN)
        own = np.isin(line, lines)
        clear = used & ~block & ~near
        groups.append(Group(tuple(sorted(lines)), clear & ~own, block & ~own, clear & own, block & own))
    return groups


def applied_config(dataset: Dataset, config: Config) -> Config:
    """Configuration of the run that `train` makes: without cross-fitting where fewer than two cell lines train."""
    lines = dataset.pairs.loc[dataset.pairs["split"] != "test", "cell_line"].nunique()
    return config if lines > 1 else config.changed(crossfit=config.crossfit.changed(groups=0))


def train(
    dataset: Dataset,
    config: Config,
    *,
    seed: int,
    folder: Path,
    cache: Path | None = None,
    store: ElementStore | None = None,
    resume: bool = False,
    report: Callable[[int, int, str], None] | None = None,
    processes: Processes | None = None,
) -> TrainingResult:
    """Train as the configuration says, cross-fitted or not, and write a run folder.

    Parameters are those of `episode.train.loop.train`; `report` counts the steps of all members. With fewer than two
    training cell lines nothing can be left out: then a single member is trained, and the result has a note.

    Raises
    ------
    EpisodeError
        If the folder is in use or holds another training run, the data cannot train, or training diverged.
    """
    applied = applied_config(dataset, config)
    if not applied.crossfit.groups:
        result = train_member(
            dataset,
            applied,
            seed=seed,
            folder=folder,
            cache=cache,
            store=store,
            resume=resume,
            report=report,
            processes=processes,
        )
        return result if applied == config else replace(result, notes=(*result.notes, ONE_LINE))
    processes = processes or Processes.alone(config.training)
    data = processes.lead_first(lambda: gather_data(dataset, config, seed, cache=cache, store=store))
    groups = make_groups(dataset.pairs, config.crossfit, seed)
    if processes.ask_lead(lambda: _open(folder, data, resume=resume)):
        return _finished(folder, data)
    _train_members(dataset, data, groups, folder, report, processes)
    return processes.ask_lead(lambda: _close(dataset, data, groups, folder))


def _open(folder: Path, data: TrainingData, *, resume: bool) -> bool:
    """Make the folder ready for members; return whether the run in it is finished.

    Raises
    ------
    EpisodeError
        If it holds something else, members with other motifs, or a training run and `resume` was not asked for.
    """
    refuse_unwritable(folder)
    finished = (folder / "run.json").exists()
    content = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    begun = finished or (folder / MEMBERS).is_dir()
    if content and not begun:
        raise EpisodeError(f"{folder}: {content[0]} is in the way; give a new folder or remove it first")
    if content and not resume:
        raise EpisodeError(f"{folder}: exists already and is not empty; resume it with --resume, or remove it first")
    if not finished:
        save_members_bank(folder, data.bank)
    return finished


def _train_members(
    dataset: Dataset,
    data: TrainingData,
    groups: Sequence[Group],
    folder: Path,
    report: Callable[[int, int, str], None] | None,
    processes: Processes,
) -> None:
    """Train every member that is not finished; those that other processes hold are waited for."""
    config = data.config.changed(
        environment=data.config.environment.changed(student="network"),
        training=data.config.training.changed(keep="last"),
        episodes=data.config.episodes.changed(validation_share=0.0),
        crossfit=CrossfitConfig(),
    )
    left = _names(groups, data.config)
    total = len(left)
    while left:
        held: list[tuple[Group, str]] = []
        for number, (group, name) in enumerate(left):
            done = total - len(left) + number - len(held)

            def told(step: int, steps: int, text: str, done: int = done, name: str = name) -> None:
                if report is not None:
                    report(done * steps + step, total * steps, f"{name} {text}" if text else "")

            try:
                train_member(
                    _learned_by(dataset, group),
                    config,
                    seed=derive_seed(data.seed, "member", name),
                    folder=folder / MEMBERS / name,
                    store=data.store,
                    resume=True,
                    report=told,
                    processes=processes,
                )
            except FolderInUse:
                held.append((group, name))
        if len(held) == len(left):
            processes.ask_lead(lambda: time.sleep(WAIT))
        left = held


def _names(groups: Sequence[Group], config: Config) -> list[tuple[Group, str]]:
    """Every member by name, with its group."""
    seeds = range(config.crossfit.seeds)
    return [(group, f"g{number}s{seed}") for number, group in enumerate(groups) for seed in seeds]


def _learned_by(dataset: Dataset, group: Group) -> Dataset:
    """Return what the members of a group learn from (split "train") and their held-out loci ("val")."""
    used = group.learned | group.block
    chosen = dataset.select(used)
    return replace(chosen, pairs=chosen.pairs.assign(split=np.where(group.block[used], "val", "train")))


def _close(dataset: Dataset, data: TrainingData, groups: Sequence[Group], folder: Path) -> TrainingResult:
    """Fit the Student on what all members say, and write the run; another process may have been first."""
    with locked(folder / ".lock"):
        if not (folder / "run.json").exists():
            _write(dataset, data, groups, folder)
        (folder / ".lock").unlink(missing_ok=True)
    return _finished(folder, data)


def _write(dataset: Dataset, data: TrainingData, groups: Sequence[Group], folder: Path) -> None:
    label = data.rows.label
    runs: list[tuple[Group, str, Run]] = []
    for group, name in _names(groups, data.config):
        runs.append((group, name, load_run(folder / MEMBERS / name)))
    members, facts = [], []
    for group, name, run in runs:
        learned = np.flatnonzero(group.learned & (label >= 0))
        temperature = run.facts.calibration.trained_temperature or run.temperature
        potential = LiveScorer(run.system.backbone, data.store, data.rows)(learned).potential.double().cpu().numpy()
        level = level_of(potential, label[learned], temperature)
        members.append(Member(run.system, level, temperature, run.facts.environments))
        facts.append(MemberFacts(name=name, left_out=group.lines, level=level, temperature=temperature))
    views, factor = _left_out(dataset, data, groups, members)
    used = dataset.pairs["split"].to_numpy() != "test"
    elements = np.unique(dataset.pairs.loc[used, ["enhancer_id", "promoter_id"]].to_numpy())
    places = Places.of(dataset.elements.iloc[elements], [dataset.digests[number] for number in elements])
    fitted = fit_student(
        views, tuple(facts), tuple(members), places, factor=factor, judged=("shared", "new"), seed=data.seed
    )
    alarms = _alarms(fitted, [run for _, _, run in runs])
    known = label[used]
    names = sorted({name for member in members for name in member.environments})
    first = runs[0][2].facts
    top = RunFacts(
        config=data.config,
        windows=data.manifest.windows,
        seed=data.seed,
        environments=tuple(names),
        train_share=float((known == 1).sum() / (known >= 0).sum()),
        alpha=first.alpha,
        genome_sha256=data.genome_sha256,
        shortcuts=data.shortcuts,
        calibration=fitted.calibration,
        roles=RoleNames(training=names, pseudo_ood=[], validation=[]),
        domain=fitted.domain,
        provenance=Provenance(
            episode=__version__,
            torch=torch.__version__,
            numpy=np.__version__,
            best_step=sum(run.facts.provenance.best_step for _, _, run in runs),
            steps=sum(run.facts.provenance.steps for _, _, run in runs),
            epochs=sum(run.facts.provenance.epochs for _, _, run in runs) / len(runs),
            queried=sum(run.facts.provenance.queried or 0 for _, _, run in runs),
            sources=list(data.manifest.sources),
            unseen_validation=True,
            identity=DataIdentity(**data.identity.model_dump(exclude={"config", "seed"})),
        ),
        student=fitted.facts,
    )
    write_model(folder / "alarms.json", Alarms(alarms))
    save_run(folder, Run(top, data.bank, members[0].system, tuple(alarms), fitted.student), fitted.unseen)


def _left_out(
    dataset: Dataset, data: TrainingData, groups: Sequence[Group], members: Sequence[Member]
) -> tuple[dict[View, list[LineScores]], float]:
    """Score every environment by the members that left it out; also return the factor of `averaging_factor`.

    Pairs at the held-out loci of another group are scored by that group too: both have not learned from them.
    """
    composition = Composition(data.store, data.bank, data.config.stem)
    seeds = data.config.crossfit.seeds
    scorers = [LiveScorer(member.system.backbone, data.store, data.rows) for member in members]

    def mean_of(number: int, rows: np.ndarray) -> np.ndarray:
        chosen = range(number * seeds, (number + 1) * seeds)
        potential = [members[member].standardised(scorers[member](rows).potential) for member in chosen]
        return torch.stack(potential).double().mean(0).cpu().numpy()

    views: dict[View, list[LineScores]] = {"shared": [], "new": []}
    means, differences = [], []
    for number, group in enumerate(groups):
        parts: tuple[tuple[View, np.ndarray], ...] = (("shared", group.known_loci), ("new", group.new_loci))
        for view, mask in parts:
            for pool in environment_pools(dataset.pairs, mask):
                pool = drawn(pool, data.rank)
                mean = mean_of(number, pool.rows)
                means.append(mean)
                views[view].append(line_scores(pool, mean, composition.pairs(data.rows.take(pool.rows)), data.rows))
                for other, held in enumerate(groups):
                    both = held.block[pool.rows]
                    if other != number and both.any():
                        differences.append(mean[both] - mean_of(other, pool.rows[both]))
    return views, averaging_factor(means, differences, groups=len(groups))


def _alarms(fitted: FittedStudent, runs: Sequence[Run]) -> list[Alarm]:
    """What needs attention: of the mean of the members, and what more than half of them raised in training."""
    totals = CompetitionTotals(0, 0, 0, math.nan)
    checks = fitted.checks
    alarms = training_alarms(
        checks, checks, 1.0, fitted.student.fitted.left_out.level, totals, judged_on="cell lines that were left out"
    )
    alarms += fitted.alarms
    for name in ("idle_competition", "shortcut_dependence"):
        raised = [alarm for run in runs for alarm in run.alarms if alarm.name == name]
        if 2 * len(raised) > len(runs):
            alarms.append(Alarm(name=name, text=f"in {len(raised)} of {len(runs)} members, such as: {raised[0].text}"))
    return alarms


def _finished(folder: Path, data: TrainingData) -> TrainingResult:
    """Return what a finished run tells, from its folder.

    Raises
    ------
    CheckpointError
        If it is of another dataset, configuration or seed.
    """
    run = load_run(folder)
    facts, held = run.facts, run.facts.model_dump(mode="json", include={"config", "seed"})
    if facts.provenance.identity is not None:
        held |= facts.provenance.identity.model_dump(mode="json")
    check_same_run(held, data.identity.model_dump(mode="json"), f"{folder}: holds a finished run of")
    unseen = load_unseen(folder)
    aupr = [
        or_nan(average_precision(rows["label"], rows["logit"])) for _, rows in unseen.groupby(["environment", "view"])
    ]
    best = mean_of_known(aupr), or_nan(facts.calibration.log_loss)
    return TrainingResult(folder, facts.provenance, facts.roles, facts.calibration, *best, list(run.alarms))
