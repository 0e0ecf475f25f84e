"""The processes of one training run: how they start, what they tell each other, and how they end together.

Lightning Fabric starts them on one machine, and finds its place among those that SLURM or torchrun have started. Knows
nothing about models, tasks or run folders.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Lock
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LSFEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor
from torch.multiprocessing import ProcessExitedException

from episode.config import TrainConfig
from episode.errors import ConfigError, EpisodeError
from episode.limits import ACCUMULATE, DEVICES, NODES, PROCESSES_OF_A_CORE
from episode.threads import usable_cores

__all__ = ["Layout", "Processes", "launch"]

WAIT = timedelta(minutes=30)
"""For the others within a step. One that died is noticed at once; this is for a machine or a network that vanished."""
LONG_WAIT = timedelta(days=2)
"""For the first one to encode the elements."""
LAUNCHERS = (TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment)
TORCHRUN = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "LOCAL_RANK")
"""Variables of each process that torchrun starts."""
LOST = "another process of this training run ended or cannot be reached; see its message, then continue with --resume"

T = TypeVar("T")


@dataclass(frozen=True)
class Layout:
    """How the work of a step is split. The result is the same up to rounding, so it is no part of a configuration.

    Parameters
    ----------
    devices : int
        Processes on each machine: CPU processes, or one for each GPU.
    nodes : int
        Machines.
    accumulate : int
        Parts that each process scores one after the other, so that only one of them is in memory with its graph.
    """

    devices: int = 1
    nodes: int = 1
    accumulate: int = 1

    def __post_init__(self) -> None:
        most = {"devices": DEVICES, "nodes": NODES, "accumulate": ACCUMULATE}
        for name, value in vars(self).items():
            if value < 1:
                raise ConfigError(f"{name}: needed 1 or more, got {value}")
            if value > most[name]:
                raise ConfigError(f"{name}: needed at most {most[name]:,}, got {value:,}")


class Processes:
    """One process among those of a training run; all of them call the same methods in the same order.

    Parameters
    ----------
    accumulate : int
        See `Layout`.
    """

    def __init__(self, fabric: Fabric, accumulate: int = 1) -> None:
        self.fabric, self.accumulate = fabric, accumulate
        self.rank, self.count = fabric.global_rank, fabric.world_size
        self.lead = self.rank == 0
        self._patient: Any = None
        if self.count > 1:
            self._patient = dist.new_group(backend="gloo", timeout=LONG_WAIT)

    @classmethod
    def alone(cls, training: TrainConfig, accumulate: int = 1) -> Processes:
        """The only process of a training run."""
        return cls(_fabric(training, Layout()), accumulate)

    def gather(self, own: Tensor, sizes: list[int]) -> Tensor:
        """Join the rows of all processes in the order of their ranks.

        Parameters
        ----------
        own : Tensor, shape (sizes[rank], width)
        sizes : list of int
            Rows of each process.

        Returns
        -------
        Tensor, shape (sum of sizes, width)
            The same bits in every process.
        """
        if self.count == 1:
            return own
        longest = max(sizes)
        padded = own.new_zeros(longest, own.shape[1])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        self._together(lambda: dist.all_gather(parts, padded))
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def add_up(self, values: Tensor) -> None:
        """Replace a tensor by its sum over all processes, the same bits in every one."""
        if self.count > 1:
            self._together(lambda: dist.all_reduce(values))

    def ask_lead(self, question: Callable[[], T]) -> T:
        """Let the first process do something, however long it takes, and hand its answer to all; its error too."""
        if self.count == 1:
            return question()
        answer: list[Any] = [None, None]
        if self.lead:
            try:
                answer[0] = question()
            except EpisodeError as error:
                answer[1] = error
        self._together(lambda: dist.broadcast_object_list(answer, group=self._patient))
        if answer[1] is not None:
            raise answer[1]
        return cast(T, answer[0])

    def lead_first(self, function: Callable[[], T]) -> T:
        """Call a function in the first process, and in the others once it is done there: they find its files."""
        made: list[T] = []
        self.ask_lead(lambda: made.append(function()))
        return made[0] if made else function()

    def check_agreement(self, state: dict[str, Tensor], progress: tuple[float, ...], step: int) -> None:
        """Compare weights, and the numbers by which a training decides, over all processes, bit by bit.

        Raises
        ------
        EpisodeError
            If they differ: then the processes no longer train one model.
        """
        if self.count > 1:
            weights = (value.detach().cpu().contiguous().numpy().tobytes() for value in state.values())
            self._compare([repr(progress).encode(), *weights], f"after step {step}", "hold other weights or progress")

    def check_rows(self, index: np.ndarray) -> None:
        """Make sure that all processes are about to score the same rows.

        Raises
        ------
        EpisodeError
            If not; the shares would not fit together.
        """
        if self.count > 1:
            self._compare([index.astype(np.int64).tobytes()], "before scoring", "ask for other pairs")

    def _compare(self, content: Iterable[bytes], when: str, how: str) -> None:
        digest = hashlib.sha256()
        for part in content:
            digest.update(part)
        own = torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)[None].to(self.fabric.device)
        every = self.gather(own, [1] * self.count)
        if bool((every != every[0]).any()):
            apart = [rank for rank in range(self.count) if not every[rank].equal(every[0])]
            raise EpisodeError(
                f"{when} processes {apart} {how} than process 0: all need the same kind of machine, versions, data "
                "and --threads"
            )

    def _together(self, action: Callable[[], object]) -> None:
        try:
            action()
        except RuntimeError as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise EpisodeError(f"process {self.rank} of {self.count}: {LOST} ({reason})") from None


def launch(function: Callable[..., T], *arguments: Any, training: TrainConfig, layout: Layout) -> T:
    """Call ``function(processes, *arguments)`` in every process of a layout.

    On one machine they are started here, from scratch: function, arguments and result must be picklable. Where
    torchrun, SLURM or LSF has started them, this is one of them.

    Parameters
    ----------
    function : callable
        Defined at the top of a module.
    training : TrainConfig
        Gives accelerator and precision.

    Returns
    -------
    Result of the first process; each its own where a launcher had started them.

    Raises
    ------
    ConfigError
        If the machine or the launcher does not have these processes.
    EpisodeError
        If one of them ends before its time.
    """
    fabric = _fabric(training, layout)
    if layout.devices * layout.nodes == 1 or _started_elsewhere():
        try:
            return cast(T, fabric.launch(_Work(function, arguments, layout.accumulate)))
        except (dist.DistNetworkError, dist.DistStoreError) as error:
            reason = str(error).splitlines()[0]
            raise EpisodeError(
                f"the processes of this training run did not find each other within {WAIT} ({reason})"
            ) from None
    cores = usable_cores()
    if layout.devices > PROCESSES_OF_A_CORE * cores:
        most = f"{PROCESSES_OF_A_CORE} for each of the {cores} cores that this process may use"
        raise ConfigError(f"--devices {layout.devices}: needed at most {PROCESSES_OF_A_CORE * cores} processes, {most}")
    port = os.environ.get("MASTER_PORT")
    receiver, sender = get_context("spawn").Pipe(duplex=False)
    told: list[Any] = []
    listener = threading.Thread(target=_listen, args=(receiver, told), daemon=True)
    listener.start()
    try:
        fabric.launch(_Started(function, arguments, layout.accumulate, sender, get_context("spawn").Lock()))
    except ProcessExitedException as error:
        errors = [content for content in told if isinstance(content, EpisodeError)]
        if errors and not error.signal_name:
            raise errors[0] from None
        how = f"was killed ({error.signal_name})" if error.signal_name else f"ended with exit code {error.exit_code}"
        raise EpisodeError(f"process {error.error_index} of the training run {how}; continue with --resume") from None
    finally:
        sender.close()
        listener.join()
        if port is None:
            os.environ.pop("MASTER_PORT", None)
    if not told:
        raise EpisodeError("the processes of the training run ended without a result; continue with --resume")
    if isinstance(told[0], EpisodeError):
        raise told[0]
    return cast(T, told[0])


def _listen(receiver: Connection, told: list[Any]) -> None:
    """Take what the processes tell, as it comes; a pipe that nobody reads would keep them from ending."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            told.append(pickle.loads(receiver.recv_bytes()))


