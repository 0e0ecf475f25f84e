"""The training loop: draw tasks, step, validate, keep the best, calibrate, save.

Two stages. While everything learns, the step with the best validation AUPR is kept: ranking is what U_I is for. Then
the Backbone is frozen, its outputs are computed once, and the environment parts settle on them; the step with the
lowest validation log-loss after calibration is kept, for that is what R_E is for.

All randomness of step s derives from (seed, s), so a run that was killed and resumed equals one that was not. All
processes of a training run draw the same tasks and make the same losses; they split what the Backbone computes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from episode.checkpoint import new_system
from episode.config import Config
from episode.data.dataset import Dataset
from episode.encode.store import ElementStore
from episode.episodes.prior_shift import log_odds
from episode.episodes.sampler import EnvironmentPool, Task
from episode.episodes.tasks import TaskSource
from episode.errors import ConfigError
from episode.files import refuse_unwritable
from episode.inference.scoring import FrozenScorer, LiveScorer, Scorer, gate_presence
from episode.losses.immax import alpha_from_counts
from episode.model.energy import PARTS, EnergySystem
from episode.seeds import derive_seed, generator
from episode.train.calibration import calibrate
from episode.train.data import TrainingData, gather_data
from episode.train.diagnostics import student_slope
from episode.train.distributed import Processes
from episode.train.divergence import Diverged, require_finite
from episode.train.exposure_init import start_exposure
from episode.train.finalize import TrainingResult, close_training, finished_run
from episode.train.gradient_table import backward
from episode.train.input_statistics import measure_inputs
from episode.train.log import EnvironmentEntry, SpectrumLine, TrainLine, ValidationLine
from episode.train.optimizers import PartOptimisers, rate_factor
from episode.train.pacing import PacingLock
from episode.train.sharded_scoring import SharedScorer
from episode.train.state import STATE, Progress, Start, claim_folder, restore_training, save_training
from episode.train.step import StepContext, StepOutput, step_losses
from episode.train.validation import check_environments, mean_of_known, or_nan

__all__ = ["TrainingResult", "train"]

ADAPTIVE_DECAY = 0.98
ADAPTIVE_BOUNDS = (0.2, 0.8)
SAVE_AFTER = 60.0
"""Seconds since the last saved state after which a step saves it, whether or not there was a validation."""


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
    """Train on a dataset and write a run folder.

    Parameters
    ----------
    dataset : Dataset
        Rows of split "test" are ignored.
    seed : int
        Decides roles, weights and every task.
    folder : Path
        New, or (with `resume`) one that holds a training run of the same dataset, configuration and seed.
    cache : Path, optional
        Where encoded elements are kept between runs.
    store : ElementStore, optional
        The encoded elements themselves, made as `config.stem` says; `cache` is not read.
    resume : bool
        Continue from the last saved state; begin where none was saved, and leave a finished run as it is. So a
        training run that may be killed at any time can always be started with it.
    report : callable, optional
        Called with (step, steps, text) after every step, for a progress bar.
    processes : Processes, optional
        Those that share the training, see `episode.train.distributed.launch`; each of them calls this function with the
        same arguments. Only the first one writes.

    Raises
    ------
    EpisodeError
        If the folder is in use or holds another training run, the data cannot train, or training diverged.
    ValueError
        If `store` has other elements or rows than the dataset and the configuration ask for.
    """
    processes = processes or Processes.alone(config.training)
    processes.ask_lead(lambda: refuse_unwritable(folder))
    data = processes.lead_first(lambda: gather_data(dataset, config, seed, cache=cache, store=store))
    training = _Training(data, folder, processes)
    with claim_folder(folder, processes, resume=resume) as start:
        if start is Start.FINISHED:
            return finished_run(folder, data)
        training.open(start)
        try:
            while not training.finished():
                text = training.step()
                if report is not None:
                    report(training.progress.step, training.planned, text)
            return close_training(
                folder, data, training.system, training.score, training.pacing, training.progress, write=processes.lead
            )
        except Diverged as error:
            kept = f"the last finite state, of step {training.saved_step}, stays in {folder / STATE}"
            raise Diverged(f"{error}; {kept}") from None


class _Training:
    """One training run from its data to its run folder."""

    def __init__(self, data: TrainingData, folder: Path, processes: Processes) -> None:
        self.data, self.folder, self.processes = data, folder, processes
        self.config, self.seed, self.roles = data.config, data.seed, data.roles
        self.fabric = processes.fabric
        self.system: EnergySystem = self._initial_system().to(self.fabric.device)
        self.optimisers = PartOptimisers(self.system, self.config.training)
        self.pacing = PacingLock(self.config.losses)
        live = LiveScorer(self.system.backbone, data.store, data.rows)
        self.learner = SharedScorer(live, processes, self.fabric.autocast)
        self.judge = SharedScorer(live, processes)
        self.frozen: FrozenScorer | None = None
        self.source = TaskSource(self.roles.training, self.roles.pseudo_ood, self.config.episodes)
        self.progress = Progress(alpha=self._alpha())
        self.learn_steps = steps_within(self.config, [*self.roles.training, *self.roles.pseudo_ood])
        self.saved, self.saved_step = time.monotonic(), 0

    @property
    def score(self) -> Scorer:
        """What says U_I and z_I as prediction would: without mixed precision."""
        return self.judge if self.frozen is None else self.frozen

    def _initial_system(self) -> EnergySystem:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, "weights"))
            base = log_odds(self.data.train_share)
            system = new_system(self.config, self.data.bank, len(self.roles.training), base)
        if system.backbone.gate_head is not None:
            presence = gate_presence(system.backbone, self.data.store, self.data.rows.take(self.data.learning))
            system.backbone.gate_head.standardise(presence)
        if system.backbone.decay is not None:
            distance = torch.from_numpy(self.data.rows.distance[self.data.learning])
            if bool(distance.isnan().all()):
                raise ConfigError("potential.distance: needed a training pair of known distance, but no pair has one")
            system.backbone.decay.measure(distance)
        return system

    def _alpha(self) -> float:
        label = self.data.rows.label[self.data.learning]
        if self.config.losses.alpha in ("counts", "adaptive"):
            return alpha_from_counts(int((label == 1).sum()), int((label == 0).sum()))
        return float(self.config.losses.alpha)

    # -- folder and resumption ------------------------------------------------------------------------------------

    def open(self, start: Start) -> None:
        if start is Start.NEW:
            self._save()
            return
        self.progress = restore_training(self.folder, self.data.identity, self.system, self.optimisers, self.pacing)
        self.saved_step = self.progress.step
        if self.progress.stage != "learn" and self.config.training.settle_steps > 0:
            self._freeze()

    def _save(self) -> None:
        require_finite(*(value for value in self.system.state_dict().values() if value.is_floating_point()))
        self.saved, self.saved_step = time.monotonic(), self.progress.step
        if self.processes.lead:
            save_training(self.folder, self.data.identity, self.progress, self.system, self.optimisers, self.pacing)

    # -- one step -------------------------------------------------------------------------------------------------

    @property
    def planned(self) -> int:
        """Steps of the whole training run as it now stands."""
        training = self.config.training
        if self.progress.stage == "learn":
            return self.learn_steps + training.settle_steps
        return self.progress.step if self.finished() else self.progress.stage_start + training.settle_steps

    def finished(self) -> bool:
        return self.progress.stage == "done"

    def _restart_environment(self) -> None:
        """Give the environment parts their first weights back: what they learned of a moving U_I does not hold.

        The statistics of their inputs are measured again, exactly, on the frozen outputs.
        """
        first = self._initial_system().state_dict()
        for part in PARTS:
            if part not in ("backbone", "temperature"):
                module = getattr(self.system, part)
                names = [name for name, _ in module.named_parameters()]
                module.load_state_dict({name: first[f"{part}.{name}"] for name in names}, strict=False)
        self.system.teacher.visits.zero_()
        measure_inputs(self.data, self.system, self.score)
        if self.config.impedance.channels > 1:
            contrast = start_exposure(self.data, self.system, self.score)
            self.progress.directions = contrast.kept
            self.progress.note(SpectrumLine(kind="spectrum", step=self.progress.step, **vars(contrast)))

    def _freeze(self) -> None:
        """Compute once what the Backbone, which no longer moves, says of every row that training may use."""
        pools = self.roles.calibration
        if self.config.environment.student == "closed_form":
            pools += self.roles.unused
        used = [self.data.learning, *(pool.rows for pool in pools)]
        self.frozen = FrozenScorer(self.judge, np.concatenate(used))

    def _next_stage(self) -> None:
        """Take the best weights of the stage that ended, and begin the next."""
        progress = self.progress
        self.system.load_state_dict(progress.best)
        learned = progress.stage == "learn" and self.config.training.settle_steps > 0
        progress.stage = "settle" if learned else "done"
        progress.stage_start, progress.stale = progress.step, 0
        if learned:
            progress.best_loss = math.inf
            self._freeze()
            self._restart_environment()
            self.optimisers = PartOptimisers(self.system, self.config.training)

    def step(self) -> str:
        progress, training = self.progress, self.config.training
        steps = self.learn_steps if progress.stage == "learn" else training.settle_steps
        rng = generator(self.seed, "step", progress.step)
        with torch.no_grad():
            impedance = self.system.teacher().amin(1).cpu().numpy()
            temperature = float(self.system.temperature())
        require_finite(torch.from_numpy(impedance), temperature)
        drawn = [self.source.draw(rng, impedance, temperature) for _ in range(training.tasks_per_step)]
        tasks = [task for task in drawn if len(task.support) and (len(task.query) or task.kind == "mixed")]
        context = StepContext(
            self.system,
            self.data.rows,
            self.learner if self.frozen is None else self.frozen,
            self.config,
            self.pacing,
            progress.alpha,
            self.data.train_share,
        )
        if tasks:
            output = step_losses(context, tasks)
            self.optimisers.zero()
            backward(self.fabric, self.system, output.losses, self.learner.leaves)
            self.learner.backward()
            factor = rate_factor(progress.step - progress.stage_start, steps, training.warmup)
            self.optimisers.step(factor, opportunist=output.opportunist_rate)
            for index, embedding in output.observed:
                self.system.teacher.observe(index, embedding)
            self._note(output)
            progress.queried += sum(self._labelled(task) for task in tasks)
        progress.step += 1
        last = progress.step - progress.stage_start == steps
        if progress.step % training.validate_every and not last:
            if time.monotonic() - self.saved > SAVE_AFTER:
                self._save()
            return ""
        decides = (progress.best_step, progress.best_aupr, progress.best_loss, progress.stale, progress.alpha)
        self.processes.check_agreement(self.system.state_dict(), decides, progress.step)
        text = self._validate()
        if last or progress.stale >= training.patience:
            self._next_stage()
        self._save()
        return text

    def _labelled(self, task: Task) -> int:
        """Labelled pairs that a task queries."""
        rows = np.concatenate([task.query, task.support]) if task.two_way else task.query
        return int((self.data.rows.label[rows] >= 0).sum())

    def _note(self, output: StepOutput) -> None:
        progress = self.progress
        for task in output.tasks:
            if task.pull_in is not None and task.push_away is not None:
                progress.tasks += 1
                progress.pull_in += task.pull_in > 0
                progress.push_away += task.push_away > 0
        losses = {name: float(value.detach()) for name, value in output.losses.items()}
        progress.note(TrainLine(kind="train", step=progress.step, alpha=progress.alpha, tasks=output.tasks, **losses))
        if self.config.losses.alpha == "adaptive":
            for index, value in enumerate(output.hardness):
                if math.isfinite(value):
                    old = progress.hardness[index]
                    progress.hardness[index] = ADAPTIVE_DECAY * old + (1 - ADAPTIVE_DECAY) * value
            up, down = (value ** (1 / 3) for value in progress.hardness)
            progress.alpha = float(np.clip(down / (up + down), *ADAPTIVE_BOUNDS))

    # -- validation ----------------------------------------------------------------------------------------------

    def _validate(self) -> str:
        progress = self.progress
        checks = check_environments(
            self.system,
            self.score,
            self.roles.validation,
            support_max=self.config.episodes.support_max,
            alpha=progress.alpha,
        )
        loss = mean_of_known([check.task for check in checks])
        log_loss = or_nan(calibrate(checks, float(self.system.temperature().detach())).log_loss)
        closed = self.config.environment.student == "closed_form"
        sizes = [len(check.label) for check in checks] if closed else None
        aupr = mean_of_known([check.aupr for check in checks], sizes)
        teacher = self.system.teacher().detach().mean(1).cpu().numpy()
        temperature = float(self.system.temperature().detach())
        known = dict(zip(self.roles.names, teacher.tolist(), strict=True))
        line = ValidationLine(
            kind="validation",
            stage="learn" if progress.stage == "learn" else "settle",
            step=progress.step,
            task=loss,
            log_loss=log_loss,
            aupr=aupr,
            aupr_ranked=mean_of_known([check.aupr_ranked for check in checks]),
            slope=student_slope(checks),
            temperature=temperature,
            r_teacher_mean=float(teacher.mean()),
            r_teacher_sd=float(teacher.std()),
            environments=[
                EnvironmentEntry(
                    environment=check.name,
                    task=check.task,
                    aupr=check.aupr,
                    r_student=check.student,
                    r_teacher=known.get(check.name),
                    r_oracle=check.oracle,
                )
                for check in checks
            ],
        )
        progress.note(line)
        if progress.stage == "learn":
            better = math.isnan(aupr) or aupr > progress.best_aupr
        else:
            better = math.isnan(log_loss) or log_loss < progress.best_loss
        if better or not progress.best or self.config.training.keep == "last":
            progress.best_step, progress.stale = progress.step, 0
            progress.best_aupr, progress.best_loss = aupr, log_loss
            progress.best = {name: value.detach().cpu().clone() for name, value in self.system.state_dict().items()}
        else:
            progress.stale += 1
        return f"validation log-loss {log_loss:.4f}, AUPR {aupr:.3f}"


def steps_within(config: Config, pools: Sequence[EnvironmentPool]) -> int:
    """Steps in which everything learns: those asked for, or fewer that query each labelled pair often enough.

    A task queries at most `EpisodesConfig.query` pairs of its environment, and at most about half of it; both halves
    where it is two-way. A mixed task queries none.

    Parameters
    ----------
    pools : sequence of EnvironmentPool
        What is learned from.
    """
    training, episodes = config.training, config.episodes
    if not training.epochs:
        return training.steps
    labelled = [int((pool.label >= 0).sum()) for pool in pools]
    kinds = episodes.train + episodes.pseudo_ood + episodes.prior_shift
    asked = kinds / (kinds + episodes.mixed) * (1 + episodes.two_way)
    task = asked * sum(min(episodes.query, size / 2) for size in labelled) / len(labelled)
    return max(1, min(training.steps, math.ceil(training.epochs * sum(labelled) / (training.tasks_per_step * task))))
