"""Which difference may be called a gain or a loss: the one rule behind every "beats", "helps" and "loses to".

A gain is claimed where its interval leaves out zero, it has the minimum size in here, and enough blocks of the genome,
draws and environments stand behind it; the mirror image is a loss. Anything else is not measurable. Knows neither
methods nor pages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from episode.metrics.intervals import METRICS, Estimate

__all__ = [
    "MIN_BLOCKS",
    "MIN_DRAWS",
    "MIN_ENVIRONMENTS",
    "MIN_SIZE",
    "ORACLE_SHARE",
    "Ground",
    "Verdict",
    "direction",
    "judge",
    "lead",
]

MIN_SIZE = dict.fromkeys(METRICS, 0.005) | {"log_loss": 0.002, "brier": 0.001}
"""Smallest difference that counts, in units of the metric (log-loss: nats)."""
ORACLE_SHARE = 0.10
"""Smallest difference of log-loss that counts, as a fraction of what the oracle impedance gains over one for all."""
MIN_BLOCKS = 10
"""Blocks of the genome behind an interval; from fewer, an interval that is too narrow is the rule."""
MIN_DRAWS = 40
"""Draws behind an interval: from fewer, its ends are the outermost draws."""
MIN_ENVIRONMENTS = 2
"""Environments behind a number that is to say something of other environments."""
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "ece"})


@dataclass(frozen=True)
class Ground:
    """What the differences of one comparison rest on.

    Parameters
    ----------
    blocks, draws : int
        Of the resampling.
    environments : int
        In which the metric is defined.
    oracle_gain : float or None
        Log-loss with one impedance for all less that with the oracle's, nats; None where it is not known.
    """

    blocks: int
    draws: int
    environments: int
    oracle_gain: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What may be said of a difference.

    Parameters
    ----------
    standing : str
        "better" or "worse" are claims; "open" is no measurable difference; "unknown" has no interval.
    why : str
        What is missing for a claim, in words; empty for a claim.
    leans : int
        +1 or -1 where the whole interval lies on the better or the worse side, claimed or not; else 0.
    """

    standing: Literal["better", "worse", "open", "unknown"]
    why: str = ""
    leans: int = 0


def direction(metric: str) -> int:
    """Return +1 where more of a metric is better, -1 where less is."""
    return -1 if metric in LOWER_IS_BETTER else 1


def lead(number: Estimate, level: float) -> Estimate:
    """Return how far a number lies above a fixed level, such as the AUROC of chance, with its interval."""
    value, low, high = (None if part is None else part - level for part in (number.value, number.low, number.high))
    return number.changed(value=value, low=low, high=high)


def judge(difference: Estimate, metric: str, ground: Ground) -> Verdict:
    """Say whether a difference, the first less the second, is a gain or a loss of the first.

    Parameters
    ----------
    metric : str
        One of `episode.metrics.intervals.METRICS`.
    """
    value, low, high = difference.value, difference.low, difference.high
    if value is None or low is None or high is None or not all(map(math.isfinite, (value, low, high))):
        return Verdict("unknown", "no interval")
    if direction(metric) < 0:
        value, low, high = -value, -high, -low
    leans = 1 if low > 0 else -1 if high < 0 else 0
    why = _missing(leans * value, metric, ground, difference) if leans else "the interval includes zero"
    if why:
        return Verdict("open", why, leans)
    return Verdict("better" if leans > 0 else "worse", leans=leans)


def _missing(size: float, metric: str, ground: Ground, difference: Estimate) -> str:
    """Return what a difference whose interval leaves out zero lacks; "" where nothing."""
    blocks = ground.blocks if difference.blocks is None else difference.blocks
    draws = ground.draws if difference.draws is None else difference.draws
    if ground.environments < MIN_ENVIRONMENTS:
        return _few(ground.environments, "environment", MIN_ENVIRONMENTS)
    if blocks < MIN_BLOCKS:
        return _few(blocks, "block", MIN_BLOCKS)
    if draws < MIN_DRAWS:
        return _few(draws, "draw", MIN_DRAWS)
    if size < MIN_SIZE[metric]:
        return f"smaller than {MIN_SIZE[metric]:g}"
    if metric == "log_loss":
        if ground.oracle_gain is None:
            return "what the oracle gains is not known"
        if size < ORACLE_SHARE * ground.oracle_gain:
            return f"less than {100 * ORACLE_SHARE:g} % of what the oracle gains, {ground.oracle_gain:.3f}"
    return ""


def _few(count: int, what: str, needed: int) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}, a claim needs {needed}"
