"""Two processes train as one: the same ownership, the same bits in both, the same model up to rounding."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from allowed_gradients import ALLOWED, MOVED
from episode.checkpoint import load_run
from episode.config import Config, TrainConfig
from episode.data.storage import load_dataset
from episode.errors import ConfigError, EpisodeError, InputError, Problem
from episode.train import loop
from episode.train.distributed import Layout, Processes, launch
from episode.train.gradient_table import backward
from episode.train.optimizers import PartOptimisers
from episode.train.sharded_scoring import SharedScorer
from episode.train.step import StepContext, StepOutput, step_losses
from small_systems import make_context, small_config
from tiny_world import config as tiny_config
from tiny_world import dataset, dataset_folder

CPU = TrainConfig(accelerator="cpu")
STEPS = 4
LINES = ("train01", "train02", "train03", "train04", "train05")
SETTINGS = ("training.validate_every=2", "episodes.train=1.0", "episodes.two_way=0.2", "stem.min_information=19")
"""Few motifs: a bank of many takes longer to read than so short a training run."""


@dataclass(frozen=True)
class Seen:
    """What one process saw of the checks."""

    weights: dict[str, Tensor]
    tasks: list[dict[str, Any]]
    gradient: dict[str, Tensor]
    moved: dict[str, set[str]]
    backbones: list[dict[str, Tensor]]
    accumulated: dict[str, Tensor]
    potential: Tensor
    plain: Tensor
    few: Tensor
    answer: int
    order: list[int]
    error: str
    apart: str
    astray: str
    unequal: str


def shared(context: StepContext, processes: Processes) -> SharedScorer:
    """Give the context a scorer that shares its pairs out."""
    scorer = SharedScorer(context.score, processes)  # type: ignore[arg-type]
    context.score = scorer
    return scorer


def gradients(context: StepContext, scorer: SharedScorer, output: StepOutput, names: set[str] | None = None) -> None:
    losses = {name: loss for name, loss in output.losses.items() if names is None or name in names}
    backward(scorer.processes.fabric, context.system, losses, scorer.leaves)
    scorer.backward()


def stepped(
    config: Config, processes: Processes, steps: int = STEPS
) -> tuple[StepContext, list[dict[str, Any]], dict[str, Tensor]]:
    """Some steps on the same tasks, as the loop takes them; the context, the log, and the first step's gradients."""
    context, tasks = make_context(config)
    scorer = shared(context, processes)
    optimisers = PartOptimisers(context.system, config.training)
    log, first = [], {}
    for step in range(steps):
        output = step_losses(context, tasks)
        optimisers.zero()
        gradients(context, scorer, output)
        if step == 0:
            named = context.system.named_parameters()
            first = {name: value.grad.clone() for name, value in named if value.grad is not None}
        optimisers.step(1.0, opportunist=output.opportunist_rate)
        for index, embedding in output.observed:
            context.system.teacher.observe(index, embedding)
        log += [entry.model_dump(exclude_unset=True) for entry in output.tasks]
    return context, log, first


def moved_parts(processes: Processes, name: str) -> set[str]:
    """Parts with a gradient other than zero after the backward pass of one loss."""
    context, tasks = make_context(small_config("impedance.channels=2"))
    with torch.no_grad():
        context.system.backbone.energy.linear.bias.add_(6.0)  # out of the band in which the mean hinge rests
    scorer = shared(context, processes)
    gradients(context, scorer, step_losses(context, tasks), {name})
    named = context.system.named_parameters()
    return {key.split(".")[0] for key, value in named if value.grad is not None and bool(value.grad.any())}


def backbone_after(processes: Processes, weight: float) -> dict[str, Tensor]:
    settings = [f"losses.{name}={weight}" for name in ("distillation", "pull_in", "push_away", "sparsity")]
    context, _, _ = stepped(small_config(*settings, f"losses.orthogonality={weight}"), processes, steps=1)
    return {name: value.clone() for name, value in context.system.backbone.state_dict().items()}


def caught(action: Callable[[], object]) -> str:
    try:
        action()
    except EpisodeError as error:
        return str(error)
    return ""


def add_up_twice(processes: Processes) -> None:
    for _ in range(2):
        processes.add_up(torch.ones(3))


