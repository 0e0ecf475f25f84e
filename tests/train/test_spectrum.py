"""One channel is the scalar model, bit for bit; several obey the same losses pair by pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn.functional import softplus

from episode.episodes.prior_shift import shifted_impedance
from episode.episodes.sampler import Task
from episode.inference.scoring import score_rows
from episode.inference.support import bootstrap_sd, mean_impedance, student_impedance
from episode.losses.environment import motif_sparsity_loss, orthogonality_loss, potential_hinge
from episode.losses.immax import immax_loss
from episode.train.gradient_table import backward
from episode.train.optimizers import PartOptimisers
from episode.train.step import StepContext, step_losses
from episode.train.validation import check_environments
from small_systems import make_context, small_config

KINDS = ("pseudo_ood", "prior_shift", "mixed")
"""Kinds of task whose losses know no competition."""


def scalar_losses(context: StepContext, tasks: list[Task]) -> dict[str, Tensor]:
    """The losses of one-way tasks in the scalar formula, ``(U_I + offset - R_E) / T``; no exposure anywhere."""
    system, weights = context.system, context.config.losses
    teacher = softplus(system.teacher.head(_teacher_inputs(context))).squeeze(1)
    queried = context.score(np.concatenate([task.query for task in tasks]), gradient=True)
    supported = context.score(np.concatenate([task.support for task in tasks]))
    system.set_encoder.observe(supported.representation, supported.potential)
    terms: dict[str, list[Tensor]] = {"distillation": [], "orthogonality": [], "task": [], "sparsity": []}
    potentials, at, behind = [], 0, 0
    for task in tasks:
        cut = slice(behind, behind + len(task.support))
        behind = cut.stop
        hidden = torch.full((len(task.support),), -1)
        embedding = system.set_encoder(supported.representation[cut], supported.potential[cut], hidden)
        student = softplus(system.student.head(embedding)).squeeze(-1)
        known = teacher.detach()
        if task.kind == "pseudo_ood":
            reference = _scalar_reference(context, embedding.detach())
        elif task.kind == "mixed":
            reference = task.fraction * known[0] + (1 - task.fraction) * known[1]
        else:
            temperature = float(system.temperature().detach())
            shifted = shifted_impedance(float(known[0]), temperature, task.environment.prevalence, task.fraction)
            reference = known.new_tensor(max(shifted, 0.0))
        terms["distillation"].append(weights.distillation * (student - reference).square().mean())
        orthogonality = orthogonality_loss(supported.representation[cut], embedding)
        terms["orthogonality"].append(weights.orthogonality * orthogonality)
        if not len(task.query):
            continue
        label = torch.from_numpy(context.rows.label[task.query] > 0)
        potential = queried.potential[at : at + len(task.query)]
        at += len(task.query)
        logit = (potential + system.temperature.offset - student) / system.temperature()
        terms["task"].append(immax_loss(logit, label, alpha=context.alpha))
        terms["sparsity"].append(weights.sparsity * (student - teacher.mean().detach()).abs().mean())
        potentials.append(potential)
    losses = {name: torch.stack(values).sum() / len(tasks) for name, values in terms.items()}
    losses["motif_sparsity"] = weights.motif_sparsity * motif_sparsity_loss(system.backbone.motif_norms())
    losses["potential"] = potential_hinge(
        torch.cat(potentials),
        system.temperature(),
        level=context.config.environment.initial_impedance + float(torch.logit(torch.tensor(0.4, dtype=torch.float64))),
        mean_weight=weights.potential_mean,
        variance_weight=weights.potential_variance,
    )
    return losses


def _teacher_inputs(context: StepContext) -> Tensor:
    teacher = context.system.teacher
    prototypes = teacher.prototype.flatten(0, 1)
    weight = (teacher.embedding @ prototypes.T / prototypes.shape[1] ** 0.5).softmax(dim=1)
    return teacher.embedding + weight @ prototypes


@torch.no_grad()
def _scalar_reference(context: StepContext, embedding: Tensor) -> Tensor:
    teacher = context.system.teacher
    impedance = softplus(teacher.head(_teacher_inputs(context))).squeeze(1)
    distance = (teacher.prototype.flatten(0, 1) - embedding).square().sum(1)
    scale = distance.median().clamp_min(1e-6) / 4
    return (-distance / scale).softmax(0) @ impedance


def test_a_run_with_one_channel_is_that_of_the_scalar_bit_for_bit() -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    states = []
    for losses_of in (lambda *given: step_losses(*given).losses, scalar_losses):
        context, tasks = make_context(small_config())
        tasks = [replace(task, two_way=False) for task in tasks if task.kind in KINDS]
        optimisers = PartOptimisers(context.system, context.config.training)
        for _ in range(5):
            made = losses_of(context, tasks)
            optimisers.zero()
            backward(fabric, context.system, made)
            optimisers.step(1.0)
        states.append(context.system.state_dict())
    start = make_context(small_config())[0].system.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert not torch.equal(start["student.head.weight"], states[0]["student.head.weight"])


def spectrum(*settings: str) -> tuple[StepContext, list[Task]]:
    return make_context(small_config("impedance.channels=3", *settings))


def test_a_query_is_judged_under_the_impedance_of_each_pair() -> None:
    context, tasks = spectrum()
    task = replace(next(task for task in tasks if task.kind == "pseudo_ood"), two_way=False)
    output = step_losses(context, [task])
    system = context.system
    with torch.no_grad():
        support, query = (context.score(rows) for rows in (task.support, task.query))
        hidden = torch.full((len(task.support),), -1)
        student = system.student(system.set_encoder(support.representation, support.potential, hidden))
        impedance = (system.exposure(query.representation) * student).sum(1)
        logit = (query.potential - impedance) / system.temperature()
        expected = immax_loss(logit, torch.from_numpy(context.rows.label[task.query] > 0), alpha=context.alpha)
    assert impedance.std() > 1e-3
    assert float(output.losses["task"].detach()) == pytest.approx(float(expected), rel=1e-4)


def test_a_prior_shift_adds_the_same_to_every_channel() -> None:
    context, tasks = spectrum()
    task = next(task for task in tasks if task.kind == "prior_shift")
    (entry,) = step_losses(context, [task]).tasks
    known = context.system.teacher().detach()[0]
    shift = shifted_impedance(
        0.0, float(context.system.temperature().detach()), task.environment.prevalence, task.fraction
    )
    assert float(known.min()) + shift > 0
    assert entry.r_reference == pytest.approx(float(known.mean()) + shift, rel=1e-5)


def test_what_validation_says_of_a_spectrum() -> None:
    """`ranked` holds the deviations, `student` the mean over the support; the oracle moves all pairs alike."""
    context, tasks = spectrum()
    pool, system = tasks[0].environment, context.system
    (check,) = check_environments(system, context.score, (pool,), support_max=20, alpha=0.5)
    output = context.score(pool.rows)
    support = context.score(pool.rows[:20])
    with torch.no_grad():
        channels = student_impedance(system, support)
        impedance = system.exposure(output.representation) @ channels
        exposure = system.exposure(support.representation)
    assert check.student == pytest.approx(float(impedance[:20].mean()), rel=1e-5)
    assert check.potential - check.ranked + check.student == pytest.approx(impedance.numpy(), rel=1e-4)
    assert check.student == pytest.approx(mean_impedance(system, channels, exposure), rel=1e-5)


def test_the_spread_is_that_of_the_mean_over_the_support() -> None:
    context, _ = spectrum()
    rows = context.rows
    support = score_rows(context.system.backbone, context.score.store, rows)  # type: ignore[attr-defined]
    spread = bootstrap_sd(context.system, support, rows.locus, np.random.default_rng(0))
    assert spread > 0
    with torch.no_grad():  # all pairs exposed to the first channel alone
        context.system.exposure.head.bias.copy_(torch.tensor([1e4, 0.0, 0.0]))  # type: ignore[union-attr]
        context.system.student.head.weight[0].zero_()
    assert bootstrap_sd(context.system, support, rows.locus, np.random.default_rng(0)) == pytest.approx(0, abs=1e-6)
