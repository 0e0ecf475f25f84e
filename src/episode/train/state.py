"""What a training run carries from step to step, saved and taken back so that a kill costs nothing.

    FOLDER/
      resume.safetensors  weights, best weights, moments; progress and pacing as JSON
      metrics.jsonl       the log up to that state
      .lock               locked by the process at work

Knows nothing about how a step is made.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer
from torch import Tensor

from episode.checkpoint import MEMBERS, check_tensors, load_state, save_state
from episode.documents import read_lines
from episode.errors import CheckpointError, EpisodeError, FolderInUse
from episode.files import atomic_file, locked, remove_leftovers
from episode.identity import Identity, check_identity
from episode.model.energy import EnergySystem
from episode.schema import Model
from episode.train.data import RunIdentity
from episode.train.distributed import Processes
from episode.train.log import LOG, Line, log_text
from episode.train.optimizers import PartOptimisers
from episode.train.pacing import PacingLock, PacingState

__all__ = [
    "STATE",
    "Progress",
    "Start",
    "check_same_run",
    "claim_folder",
    "restore_training",
    "save_training",
    "unfinished",
    "write_log",
]

STATE = "resume.safetensors"
LOCK = ".lock"
FINISHED = ("model.safetensors", "alarms.json", "run.json")


class Start(enum.Enum):
    """What a run folder holds when a training run opens it."""

    NEW = "new"
    UNFINISHED = "unfinished"
    FINISHED = "finished"


def unfinished(folder: Path) -> bool:
    """Tell whether a folder holds a training run that can be resumed, cross-fitted or not."""
    return (folder / STATE).is_file() or ((folder / MEMBERS).is_dir() and not (folder / "run.json").exists())


@contextlib.contextmanager
def claim_folder(folder: Path, processes: Processes, *, resume: bool) -> Iterator[Start]:
    """Hold a run folder for one training run, and take away what a dead one left half-written there.

    The first process holds the lock of a file in the folder until the block ends, which removes it, or it dies. A file
    system without locks is trusted.

    Raises
    ------
    EpisodeError
        If another training run holds the folder, it is no folder, or it is in use and `resume` was not asked for.
    """
    with contextlib.ExitStack() as held:
        yield processes.ask_lead(lambda: _claim(folder, held, resume=resume))


def _claim(folder: Path, held: contextlib.ExitStack, *, resume: bool) -> Start:
    if folder.exists() and not folder.is_dir():
        raise EpisodeError(f"{folder}: is a file; give a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.enter_context(locked(folder / LOCK, lambda: _refuse_company(folder)))
    except OSError as error:
        raise EpisodeError(f"{folder}: {error.strerror}") from None
    held.callback((folder / LOCK).unlink, missing_ok=True)  # before the lock is given back
    for name in (STATE, LOG, *FINISHED):
        remove_leftovers(folder, name)
    state = (folder / STATE).exists()
    content = sorted(path.name for path in folder.iterdir() if path.name != LOCK)
    finished = (folder / "run.json").exists()
    own = tuple(f".{name}." for name in (STATE, LOG, *FINISHED))  # being written when a machine died that is not this
    foreign = [name for name in content if not (name.startswith(own) and name.endswith(".part"))]
    if (folder / LOG).exists() and not (folder / LOG).stat().st_size:
        foreign.remove(LOG)
    if content and not resume:
        begun = state or not (finished or foreign)
        hint = "resume it with --resume, or" if begun else "give a new folder or"
        raise EpisodeError(f"{folder}: exists already and is not empty; {hint} remove it first")
    if state:
        return Start.UNFINISHED
    if finished:
        return Start.FINISHED
    if foreign:
        raise CheckpointError(f"{folder}: nothing to resume (no {STATE} there), and {foreign[0]} is in the way")
    return Start.NEW


def _refuse_company(folder: Path) -> None:
    raise FolderInUse(f"{folder}: another process is training into it")


class Progress(Model):
    """Where a training run stands, besides weights and moments."""

    model_config = ConfigDict(frozen=False, allow_inf_nan=True, arbitrary_types_allowed=True)

    step: int = 0
    """Steps taken."""
    stage: Literal["learn", "settle", "done"] = "learn"
    stage_start: int = 0
    """Step at which the stage began."""
    best_step: int = 0
    best_aupr: float = -math.inf
    """Of the validation at `best_step`."""
    best_loss: float = math.inf
    """Of the validation at `best_step`."""
    stale: int = 0
    """Validations since then."""
    alpha: float = 0.5
    """IMMAX alpha of the next step."""
    hardness: list[float] = Field(default_factory=lambda: [math.log(2), math.log(2)])
    """Moving averages of the log-loss of positives and of negatives."""
    pull_in: int = 0
    """Tasks in which it was above zero."""
    push_away: int = 0
    """Tasks in which it was above zero."""
    tasks: int = 0
    """All tasks that compete."""
    queried: int = 0
    """Labelled query pairs of all tasks so far."""
    directions: int = 0
    """Directions that the exposure started along."""
    best: Annotated[dict[str, Tensor], BeforeValidator(lambda found: found or {}), PlainSerializer(lambda _: None)] = (
        Field(default_factory=dict)
    )
    """Weights of `best_step`; null in a file, where they are among the tensors."""
    lines: int = 0
    """Lines of the log."""
    log: list[str] = Field(default_factory=list, exclude=True)

    def note(self, line: Line) -> None:
        """Add a line to the log."""
        self.log.append(log_text(line))
        self.lines = len(self.log)


class TrainingState(Model):
    """What resume.safetensors holds besides tensors."""

    identity: Identity
    """See `episode.train.data.TrainingData.identity`; compared as it is, whatever it holds."""
    progress: Progress
    pacing: PacingState
    log_sha256: str | None = None
    """Of the lines of the log, as bytes; absent in states of older versions."""


def save_training(
    folder: Path,
    identity: RunIdentity,
    progress: Progress,
    system: EnergySystem,
    optimisers: PartOptimisers,
    pacing: PacingLock,
) -> None:
    """Write the log, then the state; each by atomic rename."""
    tensors = {f"model.{name}": value for name, value in system.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in progress.best.items()}
    tensors |= {f"optimiser.{name}": value for name, value in optimisers.state().items()}
    write_log(folder, progress)
    state = TrainingState(
        identity=identity.model_dump(mode="json"),
        progress=progress,
        pacing=pacing.state(),
        log_sha256=_log_sha256(progress.log),
    )
    save_state(folder / STATE, tensors, state)


def check_same_run(held: Identity, asked: Identity, where: str) -> None:
    """Refuse to resume, or to take for one's own, a training run of other data, settings or seed.

    Raises
    ------
    CheckpointError
        See `episode.identity.check_identity`.
    """
    need = "resume needs the same dataset, configuration and seed"
    check_identity(held, asked, where=where, need=need, error=CheckpointError)


def restore_training(
    folder: Path, identity: RunIdentity, system: EnergySystem, optimisers: PartOptimisers, pacing: PacingLock
) -> Progress:
    """Take back what `save_training` wrote.

    Raises
    ------
    CheckpointError
        If there is nothing, it is damaged, or it belongs to a training run of another `identity`.
    """
    if not (folder / STATE).exists():
        raise CheckpointError(f"{folder}: no {STATE} there; every process needs to see the run folder")
    tensors, state = load_state(folder / STATE, TrainingState)
    check_same_run(state.identity, identity.model_dump(mode="json"), f"{folder}: was started with")

    def part(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

    progress, where = state.progress, str(folder / STATE)
    progress.best = part("best.")
    for found in filter(None, (part("model."), progress.best)):
        check_tensors(found, system.state_dict(), where=where)
    system.load_state_dict(part("model."))
    try:
        optimisers.restore(part("optimiser."))
    except (KeyError, IndexError, ValueError):
        raise CheckpointError(f"{where}: its moments are not those of this model; remove it to start again") from None
    pacing.restore(state.pacing)
    progress.log = read_lines(folder / LOG, error=CheckpointError)[: progress.lines]
    if len(progress.log) < progress.lines or state.log_sha256 not in (None, _log_sha256(progress.log)):
        raise CheckpointError(f"{folder / LOG}: was changed after it was written; take it from a copy, or train again")
    return progress


def _log_sha256(lines: list[str]) -> str:
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write_log(folder: Path, progress: Progress) -> None:
    """Write the log as it stands."""
    with atomic_file(folder / LOG) as temporary:
        temporary.write_text("".join(progress.log), encoding="utf-8")
