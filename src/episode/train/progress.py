"""What a training carries from step to step, saved and taken back so that a kill costs nothing.

    FOLDER/
      resume.safetensors  weights, best weights, moments; progress and pacing as words
      metrics.jsonl       the log up to that state

Knows nothing about how a step is made.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from episode.checkpoint import load_state, save_state
from episode.errors import CheckpointError
from episode.files import atomic_file
from episode.losses.pacing import PacingLock
from episode.model.energy import EnergySystem
from episode.train.optimisers import PartOptimisers

__all__ = ["STATE", "Progress", "restore_training", "save_training", "write_log"]

STATE = "resume.safetensors"


@dataclass
class Progress:
    """Where a training stands, besides weights and moments.

    Parameters
    ----------
    step : int
        Steps taken.
    stage : str
        "learn", "settle" or "done".
    stage_start : int
        Step at which the stage began.
    best_step : int
    best_aupr, best_loss : float
        Of the validation at `best_step`.
    stale : int
        Validations since then.
    alpha : float
        IMMAX alpha of the next step.
    hardness : list of float
        Moving averages of the log-loss of positives and of negatives.
    pull_in, push_away, tasks : int
        Tasks in which each was above zero, and all tasks that compete.
    directions : int
        Directions that the exposure started along.
    best : dict of str to Tensor
        Weights of `best_step`.
    lines : list of str
        The log.
    """

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
    directions: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def save_training(
    folder: Path,
    identity: dict[str, Any],
    progress: Progress,
    system: EnergySystem,
    optimisers: PartOptimisers,
    pacing: PacingLock,
) -> None:
    """Write the log, then the state; each by atomic rename."""
    tensors = {f"model.{name}": value for name, value in system.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in progress.best.items()}
    tensors |= {f"optimiser.{name}": value for name, value in optimisers.state().items()}
    counts = vars(progress) | {"best": None, "lines": len(progress.lines)}
    write_log(folder, progress)
    save_state(folder / STATE, tensors, {"identity": identity, "progress": counts, "pacing": pacing.state()})


def restore_training(
    folder: Path, identity: dict[str, Any], system: EnergySystem, optimisers: PartOptimisers, pacing: PacingLock
) -> Progress:
    """Take back what `save_training` wrote.

    Raises
    ------
    CheckpointError
        If there is nothing, it is damaged, or it belongs to a training of another `identity`.
    """
    if not (folder / STATE).exists():
        raise CheckpointError(f"{folder}: nothing to resume (no {STATE} there)")
    tensors, words = load_state(folder / STATE)
    if words.get("identity") != json.loads(json.dumps(identity)):
        changed = [key for key, value in identity.items() if words.get("identity", {}).get(key) != value]
        raise CheckpointError(
            f"{folder}: was started with another {', '.join(changed)}; resume needs the same dataset, "
            "configuration and seed"
        )

    def part(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

    system.load_state_dict(part("model."))
    optimisers.restore(part("optimiser."))
    pacing.restore(words["pacing"])
    log = folder / "metrics.jsonl"
    try:
        lines = log.read_text().splitlines(keepends=True)[: words["progress"]["lines"]]
    except OSError as error:
        raise CheckpointError(f"{log}: cannot be read ({error.strerror})") from None
    return Progress(**words["progress"] | {"best": part("best."), "lines": lines})


def write_log(folder: Path, progress: Progress) -> None:
    """Write the log as it stands."""
    with atomic_file(folder / "metrics.jsonl") as temporary:
        temporary.write_text("".join(progress.lines))
