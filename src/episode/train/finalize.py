"""The end of a training: calibrate, raise alarms, and write the run folder.

Knows nothing about how the weights came about.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from episode import __version__
from episode.checkpoint import Domain, RunFacts, load_run, save_run
from episode.config import WindowConfig, from_dict, to_dict
from episode.episodes.sampler import EnvironmentPool
from episode.files import read_json, write_json
from episode.inference.scoring import Scorer
from episode.model.energy import EnergySystem
from episode.seeds import generator
from episode.train.calibration import calibrate
from episode.train.data import Material
from episode.train.diagnostics import Alarm, CompetitionTotals, training_alarms
from episode.train.pacing import PacingLock
from episode.train.state import LOG, STATE, Progress, check_same_run, write_log
from episode.train.validation import EnvironmentCheck, check_environments, mean_of_known

__all__ = ["TrainingResult", "close_training", "finished_training"]


@dataclass(frozen=True)
class TrainingResult:
    """What a finished training tells its caller.

    Parameters
    ----------
    folder : Path
    best_step : int
        Step whose weights were kept.
    best_aupr : float
        Mean over validation environments of the AUPR of U_I.
    best_loss : float
        Log-loss over validation environments after calibration, in nats.
    steps : int
        Steps taken.
    epochs : float
        How often a labelled pair to learn from was queried, on average; both stages together.
    alarms : tuple of Alarm
    roles : dict of str to list of str
        Environments by role.
    calibration : dict
    """

    folder: Path
    best_step: int
    best_aupr: float
    best_loss: float
    steps: int
    epochs: float
    alarms: tuple[Alarm, ...]
    roles: dict[str, list[str]]
    calibration: dict[str, Any]


def close_training(
    folder: Path,
    material: Material,
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
    folder : Path
    material : Material
    system : EnergySystem
        With the weights that were kept; T and the offset are set here.
    score : Scorer
    pacing : PacingLock
    progress : Progress
    write : bool
        False in a process that only takes its share of the scoring.
    """
    config, roles = material.config, material.roles

    def check(
        pools: tuple[EnvironmentPool, ...], bootstrap: np.random.Generator | None = None
    ) -> list[EnvironmentCheck]:
        return check_environments(
            system, score, pools, support_max=config.episodes.support_max, alpha=progress.alpha, bootstrap=bootstrap
        )

    before = check(roles.calibration, generator(material.seed, "bootstrap"))
    held_out = frozenset(pool.name for pool in roles.validation) if roles.unseen_validation else frozenset()
    fitted = calibrate(before, float(system.temperature().detach()), held_out=held_out)
    with torch.no_grad():
        system.temperature.log_temperature.fill_(math.log(fitted.temperature))
        system.temperature.offset.fill_(fitted.offset)
    teacher = system.teacher().detach().mean(1).cpu().numpy()
    checks = check(roles.validation)
    leads = [pacing.student[name] - pacing.opportunist[name] for name in pacing.student]
    totals = CompetitionTotals(progress.pull_in, progress.push_away, progress.tasks, mean_of_known(leads))
    alarms = training_alarms(
        checks,
        checks + check(roles.pseudo_ood),
        fitted.temperature,
        teacher,
        totals,
        directions=progress.directions if config.impedance.channels > 1 else None,
    )
    names = _names(material)
    facts = RunFacts(
        config=config,
        windows=from_dict(material.manifest["windows"], WindowConfig, where="manifest windows"),
        seed=material.seed,
        environments=roles.names,
        train_share=material.train_share,
        alpha=progress.alpha,
        genome_sha256=material.genome_sha256,
        shortcuts=material.shortcuts,
        calibration=fitted.to_dict() | {"training_impedance": float(teacher.mean())},
        roles=names,
        domain=_domain(material, score),
        provenance={
            "episode": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "best_step": progress.best_step,
            "steps": progress.step,
            "epochs": progress.queried / material.labelled,
            "sources": material.manifest.get("sources", []),
            "unseen_validation": roles.unseen_validation,
            "identity": {key: value for key, value in material.identity.items() if key not in ("config", "seed")},
        },
    )
    if write:
        write_log(folder, progress)
        write_json(folder / "alarms.json", [asdict(alarm) for alarm in alarms])
        save_run(folder, system, material.bank, facts)
        (folder / STATE).unlink(missing_ok=True)
    return TrainingResult(
        folder=folder,
        best_step=progress.best_step,
        best_aupr=progress.best_aupr,
        best_loss=progress.best_loss,
        steps=progress.step,
        epochs=facts.provenance["epochs"],
        alarms=tuple(alarms),
        roles=names,
        calibration=fitted.to_dict(),
    )


def finished_training(folder: Path, material: Material) -> TrainingResult:
    """Return what a finished training told its caller, from its folder.

    Raises
    ------
    CheckpointError
        If the run there is of another dataset, configuration or seed.
    """
    facts = load_run(folder).facts
    told = facts.provenance
    held = {"config": to_dict(facts.config), "seed": facts.seed, "roles": facts.roles} | told.get("identity", {})
    check_same_run(held, material.identity | {"roles": _names(material)}, f"{folder}: holds a finished run of")
    entries = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    chosen = [e for e in entries if e["kind"] == "validation" and e["step"] == told["best_step"]][-1]
    return TrainingResult(
        folder=folder,
        best_step=told["best_step"],
        best_aupr=_known(chosen["aupr"]),
        best_loss=_known(chosen["log_loss"]),
        steps=told["steps"],
        epochs=told["epochs"],
        alarms=tuple(Alarm(**alarm) for alarm in read_json(folder / "alarms.json")),
        roles=facts.roles,
        calibration={name: value for name, value in facts.calibration.items() if name != "training_impedance"},
    )


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _names(material: Material) -> dict[str, list[str]]:
    roles = material.roles
    return {
        "training": [pool.name for pool in roles.training],
        "pseudo_ood": [pool.name for pool in roles.pseudo_ood],
        "validation": [pool.name for pool in roles.validation],
    }


def _domain(material: Material, score: Scorer) -> Domain:
    """Means of z_I over each training environment (at most 1,024 rows), and how far other loci lie from them."""
    episodes = material.config.episodes
    means = []
    for pool in material.roles.training + material.roles.pseudo_ood:
        chosen = generator(material.seed, "domain", pool.name).permutation(pool.rows)[:1024]
        output = score(np.sort(chosen))
        means.append(output.representation.mean(0).cpu().numpy())
    table = np.stack(means).astype(np.float64)
    centre, spread = table.mean(0), np.maximum(table.std(0), 1e-3)
    domain = Domain(centre, spread, math.inf, episodes.support_min)
    for pool in material.roles.calibration:
        support = score(pool.rows[: episodes.support_max])
        table = np.vstack([table, support.representation.double().mean(0).cpu().numpy()])
    limit = max(domain.distance(row) for row in table) if len(means) > 1 else math.inf
    return Domain(centre, spread, limit, episodes.support_min)
