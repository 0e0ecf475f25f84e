"""One step: what each kind of task contributes, what it logs, and what it must not show."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from builders import COMPETING, make_context, small_config
from episode.episodes.batch import FrozenScorer
from episode.episodes.prior_shift import shifted_impedance
from episode.episodes.sampler import Task
from episode.losses.immax import immax_loss
from episode.model.energy import PARTS, fuse
from episode.train.optimisers import PartOptimisers
from episode.train.routing import backward
from episode.train.step import StepContext, StepOutput, step_losses


def run(kinds: tuple[str, ...], *settings: str) -> tuple[StepContext, list[Task], StepOutput]:
    context, tasks = make_context(small_config(*COMPETING, *settings))
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
    known = context.system.teacher().detach().numpy()
    temperature = float(context.system.temperature().detach())
    for entry in output.tasks:
        got, index = entry["r_reference"], {"a": 0, "b": 1}.get(entry["environment"])
        if entry["kind"] == "train":
            assert got == pytest.approx(known[index], rel=1e-5)
        elif entry["kind"] == "mixed":
            assert got == pytest.approx(2 / 3 * known[0] + 1 / 3 * known[1], rel=1e-5)
        elif entry["kind"] == "pseudo_ood":
            assert known.min() - 1e-5 <= got <= known.max() + 1e-5
    (task,) = [task for task in make_context(context.config)[1] if task.kind == "prior_shift"]
    expected = max(0.0, shifted_impedance(float(known[0]), temperature, task.environment.share, 0.3))
    (entry,) = [entry for entry in output.tasks if entry["kind"] == "prior_shift"]
    assert entry["r_reference"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["train", "pseudo_ood", "prior_shift"])
def test_the_task_loss_uses_fusion_for_known_environments_and_the_student_alone_for_others(kind: str) -> None:
    config = small_config(*COMPETING, "environment.fusion_weight=0.7")
    context, tasks = make_context(config)
    index = next(number for number, task in enumerate(tasks) if task.kind == kind)
    task = replace(tasks[index], two_way=False)
    output = step_losses(context, [task])
    query = context.rows.take(task.query)
    with torch.no_grad():
        potential = context.score(task.query).potential
        student = torch.tensor(output.tasks[0]["r_student"])
        impedance = student
        if kind == "train":
            impedance = fuse(context.system.teacher()[task.environment.teacher], student, 0.7)
        expected = immax_loss(
            context.system(potential, impedance), torch.from_numpy(query.label > 0), alpha=context.alpha
        )
    assert float(output.losses["task"].detach()) == pytest.approx(float(expected), rel=1e-4)


def test_the_log_of_a_training_task() -> None:
    _, _, output = run(("train",))
    for entry in output.tasks:
        assert entry["pull_in"] > 0 and entry["push_away"] > 0
        assert entry["ratio"] == pytest.approx(entry["student"] / entry["opportunist"], rel=0.3)
        assert entry["state"] in ("opportunist_ahead", "inside")
        assert math.isfinite(entry["baseline"])


def test_pseudo_ood_tasks_are_watched_but_not_trained_on() -> None:
    context, _, output = run(("pseudo_ood",))
    assert context.pacing.student == {} and context.pacing.opportunist == {}
    assert context.pacing.pseudo_ood_lead != -100.0
    assert output.observed == []
    assert "ratio" not in output.tasks[0]


def test_prototypes_are_handed_out_for_ordinary_training_tasks_only() -> None:
    _, _, output = run(("train", "pseudo_ood", "prior_shift", "mixed"))
    assert [index for index, _ in output.observed] == [0, 0, 1]
    assert all(not embedding.requires_grad for _, embedding in output.observed)


def test_hidden_labels_of_the_support_and_unknown_labels_of_the_query_are_not_read() -> None:
    """Turning every label that may not be seen over leaves every loss as it was."""
    values = []
    for flip in (False, True):
        context, tasks = make_context(small_config(*COMPETING))
        task = replace(next(task for task in tasks if task.kind == "pseudo_ood"), two_way=False)
        label = context.rows.label.copy()
        if flip:
            label[task.support] = 1 - label[task.support]
        context.rows = replace(context.rows, label=label)
        values.append(
            {name: float(loss.detach()) for name, loss in step_losses(context, [task]).losses.items()}
        )
    assert values[0] == values[1]


def test_the_swapped_half_of_a_two_way_task_shows_no_label() -> None:
    values = []
    for flip in (False, True):
        context, tasks = make_context(small_config(*COMPETING))
        task = next(task for task in tasks if task.kind == "train" and task.two_way)
        label = context.rows.label.copy()
        if flip:
            label[task.query] = 1 - label[task.query]
        context.rows = replace(context.rows, label=label)
        values.append([entry["r_student"] for entry in step_losses(context, [task]).tasks])
    assert values[0] == values[1]
    assert values[0][0] != values[0][1]


def test_shown_labels_of_the_support_are_read() -> None:
    values = []
    for flip in (False, True):
        context, tasks = make_context(small_config(*COMPETING))
        task = replace(next(task for task in tasks if task.kind == "train"), two_way=False)
        label = context.rows.label.copy()
        if flip:
            shown = task.support[task.shown]
            label[shown] = 1 - label[shown]
        context.rows = replace(context.rows, label=label)
        values.append(step_losses(context, [task]).tasks[0]["r_student"])
    assert values[0] != values[1]


def test_an_environment_of_one_class_is_trained_on_as_unlabelled() -> None:
    context, tasks = make_context(small_config(*COMPETING))
    pool = replace(tasks[0].environment, label=np.zeros_like(tasks[0].environment.label))
    output = step_losses(context, [replace(tasks[0], environment=pool)])
    assert "task" not in output.losses and "opportunist" not in output.losses
    assert float(output.losses["distillation"].detach()) > 0


def test_unknown_labels_in_the_query_are_left_out() -> None:
    values = []
    for fill in (0, 1):
        context, tasks = make_context(small_config(*COMPETING))
        task = replace(next(task for task in tasks if task.kind == "pseudo_ood"), two_way=False)
        gap = task.query[::3]
        label = context.rows.label.copy()
        label[gap] = -1
        context.rows = replace(context.rows, label=label)
        whole = step_losses(context, [task]).losses["task"]
        context, _ = make_context(small_config(*COMPETING))
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
    config = small_config(*COMPETING)
    context, tasks = make_context(config)
    live = step_losses(context, tasks)
    context, tasks = make_context(config)
    context.score = FrozenScorer(context.score, np.arange(len(context.rows)))
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
    assert moved == set(PARTS) - {"backbone"}


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