class _Work:
    """What each process does, opaque to Fabric, which would look into tuples and data classes for tensors to move."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], accumulate: int) -> None:
        self.function, self.arguments, self.accumulate = function, arguments, accumulate

    def __call__(self, fabric: Fabric) -> Any:
        return self.function(Processes(fabric, self.accumulate), *self.arguments)


class _Started(_Work):
    """The work of a process that was started here.

    By a pipe goes back the result of the first process, and an error meant for the user from any. One that fails beside
    the first ends with exit code 1, on which those that wait for it are ended.
    """

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], accumulate: int, sender: Connection, turn: Lock
    ) -> None:
        super().__init__(function, arguments, accumulate)
        self.sender, self.turn = sender, turn

    def __call__(self, fabric: Fabric) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # sent by the system when the parent dies; also within a wait
        try:
            content = super().__call__(fabric)
        except EpisodeError as error:
            content = error
            if fabric.global_rank > 0:
                print(f"process {fabric.global_rank}: {error}", file=sys.stderr, flush=True)
        failed = isinstance(content, EpisodeError)
        if fabric.local_rank == 0 or failed:
            with self.turn:
                self.sender.send_bytes(pickle.dumps(content))  # no tensor in memory that dies with this process
        if failed and fabric.local_rank > 0:
            sys.exit(1)


def _started_elsewhere() -> bool:
    return any(kind.detect() for kind in LAUNCHERS)


def _check_launcher(layout: Layout) -> None:
    """Refuse several machines that no launcher has started: this process would wait for the others without end."""
    given = f"--nodes {layout.nodes}"
    if not _started_elsewhere():
        raise ConfigError(
            f"{given}: nothing has started the other processes: neither srun (SLURM_NTASKS), torchrun "
            "(TORCHELASTIC_RUN_ID) nor jsrun (JSM_NAMESPACE_SIZE) has set its variable in the environment; start this "
            f"on every machine by srun, or by torchrun --nnodes {layout.nodes} --nproc-per-node {layout.devices}"
        )
    if TorchElasticEnvironment.detect():
        lacking = [name for name in TORCHRUN if name not in os.environ]
        if lacking:
            raise ConfigError(f"{given}: torchrun sets {', '.join(lacking)} for each process, but it is not there")
        count, needed = os.environ["WORLD_SIZE"], layout.devices * layout.nodes
        if count != str(needed):
            raise ConfigError(
                f"{given} --devices {layout.devices}: needed {needed} processes, but torchrun has started {count}"
            )
    elif SLURMEnvironment.detect() and "SLURM_PROCID" not in os.environ:
        raise ConfigError(f"{given}: this is a SLURM job, but not one of its tasks (no SLURM_PROCID); start it by srun")


def _fabric(training: TrainConfig, layout: Layout) -> Fabric:
    several = layout.devices * layout.nodes > 1
    if layout.nodes > 1:
        _check_launcher(layout)
    start = "popen" if _started_elsewhere() else "spawn"
    strategy = DDPStrategy(timeout=WAIT, start_method=cast(Any, start)) if several else "auto"
    try:
        return Fabric(
            accelerator=training.accelerator,
            devices=layout.devices,
            num_nodes=layout.nodes,
            strategy=strategy,
            precision=cast(Any, training.precision),
        )
    except (RuntimeError, ValueError) as error:
        what = f", --devices {layout.devices} --nodes {layout.nodes}" if several else ""
        raise ConfigError(f"training.accelerator {training.accelerator!r}{what}: {error}") from None
