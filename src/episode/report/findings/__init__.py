"""What the numbers of a report say, in plain words.

Sentences are made from JSON alone. A sentence claims no more than `episode.metrics.claims` allows, and where an alarm
on the same page speaks against a gain, the gain is not claimed. Nothing in here knows how words are shown.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from episode.metrics.intervals import Estimate

__all__ = [
    "BARRED",
    "Claim",
    "Findings",
    "barred_by",
    "decimal",
    "environments",
    "listing",
    "percent",
    "signed",
    "spell",
    "verbatim",
    "within",
    "words",
]

NAMES_SHOWN = 5
NONE = "–"
MARKS = ("\ue000", "\ue001")
"""Around a name that is to be shown letter by letter; of the private use area, so that no name needs them."""
ALTERED = re.compile(
    r"\bU_I\b|\bR_[EST]\b|`|[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
"""What `episode.report.rendering.rich` would set otherwise, and letters that are written from right to left."""
BARRED = "barred"
"""Standing of a gain that an alarm speaks against."""
BARS = {"ranking": "weak_potential", "impedance": "mean_impedance_student"}
"""Which alarm speaks against gains of what: a ranking that may be chance, an R_S that does not move."""


@dataclass(frozen=True)
class Claim:
    """A sentence, and the numbers behind it, one line each."""

    text: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Findings:
    """The words at the top of a report.

    Parameters
    ----------
    ranking, impedance : Claim
        Does U_I rank? Does the impedance help?
    cautions : tuple of str
        What should not be trusted; never empty.
    alarms : tuple of str
        What must be looked at first.
    leak : str
        Shown in red; empty where test loci are new to training.
    """

    ranking: Claim
    impedance: Claim
    cautions: tuple[str, ...]
    alarms: tuple[str, ...]
    leak: str = ""


def barred_by(what: str, alarms: Collection[str]) -> str:
    """Return the alarm, in words, that speaks against gains of the "ranking" or "impedance"; "" if none was raised."""
    return BARS[what].replace("_", " ") if BARS[what] in alarms else ""


def decimal(value: float | None, places: int = 3) -> str:
    """Write a number with a true minus; a dash where there is none."""
    return NONE if value is None else f"{value:.{places}f}".replace("-", "−")


def signed(value: float | None, places: int = 3) -> str:
    """Write a difference with its sign, and nothing as ``0.000``."""
    if value is None:
        return NONE
    written = f"{value:+.{places}f}"
    return written.replace("-", "−") if float(written) else f"{0:.{places}f}"


def within(number: Estimate, *, places: int = 3, sign: bool = False) -> str:
    """Write the interval of a number, ``0.310 to 0.420``; a dash where there is none."""
    if not number.bounded:
        return NONE
    write = signed if sign else decimal
    return f"{write(number.low, places)} to {write(number.high, places)}"


def spell(number: Estimate, *, places: int = 3, sign: bool = False) -> str:
    """Write a number with its interval: ``0.360 (0.310 to 0.420)``."""
    write = signed if sign else decimal
    interval = within(number, places=places, sign=sign) if number.bounded else "no interval"
    return f"{write(number.value, places)} ({interval})"


def percent(fraction: float) -> str:
    """Write a fraction in per cent: whole above one, one digit below."""
    return f"{100 * fraction:.0f} %" if fraction == 0 or fraction >= 0.01 else f"{100 * fraction:.1f} %"


def environments(count: int) -> str:
    """Write "1 environment", "2 environments"."""
    return f"{count} environment{'' if count == 1 else 's'}"


def verbatim(name: str) -> str:
    """Mark a name of a user that a page would show otherwise: as U_I, as code, or from right to left."""
    return f"{MARKS[0]}{name}{MARKS[1]}" if ALTERED.search(name) else name


def words(text: str) -> str:
    """Return text without the marks of `verbatim`."""
    return text.translate(dict.fromkeys(map(ord, MARKS)))


def listing(names: Sequence[str], *, max_names: int = NAMES_SHOWN) -> str:
    """Write "a, b and c"; of many, the first few and how many more."""
    shown, more = list(map(verbatim, names[:max_names])), len(names) - max_names
    if more > 0:
        return ", ".join(shown) + f" and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
