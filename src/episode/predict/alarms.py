"""The alarms of a run in the words that go with everything that is made with it.

Which alarms there are, and when they are raised, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

__all__ = ["Raised", "alarm_names", "alarm_texts"]


class Raised(Protocol):
    """An alarm, from a run folder or from results."""

    @property
    def name(self) -> str: ...

    @property
    def text(self) -> str: ...


def alarm_names(alarms: Iterable[Raised]) -> list[str]:
    """Return the name of each alarm, once."""
    return list(dict.fromkeys(alarm.name for alarm in alarms))


def alarm_texts(alarms: Iterable[Raised], of: str = "the run") -> list[str]:
    """Return one line for each name: its first sentence, and how often it was raised."""
    by_name: dict[str, list[str]] = {}
    for alarm in alarms:
        by_name.setdefault(alarm.name, []).append(" ".join(alarm.text.split()))
    return [
        f"alarm of {of}, {name}: {texts[0]}" + (f" (and {len(texts) - 1} more)" if len(texts) > 1 else "")
        for name, texts in by_name.items()
    ]
