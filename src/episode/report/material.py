"""What a report is made from: the files of one evaluation, read and checked.

Nothing here computes or draws.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from episode.errors import EpisodeError
from episode.files import read_json

__all__ = ["Material", "load_material"]

SECTIONS = ("environments", "macro", "pooled", "oracle", "mean_impedance", "temperature")
COLUMNS = ("environment", "label", "potential", "logit")
TRAINING_NAMES = ("training.jsonl", "metrics.jsonl")


@dataclass(frozen=True)
class Material:
    """The content of an evaluation folder.

    Parameters
    ----------
    summary : dict
        ``metrics.json``, see `episode.evaluate.summary.summarise`.
    scored : DataFrame, one row a labelled pair
        ``environment``, ``label`` (0 or 1), ``potential``, ``logit``.
    training : list of dict
        One a line of the training log, in order; empty where there is none.
    """

    summary: dict[str, Any]
    scored: pd.DataFrame
    training: list[dict[str, Any]]


def load_material(folder: Path) -> Material:
    """Read the metrics, the predictions and, where there is one, the training log of an evaluation.

    The files are ``metrics.json``, ``predictions.parquet``, and ``training.jsonl`` (or ``metrics.jsonl``).

    Raises
    ------
    EpisodeError
        If one of the first two is missing, or a file is damaged or lacks a part.
    """
    summary = read_json(folder / "metrics.json")
    absent = [name for name in SECTIONS if not isinstance(summary, dict) or name not in summary]
    if absent:
        raise EpisodeError(f"{folder / 'metrics.json'}: no {absent[0]!r}; was it written by 'episode evaluate'?")
    path = folder / "predictions.parquet"
    if not path.is_file():
        raise EpisodeError(f"{path}: no such file; a report needs metrics.json and predictions.parquet")
    try:
        predictions = pd.read_parquet(path, columns=list(COLUMNS))
    except (OSError, ValueError) as error:
        raise EpisodeError(f"{path}: needs the columns {', '.join(COLUMNS)} ({error})") from None
    scored = predictions.loc[predictions["label"] >= 0].reset_index(drop=True)
    return Material(summary=summary, scored=scored, training=_training(folder))


def _training(folder: Path) -> list[dict[str, Any]]:
    path = next((folder / name for name in TRAINING_NAMES if (folder / name).is_file()), None)
    if path is None:
        return []
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except json.JSONDecodeError as error:
            raise EpisodeError(f"{path}:{number}: not a JSON object ({error})") from None
        if not isinstance(line, dict):
            raise EpisodeError(f"{path}:{number}: not a JSON object")
        lines.append(line)
    return lines
