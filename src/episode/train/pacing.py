"""Adaptive Pacing Lock (APL): who is ahead in each environment, and what follows from it.

Plain numbers in and out, no tensors; it watches only the query losses under R_S, R_T, R_EM and R_O.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from pydantic import ConfigDict

from episode.config import LossConfig
from episode.schema import Model

__all__ = ["PacingDecision", "PacingLock", "PacingState", "TaskLosses"]

SLOW, FAST = 0.3, 2.0
RAMP = 0.1
"""Excess over the baseline, as a fraction of it, at which pull-in has its full weight."""


@dataclass(frozen=True)
class TaskLosses:
    """Query losses of one task, in nats.

    Parameters
    ----------
    student, opportunist, baseline : float
        Under R_S; under R_O; the reasonable baseline min(L_T, L_EM) (inf where there is none).
    """

    student: float
    opportunist: float
    baseline: float


@dataclass(frozen=True)
class PacingDecision:
    """What the lock allows in one task.

    Parameters
    ----------
    state : str
        "opportunist_ahead", "inside" or "student_ahead".
    ratio : float
        rho_c = EMA(L_S) / EMA(L_O).
    pull_in : float
        w_c, in [0, weight].
    push_away : float
        0 or the weight.
    opportunist_rate : float
        Factor on the Opportunist's learning in this environment, in [0.3, 2].
    """

    state: Literal["opportunist_ahead", "inside", "student_ahead"]
    ratio: float
    pull_in: float
    push_away: float
    opportunist_rate: float


class PacingState(Model):
    """Moving averages of the lock, in nats, by environment."""

    model_config = ConfigDict(allow_inf_nan=True)

    student: dict[str, float]
    opportunist: dict[str, float]
    pseudo_ood_lead: float | None


@dataclass
class PacingLock:
    """State of the lock: moving averages for every environment on its own."""

    config: LossConfig
    student: dict[str, float] = field(default_factory=dict)
    opportunist: dict[str, float] = field(default_factory=dict)
    pseudo_ood_lead: float | None = None
    """Moving average of L_S - L_O over pseudo-OOD tasks; None before the first."""

    def observe_pseudo_ood(self, losses: TaskLosses) -> None:
        """Record by how much the Opportunist leads where it was never trained."""
        decay, lead = self.config.pacing_decay, losses.student - losses.opportunist
        before = lead if self.pseudo_ood_lead is None else self.pseudo_ood_lead
        self.pseudo_ood_lead = decay * before + (1 - decay) * lead

    def decide(self, environment: str, losses: TaskLosses) -> PacingDecision:
        """Update the averages of a training environment and say what may act on this task."""
        decay, config = self.config.pacing_decay, self.config
        for averages, value in ((self.student, losses.student), (self.opportunist, losses.opportunist)):
            averages[environment] = decay * averages.get(environment, value) + (1 - decay) * value
        lead = self.student[environment] - self.opportunist[environment]
        ratio = self.student[environment] / max(self.opportunist[environment], 1e-9)
        if ratio < config.pacing_low:
            return PacingDecision("student_ahead", ratio, 0.0, 0.0, FAST)
        pull = 0.0
        gap = losses.student - losses.baseline - config.pull_in_margin
        if gap > 0:
            pull = config.pull_in * min(1.0, gap / (RAMP * max(losses.baseline, 1e-9)))
        elsewhere = math.inf if self.pseudo_ood_lead is None else self.pseudo_ood_lead
        shortcut = lead > config.push_away_margin and elsewhere < lead / 2
        push = config.push_away if shortcut else 0.0
        if ratio > config.pacing_high:
            return PacingDecision("opportunist_ahead", ratio, pull, push, SLOW)
        return PacingDecision("inside", ratio, pull, push, 1.0)

    def state(self) -> PacingState:
        """The averages, for a saved state."""
        return PacingState(student=self.student, opportunist=self.opportunist, pseudo_ood_lead=self.pseudo_ood_lead)

    def restore(self, state: PacingState) -> None:
        """Take back what `state` gave."""
        self.student, self.opportunist = dict(state.student), dict(state.opportunist)
        self.pseudo_ood_lead = state.pseudo_ood_lead
