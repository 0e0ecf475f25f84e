"""One training step: tasks in, losses out.

The support path is detached here once and for all: the Student sees sg(z_I), sg(U_I). What each loss may move is not
decided here but in `episode.train.gradient_table`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from episode.config import Config
from episode.episodes.prior_shift import log_odds, shifted_impedance
from episode.episodes.sampler import Task
from episode.inference.pairs import PairRows
from episode.inference.scoring import FrozenScorer, Scorer
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
from episode.metrics.label_shift import em_prior, inverse_link, prior_to_impedance
from episode.model.backbone import PairOutput
from episode.model.energy import EnergySystem, fuse
from episode.train.divergence import require_finite
from episode.train.log import TaskEntry
from episode.train.pacing import PacingLock, TaskLosses

__all__ = ["StepContext", "StepOutput", "step_losses"]


@dataclass
class StepContext:
    """What a step reads besides its tasks.

    Parameters
    ----------
    score : Scorer
        Live while the Backbone learns, and then the exposure does not; frozen while R_E settles, and then no loss on
        the Backbone is made.
    pacing : PacingLock
        Updated by the step.
    alpha : float
        IMMAX alpha of this step, one for all tasks.
    train_share : float
        Prevalence over all training pairs.
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
    hardness : tuple of float
        Mean log-loss of positives and of negatives; NaN where a class is missing.
    observed : list of (int, Tensor)
        Index and detached h_c of each training environment met: the Teacher's prototypes follow after the step.
    opportunist_rate : float
        Factor on the Opportunist's learning rate that the pacing lock asks for, mean over the tasks.
    """

    losses: dict[str, Tensor]
    tasks: list[TaskEntry]
    hardness: tuple[float, float]
    observed: list[tuple[int, Tensor]]
    opportunist_rate: float


@dataclass(frozen=True)
class _Scored:
    output: PairOutput
    rows: PairRows


@dataclass(frozen=True)
class _View:
    """One direction of one task: scored support, its labels as shown, and scored query, empty where there is none."""

    task: Task
    support: _Scored
    shown: np.ndarray
    query: _Scored


@dataclass(frozen=True)
class _Query:
    """The labelled pairs of a query, and the impedances of Student and Teacher that they meet.

    The exposure in these is detached: the losses that read them may not move it.
    """

    potential: Tensor
    label: Tensor
    shortcuts: Tensor
    embedding: Tensor
    student: Tensor
    teacher: Tensor | None


@dataclass
class _Tally:
    """What the views of a step add up to."""

    terms: dict[str, list[Tensor]] = field(default_factory=dict)
    tasks: list[TaskEntry] = field(default_factory=list)
    potentials: list[Tensor] = field(default_factory=list)
    positive: list[float] = field(default_factory=list)
    negative: list[float] = field(default_factory=list)
    observed: list[tuple[int, Tensor]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def add(self, name: str, term: Tensor) -> None:
        self.terms.setdefault(name, []).append(term)


def step_losses(context: StepContext, tasks: list[Task]) -> StepOutput:
    """Compute the losses of one step over its tasks.

    Updates two things that no gradient moves: the pacing lock and, while the Backbone learns, the statistics of the set
    encoder's inputs.

    Returns
    -------
    StepOutput

    Raises
    ------
    Diverged
        If U_I or a loss is no longer finite.
    """
    system, weights = context.system, context.config.losses
    views = _score_tasks(context, tasks)
    impedances = system.teacher()
    tally = _Tally()
    for view in views:
        _add_view(context, view, impedances, tally)
    losses = {name: torch.stack(values).sum() / len(views) for name, values in tally.terms.items()}
    if not isinstance(context.score, FrozenScorer):
        losses["motif_sparsity"] = weights.motif_sparsity * motif_sparsity_loss(system.backbone.motif_norms())
        if tally.potentials:
            losses["potential"] = potential_hinge(
                torch.cat(tally.potentials),
                system.temperature(),
                level=context.config.environment.initial_impedance + log_odds(context.train_share),
                mean_weight=weights.potential_mean,
                variance_weight=weights.potential_variance,
            )
    require_finite(*losses.values())
    rate = _mean(tally.rates) if tally.rates else 1.0
    return StepOutput(losses, tally.tasks, (_mean(tally.positive), _mean(tally.negative)), tally.observed, rate)


def _add_view(context: StepContext, view: _View, impedances: Tensor, tally: _Tally) -> None:
    """Add the losses of one view: distillation always, the task and the competition where the query has labels."""
    system, config, task = context.system, context.config, view.task
    support, query = view.support.output, view.query.output
    shown = torch.from_numpy(view.shown.astype(np.int64)).to(support.potential.device)
    embedding = system.set_encoder(support.representation, support.potential, shown)
    student = system.student(embedding)
    reference = _reference(context, task, embedding, impedances)
    tally.add("distillation", config.losses.distillation * distillation_loss(student, reference))
    orthogonality = orthogonality_loss(support.representation, embedding)
    tally.add("orthogonality", config.losses.orthogonality * orthogonality)
    entry = TaskEntry(
        environment=task.environment.name,
        kind=task.kind,
        r_student=float(student.detach().mean()),
        r_reference=float(reference.detach().mean()),
    )
    tally.tasks.append(entry)
    index = task.environment.teacher
    teacher = None if index is None else impedances[index]
    if task.kind == "train" and index is not None:
        tally.observed.append((index, embedding.detach()))
    rows = view.query.rows
    known = torch.from_numpy(np.flatnonzero(rows.label >= 0)).to(student.device)
    if len(known) < 2 or not task.environment.two_classes:
        return
    exposure = system.exposure(query.representation[known])
    if not isinstance(context.score, FrozenScorer):  # held even: else it takes from U_I what all environments share
        exposure = exposure.detach()
    labelled = _Query(
        potential=query.potential[known],
        label=torch.from_numpy(rows.label > 0).to(student.device)[known],
        shortcuts=torch.from_numpy(rows.shortcuts).to(student.device)[known],
        embedding=embedding,
        student=system.pair_impedance(student, exposure.detach()),
        teacher=None if teacher is None else system.pair_impedance(teacher, exposure.detach()),
    )
    impedance = student
    if task.kind == "train" and teacher is not None:
        impedance = fuse(teacher, student, config.environment.fusion_weight)
    logit = system(labelled.potential, system.pair_impedance(impedance, exposure))
    loss = immax_loss(logit, labelled.label, alpha=context.alpha)
    tally.add("task", loss)
    tally.add("sparsity", config.losses.sparsity * sparsity_loss(impedance, impedances.mean()))
    tally.potentials.append(labelled.potential)
    seen: dict[str, float | str] = {"task": float(loss.detach())}
    for values, mask, sign in ((tally.positive, labelled.label, -1.0), (tally.negative, ~labelled.label, 1.0)):
        if bool(mask.any()):
            values.append(float(softplus(sign * logit.detach()[mask]).mean()))
    if task.kind in ("train", "pseudo_ood"):
        seen |= _compete(context, task, labelled, impedances, tally)
    tally.tasks[-1] = entry.model_copy(update=seen)


def _compete(
    context: StepContext, task: Task, query: _Query, impedances: Tensor, tally: _Tally
) -> dict[str, float | str]:
    """Add Opportunist, pull-in and push-away of one task, as the pacing lock allows; return what the log holds."""
    system, alpha = context.system, context.alpha
    potential, student, label, temperature = query.potential, query.student, query.label, system.temperature()

    def opportunist(embedding: Tensor) -> Tensor:
        delta = system.opportunist(query.shortcuts, embedding)
        return opportunist_loss(potential, student, delta, temperature, label, alpha=alpha)

    own = opportunist(query.embedding.detach())
    with torch.no_grad():
        loss_student = float(immax_loss(system(potential, student), label, alpha=alpha))
        baseline = math.inf
        if query.teacher is not None:
            em = potential.new_tensor(_em_impedance(context, potential, impedances))
            known = [immax_loss(system(potential, other), label, alpha=alpha) for other in (query.teacher, em)]
            baseline = float(min(known))
    losses = TaskLosses(loss_student, float(own.detach()), baseline)
    seen: dict[str, float | str] = {"student": losses.student, "opportunist": losses.opportunist}
    if task.kind == "pseudo_ood":
        context.pacing.observe_pseudo_ood(losses)
        return seen
    decision = context.pacing.decide(task.environment.name, losses)
    tally.add("opportunist", own)
    tally.rates.append(decision.opportunist_rate)
    if decision.pull_in > 0:
        pull = pull_in_loss(potential, student, temperature, label, alpha=alpha, weight=decision.pull_in)
        tally.add("pull_in", pull)
    if decision.push_away > 0:
        tally.add("push_away", push_away_loss(opportunist(query.embedding), weight=decision.push_away))
    return seen | {"baseline": baseline, **asdict(decision)}


def _reference(context: StepContext, task: Task, embedding: Tensor, impedances: Tensor) -> Tensor:
    """R_ref of the task, shape (channels,), detached."""
    known = impedances.detach()
    index = task.environment.teacher
    if index is None:
        return context.system.teacher.reference(embedding.detach())
    if task.kind == "mixed" and task.other is not None and task.other.teacher is not None:
        return task.fraction * known[index] + (1 - task.fraction) * known[task.other.teacher]
    if task.kind == "prior_shift":
        temperature = float(context.system.temperature().detach())
        prevalence, prior = task.environment.prevalence, task.fraction
        shifted = [shifted_impedance(value, temperature, prevalence, prior) for value in known[index].tolist()]
        return known.new_tensor(shifted).clamp_min(0)
    return known[index]


def _score_tasks(context: StepContext, tasks: list[Task]) -> list[_View]:
    """Score queries with gradient and supports without, each in one pass, and cut the result into views."""
    graded: list[np.ndarray] = []
    plain: list[np.ndarray] = []
    for task in tasks:
        graded.append(task.query)
        (graded if task.two_way else plain).append(task.support)
    with_gradient = _score_groups(context, graded, gradient=True)
    without = _score_groups(context, plain, gradient=False)
    views = []
    halves = []
    for task in tasks:
        query = next(with_gradient)
        support = next(with_gradient if task.two_way else without)
        shown = np.where(task.shown, support.rows.label, -1) if len(task.shown) else np.full(len(support.rows), -1)
        views.append(_View(task, support, shown, query))
        if task.two_way:
            halves.append((support.output.representation, query.output.representation))
            views.append(_View(task, query, np.full(len(query.rows), -1), support))
    if not isinstance(context.score, FrozenScorer):
        encoder = context.system.set_encoder
        encoder.observe(
            torch.cat([view.support.output.representation.detach() for view in views]),
            torch.cat([view.support.output.potential.detach() for view in views]),
        )
        context.system.exposure.fit_inputs(encoder.mean[:-1], encoder.variance[:-1])
        for first, second in halves:
            encoder.observe_halves(first, second)
    return views


def _score_groups(context: StepContext, groups: list[np.ndarray], *, gradient: bool) -> Iterator[_Scored]:
    """Score the rows of several groups together; yield group by group."""
    index, start = np.concatenate(groups), 0
    empty = torch.zeros(0)
    output = context.score(index, gradient=gradient) if len(index) else PairOutput(empty, empty)
    require_finite(output.potential)
    for group in groups:
        cut = slice(start, start + len(group))
        start = cut.stop
        yield _Scored(PairOutput(output.potential[cut], output.representation[cut]), context.rows.take(group))


def _em_impedance(context: StepContext, potential: Tensor, impedances: Tensor) -> float:
    """Impedance that EM (Saerens et al. 2002) reads from the scores of the query, without labels."""
    level = float(impedances.detach().mean())
    temperature = float(context.system.temperature().detach())
    logit = ((potential.detach() - level) / temperature).cpu().numpy().astype(np.float64)
    prior = em_prior(inverse_link(logit, context.alpha), context.train_share)
    return prior_to_impedance(prior, context.train_share, level, temperature)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