def see(processes: Processes) -> tuple[list[Seen], str]:
    """All that needs two processes, in one go: what each of them saw, and what the first says when the other leaves."""
    torch.set_num_threads(1)
    context, tasks, gradient = stepped(small_config(), processes)
    parts = Processes(processes.fabric, accumulate=3)
    index = np.arange(37)[::-1].copy()
    plain = shared(make_context(small_config())[0], processes)
    drawn = plain(index, gradient=True)
    few = plain(index[:1], gradient=True)
    order: list[int] = []

    def refuse() -> None:
        raise EpisodeError(f"asked in process {processes.rank}")

    processes.lead_first(lambda: order.append(processes.rank))
    processes.check_agreement(context.system.state_dict(), (1, 0.5), 3)
    other = {name: value + processes.rank for name, value in context.system.state_dict().items()}
    seen = Seen(
        weights=dict(context.system.state_dict()),
        tasks=tasks,
        gradient=gradient,
        moved={name: moved_parts(processes, name) for name in ALLOWED},
        backbones=[backbone_after(processes, weight) for weight in (0.0, 100.0)],
        accumulated=stepped(small_config(), parts)[2],
        potential=drawn.potential.detach(),
        plain=plain.live(index).potential,
        few=few.potential.detach(),
        answer=processes.ask_lead(lambda: 10 + processes.rank),
        order=order,
        error=caught(lambda: processes.ask_lead(refuse)),
        apart=caught(lambda: processes.check_agreement(other, (1, 0.5), 3)),
        astray=caught(lambda: processes.check_agreement({}, (1, 0.5 + processes.rank), 3)),
        unequal=caught(lambda: plain(index[processes.rank :])),
    )
    every: list[Any] = [None] * processes.count
    dist.all_gather_object(every, seen)
    if not processes.lead:
        os._exit(0)  # leaves without a word, while the first one goes on
    return every, caught(lambda: add_up_twice(processes))


@pytest.fixture(scope="module")
def outcome() -> tuple[list[Seen], str]:
    return launch(see, training=CPU, layout=Layout(devices=2))


@pytest.fixture(scope="module")
def both(outcome: tuple[list[Seen], str]) -> list[Seen]:
    assert len(outcome[0]) == 2
    return outcome[0]


@pytest.fixture(scope="module")
def one() -> tuple[StepContext, list[dict[str, Any]], dict[str, Tensor]]:
    return stepped(small_config(), Processes.alone(CPU))


@pytest.mark.slow
def test_both_processes_hold_the_same_bits(both: list[Seen]) -> None:
    first, second = both
    for name, value in first.weights.items():
        assert value.equal(second.weights[name]), name
    assert first.tasks == second.tasks
    assert first.potential.equal(second.potential)


@pytest.mark.slow
def test_two_processes_train_as_one(both: list[Seen], one: tuple[StepContext, list[Any], dict[str, Tensor]]) -> None:
    """Gradients of a step to float32's rounding; weights, statistics and the log of several steps to 1e-4."""
    context, tasks, gradient = one
    for seen in both:
        assert seen.gradient.keys() == gradient.keys()
        for name, value in gradient.items():
            torch.testing.assert_close(seen.gradient[name], value, rtol=1e-4, atol=1e-6, msg=name)
        for name, value in context.system.state_dict().items():
            # of a gradient that is nothing but rounding Adam makes whole steps
            sure = gradient[name].abs() > 1e-5 if name in gradient else torch.ones_like(value, dtype=torch.bool)
            torch.testing.assert_close(seen.weights[name][sure], value[sure], rtol=1e-4, atol=1e-4, msg=name)
        for got, expected in zip(seen.tasks, tasks, strict=True):
            assert got.keys() == expected.keys()
            for key, value in expected.items():
                assert got[key] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value)


