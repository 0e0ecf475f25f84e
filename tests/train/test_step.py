"""One step: what each kind of task contributes, what it logs, and what it must not show."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from episode.episodes.prior_shift import shifted_impedance
from episode.episodes.sampler import Task
from episode.inference.scoring import FrozenScorer, LiveScorer
from episode.losses.environment import potential_hinge
from episode.losses.immax import immax_loss
from episode.model.energy import PARTS, fuse
from episode.train.gradient_table import backward
from episode.train.optimizers import PartOptimisers
from episode.train.pacing import PacingLock
from episode.train.step import StepContext, StepOutput, step_losses
from known import known
from small_systems import make_context, make_store, small_config


def run(kinds: tuple[str, ...], *settings: str) -> tuple[StepContext, list[Task], StepOutput]:
    context, tasks = make_context(small_config(*settings))
    tasks = [task for task in tasks if task.kind in kinds]
    return context, tasks, step_losses(context, tasks)


@pytest.mark.parametrize(
    ("kind", "present"),
    [
        ("train", {"task", "distillation", "opportunist", "pull_in", "push_away", "sparsity"}),
        ("pseudo_ood", {"task", "distillation", "sparsity"}),
        ("prior_shift", {"task", "distillation", "sparsity"}),
        ("mixed", {"distillation"}),
    ],
)
def test_each_kind_brings_its_own_losses(kind: str, present: set[str]) -> None:
    _, _, output = run((kind,))
    competing = {"task", "distillation", "opportunist", "pull_in", "push_away", "sparsity"}
    assert set(output.losses) & competing == present


def test_two_way_tasks_count_twice() -> None:
    _, tasks, output = run(("train", "pseudo_ood", "prior_shift", "mixed"))
    assert len(output.tasks) == len(tasks) + sum(task.two_way for task in tasks)


def test_the_reference_of_each_kind() -> None:
    context, _, output = run(("train", "pseudo_ood", "prior_shift", "mixed"))
    known = context.system.teacher().detach().mean(1).numpy()
    temperature = float(context.system.temperature().detach())
    for entry in output.tasks:
        got, index = entry.r_reference, {"a": 0, "b": 1}.get(entry.environment)
        if entry.kind == "train":
            assert got == pytest.approx(known[index], rel=1e-5)
        elif entry.kind == "mixed":
            assert got == pytest.approx(2 / 3 * known[0] + 1 / 3 * known[1], rel=1e-5)
        elif entry.kind == "pseudo_ood":
            assert known.min() - 1e-5 <= got <= known.max() + 1e-5
    (task,) = [task for task in make_context(context.config)[1] if task.kind == "prior_shift"]
    expected = max(0.0, shifted_impedance(float(known[0]), temperature, task.environment.prevalence, 0.3))
    (entry,) = [entry for entry in output.tasks if entry.kind == "prior_shift"]
    assert entry.r_reference == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["train", "pseudo_ood", "prior_shift"])
def test_the_task_loss_uses_fusion_for_known_environments_and_the_student_alone_for_others(kind: str) -> None:
    config = small_config("environment.fusion_weight=0.7")
    context, tasks = make_context(config)
    index = next(number for number, task in enumerate(tasks) if task.kind == kind)
    task = replace(tasks[index], two_way=False)
    output = step_losses(context, [task])
    query = context.rows.take(task.query)
    with torch.no_grad():
        potential = context.score(task.query).potential
        student = torch.tensor(output.tasks[0].r_student)
        impedance = student
        if kind == "train":
            impedance = fuse(context.system.teacher()[task.environment.teacher, 0], student, 0.7)
        expected = immax_loss(
            context.system(potential, impedance), torch.from_numpy(query.label > 0), alpha=context.alpha
        )
    assert float(output.losses["task"].detach()) == pytest.approx(float(expected), rel=1e-4)


def test_the_log_of_a_training_task() -> None:
    _, _, output = run(("train",))
    for entry in output.tasks:
        assert known(entry.pull_in) > 0 and known(entry.push_away) > 0
        assert entry.ratio == pytest.approx(known(entry.student) / known(entry.opportunist), rel=0.3)
        assert entry.state in ("opportunist_ahead", "inside")
        assert math.isfinite(known(entry.baseline))


def test_the_baseline_is_the_better_of_teacher_and_em(monkeypatch: pytest.MonkeyPatch) -> None:
    context, tasks = make_context(small_config())
    task = replace(next(task for task in tasks if task.kind == "train"), two_way=False)

    @torch.no_grad()
    def loss_under(impedance: float) -> float:
        potential = context.score(task.query).potential
        label = torch.from_numpy(context.rows.take(task.query).label > 0)
        logit = context.system(potential, torch.tensor(impedance))
        return float(immax_loss(logit, label, alpha=context.alpha))

    with torch.no_grad():
        context.system.teacher.head.bias.add_(3.0)  # away from what suits these labels best
        teacher = float(context.system.teacher()[0, 0])
    far, near = 200.0, min(np.linspace(0, 20, 81).tolist(), key=loss_under)
    assert loss_under(near) < loss_under(teacher) < loss_under(far)
    for em, expected in ((far, teacher), (near, near)):
        monkeypatch.setattr("episode.train.step._em_impedance", lambda *_, em=em: em)
        (entry,) = step_losses(context, [task]).tasks
        assert known(entry.baseline) == pytest.approx(loss_under(expected), rel=1e-5)


def test_pseudo_ood_tasks_are_watched_but_not_trained_on() -> None:
    context, _, output = run(("pseudo_ood",))
    assert context.pacing.student == {} and context.pacing.opportunist == {}
    assert context.pacing.pseudo_ood_lead != -100.0
    assert output.observed == []
    assert output.tasks[0].ratio is None


def test_the_teacher_is_not_asked_for_a_pseudo_ood_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(PacingLock, "observe_pseudo_ood", lambda _, losses: seen.append(losses))
    context, tasks = make_context(small_config())
    task = replace(next(task for task in tasks if task.kind == "pseudo_ood"), two_way=False)
    (entry,) = step_losses(context, [task]).tasks
    assert [losses.baseline for losses in seen] == [math.inf]
    with torch.no_grad():
        output = context.score(task.support)
        hidden = torch.full((len(task.support),), -1)
        embedding = context.system.set_encoder(output.representation, output.potential, hidden)
        expected = float(context.system.teacher.reference(embedding).mean())
        others = context.system.teacher().mean(1).tolist()
    assert entry.r_reference == pytest.approx(expected, rel=1e-5)
    assert min(abs(expected - other) for other in (*others, sum(others) / len(others))) > 1e-3 * expected


def test_prototypes_are_handed_out_for_ordinary_training_tasks_only() -> None:
    _, _, output = run(("train", "pseudo_ood", "prior_shift", "mixed"))
    assert [index for index, _ in output.observed] == [0, 0, 1]
    assert all(not embedding.requires_grad for _, embedding in output.observed)


def test_hidden_labels_of_the_support_and_unknown_labels_of_the_query_are_not_read() -> None:
    """Turning every label that may not be seen over leaves every loss as it was."""
    values = []
    for flip in (False, True):
        context, tasks = make_context(small_config())
        task = replace(next(task for task in tasks if task.kind == "pseudo_ood"), two_way=False)
        label = context.rows.label.copy()
        if flip:
            label[task.support] = 1 - label[task.support]
        context.rows = replace(context.rows, label=label)
        values.append({name: float(loss.detach()) for name, loss in step_losses(context, [task]).losses.items()})
    assert values[0] == values[1]


def test_the_swapped_half_of_a_two_way_task_shows_no_label() -> None:
    values = []
    for flip in (False, True):
        context, tasks = make_context(small_config())
        task = next(task for task in tasks if task.kind == "train" and task.two_way)
        label = context.rows.label.copy()
        if flip:
            label[task.query] = 1 - label[task.query]
        context.rows = replace(context.rows, label=label)
        values.append([entry.r_student for entry in step_losses(context, [task]).tasks])
    assert values[0] == values[1]
    assert values[0][0] != values[0][1]


def test_shown_labels_of_the_support_are_read() -> None:
    values = []
    for flip in (False, True):
        context, tasks = make_context(small_config())
        task = replace(next(task for task in tasks if task.kind == "train"), two_way=False)
        label = context.rows.label.copy()
        if flip:
            shown = task.support[task.shown]
            label[shown] = 1 - label[shown]
        context.rows = replace(context.rows, label=label)
        values.append(step_losses(context, [task]).tasks[0].r_student)
    assert values[0] != values[1]


def test_an_environment_of_one_class_is_trained_on_as_unlabelled() -> None:
    context, tasks = make_context(small_config())
    pool = replace(tasks[0].environment, label=np.zeros_like(tasks[0].environment.label))
    output = step_losses(context, [replace(tasks[0], environment=pool)])
    assert "task" not in output.losses and "opportunist" not in output.losses
    assert float(output.losses["distillation"].detach()) > 0


def test_unknown_labels_in_the_query_are_left_out() -> None:
    values = []
    for fill in (0, 1):
        context, tasks = make_context(small_config())
        task = replace(next(task for task in tasks if task.kind == "pseudo_ood"), two_way=False)
        gap = task.query[::3]
        label = context.rows.label.copy()
        label[gap] = -1
        context.rows = replace(context.rows, label=label)
        whole = step_losses(context, [task]).losses["task"]
        context, _ = make_context(small_config())
        label[gap] = fill
        context.rows = replace(context.rows, label=label)
        rest = replace(task, query=np.setdiff1d(task.query, gap))
        values.append((float(whole.detach()), float(step_losses(context, [rest]).losses["task"].detach())))
    for one, two in values:
        assert one == pytest.approx(two, rel=1e-5)


def test_hardness_is_the_log_loss_of_each_class() -> None:
    _, _, output = run(("prior_shift",))
    assert all(math.isfinite(value) and value > 0 for value in output.hardness)


def test_a_frozen_backbone_gets_no_loss_of_its_own_and_does_not_move() -> None:
    config = small_config()
    first, tasks = make_context(config)
    live = step_losses(first, tasks)
    context, tasks = make_context(config)
    context.system.set_encoder.load_state_dict(first.system.set_encoder.state_dict())
    live_scorer: Any = context.score
    context.score = FrozenScorer(live_scorer, np.arange(len(context.rows)))
    output = step_losses(context, tasks)
    assert set(live.losses) - set(output.losses) == {"potential", "motif_sparsity"}
    for name, loss in output.losses.items():
        assert float(loss.detach()) == pytest.approx(float(live.losses[name].detach()), rel=1e-4, abs=1e-6)
    before = {name: value.clone() for name, value in context.system.state_dict().items()}
    optimisers = PartOptimisers(context.system, config.training)
    backward(Fabric(accelerator="cpu", devices=1), context.system, output.losses)
    optimisers.step(1.0)
    after = context.system.state_dict()
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert moved == set(PARTS) - {"backbone", "exposure"}


def test_some_steps_lower_the_task_loss_and_the_distillation() -> None:
    """A loop over the public parts, on the same tasks again and again."""
    config = small_config("training.warmup=1", "losses.distillation=3.0")
    context, tasks = make_context(config)
    optimisers = PartOptimisers(context.system, config.training)
    fabric = Fabric(accelerator="cpu", devices=1)
    course = []
    for _ in range(40):
        output = step_losses(context, tasks)
        course.append({name: float(loss.detach()) for name, loss in output.losses.items()})
        optimisers.zero()
        backward(fabric, context.system, output.losses)
        optimisers.step(1.0)
    assert course[-1]["task"] < course[0]["task"] - 0.05
    assert course[-1]["distillation"] < 0.5 * course[0]["distillation"]


def labelled_potentials(context: StepContext, tasks: list[Task]) -> torch.Tensor:
    """U_I of all pairs that are queried with a label, both halves of a two-way task."""
    queried = [rows for task in tasks for rows in ([task.query, task.support] if task.two_way else [task.query])]
    return context.score(np.concatenate(queried)).potential


def test_the_hinge_holds_the_pooled_potentials_of_the_step() -> None:
    settings = ("losses.potential_mean=2.0", "losses.potential_variance=3.0")
    context, tasks, output = run(("train", "pseudo_ood", "prior_shift", "mixed"), *settings)
    hold = {
        "level": context.config.environment.initial_impedance + math.log(0.4 / 0.6),
        "mean_weight": 2.0,
        "variance_weight": 3.0,
    }
    temperature = context.system.temperature()
    expected = float(potential_hinge(labelled_potentials(context, tasks), temperature, **hold).detach())
    assert expected > 0
    assert float(output.losses["potential"].detach()) == pytest.approx(expected, rel=1e-4)
    each = [
        float(potential_hinge(labelled_potentials(context, [task]), temperature, **hold).detach())
        for task in tasks
        if task.kind != "mixed"
    ]
    assert abs(np.mean(each) - expected) > 1e-3, "a hinge for each task would be another loss"


def test_losses_are_sums_over_the_views_divided_by_their_number() -> None:
    """The mixed task adds a view without a query: it halves nothing but counts in every divisor."""
    context, _, output = run(("train", "pseudo_ood", "prior_shift", "mixed"))
    entries, losses = output.tasks, {name: float(loss.detach()) for name, loss in output.losses.items()}
    views = len(entries)
    assert views == 7
    weight = context.config.losses
    square = sum((known(entry.r_student) - known(entry.r_reference)) ** 2 for entry in entries)
    assert losses["distillation"] == pytest.approx(weight.distillation * square / views, rel=1e-4)
    asked = [entry for entry in entries if entry.task is not None]
    train = [entry for entry in entries if entry.ratio is not None]
    assert (len(asked), len(train)) == (6, 3)
    assert losses["task"] == pytest.approx(sum(known(entry.task) for entry in asked) / views, rel=1e-4)
    assert losses["opportunist"] == pytest.approx(sum(known(entry.opportunist) for entry in train) / views, rel=1e-4)
    pull = sum(known(entry.pull_in) * known(entry.student) for entry in train)
    assert losses["pull_in"] == pytest.approx(pull / views, rel=1e-4)
    push = sum(known(entry.push_away) * known(entry.opportunist) for entry in train)
    assert losses["push_away"] == pytest.approx(-push / views, rel=1e-4)


def test_the_motif_loss_does_not_depend_on_the_tasks() -> None:
    context, _, few = run(("mixed",))
    _, _, many = run(("train", "pseudo_ood", "prior_shift", "mixed"))
    expected = context.config.losses.motif_sparsity * float(context.system.backbone.motif_norms().detach().sum())
    for output in (few, many):
        assert float(output.losses["motif_sparsity"].detach()) == pytest.approx(expected, rel=1e-5)
    assert "potential" not in few.losses, "no labelled query, nothing to hold"


@pytest.mark.parametrize(
    ("low", "high", "state", "rate"),
    [(0.0, 1e-9, "opportunist_ahead", 0.3), (0.0, 1e9, "inside", 1.0), (1e9, 1e9, "student_ahead", 2.0)],
)
def test_the_lock_asks_for_a_rate_and_leaves_the_opportunists_loss_as_it_is(
    low: float, high: float, state: str, rate: float
) -> None:
    context, tasks = make_context(small_config())
    context.pacing = PacingLock(context.pacing.config.model_copy(update={"pacing_low": low, "pacing_high": high}))
    output = step_losses(context, tasks[1:2])
    (entry,) = output.tasks
    assert (entry.state, output.opportunist_rate) == (state, rate)
    assert float(output.losses["opportunist"].detach()) == pytest.approx(entry.opportunist, rel=1e-5)


def test_the_rate_is_the_mean_over_training_tasks_and_one_without_any() -> None:
    context, tasks = make_context(small_config())
    context.pacing.student["a"], context.pacing.opportunist["a"] = 100.0, 1.0
    context.pacing.student["b"], context.pacing.opportunist["b"] = 1.0, 1.0
    context.pacing = replace(context.pacing, config=context.pacing.config.model_copy(update={"pacing_high": 10.0}))
    output = step_losses(context, [replace(tasks[0], two_way=False), tasks[1], tasks[4]])
    assert [entry.state for entry in output.tasks] == ["opportunist_ahead", "inside", None]
    assert output.opportunist_rate == pytest.approx((0.3 + 1.0) / 2)
    assert run(("pseudo_ood", "prior_shift", "mixed"))[2].opportunist_rate == 1.0


def test_a_task_with_empty_shown_hides_every_label() -> None:
    values = []
    for flip in (False, True):
        context, tasks = make_context(small_config())
        task = replace(tasks[1], shown=np.zeros(0, dtype=bool))
        label = context.rows.label.copy()
        if flip:
            label[task.support] = 1 - label[task.support]
        context.rows = replace(context.rows, label=label)
        values.append(step_losses(context, [task]).tasks[0].r_student)
    context, tasks = make_context(small_config())
    hidden = replace(tasks[1], shown=np.zeros(len(tasks[1].support), dtype=bool))
    values.append(step_losses(context, [hidden]).tasks[0].r_student)
    assert values[0] == values[1] == values[2]


def test_reliability_follows_the_halves_of_two_way_tasks_alone() -> None:
    context, tasks = make_context(small_config())
    encoder = context.system.set_encoder
    product, square = encoder.product.clone(), encoder.square.clone()
    step_losses(context, [tasks[1], tasks[3], tasks[4]])
    assert torch.equal(encoder.product, product) and torch.equal(encoder.square, square)
    step_losses(context, tasks[:1])
    mean = encoder.mean[:-1]
    with torch.no_grad():
        one, two = (context.score(rows).representation.mean(0) - mean for rows in (tasks[0].support, tasks[0].query))
    torch.testing.assert_close(encoder.product, 0.995 * product + 0.005 * one * two, atol=1e-6, rtol=1e-4)
    expected = 0.995 * square + 0.005 * (one.square() + two.square()) / 2
    torch.testing.assert_close(encoder.square, expected, atol=1e-6, rtol=1e-4)


def test_pairs_that_are_all_alike_give_finite_gradients() -> None:
    context, tasks = make_context(small_config())
    rows = context.rows
    context.rows = replace(
        rows,
        enhancer=np.zeros_like(rows.enhancer),
        promoter=np.full_like(rows.promoter, 30),
        mirrored=np.zeros_like(rows.mirrored),
    )
    context.score = LiveScorer(context.system.backbone, make_store(), context.rows)
    output = step_losses(context, tasks)
    backward(Fabric(accelerator="cpu", devices=1), context.system, output.losses)
    for name, parameter in context.system.named_parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), name


def test_a_step_in_half_precision_stays_finite() -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    context, tasks = make_context(small_config())
    with fabric.autocast():
        output = step_losses(context, tasks)
    assert all(bool(torch.isfinite(loss)) for loss in output.losses.values())
    backward(fabric, context.system, output.losses)
    PartOptimisers(context.system, context.config.training).step(1.0)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in context.system.parameters())
