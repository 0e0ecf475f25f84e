"""The end of a training run: calibrate, raise alarms, and write the run folder.

Knows nothing about how the weights came about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from episode import __version__
from episode.checkpoint import (
    Alarm,
    Alarms,
    DataIdentity,
    Domain,
    Provenance,
    RoleNames,
    Run,
    RunCalibration,
    RunFacts,
    load_run,
    save_run,
)
from episode.episodes.sampler import EnvironmentPool
from episode.inference.composition import Composition
from episode.inference.members import Member
from episode.inference.scoring import Scorer
from episode.model.energy import EnergySystem
from episode.schema import write_model
from episode.seeds import generator
from episode.train.calibration import calibrate
from episode.train.data import TrainingData
from episode.train.diagnostics import CompetitionTotals, training_alarms
from episode.train.log import LOG, ValidationLine, read_log
from episode.train.pacing import PacingLock
from episode.train.state import STATE, Progress, check_same_run, write_log
from episode.train.unseen import FittedStudent, level_of, student_of_one
from episode.train.validation import EnvironmentCheck, check_environments, mean_of_known, or_nan

__all__ = ["TrainingResult", "close_training", "finished_run"]


@dataclass(frozen=True)
class TrainingResult:
    """What a finished training run tells its caller.

    Parameters
    ----------
    best_aupr : float
        Mean over validation environments of the AUPR of U_I.
    best_loss : float
        Log-loss over validation environments after calibration, in nats.
    notes : tuple of str
        What the user should know of how the data were used.
    """

    folder: Path
    provenance: Provenance
    roles: RoleNames
    calibration: RunCalibration
    best_aupr: float
    best_loss: float
    alarms: list[Alarm]
    notes: tuple[str, ...] = ()


def close_training(
    folder: Path,
    data: TrainingData,
    system: EnergySystem,
    score: Scorer,
    pacing: PacingLock,
    progress: Progress,
    *,
    write: bool = True,
) -> TrainingResult:
    """Fit T and the offset, judge the outcome, and write the finished run.

    Parameters
    ----------
    system : EnergySystem
        With the weights that were kept; T and the offset are set here.
    write : bool
        False in a process that only takes its part of the scoring.
    """
    config, roles = data.config, data.roles

    def check(
        pools: tuple[EnvironmentPool, ...], bootstrap: np.random.Generator | None = None
    ) -> list[EnvironmentCheck]:
        return check_environments(
            system, score, pools, support_max=config.episodes.support_max, alpha=progress.alpha, bootstrap=bootstrap
        )

    before = check(roles.calibration, generator(data.seed, "bootstrap"))
    held_out = frozenset(pool.name for pool in roles.validation) if roles.unseen_validation else frozenset()
    fitted = calibrate(before, float(system.temperature().detach()), held_out=held_out)
    with torch.no_grad():
        system.temperature.log_temperature.fill_(math.log(fitted.temperature))
        system.temperature.offset.fill_(fitted.offset)
    teacher = system.teacher().detach().mean(1).cpu().numpy()
    checks, calibration = (
        check(roles.validation),
        RunCalibration(**fitted.model_dump(), training_impedance=float(teacher.mean())),
    )
    judged, temperature, domain, student = checks + check(roles.pseudo_ood), fitted.temperature, None, None
    if config.environment.student == "closed_form":
        student = _student(data, system, score)
        checks = judged = student.checks
        calibration, domain, temperature = student.calibration, student.domain, 1.0
        teacher = student.student.fitted.left_out.level
    leads = [pacing.student[name] - pacing.opportunist[name] for name in pacing.student]
    totals = CompetitionTotals(progress.pull_in, progress.push_away, progress.tasks, mean_of_known(leads))
    alarms = training_alarms(
        checks,
        judged,
        temperature,
        teacher,
        totals,
        directions=progress.directions if config.impedance.channels > 1 else None,
        judged_on="validation environments" if student is None else "held-out loci of the training environments",
    )
    alarms += [] if student is None else student.alarms
    facts = RunFacts(
        config=config,
        windows=data.manifest.windows,
        seed=data.seed,
        environments=roles.names,
        train_share=data.train_share,
        alpha=progress.alpha,
        genome_sha256=data.genome_sha256,
        shortcuts=data.shortcuts,
        calibration=calibration,
        roles=_names(data),
        domain=domain or _domain(data, score),
        provenance=Provenance(
            episode=__version__,
            torch=torch.__version__,
            numpy=np.__version__,
            best_step=progress.best_step,
            steps=progress.step,
            epochs=progress.queried / data.labelled,
            queried=progress.queried,
            sources=list(data.manifest.sources),
            unseen_validation=roles.unseen_validation,
            identity=DataIdentity(**data.identity.model_dump(exclude={"config", "seed"})),
        ),
        student=None if student is None else student.facts,
    )
    if write:
        write_log(folder, progress)
        write_model(folder / "alarms.json", Alarms(alarms))
        run = Run(facts, data.bank, system, tuple(alarms), None if student is None else student.student)
        save_run(folder, run, None if student is None else student.unseen)
        (folder / STATE).unlink(missing_ok=True)
    best = progress.best_aupr, progress.best_loss
    return TrainingResult(folder, facts.provenance, facts.roles, facts.calibration, *best, alarms, data.notes)


def finished_run(folder: Path, data: TrainingData) -> TrainingResult:
    """Return what a finished training run told its caller, from its folder.

    Raises
    ------
    CheckpointError
        If the run there is of another dataset, configuration or seed.
    """
    run = load_run(folder)
    facts = run.facts
    held = facts.model_dump(mode="json", include={"config", "seed", "roles"})
    if facts.provenance.identity is not None:
        held |= facts.provenance.identity.model_dump(mode="json")
    asked = data.identity.model_dump(mode="json") | {"roles": _names(data).model_dump()}
    check_same_run(held, asked, f"{folder}: holds a finished run of")
    checks = [line for line in read_log(folder / LOG) if isinstance(line, ValidationLine)]
    chosen = [line for line in checks if line.step == facts.provenance.best_step][-1]
    best = or_nan(chosen.aupr), or_nan(chosen.log_loss)
    alarms = list(run.alarms)
    return TrainingResult(folder, facts.provenance, facts.roles, facts.calibration, *best, alarms, data.notes)


def _student(data: TrainingData, system: EnergySystem, score: Scorer) -> FittedStudent:
    """Fit the closed-form Student of a run with a single member."""
    roles, label = data.roles, data.rows.label[data.learning]
    temperature = float(system.temperature().detach())
    level = level_of(score(data.learning).potential.double().cpu().numpy(), label, temperature)
    return student_of_one(
        Member(system, level, temperature, roles.names),
        score,
        Composition(data.store, data.bank, data.config.stem),
        learned=(*roles.training, *roles.pseudo_ood, *roles.unused),
        held_out=roles.calibration,
        rank=data.rank,
        seed=data.seed,
    )


def _names(data: TrainingData) -> RoleNames:
    pools = {role: getattr(data.roles, role) for role in RoleNames.model_fields}
    return RoleNames(**{role: [pool.name for pool in found] for role, found in pools.items()})


def _domain(data: TrainingData, score: Scorer) -> Domain:
    """Means of z_I over each training environment (at most 1,024 rows), and how far other loci lie from them."""
    episodes = data.config.episodes
    means = []
    for pool in data.roles.training + data.roles.pseudo_ood:
        chosen = generator(data.seed, "domain", pool.name).permutation(pool.rows)[:1024]
        output = score(np.sort(chosen))
        means.append(output.representation.mean(0).cpu().numpy())
    table = np.stack(means).astype(np.float64)
    domain = Domain(
        centre=table.mean(0), spread=np.maximum(table.std(0), 1e-3), limit=None, smallest=episodes.support_min
    )
    for pool in data.roles.calibration:
        support = score(pool.rows[: episodes.support_max])
        table = np.vstack([table, support.representation.double().mean(0).cpu().numpy()])
    return domain if len(means) == 1 else domain.changed(limit=max(domain.distance(row) for row in table))