@pytest.mark.slow
def test_parts_scored_one_after_the_other_give_the_same_gradient(
    both: list[Seen], one: tuple[StepContext, list[Any], dict[str, Tensor]]
) -> None:
    alone = stepped(small_config(), Processes.alone(CPU, accumulate=4), steps=1)[2]
    for got in (alone, both[0].accumulated):
        for name, value in one[2].items():
            torch.testing.assert_close(got[name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_ownership_under_two_processes(both: list[Seen], name: str) -> None:
    for seen in both:
        assert seen.moved[name] == MOVED[name]


@pytest.mark.slow
def test_environment_losses_leave_the_backbone_alone_under_two_processes(both: list[Seen]) -> None:
    for seen in both:
        without, with_all = seen.backbones
        assert all(value.equal(with_all[name]) for name, value in without.items())
    start = make_context(small_config())[0].system.backbone.state_dict()
    assert any(not value.equal(both[0].backbones[0][name]) for name, value in start.items())


@pytest.mark.slow
def test_pairs_come_back_in_the_order_in_which_they_were_asked_for(both: list[Seen]) -> None:
    torch.testing.assert_close(both[1].potential, both[1].plain, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_fewer_pairs_than_processes(both: list[Seen]) -> None:
    for seen in both:
        torch.testing.assert_close(seen.few, both[1].plain[:1], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_first_process_answers_and_fails_for_all(both: list[Seen]) -> None:
    assert [seen.answer for seen in both] == [10, 10]
    assert [seen.order for seen in both] == [[0], [1]]
    assert [seen.error for seen in both] == ["asked in process 0"] * 2


@pytest.mark.slow
def test_processes_that_drift_apart_are_an_error(both: list[Seen]) -> None:
    for seen in both:
        for text in (seen.apart, seen.astray):
            assert text.startswith("after step 3 processes [1] hold other weights or progress than process 0: all need")
        assert seen.unequal.startswith("before scoring processes [1] ask for other pairs than process 0: all need")


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("impedance.channels=2",),
        ("potential.distance=true",),
        ("stem.kind=conv", "stem.known=true", "stem.filters=4", "stem.bin=32", "stem.min_information=19"),
        ("stem.gate=CTCF",),
    ],
    ids=lambda settings: settings[0] if settings else "plain",
)
def test_a_graph_cut_at_u_i_gives_the_gradients_of_the_whole(settings: tuple[str, ...]) -> None:
    """One process: cutting at U_I gives the gradients of one backward pass through everything."""
    config = small_config(*settings)
    context, tasks = make_context(config)
    assert (context.system.backbone.gate is not None) == bool(config.stem.gate)
    assert (context.system.backbone.decay is not None) == config.potential.distance
    output = step_losses(context, tasks)
    fabric = Processes.alone(CPU).fabric
    backward(fabric, context.system, output.losses)
    whole = {name: value.grad for name, value in context.system.named_parameters() if value.grad is not None}
    cut = stepped(config, Processes.alone(CPU), steps=1)[2]
    assert cut.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_tasks_without_a_query_move_no_backbone_through_u_i() -> None:
    context, tasks = make_context(small_config("losses.motif_sparsity=0"))
    scorer = shared(context, Processes.alone(CPU))
    gradients(context, scorer, step_losses(context, [task for task in tasks if task.kind == "mixed"]))
    assert not scorer.leaves
    deaf: Any = SimpleNamespace(count=2, add_up=lambda values: pytest.fail("nothing to add up"))
    SharedScorer(scorer.live, deaf).backward()
    assert all(p.grad is None or not bool(p.grad.any()) for p in context.system.backbone.parameters())


def a_run(processes: Processes, folder: Path, cache: Path, data: Path, victim: int, at: int) -> int:
    """A tiny training in which one process is killed for good; 0 where nothing was to be killed."""
    torch.set_num_threads(1)

    def report(step: int, steps: int, text: str) -> None:
        if (processes.rank, step) == (victim, at):
            os.kill(os.getpid(), signal.SIGKILL)

    content = load_dataset(data)
    content = content.select(content.pairs["cell_line"].isin(LINES).to_numpy())
    settings = tiny_config(*SETTINGS)
    loop.train(content, settings, seed=0, folder=folder, cache=cache, resume=True, report=report, processes=processes)
    return processes.rank


def numbers(folder: Path) -> dict[str, Tensor]:
    return dict(load_run(folder).system.state_dict())


@pytest.mark.slow
def test_a_killed_process_ends_the_training_and_another_number_of_them_goes_on(tmp_path: Path) -> None:
    folder, cache, data = tmp_path / "run", dataset_folder() / "store", dataset_folder()
    dataset()
    alone = Processes.alone(CPU)
    a_run(alone, tmp_path / "whole", cache, data, -1, 0)
    with pytest.raises(
        EpisodeError, match=r"process 1 of the training run was killed \(SIGKILL\); continue with --resume"
    ):
        launch(a_run, folder, cache, data, 1, 5, training=CPU, layout=Layout(devices=2))
    assert "MASTER_PORT" not in os.environ
    assert {path.name for path in folder.iterdir()} - {".lock"} == {"metrics.jsonl", "resume.safetensors"}
    a_run(alone, folder, cache, data, -1, 0)
    assert not (folder / ".lock").exists()
    expected = numbers(tmp_path / "whole")
    for name, value in numbers(folder).items():  # Adam's steps are .01 wide whatever the gradient: a tenth of one
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-3, msg=name)


def refuses(processes: Processes, how: str) -> None:
    """One process has something to say, while the first one waits for it."""
    if not processes.lead:
        if how == "input":
            raise InputError([Problem("p.tsv", "bad", row=2)], "correct it")
        raise EpisodeError(f"said in process {processes.rank}")
    processes.ask_lead(lambda: time.sleep(0))
    time.sleep(600)


@pytest.mark.slow
@pytest.mark.parametrize(("how", "text"), [("input", "correct it\np.tsv:2: bad"), ("plain", "said in process 1")])
def test_an_error_of_another_process_ends_the_first_and_is_told(how: str, text: str) -> None:
    with pytest.raises(EpisodeError) as caught:
        launch(refuses, how, training=CPU, layout=Layout(devices=2))
    assert str(caught.value) == text and isinstance(caught.value, InputError) == (how == "input")


@pytest.mark.slow
def test_a_process_that_left_is_an_error_and_no_hang(outcome: tuple[list[Seen], str]) -> None:
    assert outcome[1].startswith("process 0 of 2: another process of this training run ended or cannot be reached")


@pytest.mark.parametrize("name", ["devices", "nodes", "accumulate"])
def test_a_layout_needs_at_least_one_of_each(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: needed 1 or more, got 0"):
        Layout(**{name: 0})


def test_more_processes_than_the_cores_can_bear_are_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("episode.train.distributed.usable_cores", lambda: 2)
    with pytest.raises(ConfigError, match="--devices 9: needed at most 8 processes, 4 for each of the 2 cores"):
        launch(see, training=CPU, layout=Layout(devices=9))


@pytest.mark.parametrize(("name", "value"), [("devices", 100_000), ("nodes", 10**18), ("accumulate", 10**9)])
def test_a_layout_has_bounds(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{name}: needed at most .*, got {value:,}"):
        Layout(**{name: value})


LAUNCHED = ("SLURM_NTASKS", "SLURM_JOB_NAME", "TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {},
            r"--nodes 2: nothing has started .*SLURM_NTASKS.*TORCHELASTIC_RUN_ID.* --nnodes 2 --nproc-per-node 1",
        ),
        ({"MASTER_ADDR": "localhost", "WORLD_SIZE": "2", "RANK": "0"}, "--nodes 2: nothing has started"),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "interactive"}, "--nodes 2: nothing has started"),
        ({"SLURM_NTASKS": "2"}, r"one of its tasks \(no SLURM_PROCID\)"),
        ({"TORCHELASTIC_RUN_ID": "x"}, "MASTER_ADDR, MASTER_PORT, WORLD_SIZE, RANK, LOCAL_RANK"),
        (
            dict.fromkeys(("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK"), "0")
            | {"WORLD_SIZE": "4"},
            "needed 2 processes, but torchrun has started 4",
        ),
    ],
)
def test_several_machines_need_a_launcher_at_once(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*LAUNCHED, "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        launch(see, training=CPU, layout=Layout(nodes=2))


def test_processes_that_do_not_find_each_other_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(*_: object) -> None:
        raise dist.DistStoreError("Timed out after 2 seconds waiting for clients\nmore")

    monkeypatch.setattr("lightning_fabric.Fabric.launch", alone)
    with pytest.raises(EpisodeError, match=r"did not find each other within 0:30:00 \(Timed out .* clients\)"):
        launch(see, training=CPU, layout=Layout())


def test_a_layout_that_the_machine_does_not_have() -> None:
    with pytest.raises(ConfigError, match=r"training.accelerator 'cuda'"):
        launch(see, training=CPU.changed(accelerator="cuda"), layout=Layout(devices=2))
