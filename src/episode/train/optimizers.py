"""One optimiser and one clipping norm for each part, so that no part's gradient changes another part's step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from episode.config import TrainConfig
from episode.train.gradient_table import owners

__all__ = ["PartOptimisers", "rate_factor"]


def rate_factor(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then a cosine to 2 % at the last of `steps`; `step` counts from 0."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class PartOptimisers:
    """AdamW for each part of the system."""

    def __init__(self, system: nn.Module, config: TrainConfig) -> None:
        self.config = config
        self.owned = owners(system)
        student = config.environment_rate
        self.rates = {
            "backbone": config.learning_rate,
            "temperature": config.learning_rate,
            "set_encoder": student,
            "student": student,
            "teacher": student * config.teacher_rate_factor,
            "opportunist": student,
            "exposure": student,
        }
        self.optimisers = {
            part: torch.optim.AdamW(self._groups(part), lr=self.rates[part])
            for part, parameters in self.owned.items()
            if parameters
        }

    def _groups(self, part: str) -> list[dict[str, Any]]:
        """Weight decay belongs to the Backbone, and there to matrices: a decayed threshold or bias is another model."""
        if part != "backbone":
            return [{"params": self.owned[part], "weight_decay": 0.0}]
        return [
            {"params": [p for p in self.owned[part] if p.ndim >= 2], "weight_decay": self.config.weight_decay},
            {"params": [p for p in self.owned[part] if p.ndim < 2], "weight_decay": 0.0},
        ]

    def zero(self) -> None:
        """Forget the gradients of the last step."""
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)

    def step(self, factor: float, *, opportunist: float = 1.0) -> None:
        """Clip and step each part on its own, at `factor` times its rate; a part no loss reached stays as it is.

        Parameters
        ----------
        opportunist : float
            Further factor on the Opportunist's, as the pacing lock has it.
        """
        for part, optimiser in self.optimisers.items():
            if all(parameter.grad is None for parameter in self.owned[part]):
                continue
            torch.nn.utils.clip_grad_norm_(self.owned[part], self.config.clip)
            for group in optimiser.param_groups:
                group["lr"] = self.rates[part] * factor * (opportunist if part == "opportunist" else 1.0)
            optimiser.step()

    def state(self) -> dict[str, Tensor]:
        """Adam's moments as named tensors, for a checkpoint."""
        tensors = {}
        for part, optimiser in self.optimisers.items():
            for index, parameter in enumerate(self.owned[part]):
                for name, value in optimiser.state.get(parameter, {}).items():
                    tensors[f"{part}.{index}.{name}"] = value
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""
        for name, value in tensors.items():
            part, index, key = name.split(".")
            parameter = self.owned[part][int(index)]
            self.optimisers[part].state[parameter][key] = value.to(parameter.device) if key != "step" else value
