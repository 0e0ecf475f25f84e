"""When numbers of a training run are no longer finite: one error for all of them, whatever part sees it first.

Knows nothing about losses, models or run folders.
"""

from __future__ import annotations

import math

from torch import Tensor

from episode.errors import EpisodeError

__all__ = ["Diverged", "require_finite"]


class Diverged(EpisodeError):
    """The numbers of a training run are no longer finite."""

    def __init__(
        self,
        text: str = "training diverged: its numbers are no longer finite; lower training.learning_rate or "
        "training.environment_rate, and train into a new folder",
    ) -> None:
        super().__init__(text)


def require_finite(*values: Tensor | float) -> None:
    """Raise where a number is not finite.

    Raises
    ------
    Diverged
        At NaN or an infinite number.
    """
    for value in values:
        if not (bool(value.isfinite().all()) if isinstance(value, Tensor) else math.isfinite(value)):
            raise Diverged
