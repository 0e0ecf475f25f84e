"""What a report is made from: the JSON files of one folder, read and checked.

Nothing here computes or draws, and nothing but JSON is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from episode.errors import EpisodeError
from episode.files import read_json

__all__ = ["Comparison", "Evaluation", "Number", "load_material", "number", "potential_reads"]

EVALUATION_SECTIONS = ("environments", "macro", "pooled", "oracle", "mean_impedance", "temperature")
COMPARISON_SECTIONS = ("protocol", "rows", "environments", "differences", "audit", "intervals", "provenance")
MAPPINGS = ("precision_recall", "reliability", "potential")
LISTS = ("impedance", "few_labels", "training")
FORMAT = 1


@dataclass(frozen=True)
class Number:
    """A number with its interval; None where it is not defined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    def __neg__(self) -> Number:
        """Return the number and its interval seen from the other side."""
        value, high, low = (None if part is None else -part for part in (self.value, self.low, self.high))
        return Number(value, low, high)

    @property
    def bounded(self) -> bool:
        """Whether the number and both ends of its interval are known."""
        return None not in (self.value, self.low, self.high)


@dataclass(frozen=True)
class Evaluation:
    """The content of a folder that ``episode evaluate`` wrote.

    Parameters
    ----------
    summary : dict
        ``metrics.json``, see `episode.evaluate.summary.summarise`.
    figures : dict
        ``figures.json``, see `episode.evaluate.curves`.
    """

    summary: dict[str, Any]
    figures: dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """The content of a folder that ``episode compare`` wrote.

    Parameters
    ----------
    results : dict
        ``results.json``.
    figures : dict
        ``figures.json``, see `episode.evaluate.curves`.
    """

    results: dict[str, Any]
    figures: dict[str, Any]


def load_material(folder: Path) -> Evaluation | Comparison:
    """Read the folder of a comparison (it holds ``results.json``) or of an evaluation (``metrics.json``).

    Raises
    ------
    EpisodeError
        If neither is there, ``figures.json`` is missing, or a file is damaged or lacks a part.
    """
    results, metrics = folder / "results.json", folder / "metrics.json"
    if results.is_file():
        content = read_json(results)
        _check(results, content, COMPARISON_SECTIONS, "episode compare")
        if content.get("format_version") != FORMAT:
            raise EpisodeError(
                f"{results}: format_version {content.get('format_version')!r}, this version reads {FORMAT}"
            )
        return Comparison(content, _figures(folder))
    if not metrics.is_file():
        raise EpisodeError(
            f"{metrics}: no such file, nor results.json beside it; a report needs a folder that 'episode evaluate' or "
            "'episode compare' wrote"
        )
    content = read_json(metrics)
    _check(metrics, content, EVALUATION_SECTIONS, "episode evaluate")
    return Evaluation(content, _figures(folder))


def number(section: dict[str, Any], *keys: str) -> Number:
    """Follow `keys` down nested objects to ``{value, low, high}``; what is absent is not defined."""
    found: Any = section
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return Number()
    return Number(found.get("value"), found.get("low"), found.get("high"))


def potential_reads(summary: dict[str, Any]) -> str:
    """Say what U_I of the evaluated run reads, by the configuration in ``metrics.json``."""
    config = summary.get("provenance", {}).get("config", {})
    distance = config.get("potential", {}).get("distance", False)
    return "the two DNA sequences and their distance" if distance else "the two DNA sequences only"


def _figures(folder: Path) -> dict[str, Any]:
    path = folder / "figures.json"
    if not path.is_file():
        raise EpisodeError(f"{path}: no such file; run the command that wrote {folder} again")
    content = read_json(path)
    _check(path, content, (), "episode evaluate' or 'episode compare")
    empty: dict[str, Any] = {name: {} for name in MAPPINGS} | {name: [] for name in LISTS}
    for name, kind in [(name, dict) for name in MAPPINGS] + [(name, list) for name in LISTS]:
        if not isinstance(content.get(name, empty[name]), kind):
            raise EpisodeError(f"{path}: {name!r} should be {'an object' if kind is dict else 'a list'}")
    return empty | content


def _check(path: Path, content: Any, sections: tuple[str, ...], author: str) -> None:
    if not isinstance(content, dict):
        raise EpisodeError(f"{path}: not a JSON object; was it written by '{author}'?")
    absent = [name for name in sections if name not in content]
    if absent:
        raise EpisodeError(f"{path}: no {absent[0]!r}; was it written by '{author}'?")
