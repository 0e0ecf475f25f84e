"""The training loop: draw tasks, step, validate, keep the best, calibrate, save.

Two stages. While everything learns, the step with the best validation AUPR is kept: ranking is what U_I is for. Then
the Backbone is frozen, its outputs are computed once, and the environment parts settle on them; the step with the least
validation log-loss after calibration is kept, for that is what R_E is for.

All randomness of step s derives from (seed, s), so a training that was killed and resumed equals one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor

from episode import __version__
from episode.checkpoint import Domain, RunFacts, load_state, new_system, save_run, save_state
from episode.config import Config, WindowConfig, from_dict, to_dict
from episode.data.dataset import Dataset
from episode.encode.motifs import load_bank
from episode.encode.store import ElementStore, build_store
from episode.episodes.batch import (
    FrozenScorer,
    LiveScorer,
    PairRows,
    Scorer,
    Shortcuts,
    gate_presence,
    pair_keys,
    pair_rows,
    shortcut_statistics,
)
from episode.episodes.roles import Roles, assign_roles
from episode.episodes.sampler import EnvironmentPool, split_by_locus, support_order
from episode.episodes.tasks import TaskSource
from episode.errors import CheckpointError, ConfigError, EpisodeError
from episode.files import atomic_file, finite, write_json
from episode.losses.immax import alpha_from_counts
from episode.losses.pacing import PacingLock
from episode.model.energy import PARTS, EnergySystem
from episode.seeds import derive_seed, generator
from episode.train.alarms import Alarm, CompetitionTotals, training_alarms
from episode.train.calibrate import calibrate
from episode.train.optimisers import PartOptimisers, rate_factor
from episode.train.routing import backward
from episode.train.step import DIVERGED, StepContext, StepOutput, step_losses
from episode.train.validation import EnvironmentCheck, check_environments, student_slope

__all__ = ["TrainingResult", "train"]

RELIABILITY_SPLITS = 8
ADAPTIVE_DECAY = 0.98
ADAPTIVE_BOUNDS = (0.2, 0.8)


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
    alarms: tuple[Alarm, ...]
    roles: dict[str, list[str]]
    calibration: dict[str, Any]


@dataclass
class _Progress:
    """What the loop carries from step to step besides weights and moments."""

    step: int = 0
    stage: str = "learn"
    stage_start: int = 0
    best_step: int = 0
    best_aupr: float = -math.inf
    best_loss: float = math.inf
    stale: int = 0
    alpha: float = 0.5
    hardness: list[float] = field(default_factory=lambda: [math.log(2), math.log(2)])
    pull_in: int = 0
    push_away: int = 0
    tasks: int = 0


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
) -> TrainingResult:
    """Train on a dataset and write a run folder.

    Parameters
    ----------
    dataset : Dataset
        Rows of split "test" are ignored.
    config : Config
    seed : int
        Decides roles, weights and every task.
    folder : Path
        New, or (with `resume`) one that holds an unfinished training of the same dataset, configuration and seed.
    cache : Path, optional
        Where encoded elements are kept between runs.
    store : ElementStore, optional
        The encoded elements themselves, made with the motif bank and bin width of `config.stem`; `cache` is not read.
    resume : bool
        Continue from the last saved state.
    report : callable, optional
        Called with (step, steps, text) after every step, for a progress bar.

    Raises
    ------
    EpisodeError
        If the folder is in use, nothing is there to resume, or the data cannot train.
    ValueError
        If `store` has other elements or motifs than the dataset and the configuration.
    """
    training = _Training(dataset, config, seed, folder, cache, store)
    training.open(resume)
    while not training.finished():
        text = training.step()
        if report is not None:
            report(training.progress.step, training.planned, text)
    return training.close()


class _Training:
    """One training from its data to its run folder."""

    def __init__(
        self,
        dataset: Dataset,
        config: Config,
        seed: int,
        folder: Path,
        cache: Path | None,
        store: ElementStore | None,
    ) -> None:
        self.config, self.seed, self.folder = config, seed, folder
        self.roles: Roles = assign_roles(dataset.pairs, config.episodes, seed, order=_support_order(dataset, seed))
        self.bank = load_bank(config.stem)
        self.store = build_store(dataset, self.bank, config.stem, cache) if store is None else store
        if (len(self.store), self.store.n_motifs) != (len(dataset.elements), len(self.bank)):
            raise ValueError(
                f"the store holds {len(self.store)} elements and {self.store.n_motifs} motifs; "
                f"needed are {len(dataset.elements)} and {len(self.bank)}"
            )
        learning = np.concatenate([pool.rows for pool in self.roles.training + self.roles.pseudo_ood])
        statistics = shortcut_statistics(dataset)
        self.shortcuts = Shortcuts.fit(statistics[learning])
        self.rows: PairRows = pair_rows(dataset, self.shortcuts)
        label = self.rows.label[learning]
        self.train_share = float((label == 1).sum() / (label >= 0).sum())
        self.manifest = dataset.manifest
        used = dataset.pairs[["environment", "enhancer_id", "promoter_id", "mirrored", "label", "split"]]
        self.pairs_hash = hashlib.sha256(pd.util.hash_pandas_object(used, index=False).to_numpy().tobytes()).hexdigest()
        self.genome_sha256 = dataset.genome_hash
        try:
            self.fabric = Fabric(
                accelerator=config.training.accelerator, devices=1, precision=cast(Any, config.training.precision)
            )
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"training.accelerator {config.training.accelerator!r}: {error}") from None
        self.learning = learning
        self.system: EnergySystem = self._initial_system().to(self.fabric.device)
        self.optimisers = PartOptimisers(self.system, config.training)
        self.pacing = PacingLock(config.losses)
        self.score: Scorer = self._live()
        self.source = TaskSource(self.roles.training, self.roles.pseudo_ood, config.episodes)
        self.progress = _Progress(alpha=self._alpha(label))
        self.best: dict[str, Tensor] = {}
        self.lines: list[str] = []

    def _initial_system(self) -> EnergySystem:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, "weights"))
            base = math.log(self.train_share / (1 - self.train_share))
            system = new_system(self.config, self.bank, len(self.roles.training), base)
        if system.backbone.gate_head is not None:
            presence = gate_presence(system.backbone, self.store, self.rows.take(self.learning))
            system.backbone.gate_head.standardise(presence)
        return system

    def _live(self) -> LiveScorer:
        return LiveScorer(self.system.backbone, self.store, self.rows)

    def _alpha(self, label: np.ndarray) -> float:
        if self.config.losses.alpha in ("counts", "adaptive"):
            return alpha_from_counts(int((label == 1).sum()), int((label == 0).sum()))
        return float(self.config.losses.alpha)

    # -- folder and resumption ------------------------------------------------------------------------------------

    @property
    def _identity(self) -> dict[str, Any]:
        sources = [source["sha256"] for source in self.manifest.get("sources", [])]
        return {
            "config": to_dict(self.config),
            "seed": self.seed,
            "store": self.store.hash,
            "sources": sources,
            "pairs": self.pairs_hash,
        }

    def open(self, resume: bool) -> None:
        state = self.folder / "resume.safetensors"
        if resume:
            if not state.exists():
                raise CheckpointError(f"{self.folder}: nothing to resume (no resume.safetensors there)")
            self._restore(state)
            return
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            hint = "resume it with --resume, or" if state.exists() else "give a new folder or"
            raise EpisodeError(f"{self.folder}: exists already and is not empty; {hint} remove it first")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._save()

    def _save(self) -> None:
        tensors = {f"model.{name}": value for name, value in self.system.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors |= {f"optimiser.{name}": value for name, value in self.optimisers.state().items()}
        words = {
            "identity": self._identity,
            "progress": asdict(self.progress),
            "pacing": self.pacing.state(),
            "lines": len(self.lines),
        }
        with atomic_file(self.folder / "metrics.jsonl") as temporary:
            temporary.write_text("".join(self.lines))
        save_state(self.folder / "resume.safetensors", tensors, words)

    def _restore(self, path: Path) -> None:
        tensors, words = load_state(path)
        if words.get("identity") != json.loads(json.dumps(self._identity)):
            changed = [key for key, value in self._identity.items() if words.get("identity", {}).get(key) != value]
            raise CheckpointError(
                f"{self.folder}: was started with another {', '.join(changed)}; resume needs the same dataset, "
                "configuration and seed"
            )

        def part(prefix: str) -> dict[str, Tensor]:
            return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

        self.system.load_state_dict(part("model."))
        self.best = part("best.")
        self.optimisers.restore(part("optimiser."))
        self.progress = _Progress(**words["progress"])
        self.pacing.restore(words["pacing"])
        if self.progress.stage != "learn" and self.config.training.settle_steps > 0:
            self._freeze()
        try:
            self.lines = (self.folder / "metrics.jsonl").read_text().splitlines(keepends=True)[: words["lines"]]
        except OSError as error:
            raise CheckpointError(f"{self.folder / 'metrics.jsonl'}: cannot be read ({error.strerror})") from None

    # -- one step -------------------------------------------------------------------------------------------------

    @property
    def planned(self) -> int:
        """Steps of the whole training as it now stands."""
        training = self.config.training
        if self.progress.stage == "learn":
            return training.steps + training.settle_steps
        return self.progress.step if self.finished() else self.progress.stage_start + training.settle_steps

    def finished(self) -> bool:
        return self.progress.stage == "done"

    def _restart_environment(self) -> None:
        """Give the environment parts their first weights back: what they learned of a moving U_I does not hold.

        The statistics of their inputs are measured anew, exactly, on the frozen outputs.
        """
        first = self._initial_system().state_dict()
        for part in PARTS:
            if part not in ("backbone", "temperature"):
                module = getattr(self.system, part)
                names = [name for name, _ in module.named_parameters()]
                module.load_state_dict({name: first[f"{part}.{name}"] for name in names}, strict=False)
        self.system.teacher.visits.zero_()
        self._measure_inputs()

    def _measure_inputs(self) -> None:
        """Measure the statistics of the set encoder's inputs on the frozen outputs of the training pairs."""
        total = torch.zeros(self.system.backbone.representation_size + 1, dtype=torch.float64)
        square, count = total.clone(), 0
        first, second = [], []
        for pool in self.roles.training + self.roles.pseudo_ood:
            output = self.score(pool.rows)
            values = torch.cat([output.representation, output.potential[:, None]], dim=1).double().cpu()
            total, square, count = total + values.sum(0), square + values.square().sum(0), count + len(values)
            for repeat in range(RELIABILITY_SPLITS):
                rng = generator(self.seed, "reliability", pool.name, repeat)
                one, other = split_by_locus(rng, pool.locus, query=len(pool.rows), support=len(pool.rows))
                if len(one) and len(other):
                    first.append(values[one, :-1].mean(0))
                    second.append(values[other, :-1].mean(0))
        mean = total / count
        if first:
            halves = torch.stack(first).float(), torch.stack(second).float()
            self.system.set_encoder.fit_inputs(mean.float(), (square / count - mean**2).float(), *halves)

    def _freeze(self) -> None:
        """Compute once what the Backbone, which no longer moves, says of every row that training may use."""
        used = [self.learning, *(pool.rows for pool in self.roles.calibration)]
        self.score = FrozenScorer(self._live(), np.concatenate(used))

    def _next_stage(self) -> None:
        """Take the best weights of the stage that ended, and begin the next."""
        progress = self.progress
        self.system.load_state_dict(self.best)
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
        steps = training.steps if progress.stage == "learn" else training.settle_steps
        rng = generator(self.seed, "step", progress.step)
        with torch.no_grad():
            impedance = self.system.teacher().cpu().numpy()
            temperature = float(self.system.temperature())
        if not (np.isfinite(impedance).all() and math.isfinite(temperature)):
            raise EpisodeError(DIVERGED)
        drawn = [self.source.draw(rng, impedance, temperature) for _ in range(training.tasks_per_step)]
        tasks = [task for task in drawn if len(task.support) and (len(task.query) or task.kind == "mixed")]
        context = StepContext(
            self.system, self.rows, self.score, self.config, self.pacing, progress.alpha, self.train_share
        )
        if tasks:
            with self.fabric.autocast():
                output = step_losses(context, tasks)
            self.optimisers.zero()
            backward(self.fabric, self.system, output.losses)
            factor = rate_factor(progress.step - progress.stage_start, steps, training.warmup)
            self.optimisers.step(factor, opportunist=output.opportunist_rate)
            for index, embedding in output.observed:
                self.system.teacher.observe(index, embedding)
            self._note(output)
        progress.step += 1
        last = progress.step - progress.stage_start == steps
        if progress.step % training.validate_every and not last:
            return ""
        text = self._validate()
        if last or progress.stale >= training.patience:
            self._next_stage()
        self._save()
        return text

    def _note(self, output: StepOutput) -> None:
        progress = self.progress
        for task in output.tasks:
            if "ratio" in task:
                progress.tasks += 1
                progress.pull_in += task["pull_in"] > 0
                progress.push_away += task["push_away"] > 0
        losses = {name: float(value.detach()) for name, value in output.losses.items()}
        entry = {
            "kind": "train",
            "step": progress.step,
            "alpha": progress.alpha,
            **losses,
            "tasks": output.tasks,
        }
        self.lines.append(json.dumps(finite(entry)) + "\n")
        if self.config.losses.alpha == "adaptive":
            for index, value in enumerate(output.hardness):
                if math.isfinite(value):
                    old = progress.hardness[index]
                    progress.hardness[index] = ADAPTIVE_DECAY * old + (1 - ADAPTIVE_DECAY) * value
            up, down = (value ** (1 / 3) for value in progress.hardness)
            progress.alpha = float(np.clip(down / (up + down), *ADAPTIVE_BOUNDS))

    # -- validation and the end -----------------------------------------------------------------------------------

    def _check(
        self, pools: tuple[EnvironmentPool, ...], *, bootstrap: np.random.Generator | None = None
    ) -> list[EnvironmentCheck]:
        return check_environments(
            self.system,
            self.score,
            pools,
            support_max=self.config.episodes.support_max,
            alpha=self.progress.alpha,
            bootstrap=bootstrap,
        )

    def _validate(self) -> str:
        progress = self.progress
        checks = self._check(self.roles.validation)
        loss = _nanmean([check.task for check in checks])
        log_loss = calibrate(checks, float(self.system.temperature().detach())).log_loss
        aupr = _nanmean([check.aupr for check in checks])
        teacher = self.system.teacher().detach().cpu().numpy()
        temperature = float(self.system.temperature().detach())
        known = dict(zip(self.roles.names, teacher.tolist(), strict=True))
        entry = {
            "kind": "validation",
            "stage": progress.stage,
            "step": progress.step,
            "task": loss,
            "log_loss": log_loss,
            "aupr": aupr,
            "slope": student_slope(checks),
            "temperature": temperature,
            "r_teacher_mean": float(teacher.mean()),
            "r_teacher_sd": float(teacher.std()),
            "environments": [
                {
                    "environment": check.name,
                    "task": check.task,
                    "aupr": check.aupr,
                    "r_student": check.student,
                    "r_teacher": known.get(check.name),
                    "r_oracle": check.oracle,
                }
                for check in checks
            ],
        }
        self.lines.append(json.dumps(finite(entry)) + "\n")
        if progress.stage == "learn":
            better = math.isnan(aupr) or aupr > progress.best_aupr
        else:
            better = math.isnan(log_loss) or log_loss < progress.best_loss
        if better or not self.best:
            progress.best_step, progress.stale = progress.step, 0
            progress.best_aupr, progress.best_loss = aupr, log_loss
            self.best = {name: value.detach().cpu().clone() for name, value in self.system.state_dict().items()}
        else:
            progress.stale += 1
        return f"validation log-loss {log_loss:.4f}, AUPR {aupr:.3f}"

    def close(self) -> TrainingResult:
        progress = self.progress
        before = self._check(self.roles.calibration, bootstrap=generator(self.seed, "bootstrap"))
        held_out = (
            frozenset(pool.name for pool in self.roles.validation) if self.roles.unseen_validation else frozenset()
        )
        fitted = calibrate(before, float(self.system.temperature().detach()), held_out=held_out)
        with torch.no_grad():
            self.system.temperature.log_temperature.fill_(math.log(fitted.temperature))
            self.system.temperature.offset.fill_(fitted.offset)
        teacher = self.system.teacher().detach().cpu().numpy()
        checks = self._check(self.roles.validation)
        leads = [self.pacing.student[name] - self.pacing.opportunist[name] for name in self.pacing.student]
        totals = CompetitionTotals(progress.pull_in, progress.push_away, progress.tasks, _nanmean(leads))
        alarms = training_alarms(
            checks, checks + self._check(self.roles.pseudo_ood), fitted.temperature, teacher, totals
        )
        roles = {
            "training": [pool.name for pool in self.roles.training],
            "pseudo_ood": [pool.name for pool in self.roles.pseudo_ood],
            "validation": [pool.name for pool in self.roles.validation],
        }
        facts = RunFacts(
            config=self.config,
            windows=from_dict(self.manifest["windows"], WindowConfig, where="manifest windows"),
            seed=self.seed,
            environments=self.roles.names,
            train_share=self.train_share,
            alpha=progress.alpha,
            genome_sha256=self.genome_sha256,
            shortcuts=self.shortcuts,
            calibration=fitted.to_dict() | {"training_impedance": float(teacher.mean())},
            roles=roles,
            domain=self._domain(),
            provenance={
                "episode": __version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "best_step": progress.best_step,
                "steps": progress.step,
                "sources": self.manifest.get("sources", []),
                "unseen_validation": self.roles.unseen_validation,
            },
        )
        with atomic_file(self.folder / "metrics.jsonl") as temporary:
            temporary.write_text("".join(self.lines))
        write_json(self.folder / "alarms.json", [asdict(alarm) for alarm in alarms])
        save_run(self.folder, self.system, self.bank, facts)
        (self.folder / "resume.safetensors").unlink(missing_ok=True)
        return TrainingResult(
            folder=self.folder,
            best_step=progress.best_step,
            best_aupr=progress.best_aupr,
            best_loss=progress.best_loss,
            steps=progress.step,
            alarms=tuple(alarms),
            roles=roles,
            calibration=fitted.to_dict(),
        )

    def _domain(self) -> Domain:
        """Means of z_I over each training environment (at most 1,024 rows), and how far other loci lie from them."""
        means = []
        for pool in self.roles.training + self.roles.pseudo_ood:
            chosen = generator(self.seed, "domain", pool.name).permutation(pool.rows)[:1024]
            output = self.score(np.sort(chosen))
            means.append(output.representation.mean(0).cpu().numpy())
        table = np.stack(means).astype(np.float64)
        centre, spread = table.mean(0), np.maximum(table.std(0), 1e-3)
        domain = Domain(centre, spread, math.inf, self.config.episodes.support_min)
        for pool in self.roles.calibration:
            support = self.score(pool.rows[: self.config.episodes.support_max])
            table = np.vstack([table, support.representation.double().mean(0).cpu().numpy()])
        limit = max(domain.distance(row) for row in table) if len(means) > 1 else math.inf
        return Domain(centre, spread, limit, self.config.episodes.support_min)


def _support_order(dataset: Dataset, seed: int) -> np.ndarray:
    """Rank of every row in the order in which prediction would take it into a support set."""
    rank = np.empty(len(dataset.pairs), dtype=np.int64)
    rank[support_order(pair_keys(dataset), seed)] = np.arange(len(rank))
    return rank


def _nanmean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
