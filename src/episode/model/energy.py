"""The energy system: Backbone, temperature and environment parts, and the one formula that joins them.

``forward`` only: nothing here trains, logs or saves.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from episode.config import Config
from episode.model.backbone import Backbone
from episode.model.decay import ContactDecay
from episode.model.environment.exposure import Exposure
from episode.model.environment.opportunist import Opportunist
from episode.model.environment.set_encoder import SetEncoder
from episode.model.environment.student import Student
from episode.model.environment.teacher import Teacher
from episode.model.gate import GateEncoder
from episode.model.stem import Stem

__all__ = ["PARTS", "EnergySystem", "Temperature", "fuse"]

PARTS = ("backbone", "temperature", "set_encoder", "student", "teacher", "opportunist", "exposure")
"""The parts of the system; every parameter belongs to exactly one."""


def fuse(teacher: Tensor, student: Tensor, weight: float) -> Tensor:
    """Impedances of a known environment, ``w R_T + (1 - w) R_S``; the same in training and in prediction."""
    return weight * teacher + (1 - weight) * student


class Temperature(nn.Module):
    """T > 0, and the global offset of U_I that calibration sets."""

    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.zeros(()))
        self.register_buffer("offset", torch.zeros(()))

    def forward(self) -> Tensor:
        """T, shape ()."""
        return self.log_temperature.exp()


class EnergySystem(nn.Module):
    """``P(y = 1) = sigmoid((U_I - R_E) / T)`` with ``R_E = <r, a>`` of environment r and pair a.

    Parameters
    ----------
    thresholds : Tensor, shape (channels,)
        Starting thresholds of the stem's channels.
    environments : int
        Number of environments that the Teacher knows.
    base_logit : float
        Logit of the prevalence in the training set.
    gate_levels : Tensor, shape (2, matrices), or None
        Of the matrices of the boundary gate, see `episode.model.gate`; None for no gate.
    """

    def __init__(
        self,
        config: Config,
        thresholds: Tensor,
        environments: int,
        base_logit: float,
        gate_levels: Tensor | None = None,
        stem: Stem | None = None,
    ) -> None:
        super().__init__()
        initial = config.environment.initial_impedance + base_logit
        gate = None if gate_levels is None else GateEncoder(gate_levels, config.stem.gate_bin)
        decay = ContactDecay() if config.potential.distance else None
        self.backbone = Backbone(config.backbone, thresholds, initial, gate, decay, stem, bin=config.stem.bin)
        self.temperature = Temperature()
        self.set_encoder = SetEncoder(config.environment, self.backbone.representation_size)
        self.student = Student(config.environment, config.impedance.channels)
        self.teacher = Teacher(config.environment, environments, config.impedance.channels)
        self.opportunist = Opportunist(config.environment)
        self.exposure = Exposure(config.impedance.channels, self.backbone.representation_size)

    def pair_impedance(self, impedance: Tensor, exposure: Tensor) -> Tensor:
        """R_E that pairs meet: ``<r, a>``.

        Parameters
        ----------
        impedance : Tensor, shape (K,)
            r of the environment.
        exposure : Tensor, shape (n, K)
            a of the pairs.

        Returns
        -------
        Tensor, shape (n,), or () with one channel, whose exposure is one
        """
        return impedance[0] if len(impedance) == 1 else (exposure * impedance).sum(1)

    def forward(self, potential: Tensor, impedance: Tensor) -> Tensor:
        """Logit of pairs: U_I (n,) and R_E () or (n,), in the same units, to (n,), dimensionless."""
        return (potential + self.temperature.offset - impedance) / self.temperature()
