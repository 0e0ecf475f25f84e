"""One training step: tasks in, losses out.

The support path is detached here once and for all: the Student sees sg(z_I), sg(U_I). What each loss may move is not
decided here but in `episode.train.routing`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from episode.config import Config
from episode.episodes.batch import FrozenScorer, PairRows, Scorer
from episode.episodes.prior_shift import shifted_impedance
from episode.episodes.sampler import Task
from episode.evaluate.shift_estimators import em_prior, inverse_link, prior_to_impedance
from episode.losses.environment import (
    distillation_loss,
    motif_sparsity_loss,
    opportunist_loss,
    orthogonality_loss,
    potential_hinge,
    pull_in_loss,
    push_away_loss,
    sparsity_loss,
)
from episode.losses.immax import immax_loss
from episode.losses.pacing import PacingLock, TaskLosses
from episode.model.backbone import PairOutput
from episode.model.energy import EnergySystem, fuse

__all__ = ["StepContext", "StepOutput", "step_losses"]


@dataclass
class StepContext:
    """What a step reads besides its tasks.

    Parameters
    ----------
    system : EnergySystem
    rows : PairRows
        The pair table of the dataset.
    score : Scorer
        Live while the Backbone learns; frozen while R_E settles, and then no loss on the Backbone is made.
    config : Config
    pacing : PacingLock
        Updated by the step.
    alpha : float
        IMMAX alpha of this step, one for all tasks.
    train_share : float
        Share of positives over all training pairs.
    """

    system: EnergySystem
    rows: PairRows
    score: Scorer
    config: Config
    pacing: PacingLock
    alpha: float
    train_share: float


@dataclass(frozen=True)
class StepOutput:
    """What a step gives.

    Parameters
    ----------
    losses : dict of str to Tensor, shape ()
        Weighted losses by their name in the gradient table, each with its graph.
    tasks : list of dict
        For the log: environment, kind and plain numbers of each task.
    hardness : tuple of float
        Mean log-loss of positives and of negatives; NaN where a class is missing.
    observed : list of (int, Tensor)
        Index and detached h_c of each training environment met: the Teacher's prototypes follow after the step.
    """

    losses: dict[str, Tensor]
    tasks: list[dict[str, Any]]
    hardness: tuple[float, float]
    observed: list[tuple[int, Tensor]]


@dataclass(frozen=True)
class _View:
    """One direction of one task: positions in the scored rows."""

    task: Task
    support: PairOutput
    support_label: Tensor
    query: PairOutput | None
    query_rows: PairRows | None


def step_losses(context: StepContext, tasks: list[Task]) -> StepOutput:
    """Compute the losses of one step over its tasks.

    Parameters
    ----------
    context : StepContext
    tasks : list of Task

    Returns
    -------
    StepOutput
    """
    system, config = context.system, context.config
    frozen = isinstance(context.score, FrozenScorer)
    views = _score_tasks(context, tasks)
    impedances = system.teacher()
    temperature = system.temperature()
    terms: dict[str, list[Tensor]] = {}
    log: list[dict[str, Any]] = []
    hardness: tuple[list[float], list[float]] = ([], [])
    observed: list[tuple[int, Tensor]] = []

    def add(name: str, term: Tensor) -> None:
        terms.setdefault(name, []).append(term)

    for view in views:
        task = view.task
        embedding = system.set_encoder(view.support.representation, view.support.potential, view.support_label)
        student = system.student(embedding)
        reference = _reference(context, task, embedding, impedances)
        add("distillation", config.losses.distillation * distillation_loss(student, reference))
        add(
            "orthogonality",
            config.losses.orthogonality * orthogonality_loss(view.support.representation, embedding),
        )
        entry: dict[str, Any] = {
            "environment": task.environment.name,
            "kind": task.kind,
            "r_student": float(student.detach()),
            "r_reference": float(reference.detach()),
        }
        log.append(entry)
        if task.kind == "train" and task.environment.teacher is not None:
            observed.append((task.environment.teacher, embedding.detach()))
        if view.query is None or view.query_rows is None:
            continue
        known = torch.from_numpy(view.query_rows.label >= 0)
        label = torch.from_numpy(view.query_rows.label > 0)[known].to(student.device)
        potential = view.query.potential[known.to(student.device)]
        shortcuts = torch.from_numpy(view.query_rows.shortcuts)[known].to(student.device)
        if len(label) < 2 or not task.environment.two_classes:
            continue
        teacher = impedances[task.environment.teacher] if task.environment.teacher is not None else None
        if task.kind == "train" and teacher is not None:
            impedance = fuse(teacher, student, config.environment.fusion_weight)
        else:
            impedance = student
        logit = system(potential, impedance)
        add("task", immax_loss(logit, label, alpha=context.alpha))
        add("sparsity", config.losses.sparsity * sparsity_loss(impedance, impedances.mean()))
        if not frozen:
            add(
                "potential",
                potential_hinge(
                    potential,
                    temperature,
                    level=config.environment.initial_impedance + _logit(context.train_share),
                    mean_weight=config.losses.potential_mean,
                    variance_weight=config.losses.potential_variance,
                ),
            )
        _note_hardness(hardness, logit.detach(), label)
        entry["task"] = float(terms["task"][-1].detach())
        if task.kind in ("train", "pseudo_ood"):
            _compete(
                context,
                task,
                embedding,
                student,
                teacher,
                potential,
                label,
                shortcuts,
                impedances,
                add,
                entry,
            )
    if not frozen:
        add(
            "motif_sparsity",
            config.losses.motif_sparsity * motif_sparsity_loss(system.backbone.motif_norms()),
        )
    losses = {name: torch.stack(values).mean() for name, values in terms.items()}
    return StepOutput(losses, log, (_mean(hardness[0]), _mean(hardness[1])), observed)


def _compete(
    context: StepContext,
    task: Task,
    embedding: Tensor,
    student: Tensor,
    teacher: Tensor | None,
    potential: Tensor,
    label: Tensor,
    shortcuts: Tensor,
    impedances: Tensor,
    add: Callable[[str, Tensor], None],
    entry: dict[str, Any],
) -> None:
    """Opportunist, pull-in and push-away of one task, as the pacing lock allows."""
    system, alpha, config = context.system, context.alpha, context.config
    temperature = system.temperature()
    delta = system.opportunist(shortcuts, embedding.detach())
    own = opportunist_loss(potential, student, delta, temperature, label, alpha=alpha)
    with torch.no_grad():
        loss_student = float(immax_loss(system(potential, student), label, alpha=alpha))
        baseline = math.inf
        if teacher is not None:
            em = _em_impedance(context, potential.detach(), impedances)
            baseline = min(
                float(immax_loss(system(potential, teacher), label, alpha=alpha)),
                float(immax_loss(system(potential, torch.as_tensor(em)), label, alpha=alpha)),
            )
    losses = TaskLosses(loss_student, float(own.detach()), baseline)
    entry.update(student=losses.student, opportunist=losses.opportunist)
    if task.kind == "pseudo_ood":
        context.pacing.observe_pseudo_ood(losses)
        return
    decision = context.pacing.decide(task.environment.name, losses)
    entry.update(
        baseline=baseline,
        ratio=decision.ratio,
        state=decision.state,
        pull_in=decision.pull_in,
        push_away=decision.push_away,
    )
    add("opportunist", decision.opportunist_rate * own)
    if decision.pull_in > 0:
        add(
            "pull_in",
            pull_in_loss(potential, student, temperature, label, alpha=alpha, weight=decision.pull_in),
        )
    if decision.push_away > 0:
        through = system.opportunist(shortcuts, embedding)
        lead = opportunist_loss(potential, student, through, temperature, label, alpha=alpha)
        add("push_away", push_away_loss(lead, weight=config.losses.push_away))


def _reference(context: StepContext, task: Task, embedding: Tensor, impedances: Tensor) -> Tensor:
    """R_ref of the task, detached."""
    known = impedances.detach()
    index = task.environment.teacher
    if index is None:
        return context.system.teacher.reference(embedding.detach())
    if task.kind == "mixed" and task.other is not None and task.other.teacher is not None:
        return task.share * known[index] + (1 - task.share) * known[task.other.teacher]
    if task.kind == "prior_shift":
        temperature = float(context.system.temperature().detach())
        value = shifted_impedance(float(known[index]), temperature, task.environment.share, task.share)
        return known.new_tensor(max(value, 0.0))
    return known[index]


def _score_tasks(context: StepContext, tasks: list[Task]) -> list[_View]:
    """Score queries with gradient and supports without, each in one pass, and cut the result into views."""
    graded, plain = [], []
    for task in tasks:
        graded.append(task.query)
        (graded if task.two_way else plain).append(task.support)
    with_gradient = _Slices(context, graded, gradient=True)
    without = _Slices(context, plain, gradient=False)
    views = []
    for task in tasks:
        query = with_gradient.next()
        support = with_gradient.next() if task.two_way else without.next()
        shown = np.where(task.shown, support.rows.label, -1) if len(task.shown) else support.rows.label
        views.append(_view(task, support, shown, query))
        if task.two_way:
            views.append(_view(task, query, np.full(len(query.rows), -1, dtype=np.int8), support))
    context.system.set_encoder.observe(
        torch.cat([view.support.representation.detach() for view in views]),
        torch.cat([view.support.potential.detach() for view in views]),
    )
    return views


@dataclass(frozen=True)
class _Scored:
    output: PairOutput
    rows: PairRows


class _Slices:
    """Scored rows of several groups, handed out group by group."""

    def __init__(self, context: StepContext, groups: list[np.ndarray], *, gradient: bool) -> None:
        self.sizes = iter([len(group) for group in groups])
        self.start = 0
        index = np.concatenate(groups) if groups else np.zeros(0, dtype=np.int64)
        self.rows = context.rows.take(index)
        if len(index):
            self.output = context.score(index, gradient=gradient)

    def next(self) -> _Scored:
        size = next(self.sizes)
        cut = slice(self.start, self.start + size)
        self.start += size
        rows = self.rows.take(np.arange(cut.start, cut.stop))
        if not size:
            empty = torch.zeros(0)
            return _Scored(PairOutput(empty, empty), rows)
        return _Scored(PairOutput(self.output.potential[cut], self.output.representation[cut]), rows)


def _view(task: Task, support: _Scored, shown: np.ndarray, query: _Scored) -> _View:
    label = torch.from_numpy(shown.astype(np.int64)).to(support.output.potential.device)
    asked = (query.output, query.rows) if len(query.rows) else (None, None)
    return _View(task, support.output, label, *asked)


def _em_impedance(context: StepContext, potential: Tensor, impedances: Tensor) -> float:
    """Impedance that EM (Saerens et al. 2002) reads from the scores of the query, without labels."""
    level = float(impedances.detach().mean())
    temperature = float(context.system.temperature().detach())
    logit = ((potential - level) / temperature).cpu().numpy().astype(np.float64)
    prior = em_prior(inverse_link(logit, context.alpha), context.train_share)
    return prior_to_impedance(prior, context.train_share, level, temperature)


def _note_hardness(hardness: tuple[list[float], list[float]], logit: Tensor, label: Tensor) -> None:
    for values, mask, sign in ((hardness[0], label, -1.0), (hardness[1], ~label, 1.0)):
        if bool(mask.any()):
            values.append(float(torch.nn.functional.softplus(sign * logit[mask]).mean()))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
