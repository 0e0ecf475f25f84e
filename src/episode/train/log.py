"""The log of a training run: what each line of metrics.jsonl holds, written and read.

A line is one JSON object. What is not a finite number is null; what was not computed is absent. Knows nothing about
how the numbers come about.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, RootModel

from episode.checkpoint import MEMBERS
from episode.documents import read_lines
from episode.errors import CheckpointError
from episode.files import finite
from episode.schema import Model, parse_json

__all__ = [
    "LOG",
    "EnvironmentEntry",
    "Line",
    "LogLine",
    "SpectrumLine",
    "TaskEntry",
    "TrainLine",
    "ValidationLine",
    "log_text",
    "read_log",
]

LOG = "metrics.jsonl"


class _Entry(Model):
    model_config = ConfigDict(allow_inf_nan=True)  # in memory; `log_text` writes null


class TaskEntry(_Entry):
    """One direction of one task of a step."""

    environment: str
    kind: str
    """train, pseudo_ood, prior_shift or mixed."""
    r_student: float | None
    """R_S, mean over the channels."""
    r_reference: float | None
    """R_ref, which distillation pulls R_S towards, mean over the channels."""
    task: float | None = None
    """IMMAX loss in nats, where the query has labels of both classes."""
    student: float | None = None
    """Query loss under R_S in nats, where the Opportunist competes."""
    opportunist: float | None = None
    """Query loss under R_O in nats."""
    baseline: float | None = None
    """Query loss in nats of the better of R_T and R_EM."""
    state: Literal["opportunist_ahead", "inside", "student_ahead"] | None = None
    """Of the pacing lock, in training environments."""
    ratio: float | None = None
    """rho_c of the pacing lock."""
    pull_in: float | None = None
    """Weight of the pull-in term."""
    push_away: float | None = None
    """Weight of the reversed Opportunist loss."""
    opportunist_rate: float | None = None
    """Factor on the Opportunist's learning."""


class TrainLine(_Entry):
    """One step: weighted losses in nats, each where it was made, and its tasks."""

    kind: Literal["train"]
    step: int
    """Steps taken before this one."""
    alpha: float
    """IMMAX alpha of the step."""
    distillation: float | None = None
    orthogonality: float | None = None
    task: float | None = None
    sparsity: float | None = None
    opportunist: float | None = None
    pull_in: float | None = None
    push_away: float | None = None
    motif_sparsity: float | None = None
    potential: float | None = None
    tasks: list[TaskEntry]


class EnvironmentEntry(_Entry):
    """One environment in a validation."""

    environment: str
    task: float | None
    """IMMAX loss under R_S in nats."""
    aupr: float | None
    """Average precision of U_I."""
    r_student: float | None
    r_teacher: float | None
    """Null where the Teacher does not know the environment."""
    r_oracle: float | None


class ValidationLine(_Entry):
    """One validation."""

    kind: Literal["validation"]
    stage: Literal["learn", "settle"]
    step: int
    """Steps taken."""
    task: float | None
    """IMMAX loss in nats, mean over environments."""
    log_loss: float | None
    """Log-loss in nats after calibration."""
    aupr: float | None
    """AUPR of U_I, mean over environments."""
    aupr_ranked: float | None = None
    """AUPR of U_I less what the R_S of a pair deviates from the mean."""
    slope: float | None
    """Of R_S on the impedance that the labels call for."""
    temperature: float | None
    r_teacher_mean: float | None
    r_teacher_sd: float | None
    environments: list[EnvironmentEntry]


class SpectrumLine(_Entry):
    """Directions that the exposure could start along."""

    kind: Literal["spectrum"]
    step: int
    wanted: int
    """K - 1."""
    found: int
    """Those that scores give."""
    kept: int
    """Those of them that both halves of the loci agree in."""
    p: list[float]
    """Of each direction found."""


Line = TrainLine | ValidationLine | SpectrumLine


class LogLine(RootModel[Line]):
    """A line of metrics.jsonl."""

    root: Line = Field(discriminator="kind")


def log_text(line: Line) -> str:
    """Return a line of the log, with its line break."""
    return json.dumps(finite(line.model_dump(exclude_unset=True))) + "\n"


def log_file(run_folder: Path) -> Path:
    """Log of a run; of a cross-fitted one that of its first member."""
    logs = (run_folder / LOG, *sorted((run_folder / MEMBERS).glob(f"*/{LOG}")))
    return next((path for path in logs if path.exists()), logs[0])


def read_log(path: Path) -> list[Line]:
    """Read the log of a run.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or a line is not of the log.
    """
    return [
        parse_json(line, LogLine, where=f"{path}:{number}", error=CheckpointError).root
        for number, line in enumerate(read_lines(path, error=CheckpointError), 1)
    ]
